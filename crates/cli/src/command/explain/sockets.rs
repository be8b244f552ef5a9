//! Sockets and who has them, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use sklookup_explain::{Holder, Seen};
use sklookup_kernel::sock_diag::State;

use crate::escape::printable;

/// The sockets that an answer names, by their cookies.
pub type Sockets = BTreeMap<u64, Seen>;

/// A socket by what it is bound to.
pub fn named(sockets: &Sockets, cookie: u64) -> String {
    match sockets.get(&cookie) {
        Some(seen) => format!("{}, cookie {cookie}", place(seen)),
        None => format!("a socket that is in no table of this namespace (cookie {cookie})"),
    }
}

/// A socket with the first process that has it, in few words.
pub fn brief(sockets: &Sockets, cookie: u64) -> String {
    let Some(seen) = sockets.get(&cookie) else { return named(sockets, cookie) };
    match &seen.holders[..] {
        [] => place(seen),
        [one, more @ ..] => {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            format!("{} of {} (pid {}){more}", place(seen), printable(&one.name), one.pid)
        }
    }
}

/// Those of which one gets a packet, in few words.
pub fn one_of(sockets: &Sockets, cookies: &[u64]) -> String {
    match cookies {
        [] => "nobody".to_owned(),
        [one] => brief(sockets, *one),
        [one, more @ ..] => format!("{}, or one of {} more on the port", brief(sockets, *one), more.len()),
    }
}

fn place(seen: &Seen) -> String {
    let entry = &seen.entry;
    match entry.state {
        State::Listening | State::Unconnected => format!("{} {}", entry.protocol, entry.local),
        State::Connected | State::Other(_) => {
            format!("{} {} connected to {}", entry.protocol, entry.local, entry.remote)
        }
    }
}

/// A line for each process that has the socket.
pub fn holders(text: &mut String, sockets: &Sockets, cookie: u64) -> std::fmt::Result {
    const NAMED: usize = 3;
    let holders = sockets.get(&cookie).map(|seen| &seen.holders[..]).unwrap_or_default();
    for holder in holders.iter().take(NAMED) {
        writeln!(text, "   {}", self::holder(holder))?;
    }
    match holders.len().saturating_sub(NAMED) {
        0 if holders.is_empty() => writeln!(text, "   whose it is can't be seen"),
        0 => Ok(()),
        more => writeln!(text, "   and {more} more processes"),
    }
}

fn holder(holder: &Holder) -> String {
    const LONGEST: usize = 100; // characters
    let unit = holder.unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
    let line = printable(&crate::typed::line(&holder.command));
    let command = match line.char_indices().nth(LONGEST) {
        _ if line.is_empty() => String::new(),
        Some((end, _)) => format!(": {}...", &line[..end]),
        None => format!(": {line}"),
    };
    format!("{}{command}", printable(&format!("{} (pid {}{unit})", holder.name, holder.pid)))
}

/// All of them, for machines.
pub fn documents(sockets: &Sockets) -> Vec<Value> {
    sockets.values().map(document).collect()
}

fn document(seen: &Seen) -> Value {
    let entry = &seen.entry;
    let is_connected = !matches!(entry.state, State::Listening | State::Unconnected);
    let processes: Vec<Value> = seen
        .holders
        .iter()
        .map(|holder| json!({ "pid": holder.pid, "name": holder.name, "command": holder.command, "unit": holder.unit }))
        .collect();
    json!({
        "cookie": entry.cookie.to_string(),
        "protocol": entry.protocol.to_string(),
        "local": entry.local.to_string(),
        "remote": is_connected.then(|| entry.remote.to_string()),
        "uid": entry.uid,
        "reuseport": seen.reuseport,
        "processes": processes,
    })
}

/// Cookies as documents have them.
pub fn cookies(cookies: &[u64]) -> Vec<String> {
    cookies.iter().map(u64::to_string).collect()
}
