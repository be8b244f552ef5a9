//! Making a generation: maps, program, then a directory of its own that holds them.
//!
//! Up to the directory there are only file descriptors, which die with us. The directory belongs to whoever holds its
//! lock: we do, from its birth to the end of the command, and what is not live and can be locked is litter.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sklookup_bpf::MapSpec;
use sklookup_compiler::{Compiled, MapRole, label_map};
use sklookup_kernel::{Errno, Map, Program, Sockmap, bpffs};
use sklookup_policy::{Interface, Label, Policy};

use crate::counters;
use crate::error::Error;
use crate::lock::{self, Locked};
use crate::record::{Record, STATE_VERSION};
use crate::registration::Placement;
use crate::state::{DIRECTORY_MODE, Generation, State, label_path, names};
use crate::sweep;

/// How many label maps are open at once while a large policy is built.
const LABELS_AT_ONCE: usize = 256;

/// What a generation is to be made of.
pub(crate) struct Plan<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) interfaces: &'a BTreeMap<Interface, u32>,
    pub(crate) compiled: &'a Compiled,
    /// Every label that gets a map.
    pub(crate) labels: &'a BTreeSet<Label>,
    /// Sockets that are in their label before anybody sees it.
    pub(crate) placements: &'a [Placement],
}

/// A generation that nothing runs yet. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Building {
    pub(crate) id: u32,
    pub(crate) program: Program,
    dir: Locked,
    committed: bool,
}

/// Why a generation was not made.
pub(crate) enum Stop {
    /// What it builds on was replaced meanwhile: start over.
    Redo,
    /// Something of this generation is not there: it was replaced and swept, or is damaged.
    Missing { generation: u32, what: String },
    /// It can't be made.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

impl Building {
    /// It is live now: keep the directory.
    pub(crate) fn commit(&mut self) {
        self.committed = true;
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.committed {
            sweep::remove_generation(&self.dir.path);
        }
    }
}

/// Makes a generation on top of `base`.
pub(crate) fn build(state: &State, base: Option<&Generation>, plan: &Plan<'_>) -> Result<Building, Stop> {
    let counts = match base {
        Some(base) => match counters::carry(state, base, plan.policy) {
            // Replaced meanwhile, the base let its parent go, or was swept itself.
            Err(error) if error.is_missing() => return Err(Stop::missing(base, &error)),
            counts => counts?,
        },
        None => None,
    };
    let maps = Maps::create(base, plan)?;
    let program = Program::load(&plan.compiled.program, &maps.fds())?;
    let record = Record {
        layout: STATE_VERSION,
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        parent: base.map_or(0, |base| base.live.id),
        time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        strategy: plan.compiled.strategy,
        why: plan.compiled.why.clone(),
        hits: plan.compiled.counters.hits,
        base: counts.is_some(),
        interfaces: plan.interfaces.clone(),
        labels: plan.labels.clone(),
        policy: plan.policy.clone(),
    };
    let policy = Map::create(&MapSpec::table("sklookup_policy", record.to_text().into_bytes()))?;
    program.bind_map(&policy)?;
    let counts = counts.map(|counts| Map::create(&MapSpec::table("sklookup_base", counts))).transpose()?;
    if let Some(counts) = &counts {
        program.bind_map(counts)?;
    }

    let id = program.id();
    let dir = lock::own_shared(&state.generation_dir(id))?.ok_or(Stop::Redo)?;
    let building = Building { id, program, dir, committed: false };
    let path = building.dir.path.as_path();
    pin(policy.as_fd(), path, names::POLICY)?;
    pin(maps.one(MapRole::Hits).as_fd(), path, names::HITS)?;
    pin(maps.one(MapRole::Faults).as_fd(), path, names::FAULTS)?;
    if let Some(counts) = &counts {
        pin(counts.as_fd(), path, names::BASE)?;
    }
    let labels = path.join(names::LABELS);
    bpffs::create_dir(&labels, DIRECTORY_MODE)?;
    maps.pin_labels(base, plan, path)?;
    pin(building.program.as_fd(), path, names::PROGRAM)?;
    Ok(building)
}

/// The maps that the program refers to.
struct Maps<'a> {
    /// In the program's order; `None` where a label map stands.
    maps: Vec<(MapRole, Option<Map>)>,
    /// Label maps that the program names itself.
    named: BTreeMap<&'a Label, Sockmap>,
    compiled: &'a Compiled,
}

impl<'a> Maps<'a> {
    fn create(base: Option<&Generation>, plan: &Plan<'a>) -> Result<Maps<'a>, Stop> {
        let compiled = plan.compiled;
        let mut maps = Vec::with_capacity(compiled.maps.len());
        let mut named = BTreeMap::new();
        for (role, spec) in &compiled.maps {
            let map = match *role {
                MapRole::Label(index) => {
                    let label = &compiled.labels[index];
                    named.insert(label, label_map_of(base, plan, label)?);
                    None
                }
                _ => Some(Map::create(spec)?),
            };
            maps.push((*role, map));
        }
        Ok(Maps { maps, named, compiled })
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.maps
            .iter()
            .map(|(role, map)| match (role, map) {
                (MapRole::Label(index), _) => self.named[&self.compiled.labels[*index]].as_fd(),
                (_, Some(map)) => map.as_fd(),
                (_, None) => unreachable!("only label maps are kept apart"),
            })
            .collect()
    }

    fn one(&self, wanted: MapRole) -> &Map {
        let found = self.maps.iter().find(|(role, _)| *role == wanted).and_then(|(_, map)| map.as_ref());
        found.expect("every compiled policy counts")
    }

    /// Gives every label its map: carried by reference where the base has it, new where it has not.
    fn pin_labels(&self, base: Option<&Generation>, plan: &Plan<'_>, dir: &Path) -> Result<(), Stop> {
        let outer = self.maps.iter().find(|(role, _)| *role == MapRole::Labels).and_then(|(_, map)| map.as_ref());
        // A few at a time: a policy may have more labels than this process may have open files.
        let labels: Vec<&Label> = plan.labels.iter().collect();
        let mut filled = 0;
        for labels in labels.chunks(LABELS_AT_ONCE) {
            let mut opened = Vec::with_capacity(labels.len());
            for &label in labels {
                let own;
                let map = match self.named.get(label) {
                    Some(map) => map,
                    None => {
                        own = label_map_of(base, plan, label)?;
                        &own
                    }
                };
                let path = label_path(dir, label)?;
                match plan.carried_from(base, label) {
                    Some(from) => match bpffs::link(&label_path(from, label)?, &path) {
                        Err(error) if error.errno() == Errno::NOENT => return Err(missing(base, &error.into())),
                        linked => linked?,
                    },
                    None => {
                        // Nobody else knows this map yet. Sockets for one that is in effect wait for the commit.
                        for placement in plan.placements.iter().filter(|placement| placement.label == *label) {
                            placement.put(map)?;
                        }
                        bpffs::pin(map.as_fd(), &path)?;
                    }
                }
                if outer.is_some() && plan.compiled.labels.binary_search(label).is_ok() {
                    opened.push(
                        map.as_fd()
                            .try_clone_to_owned()
                            .map_err(|error| Error::Refused(format!("label {label}: {error}")))?,
                    );
                }
            }
            if let Some(outer) = outer {
                let fds: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
                outer.fill_maps_from(filled, &fds)?;
                filled += fds.len() as u32;
            }
        }
        if let Some(outer) = outer {
            outer.freeze()?;
        }
        Ok(())
    }
}

fn label_map_of(base: Option<&Generation>, plan: &Plan<'_>, label: &Label) -> Result<Sockmap, Stop> {
    let Some(from) = plan.carried_from(base, label) else {
        return Ok(Sockmap::try_from(Map::create(&label_map::spec("sklookup_label"))?)?);
    };
    match Sockmap::open(&label_path(from, label)?) {
        Err(error) if error.errno() == Errno::NOENT => Err(missing(base, &error.into())),
        map => Ok(map?),
    }
}

impl Plan<'_> {
    /// The generation whose map of a label is carried by reference; `None` for a label that is new.
    fn carried_from<'a>(&'a self, base: Option<&'a Generation>, label: &Label) -> Option<&'a Path> {
        base.filter(|base| base.record.labels.contains(label)).map(|base| base.live.dir.as_path())
    }
}

impl Stop {
    /// Something of `base` was not there.
    pub(crate) fn missing(base: &Generation, error: &Error) -> Stop {
        Stop::Missing { generation: base.live.id, what: error.to_string() }
    }
}

fn missing(base: Option<&Generation>, error: &Error) -> Stop {
    base.map_or(Stop::Redo, |base| Stop::missing(base, error))
}

fn pin(fd: BorrowedFd<'_>, dir: &Path, name: &str) -> Result<(), Stop> {
    Ok(bpffs::pin(fd, &dir.join(name))?)
}
