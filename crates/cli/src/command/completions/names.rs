//! `complete-names`: what the scripts of `completions` ask while somebody types.

use serde_json::json;
use sklookup_kernel::Netns;
use sklookup_steering::attachments::Attachments;

use crate::args::{CompleteNames, Global, NameKind};
use crate::context::{existing_state, netns};
use crate::escape::printable;
use crate::output::{Answer, Failure};

/// Names, one a line. Whatever can't be seen has none: nobody wants to read an error in the middle of a word.
pub fn names(global: &Global, args: &CompleteNames) -> Result<Answer, Failure> {
    let found = match args.kind {
        NameKind::Namespaces => Netns::names(),
        NameKind::Attached => attached(global).unwrap_or_default(),
        NameKind::Labels => labels(global).unwrap_or_default(),
    };
    // Such a name would command the terminal, or be several words to the shell.
    let fit = |name: &String| printable(name) == *name && !name.contains(char::is_whitespace);
    let found: Vec<String> = found.into_iter().filter(fit).collect();
    let text = found.iter().map(|name| format!("{name}\n")).collect::<String>();
    Ok(Answer::yes(text, json!({ "names": found })))
}

/// The labels of the namespace, but for those that a `run` made for itself.
fn labels(global: &Global) -> Option<Vec<String>> {
    let generation = existing_state(global).ok()??.generation().ok()??;
    let labels = generation.record.labels.iter().map(|label| label.as_str());
    Some(labels.filter(|label| !label.starts_with("run:")).map(str::to_owned).collect())
}

/// What was attached under a name.
fn attached(global: &Global) -> Option<Vec<String>> {
    let (attachments, _) = Attachments::new(&global.bpffs, netns(global).ok()?).ok()?.list().ok()?;
    Some(attachments.into_iter().map(|attachment| attachment.name).collect())
}
