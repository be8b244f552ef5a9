//! A command that can't do what it was asked, and what must hold then.

use sklookup_testbed::Sandbox;
use sklookup_testbed::leftovers::names;

use crate::command::{document, sklookup};

/// Runs a command for people and for machines: it ends with this status, says these facts, and changes nothing.
pub fn refused(sandbox: &Sandbox, exit: i32, arguments: &[&str], facts: &[&str]) {
    // Generations are named by their programs: with the same names, the same programs run.
    let before = names(&sandbox.bpffs);
    let ran = sklookup(arguments);
    assert_eq!((ran.exit, ran.stdout.as_str()), (exit, ""), "{arguments:?}: {ran:?}");
    let (json_exit, document) = document(arguments);
    assert_eq!((json_exit, document["ok"].as_bool()), (exit, Some(false)), "{arguments:?}: {document}");
    let errors = document["errors"].as_array().unwrap();
    let said = |field: &'static str| errors.iter().filter_map(move |error| error[field].as_str());
    let said: Vec<&str> = said("message").chain(said("help")).collect();
    for fact in facts {
        assert!(ran.stderr.contains(fact), "{arguments:?}: {fact}: {}", ran.stderr);
        assert!(said.iter().any(|said| said.contains(fact)), "{arguments:?}: {fact}: {document}");
    }
    assert_eq!(names(&sandbox.bpffs), before, "{arguments:?}");
}

/// Writes a file.
pub fn file(sandbox: &Sandbox, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = sandbox.scratch.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Puts something into effect that must stay as it is.
pub fn something_applied() {
    let ran = sklookup(&["bind", "web", "tcp", "127.7.0.0/16", "80"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
}
