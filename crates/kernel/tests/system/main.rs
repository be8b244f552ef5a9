//! What the kernel crate knows of the system around the hook, tried on a real kernel.

mod namespaces;
mod processes;
mod sockets;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn main() {
    let trials = [namespaces::trials(), processes::trials(), sockets::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}

/// Held while this process has fds that its children inherit, and starts children that count theirs.
fn leaking() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
