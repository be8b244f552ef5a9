//! `metrics`: counters and gauges for Prometheus, over HTTP or in a file.
//!
//! The server opens its sockets, goes into the namespace it tells about and then gives up all rights that reading does
//! not take ([`server`] answers, [`gather`] reads, [`families`] says what is told, [`exposition`] in which form).

mod exposition;
mod families;
mod gather;
mod http;
mod listen;
mod server;

use std::path::Path;

use serde_json::json;
use sklookup_kernel::caps::{self, Cap, Caps};
use sklookup_kernel::signals::{Signal, Signals};
use sklookup_kernel::{disk, effective_uid, service_manager};
use sklookup_steering::{Sampler, State};

use self::exposition::Format;
use self::families::{Limits, render};
use self::gather::Gatherer;
use self::listen::Listener;
use self::server::Server;
use crate::args::{Global, Metrics};
use crate::context::netns;
use crate::escape::printable;
use crate::output::{Answer, COULD_NOT, Failure, Said};
use crate::progress;

pub fn metrics(global: &Global, args: &Metrics) -> Result<Answer, Failure> {
    let limits = Limits { bindings: args.max_bindings, labels: args.max_labels };
    match &args.textfile {
        Some(path) => write(global, path, limits),
        None => serve(global, args, limits),
    }
}

/// Writes them once.
fn write(global: &Global, path: &Path, limits: Limits) -> Result<Answer, Failure> {
    let state = State::new(&global.bpffs, netns(global)?)?;
    let snapshot = Gatherer::new(Sampler::new(state)).fresh();
    let text = render(Format::Text, &snapshot, limits, None);
    let failed = snapshot.seen.err().map(Failure::from);
    let fields = json!({ "file": path.to_string_lossy(), "bytes": text.len() });
    let answer = if path == Path::new("-") {
        Answer::yes(if global.json { String::new() } else { text }, fields)
    } else {
        disk::publish(path, text.as_bytes()).map_err(|error| {
            Failure::new(Said::with_help(error.to_string(), "its directory has to be there, and ours to write"))
        })?;
        Answer::yes(String::new(), fields)
    };
    // The file says that nothing could be read: better than one that is old and says that all is well.
    Ok(match failed {
        None => answer,
        Some(failure) => answer.exit(COULD_NOT).saying(failure.said),
    })
}

/// Serves them until a signal comes.
fn serve(global: &Global, args: &Metrics, limits: Limits) -> Result<Answer, Failure> {
    // First of all: what we open ourselves could be taken for what was passed.
    let mut listeners = if args.listen_fds { Listener::passed()? } else { Vec::new() };
    let netns = netns(global)?;
    let mut signals = Signals::block(&[Signal::TERM, Signal::INT])?;
    for at in &args.listen {
        listeners.push(Listener::open(at)?);
    }
    let places: Vec<String> = listeners.iter().map(Listener::place).collect();
    let remote: Vec<&str> =
        listeners.iter().zip(&places).filter_map(|(one, place)| one.is_remote().then_some(place.as_str())).collect();
    if !remote.is_empty() && !args.listen_fds {
        progress::say(&Said::with_help(
            format!("{} is not loopback: whoever reaches it can read labels, addresses and counts", remote.join(", ")),
            "a port alone (`--listen 9999`) is one of 127.0.0.1",
        ));
    }

    // The sockets stay where they are; everything else is asked of this namespace from here on.
    let about = netns.describe().to_owned();
    if !netns.is_current() {
        netns.enter()?;
    }
    let state = State::new(&global.bpffs, netns)?;
    let kept = give_up_rights(&global.bpffs)?;
    progress::say(&Said::new(format!("metrics of {} at {}", printable(&about), printable(&places.join(", ")))));
    progress::say(&Said::new(kept));
    service_manager::ready();
    let mut server = Server::new(Gatherer::new(Sampler::new(state)), limits, listeners);
    let served = server.serve(&mut signals)?;
    let requests: u64 = served.requests.values().sum();
    let fields =
        json!({ "listened": places, "requests": requests, "scrape-errors": served.errors, "dropped": served.dropped });
    Ok(Answer::yes(String::new(), fields))
}

/// Gives up what reading the state does not take, and says what is kept.
fn give_up_rights(bpffs: &Path) -> Result<String, Failure> {
    let keep: &[Cap] = if caps::pins_open_without_any(bpffs) { &[] } else { &[Cap::Bpf] };
    caps::keep_only(keep)?;
    let kept: Vec<String> =
        keep.iter().filter(|cap| Caps::effective().is_ok_and(|caps| caps.has(**cap))).map(Cap::to_string).collect();
    let kept = match &kept[..] {
        [] => "no capability".to_owned(),
        kept => format!("{} (this kernel opens no pin without)", kept.join(", ")),
    };
    Ok(format!(
        "gave up all other rights: keeps user {}, whose state is read, {kept}, and the sockets it listens on",
        effective_uid()
    ))
}
