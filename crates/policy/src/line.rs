//! (being written)
use crate::*;
/// Being written.
pub fn parse_binding(words: &str, origin: Origin) -> Result<Vec<Entry>, Problem> {
    Err(Problem::new(words).at(origin))
}
/// Being written.
pub fn parse_match(words: &str, _label: Label, _when_empty: WhenEmpty, origin: Origin) -> Result<Vec<Entry>, Problem> {
    Err(Problem::new(words).at(origin))
}
