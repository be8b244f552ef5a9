//! What programs of each type may do.
//!
//! Source: the helpers that Linux 6.18 accepts from a program whose loader has CAP_BPF and CAP_PERFMON, each tried.

use sklookup_bpf::ProgramType;
use sklookup_vm::{Instructions, Rules};

use crate::hook;

/// The rules for a program of this type.
pub(super) fn rules(kind: ProgramType) -> &'static Rules {
    match kind {
        ProgramType::SkLookup => &SK_LOOKUP,
        ProgramType::SkReuseport => &SK_REUSEPORT,
    }
}

const SK_LOOKUP: Rules = Rules {
    instructions: Instructions::Linux,
    helpers: &[
        1, 2, 3, 5, 6, 7, 8, 12, 14, 15, 16, 17, 22, 25, 35, 37, 42, 55, 80, 86, 87, 88, 89, 93, 94, 105, 106, 109,
        112, 113, 114, 115, 117, 118, 120, 123, 124, 125, 130, 131, 132, 133, 134, 136, 137, 138, 139, 140, 141, 148,
        149, 153, 154, 156, 157, 158, 160, 164, 165, 169, 170, 171, 172, 175, 176, 177, 178, 180, 181, 182, 191, 194,
        195, 196, 197, 198, 199, 200, 201, 202, 203, 208, 209, 210, 211,
    ],
    context: hook::context::may_read,
};

/// The helpers that are implemented, and those of its own: the rest was not tried.
const SK_REUSEPORT: Rules = Rules {
    instructions: Instructions::Linux,
    helpers: &[1, 2, 3, 5, 7, 8, 12, 26, 46, 68, 82],
    context: hook::reuseport::may_read,
};
