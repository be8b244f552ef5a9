//! IP packets and their frames, built by etherparse.

use etherparse::{
    ArpHardwareId, EtherType, Ethernet2Header, LinuxSllHeader, LinuxSllPacketType, LinuxSllProtocolType, PacketBuilder,
    SingleVlanHeader, TcpHeader, VlanId,
};
use sklookup_policy::{Packet, Protocol};

pub const ETHERNET: u16 = 1;
pub const RAW: u16 = 101;
pub const COOKED: u16 = 113;
pub const COOKED_V2: u16 = 276;

/// What happened to a packet, as Linux cooked captures number it.
pub const TO_US: u16 = 0;
pub const FROM_US: u16 = 4;

/// The packet that opens a connection, or a datagram of ten bytes.
pub fn first(packet: &str) -> Vec<u8> {
    match parsed(packet).protocol {
        Protocol::Tcp => tcp(packet, |header| header.syn = true),
        Protocol::Udp => udp(packet, 10),
    }
}

/// A TCP segment without data; nothing is set in its header but the ports.
pub fn tcp(packet: &str, set: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
    let Packet { source, destination, .. } = parsed(packet);
    let mut header = TcpHeader::new(source.port(), destination.port(), 1000, 64_000);
    set(&mut header);
    let mut bytes = Vec::new();
    ip(packet).tcp_header(header).write(&mut bytes, &[]).unwrap();
    bytes
}

/// The answer of a listener.
pub fn accepted(packet: &str) -> Vec<u8> {
    tcp(packet, |header| (header.syn, header.ack) = (true, true))
}

/// Something within a connection.
pub fn data(packet: &str) -> Vec<u8> {
    tcp(packet, |header| header.ack = true)
}

/// A datagram with so many bytes of data.
pub fn udp(packet: &str, length: usize) -> Vec<u8> {
    let Packet { source, destination, .. } = parsed(packet);
    let mut bytes = Vec::new();
    ip(packet).udp(source.port(), destination.port()).write(&mut bytes, &vec![0; length]).unwrap();
    bytes
}

/// A packet in Ethernet.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    tagged(packet, &[])
}

/// In Ethernet behind these tags.
pub fn tagged(packet: &[u8], tags: &[EtherType]) -> Vec<u8> {
    let mut kinds = tags.to_vec();
    kinds.push(kind(packet));
    let mut bytes = Ethernet2Header { source: [2; 6], destination: [4; 6], ether_type: kinds[0] }.to_bytes().to_vec();
    for kind in &kinds[1..] {
        let vlan = SingleVlanHeader {
            pcp: etherparse::VlanPcp::ZERO,
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(7).unwrap(),
            ether_type: *kind,
        };
        bytes.extend(vlan.to_bytes());
    }
    [&bytes, packet].concat()
}

/// In the first version of Linux cooked.
pub fn cooked(packet: &[u8], happened: u16) -> Vec<u8> {
    let header = LinuxSllHeader {
        packet_type: LinuxSllPacketType::try_from(happened).unwrap(),
        arp_hrd_type: ArpHardwareId::ETHERNET,
        sender_address_valid_length: 6,
        sender_address: [2; 8],
        protocol_type: LinuxSllProtocolType::EtherType(kind(packet)),
    };
    [&header.to_bytes()[..], packet].concat()
}

/// In the second version, from the interface of this index.
pub fn cooked_v2(packet: &[u8], happened: u16, index: u32) -> Vec<u8> {
    let mut bytes = kind(packet).0.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(index.to_be_bytes());
    bytes.extend([0, 1, happened as u8, 6]);
    bytes.extend([2; 8]);
    [&bytes, packet].concat()
}

fn parsed(packet: &str) -> Packet {
    packet.parse().unwrap()
}

fn ip(packet: &str) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    use std::net::IpAddr::{V4, V6};
    let Packet { source, destination, .. } = parsed(packet);
    let header = match (source.ip(), destination.ip()) {
        (V4(from), V4(to)) => {
            let header = etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, from.octets(), to.octets());
            etherparse::IpHeaders::Ipv4(header.unwrap(), Default::default())
        }
        (V6(from), V6(to)) => {
            let (source, destination) = (from.octets(), to.octets());
            let header = etherparse::Ipv6Header { source, destination, hop_limit: 64, ..Default::default() };
            etherparse::IpHeaders::Ipv6(header, Default::default())
        }
        _ => unreachable!("a packet has addresses of one family"),
    };
    PacketBuilder::ip(header)
}

fn kind(packet: &[u8]) -> EtherType {
    if packet[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 }
}
