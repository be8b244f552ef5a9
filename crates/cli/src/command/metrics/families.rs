//! Every metric: its name, what it means, and where its values come from.
//!
//! Steered runs have no metric of their own. They are the hits less those that found no socket, and these numbers are not
//! read at one moment: their difference can go back by one, which a counter must not. The difference of two rates can't hurt.

use std::fmt::Display;

use sklookup_compiler::Counts;
use sklookup_policy::{Binding, Outcome, Shown};
use sklookup_steering::status::{Health, LabelStatus};
use sklookup_steering::{Observation, Sum};

use super::exposition::{Exposition, Family, Format, Kind};
use super::gather::{Seen, Snapshot};
use super::server::Served;

/// How many series there are at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bindings with series of their own.
    pub bindings: usize,
    /// Labels with series of their own.
    pub labels: usize,
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal $(in $unit:literal)? $help:literal;)*) => {
        $(const $constant: Family = Family { name: $name, kind: Kind::$kind, unit: unit!($($unit)?), help: $help };)*
        /// Every family.
        #[cfg(test)]
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

macro_rules! unit {
    () => {
        None
    };
    ($unit:literal) => {
        Some($unit)
    };
}

families! {
    UP: Gauge "sklookup_up" "Whether the state of the namespace could be read.";
    BUILD: Info "sklookup_build" "The version of the sklookup that answers.";
    STEERING: Gauge "sklookup_steering" "Whether a policy is in effect.";
    POLICY: Info "sklookup_policy" "The policy in effect: its digest, how it is compiled, which version wrote it.";
    GENERATION: Gauge "sklookup_generation" "The id of the program in effect, which names the generation.";
    GENERATION_TIME: Gauge "sklookup_generation_timestamp_seconds" in "seconds" "When the policy in effect was put into effect.";
    BINDINGS: Gauge "sklookup_bindings" "Bindings in effect, by what they do: steer, pass or refuse.";
    LABELS: Gauge "sklookup_labels" "Labels that bindings name or sockets are registered under.";
    RUNS: Counter "sklookup_hook_runs" "Runs of the hook that a binding won. Not connections: some packets run it twice, those of connections that stand never do.";
    RUNS_REFUSED: Counter "sklookup_hook_runs_refused" "Of the runs won: refused, by a rule or for want of a socket.";
    RUNS_PASSED: Counter "sklookup_hook_runs_passed" "Of the runs won: left to the regular lookup, by a rule or for want of a socket.";
    NO_SOCKET: Counter "sklookup_no_socket" "Runs of the hook for which the label had no socket registered.";
    ERRORS: Counter "sklookup_assign_errors" "Runs of the hook in which bpf_sk_assign refused the sockets of the label; EEXIST: an earlier program had selected one, which was left so.";
    LABEL_BINDINGS: Gauge "sklookup_label_bindings" "Bindings that name the label.";
    LABEL_SOCKETS: Gauge "sklookup_label_sockets" "Sockets registered under the label: selectable, dead (shut down, connected or of the wrong kind), or unknown.";
    LABEL_UNSERVED: Gauge "sklookup_label_unserved" "Pairs of protocol and IP version that are steered to the label and that no socket of it takes.";
    BINDING_RUNS: Counter "sklookup_binding_hook_runs" "Runs of the hook that the binding won.";
    BINDING_NO_SOCKET: Counter "sklookup_binding_no_socket" "Of these: the label had no socket registered. Only bindings to which that happened.";
    BINDING_ERRORS: Counter "sklookup_binding_assign_errors" "Of these: bpf_sk_assign refused the sockets of the label. Only what happened.";
    FOLDED_BINDINGS: Gauge "sklookup_folded_bindings" "Bindings without series of their own: their sum is the series with folded=\"true\".";
    FOLDED_LABELS: Gauge "sklookup_folded_labels" "Labels without series of their own: their sum is the series with folded=\"true\".";
    INTERFACES_CHANGED: Gauge "sklookup_interfaces_changed" "Interfaces that bindings name and that are gone or were made again since the policy was applied.";
    RUN_COMMANDS: Gauge "sklookup_run_commands" "Commands `sklookup run` that bindings belong to: alive, or ended and not yet swept up.";
    REPLACED: Gauge "sklookup_program_replaced" "Whether the link runs a program that is not the one of the generation.";
    UNSEEN: Gauge "sklookup_unseen" "Facts that could not be looked at; their metrics are missing or zero.";
    SNAPSHOT: Gauge "sklookup_snapshot_duration_seconds" in "seconds" "How long it took to read all this.";
    SCRAPE_ERRORS: Counter "sklookup_scrape_errors" "How often the state could not be read since this process began.";
    REQUESTS: Counter "sklookup_http_requests" "Requests answered since this process began, by status.";
    DROPPED: Counter "sklookup_http_connections_dropped" "Connections closed without an answer since this process began: too slow, or too many at once.";
}

/// The labels of a sample.
type Named = Vec<(&'static str, String)>;

/// Everything, in one of the forms.
pub fn render(format: Format, snapshot: &Snapshot, limits: Limits, served: Option<&Served>) -> String {
    let mut out = Exposition::new(format);
    out.one(&UP, u8::from(snapshot.seen.is_ok()));
    out.family(&BUILD, [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1)]);
    if let Ok(seen) = &snapshot.seen {
        out.one(&STEERING, u8::from(seen.is_some()));
        if let Some(seen) = seen {
            policy(&mut out, seen);
            labels(&mut out, &seen.observation, limits.labels);
            bindings(&mut out, &seen.observation, limits.bindings);
            amiss(&mut out, &seen.observation);
        }
    }
    out.one(&SNAPSHOT, format_args!("{:.6}", snapshot.took.as_secs_f64()));
    if let Some(served) = served {
        out.one(&SCRAPE_ERRORS, served.errors);
        out.family(&REQUESTS, served.requests.iter().map(|(code, count)| (vec![("code", code.to_string())], count)));
        out.one(&DROPPED, served.dropped);
    }
    out.finish()
}

fn policy(out: &mut Exposition, seen: &Seen) {
    let generation = &seen.observation.sample.generation;
    let record = &generation.record;
    let about = vec![
        ("digest", seen.digest.clone()),
        ("strategy", record.strategy.to_string()),
        ("writer", record.writer.clone()),
        ("layout", record.layout.to_string()),
    ];
    out.family(&POLICY, [(about, 1)]);
    out.one(&GENERATION, generation.live.id);
    out.one(&GENERATION_TIME, record.time);
    let Observation { total, pass, refuse, .. } = &seen.observation;
    let steer = total.bindings - pass.bindings - refuse.bindings;
    let by_outcome = [("steer", steer), ("pass", pass.bindings), ("refuse", refuse.bindings)];
    out.family(&BINDINGS, by_outcome.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)));
    out.one(&LABELS, record.labels.len());
}

/// What labels counted, and the rules beside them.
fn labels(out: &mut Exposition, observation: &Observation, most: usize) {
    let (own, folded) = observation.labels.split_at(most.min(observation.labels.len()));
    let mut rows: Vec<LabelRow> = own.iter().map(LabelRow::of).collect();
    if let Some(all) = folded.iter().map(LabelRow::of).reduce(LabelRow::with) {
        rows.push(LabelRow { named: folded_into(observation), ..all });
    }
    let rule = |outcome: &str, sum: Sum| (vec![("outcome", outcome.to_owned())], sum);
    let rules = [rule("pass", observation.pass), rule("refuse", observation.refuse)];
    let steered = rows.iter().map(|row| {
        let mut named = row.named.clone();
        named.push(("outcome", "steer".to_owned()));
        (named, row.sum)
    });
    let sums: Vec<(Named, Sum)> = steered.chain(rules).collect();
    let each = |of: fn(&Sum) -> u64| sums.iter().map(move |(named, sum)| (named, of(sum)));
    out.family(&RUNS, each(|sum| sum.counts.hits));
    out.family(&RUNS_REFUSED, each(|sum| sum.fates.refused));
    out.family(&RUNS_PASSED, each(|sum| sum.fates.passed));
    out.family(&NO_SOCKET, rows.iter().map(|row| (&row.named, row.sum.counts.no_socket)));
    out.family(&ERRORS, rows.iter().flat_map(|row| errors(&row.sum.counts).map(|error| with_error(&row.named, error))));
    out.family(&LABEL_BINDINGS, rows.iter().map(|row| (&row.named, row.sum.bindings)));
    out.family(&LABEL_SOCKETS, rows.iter().flat_map(LabelRow::sockets));
    out.family(&LABEL_UNSERVED, rows.iter().map(|row| (&row.named, row.unserved)));
    out.one(&FOLDED_LABELS, folded.len());
}

fn bindings(out: &mut Exposition, observation: &Observation, most: usize) {
    let entries = observation.sample.generation.record.policy.entries();
    let counted = entries.iter().zip(&observation.sample.counts);
    let mut rows: Vec<(Named, Sum)> = counted
        .clone()
        .take(most)
        .map(|(entry, counts)| (describing(&entry.binding), Sum::of(&entry.binding, counts)))
        .collect();
    let folded = entries.len().saturating_sub(most);
    if folded > 0 {
        let mut sum = Sum::default();
        counted.skip(most).for_each(|(entry, counts)| sum.add(&Sum::of(&entry.binding, counts)));
        rows.push((folded_into(observation), sum));
    }
    out.family(&BINDING_RUNS, rows.iter().map(|(named, sum)| (named, sum.counts.hits)));
    let no_socket = rows.iter().map(|(named, sum)| (named, sum.counts.no_socket));
    out.family(&BINDING_NO_SOCKET, no_socket.filter(|(_, count)| *count > 0));
    let failed = rows.iter().flat_map(|(named, sum)| {
        let happened = errors(&sum.counts).into_iter().filter(|(_, count)| *count > 0);
        happened.map(|error| with_error(named, error))
    });
    out.family(&BINDING_ERRORS, failed);
    out.one(&FOLDED_BINDINGS, folded);
}

/// What is not as it should be.
fn amiss(out: &mut Exposition, observation: &Observation) {
    let changed = observation.interfaces.iter().filter(|interface| interface.now != Some(interface.applied)).count();
    out.one(&INTERFACES_CHANGED, changed);
    let alive = observation.runs.iter().filter(|run| run.alive).count();
    out.family(&RUN_COMMANDS, in_states([("alive", alive), ("ended", observation.runs.len() - alive)]));
    let generation = &observation.sample.generation;
    out.one(&REPLACED, u8::from(generation.program.id() != generation.live.id));
    out.one(&UNSEEN, observation.unseen.len());
}

fn in_states<V: Display, const N: usize>(states: [(&'static str, V); N]) -> [(Named, V); N] {
    states.map(|(state, value)| (vec![("state", state.to_owned())], value))
}

/// The labels of what has no series of its own. With its generation: which bindings that are changes with the policy, and
/// a series that went back would look like a counter that began anew.
fn folded_into(observation: &Observation) -> Named {
    let generation = observation.sample.generation.live.id.to_string();
    vec![("folded", "true".to_owned()), ("generation", generation)]
}

fn describing(binding: &Binding) -> Named {
    let (label, outcome) = match &binding.outcome {
        Outcome::Steer { label, .. } => (label.to_string(), "steer"),
        Outcome::Pass => (String::new(), "pass"),
        Outcome::Refuse => (String::new(), "refuse"),
    };
    vec![
        ("label", label),
        ("outcome", outcome.to_owned()),
        ("protocol", binding.protocol.to_string()),
        ("destination", Shown(binding.destination).to_string()),
        ("ports", binding.ports.to_string()),
        ("source", binding.source.map(|source| Shown(source).to_string()).unwrap_or_default()),
        ("interface", binding.interface.as_ref().map(ToString::to_string).unwrap_or_default()),
    ]
}

fn errors(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("ESOCKTNOSUPPORT", counts.unsupported),
        ("EPROTOTYPE", counts.wrong_protocol),
        ("EAFNOSUPPORT", counts.wrong_family),
        ("EEXIST", counts.already_selected),
    ]
}

fn with_error(named: &Named, (error, count): (&'static str, u64)) -> (Named, u64) {
    let mut named = named.clone();
    named.push(("error", error.to_owned()));
    (named, count)
}

/// A label, or all that are folded.
struct LabelRow {
    named: Named,
    sum: Sum,
    selectable: usize,
    dead: usize,
    unknown: usize,
    unserved: usize,
}

impl LabelRow {
    fn of(label: &LabelStatus) -> LabelRow {
        let count = |is: fn(&Health) -> bool| {
            let sockets = label.sockets.iter().filter(|socket| is(&socket.health));
            // A dual-stack socket stands in two slots.
            let mut cookies: Vec<u64> = sockets.map(|socket| socket.slot.cookie).collect();
            cookies.sort_unstable();
            cookies.dedup();
            cookies.len()
        };
        LabelRow {
            named: vec![("label", label.label.to_string())],
            sum: label.sum,
            selectable: count(|health| matches!(health, Health::Selectable)),
            dead: count(|health| matches!(health, Health::Dead(_))),
            unknown: count(|health| matches!(health, Health::Unknown)),
            unserved: label.missing.len(),
        }
    }

    fn with(mut self, other: LabelRow) -> LabelRow {
        self.sum.add(&other.sum);
        self.selectable += other.selectable;
        self.dead += other.dead;
        self.unknown += other.unknown;
        self.unserved += other.unserved;
        self
    }

    fn sockets(&self) -> [(Named, usize); 3] {
        in_states([("selectable", self.selectable), ("dead", self.dead), ("unknown", self.unknown)]).map(
            |(state, count)| {
                let mut named = self.named.clone();
                named.extend(state);
                (named, count)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/metrics.md");
    const RULES: &str = include_str!("../../../../../examples/metrics/alerts.yml");
    const RULE_TESTS: &str = include_str!("../../../../../examples/metrics/alerts-test.yml");
    const DASHBOARD: &str = include_str!("../../../../../examples/metrics/dashboard.json");

    /// The words of a text that look like metrics of ours. Names of recording rules have a colon.
    fn named(text: &str) -> Vec<&str> {
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
        let words = text.split(|character| !is_name(character));
        words.filter(|word| word.starts_with("sklookup_") && !word.contains(':')).collect()
    }

    #[test]
    fn what_the_dashboard_the_rules_and_the_page_name_exists() {
        let known: Vec<String> = ALL.iter().map(Family::sample_name).collect();
        for (file, text) in [("page", PAGE), ("rules", RULES), ("tests", RULE_TESTS), ("dashboard", DASHBOARD)] {
            let used = named(text);
            assert!(!used.is_empty(), "{file}");
            for name in used {
                assert!(known.iter().any(|known| known == name), "{file}: there is no metric {name}");
            }
        }
    }

    #[test]
    fn every_metric_is_on_the_page_with_its_help() {
        for family in ALL {
            let row = format!("| `{}` | {} | {} |", family.sample_name(), kind(family.kind), family.help);
            assert!(PAGE.contains(&row), "docs/metrics.md has no row: {row}");
        }
    }

    #[test]
    fn names_end_in_their_unit_and_help_is_one_line() {
        for family in ALL {
            assert!(family.unit.is_none_or(|unit| family.name.ends_with(&format!("_{unit}"))), "{}", family.name);
            assert!(!family.help.contains(['\n', '\\']) && family.help.ends_with('.'), "{}", family.name);
        }
    }

    fn kind(kind: Kind) -> &'static str {
        match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
        }
    }
}
