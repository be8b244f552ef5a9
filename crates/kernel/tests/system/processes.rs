//! Processes, the sockets they hold, and taking those.

use std::collections::HashSet;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use sklookup_kernel::process::{self, FdSocket, Process, ProcessError, ProcessName};
use sklookup_kernel::socket::Socket;
use sklookup_testbed::{Trial, plain_trial, sandbox_trial};

use crate::leaking;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        plain_trial("a_socket_at_a_high_fd_of_another_process_is_found_and_taken", || {
            let (holder, fd, listener) = Holder::start(5000);
            let wanted = Socket::inspect(&listener).unwrap().unwrap();

            let process = Process::open(holder.pid()).unwrap();
            assert_eq!(process.sockets().unwrap(), [FdSocket { fd, inode: wanted.inode }]);
            let taken = process.take_fd(fd).unwrap();
            assert_eq!(Socket::inspect(&taken).unwrap().unwrap(), wanted);
            assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        }),
        sandbox_trial("sockets_are_found_by_trying_where_fds_may_not_be_listed", |_| {
            let (holder, fd, listener) = Holder::start(300);
            let inode = Socket::inspect(&listener).unwrap().unwrap().inode;
            let process = Process::open(holder.pid()).unwrap();
            let directory = format!("/proc/{}/fd", holder.pid());
            let (listed, found) =
                as_nobody_with_ptrace(|| (std::fs::read_dir(directory).is_ok(), process.sockets().unwrap()));
            assert!(!listed, "CAP_SYS_PTRACE alone lets nobody list root's fds");
            assert_eq!(found, [FdSocket { fd, inode }]);
        }),
        plain_trial("a_process_that_is_gone_is_an_error_that_says_so", || {
            let mut child = Command::new("true").spawn().unwrap();
            let pid = child.id();
            let process = Process::open(pid);
            child.wait().unwrap();
            assert_eq!(Process::open(pid).unwrap_err().to_string(), format!("pid {pid}: no such process"));
            // Opened while it lived or not: it is gone either way, and nobody else is asked.
            if let Ok(process) = process {
                assert!(!process.is_alive());
                assert!(matches!(process.sockets(), Err(ProcessError::Gone { .. })));
                assert!(matches!(process.name(), Err(ProcessError::Gone { .. })));
                assert!(matches!(process.take_fd(0), Err(ProcessError::Gone { .. })));
            }
            for pid in [0, u32::MAX] {
                assert!(matches!(Process::open(pid), Err(ProcessError::Gone { .. })));
            }
        }),
        plain_trial("a_thread_is_told_from_a_process", || {
            let thread = rustix::thread::gettid().as_raw_pid().cast_unsigned();
            let other = std::thread::spawn(move || {
                let own = rustix::thread::gettid().as_raw_pid().cast_unsigned();
                assert_ne!(own, thread);
                Process::open(own).unwrap_err()
            });
            assert!(matches!(other.join().unwrap(), ProcessError::Thread { .. }));
        }),
        plain_trial("an_fd_that_is_not_open_is_an_error_that_says_so", || {
            let own = Process::open(std::process::id()).unwrap();
            let error = own.take_fd(900_000).unwrap_err().to_string();
            assert_eq!(error, format!("fd 900000 of pid {}: not open", std::process::id()));
        }),
        plain_trial("a_process_is_described_as_it_is", || {
            let own = Process::open(std::process::id()).unwrap();
            assert_eq!(own.uid().unwrap(), rustix::process::getuid().as_raw());
            assert_eq!(own.parent().unwrap(), std::os::unix::process::parent_id());
            let arguments: Vec<String> = std::env::args().collect();
            assert_eq!(own.command_line().unwrap(), arguments);
            assert!(arguments[0].contains(&own.name().unwrap()));
            assert!(own.is_alive());
            let (holder, _, _) = Holder::start(20);
            assert!(Process::open(holder.pid()).unwrap().start_time().unwrap() >= own.start_time().unwrap());
        }),
        plain_trial("a_family_is_found_both_ways", || {
            let mut shell = Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().unwrap();
            let own = std::process::id();
            let pid = shell.id();
            // The shell starts it at its leisure.
            let grandchild = loop {
                if let [grandchild] = process::descendants(pid).unwrap()[..] {
                    break grandchild;
                }
            };
            assert_eq!(process::ancestors(grandchild)[..2], [pid, own]);
            assert!(process::descendants(own).unwrap().contains(&grandchild));
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }),
        plain_trial("the_owner_of_a_socket_is_named", || {
            let (holder, _, listener) = Holder::start(30);
            let inode = Socket::inspect(&listener).unwrap().unwrap().inode;
            let owners = process::owners(&HashSet::from([inode]));
            let named = &owners.of[&inode];
            assert!(named.contains(&ProcessName { pid: holder.pid(), name: "cat".into() }), "{named:?}");
            assert!(named.iter().any(|process| process.pid == std::process::id()), "{named:?}");
        }),
    ]
}

/// A process with one socket, at an fd of our choice; it ends with this.
struct Holder(Child);

impl Holder {
    /// The number is `fd` or the next free one after it.
    fn start(fd: i32) -> (Holder, u32, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        allow_fd(fd);
        let _alone = leaking();
        let leaked = rustix::io::fcntl_dupfd_cloexec(&listener, fd).unwrap();
        rustix::io::fcntl_setfd(&leaked, FdFlags::empty()).unwrap();
        let number = leaked.as_raw_fd().cast_unsigned();
        (Holder(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()), number, listener)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Raises the limit of open files as far as it takes for this number.
fn allow_fd(fd: i32) {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let wanted = u64::from(fd.cast_unsigned()) + 100;
    if current.is_some_and(|current| current < wanted) {
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
    }
}

/// Runs `f` on a thread that is nobody's, with no right but looking into other users' processes.
fn as_nobody_with_ptrace<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_keep_capabilities(true).unwrap();
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                let only = CapabilitySet::SYS_PTRACE;
                let sets = CapabilitySets { effective: only, permitted: only, inheritable: CapabilitySet::empty() };
                rustix::thread::set_capabilities(None, sets).unwrap();
                f()
            })
            .join()
            .unwrap()
    })
}
