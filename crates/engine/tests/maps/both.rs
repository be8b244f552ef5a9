//! One map in the kernel and one in the engine.

use std::fmt::Debug;

use sklookup_bpf::{MapSpec, MapType};
use sklookup_engine::{self as engine, Config, Machine};
use sklookup_kernel as kernel;

/// What an operation answered: bytes, none for most, or an errno.
pub(crate) type Answer<T = Vec<u8>> = Result<T, i32>;

/// A map of the same blueprint on both sides.
pub(crate) struct Both {
    pub(crate) kernel: kernel::Map,
    pub(crate) engine: engine::Map,
}

/// An operation of the owner.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Lookup(Vec<u8>, u64),
    Take(Vec<u8>, u64),
    Update(Vec<u8>, Vec<u8>, u64),
    Delete(Vec<u8>),
    NextKey(Option<Vec<u8>>),
    Freeze,
}

/// An engine that has as many CPUs as the kernel.
pub(crate) fn machine() -> Machine {
    Machine::new(Config { cpus: kernel::possible_cpus().unwrap(), ..Config::default() })
}

impl Both {
    pub(crate) fn create(machine: &Machine, spec: &MapSpec) -> Both {
        let kernel = kernel::Map::create(spec).unwrap();
        Both { kernel, engine: engine::Map::create(machine, spec).unwrap() }
    }

    /// Does it on both sides; the answers have to be one.
    pub(crate) fn agree(&self, operation: &Operation) {
        let (mut kernel, mut engine) = (self.in_kernel(operation), self.in_engine(operation));
        match operation {
            // What follows a key is compared where all are listed.
            Operation::NextKey(Some(_)) if !self.is_ordered() => return,
            Operation::NextKey(None) if !self.is_ordered() => {
                assert_eq!(engine.err(), kernel.err(), "{operation:?}: the engine first, the kernel second");
                return;
            }
            Operation::Lookup(..) | Operation::Take(..) if self.engine.info().kind.is_per_cpu() => {
                self.without_gaps(&mut kernel);
                self.without_gaps(&mut engine);
            }
            _ => {}
        }
        assert_eq!(engine, kernel, "{operation:?}: the engine first, the kernel second");
    }

    /// All that is in it, as both sides list it.
    pub(crate) fn agree_on_everything(&self) {
        let walk = |next: &dyn Fn(Option<Vec<u8>>) -> Answer| {
            let mut keys = Vec::new();
            while let Ok(key) = next(keys.last().cloned()) {
                keys.push(key);
            }
            keys
        };
        let mut kernel = walk(&|key| self.in_kernel(&Operation::NextKey(key)));
        let mut engine = walk(&|key| self.in_engine(&Operation::NextKey(key)));
        if !self.is_ordered() {
            kernel.sort();
            engine.sort();
        }
        assert_eq!(engine, kernel, "the keys: the engine first, the kernel second");
        for key in kernel {
            self.agree(&Operation::Lookup(key, 0));
        }
    }

    /// What lies between the values of two CPUs can be anything.
    fn without_gaps(&self, answer: &mut Answer) {
        let size = self.engine.info().value_size as usize;
        if let Ok(values) = answer {
            values.chunks_mut(size.next_multiple_of(8)).for_each(|value| value[size..].fill(0));
        }
    }

    /// Whether Linux promises the order of keys.
    fn is_ordered(&self) -> bool {
        use MapType::{Hash, HashOfMaps, LruHash, PercpuHash, Sockhash};
        !matches!(self.engine.info().kind, Hash | PercpuHash | LruHash | HashOfMaps | Sockhash)
    }

    fn in_kernel(&self, operation: &Operation) -> Answer {
        let map = &self.kernel;
        match operation {
            Operation::Lookup(key, flags) => of_kernel(map.lookup(key, *flags)),
            Operation::Take(key, flags) => of_kernel(map.lookup_and_delete(key, *flags)),
            Operation::Update(key, value, flags) => of_kernel(map.update(key, value, *flags).map(no_bytes)),
            Operation::Delete(key) => of_kernel(map.delete(key).map(no_bytes)),
            Operation::NextKey(key) => of_kernel(map.next_key(key.as_deref())),
            Operation::Freeze => of_kernel(map.freeze().map(no_bytes)),
        }
    }

    fn in_engine(&self, operation: &Operation) -> Answer {
        let map = &self.engine;
        match operation {
            Operation::Lookup(key, flags) => of_engine(map.lookup(key, *flags)),
            Operation::Take(key, flags) => of_engine(map.lookup_and_delete(key, *flags)),
            Operation::Update(key, value, flags) => of_engine(map.update(key, value, *flags).map(no_bytes)),
            Operation::Delete(key) => of_engine(map.delete(key).map(no_bytes)),
            Operation::NextKey(key) => of_engine(map.next_key(key.as_deref())),
            Operation::Freeze => of_engine(map.freeze().map(no_bytes)),
        }
    }
}

pub(crate) fn of_kernel<T>(result: kernel::Result<T>) -> Answer<T> {
    result.map_err(|error| error.errno().raw_os_error())
}

pub(crate) fn of_engine<T>(result: engine::Result<T>) -> Answer<T> {
    result.map_err(|error| error.errno().raw_os_error())
}

/// Compares what both sides answered.
pub(crate) fn same<T: PartialEq + Debug>(what: impl Debug, engine: &Answer<T>, kernel: &Answer<T>) {
    assert_eq!(engine, kernel, "{what:?}: the engine first, the kernel second");
}

fn no_bytes((): ()) -> Vec<u8> {
    Vec::new()
}
