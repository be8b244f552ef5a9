//! What can be attached, under which name, and what is refused with what to do.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use sklookup_kernel::{Link, Netns};
use sklookup_testbed::leftovers::attached as on_hook;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, document, sklookup};
use crate::world::{attached, done, each, left, object, other, programs};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_name_is_one_program_until_it_is_replaced_or_detached", names),
        kernel_trial("replaced_it_keeps_its_place_among_the_others", place),
        kernel_trial("of_several_programs_one_has_to_be_named", several),
        kernel_trial("what_the_kernel_refuses_is_told_with_its_log_and_nothing_is_left", refused),
        kernel_trial("what_is_no_object_is_told", no_object),
        kernel_trial("a_dry_run_loads_and_attaches_nothing", dry_run),
        kernel_trial("a_link_of_anybody_is_detached_by_its_id_but_not_the_policy", by_id),
        kernel_trial("what_somebody_else_put_under_the_link_is_told_and_not_replaced", exchanged),
        kernel_trial("what_was_attached_to_a_namespace_that_is_gone_is_swept_up", dead_namespace),
        kernel_trial("an_ordinary_user_is_told_what_it_takes", ordinary_user),
    ]
}

fn names(sandbox: &Sandbox) {
    let assign = object("assign");
    let first = attached(&[&assign]);
    assert_eq!(first["name"], "assign");
    let ran = sklookup(&["attach", &assign]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("is attached under this name already") && ran.stderr.contains("--replace"), "{ran:?}");
    let odd = "../a b\u{1b}";
    attached(&[&assign, "--name", odd]);
    assert_eq!(each("attached-as"), ["assign", odd]);
    let text = done(&["programs"]).stdout;
    assert!(text.contains("attached as ../a b\\u{1b}"), "{text}");
    for wrong in ["", &"a".repeat(300)] {
        let ran = sklookup(&["attach", &assign, "--name", wrong]);
        assert!(ran.exit == 2 && ran.stderr.contains("one has at least a character"), "{ran:?}");
    }
    // Where nothing is, --replace attaches.
    attached(&[&assign, "--name", "third", "--replace"]);
    for name in ["assign", odd, "third"] {
        done(&["detach", name]);
    }
    left(sandbox, &[]);
    let ran = sklookup(&["detach", "assign"]);
    assert!(ran.exit == 1 && ran.stderr.contains("no program is attached under the name assign"), "{ran:?}");
}

fn place(sandbox: &Sandbox) {
    let first = attached(&[&object("assign"), "--name", "first"]);
    let second = attached(&[&object("lock"), "--name", "second"]);
    let again = attached(&[&object("prefixes"), "--name", "first", "--replace"]);
    assert_eq!((&again["link"], &again["replaced"]), (&first["link"], &first["program"]));
    assert_eq!(each("id"), [again["program"].clone(), second["program"].clone()]);
    let pins = sklookup_testbed::leftovers::names(&sandbox.bpffs);
    assert!(!pins.iter().any(|pin| pin.contains(&format!("v-{}", first["program"]))), "{pins:?}");
}

fn several(_: &Sandbox) {
    let stages = object("stages");
    let ran = sklookup(&["attach", &stages]);
    assert!(ran.exit == 2 && ran.stderr.contains("choose one with --program"), "{ran:?}");
    assert!(ran.stderr.contains("tcp, udp, entry, refuse"), "{ran:?}");
    let ran = sklookup(&["attach", &stages, "--program", "nobody"]);
    assert!(ran.exit == 2 && ran.stderr.contains("has no sk_lookup program nobody"), "{ran:?}");
    assert_eq!(attached(&[&stages, "--program", "entry"])["name"], "entry");
    // Programs of other types are no choice.
    let ran = sklookup(&["attach", &object("members")]);
    assert!(ran.exit == 2 && ran.stderr.contains("has no sk_lookup program"), "{ran:?}");
}

fn refused(sandbox: &Sandbox) {
    let bytes = std::fs::read(object("assign")).unwrap();
    let damaged = sandbox.scratch.join("damaged.o");
    let object = sklookup_bpf::object::Object::parse(&bytes).unwrap();
    let code = object.program("assign").unwrap().bytes();
    let at = bytes.windows(16).position(|window| window == &code[..16]).expect("its instructions are in the file");
    let mut wrong = bytes.clone();
    wrong[at..at + 8].copy_from_slice(&[0x79, 0x50, 0, 0, 0, 0, 0, 0]); // r0 = *(u64 *)(r5 + 0), with r5 never set
    std::fs::write(&damaged, &wrong).unwrap();
    let ran = sklookup(&["attach", damaged.to_str().unwrap()]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("R5 !read_ok") && ran.stderr.contains("the whole log of the verifier"), "{ran:?}");
    assert!(!ran.stderr.contains("please report it"), "it is not ours: {ran:?}");
    left(sandbox, &[]);
    assert_eq!(on_hook(sandbox), Vec::<u32>::new());
    let log = ran.stderr.lines().find_map(|line| line.split("the whole log of the verifier: ").nth(1)).unwrap();
    std::fs::remove_file(log).unwrap();
}

fn no_object(sandbox: &Sandbox) {
    let empty = sandbox.scratch.join("empty.o");
    std::fs::write(&empty, "").unwrap();
    for (path, why) in [
        (empty.to_str().unwrap(), "no ELF file"),
        ("/no/such/file.o", "No such file"),
        ("/", "Is a directory"),
        ("/dev/zero", "at most"),
    ] {
        let ran = sklookup(&["attach", path]);
        assert!(ran.exit == 2 && ran.stderr.contains(why), "{path}: {ran:?}");
    }
    left(sandbox, &[]);
}

fn dry_run(sandbox: &Sandbox) {
    let (exit, answer) = document(&["attach", &object("assign"), "--dry-run"]);
    assert_eq!((exit, &answer["dry-run"], answer["program"].is_null()), (0, &true.into(), true), "{answer}");
    left(sandbox, &[]);
    attached(&[&object("assign")]);
    let before = programs();
    assert_eq!(sklookup(&["attach", &object("assign"), "--dry-run"]).exit, 1);
    done(&["attach", &object("assign"), "--dry-run", "--replace", "--map", "sockets=kept"]);
    assert_eq!(each("id"), [before[0]["id"].clone()]);
}

fn by_id(_: &Sandbox) {
    let theirs = other();
    let link = Link::attach(&theirs, Netns::current().unwrap().as_fd()).unwrap();
    done(&["bind", "refuse", "tcp", "127.7.0.0/16", "80"]);
    let ours = programs()[1]["links"][0].clone();
    let ran = sklookup(&["detach", "--link", &ours.to_string()]);
    assert!(ran.exit == 2 && ran.stderr.contains("holds the policy") && ran.stderr.contains("unload"), "{ran:?}");
    let id = link.info().unwrap().id.to_string();
    done(&["detach", "--link", &id]);
    assert_eq!(each("whose"), ["policy"]);
    for gone in [id.as_str(), "4294967295"] {
        let ran = sklookup(&["detach", "--link", gone]);
        assert!(ran.exit == 1 && ran.stderr.contains("there is none of this id"), "{ran:?}");
    }
    assert_eq!(sklookup(&["detach"]).exit, 2);
    assert_eq!(sklookup(&["detach", "a", "--link", "1"]).exit, 2);
}

fn exchanged(sandbox: &Sandbox) {
    attached(&[&object("assign")]);
    let theirs = other();
    let pin = sandbox.bpffs.join("sklookup-programs").join(sandbox.netns.inode().to_string()).join("assign/link");
    Link::open(&pin).unwrap().update_any(&theirs).unwrap();
    let text = done(&["programs"]).stdout;
    assert!(text.contains("NOT WHAT WAS ATTACHED"), "{text}");
    let ran = sklookup(&["attach", &object("assign"), "--replace"]);
    assert!(ran.exit == 2 && ran.stderr.contains("something that is not sklookup changed our link"), "{ran:?}");
    assert_eq!(on_hook(sandbox), [theirs.id()]);
    done(&["detach", "assign"]);
    left(sandbox, &[]);
}

fn dead_namespace(sandbox: &Sandbox) {
    let dead = Netns::new_private().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&dead.as_fd()));
    done(&["--netns", &path, "attach", &object("assign")]);
    let pin = sandbox.bpffs.join("sklookup-programs").join(dead.inode().to_string()).join("assign/link");
    drop(dead);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while Link::open(&pin).unwrap().info().unwrap().netns_inode != 0 {
        assert!(std::time::Instant::now() < deadline, "the namespace never died");
        sklookup_kernel::grace_period().unwrap();
    }
    attached(&[&object("assign")]);
    done(&["detach", "assign"]);
    left(sandbox, &[]);
}

fn ordinary_user(sandbox: &Sandbox) {
    attached(&[&object("assign")]);
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let file = sandbox.scratch.join("assign.o");
    std::fs::copy(object("assign"), &file).unwrap();
    let as_nobody = |arguments: &[&str]| -> Ran {
        Command::new(&copy).args(arguments).uid(65534).gid(65534).output().unwrap().into()
    };
    let ran = as_nobody(&["programs"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    for fact in ["not seen: the programs attached", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "only their owner can"] {
        assert!(ran.stdout.contains(fact), "{fact}: {ran:?}");
    }
    let ran = as_nobody(&["attach", file.to_str().unwrap(), "--name", "mine"]);
    assert!(ran.exit == 2 && ran.stderr.contains("CAP_BPF"), "{ran:?}");
    let ran = as_nobody(&["detach", "assign"]);
    assert!(ran.exit == 2 && ran.stderr.contains("(EACCES)"), "{ran:?}");
    let ran = as_nobody(&["detach", "--link", "1"]);
    assert!(ran.exit == 2 && ran.stderr.contains("CAP_SYS_ADMIN"), "{ran:?}");
    assert_eq!(each("whose"), ["attached"]);
}
