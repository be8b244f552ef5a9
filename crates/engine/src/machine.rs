//! What namespaces, programs and maps share: a simulated machine.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sklookup_vm as vm;
use sklookup_vm::{Fault, Host, Memory, Outcome};

use crate::world::World;

/// A machine: ids, CPUs, time and randomness for everything that is made on it. Clones are the same machine.
///
/// Nothing of the real one is read: with the same [`Config`] and the same calls in the same order every answer is the
/// same.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Shared>);

/// What a machine is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// CPUs: how many values a per-CPU map has for a key.
    pub cpus: u32,
    /// Where `bpf_get_prandom_u32`, the hash of reuseport groups and ephemeral ports start from.
    pub seed: u64,
    /// The most instructions that one run of a program may take.
    pub instructions: u64,
    /// The most that all runs may take together. One that breaks off counts as all that it might have taken.
    pub all_instructions: u64,
    /// The most bytes that all its maps and programs may take together. What would take more fails with ENOMEM.
    pub memory: u64,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    memory: Memory,
    world: RwLock<World>,
    /// Nanoseconds since boot.
    time: AtomicU64,
    /// State of the generator of random numbers: it counts, and each count is mixed.
    random: AtomicU64,
    /// Instructions that runs may still take.
    instructions_left: AtomicU64,
    last_map: AtomicU32,
    last_program: AtomicU32,
}

impl Default for Config {
    fn default() -> Config {
        Config { cpus: 1, seed: 0, instructions: 1_000_000, all_instructions: u64::MAX, memory: 1 << 30 }
    }
}

impl Machine {
    /// A machine of this kind. It has at least one CPU.
    pub fn new(config: Config) -> Machine {
        Machine(Arc::new(Shared {
            memory: Memory::new(config.memory),
            instructions_left: AtomicU64::new(config.all_instructions),
            config: Config { cpus: config.cpus.max(1), ..config },
            world: RwLock::default(),
            time: AtomicU64::new(0),
            random: AtomicU64::new(0),
            last_map: AtomicU32::new(0),
            last_program: AtomicU32::new(0),
        }))
    }

    /// What it is like.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Bytes that its maps and programs take, of the [`memory`](Config::memory) that it has.
    pub fn memory_used(&self) -> u64 {
        self.0.memory.used()
    }

    /// Sets the time since boot, which stands still otherwise. It is 0 at first.
    pub fn set_time(&self, since_boot: Duration) {
        let nanos = u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX);
        self.0.time.store(nanos, Ordering::Relaxed);
    }

    /// Runs a program with what is left of the instructions.
    pub(crate) fn run(&self, code: &vm::Program, host: &mut impl Host) -> Result<Outcome, Fault> {
        let Config { instructions, all_instructions, .. } = self.0.config;
        let left = &self.0.instructions_left;
        let budget = instructions.min(left.load(Ordering::Relaxed));
        let ran = code.run(host, budget);
        let taken = ran.as_ref().map_or(budget, |outcome| outcome.instructions);
        // Another thread's run may have had the same in view: then both get it, once.
        let took = |left: u64| Some(left.saturating_sub(taken));
        let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, took);
        ran.map_err(|fault| match fault.out_of_budget && budget < instructions {
            true => {
                let what =
                    format!("is reached after {all_instructions} of all runs, and they may not take more together");
                Fault { what, ..fault }
            }
            false => fault,
        })
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Nanoseconds since boot.
    pub(crate) fn time(&self) -> u64 {
        self.0.time.load(Ordering::Relaxed)
    }

    /// The next random number.
    pub(crate) fn random(&self) -> u32 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let count = self.0.random.fetch_add(STEP, Ordering::Relaxed);
        (mix(self.0.config.seed ^ mix(count)) >> 32) as u32
    }

    /// Reads the state.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&self.0.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state. No handle may be dropped in here: dropping one changes the state, too.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.0.world.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn next_map_id(&self) -> u32 {
        self.0.last_map.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn next_program_id(&self) -> u32 {
        self.0.last_program.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether both are one machine.
    pub(crate) fn is(&self, other: &Machine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new(Config::default())
    }
}

/// Spreads a change of any bit over all of them.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let number = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    number ^ (number >> 32)
}
