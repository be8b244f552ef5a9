//! Why something could not be told.

use std::fmt;

/// Why something could not be told.
#[derive(Debug)]
pub enum Error {
    /// What is there could not be looked at.
    Look(sklookup_steering::Error),
    /// Our account came to no end, in words: a mistake of ours.
    NoAccount(String),
}

impl<E: Into<sklookup_steering::Error>> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Look(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Look(error) => error.fmt(f),
            Error::NoAccount(why) => write!(f, "what becomes of packets could not be followed: {why}"),
        }
    }
}

impl std::error::Error for Error {}
