//! Linux's sk_lookup system in-process: namespaces, sockets, the hook, links and maps, without root and on any OS.
//!
//! A packet that arrives in a [`Netns`] goes the way that it goes on Linux: connections first, then the programs that
//! [`Link`]s hold on the namespace, then the regular lookup with its scores and SO_REUSEPORT groups. The answer is the
//! socket that Linux would choose, and on request a [`Trace`] of each step on the way.
//!
//! ```
//! use sklookup_bpf::{ProgramSpec, ProgramType};
//! use sklookup_engine::{Delivery, Link, Machine, Netns, Packet, Program, Socket, Sockmap};
//!
//! let machine = Machine::default();
//! let netns = Netns::new_private(&machine);
//! netns.add_local_route("192.0.2.0/24".parse().unwrap()).unwrap();
//! let steered = Socket::listener(&netns, "127.0.0.1:8080".parse().unwrap()).unwrap();
//! let regular = Socket::listener(&netns, "0.0.0.0:22".parse().unwrap()).unwrap();
//! let sockets = Sockmap::create(&machine, "sockets", 1).unwrap();
//! sockets.put(0, &steered).unwrap();
//!
//! // Every port but 22 of every local address goes to the socket in slot 0.
//! let text = "
//!         r6 = r1
//!         r2 = *(u32 *)(r6 +60)          ; the destination port
//!         if r2 == 22 goto pass
//!         *(u32 *)(r10 -4) = 0
//!         r1 = map[sockets] ll
//!         r2 = r10
//!         r2 += -4
//!         call bpf_map_lookup_elem
//!         if r0 == 0 goto pass
//!         r7 = r0
//!         r1 = r6
//!         r2 = r0
//!         r3 = 0
//!         call bpf_sk_assign
//!         r1 = r7
//!         call bpf_sk_release
//!     pass:
//!         r0 = 1
//!         exit";
//! let spec = ProgramSpec::from_text("steer", ProgramType::SkLookup, text).unwrap();
//! let program = Program::load(&machine, &spec, &[sockets.map()]).unwrap();
//! let link = Link::attach(&program, &netns).unwrap();
//!
//! let syn = |to: &str| Packet::tcp("198.51.100.9:40000".parse().unwrap(), to.parse().unwrap());
//! assert_eq!(netns.receive(&syn("192.0.2.7:443")), Ok(Delivery::Socket(steered.id())));
//! assert_eq!(netns.receive(&syn("192.0.2.7:22")), Ok(Delivery::Socket(regular.id())));
//! link.detach().unwrap();
//! assert_eq!(netns.receive(&syn("192.0.2.7:443")), Ok(Delivery::Reset));
//! ```
//!
//! The words are those of the `kernel` crate, and one set of specs loads into either. Everything outside is an input:
//! [`Config`] has the seed of all randomness, the CPUs and the limits, [`Machine::set_time`] the time, a [`Packet`] the
//! CPU that handles it. The same calls in the same order give the same answers.
//!
//! `examples/own_program.rs` is a unit test of an sk_lookup program in this way, to copy.
//!
//! It is no network stack: no handshake is played, no byte is delivered, and sockets change only when they are told to.

#![forbid(unsafe_code)]

mod addresses;
mod collection;
mod delivery;
mod error;
mod hook;
mod link;
mod lookup;
mod machine;
mod map;
mod netns;
mod packet;
mod program;
mod socket;
mod tables;
pub mod trace;
mod world;

pub use collection::{Collection, CollectionError};
pub use delivery::Delivery;
pub use error::{Errno, Error, Result};
pub use link::{Link, LinkInfo};
pub use machine::{Config, Machine};
pub use map::{Map, MapInfo, Sockmap, update};
pub use netns::{Interface, Lookup, Netns, Sysctls};
pub use packet::{Ingress, Packet, Protocol, Segment};
pub use program::{Context, LoadError, Program, TestRun, Verdict};
pub use sklookup_vm::{Fault, SocketId};
pub use socket::{Family, OtherKind, OtherSocket, Shutdown, Snapshot, Socket, State};
pub use trace::Trace;
