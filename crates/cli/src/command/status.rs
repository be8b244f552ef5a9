//! `status`: what is in effect, what is wrong with it, and what could not be seen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sklookup_compiler::{Counts, Family, OBSERVER};
use sklookup_policy::Entry;
use sklookup_steering::Sum;
use sklookup_steering::status::{
    Attached, Finding, Health, InEffect, Kind, LabelStatus, SocketOwner, SocketStatus, Status, Steering, Unseen,
};

use crate::args::{self, Global};
use crate::command::list::{described, table};
use crate::context::{existing_state, named, netns, read_whole};
use crate::counts::{self, many};
use crate::escape::printable;
use crate::kept;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};

/// How many bindings are shown here; more are `list`'s.
const SHOWN: usize = 30;

pub fn status(global: &Global, args: &args::Status) -> Result<Answer, Failure> {
    let file = args.policy.as_deref().map(|file| Ok::<_, Failure>((named(file), read_whole(file)?))).transpose()?;
    let state = existing_state(global)?;
    let status = match &state {
        Some(state) => state.status()?,
        None => Status::without_steering(&netns(global)?),
    };
    let mut findings = status.findings();
    findings.extend(file.and_then(|(name, policy)| status.against_file(&policy, &name)).into_iter().flatten());
    findings.extend(kept::drift(global, state.as_ref(), &status));
    let exit = match &status.steering {
        Steering::Hidden { .. } => COULD_NOT,
        _ if !findings.is_empty() => NO,
        _ => YES,
    };
    // Either is long where there are many bindings, and only one is printed.
    let answer = match global.json {
        true => for_machines(&status),
        false => Answer::yes(text(&status), json!({})),
    };
    // People are told a few of each kind; documents have all.
    let mut answer = answer.exit(exit);
    if !findings.is_empty() && global.json {
        let warnings = findings.iter().map(|finding| {
            let mut warning = said(finding).json();
            warning["kind"] = json!(finding.kind.name());
            warning
        });
        answer.json.insert("warnings".to_owned(), warnings.collect());
    }
    Ok(answer.saying(few(&findings)))
}

fn said(finding: &Finding) -> Said {
    Said::with_help(finding.message.clone(), finding.help.clone())
}

/// The first findings of each kind, and how many more there are.
fn few(findings: &[Finding]) -> Vec<Said> {
    const TOLD: usize = 10;
    let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut told = Vec::new();
    for finding in findings {
        let count = seen.entry(finding.kind).or_default();
        *count += 1;
        if *count <= TOLD {
            told.push(said(finding));
        }
    }
    for (kind, count) in seen.into_iter().filter(|(_, count)| *count > TOLD) {
        let more = count - TOLD;
        let what = match kind {
            Kind::DeadSocket => "sockets that get no packets",
            Kind::NoSocket => "labels without a socket for what is steered to them",
            Kind::Interface => "interfaces that are gone or were made again",
            Kind::EndedRun => "`run` commands that have ended",
            Kind::Replaced => "programs that are not what they should be",
            Kind::NotApplied => "bindings of the file that are not applied",
            Kind::NotInFile => "bindings that are applied and not in the file",
            Kind::Kept => "policies on disk that are not in effect",
        };
        told.push(Said::with_help(format!("and {more} more {what}"), "`sklookup status --json` has all of them"));
    }
    told
}

/// All but the findings, which are said as every command says what is amiss.
fn for_machines(status: &Status) -> Answer {
    let answer = Answer::yes("", document(status));
    let Some(in_effect) = status.in_effect() else { return answer };
    answer.with_rows("bindings", bindings(in_effect).map(|(entry, counts)| described(entry, counts)).collect())
}

/// The same but for the bindings, which may be many.
fn document(status: &Status) -> Value {
    let programs = status.programs.as_ref().map(|programs| programs.iter().map(program).collect::<Vec<Value>>());
    let unseen: Vec<Value> =
        status.unseen.iter().map(|unseen| json!({ "what": unseen.what, "why": unseen.why })).collect();
    let (steering, id) = match &status.steering {
        Steering::Nothing => ("none", None),
        Steering::Hidden { generation } => ("hidden", *generation),
        Steering::Live(in_effect) => ("live", Some(in_effect.generation)),
        Steering::Replaced { .. } => ("replaced", None),
    };
    let mut document = json!({
        "netns": { "name": status.netns, "inode": status.inode },
        "steering": steering,
        "generation": id,
        "programs": programs,
        "litter": status.litter,
        "unseen": unseen,
    });
    let Some(in_effect) = status.in_effect() else { return document };
    let interfaces = in_effect.interfaces.iter().map(|interface| {
        json!({ "name": interface.name.to_string(), "index-applied": interface.applied, "index-now": interface.now })
    });
    let runs =
        in_effect.runs.iter().map(|run| json!({ "pid": run.owner.pid, "bindings": run.bindings, "alive": run.alive }));
    document["policy"] = policy(in_effect);
    document["counts"] = counts::json(&in_effect.total);
    document["rules"] = json!({ "pass": rule(&in_effect.pass), "refuse": rule(&in_effect.refuse) });
    document["labels"] = in_effect.labels.iter().map(label).collect();
    document["interfaces"] = interfaces.collect();
    document["runs"] = runs.collect();
    document
}

fn policy(in_effect: &InEffect) -> Value {
    let InEffect { link, record, digest, .. } = in_effect;
    json!({
        "parent": record.parent,
        "link": link,
        "time": record.time,
        "writer": record.writer,
        "layout": record.layout,
        "strategy": record.strategy.to_string(),
        "why": record.why,
        "digest": digest,
    })
}

fn rule(sum: &Sum) -> Value {
    json!({ "bindings": sum.bindings, "counts": counts::json(sum) })
}

fn label(label: &LabelStatus) -> Value {
    let missing: Vec<Value> = label
        .missing
        .iter()
        .map(|missing| json!({ "protocol": missing.protocol.to_string(), "family": family(missing.family) }))
        .collect();
    let socket = |socket: &SocketStatus| {
        let mut fields = holder(socket);
        fields.insert("protocol".to_owned(), json!(socket.slot.protocol.to_string()));
        fields.insert("family".to_owned(), json!(family(socket.slot.family)));
        fields.insert("member".to_owned(), json!(socket.slot.member));
        fields.insert("local".to_owned(), json!(socket.local.map(|local| local.to_string())));
        Value::Object(fields)
    };
    let sockets: Vec<Value> = label.sockets.iter().map(socket).collect();
    json!({
        "label": label.label.to_string(),
        "bindings": label.sum.bindings,
        "counts": counts::json(&label.sum),
        "sockets": sockets,
        "missing": missing,
    })
}

/// Which socket it is, who has it, and whether it can be selected, for machines.
pub fn holder(socket: &SocketStatus) -> Map<String, Value> {
    let processes = socket.owners.iter();
    let processes = processes.map(|owner| json!({ "pid": owner.pid, "name": owner.name, "unit": owner.unit }));
    let (selectable, why) = match &socket.health {
        Health::Selectable => (Some(true), None),
        Health::Dead(why) => (Some(false), Some(why)),
        Health::Unknown => (None, None),
    };
    Map::from_iter([
        ("cookie".to_owned(), json!(socket.slot.cookie.to_string())),
        ("processes".to_owned(), processes.collect()),
        ("selectable".to_owned(), json!(selectable)),
        ("why".to_owned(), json!(why)),
    ])
}

/// A program on the hook, for machines.
pub fn program(program: &Attached) -> Value {
    let mut fields = json!({ "id": program.id, "ours": program.ours, "name": null, "tag": null, "uid": null });
    if let Some(info) = &program.info {
        fields["name"] = json!(info.name);
        fields["tag"] = json!(hex(&info.tag));
        fields["uid"] = json!(info.created_by_uid);
    }
    fields
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    write(&mut text, status).expect("a String takes all");
    text
}

fn write(text: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(text, "netns       {} (inode {})", printable(&status.netns), status.inode)?;
    match &status.steering {
        Steering::Nothing => writeln!(text, "steering    nothing is steered here")?,
        Steering::Hidden { generation: Some(id) } => {
            writeln!(text, "steering    generation {id} is in effect; what it does can't be seen")?;
        }
        Steering::Hidden { generation: None } => writeln!(text, "steering    can't be seen")?,
        Steering::Replaced { link, program, .. } => {
            writeln!(text, "steering    none of a policy: link {link} runs program {program}, which is not ours")?;
        }
        Steering::Live(in_effect) => write_in_effect(text, in_effect)?,
    }
    match status.programs.as_deref() {
        None | Some([]) => {}
        Some(programs) => {
            writeln!(text, "\nprograms on the hook, in the order in which they run")?;
            let own = programs.iter().position(|program| program.ours);
            for (place, program) in programs.iter().enumerate() {
                // What that means is said by `programs`.
                let side = match own {
                    Some(own) if place < own => "  before it",
                    Some(own) if place > own => "  after it",
                    _ => "",
                };
                writeln!(text, "  {}{side}", in_words(program))?;
            }
        }
    }
    if !status.litter.is_empty() {
        writeln!(
            text,
            "\nleft by commands that were killed (the next change sweeps it up): {}",
            status.litter.join(" ")
        )?;
    }
    for Unseen { what, why } in &status.unseen {
        writeln!(text, "\nnot seen: {what}: {}", printable(why))?;
    }
    Ok(())
}

fn write_in_effect(text: &mut String, in_effect: &InEffect) -> std::fmt::Result {
    let InEffect { link, generation, record, digest, .. } = in_effect;
    let link = link.map(|id| format!(" under link {id}")).unwrap_or_default();
    writeln!(
        text,
        "generation  {generation}{link}, put in effect {} by sklookup {}",
        ago(record.time),
        printable(&record.writer)
    )?;
    let (bindings, labels) = (record.policy.len(), in_effect.labels.len());
    let (of, digest) =
        (format!("{}, {}", many(bindings, "binding"), many(labels, "label")), &digest[..digest.len().min(16)]);
    writeln!(text, "policy      {of}, sha256 {digest}")?;
    writeln!(text, "compiled    {}: {}", record.strategy, printable(&record.why))?;
    writeln!(text, "counted     {} ({})", counts::text(&in_effect.total), counts::NOT_CONNECTIONS)?;
    for label in &in_effect.labels {
        let named = match label.sum.bindings {
            0 => "no binding names it".to_owned(),
            _ => summed(&label.sum),
        };
        writeln!(text, "\n{}  ({named})", label.label)?;
        for row in rows(&label.sockets) {
            writeln!(text, "  {row}")?;
        }
        for missing in &label.missing {
            writeln!(text, "  {} {}  NO SOCKET", missing.protocol, family(missing.family))?;
        }
    }
    for (rule, sum) in [("pass", &in_effect.pass), ("refuse", &in_effect.refuse)] {
        if sum.bindings > 0 {
            writeln!(text, "\n{rule}  (by rule: {})", summed(sum))?;
        }
    }
    if (1..=SHOWN).contains(&bindings) {
        let listed: Vec<_> = self::bindings(in_effect).collect();
        writeln!(text, "\nbindings")?;
        for line in table(&listed).lines() {
            writeln!(text, "  {line}")?;
        }
    } else if bindings > SHOWN {
        writeln!(text, "\nbindings    `sklookup list` lists them")?;
    }
    if !in_effect.interfaces.is_empty() {
        writeln!(text, "\ninterfaces")?;
    }
    for interface in &in_effect.interfaces {
        let now = match interface.now {
            Some(now) if now == interface.applied => String::new(),
            Some(now) => format!("; NOW ANOTHER DEVICE, index {now}"),
            None => "; GONE".to_owned(),
        };
        writeln!(text, "  {} (index {}{now})", printable(interface.name.as_str()), interface.applied)?;
    }
    for run in &in_effect.runs {
        let state = if run.alive { "running" } else { "ENDED" };
        writeln!(text, "\nrun         pid {}, {state}, {} of its own", run.owner.pid, many(run.bindings, "binding"))?;
    }
    Ok(())
}

/// A line for each socket: a dual-stack one stands in two slots, and is one socket all the same.
fn rows(sockets: &[SocketStatus]) -> Vec<String> {
    let mut rows: Vec<(&SocketStatus, Vec<&str>)> = Vec::new();
    for socket in sockets {
        let same = rows.iter_mut().find(|(row, _)| {
            (row.slot.cookie, row.slot.protocol, &row.health)
                == (socket.slot.cookie, socket.slot.protocol, &socket.health)
        });
        match same {
            Some((_, families)) => families.push(family(socket.slot.family)),
            None => rows.push((socket, vec![family(socket.slot.family)])),
        }
    }
    rows.into_iter()
        .map(|(socket, families)| {
            let local = socket.local.map_or_else(|| "-".to_owned(), |local| local.to_string());
            let health = match &socket.health {
                Health::Selectable | Health::Unknown => String::new(),
                Health::Dead(why) => format!("  DEAD: {}", printable(why)),
            };
            let (protocol, cookie) = (socket.slot.protocol, socket.slot.cookie);
            format!("{protocol} {}  {local}  {}  cookie {cookie}{health}", families.join("+"), owners(&socket.owners))
        })
        .collect()
}

/// The processes that have a socket, for people: the first few by name.
pub fn owners(owners: &[SocketOwner]) -> String {
    const NAMED: usize = 3;
    let mut named: Vec<String> = owners
        .iter()
        .take(NAMED)
        .map(|owner| {
            let unit = owner.unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
            printable(&format!("{} (pid {}{unit})", owner.name, owner.pid))
        })
        .collect();
    if owners.len() > NAMED {
        named.push(format!("{} more", owners.len() - NAMED));
    }
    if named.is_empty() { "owner unknown".to_owned() } else { named.join(", ") }
}

/// A program on the hook, for people.
pub fn in_words(program: &Attached) -> String {
    let watches = program.info.as_ref().is_some_and(|info| info.name == OBSERVER);
    let whose = match program.ours {
        true => "this policy",
        // Anybody may give a program this name.
        false if watches => "by its name of a `sklookup watch`, which selects nothing",
        false => "not of this policy",
    };
    match &program.info {
        Some(info) => format!(
            "{}  {whose}: {} (tag {}, loaded by user {})",
            program.id,
            if info.name.is_empty() { "without a name".to_owned() } else { printable(&info.name) },
            hex(&info.tag),
            info.created_by_uid
        ),
        None => format!("{}  {whose}", program.id),
    }
}

fn bindings(in_effect: &InEffect) -> impl Iterator<Item = (&Entry, &Counts)> {
    in_effect.record.policy.entries().iter().zip(&in_effect.counts)
}

fn summed(sum: &Sum) -> String {
    format!("{}, {}", many(sum.bindings, "binding"), counts::text(sum))
}

/// As JSON and tables have it.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long ago a time was, in the largest unit that fits: nobody has to know the time zone.
pub fn ago(time: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(time);
    // A clock that was set back makes the past look like the future.
    let seconds = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= *length);
    match unit.map(|(length, name)| (seconds / length, name)) {
        None => "just now".to_owned(),
        Some((1, name)) => format!("1 {name} ago"),
        Some((number, name)) => format!("{number} {name}s ago"),
    }
}
