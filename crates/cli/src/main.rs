//! The `sklookup` command: parse, validate, act, print.

#![forbid(unsafe_code)]

mod args;
mod command;
mod context;
mod counts;
mod escape;
mod kept;
mod output;
mod progress;
mod render;
mod rows;
mod socket_match;
mod typed;
mod verifier_log;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};
use crate::escape::{printable, printable_lines};
use crate::output::{Answer, COULD_NOT, Failure, Said};
use crate::progress::Progress;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let global = &cli.global;
    // These print while they work. A server gives up its rights, which each thread has for itself.
    let prints = match &cli.command {
        Command::Run(_) | Command::Demo(_) | Command::Watch(_) => true,
        Command::Metrics(args) => args.textfile.is_none(),
        _ => false,
    };
    // Who draws on the terminal has no room for more.
    #[cfg(feature = "tui")]
    let prints = prints || matches!(cli.command, Command::Top(_));
    let progress = Progress::begin(global.json || prints);
    let (name, result) = match &cli.command {
        Command::Run(args) => return command::run::run(global, args),
        Command::Demo(_) => return command::demo::demo(global),
        Command::Watch(args) => return command::watch::watch(global, args),
        Command::Check(args) => ("check", command::check::check(args)),
        Command::Diff(args) => ("diff", command::diff::diff(global, args)),
        Command::Apply(args) => ("apply", command::apply::apply(global, args)),
        Command::Bind(args) => ("bind", command::bind::bind(global, args)),
        Command::Unbind(args) => ("unbind", command::bind::unbind(global, args)),
        Command::Register(args) => ("register", command::register::register(global, args)),
        Command::Unregister(args) => ("unregister", command::register::unregister(global, args)),
        Command::Status(args) => ("status", command::status::status(global, args)),
        Command::List(args) => ("list", command::list::list(global, args)),
        Command::Metrics(args) => ("metrics", command::metrics::metrics(global, args)),
        Command::Explain(args) => ("explain", command::explain::explain(global, args)),
        #[cfg(feature = "tui")]
        Command::Top(args) => ("top", command::top::top(global, args)),
        Command::Rollback(args) => ("rollback", command::rollback::rollback(global, args)),
        Command::Replay(args) => ("replay", command::replay::replay(global, args)),
        Command::Export => ("export", command::export::export(global)),
        Command::Unload(args) => ("unload", command::unload::unload(global, args)),
        Command::Upgrade(args) => ("upgrade", command::upgrade::upgrade(global, args)),
        Command::Attach(args) => ("attach", command::attach::attach(global, args)),
        Command::Detach(args) => ("detach", command::attach::detach(global, args)),
        Command::Programs(args) => ("programs", command::programs::programs(global, args)),
        Command::Doctor(args) => ("doctor", command::doctor::doctor(global, args)),
        Command::Test(args) => ("test", command::test::test(args)),
        Command::Completions(args) => ("completions", command::completions::completions(args)),
        Command::Man => ("man", command::completions::man()),
        Command::CompleteNames(args) => ("complete-names", command::completions::names(global, args)),
    };
    drop(progress);
    output::finish(name, global.json, result)
}

/// What can't be parsed: clap's message, and a JSON document if one was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // clap answers 2 for what it can't parse and 0 for help that was asked for, as we do; `run` keeps 2 for its command.
    let command = meant();
    let exit = match u8::try_from(error.exit_code()).unwrap_or(COULD_NOT) {
        COULD_NOT => output::could_not(&command),
        exit => exit,
    };
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if json && !asked {
        // What is wrong stands before the first empty line, usage and hints behind it.
        let text = error.to_string();
        let (message, hints) = text.split_once("\n\n").unwrap_or((&text, ""));
        let failure = Failure {
            exit,
            said: vec![Said::with_help(message.trim_start_matches("error: ").trim_end(), hints.trim_end())],
        };
        return output::finish(&command, true, Err::<Answer, _>(failure));
    }
    // Whoever does not read any more: a quiet end.
    let _ = match safe(std::env::args_os(), error) {
        None => error.print(),
        Some(text) if error.use_stderr() => std::io::stderr().write_all(text.as_bytes()),
        Some(text) => std::io::stdout().write_all(text.as_bytes()),
    };
    ExitCode::from(exit)
}

/// clap quotes what was typed as it is, among the control characters of its own colours. Where something typed could command
/// the terminal: the message without colours, and without commands. `None`: clap's own will do.
fn safe(typed: impl IntoIterator<Item = OsString>, error: &clap::Error) -> Option<String> {
    let commands = |arg: OsString| {
        let arg = arg.to_string_lossy();
        printable(&arg) != arg
    };
    typed.into_iter().any(commands).then(|| printable_lines(&error.to_string()))
}

/// The command that was meant, in a command line that is wrong; empty if none can be made out.
fn meant() -> String {
    let lenient = Cli::command().ignore_errors(true).try_get_matches();
    lenient.ok().and_then(|matches| matches.subcommand_name().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(typed: &[&str]) -> Option<String> {
        let error = Cli::try_parse_from(typed).expect_err("it is wrong");
        safe(typed.iter().map(OsString::from), &error)
    }

    #[test]
    fn what_was_typed_does_not_command_the_terminal() {
        for typed in ["\u{1b}]0;x\u{7}", "a\u{9b}2Jb", "a\u{202e}b", "a\r"] {
            for arguments in
                [&["sklookup", "list", "--label", typed][..], &["sklookup", typed], &["sklookup", "list", typed]]
            {
                let text = refused(arguments).expect("clap would print it");
                assert_eq!(printable_lines(&text), text, "{arguments:?}");
                assert!(text.starts_with("error: "), "{text}");
            }
        }
    }

    #[test]
    fn an_ordinary_mistake_is_left_to_clap() {
        assert_eq!(refused(&["sklookup", "list", "--label", "grün"]), None);
    }
}
