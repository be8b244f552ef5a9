//! Objects of bpf(2) by their ids, whoever made them.

use std::fmt;

use crate::error::Result;
use crate::sys;

/// An object that lives as long as somebody holds it: an fd, a pin, another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A map of this id.
    Map(u32),
    /// A program of this id.
    Program(u32),
    /// A link of this id.
    Link(u32),
}

impl Object {
    /// Whether it is there. Asking takes no hold of it.
    ///
    /// The kernel lets a map or a program go some time after its last holder has gone, and may give its id to another
    /// one only when it has come round through all others.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    pub fn exists(self) -> Result<bool> {
        let next = match self {
            Object::Map(id) => sys::next_map(id.saturating_sub(1)),
            Object::Program(id) => sys::next_program(id.saturating_sub(1)),
            Object::Link(id) => sys::next_link(id.saturating_sub(1)),
        };
        let next = next.map_err(|failure| failure.on(self.to_string()))?;
        Ok(next == Some(self.id()))
    }

    /// Its id.
    pub fn id(self) -> u32 {
        match self {
            Object::Map(id) | Object::Program(id) | Object::Link(id) => id,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Map(id) => write!(f, "map {id}"),
            Object::Program(id) => write!(f, "program {id}"),
            Object::Link(id) => write!(f, "link {id}"),
        }
    }
}
