//! Which way packets went, by whatever tells it.

use crate::packets::{COOKED, COOKED_V2, ETHERNET, FROM_US, RAW, TO_US, cooked, cooked_v2, ethernet, first};
use crate::world::{Order, enhanced, in_words, interface, pcap, policy, report, section, told};
use sklookup_replay::{Direction, Options};

const IN: &str = "udp 198.51.100.9:5000 > 192.0.2.7:53";
const OUT: &str = "udp 192.0.2.7:53 > 198.51.100.9:5000";
const POLICY: [&str; 1] = ["dns udp 0.0.0.0/0 53,5000"];

#[test]
fn the_addresses_of_the_host_decide_whatever_else_is_said() {
    let frames = [cooked(&first(IN), FROM_US), cooked(&first(OUT), TO_US)];
    let third = cooked(&first("udp 10.0.0.1:1 > 10.0.0.2:53"), TO_US);
    let file = pcap(COOKED, &[frames.to_vec(), vec![third]].concat());
    assert_eq!(told(&file, &POLICY, &["192.0.2.0/24"]), "dns 1/1; FromHost 1; ToOthers 1");
    assert_eq!(told(&file, &POLICY, &["198.51.100.9/32"]), "dns 1/1; FromHost 1; ToOthers 1");
}

#[test]
fn linux_cooked_says_it_itself() {
    for (happened, expected) in [(0, "dns 1/1"), (1, "ToMany 1"), (2, "ToMany 1"), (3, "ToOthers 1"), (4, "FromHost 1")]
    {
        assert_eq!(told(&pcap(COOKED, &[cooked(&first(IN), happened)]), &POLICY, &[]), expected);
        assert_eq!(told(&pcap(COOKED_V2, &[cooked_v2(&first(IN), happened, 1)]), &POLICY, &[]), expected);
    }
}

#[test]
fn pcapng_may_say_it_of_each_packet() {
    let order = Order::Big;
    for (flags, expected) in [
        (None, "NoDirection 1"),
        (Some(0), "NoDirection 1"),
        (Some(1), "dns 1/1"),
        (Some(1 | 1 << 2), "dns 1/1"),
        (Some(1 | 2 << 2), "ToMany 1"),
        (Some(1 | 3 << 2), "ToMany 1"),
        (Some(1 | 4 << 2), "ToOthers 1"),
        (Some(2), "FromHost 1"),
    ] {
        let packet = enhanced(order, 0, &first(IN), flags);
        let file = [section(order), interface(order, RAW, None), packet].concat();
        assert_eq!(told(&file, &POLICY, &[]), expected, "{flags:?}");
    }
}

#[test]
fn where_nothing_says_it_a_connection_goes_where_its_opening_goes_and_a_datagram_nowhere() {
    let frames = [ethernet(&first("tcp 10.0.0.1:9 > 192.0.2.7:53")), ethernet(&first(IN)), ethernet(&first(OUT))];
    let policy = policy(&["web tcp 192.0.2.7 53", POLICY[0]]);
    let report = report(&pcap(ETHERNET, &frames), &Options::new(&policy));
    assert_eq!(in_words(&report, &policy), "web 1/1; NoDirection 2");
    assert_eq!(report.direction, Direction { local: 0, capture: 0, opening: 1 });
}
