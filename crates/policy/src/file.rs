//! (being written)
use crate::*;
/// The largest policy file.
pub const MAX_FILE_BYTES: usize = 256 << 20;
/// Being written.
pub fn parse_file(text: &str, path: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    Err(vec![Problem::new(text).at(Origin::File { path: path.into(), line: 1 })])
}
