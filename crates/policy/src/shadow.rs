//! (being written)
use crate::*;
/// A binding that no packet can reach. Indices count [`Policy::entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The binding that is never used.
    pub binding: usize,
    /// Those that take its packets, in order.
    pub by: Vec<usize>,
}
/// Being written.
pub fn shadowed(_policy: &Policy) -> Vec<Shadow> {
    Vec::new()
}
