//! How well a socket matches a flow: who scores most gets the packet.

use std::net::IpAddr;

use super::flow::Flow;
use crate::netns::Sysctls;
use crate::socket::Family;
use crate::socket::sock::Sock;

/// The score of a listener, in a search for `address`: the packet's destination, or any. `None`: no match.
pub(super) fn tcp(sock: &Sock, flow: &Flow, address: IpAddr, sysctls: &Sysctls) -> Option<u32> {
    if !sock.is_bound_to(address) || !flow.is_on(sock.device, sysctls.tcp_l3mdev_accept) {
        return None;
    }
    let device = if sock.device == 0 { 1 } else { 2 };
    let family = u32::from(address.is_ipv4() && sock.family == Family::V4);
    Some(device + family + cpu(sock, flow))
}

/// The same of a UDP socket. A peer that is set has to be the sender.
pub(super) fn udp(sock: &Sock, flow: &Flow, address: IpAddr, sysctls: &Sysctls) -> Option<u32> {
    if !sock.is_bound_to(address) || !flow.is_on(sock.device, sysctls.udp_l3mdev_accept) {
        return None;
    }
    let (peer, own_family, each) = match address {
        IpAddr::V4(_) => (sock.peer4.map(IpAddr::V4), if sock.family == Family::V4 { 2 } else { 1 }, 4),
        IpAddr::V6(_) => (sock.peer6.map(IpAddr::V6), 0, 1),
    };
    let peer_port = (sock.peer_port != 0).then_some(sock.peer_port);
    if peer.is_some_and(|peer| peer != flow.remote) || peer_port.is_some_and(|port| port != flow.remote_port) {
        return None;
    }
    let facts = [peer.is_some(), peer_port.is_some(), sock.device != 0];
    let facts = facts.into_iter().filter(|fact| *fact).count() as u32;
    Some(own_family + each * facts + cpu(sock, flow))
}

fn cpu(sock: &Sock, flow: &Flow) -> u32 {
    u32::from(sock.incoming_cpu == Some(flow.cpu))
}
