//! What `explain` says of packets that go to real sockets.

#[path = "../command/mod.rs"]
mod command;
mod live;
mod others;
// Random worlds are those of the library's own test.
#[path = "../../../explain/tests/worlds/packets.rs"]
mod packets;
mod policy;
mod ports;
mod random;
mod run_others;
mod scene;
#[path = "../../../explain/tests/worlds/sockets.rs"]
mod sockets;
mod to;
#[path = "../../../explain/tests/worlds/world.rs"]
mod world;

fn main() {
    let trials = [
        live::trials(),
        others::trials(),
        policy::trials(),
        ports::trials(),
        random::trials(),
        run_others::trials(),
        to::trials(),
    ];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
