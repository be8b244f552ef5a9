//! `run`: starts a server, steers traffic to it for as long as it runs, and leaves nothing behind.
//!
//! In order: what was asked is read ([`asked`]) and held against the namespace ([`steering`]); the command is started and
//! gets the signals that we get ([`child`]); its sockets are watched ([`watch`]), chosen ([`service`]), put in place and
//! followed ([`supervisor`]); in the end everything is taken back, whatever went wrong between.

mod asked;
mod child;
mod report;
mod service;
mod steering;
mod supervisor;
mod watch;

use std::process::ExitCode;

use serde_json::{Value, json};
use sklookup_kernel::spawn::{self, Exit, Stdout, User};
use sklookup_steering::Error;

use crate::args::{Global, Run};
use crate::command::run::asked::Asked;
use crate::command::run::child::Child;
use crate::command::run::steering::Steering;
use crate::command::run::supervisor::{Outcome, Supervisor};
use crate::command::run::watch::Watch;
use crate::context;
use crate::output::{self, Answer, COULD_NOT, Failure, Said};
use crate::render;

/// Our own failure, as `timeout` has it.
pub const FAILED: u8 = 125;

pub fn run(global: &Global, args: &Run) -> ExitCode {
    let result = start(global, args).map_err(|failure| match failure.exit {
        // A command that can't be started brings its own: 126 or 127.
        exit if exit > COULD_NOT => failure,
        _ => Failure { exit: FAILED, ..failure },
    });
    output::finish("run", global.json, result)
}

fn start(global: &Global, args: &Run) -> Result<Answer, Failure> {
    // From here on no signal ends us before we have tidied up.
    let mut signals = child::block_signals()?;
    let asked = Asked::read(args)?;
    let user = args.user.as_deref().map(user).transpose()?;
    let state = context::state(global)?;
    let steering = Steering::new(&state, &asked);

    let mut supervise = || {
        report::say(steering.prove(&args.allow)?);
        if let Some(number) = child::told_to_end(&mut signals)? {
            return Ok(Outcome { exit: Exit::Signal(number), found: Vec::new() });
        }
        let watch = Watch::new(&state, &asked)?;
        spawn::become_subreaper()?;
        let stdout = if global.json { Stdout::ToStderr } else { Stdout::Inherited };
        let started = state.netns().run(|| spawn::spawn(&args.command, user.as_ref(), stdout))?;
        let child = Child::new(started.map_err(|error| not_started(&error))?, &mut signals);
        Supervisor::new(args, &asked, &steering, watch, child).run()
    };
    let outcome = supervise();
    let tidied = steering.end();
    let outcome = outcome?;
    tidied.map_err(|error| not_tidied(&error))?;
    Ok(answer(&asked, &outcome))
}

fn user(name: &str) -> Result<User, Failure> {
    User::by_name(name)?.ok_or_else(|| {
        Failure::new(Said::with_help(format!("--user {name}: there is no such user"), "`getent passwd` lists them"))
    })
}

fn not_started(error: &spawn::SpawnError) -> Failure {
    let exit = u8::try_from(error.shell_code()).unwrap_or(FAILED);
    Failure { exit, said: vec![Said::new(error.to_string())] }
}

fn not_tidied(error: &Error) -> Failure {
    let help =
        "the command has ended; `sklookup status` shows what is left, and any command that changes something sweeps it";
    Failure::new(Said::with_help(format!("take back what this run added: {error}"), help))
}

fn answer(asked: &Asked, outcome: &Outcome) -> Answer {
    let (code, signal) = match outcome.exit {
        Exit::Code(code) => (json!(code), Value::Null),
        Exit::Signal(number) => (Value::Null, json!(number)),
    };
    let bindings: Vec<Value> = asked.entries.iter().map(|entry| Value::Object(render::entry(entry))).collect();
    let json = json!({
        "label": asked.label.to_string(),
        "bindings": bindings,
        "sockets": outcome.found,
        "exit": { "code": code, "signal": signal },
    });
    // 128 + a real-time signal still fits; an exit status is one byte.
    Answer::yes(String::new(), json).exit(u8::try_from(outcome.exit.shell_code()).unwrap_or(FAILED))
}
