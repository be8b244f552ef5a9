//! Documents have the shapes that docs/json.md shows, and docs/json.md shows nothing else.

#[path = "../command/mod.rs"]
mod command;
mod shapes;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_reuseport;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;
use sklookup_bpf::{Builder, ProgramSpec, Reg, abi};
use sklookup_kernel::{Link, Netns, Program};
use sklookup_testbed::{Sandbox, Trial, kernel_trial, name_netns, plain_trial};

use command::{Ran, command, document, one_document, sklookup};
use shapes::Documented;

fn main() {
    // `run` needs a server to start: this program is one.
    if std::env::args().nth(1).as_deref() == Some("serve-one-connection") {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.accept().unwrap();
        return;
    }
    sklookup_testbed::main(trials());
}

fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("each_documented_shape_is_printed_and_no_other", every_shape),
        plain_trial("every_command_has_an_example", every_command),
        plain_trial("a_failure_is_one_document_too", failures),
    ]
}

/// Every file of the tests, by what it holds.
struct Files<'a>(&'a Sandbox);

impl Files<'_> {
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.scratch.join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn every_shape(sandbox: &Sandbox) {
    let files = Files(sandbox);
    let mut documented = Documented::read();
    let mut see = |arguments: &[&str]| documented.compare(&document(arguments).1);

    let first = files.write(
        "first.toml",
        r#"bindings = [
             "web tcp 127.7.0.0/16 80 from 127.0.0.0/8 dev lo",
             "web udp ::1 8000-8999",
             "pass tcp 127.7.0.0/16 8000-8999",
             "web tcp 127.7.0.0/16",
           ]"#,
    );
    let second = files.write(
        "second.toml",
        r#"bindings = ["web tcp 127.7.0.0/16 when-empty pass", "refuse tcp 127.7.0.0/16 8000-8999", "x tcp ::1 1"]"#,
    );
    let shadowed = files.write(
        "shadowed.toml",
        r#"bindings = ["a tcp ::1 80", "b tcp ::1", "c tcp ::1 80 from ::/1", "d tcp ::1 80 from 8000::/1"]"#,
    );
    let cases = files.write(
        "cases.toml",
        r#"[[case]]
           name = "nobody-listens"
           source = "docs/cases.md"
           step = [{ packet = "tcp 127.0.0.1:* > 127.7.0.1:80", expect = "reset" }]
           [[case]]
           name = "somebody-is-said-to-listen"
           step = [{ packet = "tcp 127.0.0.1:* > 127.7.0.1:80", expect = "dropped" }]"#,
    );
    let wrong = files.write("wrong.toml", "bindings = [\n  \"web tcp 127.7.0.0/16 9000-8000\",\n]\n");

    see(&["check", &first]);
    see(&["check", &shadowed]);
    see(&["check", &wrong]);
    see(&["check", &first, "--packet", "tcp 127.0.0.1:4000 > 127.7.0.1:80 dev lo"]);
    see(&["check", &first, "--packet", "tcp 127.0.0.1:4000 > 192.0.2.7:80"]);
    see(&["explain", "--policy", &first, "tcp 127.0.0.1:4000 > 127.7.0.1:80 dev lo"]);
    see(&["explain", "--policy", &first, "tcp 127.0.0.1:4000 > 127.7.0.1:80"]);
    see(&["explain", "--policy", &first, "tcp 127.0.0.1:4000 > 127.7.0.1:8000"]);
    see(&["explain", "--policy", &first, "tcp 127.0.0.1:4000 > 192.0.2.7:80"]);
    see(&["explain", "--policy", &first, "--ports", "127.7.0.1"]);
    see(&["explain", "--policy", &first, "--ports", "127.7.0.1 tcp from 127.0.0.1 dev lo"]);
    see(&["explain", "--policy", &first, "--to", "web"]);
    let capture = |name: &str| format!("{}/../../testdata/captures/{name}", env!("CARGO_MANIFEST_DIR"));
    let [whole, cut_off, damaged] = ["ethernet.pcap", "cut-off.pcap", "damaged.pcapng"].map(capture);
    let recorded = files.write("recorded.toml", r#"bindings = ["web tcp 192.0.2.7 80", "refuse tcp 192.0.2.7 25"]"#);
    let later = files.write("later.toml", r#"bindings = ["new tcp 192.0.2.7 80", "new tcp 192.0.2.7 8080"]"#);
    see(&["replay", &whole, "--policy", &recorded]);
    see(&["replay", &cut_off, "--policy", &recorded, "--local", "192.0.2.7"]);
    see(&["replay", &damaged, "--policy", &recorded]);
    see(&["replay", &whole, "--policy", &later, "--against", &recorded]);
    see(&["diff", &first, &second]);
    see(&["test", &cases]);
    see(&["status"]);
    see(&["status", "--policy", &first]);
    see(&["list"]);
    see(&["list", "--sockets"]);
    see(&["list", "--addresses"]);
    see(&["doctor"]);
    see(&["doctor", "--policy", &first]);
    see(&["apply", "--dry-run", &first]);
    see(&["apply", &first]);
    see(&["apply", &second, "--allow", "shrink"]);
    see(&["status", "--policy", &first]);
    see(&["apply", &first, "--allow", "shrink"]);
    see(&["bind", "game", "udp", "127.7.0.0/16", "53"]);
    see(&["upgrade", "--dry-run"]);
    see(&["upgrade"]);

    let listener = TcpListener::bind("[::]:0").unwrap();
    let udp = UdpSocket::bind("[::]:0").unwrap();
    let pid = std::process::id().to_string();
    let of = |protocol: &str, port: u16| format!("{protocol} :{port}");
    let tcp_match = of("tcp", listener.local_addr().unwrap().port());
    let udp_match = of("udp", udp.local_addr().unwrap().port());
    see(&["register", "web", "--pid", &pid, "--match", &tcp_match]);
    see(&["register", "game", "--pid", &pid, "--match", &udp_match]);
    see(&["register", "spare", "--pid", &pid, "--match", &tcp_match]);
    see(&["status"]);
    let steered = "tcp 127.0.0.1:4000 > 127.7.0.1:80";
    see(&["explain", steered]);
    see(&["explain", "tcp 127.0.0.1:4000 > 127.7.0.1:8001"]);
    see(&["explain", "--ports", "127.7.0.1"]);
    see(&["explain", "--ports", "127.7.0.1 tcp from 127.0.0.1 dev lo"]);
    see(&["explain", "--ports", "192.0.2.7 tcp"]);
    see(&["explain", "--to", "web"]);
    see(&["explain", "--to", "pid", &pid]);
    let group = a_group();
    see(&["explain", "--to", &of("udp", group[0].local_addr().unwrap().port())]);
    drop(group);
    see(&["explain", "tcp 127.0.0.1:4000 > 192.0.2.7:80"]);
    see(&["explain", "udp 127.0.0.1:4000 > 224.0.0.1:80"]);
    documented.compare(&as_nobody(sandbox, &["--json", "explain", steered]));
    documented.compare(&as_nobody(sandbox, &["--json", "explain", "--ports", "127.7.0.1"]));
    documented.compare(&as_nobody(sandbox, &["--json", "explain", "--to", "tcp"]));
    let mut see = |arguments: &[&str]| documented.compare(&document(arguments).1);
    let client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
    let connected = format!("tcp {} > {}", client.local_addr().unwrap(), client.peer_addr().unwrap());
    see(&["explain", &connected]);
    // A socket that is connected later can't be selected any more, and one that is shut down has no address either.
    udp.connect("[::1]:9").unwrap();
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
    see(&["explain", steered]);
    see(&["status"]);
    see(&["list"]);
    see(&["list", "--sockets"]);
    see(&["list", "--addresses"]);
    see(&["doctor"]);
    see(&["unregister", "spare"]);
    see(&["export"]);
    see(&["unbind", "game", "udp", "127.7.0.0/16", "53"]);
    see(&["unbind", "game", "udp", "127.7.0.0/16", "53"]);
    see(&["completions", "bash"]);
    see(&["man"]);
    documented.compare(&as_nobody(sandbox, &["--json", "status"]));
    documented.compare(&as_nobody(sandbox, &["--json", "doctor"]));
    for document in a_watch() {
        documented.compare(&document);
    }
    let (during, after) = a_run();
    documented.compare(&during);
    documented.compare(&after);
    let textfile = files.write("sklookup.prom", "");
    documented.compare(&document(&["metrics", "--textfile", &textfile]).1);
    documented.compare(&a_server_of_metrics());
    let killed = ["run", "--bind", "tcp 127.9.0.0/16 80", "--", "/bin/sh", "-c", "kill -9 $$"];
    documented.compare(&document(&killed).1);
    documented.compare(&without_sys_admin());
    documented.compare(&document(&["unload"]).1);
    documented.compare(&document(&["upgrade"]).1);
    documented.compare(&document(&["demo"]).1);
    rollbacks(sandbox, &mut documented);
    programs(sandbox, &mut documented);
    documented.is_complete();
}

/// What is kept of a namespace that has a name, as this and older versions keep it.
fn rollbacks(sandbox: &Sandbox, documented: &mut Documented) {
    name_netns(&sandbox.netns, "blue");
    let mut see = |arguments: &[&str]| documented.compare(&document(arguments).1);
    for ports in ["80", "81"] {
        see(&["bind", "web", "tcp", "127.7.0.0/16", ports]);
        see(&["rollback"]);
    }
    see(&["rollback", "1", "--allow", "shrink"]);
    see(&["unload"]);
    let pages = "/var/lib/sklookup/netns-blue";
    let old = std::fs::read_to_string(format!("{pages}.1.toml")).unwrap();
    let old = old.lines().filter(|line| !["# user", "# bindings", "# digest"].iter().any(|key| line.starts_with(key)));
    std::fs::write(format!("{pages}.1.toml"), old.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    std::fs::write(format!("{pages}.2.toml"), "").unwrap();
    see(&["rollback"]);
}

/// Two sockets on one port.
fn a_group() -> [UdpSocket; 2] {
    let open = |port: u16| {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).unwrap();
        set_socket_reuseport(&socket, true).unwrap();
        rustix::net::bind(&socket, &std::net::SocketAddr::from(([0; 4], port))).unwrap();
        UdpSocket::from(socket)
    };
    let first = open(0);
    let second = open(first.local_addr().unwrap().port());
    [first, second]
}

/// Programs of object files: attached, listed, replaced by somebody else, and detached.
fn programs(sandbox: &Sandbox, documented: &mut Documented) {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/objects/clang-19-v3/assign.o");
    let mut see = |arguments: &[&str]| documented.compare(&document(arguments).1);
    see(&["programs"]);
    see(&["attach", object, "--dry-run"]);
    see(&["bind", "web", "tcp", "127.7.0.0/16", "80"]);
    see(&["attach", object]);
    see(&["attach", object, "--replace", "--map", "sockets=kept"]);
    see(&["programs"]);
    documented.compare(&as_nobody(sandbox, &["--json", "programs"]));
    let limited = std::thread::scope(|scope| {
        let limited = scope.spawn(|| {
            remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN).unwrap();
            document(&["programs"]).1
        });
        limited.join().unwrap()
    });
    documented.compare(&limited);
    let mut b = Builder::new();
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    let other = Program::load(&ProgramSpec::sk_lookup("other", b.finish().unwrap(), Vec::new()), &[]).unwrap();
    let place = sandbox.bpffs.join(format!("sklookup-programs/{}/assign/link", sandbox.netns.inode()));
    Link::open(&place).unwrap().update_any(&other).unwrap();
    let mut see = |arguments: &[&str]| documented.compare(&document(arguments).1);
    see(&["programs"]);
    let link = Link::attach(&other, Netns::current().unwrap().as_fd()).unwrap();
    // It selects the socket in its first slot, for packets to port 7007.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (pid, local) = (std::process::id(), server.local_addr().unwrap());
    let selecting = format!("sockets[0]={pid} tcp {local}");
    see(&["attach", object, "--name", "selects", "--socket", &selecting]);
    for port in [81, 7007] {
        see(&["explain", &format!("tcp 127.0.0.1:4000 > 127.7.0.1:{port}"), "--run-others"]);
    }
    set_socket_reuseport(&server, true).unwrap();
    see(&["explain", "tcp 127.0.0.1:4000 > 127.7.0.1:7007", "--run-others"]);
    see(&["detach", "selects"]);
    see(&["detach", "--link", &link.info().unwrap().id.to_string()]);
    see(&["detach", "assign"]);
}

/// What an ordinary user is answered.
fn as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    // The build directory may be closed to others.
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let output = std::process::Command::new(copy).args(arguments).uid(65534).gid(65534).output().unwrap();
    one_document(&Ran::from(output))
}

/// The status for who may attach programs but not look at those of others, of which there is one.
fn without_sys_admin() -> Value {
    let mut b = Builder::new();
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    let other = Program::load(&ProgramSpec::sk_lookup("other", b.finish().unwrap(), Vec::new()), &[]).unwrap();
    let _link = Link::attach(&other, Netns::current().unwrap().as_fd()).unwrap();
    // On a thread of its own: what follows needs all rights again.
    std::thread::scope(|scope| {
        let limited = scope.spawn(|| {
            remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN).unwrap();
            document(&["status"]).1
        });
        limited.join().unwrap()
    })
}

/// What a `watch` prints: an event, what is left out of the others, and the sum.
fn a_watch() -> Vec<Value> {
    let mut watch =
        command(&["--json", "watch", "--rate", "1", "--count", "3"]).stdout(Stdio::piped()).spawn().unwrap();
    // One a second is told: the socket under `web` is shut down.
    while watch.try_wait().unwrap().is_none() {
        assert!(TcpStream::connect("127.7.0.1:80").is_err());
    }
    let ran = Ran::from(watch.wait_with_output().unwrap());
    assert_eq!(ran.exit, 0, "{ran:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The status while a `run` runs, and what the `run` prints at its end.
fn a_run() -> (Value, Value) {
    let server = std::env::current_exe().unwrap();
    let server = server.to_str().unwrap();
    let run = command(&["--json", "run", "--bind", "tcp 127.9.0.0/16 80", "--", server, "serve-one-connection"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let during = loop {
        let (_, status) = document(&["status"]);
        if status["runs"].as_array().is_some_and(|runs| !runs.is_empty()) {
            break status;
        }
        assert!(Instant::now() < deadline, "the run never steered: {status}");
    };
    // Its one connection ends the server, and so the run.
    while TcpStream::connect("127.9.1.1:80").is_err() {
        assert!(Instant::now() < deadline, "the run never listened");
    }
    (during, one_document(&run.wait_with_output().unwrap().into()))
}

/// What a server of metrics prints at its end.
fn a_server_of_metrics() -> Value {
    let server = command(&["--json", "metrics", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It takes signals before it opens anything; until then one ends it, and nothing is printed.
    let status = format!("/proc/{}/status", server.id());
    let blocks = |line: &str| line.strip_prefix("SigBlk:").is_some_and(|set| set.trim() != "0000000000000000");
    while !std::fs::read_to_string(&status).unwrap().lines().any(blocks) {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM).unwrap();
    one_document(&server.wait_with_output().unwrap().into())
}

fn every_command() {
    let documented = Documented::read();
    let help = sklookup(&["--help"]).stdout;
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    // The text of a command that wraps is indented further.
    let names = commands.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"apply") && names.len() > 10, "{names:?}");
    // What is drawn on a terminal has no document.
    for name in names.into_iter().filter(|name| *name != "top") {
        assert!(documented.headings().contains(name), "docs/json.md says nothing of `{name}`");
    }
}

fn failures() {
    let mut documented = Documented::read();
    for (arguments, exit) in [
        (&["no-such-command"][..], 2),
        (&["list", "--to", "nonsense"], 2),
        (&["check", "/no/such/file"], 2),
        (&["check", "/dev/null", "--packet", "nonsense"], 2),
        (&["test", "/no/such/file"], 2),
        (&["--netns", "no-such-netns", "status"], 2),
        (&["--bpffs", "/proc", "status"], 2),
        (&["--bpffs", "/proc", "apply", "/no/such/file"], 2),
        (&["register", "web", "--pid", "4194304000"], 2),
    ] {
        let ran = sklookup(&[&["--json"], arguments].concat());
        let answer = one_document(&ran);
        assert_eq!(ran.exit, exit, "{ran:?}");
        assert!(ran.stderr.starts_with("sklookup: "), "people are told as well: {ran:?}");
        assert!(answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{arguments:?}: {answer}");
        documented.compare(&answer);
    }
}
