//! What a generation says about itself: the text in its frozen `policy` map.
//!
//! Lines, in this order; the layout is described for operators in `docs/state.md`:
//!
//! ```text
//! sklookup-state 2
//! writer 0.1.0
//! parent 812
//! time 1795296000
//! digest 5c1c…
//! strategy hash 1,204 bindings are more than branches are for
//! hits percpu                          or: hits shards 4
//! base yes
//! interface 3 eth0
//! label web
//! origin file policies/web.toml        numbered from 0, as they come
//! origin command sklookup bind web tcp 192.0.2.0/24 80
//! bindings 2
//! web tcp 192.0.2.0/24 80⇥0:7⇥-        binding, origin:line, owner pid:start:pid namespace or -
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::iter::Enumerate;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use sklookup_compiler::{HitsLayout, Strategy};
use sklookup_policy::{CanonicalReader, Entry, Interface, Label, Origin, Owner, Policy};

/// Version of the layout of a state directory and of this text. A newer one is refused, an older one is read.
///
/// Layout 1 did not know the pid namespace of an owner, and had no directory for it to lock.
pub const STATE_VERSION: u32 = 2;

/// What a generation says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Version of the layout it was read from; what is written has [`STATE_VERSION`].
    pub layout: u32,
    /// Version of the sklookup that wrote it.
    pub writer: String,
    /// Program id of the generation it replaced; 0 for the first.
    pub parent: u32,
    /// When it was built, in seconds since the epoch.
    pub time: u64,
    /// How the policy was compiled.
    pub strategy: Strategy,
    /// Why it was compiled so.
    pub why: String,
    /// How the hit counters lie in their map.
    pub hits: HitsLayout,
    /// Whether there are counts of generations before the parent, in a map of their own.
    pub base: bool,
    /// What the names of interfaces meant when the policy was applied.
    pub interfaces: BTreeMap<Interface, u32>,
    /// Every label that has a map in this generation, named by a binding or not.
    pub labels: BTreeSet<Label>,
    /// The applied policy.
    pub policy: Policy,
}

/// Why the text of a generation could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It was written by a newer sklookup.
    Newer {
        /// The version it has.
        version: u32,
    },
    /// It is not what any sklookup writes.
    Damaged {
        /// Line number, from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
    },
}

/// SHA-256 of the canonical text of a policy, in hex: equal for equal policies, whoever compiled them.
pub fn digest(policy: &Policy) -> String {
    let mut hasher = LineHasher::default();
    let mut line = String::new();
    for entry in policy.entries() {
        line.clear();
        write!(line, "{}", entry.binding).expect("a String takes all");
        hasher.line(&line);
    }
    hasher.finish()
}

/// Hashes lines in pieces of some size: a policy may have a million of them.
#[derive(Default)]
struct LineHasher {
    hasher: Sha256,
    piece: Vec<u8>,
}

impl LineHasher {
    const PIECE: usize = 16 << 10;

    fn line(&mut self, line: &str) {
        self.piece.extend_from_slice(line.as_bytes());
        self.piece.push(b'\n');
        if self.piece.len() >= Self::PIECE {
            self.hasher.update(&self.piece);
            self.piece.clear();
        }
    }

    fn finish(mut self) -> String {
        self.hasher.update(&self.piece);
        self.hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        })
    }
}

impl Record {
    /// The text, as it goes into the map.
    pub fn to_text(&self) -> String {
        // The head has the digest of the bindings, which are spelled out once for both.
        let mut bindings = String::with_capacity(self.policy.len() * 56);
        let mut text = String::new();
        self.write(&mut text, &mut bindings).expect("a String takes all");
        text.reserve_exact(bindings.len());
        text.push_str(&bindings);
        text
    }

    /// Refuses the text of a newer layout; for who needs no other line.
    pub(crate) fn check_layout(text: &str) -> Result<(), RecordError> {
        Lines::of(text).layout().map(drop)
    }

    /// The parent in the text of a record whose other lines nobody needs.
    pub(crate) fn parent_of(text: &str) -> Option<u32> {
        text.lines().find_map(|line| line.strip_prefix("parent "))?.parse().ok()
    }

    /// The canonical texts of the bindings in the text of a record, in order: by number.
    pub(crate) fn bindings_of(text: &str) -> impl Iterator<Item = &str> {
        text.lines()
            .skip_while(|line| !line.starts_with("bindings "))
            .skip(1)
            .filter_map(|line| line.split_once('\t').map(|(binding, _)| binding))
    }

    /// How the hits of a record are laid out, from its text.
    pub(crate) fn hits_of(text: &str) -> Option<HitsLayout> {
        parse_hits(text.lines().find_map(|line| line.strip_prefix("hits "))?)
    }

    fn write(&self, text: &mut String, bindings: &mut String) -> std::fmt::Result {
        let (digest, origins) = self.write_bindings(bindings)?;
        writeln!(text, "sklookup-state {STATE_VERSION}")?;
        writeln!(text, "writer {}", self.writer)?;
        writeln!(text, "parent {}", self.parent)?;
        writeln!(text, "time {}", self.time)?;
        writeln!(text, "digest {digest}")?;
        writeln!(text, "strategy {} {}", self.strategy, self.why.escape_default())?;
        match self.hits {
            HitsLayout::PerCpu => writeln!(text, "hits percpu")?,
            HitsLayout::Shards(shards) => writeln!(text, "hits shards {shards}")?,
        }
        writeln!(text, "base {}", if self.base { "yes" } else { "no" })?;
        for (interface, index) in &self.interfaces {
            writeln!(text, "interface {index} {interface}")?;
        }
        for label in &self.labels {
            writeln!(text, "label {label}")?;
        }
        for (file, name) in origins {
            writeln!(text, "origin {} {}", if file { "file" } else { "command" }, name.escape_default())?;
        }
        writeln!(text, "bindings {}", self.policy.len())
    }

    /// Writes the lines of the bindings; answers their digest and the origins that they count.
    fn write_bindings<'a>(&'a self, text: &mut String) -> Result<(String, Vec<OriginKey<'a>>), std::fmt::Error> {
        let mut hasher = LineHasher::default();
        let mut origins = Vec::new();
        let mut numbers: HashMap<OriginKey<'a>, usize> = HashMap::new();
        // Most bindings are from where the one before was: its name is the same text in memory.
        let mut last: Option<(&str, usize)> = None;
        for Entry { binding, origin, owner } in self.policy.entries() {
            let key @ (_, name) = origin_key(origin);
            let number = match last {
                Some((last, number)) if std::ptr::eq(last, name) => number,
                _ => *numbers.entry(key).or_insert_with(|| {
                    origins.push(key);
                    origins.len() - 1
                }),
            };
            last = Some((name, number));
            let line = match origin {
                Origin::File { line, .. } => *line,
                Origin::Command(_) => 0,
            };
            let start = text.len();
            write!(text, "{binding}")?;
            hasher.line(&text[start..]);
            write!(text, "\t{number}:{line}\t")?;
            match owner {
                Some(Owner { pid, start, pid_namespace: Some(inode) }) => writeln!(text, "{pid}:{start}:{inode}")?,
                Some(Owner { pid, start, pid_namespace: None }) => writeln!(text, "{pid}:{start}")?,
                None => text.push_str("-\n"),
            }
        }
        Ok((hasher.finish(), origins))
    }

    /// Reads the text back.
    ///
    /// # Errors
    /// A newer layout, or text that no sklookup wrote.
    pub fn parse(text: &str) -> Result<Record, RecordError> {
        let mut lines = Lines::of(text);
        let layout = lines.layout()?;
        let writer = lines.value("writer")?.to_owned();
        let parent = lines.number("parent")?;
        let time = lines.number("time")?;
        lines.value("digest")?;
        let (strategy, why) = lines.value("strategy")?.split_once(' ').ok_or_else(|| lines.damaged("strategy"))?;
        let strategy = [Strategy::Branches, Strategy::Hash]
            .into_iter()
            .find(|known| known.to_string() == strategy)
            .ok_or_else(|| lines.damaged("strategy"))?;
        let hits = lines.value("hits")?;
        let hits = parse_hits(hits).ok_or_else(|| lines.damaged("hits"))?;
        let base = lines.value("base")? == "yes";
        let mut interfaces = BTreeMap::new();
        while let Some(value) = lines.optional("interface") {
            let (index, name) = value.split_once(' ').ok_or_else(|| lines.damaged("interface"))?;
            let name = name.parse().map_err(|_| lines.damaged("interface"))?;
            interfaces.insert(name, index.parse().map_err(|_| lines.damaged("interface"))?);
        }
        let mut labels = BTreeSet::new();
        while let Some(value) = lines.optional("label") {
            labels.insert(value.parse().map_err(|_| lines.damaged("label"))?);
        }
        let mut origins = Vec::new();
        while let Some(value) = lines.optional("origin") {
            let (kind, name) = value.split_once(' ').ok_or_else(|| lines.damaged("origin"))?;
            origins.push((kind == "file", Arc::<str>::from(unescape(name))));
        }
        let count: usize = lines.number("bindings")?;
        let mut entries = Vec::with_capacity(count.min(text.len() / 16));
        let mut reader = CanonicalReader::default();
        for _ in 0..count {
            entries.push(lines.binding(&origins, &mut reader)?);
        }
        let policy = Policy::new(entries).map_err(|_| lines.damaged("bindings without a conflict"))?;
        Ok(Record {
            layout,
            writer,
            parent,
            time,
            strategy,
            why: unescape(why),
            hits,
            base,
            interfaces,
            labels,
            policy,
        })
    }
}

fn parse_hits(value: &str) -> Option<HitsLayout> {
    match value.split_once(' ') {
        None if value == "percpu" => Some(HitsLayout::PerCpu),
        Some(("shards", shards)) => shards.parse().ok().map(HitsLayout::Shards),
        _ => None,
    }
}

/// `pid:start:pid namespace`; who wrote layout 1 said no namespace.
fn parse_owner(value: &str) -> Option<Owner> {
    let (pid, rest) = value.split_once(':')?;
    let (start, pid_namespace) = match rest.split_once(':') {
        Some((start, inode)) => (start, Some(inode.parse().ok()?)),
        None => (rest, None),
    };
    Some(Owner { pid: pid.parse().ok()?, start: start.parse().ok()?, pid_namespace })
}

/// Whether an origin is a file, and its name.
type OriginKey<'a> = (bool, &'a str);

fn origin_key(origin: &Origin) -> OriginKey<'_> {
    match origin {
        Origin::File { path, .. } => (true, path),
        Origin::Command(command) => (false, command),
    }
}

/// Undoes `str::escape_default`; what is no escape stays as it is.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut chars = rest.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let digits = rest[1..].strip_prefix('{').and_then(|hex| hex.split_once('}'));
                let char = digits.and_then(|(hex, _)| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
                let (Some(char), Some((_, after))) = (char, digits) else {
                    out.push('\\');
                    continue;
                };
                out.push(char);
                rest = after;
                continue;
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// The lines of a record, each with its keyword.
struct Lines<'a> {
    lines: Enumerate<std::str::Lines<'a>>,
    /// Number of the line read last, from 1.
    line: usize,
    /// A line that was looked at and not taken.
    ahead: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        Lines { lines: text.lines().enumerate(), line: 0, ahead: None }
    }

    /// The layout of the text, if it is one that we know.
    fn layout(&mut self) -> Result<u32, RecordError> {
        let version = self.number("sklookup-state")?;
        if version > STATE_VERSION { Err(RecordError::Newer { version }) } else { Ok(version) }
    }

    fn damaged(&self, expected: &'static str) -> RecordError {
        RecordError::Damaged { line: self.line, expected }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.ahead.take().or_else(|| {
            let (index, line) = self.lines.next()?;
            self.line = index + 1;
            Some(line)
        })
    }

    fn optional(&mut self, keyword: &'static str) -> Option<&'a str> {
        let line = self.next()?;
        let value = line.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' '));
        if value.is_none() {
            self.ahead = Some(line);
        }
        value
    }

    fn value(&mut self, keyword: &'static str) -> Result<&'a str, RecordError> {
        self.optional(keyword).ok_or_else(|| self.damaged(keyword))
    }

    fn number<T: std::str::FromStr>(&mut self, keyword: &'static str) -> Result<T, RecordError> {
        self.value(keyword)?.parse().map_err(|_| self.damaged(keyword))
    }

    fn binding(&mut self, origins: &[(bool, Arc<str>)], reader: &mut CanonicalReader) -> Result<Entry, RecordError> {
        const EXPECTED: &str = "a binding, its origin and its owner";
        let line = self.next().ok_or_else(|| self.damaged(EXPECTED))?;
        let damaged = || RecordError::Damaged { line: self.line, expected: EXPECTED };
        let mut columns = line.split('\t');
        let (Some(text), Some(origin), Some(owner), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(damaged());
        };
        let (origin, line) = origin.split_once(':').ok_or_else(damaged)?;
        let (file, name) = origins.get(origin.parse::<usize>().map_err(|_| damaged())?).ok_or_else(damaged)?;
        let origin = if *file {
            Origin::File { path: name.clone(), line: line.parse().map_err(|_| damaged())? }
        } else {
            Origin::Command(name.clone())
        };
        let owner = match owner {
            "-" => None,
            owner => Some(parse_owner(owner).ok_or_else(damaged)?),
        };
        let binding = reader.read(text).ok_or_else(damaged)?;
        Ok(Entry { binding, origin, owner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::parse_binding;

    fn record() -> Record {
        let file = |line| Origin::File { path: "odd \t name\n.toml".into(), line };
        let mut entries = parse_binding("web tcp 192.0.2.0/24 80,443", file(7)).unwrap();
        entries.extend(parse_binding("pass tcp 2001:db8::/48 from 2001:db8:1::/48 dev eth0", file(9)).unwrap());
        let mut mine =
            parse_binding("run:1 udp 127.0.0.0/8 when-empty pass", Origin::Command("sklookup run".into())).unwrap();
        mine[0].owner = Some(Owner { pid: 77, start: 123_456, pid_namespace: Some(4_026_531_836) });
        entries.extend(mine);
        let mut old =
            parse_binding("run:2 udp 127.1.0.0/16 when-empty pass", Origin::Command("sklookup run".into())).unwrap();
        old[0].owner = Some(Owner { pid: 78, start: 123_456, pid_namespace: None });
        entries.extend(old);
        Record {
            layout: STATE_VERSION,
            writer: "0.1.0".to_owned(),
            parent: 812,
            time: 1_795_296_000,
            strategy: Strategy::Branches,
            why: "few \\ bindings".to_owned(),
            hits: HitsLayout::Shards(4),
            base: true,
            interfaces: BTreeMap::from([("eth0".parse().unwrap(), 3)]),
            labels: ["web", "spare", "run:1"].iter().map(|label| label.parse().unwrap()).collect(),
            policy: Policy::new(entries).unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_with_origins_and_owners() {
        let record = record();
        assert_eq!(Record::parse(&record.to_text()), Ok(record));
    }

    #[test]
    fn a_newer_layout_is_told_apart_from_damage() {
        assert_eq!(Record::parse("sklookup-state 9\nwhatever"), Err(RecordError::Newer { version: 9 }));
        assert!(matches!(Record::parse("noise"), Err(RecordError::Damaged { line: 1, .. })));
    }

    #[test]
    fn what_layout_1_wrote_is_read_and_written_again_as_this_one() {
        let old = include_str!("../../../testdata/state/layout-1.txt");
        let read = Record::parse(old).unwrap();
        assert_eq!((read.layout, read.policy.len(), read.parent), (1, 9, 59184));
        let owners: Vec<Owner> = read.policy.entries().iter().filter_map(|entry| entry.owner).collect();
        assert_eq!(owners, [Owner { pid: 8278, start: 1_194_932, pid_namespace: None }]);
        let (version, rest) = old.split_once('\n').unwrap();
        assert_eq!((version, read.to_text()), ("sklookup-state 1", format!("sklookup-state {STATE_VERSION}\n{rest}")));
    }

    #[test]
    fn a_record_cut_anywhere_is_damage_and_never_a_smaller_policy() {
        let text = record().to_text();
        for cut in (0..text.trim_end().len()).filter(|&cut| text.is_char_boundary(cut)) {
            // Cutting the owner's start time leaves a well-formed line: the map's length says where the text ends.
            if let Ok(read) = Record::parse(&text[..cut]) {
                assert_eq!(read.policy.entries().len(), 5, "cut at {cut}");
            }
        }
    }

    #[test]
    fn equal_policies_have_equal_digests_whatever_their_origins() {
        let a = Policy::new(parse_binding("web tcp 192.0.2.0/24 80", Origin::Command("a".into())).unwrap()).unwrap();
        let b = Policy::new(parse_binding("web tcp 192.0.2.0/24 80", Origin::Command("b".into())).unwrap()).unwrap();
        let c = Policy::new(parse_binding("web tcp 192.0.2.0/24 81", Origin::Command("b".into())).unwrap()).unwrap();
        assert_eq!(digest(&a), digest(&b));
        assert_ne!(digest(&a), digest(&c));
        assert_eq!(digest(&a).len(), 64);
    }
}
