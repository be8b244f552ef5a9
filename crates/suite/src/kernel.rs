//! The kernel as an executor: each case in network and mount namespaces of its own, with real sockets and real packets.

mod clients;
mod host;
mod segment;
mod sentinel;
mod sockets;
mod tcp;
mod udp;
mod world;

use sklookup_kernel::in_sandbox;
use sklookup_kernel::probe::{Answer, Feature, kernel_release};

use crate::case::{Case, Version};
use crate::executor::{Executor, Verdict};
use crate::play::{Stop, play};
use host::Machine;

/// The kernel that runs here.
#[derive(Debug)]
pub struct Kernel {
    /// Why it can't be asked; `None`: it can.
    missing: Option<String>,
    version: Option<Version>,
}

impl Kernel {
    /// Tries whether cases can run here: a sandbox, a sockmap and a program are what every case needs.
    pub fn new() -> Kernel {
        let version = Version::parse(&kernel_release());
        let probe = |feature: Feature| match feature.probe() {
            Answer::Yes => None,
            Answer::No(reason) | Answer::Unknown(reason) => Some(format!("{}: {reason}", feature.name())),
        };
        let missing = match in_sandbox(|_| probe(Feature::Programs).or_else(|| probe(Feature::Sockmaps))) {
            Ok(missing) => missing,
            Err(error) => Some(error.to_string()),
        };
        Kernel { missing, version }
    }

    /// Why no case can run here; `None`: they can.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }
}

impl Default for Kernel {
    fn default() -> Kernel {
        Kernel::new()
    }
}

impl Executor for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn run(&self, case: &Case) -> Verdict {
        if let Some(reason) = &self.missing {
            return Verdict::Skipped(reason.clone());
        }
        if let (Some(needed), Some(version)) = (case.kernel, self.version)
            && version < needed
        {
            return Verdict::Skipped(format!("it holds from Linux {needed} on, and this is {version}"));
        }
        let played = in_sandbox(|sandbox| Machine::new(sandbox).and_then(|mut machine| play(case, &mut machine)));
        match played {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(Stop::Skipped(reason))) => Verdict::Skipped(reason),
            Ok(Err(Stop::Failed { line, why })) => Verdict::Failed { line, why },
            Err(error) => Verdict::Failed { line: None, why: error.to_string() },
        }
    }
}
