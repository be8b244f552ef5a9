//! Policies that were in effect before the last one: `<name>.1.toml` is the one before it, higher numbers are older.

use sklookup_kernel::disk::{Directory, DiskError};

use super::Name;

/// How many are kept of a namespace.
pub const EARLIER: usize = 9;

/// The most bytes that they take together; the newest is kept whatever its length.
const MAX_BYTES: u64 = 64 << 20;

/// The file of the policy after which so many came.
pub(super) fn file(name: &Name, number: usize) -> String {
    if number == 0 { name.file() } else { name.earlier_file(number) }
}

/// Keeps the page of this name, which is about to be replaced, as the newest of the earlier ones.
///
/// By a second name for the same file, so that at every moment the last page is there. Who dies on the way leaves a number
/// without a file, which the next one fills, or the last page under both its names.
pub(super) fn add(dir: &Directory, name: &Name) -> Result<(), DiskError> {
    let files: Vec<String> = (1..=EARLIER).map(|number| file(name, number)).collect();
    let last = dir.look(&name.file())?;
    if dir.look(&files[0])?.is_some_and(|newest| last.is_some_and(|last| last.inode == newest.inode)) {
        return Ok(());
    }
    let mut free = 0;
    while free < files.len() - 1 && dir.look(&files[free])?.is_some() {
        free += 1;
    }
    for number in (0..free).rev() {
        dir.rename(&files[number], &files[number + 1])?;
    }
    dir.link(&name.file(), &files[0])?;
    bound(dir, &files)
}

/// Removes the oldest while there is too much.
fn bound(dir: &Directory, files: &[String]) -> Result<(), DiskError> {
    let mut bytes = 0u64;
    for (number, file) in files.iter().enumerate() {
        let Some(look) = dir.look(file)? else { continue };
        bytes = bytes.saturating_add(look.bytes);
        if number > 0 && bytes > MAX_BYTES {
            dir.remove(file)?;
        }
    }
    Ok(())
}
