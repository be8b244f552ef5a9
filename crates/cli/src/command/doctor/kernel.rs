//! What the kernel can do, and how it is set up.

use sklookup_kernel::probe::{self, Answer, Feature, jit_harden, unprivileged_bpf_disabled};
use sklookup_kernel::{Errno, Result};

use super::{Check, Verdict};

/// The kernel's version, its features as tried out, and the settings that matter.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("kernel", Verdict::Fine, format!("Linux {}", probe::kernel_release()))];
    checks.extend(Feature::ALL.into_iter().map(feature));
    checks.push(setting("net.core.bpf_jit_harden", jit_harden(), |value| match value {
        2 => (Verdict::Poor, "every program is hardened, ours too: slower"),
        1 => (Verdict::Fine, "only programs of users without rights are hardened"),
        _ => (Verdict::Fine, "off"),
    }));
    checks.push(setting("kernel.unprivileged_bpf_disabled", unprivileged_bpf_disabled(), |value| match value {
        0 => (Verdict::Poor, "users without rights may load some programs; sklookup has no use for that"),
        _ => (Verdict::Fine, "users without rights may load no programs"),
    }));
    checks
}

fn feature(feature: Feature) -> Check {
    let (what, since) = (feature.name(), feature.since());
    match feature.probe() {
        Answer::Yes => Check::new(what, Verdict::Fine, "tried, works"),
        Answer::Unknown(why) => Check::new(what, Verdict::Unseen, why),
        Answer::No(why) => {
            let (result, lost) = without(feature);
            let check = Check::new(what, result, format!("{lost}: {why}"));
            match (feature, since) {
                (Feature::Jit, _) => check.mend("sysctl -w net.core.bpf_jit_enable=1"),
                (_, Some(since)) => {
                    check.mend(format!("boot Linux {since} or later, with CONFIG_BPF_SYSCALL and CONFIG_INET"))
                }
                (_, None) => check,
            }
        }
    }
}

/// What is lost without a feature.
fn without(feature: Feature) -> (Verdict, &'static str) {
    match feature {
        Feature::Programs | Feature::Sockmaps | Feature::Links | Feature::BoundMaps => {
            (Verdict::Broken, "nothing can be steered")
        }
        Feature::ArraysOfSockmaps => (Verdict::Poor, "policies with more than 32 labels can't be loaded"),
        Feature::IngressIfindex => (Verdict::Poor, "bindings with `dev` can't be loaded"),
        Feature::TestRuns => (Verdict::Poor, "programs can't be tried without a packet; steering does not need that"),
        Feature::Jit => (Verdict::Poor, "every packet costs more"),
    }
}

fn setting(name: &'static str, value: Result<u32>, judge: fn(u32) -> (Verdict, &'static str)) -> Check {
    match value {
        Ok(value) => {
            let (result, meaning) = judge(value);
            let check = Check::new(name, result, format!("{value}: {meaning}"));
            match result {
                Verdict::Fine => check,
                _ => check.mend(format!("sysctl -w {name}={}", if value == 0 { 2 } else { 1 })),
            }
        }
        Err(error) if error.errno() == Errno::NOENT => {
            Check::new(name, Verdict::Unseen, "not shown in this network namespace, or not in this kernel")
        }
        Err(error) => Check::new(name, Verdict::Unseen, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_costs_something_comes_with_the_command_that_changes_it() {
        let judge = |value| if value == 2 { (Verdict::Poor, "slow") } else { (Verdict::Fine, "fast") };
        let poor = setting("net.core.bpf_jit_harden", Ok(2), judge);
        assert_eq!(poor.mend.as_deref(), Some("sysctl -w net.core.bpf_jit_harden=1"));
        assert_eq!(setting("net.core.bpf_jit_harden", Ok(1), judge).mend, None);
        let hidden = sklookup_kernel::Error::new("read", "x", Errno::ACCESS);
        assert_eq!(setting("x", Err(hidden), judge).result, Verdict::Unseen);
    }
}
