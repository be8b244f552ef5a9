//! Captures made here, byte by byte, and what a replay says of them.

mod damage;
mod direction;
mod fixtures;
mod flows;
mod formats;
mod fragments;
mod interfaces;
mod links;
mod packets;
mod world;
