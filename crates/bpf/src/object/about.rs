//! What `.BTF.ext` says about instructions: the types of functions, the lines of source, and CO-RE relocations.

use std::collections::BTreeMap;

use super::btf::{Btf, word};
use super::error::{ObjectError, Result};

const PLACE: &str = "section .BTF.ext";
const MAGIC: u32 = 0x0001_eb9f; // and version 1, no flags

/// What is said about the instructions of a section, by their offset in bytes.
#[derive(Debug, Default)]
pub(super) struct About {
    /// The number of a function's type, by where it begins.
    pub(super) functions: BTreeMap<u64, u32>,
    /// File, line and column of the source.
    pub(super) lines: BTreeMap<u64, [u32; 3]>,
    /// What has to be relocated against the types of a kernel: the type, and the access as text.
    pub(super) core: BTreeMap<u64, (u32, u32)>,
}

/// What is said about each section, by name.
pub(super) fn parse<'a>(bytes: &[u8], btf: &Btf<'a>) -> Result<BTreeMap<&'a str, About>> {
    let damaged = |what: &str| ObjectError::damaged(PLACE, what);
    let field = |at| word(bytes, at).map(|value| value as usize);
    let header = field(4).filter(|_| word(bytes, 0) == Some(MAGIC));
    let header = header.ok_or_else(|| damaged("it does not begin with its header in the host's byte order"))?;
    let mut sections: BTreeMap<&'a str, About> = BTreeMap::new();
    for (at, least) in [(8, 8), (16, 16), (24, 16)] {
        // A header that ends before says nothing of what would stand there.
        let (Some(offset), Some(length)) = (field(at), field(at + 4)) else { break };
        if length == 0 || at + 8 > header {
            continue;
        }
        let part = header.checked_add(offset).and_then(|start| bytes.get(start..)?.get(..length));
        let mut rest = part.ok_or_else(|| damaged("its records end after the end of the section"))?;
        let size = take(&mut rest).filter(|size| *size >= least && size.is_multiple_of(4));
        let size = size.ok_or_else(|| damaged("its records are too short"))?;
        while !rest.is_empty() {
            let (Some(name), Some(count)) = (take(&mut rest), take(&mut rest)) else {
                return Err(damaged("its records of a section are cut short"));
            };
            let about = sections.entry(btf.string(name)?).or_default();
            let length = u64::from(count) * u64::from(size);
            let records = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
            let (records, others) = records.ok_or_else(|| damaged("it has fewer records than it says"))?;
            rest = others;
            for record in records.chunks_exact(size as usize) {
                let [place, second, third, fourth] = [0, 4, 8, 12].map(|at| word(record, at).unwrap_or_default());
                match at {
                    8 => drop(about.functions.insert(place.into(), second)),
                    16 => drop(about.lines.insert(place.into(), [second, third, fourth])),
                    _ => drop(about.core.insert(place.into(), (second, third))),
                }
            }
        }
    }
    Ok(sections)
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let value = word(bytes, 0)?;
    *bytes = &bytes[4..];
    Some(value)
}
