//! `doctor`: whether steering can work here, and what to mend. It tries things out and leaves nothing behind.

mod kernel;
mod machine;

use serde_json::{Value, json};
use sklookup_steering::Status;

use crate::args::{Doctor, Global};
use crate::context::{existing_state, named, netns, read_whole};
use crate::escape::printable;
use crate::output::{Answer, Failure, NO, YES};

pub fn doctor(global: &Global, args: &Doctor) -> Result<Answer, Failure> {
    let file = args.policy.as_deref().map(|file| Ok::<_, Failure>((named(file), read_whole(file)?))).transpose()?;
    let netns = netns(global)?;
    let mut checks = kernel::checks();
    checks.extend(machine::rights());
    checks.push(machine::bpffs(&global.bpffs));
    checks.extend(machine::open_files());
    // Where there is no bpffs, which has been said by now, there is no state either.
    match existing_state(global) {
        Ok(Some(state)) => match state.status() {
            Ok(status) => {
                checks.extend(machine::state(&state, &status));
                checks.extend(file.map(|(name, policy)| machine::file(&status, &policy, &name)));
                checks.extend(machine::kept(global, Some(&state), &status));
            }
            Err(error) => checks.extend(machine::unreadable(&state, &error)),
        },
        Ok(None) | Err(_) => {
            let status = Status::without_steering(&netns);
            checks.push(machine::programs(&status));
            checks.extend(file.map(|(name, policy)| machine::file(&status, &policy, &name)));
            checks.extend(machine::kept(global, None, &status));
        }
    }
    let works = !checks.iter().any(|check| check.result == Verdict::Broken);
    let json = json!({ "works": works, "checks": checks.iter().map(Check::json).collect::<Vec<Value>>() });
    Ok(Answer::yes(text(&checks, works), json).exit(if works { YES } else { NO }))
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Fine,
    /// Steering works, but something is slower, missing or odd.
    Poor,
    /// It could not be seen.
    Unseen,
    /// Steering can't work.
    Broken,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Fine => "fine",
            Verdict::Poor => "poor",
            Verdict::Unseen => "unseen",
            Verdict::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    what: String,
    result: Verdict,
    /// What was found.
    found: String,
    /// The command that mends it, or what else to do.
    mend: Option<String>,
}

impl Check {
    fn new(what: impl Into<String>, result: Verdict, found: impl Into<String>) -> Check {
        Check { what: what.into(), result, found: found.into(), mend: None }
    }

    fn mend(self, mend: impl Into<String>) -> Check {
        Check { mend: Some(mend.into()), ..self }
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "result": self.result.name(), "found": self.found, "mend": self.mend })
    }
}

fn text(checks: &[Check], works: bool) -> String {
    let (whats, results) = (checks.iter().map(|check| check.what.len()), checks.iter().map(|c| c.result.name().len()));
    let (what, result) = (whats.max().unwrap_or(0), results.max().unwrap_or(0));
    let mut text = String::new();
    for check in checks {
        let (name, found) = (check.result.name(), printable(&check.found));
        text.push_str(&format!("{name:result$}  {:what$}  {found}\n", check.what));
        if let Some(mend) = &check.mend {
            text.push_str(&format!("{:result$}  {:what$}    {}\n", "", "", printable(mend)));
        }
    }
    text.push_str(match works {
        true => "\nsteering can work here\n",
        false => "\nsteering can't work here until what is broken is mended\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_followed_by_what_mends_it() {
        let checks = [
            Check::new("kernel", Verdict::Fine, "6.18"),
            Check::new("bpffs", Verdict::Broken, "none\u{7}").mend("mount -t bpf bpf /sys/fs/bpf"),
        ];
        assert_eq!(
            text(&checks, false),
            "fine    kernel  6.18\n\
             broken  bpffs   none\\u{7}\n                  mount -t bpf bpf /sys/fs/bpf\n\
             \nsteering can't work here until what is broken is mended\n"
        );
    }
}
