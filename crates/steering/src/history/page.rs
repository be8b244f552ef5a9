//! A page of the history: a policy file, with comments above it that say whose it is.
//!
//! ```text
//! # sklookup-last 1
//! # What sklookup put into effect in the network namespace in which the system booted. ...
//! # state    applied                       or: taken-away
//! # time     2026-11-22 00:59:12 UTC (1795309152)
//! # by       sklookup 0.1.0
//! # user     0, logged in as 1000          or: 0
//! # command  sklookup apply policy.toml
//! # bindings 1
//! # digest   5c1c…                         as `status` shows it
//! bindings = [
//!   "web tcp 192.0.2.0/24 80",
//! ]
//! ```

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use sklookup_kernel::{effective_uid, login_uid};
use sklookup_policy::Policy;

use super::Name;
use crate::record::digest;

/// Version of the comments. A newer one may mean something else by `state`.
const VERSION: u32 = 1;

const APPLIED: &str = "applied";
const TAKEN_AWAY: &str = "taken-away";

/// Between two user ids.
const LOGGED_IN: &str = ", logged in as ";

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was put into effect.
    Applied,
    /// It was put into effect, and steering was taken away on purpose later.
    TakenAway,
}

impl Fate {
    /// As pages and documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Applied => APPLIED,
            Fate::TakenAway => TAKEN_AWAY,
        }
    }
}

/// A user, by number: names change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The effective user id.
    pub uid: u32,
    /// The one that they had logged in with, if it is another: `sudo` keeps it.
    pub login: Option<u32>,
}

impl User {
    fn now() -> User {
        let uid = effective_uid();
        User { uid, login: login_uid().filter(|login| *login != uid) }
    }

    fn parse(text: &str) -> Option<User> {
        let (uid, login) = match text.split_once(LOGGED_IN) {
            Some((uid, login)) => (uid, Some(login.parse().ok()?)),
            None => (text, None),
        };
        Some(User { uid: uid.parse().ok()?, login })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.login {
            Some(login) => write!(f, "{}{LOGGED_IN}{login}", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// What was kept of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What became of it.
    pub fate: Fate,
    /// When, in words and in seconds since the epoch.
    pub time: String,
    /// The same in seconds since the epoch alone, 0 where it can't be read.
    pub seconds: u64,
    /// The command that did so, escaped.
    pub command: String,
    /// Who did so; older versions did not say.
    pub user: Option<User>,
    /// How many bindings it has; older versions did not say.
    pub count: Option<usize>,
    /// SHA-256 over the canonical lines of the bindings, in hexadecimal; empty where an older version wrote it.
    pub digest: String,
    /// The whole file: a policy file.
    pub text: String,
    /// How much of it is comments above the policy, in bytes.
    above: usize,
}

impl Page {
    /// What has just become of a policy.
    pub(super) fn now(name: &Name, fate: Fate, command: &str, policy: &Policy) -> Page {
        Page::written(name, fate, command, &policy.canonical(), Some(policy.len()), &digest(policy))
    }

    /// What has become of the same policy since.
    pub(super) fn again(&self, name: &Name, fate: Fate, command: &str) -> Page {
        Page::written(name, fate, command, self.bindings(), self.count, &self.digest)
    }

    fn written(name: &Name, fate: Fate, command: &str, bindings: &str, count: Option<usize>, digest: &str) -> Page {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let (time, command) = (format!("{} ({seconds})", utc(seconds)), on_one_line(command));
        let (state, user) = (fate.word(), User::now());
        let mut text = format!(
            "# sklookup-last {VERSION}\n\
             # What sklookup put into effect in {name}.\n\
             # It is history: `sklookup status` says what is in effect. After a reboot `sklookup apply --last` brings back what\n\
             # was in effect last, unless steering was taken away on purpose; `sklookup rollback` goes back to what was before.\n\
             # state    {state}\n\
             # time     {time}\n\
             # by       sklookup {}\n\
             # user     {user}\n\
             # command  {command}\n",
            env!("CARGO_PKG_VERSION"),
        );
        // A page of an older version may not say it.
        if let Some(count) = count {
            text.push_str(&format!("# bindings {count}\n# digest   {digest}\n"));
        }
        let above = text.len();
        text.push_str(bindings);
        Page { fate, time, seconds, command, user: Some(user), count, digest: digest.to_owned(), text, above }
    }

    /// The policy without the comments above it.
    pub(crate) fn bindings(&self) -> &str {
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
        let [time, command, digest] = ["time", "command", "digest"].map(|key| value(key).unwrap_or_default());
        let seconds = time.rsplit_once('(').and_then(|(_, seconds)| seconds.strip_suffix(')')?.parse().ok());
        let user = value("user").and_then(|user| User::parse(&user));
        let count = value("bindings").and_then(|count| count.parse().ok());
        Ok(Page { fate, seconds: seconds.unwrap_or(0), time, command, user, count, digest, text, above })
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
    use sklookup_policy::{Origin, parse_binding, parse_file};

    const POLICY: &str = "bindings = [\n  \"web tcp 192.0.2.0/24 80\",\n]\n";

    fn page(name: &Name, fate: Fate, command: &str) -> Page {
        let entries = parse_binding("web tcp 192.0.2.0/24 80", Origin::Command("x".into())).unwrap();
        Page::now(name, fate, command, &Policy::new(entries).unwrap())
    }

    #[test]
    fn a_page_is_an_ordinary_policy_file_and_is_read_back() {
        for (fate, name) in [(Fate::Applied, Name::Host), (Fate::TakenAway, Name::Named("a\nb".into()))] {
            let page = page(&name, fate, "sklookup apply 'a\nb'");
            assert_eq!(parse_file(&page.text, "page").unwrap().len(), 1, "{}", page.text);
            assert_eq!(Page::parse(page.text.clone()).as_ref().map(Page::bindings), Ok(POLICY));
            assert_eq!((page.count, page.digest.len(), page.user), (Some(1), 64, Some(User::now())));
            assert!(page.time.ends_with(&format!(" UTC ({})", page.seconds)), "{}", page.time);
            assert_eq!(Page::parse(page.text.clone()), Ok(page));
        }
    }

    #[test]
    fn what_was_typed_can_be_typed_again_and_commands_no_terminal() {
        let typed = r"sklookup --netns 'a b' apply 'it'\''s.toml'";
        assert_eq!(page(&Name::Host, Fate::Applied, typed).command, typed);
        assert_eq!(page(&Name::Host, Fate::Applied, "a\nb\u{1b}\u{202e}").command, r"a\nb\u{1b}\u{202e}");
    }

    #[test]
    fn a_page_of_an_older_version_does_not_say_who_did_it() {
        let page = page(&Name::Host, Fate::Applied, "sklookup apply x");
        let missing = ["# user", "# bindings", "# digest"];
        let lines = page.text.lines().filter(|line| !missing.iter().any(|key| line.starts_with(key)));
        let old = Page::parse(lines.map(|line| format!("{line}\n")).collect()).unwrap();
        assert_eq!((old.user, old.count, old.digest.as_str(), old.bindings()), (None, None, "", POLICY));
        let again = old.again(&Name::Host, Fate::TakenAway, "sklookup unload");
        assert_eq!((again.count, again.bindings()), (None, POLICY));
        assert_eq!(Page::parse(again.text.clone()), Ok(again));
    }

    #[test]
    fn a_user_is_read_back_with_who_logged_in() {
        for user in [User { uid: 0, login: None }, User { uid: 0, login: Some(1000) }] {
            assert_eq!(User::parse(&user.to_string()), Some(user));
        }
        assert_eq!(User::parse("root"), None);
    }

    #[test]
    fn what_is_no_page_says_why() {
        let text = page(&Name::Host, Fate::Applied, "").text;
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
