//! Links: what holds a program on a network namespace.

use sklookup_bpf::ProgramType;
use sklookup_vm::Errno;

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::netns::Netns;
use crate::program::Program;
use crate::world::{LinkState, World};

/// The most programs that a namespace can have.
const MAX_ATTACHED: usize = 64;

/// A link on the sk_lookup hook of a network namespace.
///
/// The program runs until this is dropped, or the namespace is, or until [`Link::detach`].
#[derive(Debug)]
pub struct Link {
    machine: Machine,
    id: u32,
}

/// What is known about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Id: unique on its machine.
    pub id: u32,
    /// Id of the program it runs, or ran last.
    pub program_id: u32,
    /// Inode of the network namespace; 0 for ever once the link was detached or the namespace died.
    pub netns_inode: u64,
    /// Attach type by the kernel's number: 36 for sk_lookup.
    pub attach_type: u32,
}

impl Link {
    /// Attaches a program to a network namespace, after those that are attached already.
    ///
    /// # Errors
    /// E2BIG where 64 links are attached; EINVAL for a program of another type than sk_lookup.
    #[doc(alias = "BPF_LINK_CREATE")]
    pub fn attach(program: &Program, netns: &Netns) -> Result<Link> {
        let fail = |errno| Error::new("BPF_LINK_CREATE", format!("program {} to the namespace", program.id()), errno);
        if program.kind() != ProgramType::SkLookup || !program.machine().is(netns.machine()) {
            return Err(fail(Errno::INVAL));
        }
        let id = netns.machine().change(|world| world.attach(program, netns.index())).map_err(fail)?;
        Ok(Link { machine: netns.machine().clone(), id })
    }

    /// What is known about it now.
    ///
    /// # Errors
    /// None; parallel to the kernel's, which can fail.
    #[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
    pub fn info(&self) -> Result<LinkInfo> {
        Ok(self.machine.look(|world| {
            let link = &world.links[&self.id];
            LinkInfo {
                id: self.id,
                program_id: link.program.id(),
                netns_inode: link.netns.map_or(0, |netns| world.namespaces[netns].inode),
                attach_type: ProgramType::SkLookup.attach_type(),
            }
        }))
    }

    /// Puts `new` in the place of `expected`.
    ///
    /// # Errors
    /// EPERM if the link runs another program, even when it is dead; EINVAL for a program of another type; ENOLINK if
    /// it is dead.
    #[doc(alias = "BPF_LINK_UPDATE")]
    pub fn update(&self, new: &Program, expected: &Program) -> Result<()> {
        self.put(new, Some(expected))
    }

    /// Puts `new` in the place of whatever it runs (an update without `BPF_F_REPLACE`).
    ///
    /// # Errors
    /// EINVAL for a program of another type; ENOLINK if the link is dead.
    #[doc(alias = "BPF_LINK_UPDATE")]
    pub fn update_any(&self, new: &Program) -> Result<()> {
        self.put(new, None)
    }

    /// Ends its effect for good; fine on a dead link too.
    ///
    /// # Errors
    /// None.
    #[doc(alias = "BPF_LINK_DETACH")]
    pub fn detach(&self) -> Result<()> {
        self.machine.change(|world| world.detach(self.id));
        Ok(())
    }

    /// The ids of all sk_lookup programs attached to a network namespace, in the order in which they run.
    ///
    /// # Errors
    /// None; parallel to the kernel's, which can fail.
    #[doc(alias = "BPF_PROG_QUERY")]
    pub fn query(netns: &Netns) -> Result<Vec<u32>> {
        Ok(netns.machine().look(|world| world.attached_to(netns.index()).collect()))
    }

    /// The same into a buffer of the caller's; answers how many are attached besides.
    ///
    /// # Errors
    /// ENOSPC for a buffer that is too short, which is filled all the same. Not for an empty one: that asks for the
    /// number alone.
    #[doc(alias = "BPF_PROG_QUERY")]
    pub fn query_into(netns: &Netns, ids: &mut [u32]) -> (Result<()>, usize) {
        let attached: Vec<u32> = netns.machine().look(|world| world.attached_to(netns.index()).collect());
        if ids.is_empty() || attached.is_empty() {
            return (Ok(()), attached.len());
        }
        // What is left over is written, too.
        ids.fill(0);
        for (to, id) in ids.iter_mut().zip(&attached) {
            *to = *id;
        }
        let too_short = ids.len() < attached.len();
        let error = too_short.then(|| Error::new("BPF_PROG_QUERY", "the network namespace", Errno::NOSPC));
        (error.map_or(Ok(()), Err), attached.len())
    }

    fn put(&self, new: &Program, expected: Option<&Program>) -> Result<()> {
        let known_as = |world: &World| format!("of program {}", world.links[&self.id].program.id());
        self.machine.change(|world| {
            world
                .update_link(self.id, new, expected)
                .map_err(|errno| Error::new("BPF_LINK_UPDATE", known_as(world), errno))
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.machine.change(|world| {
            world.detach(self.id);
            world.links.remove(&self.id);
        });
    }
}

impl World {
    fn attached_to(&self, netns: usize) -> impl Iterator<Item = u32> {
        self.namespaces[netns].attached.iter().map(|(_, program)| program.id())
    }

    fn attach(&mut self, program: &Program, netns: usize) -> std::result::Result<u32, Errno> {
        let attached = &mut self.namespaces[netns].attached;
        if attached.len() == MAX_ATTACHED {
            return Err(Errno::TOOBIG);
        }
        self.last_link += 1;
        attached.push((self.last_link, program.clone()));
        self.links.insert(self.last_link, LinkState { netns: Some(netns), program: program.clone() });
        Ok(self.last_link)
    }

    /// The checks come in Linux's order: who expects another program is told so on a dead link, too.
    fn update_link(&mut self, id: u32, new: &Program, expected: Option<&Program>) -> std::result::Result<(), Errno> {
        let link = self.links.get_mut(&id).ok_or(Errno::NOLINK)?;
        if expected.is_some_and(|expected| expected.id() != link.program.id()) {
            return Err(Errno::PERM);
        }
        if new.kind() != link.program.kind() {
            return Err(Errno::INVAL);
        }
        let netns = link.netns.ok_or(Errno::NOLINK)?;
        link.program = new.clone();
        for (attached, program) in &mut self.namespaces[netns].attached {
            if *attached == id {
                *program = new.clone();
            }
        }
        Ok(())
    }

    fn detach(&mut self, id: u32) {
        let netns = self.links.get_mut(&id).and_then(|link| link.netns.take());
        if let Some(netns) = netns {
            self.namespaces[netns].attached.retain(|(attached, _)| *attached != id);
        }
    }

    /// Ends what is attached to a namespace that dies. The links stay, and run nothing any more.
    pub(crate) fn detach_all(&mut self, netns: usize) {
        for (id, _) in std::mem::take(&mut self.namespaces[netns].attached) {
            if let Some(link) = self.links.get_mut(&id) {
                link.netns = None;
            }
        }
    }
}
