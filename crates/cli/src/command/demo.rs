//! `demo`: a guided tour, in namespaces of its own, with real servers and real connections.
//!
//! What it prints as typed is what it runs, and what it prints as seen it has seen; anything that is not as it should be
//! makes it end with 1.

mod network;
mod tour;

use std::os::fd::AsFd;
use std::process::ExitCode;

use sklookup_kernel::caps::{self, Cap};
use sklookup_kernel::{Link, Sandbox, in_sandbox, route};

use crate::args::Global;
use crate::command::demo::network::{Client, Server};
use crate::command::demo::tour::Tour;
use crate::output::{self, Answer, Failure, Said};

/// How often the policy is swapped under traffic.
const SWAPS: usize = 40;

pub fn demo(global: &Global) -> ExitCode {
    output::finish("demo", global.json, show(global.json))
}

fn show(json: bool) -> Result<Answer, Failure> {
    let missing = caps::missing(&[Cap::SysAdmin, Cap::NetAdmin, Cap::Bpf])?;
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Err(Failure::new(Said::with_help(
            format!("the demo makes namespaces of its own and loads a program: this needs {}", missing.join(", ")),
            "sudo sklookup demo",
        )));
    }
    let toured = in_sandbox(|sandbox| {
        let mut tour = Tour::new(json);
        acts(&mut tour, sandbox)?;
        Ok(tour.answer())
    });
    toured
        .map_err(|error| Failure::new(Said::with_help(error.to_string(), "`sklookup doctor` says what is missing")))?
}

fn acts(tour: &mut Tour, sandbox: &Sandbox) -> Result<(), Failure> {
    tour.say("Everything here happens in a network namespace and a bpf file system of its own, on loopback.");
    let web = a_prefix(tour)?;
    let game = a_port_range(tour)?;
    let host = an_overlap(tour)?;
    a_swap(tour, sandbox)?;
    let web = a_restart(tour, web)?;
    cleaning_up(tour, sandbox)?;
    drop((web, game, host));
    Ok(())
}

fn a_prefix(tour: &mut Tour) -> Result<Server, Failure> {
    tour.act(
        "A prefix",
        "One server listens on one port. It gets port 80 of 65,536 IPv4 addresses and of an IPv6 /64.",
    );
    tour.shell("ip route add local fd00:7::/64 dev lo");
    route::add_local_route("fd00:7::/64".parse().expect("a prefix"))?;
    let web = Server::tcp("web", "[::]:8080")?;
    tour.run(&["bind", "web", "tcp", "127.7.0.0/16,fd00:7::/64", "80"])?;
    tour.register("web", &web)?;
    for (to, expected) in [
        ("127.7.0.1:80", "web"),
        ("127.7.200.9:80", "web"),
        ("[fd00:7::1234]:80", "web"),
        ("127.8.0.1:80", "refused"),
        ("127.7.0.1:81", "refused"),
    ] {
        tour.tcp(to, expected);
    }
    Ok(web)
}

fn a_port_range(tour: &mut Tour) -> Result<Server, Failure> {
    tour.act("A port range", "A thousand UDP ports, one socket.");
    let game = Server::udp("game", "127.0.0.1:5000")?;
    tour.run(&["bind", "game", "udp", "127.7.0.0/16", "27000-27999"])?;
    tour.register("game", &game)?;
    for (to, expected) in [("127.7.0.1:27000", "game"), ("127.7.99.1:27999", "game"), ("127.7.0.1:26999", "refused")] {
        tour.udp(to, expected);
    }
    Ok(game)
}

fn an_overlap(tour: &mut Tour) -> Result<Server, Failure> {
    tour.act("An overlap", "Two bindings match 127.7.7.7: the longer prefix wins, whatever came first.");
    let host = Server::tcp("host", "127.0.0.1:8081")?;
    tour.run(&["bind", "host", "tcp", "127.7.7.7", "80"])?;
    tour.register("host", &host)?;
    tour.tcp("127.7.7.7:80", "host");
    tour.tcp("127.7.7.8:80", "web");
    Ok(host)
}

fn a_swap(tour: &mut Tour, sandbox: &Sandbox) -> Result<(), Failure> {
    tour.act(
        "A swap under traffic",
        "A client connects as fast as it can while the whole policy is replaced again and again.",
    );
    let servers = [Server::tcp("blue", "127.0.0.1:8082")?, Server::tcp("green", "127.0.0.1:8083")?];
    let mut files = Vec::new();
    for server in &servers {
        let name = server.name();
        let file = sandbox.scratch.join(format!("{name}.toml"));
        let bindings = format!(
            "bindings = [\n  'web tcp 127.7.0.0/16,fd00:7::/64 80',\n  'game udp 127.7.0.0/16 27000-27999',\n  \
             'host tcp 127.7.7.7 80',\n  '{name} tcp 127.7.0.0/16 443',\n]\n"
        );
        std::fs::write(&file, bindings)
            .map_err(|error| Failure::new(Said::new(format!("write {}: {error}", file.display()))))?;
        files.push(file.display().to_string());
    }
    for server in &servers {
        tour.register(server.name(), server)?;
    }
    tour.run(&["apply", &files[0]])?;
    tour.tcp("127.7.0.1:443", "blue");
    let client = Client::start(443);
    client.go_on();
    tour.run(&["apply", &files[1]])?;
    tour.remark(&format!("and blue and green in turn, {SWAPS} times"));
    for swap in 1..SWAPS {
        tour.run_quietly(&["apply", &files[(swap + 1) % 2]])?;
    }
    client.go_on();
    let traffic = client.stop();
    let [blue, green] = servers.each_ref().map(|server| traffic.answered(server.name()));
    tour.saw("connections", &(blue + green).to_string(), blue > 0 && green > 0, "some to each");
    tour.remark(&format!("{blue} went to blue, {green} to green"));
    tour.count("refused", traffic.refused, 0);
    tour.count("to anyone else", traffic.total() - blue - green - traffic.refused, 0);
    Ok(())
}

fn a_restart(tour: &mut Tour, old: Server) -> Result<Server, Failure> {
    tour.act("A restart", "A new server takes over from the old one under traffic; then it crashes and comes back.");
    let client = Client::start(80);
    client.go_on();
    let new = Server::tcp("web 2", "127.0.0.1:8084")?;
    tour.register("web", &new)?;
    client.go_on();
    drop(old);
    client.go_on();
    let traffic = client.stop();
    tour.saw("connections", &traffic.total().to_string(), traffic.total() > 0, "some");
    tour.count("refused", traffic.refused, 0);
    tour.tcp("127.7.0.1:80", "web 2");
    tour.remark("the server stops: its label is empty, and what it had is refused, not given to another");
    drop(new);
    tour.tcp("127.7.0.1:80", "refused");
    let again = Server::tcp("web 3", "127.0.0.1:8084")?;
    tour.register("web", &again)?;
    tour.tcp("127.7.0.1:80", "web 3");
    Ok(again)
}

fn cleaning_up(tour: &mut Tour, sandbox: &Sandbox) -> Result<(), Failure> {
    tour.act("Cleaning up", "The regular lookup has everything back, and nothing is left in the kernel.");
    tour.run(&["unload"])?;
    tour.tcp("127.7.0.1:80", "refused");
    tour.tcp("127.0.0.1:8084", "web 3");
    tour.count("programs on the hook", Link::query(sandbox.netns.as_fd())?.len(), 0);
    let left = std::fs::read_dir(sandbox.bpffs.join("sklookup")).map_or(0, Iterator::count);
    tour.count("files of ours in bpffs", left, 0);
    Ok(())
}
