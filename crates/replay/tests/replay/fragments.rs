//! Fragments and extension headers.

use etherparse::{IpFragOffset, IpNumber, Ipv6FragmentHeader};

use crate::packets::{RAW, first, udp};
use crate::world::{pcap, policy, report, told};
use sklookup_replay::Options;

const V4: &str = "udp 198.51.100.9:5000 > 192.0.2.7:53";
const V6: &str = "udp [2001:db8::9]:5000 > [2001:db8::7]:53";
const POLICY: [&str; 2] = ["four udp 192.0.2.7 53", "six udp 2001:db8::7 53"];
const LOCAL: [&str; 2] = ["192.0.2.7/32", "2001:db8::7/128"];

/// An IPv4 packet in two, cut 24 bytes behind its header.
fn in_two(packet: &[u8], identification: u8) -> [Vec<u8>; 2] {
    let (header, rest) = packet.split_at(20);
    let part = |offset: u8, more: bool, data: &[u8]| {
        let mut part = [header, data].concat();
        let length = (part.len() as u16).to_be_bytes();
        part[2..4].copy_from_slice(&length);
        part[5] = identification;
        part[6] = if more { 0x20 } else { 0 };
        part[7] = offset;
        part
    };
    [part(0, true, &rest[..24]), part(3, false, &rest[24..])]
}

/// An IPv6 packet in two, cut likewise.
fn in_two_v6(packet: &[u8], identification: u32) -> [Vec<u8>; 2] {
    let (header, rest) = packet.split_at(40);
    let part = |offset: u16, more: bool, data: &[u8]| {
        let offset = IpFragOffset::try_new(offset).unwrap();
        let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, offset, more, identification).to_bytes();
        extended(header, IpNumber::IPV6_FRAGMENTATION_HEADER.0, &[&fragment[..], data].concat())
    };
    [part(0, true, &rest[..24]), part(3, false, &rest[24..])]
}

/// An IPv6 header with another next header and what follows it.
fn extended(header: &[u8], next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = [header, rest].concat();
    packet[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    packet[6] = next;
    packet
}

#[test]
fn a_later_fragment_belongs_to_the_first_of_its_datagram() {
    let [first, second] = in_two(&udp(V4, 100), 7);
    let [_, of_another] = in_two(&udp(V4, 100), 8);
    assert_eq!(
        told(&pcap(RAW, &[first.clone(), second.clone(), of_another]), &POLICY, &LOCAL),
        "four 1/2; LoneFragment 1"
    );
    assert_eq!(told(&pcap(RAW, &[second, first]), &POLICY, &LOCAL), "four 1/1; LoneFragment 1");
    let [first, second] = in_two_v6(&udp(V6, 100), 7);
    assert_eq!(told(&pcap(RAW, &[first.clone(), second.clone()]), &POLICY, &LOCAL), "six 1/2");
    assert_eq!(told(&pcap(RAW, &[second, first]), &POLICY, &LOCAL), "six 1/1; LoneFragment 1");
}

#[test]
fn both_fragments_count_with_the_bytes_that_they_are() {
    let policy = policy(&POLICY);
    let file = pcap(RAW, &in_two(&udp(V4, 100), 7));
    let report = report(&file, &Options { local: vec!["192.0.2.7/32".parse().unwrap()], ..Options::new(&policy) });
    assert_eq!(report.rows[0].traffic.bytes, 20 + 24 + 20 + 84);
}

#[test]
fn later_fragments_of_what_was_set_aside_are_set_aside_with_it() {
    let out = in_two(&udp("udp 192.0.2.7:53 > 198.51.100.9:5000", 100), 7);
    assert_eq!(told(&pcap(RAW, &out), &POLICY, &LOCAL), "FromHost 2");
}

#[test]
fn extension_headers_are_gone_through() {
    let packet = first(V6);
    let (header, udp) = packet.split_at(40);
    // Next header, length in units of eight bytes beyond the first, options.
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    const UDP: u8 = 17;
    let authentication = [&[UDP, 4, 0, 0][..], &[0; 20]].concat();
    let chain = [&options(ROUTING)[..], &options(DESTINATION), &options(AUTHENTICATION), &authentication, udp].concat();
    assert_eq!(told(&pcap(RAW, &[extended(header, HOP_BY_HOP, &chain)]), &POLICY, &LOCAL), "six 1/1");
    // A fragment that is all of its datagram.
    let whole = Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::ZERO, false, 7).to_bytes();
    let packet = extended(header, 44, &[&whole[..], udp].concat());
    assert_eq!(told(&pcap(RAW, &[packet.clone(), packet]), &POLICY, &LOCAL), "six 1/2");
    let cut_off = extended(header, HOP_BY_HOP, &chain[..12]);
    assert_eq!(told(&pcap(RAW, &[cut_off]), &POLICY, &LOCAL), "Headers 1");
}

#[test]
fn what_follows_in_a_later_fragment_is_no_header() {
    // Its first bytes read as the header of another one.
    let packet = first(V6);
    let (header, _) = packet.split_at(40);
    let offset = IpFragOffset::try_new(1).unwrap();
    let fragment = Ipv6FragmentHeader::new(IpNumber::IPV6_DESTINATION_OPTIONS, offset, false, 7).to_bytes();
    let packet = extended(header, 44, &[&fragment[..], &[17, 0, 0, 0, 0, 0, 0, 0], &[0; 20]].concat());
    assert_eq!(told(&pcap(RAW, &[packet]), &POLICY, &LOCAL), "LoneFragment 1");
}
