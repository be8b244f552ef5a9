//! Capabilities beyond the two, one at a time.

use sklookup_testbed::{CapabilitySet, Sandbox, Trial, kernel_trial};

use crate::under_test::tcp;
use crate::world::{ANOTHER, ENOUGH, SOMEONE, User};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("cap_perfmon_takes_the_hardening_away", perfmon),
        kernel_trial("cap_sys_ptrace_takes_sockets_of_another_user", ptrace),
    ]
}

fn perfmon(sandbox: &Sandbox) {
    let user = User::new(sandbox, SOMEONE);
    let verifier =
        |caps| user.done(caps, "doctor").stdout.lines().find(|line| line.contains("verifier")).unwrap().to_owned();
    assert!(verifier(ENOUGH).starts_with("poor"), "{}", verifier(ENOUGH));
    let caps = ENOUGH | CapabilitySet::PERFMON;
    assert!(verifier(caps).starts_with("fine"), "{}", verifier(caps));
    user.done(caps, "bind web tcp 127.7.0.0/16 80");
    user.done(ENOUGH, "unload");
    user.assert_clean(sandbox);
}

fn ptrace(sandbox: &Sandbox) {
    let (user, another) = (User::new(sandbox, SOMEONE), User::new(sandbox, ANOTHER));
    let caps = ENOUGH | CapabilitySet::SYS_PTRACE;
    user.done(caps, "bind web tcp 127.7.0.0/16 80");
    let theirs = another.server("theirs", "tcp 127.0.0.1:8080");
    user.done(caps, &format!("register web --pid {}", theirs.child.id()));
    assert_eq!(tcp("127.7.1.2:80").unwrap(), "theirs");

    // Whose it is, only who may list another's fds can say.
    let listing = caps | CapabilitySet::DAC_READ_SEARCH;
    let seen = user.done(listing, "status").stdout;
    assert!(seen.contains(&format!("(pid {})", theirs.child.id())) && !seen.contains("not seen"), "{seen}");
    for fewer in [ENOUGH, caps] {
        let unseen = user.done(fewer, "status").stdout;
        for fact in ["owner unknown", "not seen: whose sockets some are", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"] {
            assert!(unseen.contains(fact), "{fact}: {unseen}");
        }
    }
    user.done(ENOUGH, "unload");
    user.assert_clean(sandbox);
}
