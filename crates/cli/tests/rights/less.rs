//! Less than is needed: each command works all the same, or says which capability it wants.

use sklookup_testbed::{CapabilitySet, Sandbox, Trial, kernel_trial};

use crate::under_test::tcp;
use crate::world::{ENOUGH, Ran, SOMEONE, User};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("without_capabilities_both_are_named", |sandbox| {
            less(sandbox, CapabilitySet::empty(), &["CAP_BPF", "CAP_NET_ADMIN"], &[]);
        }),
        kernel_trial("with_cap_bpf_alone_the_other_is_named", |sandbox| {
            less(sandbox, CapabilitySet::BPF, &["CAP_NET_ADMIN"], &["CAP_BPF"]);
        }),
        kernel_trial("with_cap_net_admin_alone_the_other_is_named", |sandbox| {
            less(sandbox, CapabilitySet::NET_ADMIN, &["CAP_BPF"], &["CAP_NET_ADMIN"]);
        }),
    ]
}

/// What a user can do who has `caps`, on its own state; what it can't do names `missing` and not `held`.
fn less(sandbox: &Sandbox, caps: CapabilitySet, missing: &[&str], held: &[&str]) {
    let user = User::new(sandbox, SOMEONE);
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, "bindings = ['web tcp 127.7.0.0/16 80', 'dns udp 127.8.0.0/16 53']").unwrap();
    let policy = policy.to_str().unwrap();
    let server = user.server("mine", "tcp 127.0.0.1:8080");
    let pid = server.child.id().to_string();
    let named = |ran: &Ran| {
        let named = |cap: &&str| ran.stderr.lines().any(|line| line.contains("missing: ") && line.contains(cap));
        matches!(ran.exit, Some(2 | 125)) && missing.iter().all(named) && !held.iter().any(named)
    };
    let refused = |arguments: &[&str]| {
        let ran: Ran = user.command(caps, arguments).output().unwrap().into();
        assert!(named(&ran) && ran.stdout.is_empty(), "{arguments:?}: {ran:?}");
    };
    let every = || {
        refused(&["apply", policy]);
        refused(&["bind", "new", "tcp", "127.9.0.0/16", "443"]);
        refused(&["run", "--bind", "tcp 127.9.0.0/16", "--", "true"]);
    };

    every();
    refused(&["register", "web", "--pid", &pid]);
    user.assert_clean(sandbox);
    for line in ["status", "export", &format!("check {policy}"), "unload"] {
        user.done(caps, line);
    }
    let doctor = user.run(caps, "doctor");
    assert_eq!(doctor.exit, Some(1));
    for cap in missing {
        assert!(doctor.stdout.contains(&format!("broken  {cap} ")), "{doctor:?}");
    }

    // Something is in effect since there were more rights: its owner can still look at it, and take it away.
    user.done(ENOUGH, "bind web tcp 127.7.0.0/16 80");
    user.done(ENOUGH, &format!("register web --pid {pid}"));
    every();
    // A program alone takes CAP_BPF alone, where its maps are there.
    let upgraded = user.run(caps, "upgrade");
    assert_eq!(
        (upgraded.exit == Some(0), named(&upgraded)),
        (held == ["CAP_BPF"], held != ["CAP_BPF"]),
        "{upgraded:?}"
    );
    let status = user.done(caps, "status");
    assert!(status.stdout.contains("127.0.0.1:8080"), "{status:?}");
    assert!(user.done(caps, "list").stdout.contains("web tcp 127.7.0.0/16 80"));
    assert_eq!(tcp("127.7.1.2:80").unwrap(), "mine");
    user.done(caps, "unload");
    user.assert_clean(sandbox);
    assert!(tcp("127.7.1.2:80").is_err());
}
