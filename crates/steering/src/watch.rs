//! Watching: where nothing was selected, told by a program of its own that runs behind the one that steers.
//!
//! That one stays as it is. The watching program is held by a link that is pinned nowhere: however this process ends, the kernel
//! takes both away. It asks the same policy the same question, so it has to be of the generation that is live; what it wrote
//! counts only if that generation is still live afterwards, for then it was all the while.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use sklookup_bpf::MapSpec;
use sklookup_compiler::{Event, LeftOut, MapRole, Observer, Options, Watching, compile_observer};
use sklookup_kernel::caps::{self, Cap};
use sklookup_kernel::{Link, Map, Program, RingBuffer, Sockmap, awake_since_boot};
use sklookup_policy::{Entry, Label};

use crate::error::Error;
use crate::hook;
use crate::record::Record;
use crate::state::{Generation, State, label_path};

/// How many records are taken out at once.
const BATCH: usize = 1024;

/// How many label maps are open at once while those of a large policy are put together.
const LABELS_AT_ONCE: usize = 256;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Of so many events one is told; 1: each.
    pub every: u32,
    /// The most that are told within a second.
    pub rate: u32,
}

/// A look at what happens in a namespace. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Watch<'s> {
    state: &'s State,
    measure: Measure,
    /// Whether the kernel lets a program compare sockets.
    compares: bool,
    events: Map,
    left_out: Map,
    ring: RingBuffer,
    /// Programs that were made so far.
    tokens: u32,
    attached: Option<Attached>,
}

/// The watching program of a generation.
#[derive(Debug)]
struct Attached {
    generation: u32,
    /// The link of the program that is watched.
    steering: u32,
    token: u32,
    record: Record,
    link: Link,
}

/// What has happened since the last look.
#[derive(Debug, Default)]
pub struct Look {
    /// Events, in the order in which they were written.
    pub events: Vec<Seen>,
    /// Events that may belong to another policy than the one they were written by: it was replaced meanwhile.
    pub doubtful: u64,
    /// What is watched now, if it is another policy than before.
    pub change: Option<Change>,
    /// Whether there is more to be taken out at once.
    pub more: bool,
}

/// An event with its binding.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The event.
    pub event: Event,
    /// When it happened.
    pub time: SystemTime,
    /// The binding that won the packet.
    pub entry: Entry,
}

/// What is watched from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A policy.
    Watching {
        /// Its generation.
        generation: u32,
        /// How many bindings it has.
        bindings: usize,
    },
    /// Nothing is steered.
    Nothing,
}

/// A watching program that is not attached yet.
struct Loaded {
    program: Program,
    generation: u32,
    steering: u32,
    record: Record,
}

impl<'s> Watch<'s> {
    /// Begins to watch; the first look says what.
    ///
    /// # Errors
    /// EPERM without CAP_BPF and CAP_NET_ADMIN, EACCES where the state belongs to another user.
    pub fn begin(state: &'s State, measure: Measure) -> Result<Watch<'s>, Error> {
        let nothing = Watching { token: 0, every: measure.every, rate: measure.rate, compares: false };
        let events = Map::create(&nothing.events_map())?;
        let left_out = Map::create(&LeftOut::map())?;
        let ring = RingBuffer::new(&events)?;
        let compares = caps::missing(&[Cap::Perfmon])?.is_empty();
        Ok(Watch { state, measure, compares, events, left_out, ring, tokens: 0, attached: None })
    }

    /// Whether another program's selection in the place of ours can be told.
    pub fn compares(&self) -> bool {
        self.compares
    }

    /// Takes out what was written, and follows the policy if it was replaced.
    ///
    /// # Errors
    /// A policy that can't be read or compiled, or a program that the kernel refuses; [`Error::Full`].
    pub fn look(&mut self) -> Result<Look, Error> {
        let mut records = Vec::new();
        while records.len() < BATCH
            && let Some(record) = self.ring.next_record()
        {
            records.push(record);
        }
        let mut look = Look { more: records.len() == BATCH, ..Look::default() };
        // Only now: if the generation is the same, it was so when the last of them was written.
        let live = self.live()?;
        let attached = self.attached.as_ref().map(|attached| (attached.generation, attached.steering));
        let since_start = Offset::now();
        for record in &records {
            let event = Event::parse(record);
            let known = self.attached.as_ref().filter(|_| live == attached);
            let seen = event.zip(known).filter(|(event, attached)| event.token == attached.token);
            let entry = seen.and_then(|(event, attached)| {
                attached.record.policy.entries().get(event.binding as usize).map(|entry| (event, entry.clone()))
            });
            match entry {
                Some((event, entry)) => look.events.push(Seen { event, time: since_start.at(event.time), entry }),
                None => look.doubtful += 1,
            }
        }
        if live != attached || (live.is_none() && self.tokens == 0) {
            look.change = self.follow()?;
        }
        Ok(look)
    }

    /// How many events there were, and were not written.
    ///
    /// # Errors
    /// None that a map of one's own is known to give.
    pub fn left_out(&self) -> Result<LeftOut, Error> {
        Ok(LeftOut::parse(&self.left_out.value()?).unwrap_or_default())
    }

    /// The live generation, and the id of the link that runs it.
    fn live(&self) -> Result<Option<(u32, u32)>, Error> {
        let Some(live) = self.state.live()? else { return Ok(None) };
        let link = live.link.as_ref().map(Link::info).transpose()?;
        Ok(link.map(|link| (live.id, link.id)))
    }

    /// Watches the generation that is live now.
    fn follow(&mut self) -> Result<Option<Change>, Error> {
        let first = self.tokens == 0;
        self.tokens += 1;
        let token = self.tokens;
        let loaded = self.state.read(|live| {
            let info = live.link.as_ref().map(Link::info).transpose()?;
            let generation = live.open()?;
            let program = self.load(&generation, token)?;
            let steering = info.map_or(0, |info| info.id);
            Ok(Loaded { program, generation: generation.live.id, steering, record: generation.record })
        })?;
        let Some(Loaded { program, generation, steering, record }) = loaded else {
            let had = self.attached.take().is_some();
            return Ok((had || first).then_some(Change::Nothing));
        };
        let link = match self.attached.take() {
            // In its place behind the steering program. Another link of that one is behind ours.
            Some(before) if before.steering == steering => {
                before.link.update_any(&program)?;
                before.link
            }
            _ => hook::attach(&program, &self.state.netns)?,
        };
        let bindings = record.policy.len();
        self.attached = Some(Attached { generation, steering, token, record, link });
        Ok(Some(Change::Watching { generation, bindings }))
    }

    fn load(&self, generation: &Generation, token: u32) -> Result<Program, Error> {
        let record = &generation.record;
        let options = Options { interfaces: record.interfaces.clone(), ..Options::default() };
        let Measure { every, rate } = self.measure;
        let watching = Watching { token, every, rate, compares: self.compares };
        let observer = compile_observer(&record.policy, &options, &watching)?;
        let maps = Maps::open(generation, &observer)?;
        let fds: Vec<BorrowedFd<'_>> = observer.maps.iter().map(|(role, _)| maps.fd(*role, self)).collect();
        Ok(Program::load(&observer.program, &fds)?)
    }
}

/// Readable while there is something to take out.
impl AsFd for Watch<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// The maps of a watching program that are not the watch's: those of labels are the steering program's own.
struct Maps {
    labels: Vec<Sockmap>,
    outer: Option<Map>,
    table: Option<Map>,
}

impl Maps {
    fn open(generation: &Generation, observer: &Observer) -> Result<Maps, Error> {
        let open =
            |label: &Label| -> Result<Sockmap, Error> { Ok(Sockmap::open(&label_path(&generation.live.dir, label)?)?) };
        let create = |wanted| -> Result<Option<Map>, Error> {
            let spec = observer.maps.iter().find(|(role, _)| *role == wanted).map(|(_, spec): &(_, MapSpec)| spec);
            Ok(spec.map(Map::create).transpose()?)
        };
        let (outer, table) = (create(MapRole::Labels)?, create(MapRole::Table)?);
        let named: BTreeSet<usize> = observer
            .maps
            .iter()
            .filter_map(|(role, _)| match role {
                MapRole::Label(index) => Some(*index),
                _ => None,
            })
            .collect();
        let labels = named.into_iter().map(|index| open(&observer.labels[index])).collect::<Result<_, _>>()?;
        if let Some(outer) = &outer {
            // A few at a time: there may be more labels than this process may have open files.
            for (chunk, first) in observer.labels.chunks(LABELS_AT_ONCE).zip((0..).step_by(LABELS_AT_ONCE)) {
                let opened = chunk.iter().map(open).collect::<Result<Vec<_>, _>>()?;
                let fds: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
                outer.fill_maps_from(first, &fds)?;
            }
            outer.freeze()?;
        }
        Ok(Maps { labels, outer, table })
    }

    fn fd<'a>(&'a self, role: MapRole, watch: &'a Watch<'_>) -> BorrowedFd<'a> {
        match role {
            MapRole::Label(index) => self.labels[index].as_fd(),
            MapRole::Labels => self.outer.as_ref().expect("it was created for this role").as_fd(),
            MapRole::Table => self.table.as_ref().expect("it was created for this role").as_fd(),
            MapRole::Events => watch.events.as_fd(),
            _ => watch.left_out.as_fd(),
        }
    }
}

/// What lies between the clock of events and that of people.
struct Offset {
    now: SystemTime,
    awake: Duration,
}

impl Offset {
    fn now() -> Offset {
        Offset { now: SystemTime::now(), awake: awake_since_boot() }
    }

    fn at(&self, nanoseconds: u64) -> SystemTime {
        let ago = self.awake.saturating_sub(Duration::from_nanos(nanoseconds));
        self.now.checked_sub(ago).unwrap_or(self.now)
    }
}
