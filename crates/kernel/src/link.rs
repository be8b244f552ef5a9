//! Links: what holds a program on a network namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::bpffs::{self, ObjectKind};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys::{self, Access};

/// The attach type of the hook (`BPF_SK_LOOKUP`).
const SK_LOOKUP: u32 = 36;

/// A link on the sk_lookup hook of a network namespace.
///
/// The program runs until the last reference to the link (this fd, its duplicates, a pin) or the namespace is gone, or
/// until [`Link::detach`].
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    /// The path or namespace it is known by, for errors.
    known_as: String,
}

/// What the kernel knows about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Id: unique until the link is gone.
    pub id: u32,
    /// Id of the program it runs, or ran last.
    pub program_id: u32,
    /// Inode of the network namespace; 0 for ever once the link was detached or the namespace died.
    pub netns_inode: u64,
    /// Attach type by the kernel's number: 36 for sk_lookup.
    pub attach_type: u32,
}

impl LinkInfo {
    /// Whether the program still runs on this namespace.
    pub fn is_alive_on(&self, netns_inode: u64) -> bool {
        self.netns_inode != 0 && self.netns_inode == netns_inode
    }
}

impl Link {
    /// Attaches a program to a network namespace, after those that are attached already.
    ///
    /// Needs no right but the two fds. Since: Linux 5.9.
    ///
    /// # Errors
    /// E2BIG where 64 links are attached; EINVAL if `netns` is no network namespace.
    #[doc(alias = "BPF_LINK_CREATE")]
    pub fn attach(program: &Program, netns: BorrowedFd<'_>) -> Result<Link> {
        let known_as = format!("program {} to the network namespace", program.id());
        let fd = sys::link_create(program.as_fd(), netns).map_err(|f| f.on(known_as))?;
        Ok(Link { fd, known_as: format!("of program {}", program.id()) })
    }

    /// Opens a pinned link. There is no way to open one for reading only.
    ///
    /// # Errors
    /// ENOENT; EACCES without the right to read and write the pin; EINVAL if something else is pinned there.
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn open(path: &Path) -> Result<Link> {
        let fd = bpffs::open(path, ObjectKind::Link, Access::ReadWrite)?;
        Ok(Link { fd, known_as: path.display().to_string() })
    }

    /// Opens the link of this id, whoever made it.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; ENOENT if there is none (any more).
    #[doc(alias = "BPF_LINK_GET_FD_BY_ID")]
    pub fn by_id(id: u32) -> Result<Link> {
        let known_as = format!("link {id}");
        let fd = sys::link_by_id(id).map_err(|f| f.on(&known_as))?;
        Ok(Link { fd, known_as })
    }

    /// All links on the sk_lookup hook of the network namespace of this inode, whoever made them, by their ids.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    #[doc(alias = "BPF_LINK_GET_NEXT_ID")]
    pub fn all_on(netns_inode: u64) -> Result<Vec<LinkInfo>> {
        let mut found = Vec::new();
        let mut after = 0;
        while let Some(id) = sys::next_link(after).map_err(|f| f.on("the links"))? {
            after = id;
            let info = match Link::by_id(id) {
                Ok(link) => link.info(),
                Err(error) if error.errno() == Errno::NOENT => continue, // gone meanwhile
                Err(error) => return Err(error),
            };
            // One on something else than a network namespace is none of ours to ask.
            let ours = |info: &LinkInfo| info.is_alive_on(netns_inode) && info.attach_type == SK_LOOKUP;
            found.extend(info.ok().filter(ours));
        }
        Ok(found)
    }

    /// What the kernel knows about it now.
    ///
    /// # Errors
    /// EINVAL if it is a link on something else than a network namespace.
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<LinkInfo> {
        let info = sys::link_info(self.as_fd()).map_err(|f| f.on(&self.known_as))?;
        if info.kind != sys::LINK_NETNS {
            let object = format!("{}, which is not a link on a network namespace", self.known_as);
            return Err(Error::new("BPF_OBJ_GET_INFO_BY_FD", object, Errno::INVAL));
        }
        Ok(LinkInfo {
            id: info.id,
            program_id: info.prog_id,
            netns_inode: info.netns_ino.into(),
            attach_type: info.attach_type,
        })
    }

    /// Puts `new` in the place of `expected`, at once for every lookup that starts from now on.
    ///
    /// Not a compare and swap: Linux up to 6.18 compares before it takes its lock, and two callers that expect the same
    /// program can both succeed. Who must not lose an edit holds a lock of their own.
    ///
    /// # Errors
    /// EPERM if the link runs another program, even when it is dead; ENOLINK if it is dead.
    #[doc(alias = "BPF_LINK_UPDATE")]
    pub fn update(&self, new: &Program, expected: &Program) -> Result<()> {
        sys::link_update(self.as_fd(), new.as_fd(), Some(expected.as_fd())).map_err(|f| f.on(&self.known_as))
    }

    /// Puts `new` in the place of whatever the link runs.
    ///
    /// # Errors
    /// EINVAL for a program of another type; ENOLINK if the link is dead.
    #[doc(alias = "BPF_LINK_UPDATE")]
    pub fn update_any(&self, new: &Program) -> Result<()> {
        sys::link_update(self.as_fd(), new.as_fd(), None).map_err(|f| f.on(&self.known_as))
    }

    /// Ends its effect for good, whoever else holds it; fine on a dead link too.
    ///
    /// # Errors
    /// None that a link on a network namespace is known to give.
    #[doc(alias = "BPF_LINK_DETACH")]
    pub fn detach(&self) -> Result<()> {
        sys::link_detach(self.as_fd()).map_err(|f| f.on(&self.known_as))
    }

    /// Pins it under a path, which keeps it attached when the process ends.
    ///
    /// # Errors
    /// As [`bpffs::pin`].
    pub fn pin(&self, path: &Path) -> Result<()> {
        bpffs::pin(self.as_fd(), path)
    }

    /// The ids of all sk_lookup programs attached to a network namespace, by anyone, in the order in which they run.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN; EINVAL if `netns` is no network namespace.
    #[doc(alias = "BPF_PROG_QUERY")]
    pub fn query(netns: BorrowedFd<'_>) -> Result<Vec<u32>> {
        // 64 is the most that can be attached today.
        let mut ids = vec![0; 64];
        loop {
            match Link::query_into(netns, &mut ids) {
                (Ok(()), attached) => {
                    ids.truncate(attached);
                    return Ok(ids);
                }
                (Err(error), attached) if error.errno() == Errno::NOSPC => ids.resize(attached, 0),
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// The same into a buffer of the caller's, as the kernel does it; answers how many are attached besides.
    ///
    /// # Errors
    /// ENOSPC for a buffer that is too short, which is filled all the same. Not for an empty one: that asks for the
    /// number alone.
    #[doc(alias = "BPF_PROG_QUERY")]
    pub fn query_into(netns: BorrowedFd<'_>, ids: &mut [u32]) -> (Result<()>, usize) {
        let (answer, attached) = sys::prog_query(netns, ids);
        (answer.map_err(|f| f.on("the network namespace")), attached)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
