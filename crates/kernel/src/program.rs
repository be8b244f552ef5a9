//! Programs: loaded from a blueprint, opened from a pin, asked about themselves, run on a made-up packet.

use std::ffi::CString;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use sklookup_bpf::abi::{self, context};
use sklookup_bpf::{Insn, MapRef, ProgramSpec, Wide, encode};

use crate::bpffs::{self, ObjectKind};
use crate::error::{Explained, Failure, Result};
use crate::map::{Map, kernel_name, name_from};
use crate::sys::{self, Access, attr};

/// First size of the verifier's log; four times as much until it fits.
const LOG_SIZE: usize = 1 << 18;
/// Where growing ends: a log longer than this is kept as far as it goes.
const LOG_LIMIT: usize = 1 << 28;
/// How often a load is tried that the kernel broke off (EAGAIN: a signal arrived while it verified).
const LOAD_ATTEMPTS: usize = 5;

/// A program in the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    id: u32,
    /// The name or path it is known by, for errors.
    known_as: String,
}

impl Program {
    /// Loads a program; `maps[i]` is the map that its instructions call number `i`.
    ///
    /// # Errors
    /// What the kernel answered, with the verifier's log: EACCES or EINVAL where the verifier refused it, EPERM without
    /// CAP_BPF, E2BIG for more than 64 maps or too many instructions.
    #[doc(alias = "BPF_PROG_LOAD")]
    pub fn load(spec: &ProgramSpec, maps: &[BorrowedFd<'_>]) -> std::result::Result<Program, LoadError> {
        let refuse = |errno, log: String| LoadError::new(&spec.name, errno, log);
        let insns = with_fds(&spec.insns, maps).map_err(|log| refuse(Errno::INVAL, log))?;
        let license = CString::new(spec.license.as_str())
            .map_err(|_| refuse(Errno::INVAL, "the licence has a zero byte".to_owned()))?;
        let told = Told::of(spec).map_err(|(failure, log)| refuse(failure.errno, log))?;
        let attempt = |log: &mut [u8]| {
            let attr = || attr::ProgLoad {
                kind: spec.kind as u32,
                expected_attach_type: spec.kind.attach_type(),
                name: kernel_name(&spec.name),
                ..Default::default()
            };
            for _ in 1..LOAD_ATTEMPTS {
                match sys::prog_load(attr(), &insns, told.as_ref().map(Told::about), &license, log) {
                    Err(failure) if failure.errno == Errno::AGAIN => {}
                    answer => return answer,
                }
            }
            sys::prog_load(attr(), &insns, told.as_ref().map(Told::about), &license, log)
        };
        // Without a log first: writing one makes a load several times slower.
        let fd =
            attempt(&mut []).or_else(|failure| explain(failure, attempt)).map_err(|(f, log)| refuse(f.errno, log))?;
        Program::new(fd, format!("`{}`", spec.name)).map_err(|error| refuse(error.errno(), error.to_string()))
    }

    /// Opens a pinned program.
    ///
    /// # Errors
    /// ENOENT; EACCES without the right to read and write the pin; EINVAL if something else is pinned there.
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn open(path: &Path) -> Result<Program> {
        Program::open_as(path, Access::ReadWrite)
    }

    /// Opens a pinned program where the right to read the pin is all we have.
    ///
    /// # Errors
    /// As [`Program::open`].
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn open_read_only(path: &Path) -> Result<Program> {
        Program::open_as(path, Access::ReadOnly)
    }

    /// Opens the program of this id, whoever loaded it.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; ENOENT if there is none (any more).
    #[doc(alias = "BPF_PROG_GET_FD_BY_ID")]
    pub fn by_id(id: u32) -> Result<Program> {
        let known_as = id.to_string();
        Program::new(sys::prog_by_id(id).map_err(|f| f.on(&known_as))?, known_as)
    }

    /// The id: unique until the program is gone. Every load makes a new one, of the same bytes too.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the kernel knows about it.
    ///
    /// # Errors
    /// None that a program of ours is known to give.
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<ProgramInfo> {
        ProgramInfo::of(self.as_fd()).map_err(|f| f.on(&self.known_as))
    }

    /// Makes the program hold a map that its instructions don't mention. Since: Linux 5.10.
    ///
    /// # Errors
    /// EINVAL on older kernels.
    #[doc(alias = "BPF_PROG_BIND_MAP")]
    pub fn bind_map(&self, map: &Map) -> Result<()> {
        sys::prog_bind_map(self.as_fd(), map.as_fd()).map_err(|f| f.on(&self.known_as))
    }

    /// Runs it `repeat` times on a packet, as the only program of the lookup and without a regular lookup after it.
    ///
    /// The program sees interface index 0. Since: Linux 5.13.
    ///
    /// # Errors
    /// EAFNOSUPPORT where source and destination differ in family; EOPNOTSUPP if it selects a socket of a reuseport
    /// group, and then it has run; [`Errno`] 524 on older kernels.
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run(&self, context: &Context, repeat: u32) -> Result<TestRun> {
        let call = "BPF_PROG_TEST_RUN";
        let input = context.to_bytes().ok_or(Failure { call, errno: Errno::AFNOSUPPORT });
        let mut output = [0; context::SIZE];
        self.test_run_bytes(&input.map_err(|f| f.on(&self.known_as))?, &mut output, repeat)
    }

    /// The same on the bytes of a context, right or wrong; what the kernel makes of them goes to `output`.
    ///
    /// # Errors
    /// As [`Program::test_run`]; EINVAL, ERANGE, E2BIG and EAFNOSUPPORT for contexts that can't be; ENOSPC for an
    /// `output` that is too short.
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run_bytes(&self, input: &[u8], output: &mut [u8], repeat: u32) -> Result<TestRun> {
        loop {
            match sys::prog_test_run(self.as_fd(), input, output, repeat) {
                // A signal between two repetitions.
                Err(failure) if failure.errno == Errno::INTR => {}
                Err(failure) => return Err(failure.on(&self.known_as)),
                Ok((verdict, nanos)) => {
                    let cookie = output.first_chunk().map_or(0, |cookie| u64::from_ne_bytes(*cookie));
                    let verdict = if verdict == abi::SK_PASS as u32 { Verdict::Pass } else { Verdict::Drop };
                    return Ok(TestRun { verdict, cookie: (cookie != 0).then_some(cookie), nanos: nanos.into() });
                }
            }
        }
    }

    /// Pins it under a path.
    ///
    /// # Errors
    /// As [`bpffs::pin`].
    pub fn pin(&self, path: &Path) -> Result<()> {
        bpffs::pin(self.as_fd(), path)
    }

    fn new(fd: OwnedFd, known_as: String) -> Result<Program> {
        let id = sys::prog_info(fd.as_fd(), &mut []).map_err(|f| f.on(&known_as))?.id;
        Ok(Program { fd, id, known_as })
    }

    fn open_as(path: &Path, access: Access) -> Result<Program> {
        Program::new(bpffs::open(path, ObjectKind::Program, access)?, path.display().to_string())
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the kernel knows about a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Id: unique until the program is gone.
    pub id: u32,
    /// Type by the kernel's number.
    pub kind: u32,
    /// Name; what is not UTF-8 in it is replaced.
    pub name: String,
    /// Digest of the instructions, maps left out: equal for equal code.
    pub tag: [u8; 8],
    /// When it was loaded, in nanoseconds since boot.
    pub load_time: u64,
    /// Who loaded it.
    pub created_by_uid: u32,
    /// Bytes of machine code; 0 if it is interpreted, or if we may not know.
    pub jited_len: u32,
    /// Bytes of instructions after the verifier's rewriting; 0 if we may not know.
    pub xlated_len: u32,
    /// Ids of the maps it holds.
    pub map_ids: Vec<u32>,
    /// How often it ran, while someone had the kernel count that.
    pub run_count: u64,
    /// For how many nanoseconds, in all.
    pub run_time: u64,
}

impl ProgramInfo {
    fn of(program: BorrowedFd<'_>) -> std::result::Result<ProgramInfo, Failure> {
        let mut map_ids = vec![0; 64];
        loop {
            let info = sys::prog_info(program, &mut map_ids)?;
            let maps = info.nr_map_ids as usize;
            if maps > map_ids.len() {
                // Maps can be bound to a program until the next call: a little more than it has now.
                map_ids.resize(maps + 16, 0);
                continue;
            }
            map_ids.truncate(maps);
            return Ok(ProgramInfo {
                id: info.id,
                kind: info.kind,
                name: name_from(&info.name),
                tag: info.tag,
                load_time: info.load_time,
                created_by_uid: info.created_by_uid,
                jited_len: info.jited_prog_len,
                xlated_len: info.xlated_prog_len,
                map_ids,
                run_count: info.run_cnt,
                run_time: info.run_time_ns,
            });
        }
    }
}

/// What the kernel knows about the program of this id, whoever loaded it.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; ENOENT if there is none (any more).
#[doc(alias = "BPF_PROG_GET_FD_BY_ID")]
pub fn program_info_by_id(id: u32) -> Result<ProgramInfo> {
    sys::prog_by_id(id).and_then(|fd| ProgramInfo::of(fd.as_fd())).map_err(|f| f.on(id.to_string()))
}

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

impl Context {
    /// The context in the kernel's layout, with no socket selected; `None` if the addresses differ in family.
    pub fn to_bytes(&self) -> Option<[u8; context::SIZE]> {
        let mut bytes = [0; context::SIZE];
        let mut put = |offset: i16, field: &[u8]| {
            let start = usize::from(offset.unsigned_abs());
            bytes[start..start + field.len()].copy_from_slice(field);
        };
        match (self.source, self.destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                put(context::FAMILY, &abi::AF_INET.to_ne_bytes());
                put(context::REMOTE_IP4, &source.ip().octets());
                put(context::LOCAL_IP4, &destination.ip().octets());
            }
            (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
                put(context::FAMILY, &abi::AF_INET6.to_ne_bytes());
                put(context::REMOTE_IP6, &source.ip().octets());
                put(context::LOCAL_IP6, &destination.ip().octets());
            }
            _ => return None,
        }
        put(context::PROTOCOL, &u32::from(self.protocol).to_ne_bytes());
        // The remote port in network order, the local one in host order.
        put(context::REMOTE_PORT, &self.source.port().to_be_bytes());
        put(context::LOCAL_PORT, &u32::from(self.destination.port()).to_ne_bytes());
        Some(bytes)
    }
}

/// What a test run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// Pass if a socket was selected, else what the program returned.
    pub verdict: Verdict,
    /// The cookie (`SO_COOKIE`) of the selected socket.
    pub cookie: Option<u64>,
    /// Nanoseconds a run took, the mean of all repetitions.
    pub nanos: u64,
}

/// What a program returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No socket gets the packet.
    Drop,
    /// The selected socket gets it, or the regular lookup decides.
    Pass,
}

/// A program that the kernel did not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    program: String,
    errno: Errno,
    log: String,
}

impl LoadError {
    /// The refusal of a program of this name, with all that the verifier wrote.
    pub fn new(program: impl Into<String>, errno: Errno, log: impl Into<String>) -> LoadError {
        LoadError { program: program.into(), errno, log: log.into() }
    }

    /// What the kernel answered.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The name of the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// All that the verifier wrote; empty if the program did not get that far.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The end of the log, where the reason stands: up to eight lines, the verifier's statistics left out.
    pub fn tail(&self) -> String {
        let is_reason = |line: &&str| {
            let statistics = line.starts_with("processed ") || line.starts_with("verification time ");
            !statistics && !line.starts_with("stack depth ") && !line.trim().is_empty()
        };
        let mut lines: Vec<&str> = self.log.lines().rev().filter(is_reason).take(8).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load program `{}`: {}", self.program, Explained(self.errno))?;
        match self.tail().lines().last() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

/// What the kernel is told of a program besides its instructions.
struct Told {
    types: OwnedFd,
    functions: Vec<[u32; 2]>,
    lines: Vec<[u32; 4]>,
}

impl Told {
    /// Makes the types of a program known. A kernel may refuse those of a language that it does not know; programs without
    /// callbacks run without types, too, and then it is told nothing.
    fn of(spec: &ProgramSpec) -> std::result::Result<Option<Told>, (Failure, String)> {
        let Some(btf) = &spec.btf else { return Ok(None) };
        let types = sys::btf_load(&btf.types, &mut [])
            .or_else(|failure| explain(failure, |log| sys::btf_load(&btf.types, log)));
        let is_callback = |insn: &Insn| matches!(insn, Insn::LoadWide { value: Wide::Function(_), .. });
        let types = match types {
            Ok(types) => types,
            Err((failure, log)) if spec.insns.iter().any(is_callback) => {
                return Err((failure, format!("the types of its functions, which callbacks need: {log}")));
            }
            Err(_) => return Ok(None),
        };
        let functions = btf.functions.iter().map(|function| [function.slot, function.kind]).collect();
        let lines = btf.lines.iter().map(|line| [line.slot, line.file, line.text, line.position]).collect();
        Ok(Some(Told { types, functions, lines }))
    }

    fn about(&self) -> sys::About<'_> {
        sys::About { types: self.types.as_fd(), functions: &self.functions, lines: &self.lines }
    }
}

/// The instructions as bytes, with the fds of `maps` in the place of their numbers.
fn with_fds(insns: &[Insn], maps: &[BorrowedFd<'_>]) -> std::result::Result<Vec<u8>, String> {
    let fd = |map| match map {
        MapRef::Index(index) => maps
            .get(index as usize)
            .map(|fd| MapRef::Fd(fd.as_raw_fd()))
            .ok_or_else(|| format!("an instruction names map {index}, and only {} were given", maps.len())),
        MapRef::Fd(_) => Err("an instruction names a map by an fd of another process".to_owned()),
    };
    let insns: Vec<Insn> = insns
        .iter()
        .map(|&insn| match insn {
            Insn::LoadWide { dst, value: Wide::Map(map) } => Ok(Insn::LoadWide { dst, value: Wide::Map(fd(map)?) }),
            Insn::LoadWide { dst, value: Wide::MapValue { map, offset } } => {
                Ok(Insn::LoadWide { dst, value: Wide::MapValue { map: fd(map)?, offset } })
            }
            other => Ok(other),
        })
        .collect::<std::result::Result<_, String>>()?;
    Ok(encode(&insns))
}

/// Loads once more with a log, to learn why it failed; should it succeed now, so be it.
fn explain(
    first: Failure,
    attempt: impl Fn(&mut [u8]) -> std::result::Result<OwnedFd, Failure>,
) -> std::result::Result<OwnedFd, (Failure, String)> {
    let mut size = LOG_SIZE;
    loop {
        let mut log = vec![0; size];
        match attempt(&mut log) {
            Ok(fd) => return Ok(fd),
            Err(failure) if failure.errno == Errno::NOSPC && size < LOG_LIMIT => size *= 4,
            // Too long for any buffer: the first answer is the real one.
            Err(failure) if failure.errno == Errno::NOSPC => return Err((first, name_from(&log))),
            Err(failure) => return Err((failure, name_from(&log))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(log: &str) -> LoadError {
        LoadError { program: "steer".to_owned(), errno: Errno::ACCESS, log: log.to_owned() }
    }

    #[test]
    fn the_tail_of_a_log_ends_with_the_reason() {
        let error = refused(
            "func#0 @0\n0: R1=ctx() R10=fp0\n0: (61) r0 = *(u32 *)(r1 +68)\ninvalid bpf_context access off=68 size=4\n\
             verification time 42 usec\nstack depth 0\nprocessed 1 insns (limit 1000000)\n",
        );
        assert!(error.tail().ends_with("(r1 +68)\ninvalid bpf_context access off=68 size=4"), "{}", error.tail());
        assert_eq!(
            error.to_string(),
            "load program `steer`: permission denied (EACCES): invalid bpf_context access off=68 size=4"
        );
    }

    #[test]
    fn without_a_log_the_errno_is_all_there_is_to_say() {
        assert_eq!(refused("").to_string(), "load program `steer`: permission denied (EACCES)");
    }

    #[test]
    fn a_context_has_its_remote_port_in_network_order_and_its_local_port_in_host_order() {
        let context = Context {
            protocol: 6,
            source: "198.51.100.9:258".parse().unwrap(),
            destination: "192.0.2.7:80".parse().unwrap(),
        };
        let bytes = context.to_bytes().unwrap();
        assert_eq!(bytes[..8], [0; 8]);
        assert_eq!(bytes[8..12], 2u32.to_ne_bytes());
        assert_eq!(bytes[12..16], 6u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [198, 51, 100, 9]);
        assert_eq!(bytes[36..40], [1, 2, 0, 0]);
        assert_eq!(bytes[40..44], [192, 0, 2, 7]);
        assert_eq!(bytes[60..64], 80u32.to_ne_bytes());
        assert_eq!(bytes[64..], [0; 8]);
    }

    #[test]
    fn a_packet_is_of_one_family() {
        let context = Context {
            protocol: 6,
            source: "[2001:db8::1]:1".parse().unwrap(),
            destination: "192.0.2.7:80".parse().unwrap(),
        };
        assert_eq!(context.to_bytes(), None);
    }
}
