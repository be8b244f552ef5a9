//! Commands that are killed, failed or stopped at each of their calls to the kernel.

#[path = "../command/mod.rs"]
mod command;
mod door;

fn main() {
    sklookup_testbed::main(door::trials())
}
