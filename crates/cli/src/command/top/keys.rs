//! What is typed, read by a thread of its own.
//!
//! The reader of events does not come back from a terminal that is gone. On a thread it holds up nobody: the one that draws
//! still answers signals, and ends the program.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use ratatui::crossterm::event::{self, Event};

/// Events of the terminal, as they come.
pub struct Keys {
    events: Receiver<io::Result<Event>>,
    /// Readable when there may be an event.
    woken: UnixStream,
}

impl Keys {
    /// Begins to read. Signals that should not end the program are blocked before.
    pub fn listen() -> io::Result<Keys> {
        let (woken, mut wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let (sender, events) = channel();
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if sender.send(event).is_err() || wake.write_all(&[0]).is_err() || failed {
                    break;
                }
            }
        })?;
        Ok(Keys { events, woken })
    }

    /// All that has come since.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        match self.woken.read(&mut [0; 1024]) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        self.events.try_iter().collect()
    }
}

impl AsFd for Keys {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
