//! `programs`: who is on the hook, in which order, and who can override whom.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sklookup_compiler::OBSERVER;
use sklookup_kernel::{ProgramInfo, probe, since_boot};
use sklookup_steering::attachments::{About, Attachments, Chain, OnHook, Source, Whose};

use crate::args::{Global, Programs};
use crate::command::attach::about;
use crate::command::status::{ago, hex};
use crate::context::{existing_state, netns};
use crate::escape::printable;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};

pub fn programs(global: &Global, _: &Programs) -> Result<Answer, Failure> {
    let netns = netns(global)?;
    let chain = chain(global)?;
    let counting = probe::bpf_stats_enabled().ok();
    let unseen: Vec<Value> =
        chain.unseen.iter().map(|unseen| json!({ "what": unseen.what, "why": unseen.why })).collect();
    let json = json!({
        "netns": { "name": netns.describe(), "inode": netns.inode() },
        "programs": chain.programs.as_ref().map(|programs| programs.iter().map(document).collect::<Vec<Value>>()),
        "counting": counting,
        "litter": chain.litter,
        "unseen": unseen,
    });
    let mut text = String::new();
    write(&mut text, &chain, counting).expect("a String takes all");
    let exit = match chain.programs.as_deref() {
        None => COULD_NOT,
        Some([]) => NO,
        Some(_) => YES,
    };
    let nothing = (exit == NO).then(|| Said::new("no program is on the hook"));
    Ok(Answer::yes(text, json).exit(exit).saying(nothing).saying(overrides(&chain, None)))
}

/// The programs on the hook of the namespace.
pub fn chain(global: &Global) -> Result<Chain, Failure> {
    let netns = netns(global)?;
    Ok(match existing_state(global)? {
        Some(state) => {
            let attachments = Attachments::new(&global.bpffs, self::netns(global)?)?;
            Chain::of(&netns, Some((&global.bpffs, &state, &attachments)))?
        }
        None => Chain::of(&netns, None)?,
    })
}

/// Who can override whom: a sentence for each program beside the policy, or beside the one that was just attached.
///
/// Every program runs, each starting from what those before it selected. What a program records is replaced by a later one
/// that asks for that, and a drop counts only where nobody has selected (Linux 6.18; testdata/lookup/verdicts.toml).
pub fn overrides(chain: &Chain, newcomer: Option<u32>) -> Vec<Said> {
    let programs = chain.programs.as_deref().unwrap_or_default();
    let is_subject = |program: &OnHook| match newcomer {
        Some(id) => program.id == id,
        None => matches!(program.whose, Whose::Policy),
    };
    let Some(place) = programs.iter().position(is_subject) else { return Vec::new() };
    let sentence = |later: &OnHook, earlier: &OnHook| {
        let (first, second) = (called(earlier), called(later));
        Said::new(match later.whose {
            // What we compile never replaces what another has selected.
            Whose::Policy => {
                format!("{second} runs after {first}: it leaves to it what it selects, and counts that as a fault")
            }
            // Anybody may give a program this name.
            Whose::Other if is_named(later, OBSERVER) => format!(
                "{second} runs after {first}: a `sklookup watch` has this name, and selects nothing; another program could"
            ),
            _ => format!(
                "{second} runs after {first}: it can replace what that selects, and select what that refuses; it can't drop \
                 what that selects"
            ),
        })
    };
    let subject = &programs[place];
    let before = programs[..place].iter().map(|before| sentence(subject, before));
    before.chain(programs[place + 1..].iter().map(|after| sentence(after, subject))).collect()
}

fn is_named(program: &OnHook, name: &str) -> bool {
    program.info.as_ref().is_some_and(|info| info.name == name)
}

/// A program, by what people call it.
fn called(program: &OnHook) -> String {
    match (&program.whose, &program.info) {
        (Whose::Policy, _) => format!("the policy (program {})", program.id),
        (Whose::Attached(attachment), _) => format!("{} (program {})", printable(&attachment.name), program.id),
        (Whose::Other, Some(info)) if !info.name.is_empty() => {
            format!("{} (program {})", printable(&info.name), program.id)
        }
        (Whose::Other, _) => format!("program {}", program.id),
    }
}

fn document(program: &OnHook) -> Value {
    let (whose, mut fields) = match &program.whose {
        Whose::Policy => ("policy", json!({})),
        Whose::Other => ("other", json!({})),
        Whose::Attached(attachment) => {
            let mut fields = attachment.about.as_ref().map_or_else(|| json!({}), about);
            fields["attached-as"] = json!(attachment.name);
            fields["maps-pinned"] = json!(attachment.maps.display().to_string());
            ("attached", fields)
        }
    };
    fields["id"] = json!(program.id);
    fields["whose"] = json!(whose);
    fields["links"] = json!(program.links);
    fields["pins"] = program.pins.iter().map(|pin| json!(pin.display().to_string())).collect();
    let info = program.info.as_ref();
    fields["name"] = json!(info.map(|info| &info.name));
    fields["tag"] = json!(info.map(|info| hex(&info.tag)));
    fields["uid"] = json!(info.map(|info| info.created_by_uid));
    fields["loaded"] = json!(info.and_then(loaded));
    fields["runs"] = json!(info.map(|info| info.run_count));
    fields["nanoseconds"] = json!(info.map(|info| info.run_time));
    fields
}

/// When a program was loaded, in seconds since the epoch.
fn loaded(info: &ProgramInfo) -> Option<u64> {
    let since = since_boot().checked_sub(Duration::from_nanos(info.load_time)).unwrap_or_default();
    Some(SystemTime::now().checked_sub(since)?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn write(text: &mut String, chain: &Chain, counting: Option<bool>) -> std::fmt::Result {
    for (place, program) in chain.programs.iter().flatten().enumerate() {
        let whose = match &program.whose {
            Whose::Policy => "the policy".to_owned(),
            Whose::Attached(attachment) => format!("attached as {}", printable(&attachment.name)),
            Whose::Other if is_named(program, OBSERVER) => "by its name of a `sklookup watch`".to_owned(),
            Whose::Other => "not of sklookup".to_owned(),
        };
        writeln!(text, "{}  program {}: {whose}", place + 1, program.id)?;
        if let Some(info) = &program.info {
            let name = if info.name.is_empty() { "without a name".to_owned() } else { printable(&info.name) };
            let loaded = loaded(info).map(|loaded| format!(", {}", ago(loaded))).unwrap_or_default();
            writeln!(text, "   {name}, tag {}, loaded by user {}{loaded}", hex(&info.tag), info.created_by_uid)?;
            writeln!(text, "   {}", runs(info, counting))?;
        }
        if let Whose::Attached(attachment) = &program.whose {
            match &attachment.about {
                Some(about) => {
                    let (file, program) = (printable(&about.file), printable(&about.program));
                    writeln!(text, "   of {file}: {program}, sha256 {}", about.sha256.get(..16).unwrap_or_default())?;
                    if !about.maps.is_empty() {
                        writeln!(text, "   maps in {}: {}", attachment.maps.display(), maps(about))?;
                    }
                }
                None => writeln!(text, "   NOT WHAT WAS ATTACHED: somebody else put it under the link")?,
            }
        }
        let links: Vec<String> = program.links.iter().map(u32::to_string).collect();
        if !links.is_empty() {
            writeln!(text, "   link {}", links.join(", "))?;
        }
        for pin in &program.pins {
            writeln!(text, "   pinned {}", printable(&pin.display().to_string()))?;
        }
    }
    if !chain.litter.is_empty() {
        let litter = printable(&chain.litter.join(" "));
        writeln!(text, "\nleft by commands that were killed (the next change sweeps it up): {litter}")?;
    }
    for unseen in &chain.unseen {
        writeln!(text, "\nnot seen: {}: {}", unseen.what, printable(&unseen.why))?;
    }
    Ok(())
}

/// The names of its maps, with where those came from that are not new.
fn maps(about: &About) -> String {
    let name = |(name, source): &(String, Source)| match source {
        Source::Own => printable(name),
        source => printable(&format!("{name} ({source})")),
    };
    about.maps.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What the kernel counted: runs, never verdicts.
fn runs(info: &ProgramInfo, counting: Option<bool>) -> String {
    let note = match counting {
        Some(true) => "",
        Some(false) => " (not counted now: kernel.bpf_stats_enabled is 0)",
        None => " (whether the kernel counts is not known)",
    };
    match info.run_time.checked_div(info.run_count) {
        None if counting == Some(false) => "runs are not counted: kernel.bpf_stats_enabled is 0".to_owned(),
        None => format!("0 runs{note}"),
        Some(mean) => format!("{} runs of {mean} ns{note}", info.run_count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(run_count: u64, run_time: u64) -> ProgramInfo {
        ProgramInfo {
            id: 7,
            kind: 30,
            name: "other".to_owned(),
            tag: [0; 8],
            load_time: 0,
            created_by_uid: 0,
            jited_len: 0,
            xlated_len: 0,
            map_ids: Vec::new(),
            run_count,
            run_time,
        }
    }

    #[test]
    fn what_was_not_counted_is_not_said_to_be_nothing() {
        assert_eq!(runs(&info(4, 100), Some(true)), "4 runs of 25 ns");
        assert_eq!(runs(&info(0, 0), Some(true)), "0 runs");
        assert_eq!(runs(&info(0, 0), Some(false)), "runs are not counted: kernel.bpf_stats_enabled is 0");
        assert!(runs(&info(4, 100), Some(false)).starts_with("4 runs of 25 ns (not counted now"));
    }

    fn program(id: u32, whose: Whose) -> OnHook {
        OnHook { id, whose, info: Some(info(0, 0)), links: Vec::new(), pins: Vec::new() }
    }

    #[test]
    fn who_runs_later_can_replace_what_was_selected_but_for_the_policy() {
        let programs = vec![program(1, Whose::Other), program(2, Whose::Policy), program(3, Whose::Other)];
        let chain = Chain { programs: Some(programs), litter: Vec::new(), unseen: Vec::new() };
        let said = |newcomer| overrides(&chain, newcomer).into_iter().map(|said| said.message).collect::<Vec<_>>();
        let of_policy = said(None);
        assert!(of_policy[0].starts_with("the policy (program 2) runs after other (program 1): it leaves to it"));
        assert!(of_policy[1].starts_with("other (program 3) runs after the policy (program 2): it can replace"));
        assert_eq!(said(Some(3)).len(), 2);
        assert_eq!(said(Some(4)), Vec::<String>::new());
    }
}
