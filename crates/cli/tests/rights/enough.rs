//! CAP_BPF and CAP_NET_ADMIN, and a bpffs directory of one's own.

use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;

use rustix::mount::mount_bind;
use sklookup_kernel::Netns;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, tcp};
use crate::world::{ANOTHER, ENOUGH, Ran, SOMEONE, User};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("an_ordinary_user_does_everything_with_two_capabilities", |sandbox| everything(sandbox, SOMEONE)),
        kernel_trial("so_does_root_without_its_other_capabilities", |sandbox| everything(sandbox, 0)),
        kernel_trial("what_belongs_to_others_is_named_with_the_capability_it_takes", others),
    ]
}

fn everything(sandbox: &Sandbox, uid: u32) {
    let user = User::new(sandbox, uid);
    let done = |line: &str| user.done(ENOUGH, line);
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, "bindings = [\n  \"web tcp 127.7.0.0/16 80\",\n  \"dns udp 127.8.0.0/16 53\",\n]\n")
        .unwrap();
    let policy = policy.to_str().unwrap();

    done(&format!("check {policy}"));
    assert!(done("doctor").stdout.contains("steering can work here"));
    assert!(done("status").stdout.contains("nothing is steered here"));
    done("bind web tcp 127.7.0.0/16 80");
    let difference = user.run(ENOUGH, &format!("diff {policy}"));
    assert_eq!((difference.exit, difference.stdout.as_str()), (Some(1), "+ dns udp 127.8.0.0/16 53\n"));
    done(&format!("apply {policy}"));

    let server = user.server("mine", "tcp 127.0.0.1:8080");
    done(&format!("register web --pid {}", server.child.id()));
    assert_eq!(tcp("127.7.1.2:80").unwrap(), "mine");
    done("unbind dns udp 127.8.0.0/16 53");
    done("upgrade");
    assert_eq!(tcp("127.7.1.2:80").unwrap(), "mine");
    let status = done("status");
    assert!(status.stdout.contains(&format!("(pid {})  cookie ", server.child.id())), "{status:?}");
    assert!(!status.stdout.contains("not seen"), "all there is can be seen: {status:?}");
    assert!(done("list").stdout.contains("web tcp 127.7.0.0/16 80"));
    assert_eq!(done("export").stdout, "bindings = [\n  \"web tcp 127.7.0.0/16 80\",\n]\n");
    // This namespace by another name is still this namespace.
    done("--netns /proc/self/ns/net status");

    let mut run = user.command(ENOUGH, &["run", "--bind", "tcp 127.9.0.0/16 80", "--"]);
    let mut run = Run::spawn(run.args(user.served("ran", "tcp 127.0.0.1:8081")).stdin(Stdio::piped()));
    run.hear("sklookup: steering ");
    assert_eq!(tcp("127.9.1.2:80").unwrap(), "ran");
    assert_eq!(tcp("127.7.1.2:80").unwrap(), "mine");
    assert_eq!(run.end().code, Some(0));

    done("unregister web");
    assert!(tcp("127.7.1.2:80").is_err());
    let mut watch = user.command(ENOUGH, &["watch", "--count", "1"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while watch.try_wait().unwrap().is_none() {
        assert!(tcp("127.7.1.2:80").is_err());
    }
    let watched = Ran::from(watch.wait_with_output().unwrap());
    assert!(watched.exit == Some(0) && watched.stdout.contains(" no socket    tcp 127.0.0.1:"), "{watched:?}");
    assert!(watched.stderr.contains("without CAP_PERFMON it can't be told"), "{watched:?}");
    done("unload");
    user.assert_clean(sandbox);
}

fn others(sandbox: &Sandbox) {
    let (user, another) = (User::new(sandbox, SOMEONE), User::new(sandbox, ANOTHER));
    named_namespace(sandbox, "blue");
    user.done(ENOUGH, "bind web tcp 127.7.0.0/16 80");
    let theirs = another.server("theirs", "tcp 127.0.0.1:8080");
    let refused = |line: &str, fact: &str| {
        let ran = user.run(ENOUGH, line);
        assert!(ran.exit != Some(0) && ran.stdout.is_empty() && ran.stderr.contains(fact), "{line}: {ran:?}");
    };
    refused(&format!("register web --pid {}", theirs.child.id()), "CAP_SYS_PTRACE");
    refused(&format!("--netns {} bind web tcp 127.7.0.0/16 80", std::process::id()), "CAP_SYS_PTRACE");
    refused("--netns blue bind web tcp 127.7.0.0/16 80", "CAP_SYS_ADMIN");
    refused("demo", "CAP_SYS_ADMIN");
    // What is attached where can be asked without going there.
    assert!(user.done(ENOUGH, "--netns blue status").stdout.contains("nothing is steered here"));

    // A service of somebody else's is named as far as it can be.
    let taken = user.run(ENOUGH, "bind web tcp 127.0.0.1 8080");
    assert_eq!(taken.exit, Some(1), "{taken:?}");
    for fact in ["refused (takeover)", "a process of user 1001", "listens on tcp 127.0.0.1:8080", "CAP_SYS_PTRACE"] {
        assert!(taken.stderr.contains(fact), "{fact}: {taken:?}");
    }
    user.done(ENOUGH, "unload");
    user.assert_clean(sandbox);
}

/// A new namespace under a name, as `ip netns add` makes one.
fn named_namespace(sandbox: &Sandbox, name: &str) {
    let netns = Netns::new_private().unwrap();
    let names = sandbox.scratch.join("netns");
    std::fs::create_dir(&names).unwrap();
    std::fs::write(names.join(name), "").unwrap();
    mount_bind(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd()), names.join(name)).unwrap();
}
