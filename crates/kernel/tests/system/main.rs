//! What the kernel crate knows of the system around the hook, tried on a real kernel.

mod namespaces;

fn main() {
    sklookup_testbed::main([namespaces::trials()].into_iter().flatten().collect());
}
