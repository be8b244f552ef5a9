//! An event, as a line and as a document.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sklookup_compiler::EventKind;
use sklookup_policy::{Outcome, WhenEmpty};
use sklookup_steering::watch::Seen;

use crate::escape::printable;
use crate::render;

/// Wide enough for what happens mostly.
const WHAT: usize = 12;

/// `07:12:33.123Z no socket    tcp 198.51.100.9:40000 > 192.0.2.7:80 dev eth0, refused; by web tcp 192.0.2.0/24 80 (policy.toml:3)`
pub fn text(seen: &Seen, interface: Option<&str>) -> String {
    let entry = &seen.entry;
    let binding = printable(&format!("{} ({})", entry.binding, entry.origin));
    let (time, packet) = (clock(seen.time), printable(&packet(seen, interface)));
    format!("{time} {:<WHAT$} {packet}, {}; by {binding}", what(seen.event.kind), fate(seen))
}

/// The same for machines.
pub fn json(seen: &Seen, interface: Option<&str>) -> Value {
    let since_epoch = seen.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "event": name(seen.event.kind),
        "time": since_epoch.as_micros() as f64 / 1e6,
        "packet": packet(seen, interface),
        "fate": fate_name(seen),
        "binding": render::entry(&seen.entry),
    })
}

fn packet(seen: &Seen, interface: Option<&str>) -> String {
    let event = &seen.event;
    let packet = format!("{} {} > {}", event.protocol, event.source, event.destination);
    match (interface, event.interface) {
        (Some(name), _) => format!("{packet} dev {name}"),
        // Gone since, or no packet at all: a question to the kernel may come without an interface.
        (None, 0) => packet,
        (None, index) => format!("{packet} dev #{index}"),
    }
}

/// Hours, minutes and seconds of UTC.
fn clock(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since_epoch.as_secs(), since_epoch.subsec_millis());
    let [hours, minutes, seconds] = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

fn what(kind: EventKind) -> &'static str {
    match kind {
        EventKind::NoSocket => "no socket",
        EventKind::Unsupported => "socket shut down or connected",
        EventKind::WrongProtocol => "socket of another protocol",
        EventKind::WrongFamily => "socket of another family",
        EventKind::AlreadySelected => "left to another program",
        EventKind::Refused => "refused",
    }
}

/// As the counts of `list` are called.
fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::NoSocket => "no-socket",
        EventKind::Unsupported => "unsupported",
        EventKind::WrongProtocol => "wrong-protocol",
        EventKind::WrongFamily => "wrong-family",
        EventKind::AlreadySelected => "already-selected",
        EventKind::Refused => "refused",
    }
}

fn fate(seen: &Seen) -> &'static str {
    match fate_name(seen) {
        "other-program" => "another program's socket gets it",
        "regular-lookup" => "the regular lookup decides",
        _ => "refused",
    }
}

/// What became of the packet, as far as our program and those before the watching one go.
fn fate_name(seen: &Seen) -> &'static str {
    match &seen.entry.binding.outcome {
        _ if seen.event.selected_by_others => "other-program",
        Outcome::Steer { when_empty: WhenEmpty::Pass, .. } | Outcome::Pass => "regular-lookup",
        Outcome::Steer { when_empty: WhenEmpty::Refuse, .. } | Outcome::Refuse => "refused",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_is_that_of_utc() {
        assert_eq!(clock(UNIX_EPOCH + Duration::from_millis(1_795_309_152_007)), "00:59:12.007Z");
    }
}
