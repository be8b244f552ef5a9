//! What an attached program is, in its own text beside it.
//!
//! ```text
//! sklookup-attached 1
//! writer 0.1.0
//! time 1795296000
//! uid 0
//! file steer.o
//! sha256 5c1c…
//! program steer
//! map sockets kept
//! map ports pinned /sys/fs/bpf/ports
//! map .rodata own
//! ```

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sklookup_bpf::object::Object;
use sklookup_kernel::effective_uid;

use crate::record::unescape;

/// Version of the text. A newer one is not understood.
const VERSION: u32 = 1;

/// What an attached program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Version of the sklookup that attached it.
    pub writer: String,
    /// When, in seconds since the epoch.
    pub time: u64,
    /// Who did.
    pub uid: u32,
    /// The object file, as it was named.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Name of the program in it.
    pub program: String,
    /// Each map of the object, and which one it became.
    pub maps: Vec<(String, Source)>,
}

/// Which map stands for one of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A new one, as the object declares it.
    Own,
    /// One that somebody pinned.
    Pinned(PathBuf),
    /// The one of this id.
    Id(u32),
    /// That of the program in whose place this one is.
    Kept,
}

impl About {
    /// A program of an object that was read from these bytes; `maps` has those that are not to be new.
    pub fn now(file: &str, bytes: &[u8], object: &Object, program: &str, maps: &[(String, Source)]) -> About {
        let source = |name: &str| {
            let given = maps.iter().find(|(given, _)| given == name);
            given.map_or(Source::Own, |(_, source)| source.clone())
        };
        About {
            writer: env!("CARGO_PKG_VERSION").to_owned(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            uid: effective_uid(),
            file: file.to_owned(),
            sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            program: program.to_owned(),
            maps: object.maps.iter().map(|map| (map.name.clone(), source(&map.name))).collect(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let About { writer, time, uid, file, sha256, program, maps } = self;
        let (file, program) = (file.escape_default(), program.escape_default());
        let mut text = format!(
            "sklookup-attached {VERSION}\nwriter {writer}\ntime {time}\nuid {uid}\nfile {file}\nsha256 {sha256}\n\
             program {program}\n"
        );
        for (name, source) in maps {
            // A name has no space once it is escaped: a path may, and stands last.
            let name = name.escape_default().to_string().replace(' ', "\\u{20}");
            writeln!(text, "map {name} {source}").expect("a String takes all");
        }
        text
    }

    /// Reads it back, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<About, &'static str> {
        let mut lines = text.lines();
        let mut line = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned);
        match line("sklookup-attached").and_then(|version| version.parse::<u32>().ok()) {
            None => return Err("not what sklookup writes about a program"),
            Some(version) if version > VERSION => return Err("written by a newer sklookup"),
            Some(_) => {}
        }
        let mut about = || {
            Some(About {
                writer: line("writer")?,
                time: line("time")?.parse().ok()?,
                uid: line("uid")?.parse().ok()?,
                file: unescape(&line("file")?),
                sha256: line("sha256")?,
                program: unescape(&line("program")?),
                maps: Vec::new(),
            })
        };
        let mut about = about().ok_or("a line is missing or is none that sklookup writes")?;
        for line in lines {
            let map = line.strip_prefix("map ").and_then(|line| line.split_once(' '));
            let map = map.and_then(|(name, source)| Some((unescape(name), Source::parse(source)?)));
            about.maps.push(map.ok_or("a line is none that sklookup writes about a map")?);
        }
        Ok(about)
    }
}

impl Source {
    fn parse(text: &str) -> Option<Source> {
        Some(match text.split_once(' ') {
            None if text == "own" => Source::Own,
            None if text == "kept" => Source::Kept,
            Some(("id", id)) => Source::Id(id.parse().ok()?),
            Some(("pinned", path)) => Source::Pinned(unescape(path).into()),
            _ => return None,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Own => f.write_str("own"),
            Source::Kept => f.write_str("kept"),
            Source::Id(id) => write!(f, "id {id}"),
            Source::Pinned(path) => write!(f, "pinned {}", path.display().to_string().escape_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            writer: "0.1.0".to_owned(),
            time: 1_795_296_000,
            uid: 1000,
            file: "a b\n\u{1b}.o".to_owned(),
            sha256: "5c1c".to_owned(),
            program: "steer".to_owned(),
            maps: vec![
                ("sockets".to_owned(), Source::Kept),
                (".rodata".to_owned(), Source::Own),
                ("a b".to_owned(), Source::Pinned("/sys/fs/bpf/a b".into())),
                ("ids".to_owned(), Source::Id(7)),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_back_one_fact_a_line() {
        let text = about().to_text();
        assert_eq!(text.lines().count(), 11, "{text}");
        assert_eq!(About::parse(&text), Ok(about()));
    }

    #[test]
    fn what_is_no_such_text_says_why() {
        let text = about().to_text();
        assert_eq!(About::parse(""), Err("not what sklookup writes about a program"));
        assert_eq!(About::parse(&text.replace("attached 1", "attached 2")), Err("written by a newer sklookup"));
        assert!(About::parse(&text.replace("uid 1000", "uid x")).is_err());
        assert!(About::parse(&format!("{text}map odd\n")).is_err());
    }
}
