//! bpf(2), one function per command.
//!
//! # Safety
//!
//! The kernel reads and writes memory at addresses that stand as numbers in the attribute block. Functions that take
//! slices and fds fill the block themselves and are safe. Those that move keys and values are `unsafe`: how many bytes
//! the kernel moves follows from the map and not from the call, so it is [`Map`](crate::Map) that has to know.
#![allow(unsafe_code)]

pub(crate) mod attr;
pub(crate) mod ring;

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::door::{self, On};
use crate::error::{Failure, last_errno};

type Result<T> = std::result::Result<T, Failure>;

/// `BPF_SK_LOOKUP`, the attach type.
pub(crate) const ATTACH_SK_LOOKUP: u32 = 36;
/// `BPF_LINK_TYPE_NETNS`.
pub(crate) const LINK_NETNS: u32 = 5;
/// `BPF_F_REPLACE`: update a link only if it runs the expected program.
const REPLACE: u32 = 1 << 2;
/// `BPF_F_RDONLY`: open a pin for reading.
const RDONLY: u32 = 1 << 3;

/// How a pin is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

macro_rules! commands {
    ($($name:ident = $number:literal $call:literal,)*) => {
        /// Commands of bpf(2).
        #[derive(Clone, Copy, Debug)]
        enum Command { $($name = $number),* }

        impl Command {
            fn call(self) -> &'static str {
                match self { $(Command::$name => $call),* }
            }
        }
    };
}

commands! {
    MapCreate = 0 "BPF_MAP_CREATE",
    MapLookup = 1 "BPF_MAP_LOOKUP_ELEM",
    MapUpdate = 2 "BPF_MAP_UPDATE_ELEM",
    MapDelete = 3 "BPF_MAP_DELETE_ELEM",
    MapNextKey = 4 "BPF_MAP_GET_NEXT_KEY",
    ProgLoad = 5 "BPF_PROG_LOAD",
    ObjPin = 6 "BPF_OBJ_PIN",
    ObjGet = 7 "BPF_OBJ_GET",
    ProgTestRun = 10 "BPF_PROG_TEST_RUN",
    ProgGetNextId = 11 "BPF_PROG_GET_NEXT_ID",
    MapGetNextId = 12 "BPF_MAP_GET_NEXT_ID",
    ProgGetFdById = 13 "BPF_PROG_GET_FD_BY_ID",
    MapGetFdById = 14 "BPF_MAP_GET_FD_BY_ID",
    ObjInfo = 15 "BPF_OBJ_GET_INFO_BY_FD",
    ProgQuery = 16 "BPF_PROG_QUERY",
    BtfLoad = 18 "BPF_BTF_LOAD",
    MapLookupAndDelete = 21 "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    MapFreeze = 22 "BPF_MAP_FREEZE",
    MapLookupBatch = 24 "BPF_MAP_LOOKUP_BATCH",
    MapUpdateBatch = 26 "BPF_MAP_UPDATE_BATCH",
    LinkCreate = 28 "BPF_LINK_CREATE",
    LinkUpdate = 29 "BPF_LINK_UPDATE",
    LinkGetFdById = 30 "BPF_LINK_GET_FD_BY_ID",
    LinkGetNextId = 31 "BPF_LINK_GET_NEXT_ID",
    LinkDetach = 34 "BPF_LINK_DETACH",
    ProgBindMap = 35 "BPF_PROG_BIND_MAP",
}

/// Creates a map; `types` has the numbers of its key's and its value's type.
#[doc(alias = "BPF_MAP_CREATE")]
pub(crate) fn map_create(
    mut attr: attr::MapCreate,
    inner: Option<BorrowedFd<'_>>,
    types: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd> {
    attr.inner_map_fd = inner.map_or(0, |fd| fd.as_raw_fd());
    attr.btf_fd = types.map_or(0, |fd| fd.as_raw_fd());
    // SAFETY: the block holds no address, and `BPF_MAP_CREATE` returns a new fd.
    unsafe { bpf_fd(Command::MapCreate, On::Nothing, &mut attr) }
}

/// Reads the value under a key.
///
/// # Safety
/// 1. `key` is as long as the map's keys.
/// 2. `value` is as long as what the kernel writes: the map's value, or for a per-CPU map one value, rounded up to 8
///    bytes, for each possible CPU.
#[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
pub(crate) unsafe fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8], flags: u64) -> Result<()> {
    // SAFETY: the caller's duties are the same.
    unsafe { map_read(Command::MapLookup, map, key, value, flags) }
}

/// Reads the value under a key and deletes it.
///
/// # Safety
/// As [`map_lookup`].
#[doc(alias = "BPF_MAP_LOOKUP_AND_DELETE_ELEM")]
pub(crate) unsafe fn map_take(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8], flags: u64) -> Result<()> {
    // SAFETY: the caller's duties are the same.
    unsafe { map_read(Command::MapLookupAndDelete, map, key, value, flags) }
}

/// # Safety
/// As [`map_lookup`].
unsafe fn map_read(command: Command, map: BorrowedFd<'_>, key: &[u8], value: &mut [u8], flags: u64) -> Result<()> {
    let mut attr = attr::MapElem {
        map_fd: map.as_raw_fd(),
        key: key_address(key),
        value: value.as_mut_ptr().expose_provenance() as u64,
        flags,
        ..Default::default()
    };
    // SAFETY: the kernel reads a key and writes a value, for which there is room by duties 1 and 2.
    unsafe { bpf(command, On::Fd(map), &mut attr) }.map(drop)
}

/// Writes a value under a key; with flags 0 whether there was one or not.
///
/// # Safety
/// 1. `key` is as long as the map's keys.
/// 2. `value` is as long as what [`map_lookup`] says that the kernel moves.
#[doc(alias = "BPF_MAP_UPDATE_ELEM")]
pub(crate) unsafe fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
    let mut attr = attr::MapElem {
        map_fd: map.as_raw_fd(),
        key: key_address(key),
        value: address(value),
        flags,
        ..Default::default()
    };
    // SAFETY: the kernel reads a key and a value, which are long enough by duties 1 and 2.
    unsafe { bpf(Command::MapUpdate, On::Fd(map), &mut attr) }.map(drop)
}

/// Deletes a key.
///
/// # Safety
/// `key` is as long as the map's keys.
#[doc(alias = "BPF_MAP_DELETE_ELEM")]
pub(crate) unsafe fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> Result<()> {
    let mut attr = attr::MapElem { map_fd: map.as_raw_fd(), key: key_address(key), ..Default::default() };
    // SAFETY: the kernel reads a key, which is long enough by the caller's duty.
    unsafe { bpf(Command::MapDelete, On::Fd(map), &mut attr) }.map(drop)
}

/// Writes the key after `key` into `next`, the first one for `None`.
///
/// # Safety
/// `key` and `next` are as long as the map's keys.
#[doc(alias = "BPF_MAP_GET_NEXT_KEY")]
pub(crate) unsafe fn map_next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> Result<()> {
    let mut attr = attr::MapElem {
        map_fd: map.as_raw_fd(),
        key: key.map_or(0, key_address),
        value: next.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    // SAFETY: the kernel reads a key and writes one in the place of a value, for which there is room by the caller's duty.
    unsafe { bpf(Command::MapNextKey, On::Fd(map), &mut attr) }.map(drop)
}

/// Reads up to `keys.len()` entries of a map with 4-byte keys, those after `after`; returns how many, and whether these
/// were the last.
///
/// # Safety
/// 1. The map's keys are 4 bytes.
/// 2. `values` has room for `keys.len()` values as [`map_lookup`] describes them.
#[doc(alias = "BPF_MAP_LOOKUP_BATCH")]
pub(crate) unsafe fn map_lookup_batch(
    map: BorrowedFd<'_>,
    after: &mut Option<u32>,
    keys: &mut [u32],
    values: &mut [u64],
) -> Result<(usize, bool)> {
    let mut last = 0u32;
    let mut attr = attr::MapBatch {
        in_batch: after.as_ref().map_or(0, |key| address(key.as_bytes())),
        out_batch: (&raw mut last).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd(),
        ..Default::default()
    };
    // SAFETY: the kernel reads a key at `in_batch`, writes one at `out_batch` (4 bytes by duty 1), and `count` keys and
    // values at the other two, for which there is room by duty 2.
    let end = match unsafe { bpf(Command::MapLookupBatch, On::Fd(map), &mut attr) } {
        Ok(_) => false,
        Err(failure) if failure.errno == Errno::NOENT => true,
        Err(failure) => return Err(failure),
    };
    *after = Some(last);
    Ok((attr.count as usize, end))
}

/// Writes fds under 4-byte keys: maps into a map of maps.
///
/// A failure comes with the number of entries written before it, which is all of them if the kernel never began.
///
/// # Safety
/// The map's keys and values are 4 bytes.
#[doc(alias = "BPF_MAP_UPDATE_BATCH")]
pub(crate) unsafe fn map_update_batch(
    map: BorrowedFd<'_>,
    keys: &[u32],
    fds: &[i32],
) -> std::result::Result<(), (Failure, usize)> {
    assert_eq!(keys.len(), fds.len(), "one value a key");
    let mut attr = attr::MapBatch {
        keys: address(keys.as_bytes()),
        values: address(fds.as_bytes()),
        count: u32::try_from(keys.len()).expect("callers write a few thousand at a time"),
        map_fd: map.as_raw_fd(),
        ..Default::default()
    };
    // SAFETY: the kernel reads `count` keys and values of 4 bytes each, and both slices have that many.
    match unsafe { bpf(Command::MapUpdateBatch, On::Fd(map), &mut attr) } {
        Ok(_) => Ok(()),
        Err(failure) => Err((failure, attr.count as usize)),
    }
}

/// Ends all writing to a map from user space.
#[doc(alias = "BPF_MAP_FREEZE")]
pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> Result<()> {
    let mut attr = attr::MapFreeze { map_fd: map.as_raw_fd() };
    // SAFETY: the block holds no address.
    unsafe { bpf(Command::MapFreeze, On::Fd(map), &mut attr) }.map(drop)
}

/// What is said about a program's instructions besides what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) types: BorrowedFd<'a>,
    /// Slot and number of the type of each function.
    pub(crate) functions: &'a [[u32; 2]],
    /// Slot, file, text, and line and column of each line.
    pub(crate) lines: &'a [[u32; 4]],
}

/// Loads a program of `insns`, 8 bytes a slot; the verifier writes into `log` where it isn't empty.
#[doc(alias = "BPF_PROG_LOAD")]
pub(crate) fn prog_load(
    mut attr: attr::ProgLoad,
    insns: &[u8],
    about: Option<About<'_>>,
    license: &CStr,
    log: &mut [u8],
) -> Result<OwnedFd> {
    if let Some(about) = about {
        attr.prog_btf_fd = about.types.as_raw_fd();
        attr.func_info_rec_size = size_of::<[u32; 2]>() as u32;
        attr.func_info = address(about.functions.as_bytes());
        attr.func_info_cnt = u32::try_from(about.functions.len()).unwrap_or(u32::MAX);
        attr.line_info_rec_size = size_of::<[u32; 4]>() as u32;
        attr.line_info = address(about.lines.as_bytes());
        attr.line_info_cnt = u32::try_from(about.lines.len()).unwrap_or(u32::MAX);
    }
    attr.insn_cnt = u32::try_from(insns.len() / 8).unwrap_or(u32::MAX);
    attr.insns = address(insns);
    attr.license = address(license.to_bytes_with_nul());
    if !log.is_empty() {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.log_buf = log.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: the kernel reads `insn_cnt` slots, at most as many as there are, as many records of functions and lines as
    // there are, each as long as is said, and a string that ends in zero, writes at most `log_size` bytes, and returns a
    // new fd.
    unsafe { bpf_fd(Command::ProgLoad, On::Nothing, &mut attr) }
}

/// Makes types known to the kernel; it writes into `log` what it thinks of them where that isn't empty.
#[doc(alias = "BPF_BTF_LOAD")]
pub(crate) fn btf_load(types: &[u8], log: &mut [u8]) -> Result<OwnedFd> {
    let mut attr = attr::BtfLoad {
        btf: address(types),
        btf_size: u32::try_from(types.len()).unwrap_or(u32::MAX),
        ..Default::default()
    };
    if !log.is_empty() {
        attr.btf_log_level = 1;
        attr.btf_log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.btf_log_buf = log.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: the kernel reads `btf_size` bytes, writes at most `btf_log_size`, and returns a new fd.
    unsafe { bpf_fd(Command::BtfLoad, On::Nothing, &mut attr) }
}

/// Keeps an object alive under a path.
#[doc(alias = "BPF_OBJ_PIN")]
pub(crate) fn obj_pin(object: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let mut attr =
        attr::ObjPath { pathname: address(path.to_bytes_with_nul()), bpf_fd: object.as_raw_fd(), ..Default::default() };
    // SAFETY: the kernel reads a string that ends in zero.
    unsafe { bpf(Command::ObjPin, path_of(path), &mut attr) }.map(drop)
}

/// Opens what is pinned under a path, of whatever type it is.
#[doc(alias = "BPF_OBJ_GET")]
pub(crate) fn obj_get(path: &CStr, access: Access) -> Result<OwnedFd> {
    let file_flags = match access {
        Access::ReadWrite => 0,
        Access::ReadOnly => RDONLY,
    };
    let mut attr = attr::ObjPath { pathname: address(path.to_bytes_with_nul()), file_flags, ..Default::default() };
    // SAFETY: the kernel reads a string that ends in zero and returns a new fd.
    unsafe { bpf_fd(Command::ObjGet, path_of(path), &mut attr) }
}

/// Runs an sk_lookup program once per repetition on a context; what it leaves there goes to `output`, as far as it fits.
///
/// Returns the verdict and the mean nanoseconds of a run.
#[doc(alias = "BPF_PROG_TEST_RUN")]
pub(crate) fn prog_test_run(
    program: BorrowedFd<'_>,
    input: &[u8],
    output: &mut [u8],
    repeat: u32,
) -> Result<(u32, u32)> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut attr = attr::ProgTestRun {
        prog_fd: program.as_raw_fd(),
        repeat,
        ctx_size_in: size(input),
        ctx_size_out: size(output),
        // Empty slices point nowhere that the kernel should look at: it wants 0 there.
        ctx_in: if input.is_empty() { 0 } else { address(input) },
        ctx_out: if output.is_empty() { 0 } else { output.as_mut_ptr().expose_provenance() as u64 },
        ..Default::default()
    };
    // SAFETY: the kernel reads `ctx_size_in` bytes and writes at most `ctx_size_out`, the lengths of the two.
    unsafe { bpf(Command::ProgTestRun, On::Fd(program), &mut attr) }?;
    Ok((attr.retval, attr.duration))
}

/// Opens a program by its id.
#[doc(alias = "BPF_PROG_GET_FD_BY_ID")]
pub(crate) fn prog_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = attr::ById { id, ..Default::default() };
    // SAFETY: the block holds no address, and the command returns a new fd.
    unsafe { bpf_fd(Command::ProgGetFdById, On::Number("program", id), &mut attr) }
}

/// Opens a map by its id.
#[doc(alias = "BPF_MAP_GET_FD_BY_ID")]
pub(crate) fn map_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = attr::ById { id, ..Default::default() };
    // SAFETY: the block holds no address, and the command returns a new fd.
    unsafe { bpf_fd(Command::MapGetFdById, On::Number("map", id), &mut attr) }
}

/// Opens a link by its id.
#[doc(alias = "BPF_LINK_GET_FD_BY_ID")]
pub(crate) fn link_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = attr::ById { id, ..Default::default() };
    // SAFETY: the block holds no address, and the command returns a new fd.
    unsafe { bpf_fd(Command::LinkGetFdById, On::Number("link", id), &mut attr) }
}

/// The first id after this one that a map has; `None`: there is none.
#[doc(alias = "BPF_MAP_GET_NEXT_ID")]
pub(crate) fn next_map(id: u32) -> Result<Option<u32>> {
    next_id(Command::MapGetNextId, On::Number("map", id), id)
}

/// The first id after this one that a program has; `None`: there is none.
#[doc(alias = "BPF_PROG_GET_NEXT_ID")]
pub(crate) fn next_program(id: u32) -> Result<Option<u32>> {
    next_id(Command::ProgGetNextId, On::Number("program", id), id)
}

/// The first id after this one that a link has; `None`: there is none.
#[doc(alias = "BPF_LINK_GET_NEXT_ID")]
pub(crate) fn next_link(id: u32) -> Result<Option<u32>> {
    next_id(Command::LinkGetNextId, On::Number("link", id), id)
}

fn next_id(command: Command, on: On<'_>, id: u32) -> Result<Option<u32>> {
    let mut attr = attr::ById { id, ..Default::default() };
    // SAFETY: the block holds no address.
    match unsafe { bpf(command, on, &mut attr) } {
        Ok(_) => Ok(Some(attr.next_id)),
        Err(failure) if failure.errno == Errno::NOENT => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Asks a map about itself.
#[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
pub(crate) fn map_info(map: BorrowedFd<'_>) -> Result<attr::MapInfo> {
    let mut info = attr::MapInfo::default();
    // SAFETY: `bpf_map_info` has no address in the part that `attr::MapInfo` covers.
    unsafe { obj_info(map, &mut info) }?;
    Ok(info)
}

/// Asks a program about itself; the ids of its maps go into `map_ids` as far as they fit.
#[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
pub(crate) fn prog_info(program: BorrowedFd<'_>, map_ids: &mut [u32]) -> Result<attr::ProgInfo> {
    let mut info = attr::ProgInfo {
        nr_map_ids: u32::try_from(map_ids.len()).unwrap_or(u32::MAX),
        map_ids: map_ids.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    // SAFETY: of the addresses in `bpf_prog_info` only `map_ids` is set, and `nr_map_ids` is its length; every other
    // length is 0, so the kernel writes nothing there.
    unsafe { obj_info(program, &mut info) }?;
    Ok(info)
}

/// Asks a link about itself.
#[doc(alias = "BPF_OBJ_GET_INFO_BY_FD")]
pub(crate) fn link_info(link: BorrowedFd<'_>) -> Result<attr::LinkInfo> {
    let mut info = attr::LinkInfo::default();
    // SAFETY: the addresses that other link types have in this place are zero, for the struct is; the kernel then
    // writes nothing there.
    unsafe { obj_info(link, &mut info) }?;
    Ok(info)
}

/// Lists the programs attached to a network namespace, as far as they fit; returns how many there are, also with ENOSPC.
#[doc(alias = "BPF_PROG_QUERY")]
pub(crate) fn prog_query(netns: BorrowedFd<'_>, ids: &mut [u32]) -> (Result<()>, usize) {
    let mut attr = attr::ProgQuery {
        target_fd: netns.as_raw_fd(),
        attach_type: ATTACH_SK_LOOKUP,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        ..Default::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` ids, the length of the slice.
    let answer = unsafe { bpf(Command::ProgQuery, On::Fd(netns), &mut attr) }.map(drop);
    (answer, attr.prog_cnt as usize)
}

/// Attaches a program to a network namespace.
#[doc(alias = "BPF_LINK_CREATE")]
pub(crate) fn link_create(program: BorrowedFd<'_>, netns: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attr = attr::LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_fd: netns.as_raw_fd(),
        attach_type: ATTACH_SK_LOOKUP,
        flags: 0,
    };
    // SAFETY: the block holds no address, and the command returns a new fd.
    unsafe { bpf_fd(Command::LinkCreate, On::Fd(program), &mut attr) }
}

/// Puts `new` in the place of `expected`, if that is what the link runs; of whatever it runs for `None`.
#[doc(alias = "BPF_LINK_UPDATE")]
pub(crate) fn link_update(link: BorrowedFd<'_>, new: BorrowedFd<'_>, expected: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut attr = attr::LinkUpdate {
        link_fd: link.as_raw_fd(),
        new_prog_fd: new.as_raw_fd(),
        flags: if expected.is_some() { REPLACE } else { 0 },
        old_prog_fd: expected.map_or(0, |old| old.as_raw_fd()),
    };
    // SAFETY: the block holds no address.
    unsafe { bpf(Command::LinkUpdate, On::Fd(link), &mut attr) }.map(drop)
}

/// Ends the effect of a link for good.
#[doc(alias = "BPF_LINK_DETACH")]
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> Result<()> {
    let mut attr = attr::LinkDetach { link_fd: link.as_raw_fd() };
    // SAFETY: the block holds no address.
    unsafe { bpf(Command::LinkDetach, On::Fd(link), &mut attr) }.map(drop)
}

/// Ties the life of a map to a program.
#[doc(alias = "BPF_PROG_BIND_MAP")]
pub(crate) fn prog_bind_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<()> {
    let mut attr = attr::ProgBindMap { prog_fd: program.as_raw_fd(), map_fd: map.as_raw_fd(), flags: 0 };
    // SAFETY: the block holds no address.
    unsafe { bpf(Command::ProgBindMap, On::Fd(program), &mut attr) }.map(drop)
}

/// Fills `info`.
///
/// # Safety
/// Wherever `info` holds an address, there is as much room as the length beside it says.
unsafe fn obj_info<T: FromBytes + IntoBytes>(object: BorrowedFd<'_>, info: &mut T) -> Result<()> {
    let bytes = info.as_mut_bytes();
    let mut attr = attr::ObjInfo {
        bpf_fd: object.as_raw_fd(),
        info_len: u32::try_from(bytes.len()).expect("an info struct is a few hundred bytes"),
        info: bytes.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes, the size of `T`, for which any bytes are a value
    // (`FromBytes`); what it writes elsewhere is the caller's duty.
    unsafe { bpf(Command::ObjInfo, On::Fd(object), &mut attr) }.map(drop)
}

/// A path of a pin, for whoever watches the door.
fn path_of(path: &CStr) -> On<'_> {
    On::Path(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// The address of bytes that the kernel will read.
fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// The address of a key; of a map without keys the kernel wants none.
fn key_address(key: &[u8]) -> u64 {
    if key.is_empty() { 0 } else { address(key) }
}

/// Calls bpf(2) with a command that returns an fd.
///
/// # Safety
/// 1. What [`bpf`] asks for.
/// 2. The command returns a new fd that nothing else owns. (The kernel makes all of them close-on-exec.)
unsafe fn bpf_fd<A: FromBytes + IntoBytes + Immutable>(command: Command, on: On<'_>, attr: &mut A) -> Result<OwnedFd> {
    // SAFETY: duty 1.
    let fd = unsafe { bpf(command, on, attr) }?;
    // SAFETY: duty 2.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls bpf(2).
///
/// # Safety
/// Wherever `attr` holds an address, there is as much to read, or room to write, as the command wants.
unsafe fn bpf<A: FromBytes + IntoBytes + Immutable>(command: Command, on: On<'_>, attr: &mut A) -> Result<i32> {
    let bytes = attr.as_mut_bytes();
    door::through(command.call(), on, || {
        // SAFETY: the kernel reads and writes `attr` within its size; it has no padding (`IntoBytes`) and may hold any
        // bytes afterwards (`FromBytes`). What stands at the addresses in it is the caller's duty.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, bytes.as_mut_ptr(), bytes.len()) };
        if result < 0 {
            return Err(last_errno());
        }
        // An fd or 0: it fits.
        let result = result as i32;
        if matches!(command, Command::MapCreate | Command::ProgLoad | Command::LinkCreate) {
            // SAFETY: these return a new fd, which nobody closes before we return.
            door::made(unsafe { BorrowedFd::borrow_raw(result) });
        }
        Ok(result)
    })
    .map_err(|errno| Failure { call: command.call(), errno })
}
