//! Errnos by name, as cases write them.

use std::fmt;

/// What a call was refused with, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// What the kernel calls "not supported" inside, and leaks; libc has no name for it.
const ENOTSUPP: i32 = 524;

impl Errno {
    /// The errno of a name such as `EINVAL`.
    pub fn from_name(name: &str) -> Option<Errno> {
        if name == "ENOTSUPP" {
            return Some(Errno(ENOTSUPP));
        }
        // The largest that has a name is EHWPOISON, 133.
        (1..=133).map(Errno).find(|errno| errno.name() == Some(name))
    }

    fn name(self) -> Option<&'static str> {
        match self.0 {
            ENOTSUPP => Some("ENOTSUPP"),
            number => sklookup_kernel::errno_name(sklookup_kernel::Errno::from_raw_os_error(number)),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<sklookup_kernel::Errno> for Errno {
    fn from(errno: sklookup_kernel::Errno) -> Errno {
        Errno(errno.raw_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_each_others() {
        for (name, number) in [("EPERM", 1), ("ESOCKTNOSUPPORT", 94), ("ENOTSUPP", 524)] {
            assert_eq!(Errno::from_name(name), Some(Errno(number)));
            assert_eq!(Errno(number).to_string(), name);
        }
        assert_eq!(Errno::from_name("EWHATEVER"), None);
        assert_eq!(Errno(999).to_string(), "errno 999");
    }
}
