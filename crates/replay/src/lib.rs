//! What a steering policy would do to recorded traffic.
//!
//! [`replay`] reads a capture (pcap or pcapng, of any [`Read`](std::io::Read)) and answers a [`Report`]: how many flows,
//! packets and bytes each binding of a policy would have had, and of the packets that no binding could have had, why.
//! With a second policy every row of it says what both decide.
//!
//! Only what would reach the hook counts: the packet that opens a TCP connection, with whatever of that connection comes
//! in behind it, and UDP datagrams to this host. What a capture does not tell is not guessed: packets whose direction is
//! not known are counted apart, and so are flows that another interface would steer elsewhere.
//!
//! It holds no capture in memory and believes no length in it. It opens nothing, has no clock, and knows neither sockets
//! nor BPF.
//!
//! ```
//! use sklookup_policy::{Policy, parse_file};
//! use sklookup_replay::{Options, replay};
//!
//! let policy = Policy::new(parse_file(r#"bindings = ["web tcp 192.0.2.0/24 80"]"#, "policy.toml").unwrap()).unwrap();
//! let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
//! let report = replay(&header[..], &Options::new(&policy)).unwrap();
//! assert_eq!((report.packets, report.rows.len()), (0, 0));
//! assert!(report.damage.is_none());
//! ```
#![forbid(unsafe_code)]

mod capture;
mod datagram;
mod devices;
mod flows;
mod ip;
mod judge;
mod link;
mod recent;
mod replay;
mod report;

pub use capture::{Capture, Damage, Fault, Format, OpenError, Record, Way};
pub use datagram::{Content, Datagram, Segment};
pub use devices::Devices;
pub use ip::Fragment;
pub use judge::Decided;
pub use link::{Frame, NoPacket, name as link_name, unframe};
pub use replay::{Options, REMEMBERED_FLOWS, replay};
pub use report::{Aside, Direction, Report, Row, Traffic};
