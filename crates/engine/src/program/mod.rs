//! Programs: loaded from a blueprint, run on a made-up packet.

mod allowed;
mod test_run;

use std::fmt;
use std::sync::Arc;

use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_vm as vm;
use sklookup_vm::Errno;

use crate::machine::Machine;
use crate::map::Map;
pub use test_run::{Context, TestRun};

/// A loaded program. Clones are the same program.
#[derive(Clone, Debug)]
pub struct Program(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    machine: Machine,
    id: u32,
    name: String,
    kind: ProgramType,
    code: vm::Program,
    _taken: vm::Taken,
}

impl Program {
    /// Loads a program; `maps[i]` is the map that its instructions call number `i`.
    ///
    /// # Errors
    /// An instruction, a helper or a map that is not implemented, by name; a read of the context that Linux refuses; jumps
    /// that lead nowhere; a PROG_ARRAY whose programs are of another type; ENOMEM.
    #[doc(alias = "BPF_PROG_LOAD")]
    pub fn load(machine: &Machine, spec: &ProgramSpec, maps: &[&Map]) -> Result<Program, LoadError> {
        let fail = |errno, log: String| LoadError { program: spec.name.clone(), errno, log };
        let maps: Vec<vm::Map> = maps.iter().map(|map| map.inner().clone()).collect();
        let code = vm::Program::load(&spec.insns, &maps, allowed::rules(spec.kind))
            .map_err(|refused| fail(refused.errno, refused.to_string()))?;
        if let Some(map) = maps.iter().find(|map| !map.is_for(spec.kind)) {
            let log = format!("`{}` has programs of another type than {}", map.spec().name, spec.kind.name());
            return Err(fail(Errno::INVAL, log));
        }
        let taken = machine.memory().take(code.bytes()).map_err(|errno| {
            let left = machine.config().memory - machine.memory_used();
            fail(errno, format!("it takes {} bytes, and {left} of the machine's memory are left", code.bytes()))
        })?;
        let id = machine.next_program_id();
        let name = spec.name.clone();
        let loaded = Loaded { machine: machine.clone(), id, name, kind: spec.kind, code, _taken: taken };
        Ok(Program(Arc::new(loaded)))
    }

    /// The id: unique on its machine. Every load makes a new one, of the same bytes too.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its type.
    pub fn kind(&self) -> ProgramType {
        self.0.kind
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    pub(crate) fn code(&self) -> &vm::Program {
        &self.0.code
    }
}

/// What a program returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No socket gets the packet.
    Drop,
    /// The selected socket gets it, or the regular lookup decides.
    Pass,
}

/// A program that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    program: String,
    errno: Errno,
    log: String,
}

impl LoadError {
    /// What Linux answers.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The name of the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The instruction and what is wrong with it.
    pub fn log(&self) -> &str {
        &self.log
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load program `{}`: {}: {}", self.program, self.errno, self.log)
    }
}

impl std::error::Error for LoadError {}
