//! The captures under `testdata/captures` that are made here: other tests, the documents and the fuzzer use them.
//!
//! They are compared with what this would write; `SKLOOKUP_WRITE_CAPTURES=1` writes them.

use std::path::Path;

use etherparse::EtherType;

use crate::packets::{
    COOKED, COOKED_V2, ETHERNET, FROM_US, RAW, TO_US, accepted, cooked, cooked_v2, data, ethernet, first, tagged, udp,
};
use crate::world::{Order, enhanced, interface, pcap, pcap_as, record, section};

const CLIENT: &str = "198.51.100.9:40000";
const WEB: &str = "192.0.2.7:80";

#[test]
fn the_committed_captures_are_those_that_are_made_here() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    let write = std::env::var_os("SKLOOKUP_WRITE_CAPTURES").is_some();
    for (name, bytes) in [
        ("ethernet.pcap", ethernet_pcap()),
        ("cooked.pcap", pcap_as(Order::Big, 0xa1b2_3c4d, COOKED, &cooked_frames())),
        ("cooked-v2.pcap", pcap(COOKED_V2, &cooked_v2_frames())),
        ("interfaces.pcapng", interfaces_pcapng()),
        ("damaged.pcapng", damaged_pcapng()),
        ("cut-off.pcap", ethernet_pcap()[..300].to_vec()),
    ] {
        let path = directory.join(name);
        if write {
            std::fs::write(&path, &bytes).unwrap();
        }
        let committed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(committed == bytes, "{} is not what is made here", path.display());
    }
}

fn to(protocol: &str, port: u16) -> String {
    format!("{protocol} {CLIENT} > 192.0.2.7:{port}")
}

/// A connection with its answers, one behind two tags, one that is refused by most policies, a datagram of which little was
/// kept, one over IPv6, and ARP.
fn ethernet_pcap() -> Vec<u8> {
    let back = format!("tcp {WEB} > {CLIENT}");
    let arp = [&[0xff; 6][..], &[2; 6], &[0x08, 0x06], &[0; 28]].concat();
    let frames = [
        ethernet(&first(&to("tcp", 80))),
        ethernet(&accepted(&back)),
        ethernet(&data(&to("tcp", 80))),
        ethernet(&data(&back)),
        tagged(&first(&to("tcp", 8080)), &[EtherType::PROVIDER_BRIDGING, EtherType::VLAN_TAGGED_FRAME]),
        ethernet(&first(&to("tcp", 25))),
        arp,
        ethernet(&first("udp [2001:db8::9]:5000 > [2001:db8::7]:53")),
    ];
    [pcap(ETHERNET, &frames), record(Order::Little, &ethernet(&udp(&to("udp", 53), 900)), 64)].concat()
}

fn cooked_frames() -> Vec<Vec<u8>> {
    let back = format!("udp 192.0.2.7:53 > {CLIENT}");
    vec![cooked(&first(&to("udp", 53)), TO_US), cooked(&first(&back), FROM_US), cooked(&first(&to("tcp", 80)), TO_US)]
}

fn cooked_v2_frames() -> Vec<Vec<u8>> {
    vec![cooked_v2(&first(&to("tcp", 80)), TO_US, 2), cooked_v2(&first(&to("udp", 53)), TO_US, 3)]
}

/// Two sections of unlike byte order; names, directions, and a name that would turn the direction of writing.
fn interfaces_pcapng() -> Vec<u8> {
    const INBOUND: Option<u32> = Some(1);
    const OUTBOUND: Option<u32> = Some(2);
    let (little, big) = (Order::Little, Order::Big);
    [
        section(little),
        interface(little, ETHERNET, Some("eth0")),
        interface(little, RAW, Some("tun0")),
        enhanced(little, 0, &ethernet(&first(&to("tcp", 80))), INBOUND),
        enhanced(little, 1, &first(&to("tcp", 8080)), INBOUND),
        enhanced(little, 0, &ethernet(&accepted(&format!("tcp {WEB} > {CLIENT}"))), OUTBOUND),
        section(big),
        interface(big, RAW, Some("e\u{202e}0")),
        enhanced(big, 0, &first(&to("udp", 53)), INBOUND),
    ]
    .concat()
}

/// A packet, one that claims more bytes than its block has, and another packet.
fn damaged_pcapng() -> Vec<u8> {
    let order = Order::Little;
    let packet = |port| enhanced(order, 0, &first(&to("tcp", port)), Some(1));
    let mut broken = packet(81);
    broken[20..24].copy_from_slice(&order.u32(0xffff_ffff));
    [section(order), interface(order, RAW, Some("eth0")), packet(80), broken, packet(8080)].concat()
}
