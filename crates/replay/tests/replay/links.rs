//! Link layers.

use etherparse::EtherType;

use crate::packets::{COOKED, COOKED_V2, ETHERNET, RAW, TO_US, cooked, cooked_v2, ethernet, first, tagged};
use crate::world::{pcap, told};

const V4: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";
const V6: &str = "udp [2001:db8::9]:5000 > [2001:db8::7]:53";
const POLICY: [&str; 2] = ["web tcp 192.0.2.0/24 80", "dns udp 2001:db8::7 53"];
const LOCAL: [&str; 2] = ["192.0.2.0/24", "2001:db8::7/128"];

/// What a capture of both packets on a link layer comes to.
fn both(link: u16, frame: impl Fn(&[u8]) -> Vec<u8>) -> String {
    told(&pcap(link, &[frame(&first(V4)), frame(&first(V6))]), &POLICY, &LOCAL)
}

#[test]
fn a_packet_is_the_same_on_every_link_layer() {
    let expected = "web 1/1; dns 1/1";
    assert_eq!(both(ETHERNET, ethernet), expected);
    assert_eq!(both(COOKED, |packet| cooked(packet, TO_US)), expected);
    assert_eq!(both(COOKED_V2, |packet| cooked_v2(packet, TO_US, 2)), expected);
    for raw in [RAW, 12, 14] {
        assert_eq!(both(raw, <[u8]>::to_vec), expected, "{raw}");
    }
    for family_is_big_endian in [false, true] {
        let family = |packet: &[u8]| {
            let family: u32 = if packet[0] >> 4 == 4 { 2 } else { 30 };
            let family = if family_is_big_endian { family.to_be_bytes() } else { family.to_le_bytes() };
            [&family[..], packet].concat()
        };
        assert_eq!(both(0, family), expected);
        assert_eq!(both(108, family), expected);
    }
    assert_eq!(told(&pcap(228, &[first(V4)]), &POLICY, &LOCAL), "web 1/1");
    assert_eq!(told(&pcap(229, &[first(V6)]), &POLICY, &LOCAL), "dns 1/1");
}

#[test]
fn vlan_tags_are_gone_through_however_many() {
    const INNER: EtherType = EtherType::VLAN_TAGGED_FRAME;
    for tags in [
        &[INNER][..],
        &[EtherType::PROVIDER_BRIDGING, INNER],
        &[EtherType::VLAN_DOUBLE_TAGGED_FRAME, INNER],
        &[INNER; 9],
    ] {
        assert_eq!(both(ETHERNET, |packet| tagged(packet, tags)), "web 1/1; dns 1/1", "{tags:?}");
    }
}

#[test]
fn what_is_no_ip_packet_of_tcp_or_udp_is_counted_by_why() {
    let arp = [&[4; 6][..], &[2; 6], &[0x08, 0x06], &[0; 28]].concat();
    let mut icmp = first(V4);
    icmp[9] = 1;
    let frames =
        [arp, ethernet(&icmp), ethernet(&first(V4))[..30].to_vec(), ethernet(&first(V4))[..13].to_vec(), vec![]];
    assert_eq!(told(&pcap(ETHERNET, &frames), &POLICY, &LOCAL), "OtherProtocol 1; NotIp 1; Headers 3");
    assert_eq!(told(&pcap(105, &[ethernet(&first(V4))]), &POLICY, &LOCAL), "Link 1");
}

#[test]
fn broadcast_and_multicast_are_no_lookup() {
    let mut to_all = ethernet(&first(V4));
    to_all[..6].fill(0xff);
    let frames = [
        to_all,
        ethernet(&first("udp 192.0.2.9:5353 > 224.0.0.251:5353")),
        ethernet(&first("udp 0.0.0.0:68 > 255.255.255.255:67")),
        ethernet(&first("udp [fe80::1]:5353 > [ff02::fb]:5353")),
    ];
    assert_eq!(told(&pcap(ETHERNET, &frames), &["all udp 0.0.0.0/0"], &["0.0.0.0/0"]), "ToMany 4");
}
