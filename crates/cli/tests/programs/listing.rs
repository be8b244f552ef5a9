//! `programs` shows everybody on the hook, in order, with what is known of each, and who can override whom.

use std::os::fd::AsFd;

use serde_json::{Value, json};
use sklookup_kernel::{Link, Netns, bpffs};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{attached, done, each, object, other, programs};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("everybody_is_listed_in_order_and_told_apart_without_a_policy_too", everybody),
        kernel_trial("where_a_program_of_others_is_pinned_is_found", pinned),
        kernel_trial("a_program_that_is_attached_twice_has_two_links", twice),
        kernel_trial("who_can_override_whom_is_said_when_it_is_attached_and_when_it_is_listed", overrides),
        kernel_trial("what_a_killed_attach_left_is_named", litter),
    ]
}

fn everybody(_: &Sandbox) {
    let ran = sklookup(&["programs"]);
    assert!(ran.exit == 1 && ran.stderr.contains("no program is on the hook"), "{ran:?}");
    let theirs = other();
    let link = Link::attach(&theirs, Netns::current().unwrap().as_fd()).unwrap();
    let assign = attached(&[&object("assign"), "--name", "edge"]);
    assert_eq!(each("whose"), ["other", "attached"]);
    done(&["bind", "refuse", "tcp", "127.7.0.0/16", "80"]);
    assert_eq!(each("whose"), ["other", "attached", "policy"]);
    let listed = programs();
    assert_eq!((&listed[0]["name"], &listed[0]["id"]), (&"other".into(), &theirs.id().into()));
    assert_eq!(listed[0]["links"], json!([link.info().unwrap().id]));
    assert_eq!(listed[0]["pins"], json!([]));
    assert_eq!((&listed[1]["attached-as"], &listed[1]["id"]), (&"edge".into(), &assign["program"]));
    assert_eq!(listed[1]["object"], assign["object"]);
    assert_eq!(listed[1]["object"]["program"], "assign");
    assert_eq!(listed[1]["object"]["maps"], json!([{ "name": "sockets", "from": "own" }]));
    let (_, status) = document(&["status"]);
    assert_eq!(listed[2]["id"], status["generation"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for program in &listed {
        let loaded = program["loaded"].as_u64().unwrap();
        assert!(loaded <= now + 2 && loaded + 600 > now && program["uid"] == 0, "{program}");
    }
    let text = done(&["programs"]).stdout;
    assert!(text.starts_with(&format!("1  program {}: not of sklookup\n   other, tag ", theirs.id())), "{text}");
    assert!(text.contains("\n2  program ") && text.contains(": attached as edge\n   assign, tag "), "{text}");
    assert!(text.contains(": the policy\n") && text.contains("assign.o: assign, sha256 "), "{text}");
}

fn pinned(sandbox: &Sandbox) {
    let theirs = other();
    let link = Link::attach(&theirs, Netns::current().unwrap().as_fd()).unwrap();
    let dir = sandbox.bpffs.join("theirs");
    bpffs::create_dir(&dir, 0o700).unwrap();
    theirs.pin(&dir.join("program")).unwrap();
    link.pin(&dir.join("link")).unwrap();
    drop(link);
    let pins = programs()[0]["pins"].clone();
    assert_eq!(pins, json!([dir.join("link"), dir.join("program")]));
    bpffs::unlink(&dir.join("link")).unwrap();
}

fn twice(_: &Sandbox) {
    let theirs = other();
    let netns = Netns::current().unwrap();
    let links = [0, 1].map(|_| Link::attach(&theirs, netns.as_fd()).unwrap());
    let ids: Vec<Value> = links.iter().map(|link| link.info().unwrap().id.into()).collect();
    assert_eq!(each("links"), [Value::from(ids.clone()), Value::from(ids)]);
}

fn overrides(_: &Sandbox) {
    let first = attached(&[&object("lock"), "--name", "first"]);
    assert!(first["warnings"].to_string().contains("a pin outlives the program"), "{first}");
    done(&["bind", "refuse", "tcp", "127.7.0.0/16", "80"]);
    let said = |answer: &Value| -> Vec<String> {
        let said = answer["warnings"].as_array().map_or(&[][..], Vec::as_slice);
        said.iter().map(|said| said["message"].as_str().unwrap().to_owned()).collect()
    };
    let last = said(&attached(&[&object("assign"), "--name", "last"]));
    assert_eq!(last.len(), 2, "{last:?}");
    assert!(last[0].starts_with("last (program ") && last[0].contains("runs after first (program "), "{last:?}");
    assert!(last[1].contains("runs after the policy (program ") && last[1].contains("it can replace"), "{last:?}");
    let listed = said(&document(&["programs"]).1);
    assert!(listed[0].starts_with("the policy (program ") && listed[0].contains("it leaves to it"), "{listed:?}");
    assert!(listed[1].starts_with("last (program "), "{listed:?}");
    assert_eq!(listed.len(), 2, "{listed:?}");
}

fn litter(sandbox: &Sandbox) {
    attached(&[&object("assign")]);
    let place = sandbox.bpffs.join("sklookup-programs").join(sandbox.netns.inode().to_string()).join("half-made");
    bpffs::create_dir(&place, 0o711).unwrap();
    let (_, answer) = document(&["programs"]);
    assert_eq!(answer["litter"], json!(["half-made"]));
    assert!(done(&["programs"]).stdout.contains("left by commands that were killed"));
    done(&["detach", "assign"]);
    crate::world::left(sandbox, &[]);
}
