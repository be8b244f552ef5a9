//! What belongs to which flow.

use crate::packets::{COOKED, ETHERNET, FROM_US, RAW, TO_US, accepted, cooked, data, ethernet, first, tcp};
use crate::world::{in_words, pcap, policy, report, told};
use sklookup_replay::{Decided, Options, Traffic};

const TO: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";
const BACK: &str = "tcp 192.0.2.7:80 > 198.51.100.9:40000";
const POLICY: [&str; 2] = ["web tcp 192.0.2.7 80", "dns udp 192.0.2.7 53"];

#[test]
fn what_comes_in_behind_an_opening_belongs_to_it_and_the_answers_do_not() {
    let packets = [first(TO), accepted(BACK), data(TO), data(BACK), data(TO)];
    let expected = "web 1/3; FromHost 2";
    assert_eq!(told(&pcap(RAW, &packets), &POLICY, &[]), expected);
    assert_eq!(told(&pcap(RAW, &packets), &POLICY, &["192.0.2.7/32"]), expected);
    // Over loopback each packet is one to us.
    let cooked = packets.map(|packet| cooked(&packet, TO_US));
    assert_eq!(told(&pcap(COOKED, &cooked), &POLICY, &[]), expected);
}

#[test]
fn an_opening_that_is_repeated_is_one_connection_and_another_number_another() {
    let again = tcp(TO, |header| (header.syn, header.sequence_number) = (true, 2000));
    let packets = [first(TO), first(TO), data(TO), again, data(TO)];
    assert_eq!(told(&pcap(RAW, &packets), &POLICY, &[]), "web 2/5");
}

#[test]
fn connections_without_their_opening_are_counted_apart() {
    let other = "tcp 198.51.100.9:40001 > 192.0.2.7:80";
    let packets = [data(TO), data(BACK), accepted(BACK), data(other), first("tcp 10.0.0.1:9 > 192.0.2.7:80")];
    for local in [&[][..], &["192.0.2.7/32".parse().unwrap()]] {
        let policy = policy(&POLICY);
        let report = report(&pcap(RAW, &packets), &Options { local: local.to_vec(), ..Options::new(&policy) });
        let aside = if local.is_empty() { "NoOpening 4" } else { "FromHost 2; NoOpening 2" };
        assert_eq!(in_words(&report, &policy), format!("web 1/1; {aside}"));
        assert_eq!(report.unopened, 2);
    }
}

#[test]
fn connections_that_the_host_opened_are_told_apart_where_the_direction_is_known() {
    let packets = [first(BACK), accepted(TO), data(TO)];
    assert_eq!(told(&pcap(RAW, &packets), &POLICY, &["192.0.2.7/32"]), "FromHost 1; HostOpened 2");
    assert_eq!(told(&pcap(RAW, &packets[1..]), &POLICY, &["192.0.2.7/32"]), "HostOpened 2");
    // Nothing says whose address it is: what opens goes towards the host.
    assert_eq!(told(&pcap(RAW, &packets), &POLICY, &[]), "nobody 1/1; FromHost 2");
}

#[test]
fn datagrams_that_answer_the_host_are_counted_and_said() {
    let (to, back) = ("udp 198.51.100.9:5000 > 192.0.2.7:53", "udp 192.0.2.7:53 > 198.51.100.9:5000");
    let policy = policy(&POLICY);
    let seen = |packets: &[Vec<u8>]| {
        let report = report(&pcap(COOKED, packets), &Options::new(&policy));
        (in_words(&report, &policy), report.udp.packets, report.answers.packets)
    };
    let (came, went) = (cooked(&first(to), TO_US), cooked(&first(back), FROM_US));
    assert_eq!(seen(&[came.clone(), went.clone(), came.clone()]), ("dns 1/2; FromHost 1".to_owned(), 2, 0));
    assert_eq!(seen(&[went.clone(), came.clone(), came.clone()]), ("dns 1/2; FromHost 1".to_owned(), 2, 2));
    // From one socket of the host to another.
    let came_back = cooked(&first(back), TO_US);
    assert_eq!(seen(&[came, came_back]), ("dns 1/1; nobody 1/1".to_owned(), 2, 1));
}

#[test]
fn flows_are_forgotten_in_their_order_and_what_comes_of_them_is_counted_apart() {
    let of = |port: u16| format!("tcp 198.51.100.9:{port} > 192.0.2.7:80");
    let mut packets: Vec<Vec<u8>> = (1..=100).map(|port| first(&of(port))).collect();
    packets.extend([data(&of(1)), data(&of(100))]);
    let policy = policy(&POLICY);
    let report = report(&pcap(RAW, &packets), &Options { flows: 10, ..Options::new(&policy) });
    assert_eq!(in_words(&report, &policy), "web 100/101; NoOpening 1");
    assert!((90..=96).contains(&report.forgotten), "{}", report.forgotten);
}

#[test]
fn each_pair_of_decisions_has_a_row_with_the_first_packet_of_it() {
    let (new, old) = (policy(&["web tcp 192.0.2.7 80-90"]), policy(&["old tcp 192.0.2.7 80", "pass tcp 192.0.2.7 90"]));
    let frames: Vec<Vec<u8>> = [80, 90, 91, 80]
        .into_iter()
        .zip(1..)
        .map(|(port, from)| ethernet(&first(&format!("tcp 198.51.100.9:{from} > 192.0.2.7:{port}"))))
        .collect();
    let report = report(&pcap(ETHERNET, &frames), &Options { against: Some(&old), ..Options::new(&new) });
    let rows: Vec<(Decided, Option<Decided>, u64)> =
        report.rows.iter().map(|row| (row.by, row.against, row.traffic.flows)).collect();
    assert_eq!(
        rows,
        [
            (Decided::Binding(0), Some(Decided::Binding(0)), 2),
            (Decided::Binding(0), Some(Decided::Binding(1)), 1),
            (Decided::NoBinding, Some(Decided::NoBinding), 1),
        ]
    );
    assert_eq!(report.rows[0].example.to_string(), "tcp 198.51.100.9:1 > 192.0.2.7:80");
    assert_eq!(report.rows[0].traffic, Traffic { flows: 2, packets: 2, bytes: 80 });
}
