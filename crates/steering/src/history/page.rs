//! A page of the history: a policy file, with comments above it that say whose it is.
//!
//! ```text
//! # sklookup-last 1
//! # What sklookup put into effect last in the network namespace in which the system booted. ...
//! # state    applied                       or: taken-away
//! # time     2026-11-22 00:59:12 UTC (1795309152)
//! # by       sklookup 0.1.0
//! # command  sklookup apply policy.toml
//! bindings = [
//!   "web tcp 192.0.2.0/24 80",
//! ]
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use super::Name;

/// Version of the comments. A newer one may mean something else by `state`.
const VERSION: u32 = 1;

const APPLIED: &str = "applied";
const TAKEN_AWAY: &str = "taken-away";

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was put into effect.
    Applied,
    /// It was put into effect, and steering was taken away on purpose later.
    TakenAway,
}

/// What was kept of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What became of it.
    pub fate: Fate,
    /// When, in words and in seconds since the epoch.
    pub time: String,
    /// The command that did so, escaped.
    pub command: String,
    /// The whole file: a policy file.
    pub text: String,
    /// How much of it is comments above the policy, in bytes.
    above: usize,
}

impl Page {
    /// What has just become of a policy, given as a policy file.
    pub(super) fn now(name: &Name, fate: Fate, command: &str, bindings: &str) -> Page {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let (time, command) = (format!("{} ({now})", utc(now)), on_one_line(command));
        let state = match fate {
            Fate::Applied => APPLIED,
            Fate::TakenAway => TAKEN_AWAY,
        };
        let mut text = format!(
            "# sklookup-last {VERSION}\n\
             # What sklookup put into effect last in {name}.\n\
             # It is history: `sklookup status` says what is in effect. After a reboot `sklookup apply --last` brings it back,\n\
             # unless steering was taken away on purpose; `sklookup apply` takes this file as any other.\n\
             # state    {state}\n\
             # time     {time}\n\
             # by       sklookup {}\n\
             # command  {command}\n",
            env!("CARGO_PKG_VERSION"),
        );
        let above = text.len();
        text.push_str(bindings);
        Page { fate, time, command, text, above }
    }

    /// The policy without the comments above it.
    pub(super) fn bindings(&self) -> &str {
        &self.text[self.above..]
    }

    /// Reads it back, or says what is wrong with it.
    pub(super) fn parse(text: String) -> Result<Page, &'static str> {
        let comments: Vec<&str> = text.split('\n').map_while(|line| line.strip_prefix("# ")).collect();
        let above =
            comments.iter().map(|comment| "# ".len() + comment.len() + "\n".len()).sum::<usize>().min(text.len());
        let value = |key: &str| {
            let found = comments.iter().find_map(|comment| comment.strip_prefix(key)?.strip_prefix(' '));
            found.map(|value| value.trim_start().to_owned())
        };
        let version: Option<u32> = value("sklookup-last").and_then(|version| version.parse().ok());
        match version {
            None => return Err("not written by sklookup: it does not begin with `# sklookup-last`"),
            Some(version) if version > VERSION => return Err("written by a newer sklookup"),
            Some(_) => {}
        }
        let fate = match value("state").as_deref() {
            Some(APPLIED) => Fate::Applied,
            Some(TAKEN_AWAY) => Fate::TakenAway,
            _ => return Err("the comments above the policy do not say its state"),
        };
        let (time, command) = (value("time").unwrap_or_default(), value("command").unwrap_or_default());
        Ok(Page { fate, time, command, text, above })
    }
}

/// What was typed, on one line and fit for a terminal; else as it is, to be typed again.
fn on_one_line(command: &str) -> String {
    let mut line = String::with_capacity(command.len());
    for c in command.chars() {
        match c {
            '\'' | '"' | '\\' => line.push(c),
            c => line.extend(c.escape_debug()),
        }
    }
    line
}

/// A time since the epoch, as `2026-11-22 00:59:12 UTC`.
fn utc(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::parse_file;

    const POLICY: &str = "bindings = [\n  \"web tcp 192.0.2.0/24 80\",\n]\n";

    fn page(name: &Name, fate: Fate) -> Page {
        Page::now(name, fate, "sklookup apply 'a\nb'", POLICY)
    }

    #[test]
    fn a_page_is_an_ordinary_policy_file_and_is_read_back() {
        for (fate, name) in [(Fate::Applied, Name::Host), (Fate::TakenAway, Name::Named("a\nb".into()))] {
            let page = page(&name, fate);
            assert_eq!(parse_file(&page.text, "page").unwrap().len(), 1, "{}", page.text);
            assert_eq!(Page::parse(page.text.clone()).as_ref().map(Page::bindings), Ok(POLICY));
            assert_eq!(Page::parse(page.text.clone()), Ok(page));
        }
    }

    #[test]
    fn what_was_typed_can_be_typed_again_and_commands_no_terminal() {
        let typed = r"sklookup --netns 'a b' apply 'it'\''s.toml'";
        assert_eq!(Page::now(&Name::Host, Fate::Applied, typed, POLICY).command, typed);
        assert_eq!(Page::now(&Name::Host, Fate::Applied, "a\nb\u{1b}\u{202e}", POLICY).command, r"a\nb\u{1b}\u{202e}");
    }

    #[test]
    fn what_is_no_page_says_why() {
        let text = page(&Name::Host, Fate::Applied).text;
        let why = |text: &str| Page::parse(text.to_owned()).unwrap_err();
        assert!(why(POLICY).contains("not written by sklookup"));
        assert!(why("").contains("not written by sklookup"));
        assert!(why(&text.replace("sklookup-last 1", "sklookup-last 2")).contains("newer"));
        assert!(why(&text.replace("applied\n", "odd\n")).contains("state"));
        for cut in 0..text.len() - POLICY.len() {
            // Whole lines are missing, or a line is not whole: never a panic.
            let _ = Page::parse(text[..cut].to_owned());
        }
    }

    #[test]
    fn times_are_told_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_309_152, "2026-11-22 00:59:12 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
