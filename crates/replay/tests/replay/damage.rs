//! Captures that are cut off, damaged, or none.

use crate::packets::{ETHERNET, RAW, ethernet, first};
use crate::world::{Order, enhanced, interface, pcap, policy, report, section};
use sklookup_replay::{Damage, Fault, OpenError, Options, replay};

const WEB: &str = "tcp 198.51.100.9:40000 > 192.0.2.7:80";

fn damage(file: &[u8]) -> (u64, Damage) {
    let policy = policy(&["web tcp 192.0.2.7 80"]);
    let report = report(file, &Options::new(&policy));
    (report.packets, report.damage)
}

fn pcapng() -> Vec<u8> {
    let order = Order::Little;
    let packets =
        [1, 2, 3].map(|port| enhanced(order, 0, &first(&format!("tcp 198.51.100.9:{port} > 192.0.2.7:80")), Some(1)));
    [section(order), interface(order, RAW, Some("eth0")), packets.concat()].concat()
}

#[test]
fn a_file_that_ends_early_gives_what_came_before() {
    for whole in [pcap(ETHERNET, &[1, 2, 3].map(|_| ethernet(&first(WEB)))), pcapng()] {
        let (all, none) = damage(&whole);
        assert_eq!((all, none.is_none()), (3, true));
        let mut ends = 0;
        for length in 28..whole.len() {
            let (packets, damage) = damage(&whole[..length]);
            assert!(packets <= 3);
            let Some((offset, fault)) = &damage.first else {
                // Between two records nobody can know that more was to come.
                ends += 1;
                continue;
            };
            assert_eq!(fault, &Fault::CutOff);
            assert!(*offset < length as u64 && damage.stopped == Some(*offset), "{length}: {damage:?}");
        }
        assert!((2..=4).contains(&ends), "{ends}");
    }
}

#[test]
fn whatever_byte_is_wrong_the_rest_is_counted_and_nothing_panics() {
    for whole in [pcap(ETHERNET, &[1, 2, 3].map(|_| ethernet(&first(WEB)))), pcapng()] {
        let policy = policy(&["web tcp 192.0.2.7 80", "zero tcp 192.0.2.7 80 dev eth0"]);
        for at in 0..whole.len() {
            for wrong in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = whole.clone();
                file[at] ^= wrong;
                if replay(&file[..], &Options::new(&policy)).is_ok() {
                    report(&file, &Options::new(&policy));
                }
            }
        }
    }
}

#[test]
fn a_length_that_can_not_be_is_not_believed() {
    let mut file = pcap(ETHERNET, &[ethernet(&first(WEB)), ethernet(&first(WEB))]);
    let second = 24 + (file.len() - 24) / 2;
    file[second + 8..second + 12].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    let fault = Fault::TooLong { claimed: 0x7fff_fff0, longest: 262_144 };
    let expected = Damage { first: Some((second as u64, fault)), skipped: 0, stopped: Some(second as u64) };
    assert_eq!(damage(&file), (1, expected));

    for (length, fault) in [
        (0, Fault::BlockLength(0)),
        (13, Fault::BlockLength(13)),
        (0xffff_fffc, Fault::TooLong { claimed: 0xffff_fffc, longest: 16 << 20 }),
        (12, Fault::LengthsDiffer { before: 12, after: 0 }),
    ] {
        let mut file = pcapng();
        let first = 28 + 32;
        file[first + 4..first + 8].copy_from_slice(&u32::to_le_bytes(length));
        let (packets, damage) = damage(&file);
        assert_eq!((packets, damage.first), (0, Some((first as u64, fault))));
    }
}

#[test]
fn a_block_that_can_not_be_understood_is_left_out_and_the_next_one_read() {
    let order = Order::Little;
    let mut broken = enhanced(order, 0, &first(WEB), None);
    broken[20..24].copy_from_slice(&u32::to_le_bytes(0xffff_ffff));
    let file = [section(order), interface(order, RAW, None), broken, enhanced(order, 0, &first(WEB), None)].concat();
    let expected = Damage { first: Some((28 + 20, Fault::Incomplete)), skipped: 1, stopped: None };
    assert_eq!(damage(&file), (1, expected));
}

#[test]
fn what_is_no_capture_is_not_taken_for_one() {
    let policy = policy(&["web tcp 192.0.2.7 80"]);
    for file in [&b""[..], b"GET / HTTP/1.0\r\n\r\n and more bytes", &pcap(ETHERNET, &[])[..23]] {
        let error = replay(file, &Options::new(&policy)).unwrap_err();
        assert!(matches!(&error, OpenError::NotACapture(start) if file.starts_with(start)), "{error:?}");
    }
}
