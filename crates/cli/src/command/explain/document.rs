//! An explanation for machines; docs/json.md has its shape.

use serde_json::{Map, Value, json};
use sklookup_explain::{Account, Alone, Around, Decision, Explanation, Fate, How, Others, Verdict, Way};
use sklookup_steering::status::{Attached, Unseen};

use super::{sentences, sockets};
use crate::command::status::program;
use crate::render;

/// All of it.
pub fn of(explanation: &Explanation) -> Value {
    let Explanation { packet, way, fate, disagreement, account, .. } = explanation;
    let (socket, why) = match fate {
        Fate::Socket(cookie) => (Some(cookie.to_string()), None),
        Fate::Refused => (None, None),
        Fate::Astray(astray) => (None, Some(sentences::astray(*astray, packet))),
        Fate::Unknown(why) => (None, Some(why.clone())),
    };
    let limits: Vec<String> = explanation.limits.iter().map(|limit| sentences::limit(*limit)).collect();
    json!({
        "packet": packet.to_string(),
        "answer": sentences::kind(fate),
        "socket": socket,
        "why": why,
        "disagreement": disagreement,
        "arrival": arrival(way),
        "account": account.as_ref().ok().map(self::account),
        "programs": explanation.programs.as_ref().map(|programs| ran(programs, explanation)),
        "others": others(explanation.others),
        "sockets": sockets::documents(&explanation.sockets),
        "limits": limits,
        "unseen": unseen(&explanation.unseen),
    })
}

/// What is known beside an answer about many packets.
pub fn around(around: &Around) -> [(&'static str, Value); 4] {
    [
        ("sockets", json!(sockets::documents(&around.sockets))),
        ("readable", json!(around.readable)),
        ("programs", programs(around.programs.as_deref())),
        ("unseen", json!(unseen(&around.unseen))),
    ]
}

/// The programs on the hook; null where they may not be listed.
pub fn programs(programs: Option<&[Attached]>) -> Value {
    json!(programs.map(|programs| programs.iter().map(program).collect::<Vec<Value>>()))
}

/// The same, each with what it did when it was run alone.
fn ran(programs: &[Attached], explanation: &Explanation) -> Vec<Value> {
    let document = |attached: &Attached| {
        let mut fields = program(attached);
        fields["alone"] = json!(explanation.alone.get(&attached.id).map(alone));
        fields
    };
    programs.iter().map(document).collect()
}

fn alone(alone: &Alone) -> Value {
    let (verdict, selected) = match alone {
        Alone::Passed => (Some("pass"), None),
        Alone::Dropped => (Some("drop"), None),
        Alone::Selected(cookie) => (Some("pass"), Some(cookie.to_string())),
        Alone::SelectedOfGroup | Alone::NotRun(_) | Alone::Spared => (None, None),
    };
    json!({ "verdict": verdict, "selected": selected, "error": sentences::untold(alone) })
}

/// What could not be seen.
pub fn unseen(unseen: &[Unseen]) -> Vec<Value> {
    unseen.iter().map(|unseen| json!({ "what": unseen.what, "why": unseen.why })).collect()
}

/// The binding that decides, and those it goes before.
pub fn decision(decision: &Decision) -> Map<String, Value> {
    let winner = decision.winner.as_ref().map(|entry| Value::Object(render::entry(entry)));
    let runners_up = decision.runners_up.iter().map(|(entry, reason)| {
        let mut fields = render::entry(entry);
        fields.insert("reason".to_owned(), json!(reason.to_string()));
        Value::Object(fields)
    });
    Map::from_iter([("decision".to_owned(), json!(winner)), ("runners-up".to_owned(), runners_up.collect())])
}

fn arrival(way: &Way) -> Value {
    let Way::Lookup(arrival) = way else { return Value::Null };
    let how = match arrival.how {
        How::Named => "named",
        How::HostLocal => "host-local",
        How::RouteBack => "route-back",
        How::Any => "any",
    };
    let interfaces: Vec<Value> =
        arrival.interfaces.iter().map(|(index, name)| json!({ "index": index, "name": name })).collect();
    json!({ "how": how, "interfaces": interfaces })
}

fn account(account: &Account) -> Value {
    let run = account.run.as_ref().map(|run| {
        let mut fields = decision(&run.decision);
        let tried: Vec<Value> = run
            .tried
            .iter()
            .map(|tried| json!({ "cookie": tried.cookie.to_string(), "refused": sentences::tried(tried) }))
            .collect();
        let verdict = match run.verdict {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
        };
        fields.insert("tried".to_owned(), json!(tried));
        fields.insert("verdict".to_owned(), json!(verdict));
        fields.insert("selected".to_owned(), json!(run.selected.map(|cookie| cookie.to_string())));
        Value::Object(fields)
    });
    let matching: Vec<String> = account.regular.matching.iter().map(u64::to_string).collect();
    json!({
        "connected": account.connected.map(|cookie| cookie.to_string()),
        "run": run,
        "regular": { "exact": account.regular.exact, "matching": matching },
    })
}

fn others(others: Others) -> &'static str {
    match others {
        Others::None => "none",
        Others::NotAsked => "not-asked",
        Others::NothingChanged => "nothing-changed",
        Others::Selected => "selected",
        Others::Dropped => "dropped",
        Others::Unknown => "unknown",
    }
}
