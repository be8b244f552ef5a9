//! The door to the Linux kernel: the only crate that calls bpf(2), and the only one with unsafe code.
//!
//! Blueprints come in ([`sklookup_bpf::ProgramSpec`], [`sklookup_bpf::MapSpec`]), live objects go out: [`Program`],
//! [`Map`], [`Link`]. Every fd is owned and close-on-exec; every errno is kept, and the caller adds the meaning. The
//! modules beside them know what else steering has to ask a kernel: namespaces, processes, sockets, routes.

mod door;

// BPF objects.
pub mod bpffs;
mod collection;
mod error;
mod link;
mod map;
mod object;
pub mod probe;
mod program;
mod ring_buffer;
mod sys;

pub use collection::{Collection, CollectionError};
pub use error::{Errno, Error, Result, errno_name};
pub use link::{Link, LinkInfo};
pub use map::{Map, MapInfo, Sockmap, possible_cpus};
pub use object::Object;
pub use program::{Context, LoadError, Program, ProgramInfo, TestRun, Verdict, program_info_by_id};
pub use ring_buffer::RingBuffer;

// The rest of the system.
pub mod caps;
mod clock;
pub mod disk;
mod identity;
pub mod interface;
pub mod listen_fds;
mod membarrier;
mod netlink;
mod netns;
pub mod process;
pub mod route;
mod sandbox;
pub mod service_manager;
pub mod signals;
pub mod sock_diag;
pub mod socket;
pub mod socket_options;
pub mod spawn;
pub mod unix_listener;

pub use clock::{awake_since_boot, since_boot};
pub use identity::{effective_uid, login_uid};
pub use membarrier::grace_period;
pub use netns::{Netns, NetnsError};
pub use sandbox::{Sandbox, SandboxError, in_sandbox};
pub use socket::Protocol;
