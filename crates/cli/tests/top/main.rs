//! `top` on a real terminal: what it shows, what keys do, and that it leaves the terminal as it was.

#[path = "../command/mod.rs"]
mod command;
mod leaving;
#[path = "../hostile/rename.rs"]
mod rename;
// The part that takes the terminal is asked to give it back when something panics, here where something can.
#[path = "../../src/command/top/screen.rs"]
#[allow(dead_code)]
mod screen;
mod shown;
mod tmux;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["panic-on-terminal"] => leaving::panic_on_terminal(),
        ["rename", name] => rename::start(name),
        _ => {}
    }
    sklookup_testbed::main([leaving::trials(), shown::trials()].into_iter().flatten().collect());
}
