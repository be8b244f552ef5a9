//! Destination prefixes of both families, both protocols, and which binding wins.

use crate::services::REFUSED;
use crate::table::Case;

pub const CASES: &[Case] = &[
    Case {
        name: "a_prefix_is_served_from_its_first_address_to_its_last",
        policy: &["web tcp 127.7.0.0/16 80", "game udp 127.7.0.0/16 80"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("game", "udp 127.0.0.1:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.0:80", "web"),
            ("tcp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("tcp 127.0.0.1 > 127.7.255.255:80", "web"),
            ("tcp 127.0.0.1 > 127.6.255.255:80", REFUSED),
            ("tcp 127.0.0.1 > 127.8.0.0:80", REFUSED),
            ("udp 127.0.0.1 > 127.7.0.0:80", "game"),
            ("udp 127.0.0.1 > 127.7.255.255:80", "game"),
            ("udp 127.0.0.1 > 127.6.255.255:80", REFUSED),
            ("udp 127.0.0.1 > 127.8.0.0:80", REFUSED),
        ],
    },
    Case {
        name: "an_ipv6_prefix_is_served_from_its_first_address_to_its_last",
        policy: &["web tcp 2001:db8:7::/48 80", "game udp 2001:db8:7::/48 80"],
        servers: &[("web", "tcp [::1]:0"), ("game", "udp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp ::1 > [2001:db8:7::]:80", "web"),
            ("tcp ::1 > [2001:db8:7:ffff:ffff:ffff:ffff:ffff]:80", "web"),
            ("tcp ::1 > [2001:db8:6:ffff:ffff:ffff:ffff:ffff]:80", REFUSED),
            ("tcp ::1 > [2001:db8:8::]:80", REFUSED),
            ("udp ::1 > [2001:db8:7::]:80", "game"),
            ("udp ::1 > [2001:db8:7:ffff:ffff:ffff:ffff:ffff]:80", "game"),
            ("udp ::1 > [2001:db8:6:ffff:ffff:ffff:ffff:ffff]:80", REFUSED),
            ("udp ::1 > [2001:db8:8::]:80", REFUSED),
        ],
    },
    Case {
        name: "a_prefix_that_ends_inside_a_byte_is_exact",
        policy: &["web tcp 127.7.4.0/22 80", "web tcp 2001:db8:7:4000::/50 80"],
        servers: &[("web", "tcp [::]:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.3.255:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.4.0:80", "web"),
            ("tcp 127.0.0.1 > 127.7.7.255:80", "web"),
            ("tcp 127.0.0.1 > 127.7.8.0:80", REFUSED),
            ("tcp ::1 > [2001:db8:7:3fff:ffff:ffff:ffff:ffff]:80", REFUSED),
            ("tcp ::1 > [2001:db8:7:4000::]:80", "web"),
            ("tcp ::1 > [2001:db8:7:7fff:ffff:ffff:ffff:ffff]:80", "web"),
            ("tcp ::1 > [2001:db8:7:8000::]:80", REFUSED),
        ],
    },
    Case {
        name: "the_longer_prefix_wins_even_over_a_narrower_port_range",
        policy: &["wide tcp 127.7.0.0/16 80", "near tcp 127.7.1.0/24", "host tcp 127.7.1.1 8000-8999"],
        servers: &[("wide", "tcp 127.0.0.1:0"), ("near", "tcp 127.0.0.1:0"), ("host", "tcp 127.0.0.1:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "wide"),
            ("tcp 127.0.0.1 > 127.7.1.2:80", "near"),
            ("tcp 127.0.0.1 > 127.7.1.1:80", "near"),
            ("tcp 127.0.0.1 > 127.7.1.1:8000", "host"),
            ("tcp 127.0.0.1 > 127.7.1.0:8000", "near"),
            ("tcp 127.0.0.1 > 127.7.2.0:80", "wide"),
            ("tcp 127.0.0.1 > 127.7.0.1:8000", REFUSED),
        ],
    },
    Case {
        name: "a_protocol_takes_nothing_from_the_other",
        policy: &["web tcp 127.7.0.0/16 80", "both tcp,udp 127.7.0.0/16 81"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("both", "tcp 127.0.0.1:0"), ("both", "udp 127.0.0.1:0")],
        regular: &[("plain", "udp 127.7.0.1:80")],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("udp 127.0.0.1 > 127.7.0.1:80", "plain"),
            ("udp 127.0.0.1 > 127.7.0.2:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:81", "both"),
            ("udp 127.0.0.1 > 127.7.0.1:81", "both"),
        ],
    },
    Case {
        name: "every_address_of_a_family_is_that_family_only",
        policy: &["four tcp 0.0.0.0/0 80", "six tcp ::/0 80"],
        servers: &[("four", "tcp 127.0.0.1:0"), ("six", "tcp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.0.0.1:80", "four"),
            ("tcp 127.0.0.1 > 192.0.2.1:80", "four"),
            ("tcp ::1 > [::1]:80", "six"),
            ("tcp ::1 > [2001:db8::1]:80", "six"),
        ],
    },
    Case {
        name: "a_dual_stack_socket_serves_both_families",
        policy: &["web tcp,udp 127.7.0.0/16,2001:db8::/32 80"],
        servers: &[("web", "tcp [::]:0"), ("web", "udp [::]:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("tcp ::1 > [2001:db8::1]:80", "web"),
            ("udp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("udp ::1 > [2001:db8::1]:80", "web"),
        ],
    },
];
