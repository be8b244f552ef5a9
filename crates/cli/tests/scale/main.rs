//! What large policies cost, in what can be counted: calls to the kernel, and lines on a terminal.

#[path = "../command/mod.rs"]
mod command;
mod counts;
mod progress;

fn main() {
    sklookup_testbed::main(counts::trials().into_iter().chain(progress::trials()).collect());
}
