//! Where programs and links are pinned, whoever did it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sklookup_kernel::bpffs::{self, Kind};
use sklookup_kernel::{Link, Object, Program};

/// How many names of a bpffs are looked at.
const MOST: usize = 10_000;

/// Pins of programs and links below a directory.
#[derive(Debug, Default)]
pub(super) struct Pins {
    by_object: BTreeMap<Object, Vec<PathBuf>>,
    /// Whether there were more names than are looked at, or some that may not be.
    pub(super) incomplete: bool,
}

impl Pins {
    /// Looks through a bpffs; not below `skipped`, which has nothing but what is known.
    pub(super) fn below(bpffs: &Path, skipped: &Path) -> Pins {
        let mut pins = Pins::default();
        let mut next = vec![bpffs.to_owned()];
        let mut looked = 0;
        while let Some(dir) = next.pop() {
            let Ok(names) = bpffs::open_dir(&dir).and_then(|fd| bpffs::list(fd.as_fd())) else {
                pins.incomplete = true;
                continue;
            };
            for path in names.into_iter().map(|name| dir.join(name)).filter(|path| path != skipped) {
                looked += 1;
                if looked > MOST {
                    pins.incomplete = true;
                    return pins;
                }
                match bpffs::status(&path).map(|status| status.kind) {
                    Ok(Kind::Directory) => next.push(path),
                    Ok(Kind::File) => pins.look(path),
                    _ => {}
                }
            }
        }
        pins
    }

    /// The pins of an object.
    pub(super) fn of(&self, object: Object) -> &[PathBuf] {
        self.by_object.get(&object).map_or(&[], Vec::as_slice)
    }

    fn look(&mut self, path: PathBuf) {
        let object = match Program::open_read_only(&path) {
            Ok(program) => Object::Program(program.id()),
            Err(_) => match Link::open(&path).and_then(|link| link.info()) {
                Ok(info) => Object::Link(info.id),
                // A map, or what may not be opened.
                Err(_) => return,
            },
        };
        self.by_object.entry(object).or_default().push(path);
    }
}
