//! What was named is not there, or is not ours to use.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, sklookup};
use crate::world::{file, refused, something_applied};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_pid_that_is_gone_is_named", gone),
        kernel_trial("no_matching_socket_says_what_there_is", no_match),
        kernel_trial("unsuitable_sockets_say_why", unsuitable),
        kernel_trial("without_rights_it_says_which_and_changes_nothing", no_rights),
        kernel_trial("without_a_bpffs_it_says_how_to_mount_one", no_bpffs),
        kernel_trial("the_usual_place_gets_its_bpffs_from_root", mounts),
        kernel_trial("a_namespace_that_is_none_is_named", no_netns),
        kernel_trial("an_interface_that_is_not_there_is_named", no_interface),
    ]
}

fn gone(sandbox: &Sandbox) {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    child.wait().unwrap();
    something_applied();
    refused(sandbox, 2, &["register", "web", "--pid", &pid], &[&format!("pid {pid}: no such process")]);
}

fn no_match(sandbox: &Sandbox) {
    something_applied();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap().to_string();
    let pid = std::process::id().to_string();
    let arguments = ["register", "web", "--pid", &pid, "--match", "tcp 192.0.2.7:9"];
    refused(sandbox, 2, &arguments, &["no socket that matches `tcp 192.0.2.7:9`", &pid, &local]);
}

fn unsuitable(sandbox: &Sandbox) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // Other tests run in this process: only what this one has is given away.
    let mut child = Command::new("sleep").arg("600").stdin(std::os::fd::OwnedFd::from(client)).spawn().unwrap();
    let pid = child.id().to_string();
    refused(sandbox, 2, &["register", "web", "--pid", &pid], &["no TCP listener", "fd 0: ", "connected"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn no_rights(sandbox: &Sandbox) {
    let policy = file(sandbox, "policy.toml", "bindings = [\"web tcp 127.7.0.0/16\"]");
    // The build directory may be closed to others.
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let nobody = |arguments: &[&str]| -> Ran {
        Command::new(&copy).args(arguments).uid(65534).gid(65534).output().unwrap().into()
    };
    let changes = |arguments: &[&str], facts: &[&str]| {
        let ran = nobody(arguments);
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        for fact in facts {
            assert!(ran.stderr.contains(fact), "{arguments:?}: {fact}: {ran:?}");
        }
    };
    let apply = || changes(&["apply", &policy], &["CAP_BPF", "CAP_NET_ADMIN", "sudo"]);
    let bind = || changes(&["bind", "web", "tcp", "127.8.0.0/16"], &["CAP_BPF", "CAP_NET_ADMIN", "sudo"]);
    apply();
    bind();
    assert!(!sandbox.bpffs.join("sklookup").exists());
    something_applied();
    let before = sklookup(&["export"]).stdout;
    apply();
    bind();
    changes(&["unload"], &["owned by user 0", "only its owner can change what is applied", "sudo"]);
    assert_eq!(sklookup(&["export"]).stdout, before);
    // Reading a policy needs no rights at all.
    assert_eq!(nobody(&["check", &policy]).exit, 0);
}

fn no_bpffs(sandbox: &Sandbox) {
    let elsewhere = sandbox.scratch.to_str().unwrap();
    let help = format!("mount -t bpf -o mode=0711 bpf {elsewhere}");
    refused(sandbox, 2, &["--bpffs", elsewhere, "bind", "web", "tcp", "127.7.0.0/16"], &["not a bpffs", &help]);
    refused(sandbox, 2, &["--bpffs", "/no/such/dir", "status"], &["/no/such/dir"]);
}

fn mounts(sandbox: &Sandbox) {
    mount("tmpfs", &sandbox.bpffs, "tmpfs", MountFlags::empty(), None).unwrap();
    let before = sklookup(&["status"]);
    assert_eq!(before.exit, 0, "{before:?}");
    assert!(before.stdout.contains("nothing is steered here"), "{before:?}");
    let ran = sklookup(&["bind", "web", "tcp", "127.7.0.0/16"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stderr.contains("mounted a bpf file system"), "{ran:?}");
}

fn no_netns(sandbox: &Sandbox) {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    child.wait().unwrap();
    for (netns, fact) in [
        ("no-such-name", "no network namespace is named \"no-such-name\""),
        ("/no/such/path", "/no/such/path: no such file"),
        ("/proc/self/ns/mnt", "is not a network namespace, but another kind"),
        ("/dev/null", "/dev/null is not a network namespace"),
        (&pid, "no such process"),
    ] {
        refused(sandbox, 2, &["--netns", netns, "bind", "web", "tcp", "127.7.0.0/16"], &[fact]);
    }
}

fn no_interface(sandbox: &Sandbox) {
    let text = "bindings = [\n  \"web tcp 127.7.0.0/16 80\",\n  \"web tcp 127.8.0.0/16 dev nope0\",\n]\n";
    let policy = file(sandbox, "policy.toml", text);
    refused(sandbox, 2, &["apply", &policy], &["interface nope0", "ip link"]);
    something_applied();
    refused(sandbox, 2, &["apply", &policy], &["interface nope0", "ip link"]);
}
