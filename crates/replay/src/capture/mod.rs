//! Captures: a file of packets, packet after packet.
//!
//! Lengths in a file are claims. None is believed beyond [`LONGEST`] bytes, and memory is taken for what is there.

mod damage;
mod order;
mod pcap;
mod pcapng;
mod source;

use std::io::{self, Read};

pub use damage::{Damage, Fault};
pub use order::Order;
use pcap::Pcap;
use pcapng::Pcapng;
use source::Source;

/// The longest record or block that is read, in bytes: libpcap takes none above it either.
pub const LONGEST: usize = 16 << 20;

/// The two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One link layer for all packets, and nothing about interfaces.
    Pcap,
    /// Blocks; each interface is described, and packets may say which way they went.
    Pcapng,
}

/// One packet of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Number of the link layer: the LINKTYPE_ values of tcpdump.org.
    pub link: u16,
    /// The bytes that were kept, from the link layer's header on.
    pub bytes: &'a [u8],
    /// How many bytes it had on the wire.
    pub original: u32,
    /// What the capture calls its interface.
    pub interface: Option<&'a str>,
    /// Which way it went, if the capture says so.
    pub way: Option<Way>,
}

/// Which way a packet went, seen from the host that captured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To this host, and it alone.
    ToHost,
    /// To this host among many: broadcast or multicast on the link.
    ToMany,
    /// To another host on the link: seen in promiscuous mode.
    ToOthers,
    /// Sent by this host.
    FromHost,
}

/// Why nothing can be read from the start.
#[derive(Debug)]
pub enum OpenError {
    /// It does not begin as a capture does; the first bytes.
    NotACapture(Vec<u8>),
    /// The first bytes could not be read.
    Read(io::Error),
}

/// A capture that is being read.
#[derive(Debug)]
pub struct Capture<R> {
    source: Source<R>,
    reader: Reader,
    /// The record handed out last: it is left behind when the next one is asked for.
    taken: usize,
    damage: Damage,
    ended: bool,
}

#[derive(Debug)]
enum Reader {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// What a reader finds at the place where the source stands.
enum Found {
    /// A packet: its bytes are those `from..to` of what is at hand.
    Packet { link: u16, from: usize, to: usize, original: u32, interface: Option<u32>, way: Option<Way>, whole: usize },
    /// Something else of so many bytes, which are at hand.
    Other(usize),
    /// Something that can't be understood, and where it ends.
    Broken(Fault, usize),
}

/// Why a reader can't go on.
enum Stop {
    /// The input ends here, as it should.
    End,
    /// Where the next record begins can't be known.
    Lost(Fault),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Lost(Fault::Read(error.to_string()))
    }
}

impl<R: Read> Capture<R> {
    /// Looks what kind of file it is.
    ///
    /// # Errors
    /// It is none, or can't be read.
    pub fn open(input: R) -> Result<Capture<R>, OpenError> {
        let mut source = Source::new(input);
        let whole = source.wants(pcap::HEADER).map_err(OpenError::Read)?;
        let start = source.at_hand();
        let (reader, header) = match Pcap::read_header(start) {
            Some(pcap) if whole => (Reader::Pcap(pcap), pcap::HEADER),
            _ if pcapng::begins(start) => (Reader::Pcapng(Pcapng::default()), 0),
            _ => return Err(OpenError::NotACapture(start[..start.len().min(8)].to_vec())),
        };
        source.skip(header);
        Ok(Capture { source, reader, taken: 0, damage: Damage::default(), ended: false })
    }

    /// Which kind of file it is.
    pub fn format(&self) -> Format {
        match self.reader {
            Reader::Pcap(_) => Format::Pcap,
            Reader::Pcapng(_) => Format::Pcapng,
        }
    }

    /// The next packet; `None` at the end, or where nothing more can be read: [`Capture::damage`] tells which.
    #[allow(clippy::should_implement_trait)] // a record borrows from the reader
    pub fn next(&mut self) -> Option<Record<'_>> {
        self.source.skip(std::mem::take(&mut self.taken));
        while !self.ended {
            let found = match &mut self.reader {
                Reader::Pcap(pcap) => pcap.find(&mut self.source),
                Reader::Pcapng(pcapng) => pcapng.find(&mut self.source),
            };
            match found {
                Ok(Found::Packet { link, from, to, original, interface, way, whole }) => {
                    self.taken = whole;
                    let bytes = &self.source.at_hand()[from..to];
                    let interface = match (&self.reader, interface) {
                        (Reader::Pcapng(pcapng), Some(number)) => pcapng.name(number),
                        _ => None,
                    };
                    return Some(Record { link, bytes, original, interface, way });
                }
                Ok(Found::Other(whole)) => self.source.skip(whole),
                Ok(Found::Broken(fault, whole)) => {
                    self.damage.note(self.source.offset(), fault);
                    self.damage.skipped += 1;
                    self.source.skip(whole);
                }
                Err(Stop::End) => self.ended = true,
                Err(Stop::Lost(fault)) => {
                    self.damage.note(self.source.offset(), fault);
                    self.damage.stopped = Some(self.source.offset());
                    self.ended = true;
                }
            }
        }
        None
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }
}
