//! What large policies cost, in what can be counted: calls to the kernel, bytes, and lines on a terminal.

#[path = "../command/mod.rs"]
mod command;
mod counts;
mod memory;
mod progress;

fn main() {
    sklookup_testbed::main([counts::trials(), memory::trials(), progress::trials()].into_iter().flatten().collect());
}
