//! `rollback`: what was in effect before is listed, and is in effect again.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::Value;
use sklookup_testbed::{Fault, Sandbox, Trial, kernel_trial};

use crate::command::{Ran, command, document, sklookup};
use crate::services::{REFUSED, Server, reached};
use crate::trouble::{EDIT, UNDO, calls_on_disk, fill};
use crate::world::{PAGE, applied, bind, done, earlier, fate, kept, name, names, page, policy};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("what_was_in_effect_is_listed_with_time_user_digest_and_command", listed),
        kernel_trial("back_and_forth_traffic_follows_and_registered_sockets_stay", there_and_back),
        kernel_trial("a_dry_run_and_a_refused_rollback_change_nothing", nothing_changed),
        kernel_trial("where_nothing_was_in_effect_before_there_is_nothing_to_go_back_to", nothing),
        kernel_trial("nine_earlier_policies_are_kept_and_less_where_they_are_long", bounded),
        kernel_trial("what_was_taken_away_can_be_gone_back_to", taken_away),
        kernel_trial("killed_at_any_call_no_policy_is_lost", killed),
        kernel_trial("where_a_file_can_have_one_name_only_the_last_policy_is_kept_all_the_same", no_links),
        kernel_trial("what_another_could_have_written_and_what_was_changed_is_not_gone_back_to", hostile),
        kernel_trial("of_two_at_once_the_page_is_what_is_in_effect_in_the_end", at_once),
    ]
}

fn file(number: usize) -> String {
    PAGE.replace(".toml", &format!(".{number}.toml"))
}

/// The kept policies, the last one first.
fn policies() -> Vec<Value> {
    let (exit, answer) = document(&["rollback"]);
    let policies = answer["policies"].as_array().unwrap().clone();
    assert_eq!(exit, i32::from(policies.len() < 2), "{answer}");
    policies
}

/// The bindings that are kept under a number.
fn bindings(number: usize) -> Vec<String> {
    let text = std::fs::read_to_string(if number == 0 { PAGE.to_owned() } else { file(number) }).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix("  \"")?.trim_end_matches("\",").to_owned())).collect()
}

fn listed(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let both = policy(sandbox, &["web tcp 127.7.0.0/16 80", "dns udp 127.7.0.53 53"]);
    done(&["apply", &both]);
    let digest = document(&["status"]).1["policy"]["digest"].clone();
    bind("pass tcp 127.7.0.1 22");
    let before = std::fs::metadata(PAGE).unwrap();
    done(&["unbind", "dns", "udp", "127.7.0.53", "53"]);

    let policies = policies();
    let fields = |key: &str| policies.iter().map(|policy| policy[key].clone()).collect::<Vec<Value>>();
    assert_eq!(fields("number"), [0, 1, 2]);
    assert_eq!(fields("bindings"), [2, 3, 2]);
    assert_eq!(fields("file"), [PAGE.to_owned(), file(1), file(2)]);
    assert_eq!(policies[2]["digest"], digest);
    assert_eq!(policies[2]["command"], format!("sklookup apply {both}"));
    assert!(policies.iter().all(|policy| policy["user"]["uid"] == 0 && policy["state"] == "applied"), "{policies:?}");
    assert!(policies[2]["time"].as_u64() <= policies[0]["time"].as_u64(), "{policies:?}");
    // It is the file that it was, with the time that it had.
    assert_eq!(std::fs::metadata(file(1)).unwrap().ino(), before.ino());

    let ran = done(&["rollback"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("last  ") && lines[0].ends_with("sklookup unbind dns udp 127.7.0.53 53"), "{ran:?}");
    assert!(lines[1].starts_with("1     20") && lines[1].contains(" UTC  3 bindings    sha256 "), "{ran:?}");
    assert!(lines[2].starts_with("2     20") && lines[2].contains(&digest.as_str().unwrap()[..16]), "{ran:?}");
}

fn there_and_back(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let first = policy(sandbox, &["web tcp 127.7.0.0/16 80", "old tcp 127.7.0.0/16 81"]);
    done(&["apply", &first]);
    let before = applied();
    let (web, old) = (Server::registered("web", "tcp 127.0.0.1:0"), Server::registered("old", "tcp 127.0.0.1:0"));
    done(&["apply", &policy(sandbox, &["web tcp 127.8.0.0/16 80", "web tcp 127.8.0.0/16 81"]), "--allow", "shrink"]);
    let after = applied();
    let reached = |packet: &str| reached(&[&web, &old], packet);

    let ran = done(&["rollback", "1", "--allow", "shrink"]);
    assert!(ran.stdout.contains("2 added, 2 removed, 0 changed; 2 bindings applied\n"), "{ran:?}");
    assert!(ran.stdout.lines().last().unwrap().starts_with("number 1 was put into effect 20"), "{ran:?}");
    assert_eq!((applied(), kept()), (before.clone(), before.clone()));
    assert_eq!(reached("tcp 127.0.0.1 > 127.7.1.2:80"), "web");
    // A label that went is another one when it comes back: unless its socket kept it.
    assert_eq!(reached("tcp 127.0.0.1 > 127.7.1.2:81"), "old");
    assert_eq!(reached("tcp 127.0.0.1 > 127.8.1.2:80"), REFUSED);
    assert!(done(&["list"]).stdout.contains("# `sklookup rollback 1 --allow shrink`"));

    done(&["rollback", "1", "--allow", "shrink"]);
    assert_eq!((applied(), kept()), (after.clone(), after));
    assert_eq!(reached("tcp 127.0.0.1 > 127.8.1.2:81"), "web");
    // The numbers have moved on: 1 is what was in effect until now, and 2 what is.
    assert!(done(&["rollback", "2"]).stdout.starts_with("nothing to change; 2 bindings applied\n"));
    assert_eq!(earlier(), [1, 2, 3]);
}

fn nothing_changed(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let wide = policy(sandbox, &["web tcp 127.8.0.0/16 80", "a tcp 127.8.0.0/16 81", "b tcp 127.8.0.0/16 82"]);
    done(&["apply", &wide, "--allow", "shrink"]);
    let (before, kept) = (applied(), policies());
    let ran = sklookup(&["rollback", "1"]);
    assert!(ran.exit == 1 && ran.stderr.contains("refused (shrink): 3 of 3 applied bindings would go"), "{ran:?}");
    let ran = done(&["rollback", "1", "--dry-run", "--allow", "shrink"]);
    assert!(ran.stdout.contains("1 added, 3 removed, 0 changed; nothing was changed (--dry-run)\n"), "{ran:?}");
    for (wrong, why) in [
        (&["rollback", "--dry-run"][..], "no number is given"),
        (&["rollback", "0"], "numbers from 1 to 9"),
        (&["rollback", "10"], "numbers from 1 to 9"),
        (&["rollback", "x"], "numbers from 1 to 9"),
    ] {
        let ran = sklookup(wrong);
        assert!(ran.exit == 2 && ran.stderr.contains(why), "{wrong:?}: {ran:?}");
    }
    assert_eq!((applied(), policies()), (before, kept));
}

fn nothing(sandbox: &Sandbox) {
    let ran = sklookup(&["rollback"]);
    assert!(ran.exit == 2 && ran.stderr.contains("has no name that means it after a reboot"), "{ran:?}");
    name(&sandbox.netns);
    for step in [&["rollback"][..], &["rollback", "1"]] {
        let ran = sklookup(step);
        assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""), "{ran:?}");
    }
    assert!(!Path::new("/var/lib/sklookup").exists(), "looking makes nothing");
    bind("web tcp 127.7.0.0/16 80");
    let ran = sklookup(&["rollback"]);
    assert!(ran.exit == 1 && ran.stdout.lines().count() == 1, "{ran:?}");
    assert!(ran.stderr.contains("nothing was in effect in network namespace blue before"), "{ran:?}");
    let ran = sklookup(&["rollback", "1"]);
    assert!(ran.exit == 1 && ran.stderr.contains("no policy 1 is kept of network namespace blue"), "{ran:?}");
}

fn bounded(sandbox: &Sandbox) {
    name(&sandbox.netns);
    for port in 1..=12 {
        bind(&format!("web tcp 127.7.0.0/16 {port}"));
    }
    assert_eq!(earlier(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!((0..=9).map(|number| bindings(number).len()).collect::<Vec<_>>(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    let mode = std::fs::metadata(file(5)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    // Two of 40 MiB are more than is kept; the newest is, however long.
    let long = |number| std::fs::File::options().write(true).open(file(number)).unwrap().set_len(40 << 20).unwrap();
    long(2);
    long(5);
    bind("web tcp 127.7.0.0/16 13");
    assert_eq!(earlier(), [1, 2, 3, 4, 5]);
    // What is not there is no reason to lose what is older.
    std::fs::remove_file(file(2)).unwrap();
    bind("web tcp 127.7.0.0/16 14");
    assert_eq!(earlier(), [1, 2, 3, 4, 5]);
    assert_eq!((bindings(1).len(), bindings(2).len(), bindings(4).len()), (13, 12, 9));
}

fn taken_away(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let before = applied();
    done(&["unload"]);
    assert_eq!(earlier(), [] as [usize; 0], "it is the last one still");
    bind("other tcp 127.8.0.0/16 80");
    let ran = done(&["rollback"]);
    assert!(ran.stdout.contains("taken away: sklookup unload"), "{ran:?}");
    done(&["rollback", "1", "--allow", "shrink"]);
    assert_eq!((applied(), fate().as_str()), (before, "applied"));
}

fn killed(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    for call in calls_on_disk(sandbox) {
        for fault in [Fault::KillBefore(call.number), Fault::KillAfter(call.number)] {
            let before: Vec<Vec<String>> = (0..=7).map(bindings).collect();
            assert!(!fault.in_command(&mut command(&EDIT)).status().unwrap().success(), "{fault}");
            // Whatever is there can be listed, and gone back to.
            assert!(policies().iter().all(|policy| policy["problem"].is_null()), "{fault}: {:?}", policies());
            let ran = done(&["rollback", &earlier()[0].to_string(), "--dry-run", "--allow", "shrink"]);
            assert!(ran.stdout.contains("was put into effect"), "{fault}: {ran:?}");
            done(&EDIT);
            let after: Vec<Vec<String>> = (1..=8).map(bindings).collect();
            assert_eq!(after, before, "{fault}");
            assert_eq!((kept(), names().len()), (applied(), 1), "{fault}");
            done(&UNDO);
            fill();
        }
    }
}

fn no_links(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let calls = calls_on_disk(sandbox);
    let link = calls.iter().find(|call| call.call == "link").unwrap().number;
    let fault = Fault::FailWith(link, "EPERM");
    let ran: Ran = fault.in_command(&mut command(&EDIT)).output().unwrap().into();
    assert!(ran.exit == 0 && ran.stderr.contains("the one before it is not kept to go back to"), "{ran:?}");
    assert!(ran.stderr.contains("(EPERM)"), "{ran:?}");
    assert_eq!((kept(), earlier()), (applied(), (2..=9).collect()));
}

fn hostile(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    bind("web tcp 127.7.0.0/16 81");
    let (one, good) = (file(1), std::fs::read_to_string(file(1)).unwrap());
    let (before, last) = (applied(), page());
    let victim = sandbox.scratch.join("victim");
    std::fs::write(&victim, &good).unwrap();
    type Spoil<'a> = Box<dyn Fn(&str) + 'a>;
    let write = |text: String| -> Spoil<'_> { Box::new(move |file| std::fs::write(file, &text).unwrap()) };
    let cases: [(Spoil<'_>, &str); 8] = [
        (Box::new(|file| symlink(&victim, file).unwrap()), "a symlink"),
        (Box::new(fifo), "not a file"),
        (Box::new(|file| std::fs::create_dir(file).unwrap()), "not a file"),
        (
            Box::new(|file| {
                std::fs::write(file, &good).unwrap();
                chown(file, Some(1000), None).unwrap();
            }),
            "owned by user 1000",
        ),
        (
            Box::new(|file| {
                std::fs::write(file, &good).unwrap();
                std::fs::set_permissions(file, PermissionsExt::from_mode(0o622)).unwrap();
            }),
            "mode 0622: others may write to it",
        ),
        (write(kept()), "not written by sklookup"),
        (write(good.replace("sklookup-last 1", "sklookup-last 2")), "written by a newer sklookup"),
        (write(good.replace("127.7.0.0/16 80", "127.7.0.0/16 8080")), "changed since it was kept"),
    ];
    for (spoil, why) in cases {
        let _ = std::fs::remove_file(&one);
        spoil(&one);
        let ran = sklookup(&["rollback", "1"]);
        assert!(ran.exit == 2 && ran.stderr.contains(&one) && ran.stderr.contains(why), "{why}: {ran:?}");
        let ran = sklookup(&["rollback"]);
        // That it was changed is seen when it is read as a policy.
        assert!(ran.exit == 0 && (why.starts_with("changed") || ran.stdout.contains(why)), "{why}: {ran:?}");
        assert_eq!((applied(), page()), (before.clone(), last.clone()));
        if Path::new(&one).is_dir() {
            std::fs::remove_dir(&one).unwrap();
        }
    }
    // Whatever is there is moved on, and not followed.
    std::fs::remove_file(&one).unwrap();
    symlink(&victim, &one).unwrap();
    bind("web tcp 127.7.0.0/16 82");
    assert_eq!((kept(), std::fs::read_to_string(&victim).unwrap()), (applied(), good));
    assert!(std::fs::symlink_metadata(file(2)).unwrap().is_symlink());
    assert_eq!(bindings(1).len(), 2);
    // In a directory in which another could exchange files none of them is believed.
    chown("/var/lib/sklookup", Some(1000), None).unwrap();
    let ran = sklookup(&["rollback", "1"]);
    assert!(ran.exit == 2 && ran.stderr.contains("/var/lib/sklookup: owned by user 1000"), "{ran:?}");
}

fn fifo(file: &str) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn at_once(sandbox: &Sandbox) {
    name(&sandbox.netns);
    for port in ["80", "81", "82"] {
        bind(&format!("web tcp 127.7.0.0/16 {port}"));
    }
    for round in 0..10 {
        std::thread::scope(|scope| {
            for number in ["1", "2", "1"] {
                scope.spawn(move || done(&["rollback", number, "--allow", "shrink"]));
            }
        });
        assert_eq!(kept(), applied(), "round {round}");
        assert!(policies().iter().all(|policy| policy["problem"].is_null()), "round {round}");
    }
}
