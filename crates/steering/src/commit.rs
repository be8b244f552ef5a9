//! Changing what is applied: read, build, and one system call that makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use sklookup_compiler::{Compiled, Options, compile};
use sklookup_kernel::{Errno, Link, Sockmap, bpffs, interface, possible_cpus};
use sklookup_policy::{Interface, Label, Owner, Policy};

use crate::build::{Building, Plan, Stop, build};
use crate::error::Error;
use crate::hook;
use crate::leaving::{self, Leaving};
use crate::registration::{Placement, occupied};
use crate::state::{Generation, State, names};
use crate::step::Step;
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

impl Committed {
    /// Program id of the generation that is in effect.
    pub fn id(self) -> u32 {
        match self {
            Committed::Generation { id, .. } | Committed::Unchanged { id } => id,
        }
    }
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
        self.written(Occasion::Edit, placements, edit)
    }

    /// The same for who takes back what it added: labels that nobody needs any more go, though nothing else may change.
    ///
    /// # Errors
    /// As [`State::commit`].
    pub fn withdraw(&self, edit: &mut EditFn<'_>) -> Result<Committed, Error> {
        self.written(Occasion::Withdrawal, &[], edit)
    }

    /// Compiles what is applied anew and puts that into effect as a generation, in the present layout. Nothing else
    /// changes: sockets, counts, origins and the bindings of living `run`s stay.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], or a call that failed; nothing has changed then.
    pub fn upgrade(&self) -> Result<Committed, Error> {
        self.written(Occasion::Upgrade, &[], &mut |current| Ok(current.policy.clone()))
    }

    fn written(&self, occasion: Occasion, placements: &[Placement], edit: &mut EditFn<'_>) -> Result<Committed, Error> {
        let mut writer = Writer {
            state: self,
            occasion,
            compiler: Compiler::default(),
            deadline: Deadline::after(PERSISTENCE),
            made: false,
            held: Vec::new(),
        };
        let result = writer.until_done(placements, edit);
        if result.is_err() && writer.made {
            // The empty policy was attached for this command alone.
            let _ = self.unload_if_idle();
        }
        self.at(Step::Sweeping);
        self.sweep();
        result
    }

    /// The commit itself.
    fn switch(&self, base: &Generation, building: &mut Building) -> Result<(), Stop> {
        self.at(Step::Switching);
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

    /// Attaches the empty policy, which passes everything, where nothing is attached. False if somebody else was faster.
    fn first(&self) -> Result<bool, Stop> {
        self.make()?;
        let attached = self.attach_empty();
        if attached.is_err() {
            // Made for this, and of no use without it. Whoever else needs them makes them again.
            let _ = bpffs::rmdir(&self.dir).and_then(|()| bpffs::rmdir(&self.root));
        }
        attached
    }

    fn attach_empty(&self) -> Result<bool, Stop> {
        let mut compiler = Compiler::default();
        let compiled = compiler.compile(Policy::default(), BTreeMap::new())?;
        let plan = Plan {
            policy: &compiled.policy,
            interfaces: &compiled.interfaces,
            compiled: &compiled.compiled,
            labels: &BTreeSet::new(),
            placements: &[],
        };
        let mut building = build(self, None, &plan)?;
        let Some(_locked) = self.lock()? else { return Err(Stop::Redo) };
        let path = self.dir.join(names::LINK);
        match Link::open(&path) {
            Ok(link) if link.info()?.is_alive_on(self.netns.inode()) => return Ok(false),
            // Only what was seen to be dead is taken away.
            Ok(_) => bpffs::unlink(&path)?,
            Err(error) if error.errno() == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
        // Killed before the pin, the kernel detaches it with our last fd.
        let link = hook::attach(&building.program, &self.netns)?;
        bpffs::pin(link.as_fd(), &path)?;
        building.commit();
        self.hint(building.id);
        Ok(true)
    }

    /// Points `current` at a generation. A hint: the link decides, so that failing here loses nothing.
    pub(crate) fn hint(&self, id: u32) {
        let next = self.dir.join(names::NEXT);
        let _ = bpffs::unlink(&next);
        if bpffs::symlink(Path::new(&format!("{}{id}", names::GENERATION)), &next).is_ok() {
            let _ = bpffs::rename(&next, &self.dir.join(names::CURRENT));
        }
    }

    /// What is applied, less the bindings of each `run` that is no more.
    fn without_the_dead(&self, policy: &Policy) -> Policy {
        let owners: BTreeSet<Owner> = policy.entries().iter().filter_map(|entry| entry.owner).collect();
        let dead: BTreeSet<Owner> = owners.into_iter().filter(|owner| !self.is_alive(*owner)).collect();
        policy.filtered(|entry| entry.owner.is_none_or(|owner| !dead.contains(&owner)))
    }

    /// What the interfaces that a policy names are in the namespace.
    ///
    /// One that is gone keeps the number that it was applied with: what is applied can still be changed, and `status`
    /// says that it is gone. A name that is new must be there.
    fn interfaces(
        &self,
        policy: &Policy,
        applied: &BTreeMap<Interface, u32>,
    ) -> Result<BTreeMap<Interface, u32>, Error> {
        if policy.interfaces().is_empty() {
            return Ok(BTreeMap::new());
        }
        self.netns.run(|| {
            let mut interfaces = BTreeMap::new();
            for name in policy.interfaces() {
                let index = interface::index_of(name.as_ref())?.or_else(|| applied.get(name).copied());
                let unknown = || Error::Interface { interface: name.clone(), netns: self.netns.describe().to_owned() };
                interfaces.insert(name.clone(), index.ok_or_else(unknown)?);
            }
            Ok(interfaces)
        })?
    }
}

/// Why a commit is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// The policy, the labels or the interfaces may be others than those applied; if not, nothing is to be done.
    Edit,
    /// The same, and a label that goes is something to be done.
    Withdrawal,
    /// The generation itself is to be another: made by this sklookup.
    Upgrade,
}

/// One command's way to a commit.
struct Writer<'a> {
    state: &'a State,
    occasion: Occasion,
    compiler: Compiler,
    deadline: Deadline,
    /// Whether it was we who attached the empty policy.
    made: bool,
    /// What we made, locked to the end of the command: whoever looks meanwhile sees that its writer still sweeps.
    held: Vec<Building>,
}

impl Writer<'_> {
    /// Starts over for as long as others are faster.
    fn until_done(&mut self, placements: &[Placement], edit: &mut EditFn<'_>) -> Result<Committed, Error> {
        loop {
            match self.attempt(placements, edit) {
                Ok(committed) => return Ok(committed),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing { generation, what })
                    if self.state.live()?.is_some_and(|live| live.id == generation) =>
                {
                    return Err(Error::Damaged { path: self.state.generation_dir(generation), what });
                }
                Err(Stop::Redo | Stop::Missing { .. }) => {}
            }
            if self.deadline.passed() {
                let netns = self.state.netns.describe().to_owned();
                return Err(Error::Contended { netns, seconds: self.deadline.seconds() });
            }
        }
    }

    fn attempt(&mut self, placements: &[Placement], edit: &mut EditFn<'_>) -> Result<Committed, Stop> {
        let state = self.state;
        let base = state.generation()?;
        state.undisturbed()?;
        let Some(base) = base else {
            if self.occasion == Occasion::Upgrade {
                return Err(Error::NotLoaded { netns: state.netns.describe().to_owned() }.into());
            }
            // Ask first: what is refused must not leave even an empty policy behind.
            let none = Policy::default();
            state.at(Step::Checking);
            let wanted = edit(&Current { policy: &none, labels: &BTreeSet::new() })?;
            let interfaces = state.interfaces(&wanted, &BTreeMap::new())?;
            state.at(Step::Compiling(wanted.len()));
            self.compiler.compile(wanted, interfaces)?;
            self.made |= state.first()?;
            return Err(Stop::Redo);
        };
        let applied = state.without_the_dead(&base.record.policy);
        state.at(Step::Checking);
        let policy = edit(&Current { policy: &applied, labels: &base.record.labels })?;

        let mut labels: BTreeSet<Label> = policy.labels().iter().cloned().collect();
        labels.extend(placements.iter().map(|placement| placement.label.clone()));
        let mut dropped = Vec::new();
        for label in &base.record.labels {
            if labels.contains(label) {
                continue;
            }
            if occupied(&carried(&base, label)?)? {
                labels.insert(label.clone());
            } else {
                dropped.push(label);
            }
        }
        let interfaces = state.interfaces(&policy, &base.record.interfaces)?;
        let same_labels = match self.occasion {
            Occasion::Edit => labels.is_subset(&base.record.labels),
            Occasion::Withdrawal => labels == base.record.labels,
            Occasion::Upgrade => false,
        };
        // Where labels are leaving, a registration is not done before a commit.
        let same_labels = same_labels && (placements.is_empty() || !leaving::is_announced(&base.live.dir)?);
        let same = same_labels && same_policy(&base.record.policy, &policy) && interfaces == base.record.interfaces;
        if same {
            for placement in placements {
                placement.put(&carried(&base, &placement.label)?)?;
            }
            // A registration is in all generations at once; only a label that goes meanwhile loses it.
            let stays = placements.is_empty()
                || !leaving::is_announced(&base.live.dir)? && state.live()?.is_some_and(|live| live.id == base.live.id);
            return if stays { Ok(Committed::Unchanged { id: base.live.id }) } else { Err(Stop::Redo) };
        }
        state.at(Step::Compiling(policy.len()));
        let done = self.compiler.compile(policy, interfaces)?;
        let plan = Plan {
            policy: &done.policy,
            interfaces: &done.interfaces,
            compiled: &done.compiled,
            labels: &labels,
            placements,
        };
        state.at(Step::Loading(done.policy.len()));
        let mut building = build(state, Some(&base), &plan)?;
        for placement in placements.iter().filter(|placement| base.record.labels.contains(&placement.label)) {
            placement.put(&carried(&base, &placement.label)?)?;
        }
        let _leaving = if dropped.is_empty() {
            None
        } else {
            let leaving = Leaving::announce(&base.live.dir)?.ok_or(Stop::Redo)?;
            for label in dropped {
                if occupied(&carried(&base, label)?)? {
                    return Err(Stop::Redo);
                }
            }
            Some(leaving)
        };
        state.switch(&base, &mut building)?;
        state.remember(building.id, base.live.id);
        let committed = Committed::Generation { id: building.id, parent: base.live.id };
        self.held.push(building);
        Ok(committed)
    }
}

/// The map of a label that a generation has.
fn carried(base: &Generation, label: &Label) -> Result<Sockmap, Stop> {
    let missing = || Stop::Missing { generation: base.live.id, what: format!("label {label} has no map") };
    base.live.label(label)?.ok_or_else(missing)
}

/// Compiles, and keeps the last result: a commit that lost a race needs it again.
#[derive(Default)]
struct Compiler {
    last: Option<Done>,
}

struct Done {
    policy: Policy,
    interfaces: BTreeMap<Interface, u32>,
    compiled: Compiled,
}

impl Compiler {
    fn compile(&mut self, policy: Policy, interfaces: BTreeMap<Interface, u32>) -> Result<&Done, Stop> {
        let reusable = self.last.as_ref().is_some_and(|done| done.policy == policy && done.interfaces == interfaces);
        if !reusable {
            let options = Options { interfaces: interfaces.clone(), cpus: possible_cpus()?, strategy: None };
            let compiled = compile(&policy, &options)?;
            self.last = Some(Done { policy, interfaces, compiled });
        }
        Ok(self.last.as_ref().expect("compiled just now or before"))
    }
}

/// The same bindings for the same owners, wherever they came from.
fn same_policy(a: &Policy, b: &Policy) -> bool {
    a.len() == b.len() && a.entries().iter().zip(b.entries()).all(|(a, b)| a.binding == b.binding && a.owner == b.owner)
}
