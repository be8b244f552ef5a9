//! Who sends, and over which interface.
//!
//! Traffic of the machine to itself comes, for the hook, over the interface that has the destination address.

use crate::services::REFUSED;
use crate::table::Case;

pub const CASES: &[Case] = &[
    Case {
        name: "a_source_prefix_is_exact_and_others_pass",
        policy: &["web tcp 127.7.0.0/16 80 from 127.50.0.0/16", "game udp 127.7.0.0/16 80 from 127.50.0.0/16"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("game", "udp 127.0.0.1:0")],
        regular: &[("plain", "tcp 127.7.0.1:80")],
        packets: &[
            ("tcp 127.50.0.0 > 127.7.0.1:80", "web"),
            ("tcp 127.50.255.255 > 127.7.0.1:80", "web"),
            ("tcp 127.49.255.255 > 127.7.0.1:80", "plain"),
            ("tcp 127.51.0.0 > 127.7.0.1:80", "plain"),
            ("tcp 127.51.0.0 > 127.7.0.2:80", REFUSED),
            ("udp 127.50.0.0 > 127.7.0.1:80", "game"),
            ("udp 127.50.255.255 > 127.7.0.1:80", "game"),
            ("udp 127.49.255.255 > 127.7.0.1:80", REFUSED),
        ],
    },
    Case {
        name: "an_ipv6_source_prefix_is_exact",
        policy: &["a tcp,udp 2001:db8::/32 80 from 2001:db8:a::/48", "rest tcp 2001:db8::/32 80"],
        servers: &[("a", "tcp [::1]:0"), ("a", "udp [::1]:0"), ("rest", "tcp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp 2001:db8:a::1 > [2001:db8::1]:80", "a"),
            ("tcp 2001:db8:b::1 > [2001:db8::1]:80", "rest"),
            ("tcp ::1 > [2001:db8::1]:80", "rest"),
            ("udp 2001:db8:a::1 > [2001:db8::1]:80", "a"),
            ("udp 2001:db8:b::1 > [2001:db8::1]:80", REFUSED),
        ],
    },
    Case {
        name: "the_longer_source_prefix_wins_after_the_ports",
        policy: &[
            "anyone tcp 127.7.0.0/16 80",
            "near tcp 127.7.0.0/16 80 from 127.50.0.0/16",
            "host tcp 127.7.0.0/16 80 from 127.50.0.1",
            "ports tcp 127.7.0.0/16 from 127.50.0.1",
        ],
        servers: &[
            ("anyone", "tcp 127.0.0.1:0"),
            ("near", "tcp 127.0.0.1:0"),
            ("host", "tcp 127.0.0.1:0"),
            ("ports", "tcp 127.0.0.1:0"),
        ],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "anyone"),
            ("tcp 127.50.0.2 > 127.7.0.1:80", "near"),
            ("tcp 127.50.0.1 > 127.7.0.1:80", "host"),
            ("tcp 127.50.0.1 > 127.7.0.1:81", "ports"),
        ],
    },
    Case {
        name: "an_interface_is_the_one_that_has_the_address",
        policy: &["over tcp,udp 192.0.2.1 80 dev v0", "six tcp 2001:db9::1 80 dev v0"],
        servers: &[("over", "tcp 0.0.0.0:0"), ("over", "udp 0.0.0.0:0"), ("six", "tcp [::1]:0")],
        regular: &[],
        packets: &[
            ("tcp 192.0.2.1 > 192.0.2.1:80", "over"),
            ("tcp 127.0.0.1 > 192.0.2.1:80", "over"),
            ("udp 192.0.2.1 > 192.0.2.1:80", "over"),
            ("tcp 2001:db9::1 > [2001:db9::1]:80", "six"),
        ],
    },
    Case {
        name: "another_interface_is_not_matched",
        policy: &["wrong tcp,udp 192.0.2.1 80 dev lo", "wrong tcp 127.7.0.0/16 80 dev v0"],
        servers: &[("wrong", "tcp 0.0.0.0:0"), ("wrong", "udp 0.0.0.0:0")],
        regular: &[("plain", "tcp 192.0.2.1:80")],
        packets: &[
            ("tcp 192.0.2.1 > 192.0.2.1:80", "plain"),
            ("udp 192.0.2.1 > 192.0.2.1:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:80", REFUSED),
        ],
    },
    Case {
        name: "an_interface_wins_over_any_interface",
        policy: &["any tcp 0.0.0.0/0 80", "lo tcp 0.0.0.0/0 80 dev lo", "lo udp 127.7.0.0/16 80 dev lo"],
        servers: &[("any", "tcp 127.0.0.1:0"), ("lo", "tcp 127.0.0.1:0"), ("lo", "udp 127.0.0.1:0")],
        regular: &[],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "lo"),
            ("tcp 192.0.2.1 > 192.0.2.1:80", "any"),
            ("udp 127.0.0.1 > 127.7.0.1:80", "lo"),
        ],
    },
];
