//! Probes of the running kernel.

use sklookup_kernel::probe::{Answer, Feature, kernel_release, unprivileged_bpf_disabled};
use sklookup_testbed::{Sandbox, Trial, kernel_trial, plain_trial};

use crate::samples::without_rights;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("probes::a_kernel_new_enough_has_every_feature", everything),
        kernel_trial("probes::without_rights_there_is_no_answer", no_rights),
        plain_trial("probes::anyone_may_ask_for_release_and_settings", settings),
    ]
}

fn everything(_: &Sandbox) {
    for feature in Feature::ALL {
        let answer = feature.probe();
        match feature.since() {
            Some(since) if at_least(since) => assert_eq!(answer, Answer::Yes, "{feature}"),
            // Older, or a matter of configuration.
            _ => assert!(!matches!(answer, Answer::Unknown(_)), "{feature}: {answer:?}"),
        }
    }
}

fn no_rights(_: &Sandbox) {
    for feature in Feature::ALL {
        let answer = without_rights(|| feature.probe());
        assert!(matches!(answer, Answer::Unknown(_)), "{feature}: {answer:?}");
    }
}

fn settings() {
    assert!(version(&kernel_release()) >= (4, 0));
    assert!((0..=2).contains(&unprivileged_bpf_disabled().unwrap()));
}

fn at_least(since: &str) -> bool {
    version(&kernel_release()) >= version(since)
}

/// Major and minor number of `6.18.44-cloud` or `5.9`.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
