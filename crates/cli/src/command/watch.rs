//! `watch`: a line for each packet that was steered nowhere, until somebody ends it.

mod line;

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sklookup_kernel::interface;
use sklookup_kernel::signals::{Signal, Signals, wait_readable};
use sklookup_steering::State;
use sklookup_steering::watch::{Change, Look, Measure, Watch as Eye};

use crate::args::{Global, Watch};
use crate::context;
use crate::counts::many;
use crate::output::{self, Answer, Failure, Said};
use crate::progress;

/// How often it is looked whether another policy is in effect while nothing happens.
const LOOK: Duration = Duration::from_millis(200);

/// How often at most it is told what is left out.
const TELL: Duration = Duration::from_secs(1);

pub fn watch(global: &Global, args: &Watch) -> ExitCode {
    output::finish("watch", global.json, until_ended(global, args))
}

fn until_ended(global: &Global, args: &Watch) -> Result<Answer, Failure> {
    // Whoever ends it is told the sum.
    let mut signals = Signals::block(&[Signal::INT, Signal::TERM, Signal::HUP])?;
    let state = context::state(global)?;
    let mut eye = Eye::begin(&state, Measure { every: args.every, rate: args.rate })?;
    let mut teller = Teller { json: global.json, state: &state, interfaces: HashMap::new(), told: 0, doubtful: 0 };
    if !eye.compares() {
        progress::say(&Said::with_help(
            "without CAP_PERFMON it can't be told where another program's selection stands in the place of ours",
            "grant CAP_PERFMON besides, or run this with sudo",
        ));
    }
    let mut last = (0, Instant::now());
    let ended = loop {
        let look = eye.look()?;
        match teller.tell(&look, args.count) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            // Whoever read has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
            Err(error) => break Err(error),
        }
        if last.1.elapsed() >= TELL {
            let left_out = left_out(&eye, teller.doubtful)?;
            if left_out.total > last.0 && teller.gap(&left_out, left_out.total - last.0).is_err() {
                break Ok(());
            }
            last = (left_out.total, Instant::now());
        }
        if look.more {
            continue;
        }
        wait_readable(&[eye.as_fd(), signals.as_fd()], Some(LOOK))?;
        if signals.read()?.is_some() {
            // What was written before the signal is told yet.
            let look = eye.look()?;
            break teller.tell(&look, args.count).map(drop);
        }
    };
    match ended {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::new(Said::new(format!("write the answer: {error}"))));
        }
        _ => {}
    }
    let left_out = left_out(&eye, teller.doubtful)?;
    let sum = match left_out.total {
        0 => format!("{} told, none left out", many(teller.told as usize, "event")),
        total => format!("{} told, {total} left out: {}", many(teller.told as usize, "event"), left_out.words),
    };
    let fields = json!({ "told": teller.told, "left-out": left_out.json });
    Ok(Answer::yes("", fields).saying((!global.json).then(|| Said::new(sum))))
}

/// What was left out since the beginning.
struct LeftOut {
    total: u64,
    words: String,
    json: Value,
}

fn left_out(eye: &Eye<'_>, doubtful: u64) -> Result<LeftOut, Failure> {
    let counted = eye.left_out()?;
    let reasons = [
        (counted.sampled, "sampled", "by --every"),
        (counted.limited, "rate", "over the rate"),
        (counted.full, "full", "not taken out in time"),
        (doubtful, "replaced", "while the policy was replaced"),
    ];
    let words = reasons.iter().filter(|(count, ..)| *count > 0).map(|(count, _, words)| format!("{count} {words}"));
    let json = reasons.iter().map(|(count, name, _)| ((*name).to_owned(), json!(count))).collect();
    Ok(LeftOut {
        total: counted.total() + doubtful,
        words: words.collect::<Vec<_>>().join(", "),
        json: Value::Object(json),
    })
}

/// Who prints.
struct Teller<'a> {
    json: bool,
    state: &'a State,
    /// Names of interfaces by index, as far as they were asked for.
    interfaces: HashMap<u32, Option<String>>,
    told: u64,
    doubtful: u64,
}

impl Teller<'_> {
    /// Prints events; answers whether there are to be more.
    fn tell(&mut self, look: &Look, most: Option<u64>) -> io::Result<bool> {
        self.doubtful += look.doubtful;
        let mut out = io::stdout().lock();
        for seen in &look.events {
            let interface = self.interface(seen.event.interface);
            let line = match self.json {
                true => output::line("watch", line::json(seen, interface.as_deref())),
                false => line::text(seen, interface.as_deref()),
            };
            writeln!(out, "{line}")?;
            self.told += 1;
            if most.is_some_and(|most| self.told >= most) {
                out.flush()?;
                return Ok(false);
            }
        }
        out.flush()?;
        drop(out);
        match look.change {
            Some(Change::Watching { generation, bindings }) => {
                progress::say(&Said::new(format!("watching {} of generation {generation}", many(bindings, "binding"))));
            }
            Some(Change::Nothing) => progress::say(&Said::new("nothing is steered here; waiting for a policy")),
            None => {}
        }
        Ok(true)
    }

    /// Says that there were more events than are told.
    fn gap(&self, left_out: &LeftOut, more: u64) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", output::line("watch", json!({ "left-out": left_out.json })))?,
            false => writeln!(out, "({more} more left out; {} since the beginning)", left_out.words)?,
        }
        out.flush()
    }

    fn interface(&mut self, index: u32) -> Option<String> {
        let state = self.state;
        let name = || state.netns().run(|| interface::name_of(index)).ok()?.ok()?;
        if index == 0 { None } else { self.interfaces.entry(index).or_insert_with(name).clone() }
    }
}
