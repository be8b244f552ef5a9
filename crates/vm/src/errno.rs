//! Errors by the numbers that Linux gives them, on every machine.

use std::fmt;

/// An errno of Linux (its generic numbers, as x86-64 and arm64 have them).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident = $number:literal, $words:literal;)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Errno = Errno($number);)*
        }

        /// Number, C name without its E, what it says.
        const ROWS: &[(u16, &str, &str)] = &[$(($number, stringify!($name), $words)),*];
    };
}

errnos! {
    PERM = 1, "operation not permitted";
    NOENT = 2, "no such file or directory";
    TOOBIG = 7, "argument list too long";
    BADF = 9, "bad file descriptor";
    AGAIN = 11, "resource temporarily unavailable";
    NOMEM = 12, "cannot allocate memory";
    ACCES = 13, "permission denied";
    BUSY = 16, "device or resource busy";
    EXIST = 17, "file exists";
    NODEV = 19, "no such device";
    INVAL = 22, "invalid argument";
    NOSPC = 28, "no space left on device";
    RANGE = 34, "numerical result out of range";
    NOLINK = 67, "link has been severed";
    BADFD = 77, "file descriptor in bad state";
    DESTADDRREQ = 89, "destination address required";
    PROTOTYPE = 91, "protocol wrong type for socket";
    NOPROTOOPT = 92, "protocol not available";
    SOCKTNOSUPPORT = 94, "socket type not supported";
    OPNOTSUPP = 95, "operation not supported";
    AFNOSUPPORT = 97, "address family not supported by protocol";
    ADDRINUSE = 98, "address already in use";
    ADDRNOTAVAIL = 99, "cannot assign requested address";
    NETUNREACH = 101, "network is unreachable";
    ISCONN = 106, "transport endpoint is already connected";
    NOTCONN = 107, "transport endpoint is not connected";
    CONNREFUSED = 111, "connection refused";
    NOTSUPP = 524, "not supported by this kernel";
}

impl Errno {
    /// Its number, positive.
    pub fn raw_os_error(self) -> i32 {
        i32::from(self.0)
    }

    /// Its C name: `EPERM`.
    pub fn name(self) -> String {
        match self.row().1 {
            "TOOBIG" => "E2BIG".to_owned(),
            name => format!("E{name}"),
        }
    }

    /// What a program gets from a helper that fails with it.
    pub(crate) fn as_result(self) -> u64 {
        (-i64::from(self.0)) as u64
    }

    fn row(self) -> &'static (u16, &'static str, &'static str) {
        ROWS.iter().find(|row| row.0 == self.0).expect("errnos are made from these rows only")
    }
}

/// `operation not permitted (EPERM)`.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.row().2, self.name())
    }
}

/// `EPERM`.
impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_shown_in_words_and_by_its_c_name() {
        assert_eq!(Errno::PERM.to_string(), "operation not permitted (EPERM)");
        assert_eq!(format!("{:?}", Errno::TOOBIG), "E2BIG");
        assert_eq!(Errno::NOTSUPP.raw_os_error(), 524);
        assert_eq!(Errno::EXIST.as_result() as i64, -17);
    }
}
