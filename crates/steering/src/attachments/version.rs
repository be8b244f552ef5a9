//! A version of an attached program: what is pinned of it, and how that goes.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use sklookup_bpf::{MapSpec, MapType, map_kind};
use sklookup_kernel::bpffs::{self, Kind};
use sklookup_kernel::{Collection, Errno, Link, Map, MapInfo, Program, effective_uid};

use super::{About, Seat, names};
use crate::error::Error;
use crate::lock::{self, Attempt};
use crate::state::DIRECTORY_MODE;
use crate::sweep::{gone, names_in};
use crate::trust;

/// Where the version of this program lies.
pub(super) fn path(place: &Path, program: u32) -> PathBuf {
    place.join(format!("{}{program}", names::VERSION))
}

/// Where a map of it is pinned.
pub(super) fn map_pin(place: &Path, program: u32, map: &str) -> Result<PathBuf, Error> {
    let file = bpffs::escape(map).ok_or_else(|| Error::Map {
        map: map.to_owned(),
        found: format!("its name is too long for a file: one has at most {} bytes", bpffs::NAME_MAX),
    })?;
    Ok(path(place, program).join(names::MAPS).join(file))
}

/// Pins a version, all or nothing; answers where.
pub(super) fn pin(place: &Path, loaded: &Collection, program: &Program, about: &About) -> Result<PathBuf, Error> {
    let version = path(place, program.id());
    let pinned = pin_all(place, &version, loaded, program, about);
    if pinned.is_err() {
        remove(&version);
    }
    pinned.map(|()| version)
}

fn pin_all(place: &Path, version: &Path, loaded: &Collection, program: &Program, about: &About) -> Result<(), Error> {
    bpffs::create_dir(version, DIRECTORY_MODE)?;
    let text = Map::create(&MapSpec::table("sklookup_about", about.to_text().into_bytes()))?;
    text.pin(&version.join(names::ABOUT))?;
    bpffs::create_dir(&version.join(names::MAPS), DIRECTORY_MODE)?;
    for (name, map) in loaded.maps() {
        map.pin(&map_pin(place, program.id(), name)?)?;
    }
    Ok(program.pin(&version.join(names::PROGRAM))?)
}

/// What the version of this program says about itself; `None` where it has none: somebody else put it under our link.
pub(super) fn read(place: &Path, program: u32) -> Result<Option<About>, Error> {
    let version = path(place, program);
    if !trust::directory(&version)? {
        return Ok(None);
    }
    let path = version.join(names::ABOUT);
    let damaged = |what: &str| Error::Damaged { path: path.clone(), what: what.to_owned() };
    let text = String::from_utf8(Map::open_read_only(&path)?.value()?).map_err(|_| damaged("not text"))?;
    About::parse(&text).map(Some).map_err(damaged)
}

/// Whether a map that is there can stand for one of an object.
pub(super) fn same_shape(wanted: &MapSpec, found: &MapInfo) -> Result<(), String> {
    let shape = |kind: u32, key: u32, value: u32, entries: u32, flags: u32| {
        let kind = map_kind(kind).map_or_else(|| format!("type {kind}"), |kind| kind.name.to_owned());
        format!("{kind}, {key}-byte keys, {value}-byte values, {entries} entries, flags {flags:#x}")
    };
    let MapSpec { kind, key_size, value_size, max_entries, flags, .. } = wanted;
    let wanted = shape(*kind as u32, *key_size, *value_size, *max_entries, flags.0);
    let found_shape = shape(found.kind, found.key_size, found.value_size, found.max_entries, found.flags);
    if wanted == found_shape {
        return Ok(());
    }
    Err(format!("the object wants {wanted}; map {} (`{}`) is {found_shape}", found.id, found.name))
}

/// Puts a socket in its place in a map.
pub(super) fn seat(loaded: &Collection, seat: &Seat<'_>) -> Result<(), Error> {
    let wrong = |found: String| Error::Map { map: seat.map.to_owned(), found };
    let map = loaded.map(seat.map).ok_or_else(|| wrong("the object has none of this name".to_owned()))?;
    let MapInfo { key_size, value_size, max_entries, .. } = *map.info();
    if !map.info().is(MapType::Sockmap) && !map.info().is(MapType::Sockhash) {
        return Err(wrong("it is no map of sockets".to_owned()));
    }
    if key_size != 4 {
        return Err(wrong(format!("its keys have {key_size} bytes; a number has 4")));
    }
    if map.info().is(MapType::Sockmap) && seat.key >= max_entries {
        return Err(wrong(format!("it has {max_entries} slots, from 0 on, and no slot {}", seat.key)));
    }
    let fd = u64::try_from(seat.socket.as_raw_fd()).expect("an open file has a number");
    // It is named by 4 bytes or by 8, as the map was declared.
    let value = if value_size == 4 { (fd as u32).to_ne_bytes().to_vec() } else { fd.to_ne_bytes().to_vec() };
    map.update(&seat.key.to_ne_bytes(), &value, 0).map_err(|error| match error.errno() {
        Errno::TOOBIG => wrong(format!("it takes {max_entries} sockets and no more (E2BIG)")),
        _ => error.into(),
    })
}

/// Removes every version but that of this program.
pub(super) fn sweep(place: &Path, live: Option<u32>) -> Result<(), Error> {
    let live = live.map(|id| path(place, id));
    // Without its own, somebody else has changed the link: who is to mend that may need what is there.
    if live.as_ref().is_some_and(|live| bpffs::status(live).is_err()) {
        return Ok(());
    }
    for file in names_in(place)?.iter().filter(|file| file.starts_with(names::VERSION)) {
        let version = place.join(file);
        if Some(&version) != live.as_ref() {
            remove(&version);
        }
    }
    Ok(())
}

/// Removes what is left under a name once its link is dead. What we did not make stays.
pub(super) fn clear(place: &Path) -> Result<(), Error> {
    sweep(place, None)?;
    // The link last: while it is there, who finds this knows what it is.
    gone(bpffs::unlink(&place.join(names::LINK)))?;
    match bpffs::rmdir(place) {
        Err(error) if matches!(error.errno(), Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        removed => gone(removed),
    }
}

/// Clears away what was attached to a namespace that is no more, if nobody is at work there.
pub(super) fn sweep_dead(dir: &Path) {
    let ours = bpffs::status(dir).is_ok_and(|dir| dir.kind == Kind::Directory && dir.uid == effective_uid());
    if !ours || !matches!(names_in(dir), Ok(names) if names.iter().all(|name| is_dead(&dir.join(name)))) {
        return;
    }
    let Ok(Attempt::Got(_locked)) = lock::attempt(dir) else { return };
    for name in names_in(dir).unwrap_or_default() {
        // The inode may belong to a new namespace, whose first command was faster.
        let place = dir.join(name);
        if is_dead(&place) {
            let _ = clear(&place);
        }
    }
    let _ = bpffs::rmdir(dir);
}

fn is_dead(place: &Path) -> bool {
    match Link::open(&place.join(names::LINK)) {
        Ok(link) => link.info().is_ok_and(|info| info.netns_inode == 0),
        Err(error) => error.errno() == Errno::NOENT,
    }
}

/// Removes a version's directory: what sklookup pins, and nothing else.
pub(super) fn remove(version: &Path) {
    let maps = version.join(names::MAPS);
    for name in names_in(&maps).unwrap_or_default() {
        let _ = bpffs::unlink(&maps.join(name));
    }
    let _ = bpffs::rmdir(&maps);
    for name in [names::PROGRAM, names::ABOUT] {
        let _ = bpffs::unlink(&version.join(name));
    }
    let _ = bpffs::rmdir(version);
}
