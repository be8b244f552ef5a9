//! Test runs: a program on a made-up packet, alone and without a regular lookup after it.

use std::net::SocketAddr;

use sklookup_bpf::ProgramType;
use sklookup_bpf::abi::context as at;
use sklookup_vm::{Errno, Fault};

use super::{Program, Verdict};
use crate::error::{Error, Result};
use crate::hook::Chain;
use crate::hook::context::LookupContext;
use crate::trace::HookResult;
use crate::world::World;

/// The longest context that is looked at: a page.
const PAGE: usize = 4096;

/// The packet of a test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// IP protocol number. The hook only ever sees TCP and UDP, but a test run takes any.
    pub protocol: u8,
    /// Source of the packet: the remote side.
    pub source: SocketAddr,
    /// Destination of the packet: the local side.
    pub destination: SocketAddr,
}

/// What a test run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// Pass if a socket was selected, else what the program returned.
    pub verdict: Verdict,
    /// The cookie (`SO_COOKIE`) of the selected socket.
    pub cookie: Option<u64>,
    /// Instructions of the last run; a wide load counts once.
    pub instructions: u64,
}

/// Why a test run gave nothing.
enum Failure {
    Errno(Errno),
    Fault(Fault),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Errno(errno)
    }
}

impl Program {
    /// Runs it `repeat` times on a packet, as the only program of the lookup and without a regular lookup after it.
    ///
    /// The program sees interface index 0.
    ///
    /// # Errors
    /// EAFNOSUPPORT where source and destination differ in family; EOPNOTSUPP if it selects a socket with `SO_REUSEPORT`;
    /// ENOTSUPP for a program of another type than sk_lookup; EINVAL, saying what happened, if the program broke off.
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run(&self, context: &Context, repeat: u32) -> Result<TestRun> {
        let Context { protocol, source, destination } = *context;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(self.test_run_error(Errno::AFNOSUPPORT.into()));
        }
        let (remote, local) = ((source.ip(), source.port()), (destination.ip(), destination.port()));
        let context = LookupContext::new(u16::from(protocol), remote, local, 0);
        self.run_alone(&context, repeat).map_err(|failure| self.test_run_error(failure))
    }

    /// The same on the bytes of a context, right or wrong, of which fewer than 72 are filled up with zeros. What comes
    /// back goes to `output`: the context, with the cookie of the selected socket in its first 8 bytes.
    ///
    /// # Errors
    /// E2BIG for more than 72 bytes with something in them; EINVAL for a selected socket, an interface, or neither
    /// `input` nor `output`; ERANGE for a port above 65535; EAFNOSUPPORT for a family that is neither 2 nor 10 in its
    /// lower 16 bits; and as [`Program::test_run`]. ENOSPC for an `output` that is too short, which is filled all the
    /// same.
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run_bytes(&self, input: &[u8], output: &mut [u8], repeat: u32) -> Result<TestRun> {
        let mut run = || {
            if input.is_empty() && output.is_empty() {
                return Err(Errno::INVAL.into());
            }
            let mut bytes = whole(input)?;
            let run = self.run_alone(&context(&bytes)?, repeat)?;
            bytes[..8].copy_from_slice(&run.cookie.unwrap_or(0).to_ne_bytes());
            let fits = output.len().min(at::SIZE);
            output[..fits].copy_from_slice(&bytes[..fits]);
            if !output.is_empty() && fits < at::SIZE {
                return Err(Errno::NOSPC.into());
            }
            Ok(run)
        };
        run().map_err(|failure| self.test_run_error(failure))
    }

    fn run_alone(&self, context: &LookupContext, repeat: u32) -> std::result::Result<TestRun, Failure> {
        if self.kind() != ProgramType::SkLookup {
            return Err(Errno::NOTSUPP.into());
        }
        self.machine().look(|world| {
            let mut chain = Chain::new();
            for _ in 0..repeat.max(1) {
                chain = Chain::new();
                chain.run(self, self.machine(), world, context, 0, &mut ()).map_err(Failure::Fault)?;
            }
            outcome(&chain, world)
        })
    }

    fn test_run_error(&self, failure: Failure) -> Error {
        let call = "BPF_PROG_TEST_RUN";
        match failure {
            Failure::Errno(errno) => Error::new(call, format!("`{}`", self.name()), errno),
            Failure::Fault(fault) => {
                Error::new(call, format!("`{}`, which broke off at {fault}", self.name()), Errno::INVAL)
            }
        }
    }
}

fn outcome(chain: &Chain, world: &World) -> std::result::Result<TestRun, Failure> {
    let (verdict, cookie) = match chain.result() {
        HookResult::Continue => (Verdict::Pass, None),
        HookResult::Drop => (Verdict::Drop, None),
        HookResult::Selected { socket, no_reuseport } => {
            if world.known(socket).reuse_port && !no_reuseport {
                return Err(Errno::OPNOTSUPP.into());
            }
            (Verdict::Pass, Some(socket.cookie()))
        }
    };
    Ok(TestRun { verdict, cookie, instructions: chain.instructions })
}

/// The bytes of a context of any length.
fn whole(given: &[u8]) -> std::result::Result<[u8; at::SIZE], Errno> {
    let mut bytes = [0; at::SIZE];
    let known = given.len().min(at::SIZE);
    bytes[..known].copy_from_slice(&given[..known]);
    if given.len() > PAGE || given[known..].iter().any(|byte| *byte != 0) {
        return Err(Errno::TOOBIG);
    }
    Ok(bytes)
}

/// The checks are in Linux's order.
fn context(bytes: &[u8; at::SIZE]) -> std::result::Result<LookupContext, Errno> {
    let from = |offset: i16| usize::from(offset.unsigned_abs());
    if bytes[..8].iter().chain(&bytes[from(at::INGRESS_IFINDEX)..]).any(|byte| *byte != 0) {
        return Err(Errno::INVAL);
    }
    let four = |offset: i16| {
        let bytes = bytes[from(offset)..].first_chunk::<4>().expect("the context goes on after its last number");
        *bytes
    };
    let sixteen = |offset: i16| {
        let bytes = bytes[from(offset)..].first_chunk::<16>().expect("the context goes on after its addresses");
        *bytes
    };
    let local_port = u16::try_from(u32::from_ne_bytes(four(at::LOCAL_PORT))).map_err(|_| Errno::RANGE)?;
    // Linux keeps 16 bits of either, and looks at them afterwards.
    let family = u32::from_ne_bytes(four(at::FAMILY)) as u16;
    let protocol = u32::from_ne_bytes(four(at::PROTOCOL)) as u16;
    let [first, second, _, _] = four(at::REMOTE_PORT);
    let mut context =
        LookupContext { family, protocol, remote_port: [first, second], local_port, ..LookupContext::default() };
    match family {
        2 => (context.remote_ip4, context.local_ip4) = (four(at::REMOTE_IP4), four(at::LOCAL_IP4)),
        10 => (context.remote_ip6, context.local_ip6) = (sixteen(at::REMOTE_IP6), sixteen(at::LOCAL_IP6)),
        _ => return Err(Errno::AFNOSUPPORT),
    }
    Ok(context)
}
