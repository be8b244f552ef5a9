//! Starting commands, and signals.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{CapabilitySet, CapabilitySets};
use sklookup_kernel::process::{self, Process};
use sklookup_kernel::signals::{Origin, Received, Signal, Signals, wait_readable};
use sklookup_kernel::spawn::{Exit, SpawnError, Stdout, User, become_subreaper, reap, spawn};
use sklookup_testbed::{Trial, plain_trial, sandbox_trial};

use crate::leaking;

/// `signals` has SIGUSR2, blocked in every thread.
pub(crate) fn trials(mut signals: Signals) -> Vec<Trial> {
    vec![
        plain_trial("a_command_ends_as_it_ended", || {
            assert_eq!(shell("exit 3", None), Exit::Code(3));
            assert_eq!(shell("kill -TERM $$", None), Exit::Signal(15));
            assert_eq!((Exit::Code(3).shell_code(), Exit::Signal(15).shell_code()), (3, 143));
        }),
        plain_trial("a_command_that_is_not_there_is_told_from_one_that_may_not_run", || {
            let missing = spawn(&words(&["no-such-command-anywhere"]), None, Stdout::Inherited).unwrap_err();
            assert_eq!(
                (missing.shell_code(), missing.to_string().as_str()),
                (127, "no-such-command-anywhere: not found")
            );
            let denied = spawn(&words(&["/etc/passwd"]), None, Stdout::Inherited).unwrap_err();
            assert!(matches!(denied, SpawnError::NotExecutable { .. }), "{denied}");
            assert_eq!(denied.shell_code(), 126);
        }),
        plain_trial("no_fd_of_ours_reaches_a_command", || {
            let _alone = leaking();
            let leaked = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 50).unwrap();
            rustix::io::fcntl_setfd(&leaked, FdFlags::empty()).unwrap();
            let script = format!("test -e /proc/self/fd/{}", leaked.as_raw_fd());
            let control = Command::new("sh").args(["-c", &script]).status().unwrap();
            assert!(control.success(), "started without care, it has the fd");
            assert_eq!(shell(&script, None), Exit::Code(1));
            assert_eq!(
                shell("test -e /proc/self/fd/0 -a -e /proc/self/fd/1 -a -e /proc/self/fd/2", None),
                Exit::Code(0)
            );
        }),
        plain_trial("a_command_starts_with_no_signal_blocked_or_pipe_ignored", || {
            // On a thread of its own: what it blocks stays blocked.
            std::thread::spawn(|| {
                let _signals = Signals::block(&[Signal::TERM, Signal::INT]).unwrap();
                let script = "grep -q '^SigBlk:.0000000000000000$' /proc/self/status && kill -PIPE $$";
                assert_eq!(shell(script, None), Exit::Signal(13));
            })
            .join()
            .unwrap();
        }),
        plain_trial("a_running_command_is_waited_for_by_its_fd", || {
            let mut child = spawn(&words(&["sleep", "1000"]), None, Stdout::Inherited).unwrap();
            assert_eq!(child.try_wait().unwrap(), None);
            child.send(Signal::KILL).unwrap();
            assert_eq!(wait_readable(&[child.as_fd()], None).unwrap(), [true]);
            assert_eq!(child.wait().unwrap(), Exit::Signal(9));
            child.send(Signal::KILL).unwrap();
        }),
        plain_trial("a_user_that_is_not_there_is_nobody", || {
            assert_eq!(User::by_name("no-such-user-anywhere").unwrap(), None);
            assert_eq!(User::by_name("with\0zero").unwrap(), None);
            assert_eq!(User::by_name("root").unwrap().map(|user| (user.uid, user.gid)), Some((0, 0)));
        }),
        sandbox_trial("a_command_is_started_as_another_user_and_with_no_rights_of_ours", |_| {
            let user = User::by_name("nobody").unwrap().expect("every system has nobody");
            let script = format!(
                "test \"$(id -u):$(id -g):$USER:$LOGNAME:$HOME\" = '{}:{}:nobody:nobody:{}' &&
                 grep -q '^CapEff:.0000000000000000$' /proc/self/status && ! id -G | grep -qw 0",
                user.uid,
                user.gid,
                user.home.to_str().unwrap()
            );
            assert_eq!(shell(&script, Some(&user)), Exit::Code(0));
        }),
        sandbox_trial("no_ambient_capability_of_ours_reaches_a_command", |_| {
            let script = "grep -q '^CapPrm:.*[1-9a-f]' /proc/self/status";
            let user = User::by_name("daemon").unwrap().expect("every system has daemon");
            as_nobody_with_ambient(CapabilitySet::SETUID | CapabilitySet::SETGID, || {
                let control = Command::new("sh").args(["-c", script]).status().unwrap();
                assert!(control.success(), "started without care, it has them");
                for user in [None, Some(&user)] {
                    assert_eq!(shell(script, user), Exit::Code(1), "{user:?}");
                }
            });
        }),
        plain_trial("an_orphan_of_a_command_comes_to_us", || {
            // In a process of its own: it takes leave of any child, and the other tests wait for theirs.
            assert!(Command::new(std::env::current_exe().unwrap()).arg(ADOPT).status().unwrap().success());
        }),
        plain_trial("a_signal_that_was_sent_names_its_sender", move || {
            assert_eq!(signals.read().unwrap(), None);
            let mut sender = spawn(&words(&["sh", "-c", "kill -USR2 $PPID"]), None, Stdout::Inherited).unwrap();
            assert_eq!(wait_readable(&[signals.as_fd()], None).unwrap(), [true]);
            let origin = Origin::Process { pid: sender.pid() };
            assert_eq!(signals.read().unwrap(), Some(Received { number: Signal::USR2.as_raw(), origin }));
            assert_eq!(signals.read().unwrap(), None);
            sender.wait().unwrap();
        }),
        plain_trial("waiting_ends_when_the_time_is_up", || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let soon = Some(Duration::from_millis(1));
            assert_eq!(wait_readable(&[reader.as_fd()], soon).unwrap(), [false]);
            drop(writer);
            assert_eq!(wait_readable(&[reader.as_fd()], soon).unwrap(), [true], "the other side is gone");
        }),
    ]
}

/// The word that makes this binary do [`adopt`].
pub(crate) const ADOPT: &str = "adopt";

/// Becomes the parent of what a command leaves behind, and takes leave of it.
pub(crate) fn adopt() {
    become_subreaper().unwrap();
    // The shell leaves a process behind that lives until its input ends, and ends itself.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
    let mut child = spawn(&words(&["sh", "-c", "tail -n 1 <\"$0\" &", &path]), None, Stdout::Inherited).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    // There is no other: it may still be a shell that is about to become tail, and keeps its pid.
    let orphans = process::descendants(std::process::id()).unwrap();
    let &[orphan] = orphans.as_slice() else { panic!("one is left behind, not {orphans:?}") };
    let orphan = Process::open(orphan).unwrap();
    assert_eq!(orphan.parent().unwrap(), std::process::id());

    drop(writer);
    assert_eq!(wait_readable(&[orphan.as_fd()], None).unwrap(), [true]);
    assert_eq!(reap(&child).unwrap(), None, "it was waited for before");
    assert!(!Path::new("/proc").join(orphan.pid().to_string()).exists());
}

/// Runs `f` on a thread that is nobody's, with these capabilities, which it passes on to what it starts.
fn as_nobody_with_ambient<T: Send>(caps: CapabilitySet, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_keep_capabilities(true).unwrap();
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            let sets = CapabilitySets { effective: caps, permitted: caps, inheritable: caps };
            rustix::thread::set_capabilities(None, sets).unwrap();
            for cap in caps.iter() {
                rustix::thread::configure_capability_in_ambient_set(cap, true).unwrap();
            }
            f()
        });
        thread.join().unwrap()
    })
}

/// Runs a script to its end.
fn shell(script: &str, user: Option<&User>) -> Exit {
    spawn(&words(&["sh", "-c", script]), user, Stdout::Inherited).unwrap().wait().unwrap()
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
