//! `completions` and the manual page, from the definition that the parser reads.

mod names;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::args::{Cli, Completions};
use crate::output::{Answer, Failure, Said};

pub use names::names;

pub fn completions(args: &Completions) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sklookup", &mut script);
    let script = with_names(args.shell, String::from_utf8(script).expect("completions are text"));
    Ok(Answer::yes(script.clone(), json!({ "shell": args.shell.to_string(), "script": script })))
}

/// A script that asks for labels, attached programs and namespaces as well: what clap_complete makes knows only what the
/// definition says.
fn with_names(shell: Shell, mut script: String) -> String {
    match shell {
        Shell::Bash => script.push_str(include_str!("completions/names.bash")),
        Shell::Fish => script.push_str(include_str!("completions/names.fish")),
        Shell::Zsh => {
            for (taken, by) in [
                (":NETNS:_default", ":NETNS:_sklookup_namespaces"),
                (":LABEL:_default", ":LABEL:_sklookup_labels"),
                (":label -- The label:_default", ":label -- The label:_sklookup_labels"),
                (":LABEL|SOCKET:_default", ":LABEL|SOCKET:_sklookup_labels"),
                ("it was attached:_default", "it was attached:_sklookup_attached"),
                (r"program'\''s]:NAME:_default", r"program'\''s]:NAME:_sklookup_attached"),
            ] {
                script = script.replace(taken, by);
            }
            // Whichever way it is loaded, its last lines call or register what is defined above them.
            let end = script.rfind("\nif [ \"$funcstack[1]\"").unwrap_or(script.len());
            script.insert_str(end, include_str!("completions/names.zsh"));
        }
        _ => {}
    }
    script
}

pub fn man() -> Result<Answer, Failure> {
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Failure::new(Said::new(format!("render the manual page: {error}")));
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        clap_mangen::Man::new(sub.clone())
            .title(format!("sklookup-{}", sub.get_name()))
            .render(&mut page)
            .map_err(failed)?;
    }
    let page = String::from_utf8(page).expect("a manual page is text");
    Ok(Answer::yes(page.clone(), json!({ "page": page })))
}
