//! What the kernel crate knows of the system around the hook, tried on a real kernel.

mod children;
mod namespaces;
mod processes;
mod routes;
mod sockets;

use std::sync::{Mutex, MutexGuard, PoisonError};

use sklookup_kernel::signals::{Signal, Signals};

fn main() {
    if std::env::args().nth(1).as_deref() == Some(children::ADOPT) {
        children::adopt();
        return;
    }
    // Before the first thread starts: a signal for the process goes to any thread that has not blocked it.
    let signals = Signals::block(&[Signal::USR2]).expect("blocking a signal takes no rights");
    let trials =
        [namespaces::trials(), processes::trials(), children::trials(signals), sockets::trials(), routes::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}

/// Held while this process has fds that its children inherit, and starts children that count theirs.
fn leaking() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
