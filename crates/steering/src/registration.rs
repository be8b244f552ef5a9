//! Sockets under labels.
//!
//! A label is a small SOCKMAP that all generations share by reference: what is put in is in effect at once and survives
//! every swap. Each protocol and family has several slots, tried in order, so that a reuseport group is registered whole
//! and the label outlives the close of one member.

use std::os::fd::{AsFd, OwnedFd};

use sklookup_compiler::Family;
use sklookup_compiler::label_map::{self, MEMBERS};
use sklookup_kernel::Sockmap;
use sklookup_policy::{Label, Protocol};

use crate::commit::Current;
use crate::error::Error;
use crate::leaving;
use crate::record::Record;
use crate::state::{Generation, Live, PATIENCE, State, check_layout};
use crate::step::Step;
use crate::wait::Deadline;

/// A socket that can be selected.
#[derive(Debug)]
pub struct Member {
    /// The socket.
    pub fd: OwnedFd,
    /// What it serves.
    pub protocol: Protocol,
    /// The families of packets it can take.
    pub families: Vec<Family>,
    /// Its cookie.
    pub cookie: u64,
}

/// Sockets on their way into a label.
#[derive(Debug)]
pub struct Placement {
    /// The label.
    pub label: Label,
    /// The sockets, in the order in which they are tried.
    pub members: Vec<Member>,
}

/// A slot of a label that holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Family of the packets it gets.
    pub family: Family,
    /// Protocol of the packets it gets.
    pub protocol: Protocol,
    /// Its place among those tried.
    pub member: u32,
    /// The socket's cookie.
    pub cookie: u64,
}

/// A label with its slots that hold a socket.
pub type Slots = (Label, Vec<Registered>);

const SLOTS: [(Family, Protocol); 4] = [
    (Family::V4, Protocol::Tcp),
    (Family::V4, Protocol::Udp),
    (Family::V6, Protocol::Tcp),
    (Family::V6, Protocol::Udp),
];

impl Placement {
    /// How many of the sockets have no slot: the kernel still spreads over their whole reuseport group.
    pub fn left_out(&self) -> usize {
        SLOTS.iter().map(|slot| self.of(*slot).count().saturating_sub(MEMBERS as usize)).max().unwrap_or(0)
    }

    fn of(&self, (family, protocol): (Family, Protocol)) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.protocol == protocol && member.families.contains(&family))
    }

    /// Whether the slots of its protocols and families hold its sockets and no others. One that has closed is in no slot.
    fn is_in(&self, map: &Sockmap) -> Result<bool, Error> {
        let own: Vec<u64> = self.members.iter().map(|member| member.cookie).collect();
        let touched = |slot: &Registered| self.of((slot.family, slot.protocol)).next().is_some();
        Ok(registered(map)?.iter().filter(|slot| touched(slot)).all(|slot| own.contains(&slot.cookie)))
    }

    /// Whether any slot holds one of its sockets.
    fn is_partly_in(&self, map: &Sockmap) -> bool {
        let own = |slot: &Registered| self.members.iter().any(|member| member.cookie == slot.cookie);
        registered(map).is_ok_and(|slots| slots.iter().any(own))
    }

    /// Why it failed, and whether something of it is in effect all the same.
    fn failed_in(&self, map: &Sockmap, error: Error) -> Error {
        if self.is_partly_in(map) { error.begun() } else { error }
    }

    /// Puts the sockets in, in place of those of the same protocol and family. Each slot changes at once, the first
    /// one first, so that no packet finds the label empty in between.
    pub(crate) fn put(&self, map: &Sockmap) -> Result<(), Error> {
        for slot in SLOTS {
            let mut count = 0;
            for member in self.of(slot).take(MEMBERS as usize) {
                map.put(label_map::slot(slot.0, slot.1, count), member.fd.as_fd())?;
                count += 1;
            }
            if count > 0 {
                for member in count..MEMBERS {
                    map.remove(label_map::slot(slot.0, slot.1, member))?;
                }
            }
        }
        Ok(())
    }
}

/// How often a registration that another one got in the way of is tried.
const ROUNDS: usize = 16;

/// The slots of a label that hold a socket, in the order in which they are tried.
pub(crate) fn registered(map: &Sockmap) -> Result<Vec<Registered>, Error> {
    let mut found = Vec::new();
    for (family, protocol) in SLOTS {
        for member in 0..MEMBERS {
            if let Some(cookie) = map.cookie(label_map::slot(family, protocol, member))? {
                found.push(Registered { family, protocol, member, cookie });
            }
        }
    }
    Ok(found)
}

/// Whether a label holds any socket.
pub(crate) fn occupied(map: &Sockmap) -> Result<bool, Error> {
    for slot in 0..label_map::SLOTS {
        if map.cookie(slot)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Live {
    /// What is registered under a label; empty where there is no such label.
    ///
    /// # Errors
    /// A call that failed.
    pub fn registered(&self, label: &Label) -> Result<Vec<Registered>, Error> {
        self.label(label)?.map_or_else(|| Ok(Vec::new()), |map| registered(&map))
    }
}

impl Generation {
    /// What is registered under each of its labels, in their order.
    ///
    /// # Errors
    /// A call that failed.
    pub fn slots(&self) -> Result<Vec<Slots>, Error> {
        self.record.labels.iter().map(|label| Ok((label.clone(), self.live.registered(label)?))).collect()
    }
}

impl State {
    /// Registers sockets under a label. Those of the same protocol and family that were there are replaced.
    ///
    /// A label that nobody knows yet is made, which is a commit; for one that is there the right to write its map is
    /// enough.
    ///
    /// # Errors
    /// A call that failed; the label then holds what it held, or part of the new sockets.
    pub fn register(&self, placement: Placement) -> Result<(), Error> {
        // What lies in which slot is a matter of the layout.
        self.read(|live| check_layout(&live.dir))?;
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let Some(map) = self.read(|live| live.label(&placement.label))?.flatten() else {
                return self.register_by_commit(&placement);
            };
            // Two at once could leave some sockets of each: whoever finds the other's in between puts its own again.
            for _ in 0..ROUNDS {
                placement.put(&map).map_err(|error| placement.failed_in(&map, error))?;
                if placement.is_in(&map).map_err(Error::begun)? {
                    break;
                }
            }
            let look = |live: Live| Ok((live.label(&placement.label)?, leaving::is_announced(&live.dir)?));
            match self.read(look).map_err(Error::begun)? {
                Some((Some(now), false)) if now.id() == map.id() => return Ok(()),
                Some((Some(now), true)) if now.id() == map.id() => match self.register_by_commit(&placement) {
                    // Who may not commit has to wait for who does.
                    Err(error) if error.is_denied() && !deadline.passed() => {}
                    result => return result.map_err(|error| placement.failed_in(&map, error)),
                },
                // Removed, and perhaps made again: the label is another map.
                _ => {}
            }
        }
    }

    fn register_by_commit(&self, placement: &Placement) -> Result<(), Error> {
        let keep = &mut |current: &Current<'_>| Ok(current.policy.clone());
        self.commit(std::slice::from_ref(placement), keep).map(|_| ())
    }

    /// The live generation, with what is registered under those of its labels that `wanted` picks, all while it was live.
    ///
    /// # Errors
    /// As [`State::generation`].
    pub fn generation_with(
        &self,
        wanted: impl Fn(&Record) -> Vec<Label>,
    ) -> Result<Option<(Generation, Vec<Slots>)>, Error> {
        self.at(Step::Reading);
        self.read(|live| {
            let generation = live.open()?;
            let labels = wanted(&generation.record).into_iter();
            let labels = labels.map(|label| Ok((label.clone(), generation.live.registered(&label)?)));
            let labels = labels.collect::<Result<Vec<_>, Error>>()?;
            Ok((generation, labels))
        })
    }

    /// What is registered under a label; `None` where there is no such label.
    ///
    /// # Errors
    /// A call that failed.
    pub fn registered(&self, label: &Label) -> Result<Option<Vec<Registered>>, Error> {
        let map = self.read(|live| live.label(label))?.flatten();
        map.map(|map| registered(&map)).transpose()
    }

    /// Those of some labels that hold no socket.
    ///
    /// # Errors
    /// A call that failed.
    pub fn empty_labels(&self, labels: &[Label]) -> Result<Vec<Label>, Error> {
        let empty = self.read(|live| {
            let mut empty = Vec::new();
            for label in labels {
                if live.label(label)?.map_or(Ok(true), |map| occupied(&map).map(|occupied| !occupied))? {
                    empty.push(label.clone());
                }
            }
            Ok(empty)
        })?;
        Ok(empty.unwrap_or_default())
    }

    /// Takes the sockets that are meant out of a label; says how many slots were emptied.
    ///
    /// A socket that has closed left by itself.
    ///
    /// # Errors
    /// [`Error::NotLoaded`], [`Error::NoLabel`], or a call that failed.
    pub fn unregister(&self, label: &Label, meant: &dyn Fn(&Registered) -> bool) -> Result<usize, Error> {
        self.read(|live| check_layout(&live.dir))?;
        let open = || {
            let map = self.read(|live| live.label(label))?;
            map.ok_or_else(|| Error::NotLoaded { netns: self.netns().describe().to_owned() })
        };
        let mut map = open()?.ok_or_else(|| Error::NoLabel { label: label.clone() })?;
        let mut emptied = 0;
        let mut empty = || -> Result<(), Error> {
            loop {
                for slot in registered(&map)?.iter().filter(|slot| meant(slot)) {
                    let index = label_map::slot(slot.family, slot.protocol, slot.member);
                    emptied += usize::from(map.remove(index)?);
                }
                // Removed and made again meanwhile, the label is another map.
                match open() {
                    Ok(Some(now)) if now.id() != map.id() => map = now,
                    Ok(_) | Err(Error::NotLoaded { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        match empty() {
            Ok(()) => Ok(emptied),
            Err(error) if emptied > 0 => Err(error.begun()),
            Err(error) => Err(error),
        }
    }
}
