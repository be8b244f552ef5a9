//! Why a policy could not be compiled.

use thiserror::Error;

/// Why a policy could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    /// A binding names an interface that [`Options::interfaces`](crate::Options::interfaces) has no number for.
    #[error("`{binding}` names interface {interface}, which has no index")]
    NoIndex {
        /// The interface.
        interface: String,
        /// Canonical text of the first binding that names it.
        binding: String,
    },
    /// Two names mean one interface, so that a packet could match bindings that the policy takes for different ones.
    #[error("{first} and {second} are one interface (index {index}): write one of the names")]
    SameInterface {
        /// A name.
        first: String,
        /// Another.
        second: String,
        /// Their number.
        index: u32,
    },
    /// The branches strategy was asked for and can't hold the policy.
    #[error("the policy can't be compiled to branches: {why}")]
    Branches {
        /// What is too much.
        why: String,
    },
    /// The table would be larger than the kernel can address from a program.
    #[error(
        "the table would need more than {limit} bytes, the most that a program can address; \
         {destination} was being added, which has {bindings} bindings"
    )]
    TableTooBig {
        /// The limit in bytes.
        limit: usize,
        /// Protocol and destination prefix whose bindings were being added.
        destination: String,
        /// How many bindings it has.
        bindings: usize,
    },
}
