//! Bindings that ask for an interface.

use etherparse::EtherType;

use crate::packets::{COOKED_V2, ETHERNET, TO_US, cooked_v2, ethernet, first, tagged};
use crate::world::{Order, enhanced, in_words, interface, pcap, policy, report, section};
use sklookup_replay::{Devices, Options};

const WEB: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";
const POLICY: [&str; 2] = ["any tcp 192.0.2.7 80", "zero tcp 192.0.2.7 80 dev eth0"];

fn told(file: &[u8], devices: Devices) -> String {
    let policy = policy(&POLICY);
    in_words(&report(file, &Options { devices, ..Options::new(&policy) }), &policy)
}

fn on(name: Option<&str>, frame: &[u8]) -> Vec<u8> {
    let order = Order::Little;
    [section(order), interface(order, ETHERNET, name), enhanced(order, 0, frame, None)].concat()
}

#[test]
fn a_name_in_a_pcapng_tells_it() {
    let frame = ethernet(&first(WEB));
    assert_eq!(told(&on(Some("eth0"), &frame), Devices::default()), "zero 1/1");
    assert_eq!(told(&on(Some("eth1"), &frame), Devices::default()), "any 1/1");
}

#[test]
fn where_it_is_not_told_nothing_is_decided() {
    let nothing = Devices::default;
    let frame = ethernet(&first(WEB));
    let behind_a_tag = tagged(&first(WEB), &[EtherType::VLAN_TAGGED_FRAME]);
    for file in [
        pcap(ETHERNET, std::slice::from_ref(&frame)),
        on(None, &frame),
        on(Some("any"), &frame),
        on(Some("eth0"), &behind_a_tag),
        pcap(COOKED_V2, &[cooked_v2(&first(WEB), TO_US, 2)]),
    ] {
        assert_eq!(told(&file, nothing()), "depends 1/1");
        let devices = Devices { untold: Some("eth0".parse().unwrap()), ..nothing() };
        assert_eq!(told(&file, devices), "zero 1/1");
    }
    // No binding for this port asks.
    let other = ethernet(&first("tcp 198.51.100.9:40000 > 192.0.2.7:81"));
    assert_eq!(told(&pcap(ETHERNET, &[other]), nothing()), "nobody 1/1");
}

#[test]
fn an_index_means_what_is_said_beside_the_capture() {
    let file = pcap(COOKED_V2, &[cooked_v2(&first(WEB), TO_US, 2)]);
    let called =
        |index: &str| Devices { called: [(index.to_owned(), "eth0".parse().unwrap())].into(), ..Devices::default() };
    assert_eq!(told(&file, called("2")), "zero 1/1");
    assert_eq!(told(&file, called("3")), "depends 1/1");
}
