//! Who we are here, where state can lie, and what is there already.

use std::path::Path;

use sklookup_kernel::bpffs::{Kind, Status, is_bpffs, status};
use sklookup_kernel::caps::{Cap, Caps, in_initial_user_namespace};
use sklookup_kernel::{Errno, effective_uid};
use sklookup_policy::Policy;
use sklookup_steering::safety::Hazard;
use sklookup_steering::status::{Kind as Difference, Status as Steered, Steering};
use sklookup_steering::{Error, MOST_PROGRAMS, State};

use super::{Check, Verdict};
use crate::args::{DEFAULT_BPFFS, Global};
use crate::command::status::in_words;
use crate::counts::many;
use crate::kept;
use crate::typed::quoted;

/// What the check of the state is called.
const APPLIED: &str = "applied policy";

/// Files that a commit of a large policy has open at once, with room to spare.
const FILES_NEEDED: u64 = 512;

/// Capabilities, and which verifier our programs meet.
pub(super) fn rights() -> Vec<Check> {
    let caps = match Caps::effective() {
        Ok(caps) => caps,
        Err(error) => return vec![Check::new("capabilities", Verdict::Unseen, error.to_string())],
    };
    let mut checks = Vec::new();
    if in_initial_user_namespace() == Some(false) {
        checks.push(
            Check::new(
                "user namespace",
                Verdict::Broken,
                "not the first one: bpf(2) counts no capability of any other",
            )
            .mend("run sklookup on the host, with --netns and the pid of a process in here"),
        );
    }
    let wanted = [
        (Cap::Bpf, Verdict::Broken, "maps and programs"),
        (Cap::NetAdmin, Verdict::Broken, "sockmaps, and attaching to a namespace"),
        (Cap::SysPtrace, Verdict::Poor, "registering sockets of other users' processes"),
        (Cap::DacReadSearch, Verdict::Poor, "listing the sockets of other users' processes"),
        (Cap::SysAdmin, Verdict::Poor, "mounting a bpffs, and looking into other network namespaces"),
    ];
    for (cap, result, what) in wanted {
        checks.push(match caps.has(cap) {
            true => Check::new(cap.to_string(), Verdict::Fine, format!("held: {what}")),
            false => Check::new(cap.to_string(), result, format!("missing: {what}")).mend("sudo sklookup doctor"),
        });
    }
    checks.push(match caps.has(Cap::Perfmon) {
        true => {
            Check::new("verifier", Verdict::Fine, "CAP_PERFMON held: programs are not hardened against speculation")
        }
        false => Check::new(
            "verifier",
            Verdict::Poor,
            "CAP_PERFMON missing: programs are hardened against speculation, and a packet costs nearly twice as much",
        )
        .mend("grant CAP_PERFMON to who loads policies"),
    });
    checks
}

/// Whether state can lie where it is looked for.
pub(super) fn bpffs(path: &Path) -> Check {
    let mount = format!("mount -t bpf -o mode=0711 bpf {}", path.display());
    let check = |result, found: String| Check::new("bpffs", result, format!("{}: {found}", path.display()));
    match is_bpffs(path) {
        Ok(true) => {}
        // Commands that change something mount the usual one.
        Ok(false)
            if path == Path::new(DEFAULT_BPFFS) && Caps::effective().is_ok_and(|caps| caps.has(Cap::SysAdmin)) =>
        {
            let found = "no bpf file system is mounted there; the first command that changes something mounts one";
            return check(Verdict::Fine, found.to_owned());
        }
        Ok(false) => return check(Verdict::Broken, "no bpf file system is mounted there".to_owned()).mend(mount),
        Err(error) if error.errno() == Errno::NOENT => {
            return check(Verdict::Broken, "there is no such directory".to_owned()).mend(mount);
        }
        Err(error) => return check(Verdict::Unseen, error.to_string()),
    }
    match status(path) {
        Ok(found) => mounted(path, &found, effective_uid()),
        Err(error) => check(Verdict::Unseen, error.to_string()),
    }
}

fn mounted(path: &Path, found: &Status, me: u32) -> Check {
    let Status { mode, uid, .. } = *found;
    let ours = path.join("sklookup");
    let check = |result, found: String| {
        Check::new("bpffs", result, format!("{}: mode {:04o}, owner {uid}{found}", path.display(), mode & 0o7777))
    };
    match status(&ours) {
        Ok(state) if state.kind != Kind::Directory || ![0, me].contains(&state.uid) => {
            let found = format!("; {} belongs to user {}, and is not trusted", ours.display(), state.uid);
            return check(Verdict::Broken, found).mend(format!("rm -r {}", ours.display()));
        }
        Ok(state) if state.uid == me => return check(Verdict::Fine, String::new()),
        _ => {}
    }
    if me != 0 && uid != me {
        return check(Verdict::Broken, format!("; user {me} can't keep a state there"))
            .mend(format!("mount -t bpf -o mode=0700,uid={me} bpf DIR, then --bpffs DIR; or sudo"));
    }
    if mode & 0o002 != 0 {
        return check(Verdict::Poor, "; any user can make directories there, also ours before we do".to_owned())
            .mend(format!("chmod 0711 {}", path.display()));
    }
    check(Verdict::Fine, String::new())
}

/// Whether a policy of many labels fits under the limit of open files.
pub(super) fn open_files() -> Option<Check> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let limit = soft_limit(&limits)?;
    let check = |result, found: &str| Check::new("open files", result, format!("at most {limit}{found}"));
    Some(match limit < FILES_NEEDED {
        false => check(Verdict::Fine, ""),
        true => {
            check(Verdict::Poor, ": too few to load a policy of many labels").mend(format!("ulimit -n {FILES_NEEDED}"))
        }
    })
}

/// The soft limit in the text of `/proc/PID/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let value = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() }
}

/// Who is on the hook.
pub(super) fn programs(status: &Steered) -> Check {
    const WHAT: &str = "programs on the hook";
    let Some(programs) = &status.programs else {
        // Whoever may not ask has been told so: it is the first thing looked at.
        let why = status.unseen.first().map(|unseen| unseen.why.clone()).unwrap_or_default();
        return Check::new(WHAT, Verdict::Unseen, why);
    };
    if programs.len() >= MOST_PROGRAMS && !programs.iter().any(|program| program.ours) {
        let found = format!("{}, the most that Linux takes", programs.len());
        return Check::new(WHAT, Verdict::Broken, found).mend("sklookup programs; sklookup detach --link ID");
    }
    let listed: Vec<String> = programs.iter().map(in_words).collect();
    Check::new(WHAT, Verdict::Fine, if listed.is_empty() { "none".to_owned() } else { listed.join("; ") })
}

/// What is applied, whether it is whole, and whether packets for it arrive; and who else is on the hook.
pub(super) fn state(state: &State, status: &Steered) -> Vec<Check> {
    let mut checks = vec![programs(status), applied(status)];
    // Who may not list the state can't change it either, and has been told so.
    if let Err(error @ Error::Untrusted { .. }) = state.undisturbed() {
        checks.push(Check { mend: error.help(), ..Check::new(APPLIED, Verdict::Broken, error.to_string()) });
    }
    if let Some(in_effect) = status.in_effect() {
        checks.extend(routes(state, &in_effect.record.policy));
    }
    checks
}

/// A state that is there and can't be read; and who else is on the hook.
pub(super) fn unreadable(state: &State, error: &Error) -> Vec<Check> {
    let check = Check::new(APPLIED, Verdict::Broken, error.to_string());
    vec![programs(&Steered::without_steering(state.netns())), Check { mend: error.help(), ..check }]
}

/// Whether what is applied is what a policy file has.
pub(super) fn file(status: &Steered, policy: &Policy, name: &str) -> Check {
    const WHAT: &str = "policy file";
    let Some(findings) = status.against_file(policy, name) else {
        return Check::new(WHAT, Verdict::Unseen, format!("{name}: what is applied can't be seen"));
    };
    if findings.is_empty() {
        return Check::new(WHAT, Verdict::Fine, format!("{name}: applied as it is"));
    }
    let of = |kind| findings.iter().filter(|finding| finding.kind == kind).count();
    let (not_applied, not_in_file) = (many(of(Difference::NotApplied), "binding"), of(Difference::NotInFile));
    let found = format!("{name}: {not_applied} not applied as written, {not_in_file} applied that it does not have");
    Check::new(WHAT, Verdict::Poor, found).mend(format!("sklookup status --policy {}", quoted(name)))
}

/// Whether what is kept for after a reboot is what is in effect.
pub(super) fn kept(global: &Global, state: Option<&State>, status: &Steered) -> Option<Check> {
    let finding = kept::drift(global, state, status)?;
    Some(Check::new("kept policy", Verdict::Poor, finding.message).mend(finding.help))
}

fn applied(status: &Steered) -> Check {
    let in_effect = match &status.steering {
        Steering::Nothing => return Check::new(APPLIED, Verdict::Fine, "none: nothing is steered here"),
        Steering::Hidden { .. } => {
            let why = status.unseen.last().map(|unseen| unseen.why.clone()).unwrap_or_default();
            return Check::new(APPLIED, Verdict::Unseen, why);
        }
        Steering::Replaced { .. } => {
            let finding = status.findings().swap_remove(0);
            return Check::new(APPLIED, Verdict::Broken, finding.message).mend(finding.help);
        }
        Steering::Live(in_effect) => in_effect,
    };
    let (id, bindings) = (in_effect.generation, in_effect.record.policy.len());
    let found = format!("generation {id}, {}", many(bindings, "binding"));
    match status.findings().len() {
        0 => Check::new(APPLIED, Verdict::Fine, found),
        wrong => {
            let found = format!("{found}; {} dead or missing", many(wrong, "thing"));
            Check::new(APPLIED, Verdict::Poor, found).mend("sklookup status")
        }
    }
}

/// Prefixes that are steered and not delivered to this machine.
fn routes(state: &State, policy: &Policy) -> Vec<Check> {
    const WHAT: &str = "local routes";
    // As if all of it were to be applied now.
    let catches = match state.review(&Policy::default(), policy, false, &[]) {
        Ok(review) => review.catches,
        Err(error) => return vec![Check::new(WHAT, Verdict::Unseen, error.to_string())],
    };
    let missing: Vec<Check> = catches
        .into_iter()
        .filter(|catch| catch.hazard == Hazard::NotLocal)
        .map(|catch| Check { mend: catch.help, ..Check::new(WHAT, Verdict::Poor, catch.message) })
        .collect();
    if missing.is_empty() {
        return vec![Check::new(WHAT, Verdict::Fine, "every steered prefix is delivered to this machine")];
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(soft_limit("nothing of the kind"), None);
    }
}
