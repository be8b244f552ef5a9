//! It runs as root: what another user could have written is refused by name, and left as it is.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::sklookup;
use crate::world::{PAGE, applied, bind, done, kept, name, page};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("what_another_user_could_have_written_is_refused_by_name", untrusted),
        kernel_trial("what_is_planted_where_we_write_is_not_followed", planted),
        kernel_trial("what_is_no_page_of_ours_is_not_applied_as_one", not_ours),
        kernel_trial("a_directory_below_one_of_another_user_is_refused", below),
    ]
}

fn set_mode(path: &str, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn untrusted(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let before = page();
    let dir = "/var/lib/sklookup";
    type Change = fn(&str);
    let cases: [(&str, Change, Change, &str); 4] = [
        (dir, |dir| set_mode(dir, 0o777), |dir| set_mode(dir, 0o700), "mode 0777: others may write to it"),
        (
            dir,
            |dir| chown(dir, Some(1000), None).unwrap(),
            |dir| chown(dir, Some(0), None).unwrap(),
            "owned by user 1000",
        ),
        (PAGE, |page| set_mode(page, 0o620), |page| set_mode(page, 0o600), "mode 0620: others may write to it"),
        (
            PAGE,
            |page| chown(page, Some(1000), None).unwrap(),
            |page| chown(page, Some(0), None).unwrap(),
            "owned by user 1000",
        ),
    ];
    for (number, (path, spoil, mend, why)) in cases.into_iter().enumerate() {
        spoil(path);
        let bound = sklookup(&["bind", "web", "tcp", "127.7.0.0/16", &(100 + number).to_string()]);
        assert!(bound.exit == 0 && bound.stderr.contains("not kept"), "{bound:?}");
        let last = sklookup(&["apply", "--last"]);
        assert_eq!(last.exit, 2, "{last:?}");
        for ran in [&bound, &last] {
            assert!(ran.stderr.contains(&format!("{path}: {why}")), "{ran:?}");
        }
        assert_eq!(page(), before);
        mend(path);
    }
    bind("web tcp 127.7.0.0/16 200");
    assert_eq!(kept(), applied());
}

fn planted(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let victim = sandbox.scratch.join("victim");
    std::fs::write(&victim, "precious").unwrap();
    // Left by who was killed, or planted: it is not written through.
    symlink(&victim, "/var/lib/sklookup/.netns-blue.toml.new").unwrap();
    bind("web tcp 127.7.0.0/16 81");
    assert_eq!(kept(), applied());
    std::fs::remove_file(PAGE).unwrap();
    symlink(&victim, PAGE).unwrap();
    let ran = sklookup(&["bind", "web", "tcp", "127.7.0.0/16", "82"]);
    assert!(ran.exit == 0 && ran.stderr.contains(&format!("{PAGE}: a symlink")), "{ran:?}");
    assert_eq!(sklookup(&["apply", "--last"]).exit, 2);
    std::fs::remove_file(PAGE).unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, PAGE, rustix::fs::FileType::Fifo, fifo, 0).unwrap();
    let ran = sklookup(&["apply", "--last"]);
    assert!(ran.exit == 2 && ran.stderr.contains(&format!("{PAGE}: not a file")), "{ran:?}");
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
}

fn not_ours(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let text = page();
    for (spoiled, why) in [
        (text.replace("# sklookup-last 1", "# sklookup-last 9"), "written by a newer sklookup"),
        (kept(), "not written by sklookup"),
        (String::new(), "not written by sklookup"),
        (text.replace("# state    applied", "# state    odd"), "do not say its state"),
        (text.replace("web tcp 127", "web xyz 127"), "netns-blue.toml:13: "),
    ] {
        std::fs::write(PAGE, spoiled).unwrap();
        let ran = sklookup(&["apply", "--last"]);
        assert!(ran.exit == 2 && ran.stderr.contains(why), "{why}: {ran:?}");
    }
    // Our own place all the same: the next change writes a page.
    bind("web tcp 127.7.0.0/16 81");
    assert_eq!(kept(), applied());
    std::fs::File::create(PAGE).unwrap().set_len(300 << 20).unwrap();
    let ran = sklookup(&["apply", "--last"]);
    assert!(ran.exit == 2 && ran.stderr.contains("longer than"), "{ran:?}");
}

fn below(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let above = sandbox.scratch.join("of-another");
    let dir = above.join("kept");
    std::fs::create_dir_all(&dir).unwrap();
    chown(&above, Some(1000), None).unwrap();
    let ran = sklookup(&["--state-dir", dir.to_str().unwrap(), "bind", "web", "tcp", "127.7.0.0/16", "80"]);
    assert!(ran.exit == 0 && ran.stderr.contains("of-another: owned by user 1000"), "{ran:?}");
    // Anybody may write to /tmp, and nobody may rename there what is not his.
    chown(&above, Some(0), None).unwrap();
    set_mode(above.to_str().unwrap(), 0o1777);
    done(&["--state-dir", dir.to_str().unwrap(), "bind", "web", "tcp", "127.7.0.0/16", "80"]);
    assert!(Path::new(&dir).join("netns-blue.toml").exists());
}
