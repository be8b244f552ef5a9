//! What the kernel wrote about a program that it refused: the end is shown, where the reason stands, and all of it kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sklookup_kernel::{Errno, LoadError};

use crate::output::Said;

/// Whether it was the verifier that refused: out of memory or of rights, a log has nothing to tell.
pub fn is_refusal(error: &LoadError) -> bool {
    matches!(error.errno(), Errno::ACCESS | Errno::INVAL | Errno::TOOBIG) && error.log().lines().count() > 1
}

/// The refusal with the end of its log, and where the whole log is kept.
pub fn refusal(error: &LoadError) -> Said {
    let mut said = refusal_of_others(error);
    let help = said.help.get_or_insert_default();
    help.push_str("\nsklookup should load no such program: please report it with that log");
    said
}

/// The same of a program that is not ours.
pub fn refusal_of_others(error: &LoadError) -> Said {
    refusal_kept_in(error, &std::env::temp_dir())
}

fn refusal_kept_in(error: &LoadError, directory: &Path) -> Said {
    let kept = match keep(error.log(), directory) {
        Ok(path) => format!("the whole log of the verifier: {}", path.display()),
        Err(error) => format!("the whole log of the verifier could not be kept in {}: {error}", directory.display()),
    };
    Said::with_help(error.to_string(), format!("{}\n{kept}", error.tail()))
}

/// Writes a log into a file that is new, so that nothing is overwritten and no link followed, and that only we can read: it
/// tells what is steered where.
fn keep(log: &str, directory: &Path) -> io::Result<PathBuf> {
    const TRIES: u32 = 1000;
    for number in 0..TRIES {
        let path = directory.join(format!("sklookup-verifier-{}-{number}.log", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                return match file.write_all(log.as_bytes()) {
                    Ok(()) => Ok(path),
                    Err(error) => {
                        // Half a log is none, and takes the room that was wanting.
                        let _ = fs::remove_file(&path);
                        Err(error)
                    }
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn refused() -> LoadError {
        let lines: String = (0..1000).map(|n| format!("{n}: (b7) r0 = {n}\n")).collect();
        LoadError::new("sklookup_hash", Errno::ACCESS, format!("{lines}R0 !read_ok\u{1b}[2J\nprocessed 1000 insns\n"))
    }

    /// A directory of this test's own.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sklookup-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn the_end_of_a_log_is_shown_and_all_of_it_kept_for_us_alone() {
        assert!(is_refusal(&refused()));
        assert!(!is_refusal(&LoadError::new("x", Errno::NOMEM, "processed 3 insns\nmore\n")));
        let directory = directory("kept");
        let said = refusal_kept_in(&refused(), &directory);
        let help = said.help.clone().unwrap();
        let path = help.lines().find_map(|line| line.strip_prefix("the whole log of the verifier: ")).unwrap();
        assert!(help.starts_with("993: (b7) r0 = 993\n") && help.contains("R0 !read_ok"), "{help}");
        assert_eq!(fs::read_to_string(path).unwrap(), refused().log());
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
        let mut shown = Vec::new();
        said.print(&mut shown).unwrap();
        assert!(!String::from_utf8(shown).unwrap().contains('\u{1b}'));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_stands_where_a_log_would_go_is_neither_followed_nor_overwritten() {
        let directory = directory("planted");
        let (target, planted) =
            (directory.join("target"), directory.join(format!("sklookup-verifier-{}-0.log", std::process::id())));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &planted).unwrap();
        let path = keep("log", &directory).unwrap();
        assert_ne!(path, planted);
        assert_eq!(
            (fs::read_to_string(&target).unwrap(), fs::read_to_string(path).unwrap()),
            ("theirs".into(), "log".into())
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_log_that_can_not_be_kept_is_said() {
        let said = refusal_kept_in(&refused(), Path::new("/no/such/directory"));
        assert!(said.help.unwrap().contains("could not be kept in /no/such/directory: No such file"));
    }
}
