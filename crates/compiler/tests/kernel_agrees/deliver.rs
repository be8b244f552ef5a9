//! From the winning binding to the socket: members, empty labels, sockets that can't be selected.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use sklookup_compiler::{Counts, Family, Options, Strategy, label_map};
use sklookup_kernel::{Link, Sandbox, Verdict};
use sklookup_policy::{Origin, Packet, Policy, Protocol, parse_binding};

use crate::agree::{ask, options};
use crate::live::{Live, Service};

const TO_WEB: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";

pub fn policy(bindings: &[&str]) -> Policy {
    let entries = bindings.iter().flat_map(|words| parse_binding(words, Origin::Command("test".into())).unwrap());
    Policy::new(entries.collect()).unwrap()
}

fn live(bindings: &[&str], strategy: Strategy) -> Live {
    let policy = policy(bindings);
    Live::load(&policy, &options(strategy, &policy)).unwrap()
}

fn packet(text: &str) -> Packet {
    text.parse().unwrap()
}

pub fn members_in_order(strategy: Strategy) {
    let live = live(&["web tcp 192.0.2.0/24 80"], strategy);
    let sockets: Vec<TcpListener> =
        (0..label_map::MEMBERS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let slots: Vec<u32> =
        (0..label_map::MEMBERS).map(|member| label_map::slot(Family::V4, Protocol::Tcp, member)).collect();
    for (&slot, socket) in slots.iter().zip(&sockets) {
        live.labels[0].put(slot, socket.as_fd()).unwrap();
    }
    for &slot in &slots {
        let first = live.labels[0].cookie(slot).unwrap();
        assert_eq!(live.run(&packet(TO_WEB), 1).cookie, first);
        assert!(live.labels[0].remove(slot).unwrap());
    }
    assert_eq!(live.run(&packet(TO_WEB), 1).verdict, Verdict::Drop);
    let hits = u64::from(label_map::MEMBERS) + 1;
    assert_eq!(live.counts(), [Counts { hits, no_socket: 1, ..Counts::default() }]);
}

pub fn empty_label(strategy: Strategy) {
    for (binding, verdict) in [
        ("web tcp 192.0.2.0/24 80", Verdict::Drop),
        ("web tcp 192.0.2.0/24 80 when-empty refuse", Verdict::Drop),
        ("web tcp 192.0.2.0/24 80 when-empty pass", Verdict::Pass),
    ] {
        let live = live(&[binding], strategy);
        let run = live.run(&packet(TO_WEB), 1);
        assert_eq!((run.verdict, run.cookie), (verdict, None), "{binding}");
        assert_eq!(live.counts(), [Counts { hits: 1, no_socket: 1, ..Counts::default() }], "{binding}");
    }
}

/// Each socket can't be selected for another reason; behind it stands one that can.
pub fn faults(strategy: Strategy) {
    let live = live(&["web tcp 192.0.2.0/24 80", "dns udp 192.0.2.0/24 53 when-empty pass"], strategy);
    let number = |label: &str| live.compiled.labels.iter().position(|known| known.as_str() == label).unwrap();
    let (web, dns) = (&live.labels[number("web")], &live.labels[number("dns")]);
    let tcp = |member| label_map::slot(Family::V4, Protocol::Tcp, member);
    let udp = |member| label_map::slot(Family::V4, Protocol::Udp, member);
    let to_dns = packet("udp 198.51.100.9:40000 > 192.0.2.7:53");

    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(peer.local_addr().unwrap()).unwrap();
    dns.put(udp(3), connected.as_fd()).unwrap();
    let run = live.run(&to_dns, 1);
    assert_eq!((run.verdict, run.cookie), (Verdict::Pass, None));

    let service = Service::new();
    web.put(tcp(0), service.udp.as_fd()).unwrap();
    assert_eq!(live.run(&packet(TO_WEB), 1).verdict, Verdict::Drop);

    // The first reason is the one that counts.
    let only_v6 = TcpListener::bind("[::1]:0").unwrap();
    web.put(tcp(0), only_v6.as_fd()).unwrap();
    web.put(tcp(1), service.udp.as_fd()).unwrap();
    assert_eq!(live.run(&packet(TO_WEB), 1).verdict, Verdict::Drop);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let established = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    web.put(tcp(0), established.as_fd()).unwrap();
    assert_eq!(live.run(&packet(TO_WEB), 1).verdict, Verdict::Drop);

    // A member that can be selected makes good for all before it.
    web.put(tcp(15), service.tcp.as_fd()).unwrap();
    let run = live.run(&packet(TO_WEB), 1);
    assert_eq!((run.verdict, run.cookie), (Verdict::Pass, web.cookie(tcp(15)).unwrap()));

    let web_counts = Counts { hits: 4, unsupported: 1, wrong_protocol: 1, wrong_family: 1, ..Counts::default() };
    let dns_counts = Counts { hits: 1, unsupported: 1, ..Counts::default() };
    assert_eq!(live.counts(), [web_counts, dns_counts]);
}

pub fn already_selected(strategy: Strategy, sandbox: &Sandbox) {
    let (first, second) =
        (live(&["web tcp 192.0.2.0/24 80"], strategy), live(&["refuse tcp ::/0", "web tcp 192.0.2.0/24 80"], strategy));
    let services = [Service::new(), Service::new()];
    first.register(0, &services[0]);
    second.register(0, &services[1]);
    let to_web = packet(TO_WEB);
    let first_cookie = first.cookie(0, &to_web).unwrap();
    let _links = [&first, &second].map(|live| Link::attach(&live.program, sandbox.netns.as_fd()).unwrap());
    let found = || ask(&Policy::default(), &to_web);
    assert_eq!(found(), Some(first_cookie));
    // The same when it is a later member that could have been selected.
    let slot = |member| label_map::slot(Family::V4, Protocol::Tcp, member);
    second.labels[0].put(slot(2), services[1].tcp.as_fd()).unwrap();
    second.labels[0].remove(slot(0)).unwrap();
    assert_eq!(found(), Some(first_cookie));

    assert_eq!(first.counts(), [Counts { hits: 2, ..Counts::default() }]);
    let by_second = second.counts();
    assert!(by_second.contains(&Counts { hits: 2, already_selected: 2, ..Counts::default() }), "{by_second:?}");
}

pub fn empty_policy(strategy: Strategy) {
    let live = Live::load(&Policy::default(), &Options { cpus: 1, strategy: Some(strategy), ..Options::default() });
    let live = live.unwrap();
    for text in [TO_WEB, "udp [2001:db8::9]:40000 > [2001:db8::7]:53"] {
        let run = live.run(&packet(text), 1);
        assert_eq!((run.verdict, run.cookie), (Verdict::Pass, None));
    }
    assert_eq!(live.counts(), []);
}
