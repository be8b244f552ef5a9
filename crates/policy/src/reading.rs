//! What reads a policy file, for readers of other files that tell problems in the same way.

pub use crate::file::parse_toml;
pub use crate::line::parse_binding_up_to;
pub use crate::lines::Lines;
pub use crate::problem::{Problems, quote};
pub use crate::table::{unknown_key, wrong_type};
