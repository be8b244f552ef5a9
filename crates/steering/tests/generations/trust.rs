//! State directories are ours or they are refused; bpffs is shared with strangers.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use sklookup_bpf::{Builder, MapSpec, ProgramSpec, Reg};
use sklookup_kernel::bpffs;
use sklookup_kernel::{Link, Map, Netns, Program, Sandbox};
use sklookup_steering::{Error, State};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, applied, apply, attached, bind, register, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_state_directory_of_another_user_is_refused", anothers),
        kernel_trial("a_state_directory_that_others_may_write_is_refused", writable),
        kernel_trial("a_directory_that_is_no_bpffs_is_refused_with_the_mount_command", no_bpffs),
        kernel_trial("what_others_have_beside_the_state_is_left_alone", foreign_names),
        kernel_trial("a_state_that_holds_what_we_did_not_make_is_refused_and_can_be_unloaded", foreign_inside),
        kernel_trial("what_stands_in_the_place_of_the_state_is_refused_and_not_followed", places_taken),
        kernel_trial("a_bpffs_in_which_others_can_exchange_names_is_refused", exchangeable),
        kernel_trial("a_bpffs_is_what_its_path_leads_to_and_refused_if_others_can_lead_it_elsewhere", misled),
        kernel_trial("a_lock_that_is_held_too_long_names_its_holder", held_lock),
        kernel_trial("a_link_changed_by_something_else_is_not_overwritten", foreign_link),
    ]
}

fn anothers(sandbox: &Sandbox) {
    let state = state(sandbox);
    std::fs::create_dir(sandbox.bpffs.join("sklookup")).unwrap();
    chown(sandbox.bpffs.join("sklookup"), Some(1000), Some(1000)).unwrap();
    let error = apply(&state, &["web tcp 127.7.0.0/16"]).unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("owned by user 1000"), "{error}");
    assert_eq!(names(&sandbox.bpffs), ["sklookup"]);
}

fn writable(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    std::fs::set_permissions(state.dir(), PermissionsExt::from_mode(0o777)).unwrap();
    for error in [state.generation().unwrap_err(), bind(&state, &["web udp 127.7.0.0/16"]).unwrap_err()] {
        assert!(error.to_string().contains("others may write to it"), "{error}");
    }
}

fn no_bpffs(_: &Sandbox) {
    let error = State::new(Path::new("/"), Netns::current().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NoBpffs { .. }), "{error}");
    assert!(error.help().unwrap().contains("mount -t bpf"));
}

fn foreign_names(sandbox: &Sandbox) {
    let state = state(sandbox);
    // Beside the state: a bpffs is shared.
    for path in ["stranger", "sklookup", "sklookup/stranger"] {
        bpffs::create_dir(&sandbox.bpffs.join(path), 0o711).unwrap();
    }
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    state.unload().unwrap();
    assert_eq!(names(&sandbox.bpffs), ["sklookup", "sklookup/stranger", "stranger"]);
}

fn foreign_inside(sandbox: &Sandbox) {
    let state = state(sandbox);
    let inside = |name: &str| state.dir().join(name);
    let refused = |name: &str, why: &str| {
        let error = bind(&state, &["web udp 127.7.0.0/16"]).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {why}", inside(name).display()));
        assert_eq!(applied(&state), ["web tcp 127.7.0.0/16"]);
    };
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    for name in ["stranger", "gen-x", "gen-007"] {
        bpffs::create_dir(&inside(name), 0o711).unwrap();
        refused(name, "not made by sklookup");
        bpffs::rmdir(&inside(name)).unwrap();
    }
    bpffs::create_dir(&inside("gen-1"), 0o711).unwrap();
    chown(inside("gen-1"), Some(1000), None).unwrap();
    refused("gen-1", "owned by user 1000, and not made by sklookup");
    bpffs::rmdir(&inside("gen-1")).unwrap();
    bpffs::create_dir(&inside("run-1-1-1"), 0o777).unwrap();
    refused("run-1-1-1", "mode 0777: others may write to it");
    bpffs::rmdir(&inside("run-1-1-1")).unwrap();
    bpffs::symlink(Path::new("/"), &inside("gen-2")).unwrap();
    refused("gen-2", "not what sklookup makes under this name");

    // Steering can be taken away all the same, and what is not ours stays, and what it points to.
    bpffs::create_dir(&inside("gen-3"), 0o711).unwrap();
    let map = Map::create(&MapSpec::table("theirs", vec![1])).unwrap();
    map.pin(&inside("gen-3").join("policy")).unwrap();
    chown(inside("gen-3"), Some(1000), None).unwrap();
    state.unload().unwrap();
    assert_eq!(names(state.dir()), ["gen-2", "gen-3", "gen-3/policy"]);
    assert_eq!(attached(), Vec::<u32>::new());
}

/// What another user can put where our directories belong, before we do.
fn places_taken(sandbox: &Sandbox) {
    let place = sandbox.bpffs.join("sklookup");
    let elsewhere = sandbox.scratch.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let refused = |why: &str| {
        let state = state(sandbox);
        for error in [state.generation().unwrap_err(), apply(&state, &["web tcp 127.7.0.0/16"]).unwrap_err()] {
            assert_eq!(error.to_string(), format!("{}: {why}", place.display()));
        }
        assert!(matches!(state.unload(), Err(Error::Untrusted { .. }) | Ok(false)));
    };
    bpffs::symlink(&elsewhere, &place).unwrap();
    refused("not a directory, and not made by sklookup");
    bpffs::unlink(&place).unwrap();
    let map = Map::create(&MapSpec::table("theirs", vec![1])).unwrap();
    map.pin(&place).unwrap();
    refused("not a directory, and not made by sklookup");
    bpffs::unlink(&place).unwrap();
    bpffs::create_dir(&place, 0o775).unwrap();
    refused("mode 0775: others may write to it");
    assert_eq!(names(&sandbox.bpffs), ["sklookup"]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

fn exchangeable(sandbox: &Sandbox) {
    let new = || State::new(&sandbox.bpffs, Netns::current().unwrap());
    for mode in [0o777, 0o770] {
        std::fs::set_permissions(&sandbox.bpffs, PermissionsExt::from_mode(mode)).unwrap();
        let error = new().unwrap_err().to_string();
        assert!(error.contains(&format!("mode {mode:04o}: others could put another directory")), "{error}");
    }
    // As mounted without options.
    std::fs::set_permissions(&sandbox.bpffs, PermissionsExt::from_mode(0o1777)).unwrap();
    apply(&new().unwrap(), &["web tcp 127.7.0.0/16"]).unwrap();
    chown(&sandbox.bpffs, Some(1000), None).unwrap();
    assert!(new().unwrap_err().to_string().contains("a bpffs owned by user 1000"));
}

/// By whichever path it is named: what counts is where it leads to, and who could lead it elsewhere.
fn misled(sandbox: &Sandbox) {
    let new = |path: &Path| State::new(path, Netns::current().unwrap());
    let refused = |path: &Path, why: &str| {
        let error = new(path).unwrap_err().to_string();
        assert!(error.contains(why), "{}: {error}", path.display());
    };
    let link = sandbox.scratch.join("link");
    std::os::unix::fs::symlink(&sandbox.bpffs, &link).unwrap();
    let state = new(&link).unwrap();
    assert!(state.dir().starts_with(&sandbox.bpffs), "{}", state.dir().display());
    let inside = sandbox.bpffs.join("inside");
    bpffs::create_dir(&inside, 0o711).unwrap();
    new(&inside).unwrap();

    std::fs::set_permissions(&sandbox.bpffs, PermissionsExt::from_mode(0o777)).unwrap();
    for path in [&link, &inside] {
        refused(path, "/sys/fs/bpf: mode 0777: others could put another directory");
    }
    std::fs::set_permissions(&sandbox.bpffs, PermissionsExt::from_mode(0o1777)).unwrap();
    new(&inside).unwrap();
    chown(&sandbox.bpffs, Some(1000), None).unwrap();
    refused(&link, "a bpffs owned by user 1000");
    refused(&inside, "above the bpffs, and owned by user 1000");
}

fn held_lock(sandbox: &Sandbox) {
    use std::os::fd::AsFd;
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    let held = bpffs::open_dir(state.dir()).unwrap();
    assert!(bpffs::try_lock(held.as_fd()).unwrap());
    // Readers take no lock, and a registration is no commit.
    assert!(state.generation().unwrap().is_some());
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    let error = bind(&state, &["web udp 127.7.0.0/16"]).unwrap_err();
    let Error::Locked { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, Some(std::process::id()));
    drop(held);
    bind(&state, &["web udp 127.7.0.0/16"]).unwrap();
}

fn foreign_link(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    let mut b = Builder::new();
    b.mov(Reg::R0, 1);
    b.exit();
    let stranger = Program::load(&ProgramSpec::sk_lookup("stranger", b.finish().unwrap(), Vec::new()), &[]).unwrap();
    let generation = state.generation().unwrap().unwrap();
    Link::open(&state.dir().join("link")).unwrap().update(&stranger, &generation.program).unwrap();
    let error = bind(&state, &["web udp 127.7.0.0/16"]).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. } | Error::Damaged { .. }), "{error}");
    assert!(error.help().is_some());
    // The way out that the help names.
    state.unload().unwrap();
    bind(&state, &["web udp 127.7.0.0/16"]).unwrap();
}
