//! The cases that the definition runs, on the kernel.

use std::os::fd::AsFd;
use std::path::Path;

use serde::Deserialize;
use sklookup_compiler::Strategy;
use sklookup_kernel::{Link, Sandbox, Verdict};
use sklookup_policy::{Packet, Policy};

use crate::agree::{ask, options};
use crate::deliver::policy;
use crate::live::{Live, Service};

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    policy: Vec<String>,
    packet: String,
    /// The winner's label, `pass`, `refuse` or `no match`.
    expect: String,
}

/// Runs every case and tells all that failed.
pub fn decide(strategy: Strategy, sandbox: &Sandbox) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/testdata/decide.toml");
    let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!file.case.is_empty());
    let failures: Vec<String> = file.case.iter().filter_map(|case| case.run(strategy, sandbox).err()).collect();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

impl Case {
    fn run(&self, strategy: Strategy, sandbox: &Sandbox) -> Result<(), String> {
        let policy = policy(&self.policy.iter().map(String::as_str).collect::<Vec<_>>());
        let packet: Packet = self.packet.parse().unwrap();
        let live = Live::load(&policy, &options(strategy, &policy))?;
        // Each label has sockets of its own, so that a cookie names the label.
        let services: Vec<Service> = policy.labels().iter().map(|_| Service::new()).collect();
        for (label, service) in services.iter().enumerate() {
            live.register(label, service);
        }
        let expected = self.expected(&policy, &live, &packet);
        let got = if packet.interface.is_none() {
            let run = live.run(&packet, 1);
            (run.cookie, Some(run.verdict))
        } else {
            let _link = Link::attach(&live.program, sandbox.netns.as_fd()).unwrap();
            (ask(&policy, &packet), None)
        };
        let same = got.0 == expected.0 && got.1.is_none_or(|verdict| verdict == expected.1);
        let case = format!("{} @ {strategy}", self.name);
        if same { Ok(()) } else { Err(format!("{case}: expected {} {expected:?}, got {got:?}", self.expect)) }
    }

    fn expected(&self, policy: &Policy, live: &Live, packet: &Packet) -> (Option<u64>, Verdict) {
        match self.expect.as_str() {
            "refuse" => (None, Verdict::Drop),
            "pass" | "no match" => (None, Verdict::Pass),
            label => {
                let index = policy.labels().iter().position(|known| known.as_str() == label);
                let index = index.unwrap_or_else(|| panic!("{}: no binding has label {label}", self.name));
                let cookie = live.cookie(index, packet);
                assert!(cookie.is_some());
                (cookie, Verdict::Pass)
            }
        }
    }
}
