//! What namespaces, programs and maps share: a simulated machine.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sklookup_vm::Memory;

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
    last_map: AtomicU32,
    last_program: AtomicU32,
}

impl Default for Config {
    fn default() -> Config {
        Config { cpus: 1, seed: 0, instructions: 1_000_000, memory: 1 << 30 }
    }
}

impl Machine {
    /// A machine of this kind. It has at least one CPU.
    pub fn new(config: Config) -> Machine {
        Machine(Arc::new(Shared {
            memory: Memory::new(config.memory),
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
