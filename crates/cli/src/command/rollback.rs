//! `rollback`: a policy that was in effect before, from disk.

use std::fmt::Write;

use serde_json::{Value, json};
use sklookup_policy::{Entry, Origin, Policy, parse_file};
use sklookup_steering::digest;
use sklookup_steering::history::{Earlier, Fate, Page};

use crate::args::{Global, Rollback};
use crate::command::apply::{Manner, replace};
use crate::counts::many;
use crate::escape::printable;
use crate::kept;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};
use crate::typed::typed;

pub fn rollback(global: &Global, args: &Rollback) -> Result<Answer, Failure> {
    let (name, kept) = kept::all(global)?;
    let Some(number) = args.number else {
        if args.edit.dry_run || !args.edit.allow.allow.is_empty() {
            return Err(Failure::new(Said::with_help(
                "rollback: no number is given, so nothing would change",
                "`sklookup rollback` lists the policies by number; `sklookup rollback 1` goes back to the newest",
            )));
        }
        let nothing =
            (!any(&kept)).then(|| Said::new(format!("nothing was in effect in {name} before: nothing is kept")));
        return Ok(list(&kept).saying(nothing));
    };
    let Some(earlier) = kept.iter().find(|earlier| earlier.number == number) else {
        return Err(Failure {
            exit: NO,
            said: vec![Said::with_help(
                format!("no policy {number} is kept of {name}"),
                "`sklookup rollback` lists those that are",
            )],
        });
    };
    let page = earlier.page.as_ref().map_err(kept::failure)?;
    let file = earlier.path.display().to_string();
    let wanted = policy(page, &file)?;
    let mut answer = replace(global, &args.edit, Manner::Replace, &file, &wanted)?;
    writeln!(answer.text, "number {number} was put into effect {} by: {}", utc(page), printable(&page.command))
        .expect("a String takes all");
    answer.json.insert("policy".to_owned(), json(earlier));
    Ok(answer)
}

/// The policy of a page, if it is what was in effect.
fn policy(page: &Page, file: &str) -> Result<Policy, Failure> {
    let wrong = |problems: Vec<_>| Failure::problems(COULD_NOT, &problems);
    // The number of a file is another after the next change: where a binding comes from is better told by the command.
    let origin = Origin::Command(typed().into());
    let entries = parse_file(&page.text, file).map_err(wrong)?;
    let entries = entries.into_iter().map(|entry| Entry { origin: origin.clone(), ..entry }).collect();
    let policy = Policy::new(entries).map_err(wrong)?;
    if !page.digest.is_empty() && page.digest != digest(&policy) {
        return Err(Failure::new(Said::with_help(
            format!("{file}: changed since it was kept: its bindings do not have the digest that it names"),
            format!("`sklookup apply {file}` takes it as a policy file of your own"),
        )));
    }
    Ok(policy)
}

fn any(kept: &[Earlier]) -> bool {
    kept.iter().any(|earlier| earlier.number > 0)
}

fn list(kept: &[Earlier]) -> Answer {
    let mut text = String::new();
    for earlier in kept {
        let number = if earlier.number == 0 { "last".to_owned() } else { earlier.number.to_string() };
        writeln!(text, "{number:<4}  {}", in_words(earlier)).expect("a String takes all");
    }
    let policies: Vec<Value> = kept.iter().map(json).collect();
    Answer::yes(text, json!({ "policies": policies })).exit(if any(kept) { YES } else { NO })
}

fn in_words(earlier: &Earlier) -> String {
    let page = match &earlier.page {
        Ok(page) => page,
        Err(error) => return format!("can't be gone back to: {}", printable(&error.to_string())),
    };
    let bindings = page.count.map_or_else(|| "?".to_owned(), |count| many(count, "binding"));
    let user = page.user.map_or_else(|| "?".to_owned(), |user| user.to_string());
    let digest = page.digest.get(..16).unwrap_or("?");
    let taken_away = if page.fate == Fate::TakenAway { "taken away: " } else { "" };
    format!("{}  {bindings:<12}  sha256 {digest:<16}  user {user}  {taken_away}{}", utc(page), printable(&page.command))
}

fn json(earlier: &Earlier) -> Value {
    let mut fields = json!({ "number": earlier.number, "file": earlier.path.display().to_string() });
    match &earlier.page {
        Err(error) => fields["problem"] = json!(error.to_string()),
        Ok(page) => {
            fields["state"] = json!(page.fate.word());
            fields["time"] = json!(page.seconds);
            fields["command"] = json!(page.command);
            if let Some(user) = page.user {
                fields["user"] = json!({ "uid": user.uid, "login": user.login });
            }
            if let Some(count) = page.count {
                fields["bindings"] = json!(count);
                fields["digest"] = json!(page.digest);
            }
        }
    }
    fields
}

/// When, without the seconds since the epoch: for people.
fn utc(page: &Page) -> &str {
    page.time.split(" (").next().unwrap_or_default()
}
