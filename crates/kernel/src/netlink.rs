//! A netlink socket that only the kernel can talk to, and the framing of its messages.
//!
//! Messages are read for what we know and nothing else: an attribute or message that a later kernel adds is passed over,
//! so a dump can't fail for something nobody asked about. (The netlink-packet crates parse every attribute of every
//! message, and fail the message when one doesn't fit.)

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::door::{self, On};

/// Flags of a request (`NLM_F_*`).
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    /// In an answer: the table changed under the dump, which may have missed something.
    pub(super) const DUMP_INTERRUPTED: u16 = 0x10;
}

const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;

/// Longer than any datagram the kernel makes for a dump (32 KiB).
const BUFFER: usize = 64 * 1024; // bytes

/// How often an interrupted dump is asked for again before it is given back as it is.
const DUMP_ATTEMPTS: usize = 10;

/// `struct nlmsghdr`; host order.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    length: u32, // of the message with this header, without padding
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}
const _: () = assert!(size_of::<Header>() == 16);

/// A connection to one netlink family, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// One message of an answer.
pub(crate) struct Message<'a> {
    /// Number of the request that it answers.
    pub(crate) sequence: u32,
    pub(crate) flags: u16,
    pub(crate) body: Body<'a>,
}

/// What a message says.
pub(crate) enum Body<'a> {
    /// The end of a dump, or that a request succeeded.
    Done,
    /// The request failed.
    Failed(Errno),
    /// Something of the family's own: its payload.
    Payload(&'a [u8]),
}

impl Netlink {
    /// Connects to the kernel. `protocol` is one of `rustix::net::netlink`; `None` is NETLINK_ROUTE, whose number is 0.
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Netlink, Errno> {
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // Connected to port 0, it takes datagrams from nobody but the kernel.
        rustix::net::connect(&fd, &rustix::net::netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink { fd, sequence: 0, buffer: vec![0; BUFFER].into_boxed_slice() })
    }

    /// Makes a change and waits until the kernel says that it is made.
    pub(crate) fn change(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<(), Errno> {
        door::through("netlink", On::Number("message", kind.into()), || {
            let asked = self.send(kind, flags | flag::ACK, &[payload])?;
            let mut answer = None;
            while answer.is_none() {
                self.receive(|message| {
                    if message.sequence == asked {
                        match message.body {
                            Body::Done => answer = Some(Ok(())),
                            Body::Failed(errno) => answer = Some(Err(errno)),
                            Body::Payload(_) => {}
                        }
                    }
                })?;
            }
            answer.unwrap_or(Ok(()))
        })
    }

    /// Asks for one thing. EBADMSG for an answer that `read` makes nothing of.
    pub(crate) fn ask<T>(
        &mut self,
        kind: u16,
        payload: &[u8],
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Errno> {
        let asked = self.send(kind, 0, &[payload])?;
        let mut answer = None;
        while answer.is_none() {
            self.receive(|message| {
                if message.sequence == asked {
                    answer = Some(match message.body {
                        Body::Payload(payload) => read(payload).ok_or(Errno::BADMSG),
                        Body::Failed(errno) => Err(errno),
                        Body::Done => Err(Errno::BADMSG),
                    });
                }
            })?;
        }
        answer.unwrap_or(Err(Errno::BADMSG))
    }

    /// Asks for a whole table. `read` gets each payload; what it returns `Some` for is collected.
    ///
    /// A dump that a change interrupted is asked for again, up to ten times; the last one is given back even so, for a
    /// table that never stands still is no reason to know nothing.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        payload: &[u8],
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            let asked = self.send(kind, flag::DUMP, &[payload])?;
            let (mut end, mut interrupted) = (None, false);
            while end.is_none() {
                self.receive(|message| {
                    if message.sequence != asked {
                        return;
                    }
                    interrupted |= message.flags & flag::DUMP_INTERRUPTED != 0;
                    match message.body {
                        Body::Done => end = Some(Ok(())),
                        Body::Failed(errno) => end = Some(Err(errno)),
                        Body::Payload(payload) => found.extend(read(payload)),
                    }
                })?;
            }
            match end {
                Some(Err(errno)) => return Err(errno),
                _ if interrupted => {}
                _ => break,
            }
        }
        Ok(found)
    }

    /// Sends one request per payload in one datagram; answers the number of the first, the others follow it.
    pub(crate) fn send(&mut self, kind: u16, flags: u16, payloads: &[&[u8]]) -> Result<u32, Errno> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(payloads.iter().map(|p| size_of::<Header>() + align(p.len())).sum());
        for payload in payloads {
            self.sequence = self.sequence.wrapping_add(1);
            let length = size_of::<Header>() + payload.len();
            let header = Header {
                length: u32::try_from(length).map_err(|_| Errno::MSGSIZE)?,
                kind,
                flags: flags | flag::REQUEST,
                sequence: self.sequence,
                port: 0,
            };
            datagram.extend_from_slice(header.as_bytes());
            datagram.extend_from_slice(payload);
            datagram.resize(align(datagram.len()), 0);
        }
        retry_on_intr(|| rustix::net::send(&self.fd, &datagram, SendFlags::empty()))?;
        Ok(first)
    }

    /// Waits for one datagram and hands over its messages.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        let (_, length) = retry_on_intr(|| rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC))?;
        // With MSG_TRUNC the length is the datagram's own: longer than the buffer means that the end is lost.
        let mut rest = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        while let Ok((header, after)) = Header::read_from_prefix(rest) {
            let length = header.length as usize;
            let payload_length = length.checked_sub(size_of::<Header>()).ok_or(Errno::BADMSG)?;
            let payload = after.get(..payload_length).ok_or(Errno::BADMSG)?;
            let body = match header.kind {
                MESSAGE_ERROR | MESSAGE_DONE => match status(payload) {
                    // The number is 0 for success, else an errno made negative.
                    0 => Body::Done,
                    errno => Body::Failed(Errno::from_raw_os_error(errno.saturating_neg())),
                },
                _ => Body::Payload(payload),
            };
            each(Message { sequence: header.sequence, flags: header.flags, body });
            rest = rest.get(align(length)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The number at the head of an error or of the end of a dump, which is 0 where there is none.
fn status(payload: &[u8]) -> i32 {
    i32::read_from_prefix(payload).map_or(0, |(number, _)| number)
}

/// Rounds up to the 4 bytes that messages and attributes are aligned to.
fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The attributes of a message: number and value of each. What is cut short ends it.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::read_from_prefix(bytes).ok()?.0);
        let kind = u16::read_from_prefix(bytes.get(2..)?).ok()?.0;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        // The two top bits say "nested" and "network order": not part of the number.
        Some((kind & 0x3fff, value))
    })
}

/// A message's payload being written: a fixed head, then attributes.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(head: &(impl IntoBytes + Immutable)) -> Writer {
        Writer(head.as_bytes().to_vec())
    }

    /// Adds an attribute. Values are short: addresses, names, numbers.
    pub(crate) fn attribute(self, kind: u16, value: &[u8]) -> Writer {
        self.nest(kind, |inner| Writer([&inner.0, value].concat()))
    }

    /// Adds an attribute whose value is written by `write`.
    pub(crate) fn nest(mut self, kind: u16, write: impl FnOnce(Writer) -> Writer) -> Writer {
        let value = write(Writer(Vec::new())).0;
        let length = u16::try_from(4 + value.len()).expect("attributes we write are shorter than 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(&value);
        self.0.resize(align(self.0.len()), 0);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let bytes = Writer::new(&[0u8; 0]).attribute(3, b"abcde").nest(7, |w| w.attribute(1, b"")).finish();
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found[0], (3, &b"abcde"[..]));
        assert_eq!(found[1].0, 7);
        assert_eq!(attributes(found[1].1).collect::<Vec<_>>(), [(1, &b""[..])]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn attributes_cut_short_end_the_list() {
        let whole = Writer::new(&[0u8; 0]).attribute(3, b"abcd").attribute(4, b"efgh").finish();
        for length in 0..whole.len() {
            let found = attributes(&whole[..length]).count();
            assert_eq!(found, length / 8, "of {length} bytes");
        }
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0, "a length of nothing");
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "a length below its own head");
    }
}
