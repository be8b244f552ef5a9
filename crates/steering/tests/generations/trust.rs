//! State directories are ours or they are refused; bpffs is shared with strangers.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use sklookup_kernel::bpffs;
use sklookup_kernel::{Link, Netns, Program, Sandbox};
use sklookup_steering::{Error, State};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, apply, bind, register, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_state_directory_of_another_user_is_refused", anothers),
        kernel_trial("a_state_directory_that_others_may_write_is_refused", writable),
        kernel_trial("a_directory_that_is_no_bpffs_is_refused_with_the_mount_command", no_bpffs),
        kernel_trial("what_we_did_not_make_is_left_alone", foreign_names),
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
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    for name in ["stranger", "gen-x", "gen-007"] {
        std::fs::create_dir(state.dir().join(name)).unwrap();
    }
    bind(&state, &["web udp 127.7.0.0/16"]).unwrap();
    state.unload().unwrap();
    let left = names(state.dir());
    assert_eq!(left, ["gen-007", "gen-x", "stranger"]);
    // And it works again beside them.
    bind(&state, &["web udp 127.7.0.0/16"]).unwrap();
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
    use sklookup_bpf::{Builder, ProgramSpec, Reg};
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
