//! What is dead, missing or not what it was is said, and ends in exit status 1.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sklookup_kernel::{Sandbox, bpffs, interface};
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::sklookup;
use crate::world::{bind, findings, status, tcp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_closed_socket_leaves_its_label_without_one", closed),
        kernel_trial("a_family_without_a_socket_is_missing_though_the_other_has_one", half_served),
        kernel_trial("an_interface_made_again_under_its_name_is_drift", drift),
        kernel_trial("what_somebody_holds_is_not_litter", litter),
        kernel_trial("what_other_commands_put_in_effect_meanwhile_is_not_litter", commits_meanwhile),
        kernel_trial("a_registration_that_no_binding_names_is_shown_and_not_a_fault", spare),
    ]
}

fn litter(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let left = state.join("gen-4294967294");
    bpffs::create_dir(&left, 0o711).unwrap();
    let of = || status().1["litter"].clone();
    assert_eq!(of(), json!(["gen-4294967294"]));
    let held = bpffs::open_dir(&left).unwrap();
    assert!(bpffs::try_lock(held.as_fd()).unwrap());
    assert_eq!(of(), json!([]));
    drop(held);
    // A child that another test starts at this moment has the fd, and so the lock, until it runs its own program.
    let deadline = Instant::now() + Duration::from_secs(10);
    while of() != json!(["gen-4294967294"]) {
        assert!(Instant::now() < deadline, "looking at it changes nothing");
    }
    bind("web tcp 127.7.0.0/16 443");
    assert_eq!(of(), json!([]), "the next change sweeps it up");
}

fn commits_meanwhile(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for port in 1..=60 {
                bind(&format!("web tcp 127.7.0.0/16 {}", 1000 + port));
            }
            over.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !over.load(Ordering::Acquire) && !writer.is_finished() {
            assert_eq!(status().1["litter"], json!([]), "at look {looks}");
            looks += 1;
        }
        assert!(looks > 5, "{looks}");
    });
}

fn closed(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let server = tcp_server("web", "127.0.0.1");
    assert_eq!(status().0, 0);
    drop(server);
    let (exit, status) = status();
    assert_eq!(exit, 1);
    assert_eq!(
        findings(&status),
        ["label web: no socket for tcp over IPv4, which 1 binding has steered to it: packets are refused"]
    );
    let ran = sklookup(&["status"]);
    assert!(ran.stdout.contains("NO SOCKET") && ran.stderr.contains("sklookup register web --pid PID"), "{ran:?}");
}

fn half_served(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16,::1 80 when-empty pass");
    let _server = tcp_server("web", "127.0.0.1");
    let (exit, status) = status();
    assert_eq!(exit, 1);
    assert_eq!(findings(&status).len(), 1, "{status}");
    assert!(findings(&status)[0].ends_with("packets go on to the regular lookup"), "{status}");
    assert_eq!(status["labels"][0]["missing"][0]["family"], "ipv6");
}

fn drift(_: &Sandbox) {
    let (first, _) = interface::add_veth("sk-a", "sk-b").unwrap();
    bind("pass tcp 127.7.0.0/16 dev sk-a");
    assert_eq!(status().0, 0);
    interface::remove(first).unwrap();
    let (exit, gone) = status();
    assert_eq!((exit, gone["interfaces"][0]["index-now"].is_null()), (1, true));
    assert!(findings(&gone)[0].contains("none of this name any more"), "{gone}");

    let (again, _) = interface::add_veth("sk-a", "sk-b").unwrap();
    assert_ne!(again, first);
    let (exit, drifted) = status();
    assert_eq!((exit, drifted["interfaces"][0]["index-now"].as_u64()), (1, Some(again.into())));
    assert!(findings(&drifted)[0].contains("made again"), "{drifted}");
}

fn spare(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let _web = tcp_server("web", "127.0.0.1");
    let spare = tcp_server("spare", "127.0.0.1");
    let (exit, status) = status();
    assert_eq!(exit, 0, "{status}");
    let label = &status["labels"][0];
    assert_eq!((&label["label"], &label["bindings"]), (&"spare".into(), &0.into()));
    let socket = &label["sockets"][0];
    assert_eq!(socket["local"], spare.local_addr().unwrap().to_string());
    assert_eq!(socket["processes"][0]["pid"], std::process::id());
}
