//! `top`: what is steered, again and again, on a terminal.

mod details;
mod draw;
mod history;
mod keys;
mod screen;
mod tally;
mod view;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Instant;

use ratatui::crossterm::event::Event;
use sklookup_kernel::signals::{Ready, Signal, Signals, stop_group, wait};
use sklookup_steering::Sampler;

use self::details::Subject;
use self::keys::Keys;
use self::screen::Screen;
use self::tally::Tally;
use self::view::{View, Wish};
use crate::args::{Global, Top};
use crate::context::existing_state;
use crate::output::{Answer, Failure, Said};
use crate::progress::is_dumb;

/// Signals that a program on a terminal has to answer itself, or it leaves the terminal as it was drawn.
const SIGNALS: [Signal; 6] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::TSTP, Signal::WINCH];

pub fn top(global: &Global, args: &Top) -> Result<Answer, Failure> {
    if global.json {
        return Err(Failure::new(Said::with_help(
            "top draws on a terminal and has no document",
            "`sklookup list --json` has the counts",
        )));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || is_dumb() {
        return Err(Failure::new(Said::with_help(
            "top: standard input and output are no terminal that can be drawn on",
            "`sklookup status` and `sklookup list` print the same once; on a terminal, is TERM right?",
        )));
    }
    // Before anything is drawn: what is wrong with --netns and --bpffs is said on a terminal as it was.
    existing_state(global)?;
    let mut signals = Signals::block(&SIGNALS)?;
    let failed = |error: io::Error| Failure::new(Said::new(format!("draw on the terminal: {error}")));
    let mut screen = Screen::enter().map_err(failed)?;
    let mut watch = Watch { global, sampler: None, tally: Tally::default(), view: View::new(args.interval) };
    let left = watch.go_on(args, &mut screen, &mut signals).map_err(failed);
    drop(screen);
    let exit = left?.map_or(0, |signal| 128_u8.wrapping_add(u8::try_from(signal).unwrap_or_default()));
    Ok(Answer::yes("", serde_json::json!({})).exit(exit))
}

/// What is watched, and how it is shown.
struct Watch<'a> {
    global: &'a Global,
    /// `None` while there is no bpffs.
    sampler: Option<Sampler>,
    tally: Tally,
    view: View,
}

impl Watch<'_> {
    /// Until a key or a signal ends it, whose number is returned.
    fn go_on(&mut self, args: &Top, screen: &mut Screen, signals: &mut Signals) -> io::Result<Option<i32>> {
        let mut keys = Keys::listen()?;
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                self.look();
                next = Instant::now() + args.interval;
            }
            screen.draw(|frame| draw::draw(frame, &self.tally, &mut self.view))?;
            let left = next.saturating_duration_since(Instant::now());
            let terminal = io::stdin();
            let fds =
                [(terminal.as_fd(), Ready::Gone), (keys.as_fd(), Ready::ToRead), (signals.as_fd(), Ready::ToRead)];
            let ready = wait(&fds, Some(left)).map_err(|error| error.errno())?;
            while let Some(signal) = signals.read().map_err(|error| error.errno())? {
                match signal.number {
                    number if number == Signal::WINCH.as_raw() => {}
                    number if number == Signal::TSTP.as_raw() => self.suspend(screen)?,
                    number => return Ok(Some(number)),
                }
            }
            if ready[0] {
                return Ok(Some(Signal::HUP.as_raw()));
            }
            for event in keys.read()? {
                let Event::Key(key) = event else { continue };
                match self.view.key(key, &self.tally) {
                    Wish::Nothing => {}
                    Wish::Leave => return Ok(None),
                    Wish::Suspend => self.suspend(screen)?,
                    Wish::Sockets => self.show_sockets(),
                    Wish::Details(subject) => self.show_details(&subject),
                }
            }
        }
    }

    /// Looks at the counters once more.
    fn look(&mut self) {
        self.view.trouble = None;
        if self.sampler.is_none() {
            match existing_state(self.global) {
                Ok(state) => self.sampler = state.map(Sampler::new),
                Err(failure) => self.view.trouble = failure.said.first().map(|said| said.message.clone()),
            }
        }
        match self.sampler.as_mut().map(Sampler::sample) {
            Some(Ok(Some(sample))) => {
                let record = &sample.generation.record;
                self.view.generation = Some(sample.generation.live.id);
                self.tally.take(&record.policy, sample.counts, Instant::now());
            }
            Some(Ok(None)) | None => {
                self.view.generation = None;
                self.tally = Tally::default();
            }
            Some(Err(error)) => self.view.trouble = Some(error.to_string()),
        }
        if self.view.wants_sockets() {
            self.show_sockets();
        }
        self.view.arrange(&self.tally);
    }

    /// Gives the terminal back, stops as Ctrl-Z stops a program, and takes it again.
    fn suspend(&mut self, screen: &mut Screen) -> io::Result<()> {
        screen.leave()?;
        stop_group().map_err(|error| error.errno())?;
        screen.enter_again()
    }

    fn show_sockets(&mut self) {
        let state = self.sampler.as_ref().map(Sampler::state);
        let text = state.map_or_else(String::new, details::sockets);
        self.view.show_sockets(&text);
    }

    fn show_details(&mut self, subject: &Subject) {
        let state = self.sampler.as_ref().map(Sampler::state);
        let text = state.map_or_else(String::new, |state| details::of(state, subject, &self.tally));
        self.view.show_details(subject.to_string(), &text);
    }
}
