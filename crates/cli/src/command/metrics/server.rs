//! Answers scrapers, on one thread that never waits for any of them.
//!
//! However slow, many or silent they are: each has a deadline for its request and one for taking the answer, and where
//! there are too many the one that has been there longest goes, so that whoever comes next is served.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sklookup_kernel::signals::{Ready, Signals, wait};

use super::exposition::Format;
use super::families::{Limits, render};
use super::gather::Gatherer;
use super::http::{self, Page, Request};
use super::listen::{Connected, Listener};
use crate::output::{Failure, Said};
use crate::progress;

/// Connections at a time.
const MOST: usize = 64;
/// For the head of a request.
const TO_ASK: Duration = Duration::from_secs(5);
/// For taking the answer.
const TO_TAKE: Duration = Duration::from_secs(30);
/// For closing the connection after it.
const TO_CLOSE: Duration = Duration::from_secs(1);
/// How long nobody is let in when no more files can be opened.
const PAUSE: Duration = Duration::from_millis(200);

const INDEX: &[u8] = b"sklookup: the metrics are at /metrics\n";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What was answered since the process began.
#[derive(Debug, Default)]
pub struct Served {
    /// Snapshots that could not be made.
    pub errors: u64,
    /// Answers, by status.
    pub requests: BTreeMap<u16, u64>,
    /// Connections closed without an answer.
    pub dropped: u64,
}

/// Answers scrapers.
pub struct Server {
    gatherer: Gatherer,
    limits: Limits,
    listeners: Vec<Listener>,
    connections: Vec<Connection>,
    served: Served,
    /// What was made of the latest snapshot.
    rendered: Vec<(Format, Arc<[u8]>)>,
    /// Why the state can't be read, as it was said last.
    trouble: Option<String>,
    paused: Option<Instant>,
}

struct Connection {
    stream: Box<dyn Connected>,
    at: At,
    deadline: Instant,
}

/// What a connection is at.
enum At {
    /// The head of its request, as far as it has come.
    Asking(Vec<u8>),
    /// It has asked, and gets the answer next.
    Waiting(Result<Request, http::Refusal>),
    /// Taking head and body of the answer; so many bytes have gone.
    Taking { head: Vec<u8>, body: Arc<[u8]>, sent: usize },
    /// The answer is out. What else it may send is read and forgotten: closing over it would be a reset, which can
    /// destroy the answer.
    Closing,
    /// It is over.
    Over,
}

impl Server {
    /// Will answer on these.
    pub fn new(gatherer: Gatherer, limits: Limits, listeners: Vec<Listener>) -> Server {
        Server {
            gatherer,
            limits,
            listeners,
            connections: Vec::new(),
            served: Served::default(),
            rendered: Vec::new(),
            trouble: None,
            paused: None,
        }
    }

    /// Answers until a signal comes.
    pub fn serve(&mut self, signals: &mut Signals) -> Result<&Served, Failure> {
        loop {
            let (signalled, incoming, ready) = self.wait(signals)?;
            if signalled && signals.read()?.is_some() {
                return Ok(&self.served);
            }
            // Those that are there already first: who comes next may push one of them out.
            for (connection, ready) in self.connections.iter_mut().zip(ready) {
                if ready {
                    connection.step();
                }
            }
            self.answer();
            self.let_in(&incoming);
            // Most have asked already when they are let in, and nothing else would wake us for them.
            self.answer();
            self.send_off();
        }
    }

    /// Waits until there is something to do: a signal, somebody at each listener, something on each connection.
    fn wait(&mut self, signals: &Signals) -> Result<(bool, Vec<bool>, Vec<bool>), Failure> {
        let now = Instant::now();
        self.paused = self.paused.filter(|until| *until > now);
        let listeners = if self.paused.is_some() { &[][..] } else { &self.listeners };
        let mut fds: Vec<(BorrowedFd<'_>, Ready)> = vec![(signals.as_fd(), Ready::ToRead)];
        fds.extend(listeners.iter().map(|listener| (listener.as_fd(), Ready::ToRead)));
        fds.extend(self.connections.iter().map(|connection| (connection.stream.as_fd(), connection.waits_for())));
        let soonest = self.connections.iter().map(|connection| connection.deadline).chain(self.paused).min();
        let ready = wait(&fds, soonest.map(|deadline| deadline.saturating_duration_since(now)))?;
        let (before, of_connections) = ready.split_at(1 + listeners.len());
        Ok((before[0], before[1..].to_vec(), of_connections.to_vec()))
    }

    fn let_in(&mut self, incoming: &[bool]) {
        for number in incoming.iter().enumerate().filter_map(|(number, ready)| ready.then_some(number)) {
            // No more than fit: who else is waiting comes with the next round.
            for _ in 0..MOST {
                match self.listeners[number].accept() {
                    Ok(stream) => self.admit(stream),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    // No file left: it would be at the door again at once.
                    Err(_) => {
                        self.paused = Some(Instant::now() + PAUSE);
                        return;
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: Box<dyn Connected>) {
        if self.connections.len() >= MOST {
            self.connections.remove(0);
            self.served.dropped += 1;
        }
        let mut connection = Connection { stream, at: At::Asking(Vec::new()), deadline: Instant::now() + TO_ASK };
        connection.step();
        self.connections.push(connection);
    }

    /// Answers all who have asked: with one snapshot, if they ask for metrics.
    fn answer(&mut self) {
        for number in 0..self.connections.len() {
            let At::Waiting(request) = &self.connections[number].at else { continue };
            let request = *request;
            let (status, kind, body, head_only) = match request {
                Ok(Request { page: Page::Metrics(format), head_only }) => {
                    ((200, "OK"), format.content_type(), self.metrics(format), head_only)
                }
                Ok(Request { page: Page::Index, head_only }) => ((200, "OK"), PLAIN, INDEX.into(), head_only),
                Err((code, reason)) => ((code, reason), PLAIN, format!("{reason}\n").into_bytes().into(), false),
            };
            *self.served.requests.entry(status.0).or_default() += 1;
            let head = http::head(status, kind, body.len());
            let body = if head_only { Arc::default() } else { body };
            let connection = &mut self.connections[number];
            connection.at = At::Taking { head, body, sent: 0 };
            connection.deadline = Instant::now() + TO_TAKE;
            connection.step();
        }
    }

    fn metrics(&mut self, format: Format) -> Arc<[u8]> {
        let (snapshot, fresh) = self.gatherer.snapshot();
        if fresh {
            self.rendered.clear();
            let trouble = snapshot.seen.as_ref().err().map(ToString::to_string);
            self.served.errors += u64::from(trouble.is_some());
            self.tell(trouble);
        }
        if let Some((_, rendered)) = self.rendered.iter().find(|(of, _)| *of == format) {
            return rendered.clone();
        }
        let rendered: Arc<[u8]> = render(format, &snapshot, self.limits, Some(&self.served)).into_bytes().into();
        self.rendered.push((format, rendered.clone()));
        rendered
    }

    /// Says that the state can't be read, or can be again; once, not at every scrape.
    fn tell(&mut self, trouble: Option<String>) {
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                let help = "sklookup_up is 0 until it can be read; `sklookup status` says more";
                progress::say(&Said::with_help(format!("the state can't be read: {trouble}"), help));
            }
            None => progress::say(&Said::new("the state can be read again")),
        }
        self.trouble = trouble;
    }

    fn send_off(&mut self) {
        let now = Instant::now();
        self.connections.retain(|connection| match connection.at {
            At::Over => false,
            At::Closing => connection.deadline > now,
            At::Asking(_) | At::Waiting(_) | At::Taking { .. } => {
                let late = connection.deadline <= now;
                self.served.dropped += u64::from(late);
                !late
            }
        });
    }
}

impl Connection {
    fn waits_for(&self) -> Ready {
        match self.at {
            At::Taking { .. } => Ready::ToWrite,
            At::Asking(_) | At::Waiting(_) | At::Closing | At::Over => Ready::ToRead,
        }
    }

    /// Does what can be done without waiting.
    fn step(&mut self) {
        match self.try_step() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It has gone.
            Err(_) => self.at = At::Over,
            Ok(()) => {}
        }
    }

    fn try_step(&mut self) -> io::Result<()> {
        match &mut self.at {
            At::Asking(bytes) => {
                let mut piece = [0; 2048];
                loop {
                    let length = self.stream.read(&mut piece)?;
                    bytes.extend_from_slice(&piece[..length]);
                    let asked = match http::head_end(bytes) {
                        Some(end) => http::request(&bytes[..end]),
                        None if length == 0 => {
                            self.at = At::Over;
                            return Ok(());
                        }
                        None if bytes.len() > http::MAX_HEAD => Err((431, "Request Header Fields Too Large")),
                        None => continue,
                    };
                    self.at = At::Waiting(asked);
                    return Ok(());
                }
            }
            At::Taking { head, body, sent } => {
                while *sent < head.len() + body.len() {
                    let rest = match sent.checked_sub(head.len()) {
                        None => &head[*sent..],
                        Some(of_body) => &body[of_body..],
                    };
                    *sent += self.stream.write(rest)?;
                }
                self.stream.end();
                self.at = At::Closing;
                self.deadline = Instant::now() + TO_CLOSE;
                Ok(())
            }
            At::Closing => {
                let mut piece = [0; 2048];
                while self.stream.read(&mut piece)? > 0 {}
                self.at = At::Over;
                Ok(())
            }
            At::Waiting(_) | At::Over => Ok(()),
        }
    }
}
