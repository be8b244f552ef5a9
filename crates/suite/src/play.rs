//! A case played on a host: the world is made, the steps are done, and what came of them is compared.

mod setup;

use std::fmt;

use sklookup_bpf::abi::context;

use crate::bytes::{Bytes, shown};
use crate::case::{Action, Answer, Case, Found, Query, Ran, Receiver, Send, TestRun, Value};
use crate::errno::Errno;
use crate::host::{Host, Outcome, Refusal};

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The executor lacks something: nothing is known.
    Skipped(String),
    /// What came was not what was expected.
    Failed {
        /// The step's line in the file; `None`: while the world was made.
        line: Option<u32>,
        /// What was done, what was expected, what came.
        why: String,
    },
}

/// Plays a case; the first thing that is not as expected ends it.
///
/// # Errors
/// What that was.
pub fn play(case: &Case, host: &mut dyn Host) -> Result<(), Stop> {
    setup::world(case, host)?;
    for step in &case.steps {
        act(case, &step.action, host).map_err(|why| match why {
            Why::Cannot(reason) => Stop::Skipped(reason),
            Why::Wrong(why) => Stop::Failed { line: Some(step.line), why },
        })?;
    }
    Ok(())
}

/// Why a step did not do what it should.
enum Why {
    Cannot(String),
    Wrong(String),
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Why {
        match refusal {
            Refusal::Cannot(reason) => Why::Cannot(reason),
            Refusal::Broken(reason) => Why::Wrong(reason),
            Refusal::Errno(errno) => Why::Wrong(format!("{errno} came")),
        }
    }
}

/// What was expected and what came.
fn unlike(what: impl fmt::Display, expected: impl fmt::Display, came: impl fmt::Display) -> Why {
    Why::Wrong(format!("{what}: expected {expected}, got {came}"))
}

fn act(case: &Case, action: &Action, host: &mut dyn Host) -> Result<(), Why> {
    match action {
        Action::Packet(send) => packet(send, host),
        Action::Ask { packet, expect } => {
            let asked = host.ask(packet)?;
            let expected = expect.as_ref().map(|name| host.cookie(name)).transpose()?;
            if asked == expected {
                return Ok(());
            }
            let shown = expect.clone().unwrap_or_else(|| "nobody".to_owned());
            Err(unlike(packet, shown, named(case, host, asked)))
        }
        Action::TestRun(run) => test_run(case, run, host),
        Action::Load { program, expect, log } => load(case, program, expect, log.as_deref(), host),
        Action::Create { map, expect } => {
            let (_, made) = case.world.maps.iter().find(|(name, _)| name == map).expect("names are checked when read");
            answered(format!("create {map}"), expect, host.create(map, &made.spec))
        }
        Action::Attach { program, link, netns, expect } => {
            answered(format!("attach {program}"), expect, host.attach(link, program, netns.as_deref()))
        }
        Action::Update { link, program, replacing, expect } => {
            let what = format!("update {link} to {program}");
            answered(what, expect, host.update(link, program, replacing.as_deref()))
        }
        Action::Detach { link, expect } => answered(format!("detach {link}"), expect, host.detach(link)),
        Action::Query(query) => queried(query, host),
        Action::Info { link, program, alive } => {
            let state = host.info(link)?;
            if let Some(program) = program.as_ref().filter(|program| **program != state.program) {
                return Err(unlike(format!("program of {link}"), program, state.program));
            }
            match alive {
                Some(alive) if *alive != state.alive => {
                    Err(unlike(format!("whether {link} is attached"), alive, state.alive))
                }
                _ => Ok(()),
            }
        }
        Action::Lookup { map, key, flags, expect } => lookup(case, map, key, *flags, expect, host),
        Action::Put { map, key, value, flags, expect } => {
            let came = put(case, map, key, value, *flags, host);
            answered(format!("put {key} into {map}"), expect, came)
        }
        Action::Delete { map, key, expect } => {
            let key_bytes = key.of_width(key_size(case, map));
            answered(format!("delete {key} from {map}"), expect, host.delete(map, &key_bytes))
        }
        Action::Take { map, key, expect } => {
            let came = host.take(map, &key.of_width(key_size(case, map)));
            bytes(format!("take {key} from {map}"), expect, came)
        }
        Action::Record { map, expect } => record(map, expect.as_ref(), host),
        Action::Freeze { map, expect } => answered(format!("freeze {map}"), expect, host.freeze(map)),
        Action::NextKey { map, key, expect } => next_key(case, map, key.as_ref(), expect, host),
        Action::Open { name, socket, expect } => answered(format!("open {name}"), expect, host.open(name, socket)),
        Action::Socket { name, operation, expect } => {
            answered(format!("{operation:?} of {name}"), expect, host.operate(name, operation))
        }
        Action::Close(name) => Ok(host.close(name)?),
    }
}

/// Compares what a call answered with what it should.
fn answered(what: String, expected: &Answer, came: Outcome) -> Result<(), Why> {
    let came = match came {
        Ok(()) => Ok(()),
        Err(Refusal::Errno(errno)) => Err(errno),
        Err(other) => return Err(other.into()),
    };
    let word = |answer: &Answer| answer.map_or_else(|errno| errno.to_string(), |()| "ok".to_owned());
    if came == *expected { Ok(()) } else { Err(unlike(what, word(expected), word(&came))) }
}

/// What stands below a failure.
fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn packet(send: &Send, host: &mut dyn Host) -> Result<(), Why> {
    let mut first: Option<Receiver> = None;
    for _ in 0..=send.again {
        let delivery = host.send(send)?;
        let explained = |why: String| match host.trace() {
            Some(trace) => Why::Wrong(format!("{why}\n{}", indented(&trace))),
            None => Why::Wrong(why),
        };
        if !send.expect.contains(&delivery.receiver) {
            let names: Vec<String> = send.expect.iter().map(ToString::to_string).collect();
            let expected = names.join(" or ");
            return Err(explained(format!("{}: expected {expected}, got {}", send.packet, delivery.receiver)));
        }
        if let Some(first) = first.as_ref().filter(|first| **first != delivery.receiver) {
            let why =
                format!("{} again: expected {first}, which got the first, got {}", send.packet, delivery.receiver);
            return Err(explained(why));
        }
        if let Some(local) = send.local.filter(|local| delivery.local != Some(*local)) {
            let came = delivery.local.map_or("none".to_owned(), |local| local.to_string());
            return Err(unlike(format!("{}: the server's local address", send.packet), local, came));
        }
        if let Some(expected) = send.sender {
            let came = delivery.sender.map_or(Ok(()), Err);
            let word = |told: Result<(), Errno>| told.map_or_else(|errno| errno.to_string(), |()| "nothing".to_owned());
            if came != expected {
                return Err(unlike(format!("{}: what the sender is told", send.packet), word(expected), word(came)));
            }
        }
        first = Some(delivery.receiver);
    }
    Ok(())
}

fn test_run(case: &Case, run: &TestRun, host: &mut dyn Host) -> Result<(), Why> {
    let mut output = vec![0; run.room];
    let came = host.test_run(&run.program, &run.context, &mut output, run.repeat);
    let cookie = output.first_chunk().map_or(0, |cookie| u64::from_ne_bytes(*cookie));
    let came = match came {
        Ok(true) if cookie != 0 => Ran::Socket(named(case, host, Some(cookie))),
        Ok(true) => Ran::Pass,
        Ok(false) => Ran::Drop,
        Err(Refusal::Errno(errno)) => Ran::Errno(errno),
        Err(other) => return Err(other.into()),
    };
    if came != run.expect {
        return Err(unlike(format!("test run of {}", run.program), &run.expect, came));
    }
    // Whatever the program did, the context comes back as it went in, but for the cookie.
    let kept = run.context.iter().chain(std::iter::repeat(&0)).zip(&output).take(context::SIZE).skip(8);
    let changed =
        matches!(came, Ran::Socket(_) | Ran::Pass | Ran::Drop) && kept.into_iter().any(|(sent, back)| sent != back);
    if changed {
        return Err(unlike(format!("test run of {}: what comes back", run.program), "the context", shown(&output)));
    }
    Ok(())
}

fn load(case: &Case, program: &str, expect: &Answer, log: Option<&str>, host: &mut dyn Host) -> Result<(), Why> {
    if !host.verifies() && (expect.is_err() || log.is_some()) {
        return Err(Why::Cannot("it has no verifier".to_owned()));
    }
    let (came, written) = match setup::load(case, program, host) {
        Ok(()) => (Ok(()), String::new()),
        Err(refused) => (Err(refused.refusal), refused.log),
    };
    answered(format!("load {program}"), expect, came).map_err(|why| match why {
        Why::Wrong(why) if !written.is_empty() => Why::Wrong(format!("{why}\n{}", indented(&written))),
        why => why,
    })?;
    match log {
        Some(words) if !written.contains(words) => {
            Err(unlike(format!("the log of {program}"), format!("{words:?} in it"), format!("\n{written}")))
        }
        _ => Ok(()),
    }
}

fn queried(query: &Query, host: &mut dyn Host) -> Result<(), Why> {
    let (answer, programs, count) = host.query(query.netns.as_deref(), query.room);
    answered("query".to_owned(), &query.answer, answer)?;
    if programs != query.programs {
        return Err(unlike("programs of the query", query.programs.join(", "), programs.join(", ")));
    }
    let expected = query.count.unwrap_or(query.programs.len());
    if count == expected { Ok(()) } else { Err(unlike("number of programs", expected, count)) }
}

fn lookup(case: &Case, map: &str, key: &Bytes, flags: u64, expect: &Found, host: &mut dyn Host) -> Result<(), Why> {
    let what = format!("{key} in {map}");
    let came = host.lookup(map, &key.of_width(key_size(case, map)), flags);
    match (expect, came) {
        (_, Err(other @ (Refusal::Cannot(_) | Refusal::Broken(_)))) => Err(other.into()),
        (Found::Errno(expected), Err(Refusal::Errno(errno))) if *expected == errno => Ok(()),
        (Found::Errno(expected), Ok(value)) => Err(unlike(what, expected, shown(&value))),
        (Found::Errno(expected), Err(Refusal::Errno(errno))) => Err(unlike(what, expected, errno)),
        (Found::Bytes(expected), Ok(value)) if expected.of_width(value.len()) == value => Ok(()),
        (Found::Bytes(expected), Ok(value)) => Err(unlike(what, expected, shown(&value))),
        (Found::Bytes(expected), Err(Refusal::Errno(errno))) => Err(unlike(what, expected, errno)),
        (Found::Socket(name), Ok(value)) => {
            let cookie = value.as_slice().try_into().map(u64::from_ne_bytes).ok();
            let expected = host.cookie(name)?;
            if cookie == Some(expected) { Ok(()) } else { Err(unlike(what, name, named(case, host, cookie))) }
        }
        (Found::Socket(name), Err(Refusal::Errno(errno))) => Err(unlike(what, name, errno)),
    }
}

fn put(case: &Case, map: &str, key: &Bytes, value: &Value, flags: u64, host: &mut dyn Host) -> Outcome {
    let key = key.of_width(key_size(case, map));
    match value {
        Value::Bytes(value) => host.put(map, &key, &value.of_width(spec(case, map).value_size as usize), flags),
        Value::Socket(socket) => host.put_socket(map, &key, socket, flags),
        Value::Program(program) => host.put_program(map, &key, program, flags),
        Value::Map(inner) => host.put_map(map, &key, inner, flags),
    }
}

fn next_key(
    case: &Case,
    map: &str,
    key: Option<&Bytes>,
    expect: &Result<Bytes, Errno>,
    host: &mut dyn Host,
) -> Result<(), Why> {
    let after = key.map(|key| key.of_width(key_size(case, map)));
    bytes(format!("next key of {map}"), expect, host.next_key(map, after.as_deref()))
}

fn record(map: &str, expect: Option<&Bytes>, host: &mut dyn Host) -> Result<(), Why> {
    let came = host.record(map)?;
    if came == expect.map(|bytes| bytes.of_width(came.as_ref().map_or(0, Vec::len))) {
        return Ok(());
    }
    let expected = expect.map_or_else(|| "none".to_owned(), ToString::to_string);
    let came = came.map_or_else(|| "none".to_owned(), |record| shown(&record));
    Err(unlike(format!("the next record of {map}"), expected, came))
}

/// Compares bytes or an errno with what was expected.
fn bytes(what: String, expect: &Result<Bytes, Errno>, came: Outcome<Vec<u8>>) -> Result<(), Why> {
    match (expect, came) {
        (_, Err(other @ (Refusal::Cannot(_) | Refusal::Broken(_)))) => Err(other.into()),
        (Ok(expected), Ok(bytes)) if expected.of_width(bytes.len()) == bytes => Ok(()),
        (Err(expected), Err(Refusal::Errno(errno))) if *expected == errno => Ok(()),
        (expected, came) => {
            let expected = expected.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            let came = match came {
                Ok(bytes) => shown(&bytes),
                Err(Refusal::Errno(errno)) => errno.to_string(),
                Err(Refusal::Cannot(why) | Refusal::Broken(why)) => why,
            };
            Err(unlike(what, expected, came))
        }
    }
}

/// The socket of the case that has this cookie.
fn named(case: &Case, host: &mut dyn Host, cookie: Option<u64>) -> String {
    let Some(cookie) = cookie else { return "nobody".to_owned() };
    let opened = case.steps.iter().filter_map(|step| match &step.action {
        Action::Open { name, .. } => Some(name),
        _ => None,
    });
    let names = case.world.sockets.iter().map(|(name, _)| name).chain(opened);
    let found = names.into_iter().find(|name| host.cookie(name) == Ok(cookie));
    found.cloned().unwrap_or_else(|| format!("a socket that is none of the case's (cookie {cookie})"))
}

fn spec<'a>(case: &'a Case, map: &str) -> &'a sklookup_bpf::MapSpec {
    let (_, found) = case.world.maps.iter().find(|(name, _)| name == map).expect("names are checked when read");
    &found.spec
}

fn key_size(case: &Case, map: &str) -> usize {
    spec(case, map).key_size as usize
}
