//! The `sklookup` command.
fn main() {}
