//! A user with some capabilities and a bpffs of its own.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::mount::{MountFlags, mount};
use sklookup_testbed::{CapabilitySet, Leftovers, Rights, Sandbox, Trace, copy_program, leftovers};

use crate::under_test::Run;

/// What the documents say is enough.
pub const ENOUGH: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN);

/// An ordinary user.
pub const SOMEONE: u32 = 1000;
/// Another one.
pub const ANOTHER: u32 = 1001;

/// A user, with the programs and the bpffs that it uses.
pub struct User {
    pub uid: u32,
    bpffs: PathBuf,
    sklookup: PathBuf,
    server: PathBuf,
    trace: Trace,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl User {
    /// Gives a user a bpffs that nobody else may enter.
    pub fn new(sandbox: &Sandbox, uid: u32) -> User {
        let place = |name: &str| sandbox.scratch.join(format!("{name}-of-{uid}"));
        let (bpffs, trace) = (place("bpffs"), place("trace"));
        std::fs::write(&trace, "").unwrap();
        chown(&trace, Some(uid), None).unwrap();
        let trace = Trace::new(trace);
        let user = User { uid, bpffs, sklookup: place("sklookup"), server: place("server"), trace };
        std::fs::create_dir(&user.bpffs).unwrap();
        let options = std::ffi::CString::new(format!("mode=0700,uid={uid},gid={uid}")).unwrap();
        mount("bpf", &user.bpffs, "bpf", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        // The build may lie where only its owner can go.
        copy_program(env!("CARGO_BIN_EXE_sklookup"), &user.sklookup);
        copy_program(std::env::current_exe().unwrap(), &user.server);
        user
    }

    /// A command of sklookup, with these capabilities and no others.
    pub fn command(&self, caps: CapabilitySet, arguments: &[&str]) -> Command {
        let mut command = Rights { uid: self.uid, caps }.command(&self.sklookup);
        self.trace.of(&mut command);
        command.arg("--bpffs").arg(&self.bpffs).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, caps: CapabilitySet, line: &str) -> Ran {
        self.command(caps, &line.split(' ').collect::<Vec<_>>()).output().unwrap().into()
    }

    /// Runs one that has to do what it was asked.
    pub fn done(&self, caps: CapabilitySet, line: &str) -> Ran {
        let ran = self.run(caps, line);
        assert_eq!(ran.exit, Some(0), "{line} as user {}: {ran:?}", self.uid);
        ran
    }

    /// A server of this user's that has no capabilities, once it listens.
    pub fn server(&self, name: &str, socket: &str) -> Run {
        let mut command = Rights { uid: self.uid, caps: CapabilitySet::empty() }.command(&self.server);
        let mut server = Run::spawn(command.args(["serve", name, socket]).stdin(Stdio::piped()));
        server.tell("uid");
        server
    }

    /// What `run` is to start.
    pub fn served(&self, name: &str, socket: &str) -> [String; 4] {
        [self.server.to_str().unwrap(), "serve", name, socket].map(str::to_owned)
    }

    /// Nothing is left of what this user's commands made: no name, nothing on the hook, no object.
    pub fn assert_clean(&self, sandbox: &Sandbox) {
        assert_eq!(leftovers::names(&self.bpffs), Vec::<String>::new());
        assert_eq!(Leftovers::of(sandbox, &self.trace), Leftovers::default());
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("answers are text"),
            stderr: String::from_utf8(output.stderr).expect("talk is text"),
        }
    }
}
