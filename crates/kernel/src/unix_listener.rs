//! A listening unix socket under a path: with the mode that it should have from the first moment, not hindered by what a
//! killed process left there, and gone when it is dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::door::{self, On};
use crate::error::{Error, Result, errno_of};

/// Permissions that a socket does not get: those of others, and to execute.
const NOT_FOR_OTHERS: u32 = 0o117;

/// A listener; dropped, its path goes too, if it is still the one.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the path.
    identity: (u64, u64),
}

impl UnixSocket {
    /// Listens under a path, with mode 0660. A socket that nobody listens on any more is replaced; anything else that is there
    /// stays there.
    ///
    /// To be called while there is one thread: the umask is the process's.
    ///
    /// # Errors
    /// EADDRINUSE where somebody listens already; EEXIST for what is no socket; ENOENT, EACCES, ENAMETOOLONG.
    #[doc(alias = "bind")]
    pub fn listen(path: &Path) -> Result<UnixSocket> {
        match bind(path) {
            Err(error) if error.errno() == Errno::ADDRINUSE => {
                remove_stale(path)?;
                bind(path)
            }
            bound => bound,
        }
    }

    /// The listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Whoever replaced it wants to keep what is there now.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = unlink(&self.path);
        }
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn bind(path: &Path) -> Result<UnixSocket> {
    let failed = |error: io::Error| Error::new("bind", path.display().to_string(), errno_of(&error));
    // Not a chmod afterwards: whoever connects in between would be in.
    let umask = rustix::process::umask(Mode::from_raw_mode(NOT_FOR_OTHERS));
    let listener = door::through("bind", On::Path(path), || UnixListener::bind(path).map_err(|e| errno_of(&e)));
    rustix::process::umask(umask);
    let listener = listener.map_err(|errno| Error::new("bind", path.display().to_string(), errno))?;
    let identity = identity(path).map_err(failed)?;
    Ok(UnixSocket { listener, path: path.to_owned(), identity })
}

/// Removes a socket on which nobody listens.
fn remove_stale(path: &Path) -> Result<()> {
    let fail = |errno| Err(Error::new("bind", path.display().to_string(), errno));
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return fail(Errno::EXIST),
        // Gone meanwhile.
        Err(_) => return Ok(()),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => unlink(path),
        _ => fail(Errno::ADDRINUSE),
    }
}

fn unlink(path: &Path) -> Result<()> {
    match door::through("unlink", On::Path(path), || rustix::fs::unlink(path)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::new("unlink", path.display().to_string(), errno)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A path of this test's own.
    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sklookup-{}-{name}", std::process::id()))
    }

    #[test]
    fn what_a_killed_process_left_is_replaced_and_what_lives_is_not() {
        let path = place("stale");
        drop(UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::listen(&path).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(UnixSocket::listen(&path).unwrap_err().errno(), Errno::ADDRINUSE);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_is_left_alone() {
        let path = place("file");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(UnixSocket::listen(&path).unwrap_err().errno(), Errno::EXIST);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_path_of_who_came_later_stays() {
        let path = place("later");
        let first = UnixSocket::listen(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = UnixSocket::listen(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
    }
}
