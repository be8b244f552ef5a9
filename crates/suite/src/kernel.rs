//! The kernel as an executor: each case in network and mount namespaces of its own, with real sockets and real packets.

mod clients;
mod host;
mod segment;
mod sentinel;
mod sockets;
mod tcp;
mod udp;
mod world;

use sklookup_bpf::{Builder, MapSpec, MapType, ProgramSpec, Reg, abi};
use sklookup_kernel::{Map, Program, in_sandbox};

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
        let release = rustix::system::uname();
        let version = Version::parse(&release.release().to_string_lossy());
        let missing = match in_sandbox(|_| try_hook()) {
            Ok(tried) => tried.err(),
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

/// Makes what every case needs; says what could not be had.
fn try_hook() -> Result<(), String> {
    Map::create(&MapSpec::new("suite", MapType::Sockmap, 4, 8, 1)).map_err(|error| error.to_string())?;
    let mut code = Builder::new();
    code.mov(Reg::R0, abi::SK_PASS);
    code.exit();
    let code = code.finish().expect("two instructions without a branch");
    Program::load(&ProgramSpec::sk_lookup("suite", code, Vec::new()), &[]).map_err(|error| error.to_string())?;
    Ok(())
}
