//! pcap and pcapng, as all their writers write them.

use crate::packets::{ETHERNET, RAW, cooked, ethernet, first, udp};
use crate::world::{Order, block, enhanced, interface, pcap, pcap_as, policy, record, report, section, told};
use sklookup_replay::{Format, Options};

const WEB: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";
const DNS: &str = "udp 198.51.100.9:40000 > 192.0.2.7:53";
const POLICY: [&str; 2] = ["web tcp 192.0.2.7 80", "dns udp 192.0.2.7 53"];
const LOCAL: [&str; 1] = ["192.0.2.7/32"];

#[test]
fn byte_order_and_precision_change_nothing() {
    for order in [Order::Little, Order::Big] {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
            let file = pcap_as(order, magic, ETHERNET, &[ethernet(&first(WEB)), ethernet(&first(DNS))]);
            assert_eq!(told(&file, &POLICY, &LOCAL), "web 1/1; dns 1/1");
        }
        let packets = [WEB, DNS].map(|packet| enhanced(order, 0, &ethernet(&first(packet)), None)).concat();
        let file = [section(order), interface(order, ETHERNET, Some("eth0")), packets].concat();
        assert_eq!(told(&file, &POLICY, &LOCAL), "web 1/1; dns 1/1");
    }
}

#[test]
fn sections_have_their_own_interfaces_and_byte_orders() {
    let (little, big) = (Order::Little, Order::Big);
    let file = [
        section(little),
        interface(little, ETHERNET, None),
        enhanced(little, 0, &ethernet(&first(WEB)), None),
        interface(little, RAW, None),
        enhanced(little, 1, &first(DNS), None),
        section(big),
        interface(big, RAW, None),
        enhanced(big, 0, &first(DNS), None),
        enhanced(big, 1, &first(DNS), None),
    ]
    .concat();
    let policy = policy(&POLICY);
    let local = vec!["192.0.2.7/32".parse().unwrap()];
    let report = report(&file, &Options { local, ..Options::new(&policy) });
    assert_eq!(report.format, Format::Pcapng);
    assert_eq!(report.packets, 3, "the last one's interface was described in another section");
    assert_eq!((report.damage.skipped, report.damage.stopped), (1, None));
    assert_eq!(report.links.into_iter().collect::<Vec<_>>(), [(ETHERNET, 1), (RAW, 2)]);
}

#[test]
fn packets_of_the_simple_and_the_older_block_are_read() {
    let order = Order::Little;
    let packet = first(WEB);
    let simple = [&order.u32(packet.len() as u32)[..], &packet].concat();
    let old = [&order.u16(0)[..], &order.u16(9), &[0; 8]].concat();
    let length = order.u32(packet.len() as u32);
    let old = [&old[..], &length, &length, &packet].concat();
    let unknown = block(order, 0x0000_0bad, &[1, 2, 3]);
    let file = [section(order), interface(order, RAW, None), unknown, block(order, 3, &simple), block(order, 2, &old)]
        .concat();
    assert_eq!(told(&file, &POLICY, &LOCAL), "web 1/2");
}

#[test]
fn what_was_kept_in_part_counts_in_full() {
    let frame = ethernet(&udp(DNS, 1000));
    let file = [pcap(ETHERNET, &[]), record(Order::Little, &frame, 64)].concat();
    let policy = policy(&POLICY);
    let report = report(&file, &Options { local: vec!["192.0.2.7/32".parse().unwrap()], ..Options::new(&policy) });
    assert_eq!(report.cut, 1);
    assert_eq!(report.rows[0].traffic.bytes, 1000 + 8 + 20, "the IP packet's bytes, without the link's");
}

#[test]
fn the_length_of_a_packet_that_does_not_say_it_is_that_of_its_record() {
    // As a card with segmentation offload is handed it.
    let mut packet = udp(DNS, 1000);
    packet[2..4].fill(0);
    let policy = policy(&POLICY);
    let options = Options { local: vec!["192.0.2.7/32".parse().unwrap()], ..Options::new(&policy) };
    for file in [pcap(ETHERNET, &[ethernet(&packet)]), pcap(113, &[cooked(&packet, 0)])] {
        assert_eq!(report(&file, &options).rows[0].traffic.bytes, 1028);
    }
}
