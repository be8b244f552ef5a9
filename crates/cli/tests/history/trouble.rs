//! What can't be written is a warning; what was killed is mended by the next command; of two at once none is older.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use rustix::mount::{MountFlags, mount};
use sklookup_testbed::trace::Call;
use sklookup_testbed::{Fault, Sandbox, Trace, Trial, kernel_trial};

use crate::command::{Ran, command, document, sklookup};
use crate::world::{PAGE, applied, bind, done, earlier, fate, kept, name, names, page};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("on_a_full_disk_the_policy_is_in_effect_and_the_page_is_as_it_was", full_disk),
        kernel_trial("on_a_read_only_disk_too", read_only),
        kernel_trial("who_holds_the_lock_of_the_directory_is_named", held_lock),
        kernel_trial("what_nobody_can_be_told_of_is_kept_all_the_same", full_stdout),
        kernel_trial("killed_at_any_call_the_page_is_the_old_or_the_new_one_and_the_next_command_mends_it", killed),
        kernel_trial("any_call_that_fails_is_a_warning_and_the_page_is_the_old_or_the_new_one", failing),
        kernel_trial("of_commands_at_once_the_page_is_what_is_in_effect_in_the_end", at_once),
        kernel_trial("who_is_overtaken_between_commit_and_page_writes_what_is_in_effect_then", overtaken),
    ]
}

fn full_disk(sandbox: &Sandbox) {
    name(&sandbox.netns);
    std::fs::create_dir("/var/lib/sklookup").unwrap();
    mount("tmpfs", "/var/lib/sklookup", "tmpfs", MountFlags::empty(), Some(c"size=8k,mode=0700")).unwrap();
    bind("web tcp 127.7.0.0/16 80");
    let before = page();
    std::fs::write("/var/lib/sklookup/fill", [0; 4096]).unwrap();
    std::fs::write("/var/lib/sklookup/more", [0; 4096]).unwrap_err();
    std::fs::remove_file("/var/lib/sklookup/more").unwrap();
    let (exit, answer) = document(&["bind", "web", "tcp", "127.7.0.0/16", "81"]);
    let warned = answer["warnings"].to_string();
    assert_eq!(exit, 0, "{answer}");
    assert!(warned.contains("in effect, but not kept") && warned.contains("ENOSPC"), "{answer}");
    assert_eq!((applied().lines().count(), page()), (4, before));
    assert_eq!(names().len(), 2, "nothing unfinished is left: {:?}", names());
    // The next command that changes something keeps it, also where it changes nothing more.
    std::fs::remove_file("/var/lib/sklookup/fill").unwrap();
    bind("web tcp 127.7.0.0/16 81");
    assert_eq!(kept(), applied());
}

fn read_only(sandbox: &Sandbox) {
    name(&sandbox.netns);
    mount("tmpfs", "/var/lib", "tmpfs", MountFlags::RDONLY, Some(c"mode=0755")).unwrap();
    let ran = sklookup(&["bind", "refuse", "tcp", "127.7.0.0/16", "80"]);
    assert!(ran.exit == 0 && ran.stderr.contains("/var/lib/sklookup: read-only file system (EROFS)"), "{ran:?}");
    let elsewhere = sandbox.scratch.join("kept");
    done(&["--state-dir", elsewhere.to_str().unwrap(), "bind", "refuse", "tcp", "127.7.0.0/16", "81"]);
    assert!(elsewhere.join("netns-blue.toml").exists());
}

fn held_lock(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let held = File::open("/var/lib/sklookup").unwrap();
    held.lock_shared().unwrap();
    let ran = sklookup(&["bind", "web", "tcp", "127.7.0.0/16", "81"]);
    let named = format!("/var/lib/sklookup: locked for more than 5 s by process {}\n", std::process::id());
    assert!(ran.exit == 0 && ran.stderr.contains(&named), "{ran:?}");
    drop(held);
    bind("web tcp 127.7.0.0/16 81");
    assert_eq!(kept(), applied());
}

fn full_stdout(sandbox: &Sandbox) {
    name(&sandbox.netns);
    for (arguments, fate_then) in
        [(&["bind", "web", "tcp", "127.7.0.0/16", "80"][..], "applied"), (&["unload"], "taken-away")]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert!(ran.exit == 2 && ran.stderr.contains("what was asked is done all the same"), "{ran:?}");
        assert_eq!(fate(), fate_then);
    }
}

/// The calls that a change makes on the disk.
pub fn calls_on_disk(sandbox: &Sandbox) -> Vec<Call> {
    fill();
    let trace = Trace::new(sandbox.scratch.join("trace"));
    assert!(trace.of(&mut command(&EDIT)).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let calls: Vec<Call> = trace.calls().into_iter().filter(|call| call.on.contains("/var/lib")).collect();
    assert!(calls.len() >= 15, "open, lock, 8 renames, link, open, write, fsync, rename, fsync: {calls:#?}");
    done(&UNDO);
    calls
}

/// Changes and changes back, until as many earlier policies are kept as ever, each in a file of its own: before that a
/// change makes fewer calls.
pub fn fill() {
    let inode = |path: &str| std::fs::metadata(path).map(|file| file.ino()).ok();
    while earlier().len() < 9 || inode(PAGE) == inode(&PAGE.replace(".toml", ".1.toml")) {
        done(&EDIT);
        done(&UNDO);
    }
}

pub const EDIT: [&str; 5] = ["bind", "other", "tcp", "127.8.0.0/16", "80"];
pub const UNDO: [&str; 5] = ["unbind", EDIT[1], EDIT[2], EDIT[3], EDIT[4]];

fn killed(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let old = kept();
    for call in calls_on_disk(sandbox) {
        for fault in [Fault::KillBefore(call.number), Fault::KillAfter(call.number)] {
            assert!(!fault.in_command(&mut command(&EDIT)).status().unwrap().success(), "{fault}");
            let new = applied();
            assert_eq!(new.lines().count(), 4, "{fault}: it is in effect");
            assert!(
                [&old, &new].contains(&&kept()) && page().starts_with("# sklookup-last 1\n"),
                "{fault}: {}",
                page()
            );
            // One that changes nothing mends it as well.
            done(&EDIT);
            assert_eq!(kept(), new, "{fault}");
            done(&UNDO);
            assert_eq!((kept(), names().len()), (old.clone(), 1), "{fault}: {:?}", names());
            fill();
        }
    }
}

fn failing(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let old = kept();
    for call in calls_on_disk(sandbox) {
        let fault = Fault::Fail(call.number);
        let ran: Ran = fault.in_command(&mut command(&EDIT)).output().unwrap().into();
        assert!(ran.exit == 0 && ran.stderr.contains("not kept"), "{fault}: {ran:?}");
        assert!([&old, &applied()].contains(&&kept()) && names().len() == 1, "{fault}: {:?} {}", names(), page());
        done(&UNDO);
        assert_eq!(kept(), old, "{fault}");
        fill();
    }
}

fn at_once(sandbox: &Sandbox) {
    name(&sandbox.netns);
    for round in 0..25 {
        std::thread::scope(|scope| {
            for side in ["1", "2", "3"] {
                let (address, port) = (format!("127.7.{side}.0/24"), (1 + round).to_string());
                scope.spawn(move || done(&["bind", "web", "tcp", &address, &port]));
            }
        });
        assert_eq!(kept(), applied(), "round {round}");
    }
    assert_eq!(kept().lines().count(), 3 * 25 + 2);
}

fn overtaken(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    // Stopped at its first call on the disk: it has committed, and has no lock yet.
    let first = calls_on_disk(sandbox)[0].number;
    let mut slow = Fault::Stop(first).in_command(&mut command(&EDIT)).stdout(Stdio::null()).spawn().unwrap();
    assert!(sklookup_testbed::fault::stops(&slow));
    done(&["unload"]);
    bind("last tcp 127.9.0.0/16 80");
    sklookup_testbed::fault::go_on(&slow);
    assert!(slow.wait().unwrap().success());
    assert_eq!((fate().as_str(), kept()), ("applied", applied()));
    assert!(kept().contains("last tcp") && kept().lines().count() == 3, "{}", kept());
    assert!(std::path::Path::new(PAGE).exists());
}
