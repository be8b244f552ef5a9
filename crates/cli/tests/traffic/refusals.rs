//! What happens to packets that no label's socket gets.

use crate::services::REFUSED;
use crate::table::Case;

pub const CASES: &[Case] = &[
    Case {
        name: "pass_means_the_regular_lookup_and_never_the_next_binding",
        policy: &["web tcp,udp 127.7.0.0/16", "pass tcp,udp 127.7.0.1 22"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("web", "udp 127.0.0.1:0")],
        regular: &[("ssh", "tcp 127.7.0.1:22"), ("taken", "tcp 127.7.0.1:23")],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:22", "ssh"),
            ("tcp 127.0.0.1 > 127.7.0.1:23", "web"),
            ("tcp 127.0.0.1 > 127.7.0.2:22", "web"),
            // Nobody listens: the regular lookup finds nothing, though web has all other ports.
            ("udp 127.0.0.1 > 127.7.0.1:22", REFUSED),
            ("udp 127.0.0.1 > 127.7.0.1:23", "web"),
        ],
    },
    Case {
        name: "refuse_refuses_though_somebody_listens",
        policy: &["web tcp,udp 127.7.0.0/16,2001:db8::/32", "refuse tcp,udp 127.7.0.1,2001:db8::1 25"],
        servers: &[("web", "tcp [::]:0"), ("web", "udp [::]:0")],
        regular: &[("mail", "tcp 127.7.0.1:25"), ("mail", "udp 127.7.0.1:25")],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:25", REFUSED),
            ("udp 127.0.0.1 > 127.7.0.1:25", REFUSED),
            ("tcp ::1 > [2001:db8::1]:25", REFUSED),
            ("udp ::1 > [2001:db8::1]:25", REFUSED),
            ("tcp 127.0.0.1 > 127.7.0.1:24", "web"),
            ("udp ::1 > [2001:db8::2]:25", "web"),
        ],
    },
    Case {
        name: "an_empty_label_refuses_unless_told_to_pass",
        policy: &[
            "unless tcp,udp 127.7.1.0/24 80",
            "said tcp,udp 127.7.2.0/24 80 when-empty refuse",
            "let tcp,udp 127.7.3.0/24 80 when-empty pass",
            "below tcp,udp 127.7.0.0/16 80",
        ],
        servers: &[("below", "tcp 127.0.0.1:0"), ("below", "udp 127.0.0.1:0")],
        regular: &[
            ("one", "tcp 127.7.1.1:80"),
            ("two", "udp 127.7.2.1:80"),
            ("three", "tcp 127.7.3.1:80"),
            ("three", "udp 127.7.3.1:80"),
        ],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.1.1:80", REFUSED),
            ("udp 127.0.0.1 > 127.7.1.1:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.2.1:80", REFUSED),
            ("udp 127.0.0.1 > 127.7.2.1:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.3.1:80", "three"),
            ("udp 127.0.0.1 > 127.7.3.1:80", "three"),
            // To the regular lookup, not to the shorter prefix.
            ("tcp 127.0.0.1 > 127.7.3.2:80", REFUSED),
            ("udp 127.0.0.1 > 127.7.3.2:80", REFUSED),
            ("tcp 127.0.0.1 > 127.7.4.1:80", "below"),
        ],
    },
    Case {
        name: "a_label_with_a_socket_of_the_other_family_is_empty",
        policy: &["web tcp,udp 127.7.0.0/16,2001:db8::/33 80", "web tcp,udp 2001:db8:8000::/33 80 when-empty pass"],
        servers: &[("web", "tcp 127.0.0.1:0"), ("web", "udp 127.0.0.1:0")],
        regular: &[("six", "tcp [::]:80")],
        packets: &[
            ("tcp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("udp 127.0.0.1 > 127.7.0.1:80", "web"),
            ("tcp ::1 > [2001:db8::1]:80", REFUSED),
            ("udp ::1 > [2001:db8::1]:80", REFUSED),
            ("tcp ::1 > [2001:db8:8000::1]:80", "six"),
            ("udp ::1 > [2001:db8:8000::1]:80", REFUSED),
        ],
    },
    Case {
        name: "a_label_with_a_socket_of_the_other_protocol_is_empty",
        policy: &["web tcp,udp 127.7.0.0/16 80"],
        servers: &[("web", "tcp 127.0.0.1:0")],
        regular: &[("plain", "udp 127.7.0.1:80")],
        packets: &[("tcp 127.0.0.1 > 127.7.0.1:80", "web"), ("udp 127.0.0.1 > 127.7.0.1:80", REFUSED)],
    },
    Case {
        name: "what_no_binding_matches_goes_where_it_always_went",
        policy: &["web tcp 127.7.0.0/16 80"],
        servers: &[("web", "tcp 127.0.0.1:0")],
        regular: &[("plain", "tcp 127.0.0.1:81"), ("dns", "udp 127.7.0.1:53"), ("six", "tcp [::1]:80")],
        packets: &[
            ("tcp 127.0.0.1 > 127.0.0.1:81", "plain"),
            ("udp 127.0.0.1 > 127.7.0.1:53", "dns"),
            ("tcp ::1 > [::1]:80", "six"),
            ("tcp 127.0.0.1 > 127.0.0.1:80", REFUSED),
        ],
    },
];
