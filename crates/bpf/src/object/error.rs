//! Why an object is not taken.

use thiserror::Error;

use super::features::{Feature, Support};

/// Why an object is not taken: what is wrong, where, and what to do about it.
///
/// Shown as `section .maps, map sockets: max_entries is missing; write it into the definition`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}; {help}")]
pub struct ObjectError {
    /// The section, symbol or function, by its name in the file.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What to do.
    pub help: String,
    /// The feature that is not supported, if that is what is wrong.
    pub feature: Option<&'static Feature>,
}

pub(super) type Result<T> = std::result::Result<T, ObjectError>;

impl ObjectError {
    pub(super) fn new(place: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> ObjectError {
        ObjectError { place: place.into(), what: what.into(), help: help.into(), feature: None }
    }

    /// Something that no compiler writes.
    pub(super) fn damaged(place: impl Into<String>, what: impl Into<String>) -> ObjectError {
        ObjectError::new(place, what, "the file is damaged: compile it again")
    }

    /// Something that a compiler writes and that is not supported; `what` says which one.
    pub(super) fn refused(feature: &'static Feature, place: impl Into<String>, what: impl Into<String>) -> ObjectError {
        let Support::Refused { why, instead } = feature.support else {
            unreachable!("{} is supported", feature.name);
        };
        let what = format!("{}: {} are not supported, since {why}", what.into(), feature.name);
        ObjectError { feature: Some(feature), ..ObjectError::new(place, what, instead) }
    }
}
