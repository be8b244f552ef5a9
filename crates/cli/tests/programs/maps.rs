//! Maps that are there already, in the place of those of an object: only of the same shape, and only of who may be believed.

use std::net::TcpListener;

use serde_json::json;
use sklookup_bpf::{MapSpec, MapType};
use sklookup_kernel::{Map, bpffs};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::sklookup;
use crate::services::{REFUSED, Server, reached};
use crate::world::{attached, done, left, map, object, put, server_in};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_pinned_map_and_one_by_its_id_take_the_place_with_what_is_in_them", taken),
        kernel_trial("the_maps_of_what_is_replaced_are_new_unless_they_are_kept", kept),
        kernel_trial("a_map_of_another_shape_is_refused_with_both_shapes", shapes),
        kernel_trial("a_pin_of_another_user_is_refused", owners),
        kernel_trial("what_is_not_there_is_named", missing),
        kernel_trial("a_socket_of_a_process_is_in_the_map_before_the_program_is_attached", seated),
        kernel_trial("a_socket_that_can_not_be_put_there_is_told_and_nothing_is_attached", unseated),
    ]
}

const STEERED: &str = "tcp 127.0.0.1 > 127.7.1.2:7007";

/// A map as `assign` wants it.
fn sockets() -> Map {
    Map::create(&MapSpec::new("sockets", MapType::Sockmap, 4, 8, 2)).unwrap()
}

fn taken(sandbox: &Sandbox) {
    let pin = sandbox.bpffs.join("theirs");
    let map = sockets();
    map.pin(&pin).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    put(&pin, 0, &listener);
    let server = Server::of("theirs", listener);
    let from = format!("sockets={}", pin.display());
    let answer = attached(&[&object("assign"), "--map", &from]);
    assert_eq!(answer["object"]["maps"], json!([{ "name": "sockets", "from": pin }]));
    assert_eq!(reached(&[&server], STEERED), "theirs");
    done(&["detach", "assign"]);
    left(sandbox, &["theirs"]);
    attached(&[&object("assign"), "--map", &format!("sockets=id:{}", map.id())]);
    assert_eq!(reached(&[&server], STEERED), "theirs");
}

fn kept(_: &Sandbox) {
    let first = attached(&[&object("assign")]);
    let server = server_in(&first, "theirs");
    attached(&[&object("assign"), "--replace", "--map", "sockets=kept"]);
    assert_eq!(reached(&[&server], STEERED), "theirs");
    let last = attached(&[&object("assign"), "--replace"]);
    assert_eq!(reached(&[&server], STEERED), REFUSED, "its map is empty");
    assert!(map(&last, "sockets").exists() && !map(&first, "sockets").exists());
}

fn shapes(sandbox: &Sandbox) {
    let pin = sandbox.bpffs.join("theirs");
    for spec in [
        MapSpec::new("sockets", MapType::Array, 4, 8, 2),
        MapSpec::new("sockets", MapType::Sockmap, 4, 4, 2),
        MapSpec::new("sockets", MapType::Sockmap, 4, 8, 3),
    ] {
        Map::create(&spec).unwrap().pin(&pin).unwrap();
        let ran = sklookup(&["attach", &object("assign"), "--map", &format!("sockets={}", pin.display())]);
        assert_eq!(ran.exit, 2, "{ran:?}");
        let wants = "the object wants sockmap, 4-byte keys, 8-byte values, 2 entries, flags 0x0";
        let found = format!("is {}, 4-byte keys", spec.kind.name());
        assert!(ran.stderr.contains(wants) && ran.stderr.contains(&found), "{ran:?}");
        bpffs::unlink(&pin).unwrap();
    }
    left(sandbox, &[]);
}

fn owners(sandbox: &Sandbox) {
    let pin = sandbox.bpffs.join("theirs");
    sockets().pin(&pin).unwrap();
    let from = format!("sockets={}", pin.display());
    let attach = || sklookup(&["attach", &object("assign"), "--map", &from]);
    bpffs::set_owner(&pin, Some(1000), None).unwrap();
    let ran = attach();
    assert!(ran.exit == 2 && ran.stderr.contains("owned by user 1000, who could change what it holds"), "{ran:?}");
    bpffs::set_owner(&pin, Some(0), None).unwrap();
    bpffs::set_mode(&pin, 0o622).unwrap();
    let ran = attach();
    assert!(ran.exit == 2 && ran.stderr.contains("mode 0622: others may write to it"), "{ran:?}");
    bpffs::set_mode(&pin, 0o600).unwrap();
    assert_eq!(attach().exit, 0);
}

fn missing(sandbox: &Sandbox) {
    let program = sandbox.bpffs.join("program");
    crate::world::other().pin(&program).unwrap();
    let not_a_map = format!("sockets={}", program.display());
    for (map, why) in [
        ("nothing=kept", "has no map of this name"),
        ("sockets=kept", "there is none to keep"),
        ("sockets=/sys/fs/bpf/nothing", "ENOENT"),
        ("sockets=/", "not a pin"),
        ("sockets=id:4294967295", "ENOENT"),
        (not_a_map.as_str(), "which is not a map"),
        ("sockets", "NAME=kept"),
    ] {
        let ran = sklookup(&["attach", &object("assign"), "--map", map]);
        assert!(ran.exit == 2 && ran.stderr.contains(why), "{map}: {ran:?}");
    }
    attached(&[&object("assign"), "--name", "a"]);
    let ran = sklookup(&["attach", &object("lock"), "--name", "a", "--replace", "--map", "counts=kept"]);
    assert!(ran.exit == 2 && ran.stderr.contains("has none of this name to keep"), "{ran:?}");
}

fn seated(_: &Sandbox) {
    let servers = ["first", "second"].map(|name| Server::open(name, "tcp 127.0.0.1:0"));
    let pid = std::process::id();
    let [first, second] = [&servers[0], &servers[1]];
    let seat = |slot: u32, server: &Server| format!("sockets[{slot}]={pid} {}", server.described());
    attached(&[&object("assign"), "--socket", &seat(0, first), "--socket", &seat(1, second)]);
    let reached = |packet: &str| reached(&[first, second], packet);
    assert_eq!(reached(STEERED), "first");
    assert_eq!(reached("tcp 127.0.0.1 > 127.7.1.2:7008"), "second");
    // A new version with other sockets is never without one.
    attached(&[&object("assign"), "--replace", "--socket", &seat(0, second)]);
    assert_eq!(reached(STEERED), "second");
}

fn unseated(sandbox: &Sandbox) {
    let servers = ["first", "second"].map(|name| Server::open(name, "tcp 127.0.0.1:0"));
    let pid = std::process::id();
    for (object_name, seat, why) in [
        ("assign", "sockets[0]=4194304000".to_owned(), "4194304000"),
        ("assign", format!("sockets[0]={pid}"), "2 sockets could be meant; say which"),
        ("assign", format!("sockets[0]={pid} tcp 127.0.0.1:1"), "no socket that matches"),
        ("assign", format!("nothing[0]={pid} {}", servers[0].described()), "the object has none of this name"),
        ("assign", format!("sockets[2]={pid} {}", servers[0].described()), "it has 2 slots, from 0 on, and no slot 2"),
        ("lock", format!("counts[0]={pid} {}", servers[0].described()), "it is no map of sockets"),
        ("assign", "sockets[x]=1".to_owned(), "write MAP[KEY]=PID"),
    ] {
        let ran = sklookup(&["attach", &object(object_name), "--socket", &seat]);
        assert!(ran.exit == 2 && ran.stderr.contains(why), "{seat}: {ran:?}");
    }
    left(sandbox, &[]);
    // What is in a map that is there already is not touched before all is sure.
    attached(&[&object("assign")]);
    let seat = format!("sockets[0]={pid} {}", servers[0].described());
    let ran = sklookup(&["attach", &object("assign"), "--replace", "--map", "sockets=kept", "--socket", &seat]);
    assert!(ran.exit == 2 && ran.stderr.contains("only a new map is given sockets"), "{ran:?}");
}
