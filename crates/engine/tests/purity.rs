//! The crates that promise to run anywhere depend on nothing of an operating system, and have no unsafe code.

use std::path::Path;
use std::process::Command;

const PURE: [&str; 6] = ["bpf", "policy", "compiler", "vm", "engine", "replay"];

/// What an ordinary dependency must not bring in, at any depth.
const IMPURE: [&str; 6] = ["libc", "rustix", "nix", "linux-raw-sys", "windows-sys", "sklookup-kernel"];

#[test]
fn pure_crates_depend_on_nothing_of_an_operating_system() {
    for name in PURE {
        let package = format!("sklookup-{name}");
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--prefix", "none", "--edges", "normal", "--target", "all"])
            .args(["--package", &package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let listed = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(listed.starts_with(&package), "{}", String::from_utf8_lossy(&tree.stderr));
        let found: Vec<&str> =
            listed.lines().filter_map(|line| line.split(' ').next()).filter(|name| IMPURE.contains(name)).collect();
        assert!(found.is_empty(), "{package} depends on {found:?}");
    }
}

#[test]
fn pure_crates_forbid_unsafe_code() {
    for name in PURE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{}", path.display());
    }
}
