//! The rules of the sk_lookup system, each on a namespace of its own.

mod assign;
mod bind;
mod connect;
mod cost;
mod interfaces;
mod links;
mod loading;
mod maps;
mod memory;
mod print;
mod programs;
mod regular;
mod restore;
mod reuseport;
mod tcp;
mod test_run;
mod truth_table;
mod udp;
mod world;
