//! What is kept on disk and is not what is in effect is named by `status` and `doctor`.

use serde_json::Value;
use sklookup_kernel::Link;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{PAGE, bind, done, name, page};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("steering_that_somebody_else_detached_is_missed", detached),
        kernel_trial("a_policy_on_disk_that_is_not_in_effect_is_named", another),
        kernel_trial("what_could_not_be_brought_back_is_named", unreadable),
    ]
}

/// What `status` and `doctor` say of what is kept.
fn told() -> (i32, Option<String>) {
    let (exit, status) = document(&["status"]);
    let warnings = status["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    let kept = warnings.iter().find(|warning| warning["kind"] == "kept");
    let kept = kept.map(|kept| kept["message"].as_str().unwrap().to_owned());
    let (_, doctor) = document(&["doctor"]);
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["what"] == "kept policy");
    assert_eq!(check.map(|check| &check["found"]), kept.clone().map(Value::from).as_ref(), "they agree");
    (exit, kept)
}

fn detached(sandbox: &Sandbox) {
    name(&sandbox.netns);
    assert_eq!(told(), (0, None));
    bind("refuse tcp 127.7.0.0/16 80");
    assert_eq!(told(), (0, None));
    let link = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string()).join("link");
    Link::open(&link).unwrap().detach().unwrap();
    let (exit, kept) = told();
    let kept = kept.unwrap();
    assert!(
        exit == 1 && kept.starts_with("nothing is steered, and nobody took it away") && kept.contains(PAGE),
        "{kept}"
    );
    done(&["apply", "--last"]);
    assert_eq!(told(), (0, None));
    done(&["unload"]);
    assert_eq!(told(), (0, None), "on purpose");
}

fn another(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("refuse tcp 127.7.0.0/16 80");
    let before = page();
    // The disk was full, say, or the machine was cloned.
    bind("refuse tcp 127.7.0.0/16 81");
    std::fs::write(PAGE, &before).unwrap();
    let (exit, kept) = told();
    let kept = kept.unwrap();
    assert!(exit == 1 && kept.contains("another policy is kept") && kept.contains("bind refuse tcp"), "{kept}");
    // A page of an older version names no digest, and is compared all the same.
    let old = before.lines().filter(|line| !line.starts_with("# digest")).map(|line| format!("{line}\n"));
    std::fs::write(PAGE, old.collect::<String>()).unwrap();
    assert_eq!(told().0, 1);
    done(&["upgrade"]);
    assert_eq!(told(), (0, None));
    let current =
        page().lines().filter(|line| !line.starts_with("# digest")).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(PAGE, current).unwrap();
    assert_eq!(told(), (0, None));
    std::fs::write(PAGE, page().replace("# state    applied", "# state    taken-away")).unwrap();
    let kept = told().1.unwrap();
    assert!(kept.contains("says that steering was taken away"), "{kept}");
}

fn unreadable(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("refuse tcp 127.7.0.0/16 80");
    std::fs::write(PAGE, "nonsense").unwrap();
    let (exit, kept) = told();
    assert!(exit == 1 && kept.as_ref().unwrap().contains("not written by sklookup"), "{kept:?}");
    assert_eq!(sklookup(&["export"]).exit, 0);
    bind("refuse tcp 127.7.0.0/16 81");
    assert_eq!(told(), (0, None));
}
