//! `completions` and the manual page, from the definition that the parser reads.

use clap::CommandFactory;
use serde_json::json;

use crate::args::{Cli, Completions};
use crate::output::{Answer, Failure, Said};

pub fn completions(args: &Completions) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sklookup", &mut script);
    let script = String::from_utf8(script).expect("completions are text");
    Ok(Answer::yes(script.clone(), json!({ "shell": args.shell.to_string(), "script": script })))
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
