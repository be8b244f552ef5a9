//! Sockets of other services that a policy takes packets from.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};

use sklookup_kernel::interface;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, sklookup};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("whatever_way_a_service_is_bound_it_is_named", named),
        kernel_trial("a_service_bound_to_an_interface_is_named_where_it_loses_packets", bound),
        kernel_trial("every_service_is_named_up_to_a_few", many),
    ]
}

fn bind(binding: &str) -> Ran {
    // A port of the kernel's choice is one of those that it asks from.
    sklookup(&[&["bind", "--allow", "ephemeral"], &binding.split(' ').collect::<Vec<_>>()[..]].concat())
}

/// A binding that would take packets from something of this process.
fn taken(binding: &str, from: &str) {
    let ran = bind(binding);
    assert_eq!(ran.exit, 1, "{binding}: {ran:?}");
    for fact in ["refused (takeover)", &format!("(pid {})", std::process::id()), &format!("which listens on {from}")] {
        assert!(ran.stderr.contains(fact), "{binding}: {fact}: {ran:?}");
    }
}

fn spared(binding: &str) {
    let ran = bind(binding);
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
    assert_eq!(sklookup(&["unload"]).exit, 0);
}

fn named(_: &Sandbox) {
    for (address, takes, spares) in [
        ("127.0.0.1", "web tcp 127.0.0.0/8 PORT", "web tcp 127.0.0.2 PORT"),
        ("0.0.0.0", "web tcp 127.7.0.0/16 PORT", "web tcp ::1 PORT"),
        ("[::1]", "web tcp ::1 PORT", "web tcp 127.0.0.1 PORT"),
        ("[::]", "web tcp ::1 PORT", "web udp ::1 PORT"),
        // An IPv6 socket on every address takes IPv4 as well, one on an IPv4 address nothing else.
        ("[::]", "web tcp 127.0.0.1 PORT", "web udp 127.0.0.1 PORT"),
        ("[::ffff:127.0.0.1]", "web tcp 127.0.0.1 PORT", "web tcp ::1 PORT"),
    ] {
        let listener = TcpListener::bind(format!("{address}:0")).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        taken(&takes.replace("PORT", &port), "tcp ");
        spared(&spares.replace("PORT", &port));
        // Not closed: a child that another test starts at this moment has it too, until it runs its own program.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        spared(&takes.replace("PORT", &port));
    }
    // What asks from a port of its own and is not connected waits there for answers.
    let asks = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = asks.local_addr().unwrap().port();
    let ran = bind(&format!("dns udp 127.0.0.1 {port}"));
    assert!(ran.exit == 1 && ran.stderr.contains(&format!("listens on udp 127.0.0.1:{port}")), "{ran:?}");
    asks.connect("127.0.0.1:53").unwrap();
    spared(&format!("dns udp 127.0.0.1 {port}"));
}

fn bound(_: &Sandbox) {
    interface::add_veth("sk-a", "sk-b").unwrap();
    // Who binds to a link-local address binds to its interface.
    let address: Ipv6Addr = "fe80::7".parse().unwrap();
    interface::add_address(interface::LOOPBACK, IpAddr::from(address).into()).unwrap();
    let _listener = TcpListener::bind(SocketAddrV6::new(address, 80, 0, interface::LOOPBACK)).unwrap();
    taken("web tcp fe80::7 80", "tcp [fe80::7]:80 dev lo");
    taken("web tcp fe80::7 80 dev lo", "tcp [fe80::7]:80 dev lo");
    spared("web tcp fe80::7 80 dev sk-a");
}

fn many(_: &Sandbox) {
    let listeners: Vec<TcpListener> = (0..7).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ran = bind("web tcp 127.0.0.1 1-65535");
    let named =
        listeners.iter().filter(|one| ran.stderr.contains(&format!("listens on tcp {}", one.local_addr().unwrap())));
    assert_eq!((ran.exit, named.count()), (1, 5), "{ran:?}");
    assert!(ran.stderr.contains("and 2 more of this kind"), "{ran:?}");
}
