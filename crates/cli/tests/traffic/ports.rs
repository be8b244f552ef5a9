//! Ports: single, in lists, in ranges, all of them.

use crate::services::REFUSED;
use crate::table::Case;

pub const CASES: &[Case] = &[
    Case {
        name: "a_list_of_ports_is_those_ports_and_no_other",
        policy: &["web tcp 127.7.0.0/16 80,443,8080", "game udp 2001:db8::/32 53,5353"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("game", "udp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:443", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:8080", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:79", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:81", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:8079", REFUSED),
            ("udp ::1 > [2001:db8::1]:53", "game"),
            ("udp ::1 > [2001:db8::1]:5353", "game"),
            ("udp ::1 > [2001:db8::1]:54", REFUSED),
        ],
    },
    Case {
        name: "a_range_of_ports_has_both_its_ends",
        policy: &[
            "web tcp 127.7.0.0/16 8000-8999",
            "game udp 127.7.0.0/16 8000-8999",
            "six tcp 2001:db8::/32 65534-65535",
        ],
        servers: &[("web", "tcp 127.0.0.1:0"), ("game", "udp 127.0.0.1:0"), ("six", "tcp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:7999", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:8000", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:8999", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:9000", REFUSED),
            ("udp 127.0.0.1 > 127.7.0.1:7999", REFUSED),
            ("udp 127.0.0.1 > 127.7.0.1:8000", "game"),
            ("udp 127.0.0.1 > 127.7.0.1:8999", "game"),
            ("udp 127.0.0.1 > 127.7.0.1:9000", REFUSED),
            ("tcp ::1 > [2001:db8::1]:65533", REFUSED),
            ("tcp ::1 > [2001:db8::1]:65534", "six"),
            ("tcp ::1 > [2001:db8::1]:65535", "six"),
        ],
    },
    Case {
        name: "every_port_is_served_from_the_first_to_the_last",
        policy: &["web tcp 127.7.0.1", "game udp 127.7.0.1 *", "six tcp,udp 2001:db8::1"],
        servers: &[
            ("web", "tcp 127.0.0.1:0"),
            ("game", "udp 127.0.0.1:0"),
            ("six", "tcp [::1]:0"),
            ("six", "udp [::1]:0"),
        ],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:1", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:65535", "web"),
            ("udp 127.0.0.1 > 127.7.0.1:1", "game"),
            ("udp 127.0.0.1 > 127.7.0.1:65535", "game"),
            ("tcp ::1 > [2001:db8::1]:1", "six"),
            ("udp ::1 > [2001:db8::1]:65535", "six"),
            ("tcp 127.0.0.1 > 127.7.0.2:1", REFUSED),
        ],
    },
    Case {
        name: "a_port_beats_a_range_and_a_range_beats_every_port",
        policy: &["any tcp 127.7.0.0/16", "range tcp 127.7.0.0/16 8000-8999", "one tcp 127.7.0.0/16 8080"],
        servers: &[("any", "tcp 127.0.0.1:0"), ("range", "tcp 127.0.0.1:0"), ("one", "tcp 127.0.0.1:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:7999", "any"),
            ("tcp 127.0.0.1 > 127.7.0.1:8000", "range"),
            ("tcp 127.0.0.1 > 127.7.0.1:8079", "range"),
            ("tcp 127.0.0.1 > 127.7.0.1:8080", "one"),
            ("tcp 127.0.0.1 > 127.7.0.1:8081", "range"),
            ("tcp 127.0.0.1 > 127.7.0.1:8999", "range"),
            ("tcp 127.0.0.1 > 127.7.0.1:9000", "any"),
        ],
    },
    Case {
        name: "more_ports_than_are_searched_in_place_are_as_exact",
        policy: &[
            "many tcp 127.7.0.0/16 10,20,30,40,50,60,70,80,90,100,110,120,1000-1999,3000-3999,5000-5999",
            "rest tcp 127.7.0.0/16",
        ],
        servers: &[("many", "tcp 127.0.0.1:0"), ("rest", "tcp 127.0.0.1:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:9", "rest"),
            ("tcp 127.0.0.1 > 127.7.0.1:10", "many"),
            ("tcp 127.0.0.1 > 127.7.0.1:11", "rest"),
            ("tcp 127.0.0.1 > 127.7.0.1:120", "many"),
            ("tcp 127.0.0.1 > 127.7.0.1:999", "rest"),
            ("tcp 127.0.0.1 > 127.7.0.1:1000", "many"),
            ("tcp 127.0.0.1 > 127.7.0.1:1999", "many"),
            ("tcp 127.0.0.1 > 127.7.0.1:2000", "rest"),
            ("tcp 127.0.0.1 > 127.7.0.1:5999", "many"),
            ("tcp 127.0.0.1 > 127.7.0.1:6000", "rest"),
        ],
    },
];
