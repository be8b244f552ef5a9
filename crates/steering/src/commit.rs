//! Changing what is applied: read, build, and one system call that makes it so.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use sklookup_compiler::{Compiled, Options, compile};
use sklookup_kernel::process::Process;
use sklookup_kernel::{Errno, Link, bpffs, interface, possible_cpus};
use sklookup_policy::{Interface, Label, Owner, Policy};

use crate::build::{Building, Plan, Stop, build};
use crate::error::Error;
use crate::registration::{Placement, occupied};
use crate::state::{Generation, State, names};
use crate::wait::Deadline;

/// How long a writer starts over while others are faster.
const PERSISTENCE: Duration = Duration::from_secs(60);

/// What an edit starts from: what is applied, without what dead owners left.
#[derive(Debug)]
pub struct Current<'a> {
    /// The applied policy; empty where nothing is.
    pub policy: &'a Policy,
    /// Every label that has a map.
    pub labels: &'a BTreeSet<Label>,
}

/// Answers the policy that is to be applied, given what is.
pub type EditFn<'a> = dyn FnMut(&Current<'_>) -> Result<Policy, Error> + 'a;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// A new generation is in effect.
    Generation {
        /// Program id of the new generation.
        id: u32,
        /// Program id of the one before.
        parent: u32,
    },
    /// What is applied is what was wanted.
    Unchanged {
        /// Program id of the live generation.
        id: u32,
    },
}

impl State {
    /// Changes what is applied to the policy that `edit` answers. It is asked again whenever somebody else was faster,
    /// and may refuse.
    ///
    /// The placements' sockets are in their labels before the commit, so that a new label is never seen empty. At the
    /// return the new policy is in effect as a whole, or the old one is.
    ///
    /// # Errors
    /// What `edit` refuses, a conflict, a call that failed; nothing has changed then.
    pub fn commit(&self, placements: &[Placement], edit: &mut EditFn<'_>) -> Result<Committed, Error> {
        let mut deadline = Deadline::after(PERSISTENCE);
        let mut compiler = Compiler { state: self, last: None };
        loop {
            match self.attempt(placements, edit, &mut compiler) {
                Ok(committed) => {
                    self.sweep();
                    return Ok(committed);
                }
                Err(Stop::Failed(error)) => {
                    self.sweep();
                    return Err(error);
                }
                Err(Stop::Redo) if deadline.passed() => {
                    return Err(Error::Contended {
                        netns: self.netns.describe().to_owned(),
                        seconds: deadline.seconds(),
                    });
                }
                Err(Stop::Redo) => {}
            }
        }
    }

    fn attempt(
        &self,
        placements: &[Placement],
        edit: &mut EditFn<'_>,
        compiler: &mut Compiler<'_>,
    ) -> Result<Committed, Stop> {
        let Some(base) = self.generation()? else {
            // Ask first: what is refused must not leave even an empty policy behind.
            let none = Policy::default();
            let wanted = edit(&Current { policy: &none, labels: &BTreeSet::new() })?;
            compiler.compile(wanted)?;
            self.first()?;
            return Err(Stop::Redo);
        };
        let applied = without_the_dead(&base.record.policy)?;
        let policy = edit(&Current { policy: &applied, labels: &base.record.labels })?;

        let mut labels: BTreeSet<Label> = policy.labels().iter().cloned().collect();
        labels.extend(placements.iter().map(|placement| placement.label.clone()));
        for label in base.record.labels.difference(&labels.clone()) {
            if occupied(&base.live.label(label)?.ok_or(Stop::Redo)?)? {
                labels.insert(label.clone());
            }
        }
        let interfaces = self.interfaces(&policy)?;
        let same = same_policy(&base.record.policy, &policy)
            && labels.is_subset(&base.record.labels)
            && interfaces == base.record.interfaces;
        if same {
            for placement in placements {
                let map = base.live.label(&placement.label)?.ok_or(Stop::Redo)?;
                placement.put(&map)?;
            }
            // A registration is in all generations at once; only a label that went meanwhile loses it.
            let still = self.live()?.is_some_and(|live| live.id == base.live.id);
            return if still || placements.is_empty() {
                Ok(Committed::Unchanged { id: base.live.id })
            } else {
                Err(Stop::Redo)
            };
        }
        let compiled = compiler.compile(policy)?;
        let plan = Plan {
            policy: &compiled.policy,
            interfaces: &compiled.interfaces,
            compiled: &compiled.compiled,
            labels: &labels,
            placements,
        };
        let mut building = build(self, Some(&base), &plan)?;
        self.switch(&base, &mut building)?;
        Ok(Committed::Generation { id: building.id, parent: base.live.id })
    }

    /// The commit itself.
    fn switch(&self, base: &Generation, building: &mut Building) -> Result<(), Stop> {
        let Some(_locked) = self.lock()? else { return Err(Stop::Redo) };
        // The kernel compares the expected program before it takes its own lock: two writers could both win. Under our
        // lock nobody else changes the link.
        let Some(live) = self.live()? else { return Err(Stop::Redo) };
        if live.id != base.live.id {
            return Err(Stop::Redo);
        }
        let Some(link) = live.link else {
            return Err(Error::Untrusted {
                path: self.dir.join(names::LINK),
                why: "the link can't be opened: only its owner can change the policy".to_owned(),
            }
            .into());
        };
        match link.update(&building.program, &base.program) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::NOLINK => return Err(Stop::Redo),
            Err(error) if error.errno() == Errno::PERM => {
                let info = link.info()?;
                // A dead link says EPERM as well.
                if info.netns_inode != self.netns.inode() {
                    return Err(Stop::Redo);
                }
                let netns = self.netns.describe().to_owned();
                return Err(Error::Foreign { netns, program: info.program_id }.into());
            }
            Err(error) => return Err(error.into()),
        }
        building.commit();
        self.hint(building.id);
        Ok(())
    }

    /// Attaches the empty policy, which passes everything, where nothing is attached.
    fn first(&self) -> Result<(), Stop> {
        self.make()?;
        let none = Policy::default();
        let mut compiler = Compiler { state: self, last: None };
        let compiled = compiler.compile(none)?;
        let plan = Plan {
            policy: &compiled.policy,
            interfaces: &compiled.interfaces,
            compiled: &compiled.compiled,
            labels: &BTreeSet::new(),
            placements: &[],
        };
        let mut building = build(self, None, &plan)?;
        let Some(_locked) = self.lock()? else { return Err(Stop::Redo) };
        if self.live()?.is_some() {
            return Ok(()); // somebody else was first
        }
        let path = self.dir.join(names::LINK);
        match bpffs::unlink(&path) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
        // Killed before the pin, the kernel detaches it with our last fd.
        let link = Link::attach(&building.program, self.netns.as_fd())?;
        bpffs::pin(link.as_fd(), &path)?;
        building.commit();
        self.hint(building.id);
        Ok(())
    }

    /// Points `current` at a generation. A hint: the link decides, so that failing here loses nothing.
    fn hint(&self, id: u32) {
        let next = self.dir.join(names::NEXT);
        let _ = bpffs::unlink(&next);
        if bpffs::symlink(Path::new(&format!("{}{id}", names::GENERATION)), &next).is_ok() {
            let _ = bpffs::rename(&next, &self.dir.join(names::CURRENT));
        }
    }

    /// What the interfaces that a policy names are in the namespace.
    pub(crate) fn interfaces(&self, policy: &Policy) -> Result<BTreeMap<Interface, u32>, Error> {
        if policy.interfaces().is_empty() {
            return Ok(BTreeMap::new());
        }
        self.netns.run(|| {
            policy
                .interfaces()
                .iter()
                .map(|name| match index_of(name)? {
                    Some(index) => Ok((name.clone(), index)),
                    None => Err(Error::Interface { interface: name.clone(), netns: self.netns.describe().to_owned() }),
                })
                .collect()
        })?
    }
}

/// Compiles, and keeps the last result: a commit that lost a race needs it again.
struct Compiler<'a> {
    state: &'a State,
    last: Option<Done>,
}

struct Done {
    policy: Policy,
    interfaces: BTreeMap<Interface, u32>,
    compiled: Compiled,
}

impl Compiler<'_> {
    fn compile(&mut self, policy: Policy) -> Result<&Done, Stop> {
        let interfaces = self.state.interfaces(&policy)?;
        let reusable = self.last.as_ref().is_some_and(|done| done.policy == policy && done.interfaces == interfaces);
        if !reusable {
            let options = Options { interfaces: interfaces.clone(), cpus: possible_cpus()?, strategy: None };
            let compiled = compile(&policy, &options)?;
            self.last = Some(Done { policy, interfaces, compiled });
        }
        Ok(self.last.as_ref().expect("compiled just now or before"))
    }
}

fn index_of(name: &Interface) -> Result<Option<u32>, Error> {
    let name: &str = name.as_ref();
    Ok(interface::index_of(name)?)
}

/// The same bindings for the same owners, wherever they came from.
fn same_policy(a: &Policy, b: &Policy) -> bool {
    a.len() == b.len() && a.entries().iter().zip(b.entries()).all(|(a, b)| a.binding == b.binding && a.owner == b.owner)
}

/// Whether the `run` that a binding belongs to is still there.
pub fn is_alive(owner: Owner) -> bool {
    Process::open(owner.pid).and_then(|process| process.start_time()).is_ok_and(|start| start == owner.start)
}

/// What is applied, less the bindings of a `run` that is no more.
fn without_the_dead(policy: &Policy) -> Result<Cow<'_, Policy>, Error> {
    if policy.entries().iter().all(|entry| entry.owner.is_none()) {
        return Ok(Cow::Borrowed(policy));
    }
    let entries = policy.entries().iter().filter(|entry| match entry.owner {
        None => true,
        Some(owner) => is_alive(owner),
    });
    Policy::new(entries.cloned().collect()).map(Cow::Owned).map_err(Error::Policy)
}
