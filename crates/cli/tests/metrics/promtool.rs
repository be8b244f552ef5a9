//! What Prometheus itself thinks of it: promtool, of Debian's package prometheus.

use std::io::Write;
use std::process::{Command, Stdio};

use sklookup_testbed::{Completion, Sandbox, Trial, kernel_trial_unless};

use crate::world::{Server, bind, send, udp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial_unless(missing, "promtool::the_metrics_are_as_they_should_be", metrics),
        Trial::ignorable_test("promtool::the_alert_rules_say_what_they_should", || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                rules();
                Ok(Completion::Completed)
            }
        }),
    ]
}

/// Why promtool can't be asked.
fn missing() -> Option<&'static str> {
    let there = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    (!there).then_some("there is no promtool: Debian's package prometheus has it")
}

fn metrics(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    bind("gone udp 127.8.0.0/16 53");
    bind("gone udp ::1 53");
    bind("refuse tcp 127.7.0.0/16 80-90 from 127.0.0.0/8 dev lo");
    let _dns = udp_server("dns");
    send("127.7.0.1:53");
    send("127.8.0.1:53");
    for arguments in [&[][..], &["--max-bindings", "1", "--max-labels", "1"]] {
        let text = Server::new(arguments).scrape();
        let mut promtool = promtool(&["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    }
}

fn rules() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts-test.yml"]] {
        let output = promtool(&arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

fn promtool(arguments: &[&str]) -> Command {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/metrics"));
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    promtool
}
