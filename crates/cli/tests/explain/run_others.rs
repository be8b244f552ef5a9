//! Programs of others, run alone: what they did is told as that, beside the kernel's answer, and nothing more is made of it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sklookup_bpf::{MapSpec, MapType};
use sklookup_kernel::{Link, Map, Netns, Object, Program, Sandbox};
use sklookup_testbed::leftovers::attached;
use sklookup_testbed::{CapabilitySet, Fault, Leftovers, Rights, Trace, Trial, fault, kernel_trial, plain_trial};

use crate::command::{Ran, command, document, one_document, sklookup};
use crate::scene::{as_nobody, bind, cookie, copy_command, explain, load, other, select, server, sharing};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("what_a_program_does_alone_is_told_with_the_socket_it_selects", told),
        kernel_trial("a_program_is_run_with_the_addresses_and_protocol_of_the_packet", the_packet),
        kernel_trial("a_socket_of_a_reuseport_group_can_not_be_told", of_group),
        kernel_trial("a_program_that_depends_on_the_interface_contradicts_nobody", on_interface),
        kernel_trial("a_program_before_ours_and_one_behind_it_are_both_run", in_order),
        kernel_trial("each_is_run_once_and_only_if_that_is_asked_for", counted),
        kernel_trial("none_is_run_where_no_program_is_asked", not_asked),
        kernel_trial("a_watch_is_told_of_nothing_that_never_was", watched),
        kernel_trial("a_program_that_went_meanwhile_is_told_to_be_gone", gone),
        kernel_trial("who_may_not_list_programs_is_told_what_running_them_takes", unlisted),
        kernel_trial("who_may_list_programs_only_is_told_so_of_each", forbidden),
        kernel_trial("a_call_that_fails_never_makes_the_answer_wrong", failed),
        kernel_trial("killed_at_any_call_it_leaves_nothing", killed),
        plain_trial("it_speaks_of_one_packet_and_what_is_attached", usage),
    ]
}

const PACKET: &str = "tcp 127.0.0.1:4000 > 127.7.0.1:80";
const ALONE: &str = "             run alone (no interface, nothing selected before it): ";

/// The answer with every program of others run.
fn run_others(packet: &str) -> (i32, Value) {
    document(&["explain", packet, "--run-others"])
}

/// What the only program did alone.
fn alone(document: &Value) -> &Value {
    assert_eq!(document["programs"].as_array().map(Vec::len), Some(1), "{document}");
    &document["programs"][0]["alone"]
}

fn did(verdict: &str, selected: Option<&str>) -> Value {
    json!({ "verdict": verdict, "selected": selected, "error": null })
}

/// A program on the hook as long as the link is held.
fn attach(program: &Program) -> Link {
    Link::attach(program, Netns::current().unwrap().as_fd()).unwrap()
}

fn notes(document: &Value) -> String {
    document["limits"].as_array().unwrap().iter().map(|limit| format!("{}\n", limit.as_str().unwrap())).collect()
}

const DOES_NOT_FOLLOW: &str = "does not follow from what was done alone";

fn told(_: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = theirs.local_addr().unwrap();
    let lines = [
        (Some(&theirs), 1, 0, did("pass", Some(&cookie(&theirs))), format!("SK_PASS, selected tcp {local}, cookie ")),
        (Some(&theirs), 0, 1, did("drop", None), "SK_DROP".to_owned()),
        (None, 0, 1, did("drop", None), "SK_DROP".to_owned()),
        (None, 1, 1, did("pass", None), "SK_PASS, selected nothing".to_owned()),
    ];
    for (selects, verdict, exit, expected, line) in lines {
        let _link = other(selects, verdict);
        let (found, document) = run_others(PACKET);
        assert_eq!((found, alone(&document)), (exit, &expected), "{document}");
        let text = sklookup(&["explain", PACKET, "--run-others"]).stdout;
        assert!(text.contains(&format!("{ALONE}{line}")), "{text}");
        assert!(
            text.contains("note         1 program not ours ran once more, alone, with all side effects\n"),
            "{text}"
        );
        assert!(!text.contains(DOES_NOT_FOLLOW), "{text}");
    }
    // What follows from the answer does not depend on it, and is what it is without.
    let _link = other(Some(&theirs), 1);
    let (without, with) = (explain(PACKET).1, run_others(PACKET).1);
    assert_eq!(without["programs"][0]["alone"], Value::Null);
    for key in ["answer", "socket", "others", "account", "disagreement", "sockets"] {
        assert_eq!(without[key], with[key], "{key}");
    }
}

fn the_packet(_: &Sandbox) {
    let over_ipv6 = TcpListener::bind("[::1]:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let links = [select(&over_ipv6, "", 0, 1), select(&udp, "", 0, 1)].map(|program| attach(&program));
    let both = |packet: &str| {
        let (_, document) = run_others(packet);
        [0, 1].map(|program| document["programs"][program]["alone"].clone())
    };
    let nothing = || did("pass", None);
    assert_eq!(both("tcp [::1]:4000 > [::1]:80"), [did("pass", Some(&cookie(&over_ipv6))), nothing()]);
    assert_eq!(both("udp 127.0.0.1:4000 > 127.7.0.1:80"), [nothing(), did("pass", Some(&cookie(&udp)))]);
    assert_eq!(both(PACKET), [nothing(), nothing()]);
    drop(links);

    // Drops what is not exactly this packet; ports as the context has them, the remote one in network order.
    let exact = "r2 = *(u32 *)(r1 +8)
        r0 = 0
        if r2 != 2 goto out
        r2 = *(u32 *)(r1 +12)
        if r2 != 6 goto out
        r2 = *(u8 *)(r1 +16)
        if r2 != 127 goto out
        r2 = *(u8 *)(r1 +36)
        if r2 != 15 goto out
        r2 = *(u8 *)(r1 +37)
        if r2 != 160 goto out
        r2 = *(u8 *)(r1 +41)
        if r2 != 7 goto out
        r2 = *(u32 *)(r1 +60)
        if r2 != 80 goto out
        r0 = 1
     out:
        exit";
    let _link = attach(&load(exact, &[]));
    assert_eq!(*alone(&run_others(PACKET).1), nothing());
    assert_eq!(*alone(&run_others("tcp 127.0.0.1:4001 > 127.7.0.1:80").1), did("drop", None));
    assert_eq!(*alone(&run_others("tcp 127.0.0.1:4000 > 127.8.0.1:80").1), did("drop", None));
}

fn of_group(_: &Sandbox) {
    let [one, _two] = ["127.0.0.1:80", "127.0.0.1:80"].map(sharing);
    let _link = attach(&select(&one, "", 0, 1));
    let (exit, document) = run_others(PACKET);
    let error = "EOPNOTSUPP (it selected a socket of a reuseport group)";
    assert_eq!((exit, alone(&document)), (0, &json!({ "verdict": null, "selected": null, "error": error })));
    assert!(notes(&document).contains("1 program not ours ran once more"), "it did run: {document}");
    assert!(!notes(&document).contains(DOES_NOT_FOLLOW), "{document}");
    let text = sklookup(&["explain", PACKET, "--run-others"]).stdout;
    assert!(text.contains(&format!("{ALONE}{error}")), "{text}");
}

fn on_interface(_: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let where_it_came_in = "r2 = *(u32 *)(r6 +64)\n if r2 == 0 goto done\n";
    let _link = attach(&select(&theirs, where_it_came_in, 0, 1));
    let (exit, document) = run_others(PACKET);
    assert_eq!((exit, &document["socket"], &document["others"]), (0, &cookie(&theirs).into(), &"selected".into()));
    assert_eq!(*alone(&document), did("pass", None));
    assert_eq!(document["disagreement"], Value::Null, "{document}");
    assert!(notes(&document).contains(DOES_NOT_FOLLOW), "{document}");
    let text = sklookup(&["explain", PACKET, "--run-others"]).stdout;
    assert!(text.contains(&format!("{ALONE}SK_PASS, selected nothing\n")), "{text}");
    assert!(text.contains("on the hook a program sees the interface and what was selected before it"), "{text}");
    assert!(!text.contains("WITNESSES DIFFER"), "{text}");
}

fn in_order(_: &Sandbox) {
    let [before, behind] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    bind("web tcp 127.7.0.0/16 80");
    let ours = server("web");
    let done = |document: &Value| -> Vec<Value> {
        document["programs"].as_array().unwrap().iter().map(|program| program["alone"].clone()).collect()
    };
    let theirs = did("pass", Some(&cookie(&behind)));
    // It does not ask to replace what ours has selected; then it does.
    for (flags, gets) in [(0, cookie(&ours)), (1, cookie(&behind))] {
        let _behind = attach(&select(&behind, "", flags, 1));
        let (exit, document) = run_others(PACKET);
        assert_eq!((exit, &document["socket"]), (0, &gets.into()), "{document}");
        assert_eq!(done(&document), [Value::Null, theirs.clone()]);
        assert!(!notes(&document).contains(DOES_NOT_FOLLOW), "{document}");
        let named = |socket: &Value| socket["cookie"] == cookie(&behind).as_str() && socket["processes"][0].is_object();
        assert!(
            document["sockets"].as_array().unwrap().iter().any(named),
            "described though it gets nothing: {document}"
        );
    }
    assert_eq!(sklookup(&["unload"]).exit, 0);
    let _before = attach(&select(&before, "", 0, 1));
    bind("web tcp 127.7.0.0/16 80");
    let _behind = attach(&select(&behind, "", 0, 1));
    let (_, document) = run_others(PACKET);
    assert_eq!(document["socket"], cookie(&before).as_str());
    assert_eq!(done(&document), [did("pass", Some(&cookie(&before))), Value::Null, theirs]);
    assert!(!notes(&document).contains(DOES_NOT_FOLLOW), "{document}");
    assert!(notes(&document).contains("2 programs not ours ran once more"), "{document}");
}

/// A program that counts its runs.
fn counting() -> (Program, Map) {
    let runs = Map::create(&MapSpec::new("runs", MapType::Array, 4, 8, 1)).unwrap();
    let text = "*(u32 *)(r10 -4) = 0
        r2 = r10
        r2 += -4
        r1 = map[runs] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto done
        r1 = 1
        lock *(u64 *)(r0 +0) += r1
     done:
        r0 = 1
        exit";
    (load(text, &[runs.as_fd()]), runs)
}

fn runs(map: &Map) -> u64 {
    u64::from_ne_bytes(map.lookup(&0u32.to_ne_bytes(), 0).unwrap().try_into().unwrap())
}

fn counted(_: &Sandbox) {
    let (program, map) = counting();
    let _link = attach(&program);
    explain(PACKET);
    assert_eq!(runs(&map), 1, "the question to the kernel");
    run_others(PACKET);
    assert_eq!(runs(&map), 3, "the question, and once alone");
    // Attached twice it runs twice for a packet, and once alone.
    let _again = attach(&program);
    let (_, document) = run_others(PACKET);
    assert_eq!(runs(&map), 6, "{document}");
    assert_eq!(
        [0, 1].map(|program| document["programs"][program]["alone"].clone()),
        [(); 2].map(|()| did("pass", None))
    );
}

fn not_asked(_: &Sandbox) {
    let (program, map) = counting();
    let _link = attach(&program);
    let server = TcpListener::bind("127.0.0.1:80").unwrap();
    let client = TcpStream::connect("127.0.0.1:80").unwrap();
    let (_child, _) = server.accept().unwrap();
    let connected = format!("tcp {} > 127.0.0.1:80", client.local_addr().unwrap());
    let before = runs(&map);
    for (packet, exit) in [(&*connected, 0), ("tcp 127.0.0.1:4000 > 192.0.2.7:80", 1)] {
        let (found, document) = run_others(packet);
        assert_eq!((found, &document["others"]), (exit, &"not-asked".into()), "{document}");
        assert_eq!(document["limits"], json!(["no program is asked about such a packet, so none was run"]));
        let text = sklookup(&["explain", packet, "--run-others"]).stdout;
        assert!(text.ends_with("note         no program is asked about such a packet, so none was run\n"), "{text}");
    }
    assert_eq!(runs(&map), before);
}

fn watched(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80 dev lo");
    bind("refuse tcp 127.7.0.0/16");
    let _server = server("web");
    let mut watch = command(&["watch", "--count", "1"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(watch.stderr.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("watching 2 bindings"), "{ready}");
    // Without an interface the other binding would decide, and refuse.
    let (_, document) = run_others(PACKET);
    let error = "not run: `sklookup watch` would tell of a packet that never came";
    assert_eq!(document["programs"][1]["alone"]["error"], error, "{document}");
    assert!(!notes(&document).contains("ran once more"), "{document}");
    let text = sklookup(&["explain", PACKET, "--run-others"]).stdout;
    assert!(text.contains(&format!("             {error}\n")), "{text}");
    // So the first that it tells of is this one.
    assert!(TcpStream::connect("127.7.0.1:8000").is_err());
    let told = String::from_utf8(watch.wait_with_output().unwrap().stdout).unwrap();
    assert!(told.contains(" > 127.7.0.1:8000"), "{told}");
}

/// The calls that a question with every program run makes.
fn rehearsed(sandbox: &Sandbox) -> Vec<sklookup_testbed::trace::Call> {
    let trace = Trace::new(sandbox.scratch.join("rehearsed"));
    let ran: Ran = trace.of(&mut question()).output().unwrap().into();
    assert!(matches!(ran.exit, 0 | 1), "{ran:?}");
    let calls = trace.calls();
    trace.remove();
    calls
}

fn question() -> std::process::Command {
    let mut question = command(&["--json", "explain", PACKET, "--run-others"]);
    question.stdout(Stdio::piped()).stderr(Stdio::piped());
    question
}

const OPEN: &str = "BPF_PROG_GET_FD_BY_ID";

fn gone(sandbox: &Sandbox) {
    let link = other(None, 0);
    let program = Object::Program(link.info().unwrap().program_id);
    let opened = rehearsed(sandbox).iter().rfind(|call| call.call == OPEN).unwrap().number;
    let child = Fault::Stop(opened).in_command(&mut question()).spawn().unwrap();
    assert!(fault::stops(&child));
    drop(link);
    let deadline = Instant::now() + Duration::from_secs(60);
    while program.exists().unwrap() {
        assert!(Instant::now() < deadline, "it stays");
        std::thread::yield_now();
    }
    fault::go_on(&child);
    let document = one_document(&child.wait_with_output().unwrap().into());
    let expected = json!({ "verdict": null, "selected": null, "error": "ENOENT (it is gone)" });
    assert_eq!(*alone(&document), expected, "{document}");
    assert!(!notes(&document).contains("ran once more"), "{document}");
}

fn unlisted(sandbox: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let _link = other(Some(&theirs), 1);
    let copy = copy_command(sandbox);
    let ran = as_nobody(&copy, &["explain", PACKET, "--run-others"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains(&format!("cookie {}", cookie(&theirs))), "{ran:?}");
    let said = "not seen     what programs that are not ours do when run alone: they can't be listed; running them takes \
        CAP_SYS_ADMIN besides\n";
    assert!(ran.stdout.contains(said), "{ran:?}");
    let ran = as_nobody(&copy, &["explain", PACKET]);
    assert!(!ran.stdout.contains("--run-others"), "advice that can't be followed: {ran:?}");
}

fn forbidden(sandbox: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let _link = other(Some(&theirs), 1);
    let copy = copy_command(sandbox);
    let who = Rights { uid: 1000, caps: CapabilitySet::NET_ADMIN };
    let asked =
        |more: &[&str]| -> Ran { who.command(&copy).args(["explain", PACKET]).args(more).output().unwrap().into() };
    let ran = asked(&["--run-others"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains("\n             could not be run: EPERM (needs CAP_SYS_ADMIN)\n"), "{ran:?}");
    assert!(!ran.stdout.contains("ran once more"), "{ran:?}");
    assert!(!asked(&[]).stdout.contains("--run-others"), "advice that can't be followed");
    // Who may do it is told of it, where it could tell more.
    let advice = |packet| sklookup(&["explain", packet]).stdout.contains("note         --run-others runs each program");
    assert!(advice(PACKET));
    let _regular = TcpListener::bind("127.0.0.1:80").unwrap();
    assert!(!advice("tcp 127.0.0.1:4000 > 192.0.2.7:80"));
}

fn failed(sandbox: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let _link = other(Some(&theirs), 1);
    bind("web tcp 127.7.0.0/16 80");
    let hook = attached(sandbox);
    let calls = rehearsed(sandbox);
    let asks = ["BPF_PROG_TEST_RUN", OPEN].map(|name| calls.iter().rfind(|call| call.call == name).unwrap().number);
    for call in &calls {
        for fault in [Fault::Fail(call.number), Fault::FailWith(call.number, "EPERM")] {
            let ran: Ran = fault.in_command(&mut question()).output().unwrap().into();
            let at = format!("{fault} at {call:?}: {ran:?}");
            let document = one_document(&ran);
            if ran.exit == 2 && document["errors"].is_array() {
                assert!(!asks.contains(&call.number), "what was found out before is told: {at}");
                continue;
            }
            assert_eq!((ran.exit, &document["socket"]), (0, &cookie(&theirs).into()), "{at}");
            if asks.contains(&call.number) {
                let alone = &document["programs"][0]["alone"];
                assert!(alone["error"].is_string() && alone["verdict"].is_null(), "{at}");
                assert!(!notes(&document).contains(DOES_NOT_FOLLOW), "{at}");
            }
        }
    }
    assert_eq!(attached(sandbox), hook);
}

fn killed(sandbox: &Sandbox) {
    let _link = other(None, 0);
    let hook = attached(sandbox);
    for call in rehearsed(sandbox) {
        for fault in [Fault::KillBefore(call.number), Fault::KillAfter(call.number)] {
            let trace = Trace::new(sandbox.scratch.join("trace"));
            let ran: Ran = fault.in_command(trace.of(&mut question())).output().unwrap().into();
            assert_eq!((ran.exit, ran.stdout.as_str()), (-1, ""), "{fault} at {call:?}");
            assert_eq!(Leftovers::of(sandbox, &trace), Leftovers { attached: hook.clone(), ..Leftovers::default() });
            trace.remove();
        }
    }
}

fn usage() {
    let packet = "tcp 127.0.0.1:4000 > 127.7.0.1:80";
    for (words, with) in [
        (&["--to", "web"][..], "--to"),
        (&["--ports", "127.7.0.1"], "--ports"),
        (&["--policy", "policy.toml", packet], "--policy"),
    ] {
        let ran = sklookup(&[&["explain", "--run-others"], words].concat());
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran:?}");
        for word in ["--run-others", with, "cannot be used with"] {
            assert!(ran.stderr.contains(word), "{word}: {ran:?}");
        }
    }
}
