//! The world of a case, in the order in which its parts need each other: maps, programs, sockets, what is in the maps,
//! links.

use std::collections::{BTreeMap, HashSet};

use sklookup_compiler::{Family, MapRole, Options, compile, label_map};
use sklookup_policy::Protocol;

use super::Stop;
use crate::case::{Action, Case, Compiled, Kind, Program};
use crate::host::{Host, LoadRefusal, Outcome, Refusal};

pub(super) fn world(case: &Case, host: &mut dyn Host) -> Result<(), Stop> {
    let world = &case.world;
    let stop = |what: String| {
        move |refusal: Refusal| match refusal {
            Refusal::Cannot(reason) => Stop::Skipped(reason),
            Refusal::Broken(reason) => Stop::Failed { line: None, why: format!("{what}: {reason}") },
            Refusal::Errno(errno) => Stop::Failed { line: None, why: format!("{what}: {errno}") },
        }
    };
    // What a step makes is not there before.
    let later: HashSet<&str> = case.steps.iter().filter_map(|step| made_by(&step.action)).collect();
    host.furnish(world).map_err(stop("the world".to_owned()))?;
    let now = |name: &String| !later.contains(name.as_str());
    for (name, map) in world.maps.iter().filter(|(name, _)| now(name)) {
        host.create(name, &map.spec).map_err(stop(format!("map {name}")))?;
    }
    for (name, _) in world.programs.iter().filter(|(name, _)| now(name)) {
        load(case, name, host).map_err(|refused| match refused {
            LoadRefusal { refusal: refusal @ Refusal::Errno(_), log } => {
                stop(format!("program {name}:\n{log}\n"))(refusal)
            }
            LoadRefusal { refusal, .. } => stop(format!("program {name}"))(refusal),
        })?;
    }
    for (name, socket) in &world.sockets {
        host.open(name, socket).map_err(stop(format!("socket {name}")))?;
    }
    for (name, map) in world.maps.iter().filter(|(name, _)| now(name)) {
        for (key, value) in &map.contents {
            super::put(case, name, key, value, 0, host).map_err(stop(format!("{key} of map {name}")))?;
        }
    }
    for (name, program) in &world.programs {
        if let Program::Policy(compiled) = program {
            register(name, compiled, case, host).map_err(stop(format!("the sockets of program {name}")))?;
        }
    }
    for (link, program) in &world.links {
        host.attach(link, program, None).map_err(stop(format!("link {link}")))?;
    }
    Ok(())
}

/// The map or program that a step makes.
fn made_by(action: &Action) -> Option<&str> {
    match action {
        Action::Load { program, .. } => Some(program),
        Action::Create { map, .. } => Some(map),
        _ => None,
    }
}

/// Loads a program of the case, with the maps that a policy brings.
pub(super) fn load(case: &Case, name: &str, host: &mut dyn Host) -> Result<(), LoadRefusal> {
    let (_, program) =
        case.world.programs.iter().find(|(known, _)| known == name).expect("names are checked when read");
    match program {
        Program::Text(spec) => host.load(name, spec),
        Program::Object(program) => host.load(name, &program.spec),
        Program::Policy(compiled) => load_policy(name, compiled, host),
    }
}

fn load_policy(name: &str, policy: &Compiled, host: &mut dyn Host) -> Result<(), LoadRefusal> {
    let broken = |reason: String| LoadRefusal { refusal: Refusal::Broken(reason), log: String::new() };
    let refused = |refusal| LoadRefusal { refusal, log: String::new() };
    let mut interfaces = BTreeMap::new();
    for entry in policy.policy.entries() {
        if let Some(interface) = &entry.binding.interface {
            let index = host.interface(interface.as_str());
            let index = index.ok_or_else(|| broken(format!("there is no interface {interface}")))?;
            interfaces.insert(interface.clone(), index);
        }
    }
    let cpus = sklookup_kernel::possible_cpus().unwrap_or(1);
    let options = Options { interfaces, cpus, strategy: policy.strategy };
    let compiled = compile(&policy.policy, &options).map_err(|error| broken(error.to_string()))?;
    for index in 0..compiled.labels.len() {
        host.create(&label(name, index), &label_map::spec("label")).map_err(refused)?;
    }
    let mut names = Vec::new();
    for (at, (role, spec)) in compiled.maps.iter().enumerate() {
        let map = match role {
            MapRole::Label(index) => label(name, *index),
            role => {
                let map = format!("{name}/{at}");
                host.create(&map, spec).map_err(refused)?;
                if *role == MapRole::Labels {
                    let labels: Vec<String> = (0..compiled.labels.len()).map(|index| label(name, index)).collect();
                    host.fill(&map, &labels).map_err(refused)?;
                }
                map
            }
        };
        names.push(map);
    }
    host.load(name, &sklookup_bpf::ProgramSpec { maps: names, ..compiled.program })
}

/// Puts the sockets of a policy's labels where its program looks for them.
fn register(name: &str, compiled: &Compiled, case: &Case, host: &mut dyn Host) -> Outcome {
    for (word, sockets) in &compiled.sockets {
        let labels = compiled.policy.labels();
        let index = labels.iter().position(|known| known.as_str() == word).expect("labels are checked when read");
        let mut members: BTreeMap<u32, u32> = BTreeMap::new();
        for socket in sockets {
            let kind = case.world.sockets.iter().find(|(known, _)| known == socket).map(|(_, socket)| socket.kind);
            let protocol = if kind == Some(Kind::Udp) { Protocol::Udp } else { Protocol::Tcp };
            let (v4, v6) = host.families(socket)?;
            for family in
                [(v4, Family::V4), (v6, Family::V6)].into_iter().filter_map(|(takes, family)| takes.then_some(family))
            {
                let member = members.entry(label_map::slot(family, protocol, 0)).or_default();
                if *member == label_map::MEMBERS {
                    return Err(Refusal::Broken(format!("label {word} has more sockets than members")));
                }
                let slot = label_map::slot(family, protocol, *member);
                *member += 1;
                host.put_socket(&label(name, index), &slot.to_ne_bytes(), socket, 0)?;
            }
        }
    }
    Ok(())
}

/// What the map of a label is called.
fn label(program: &str, index: usize) -> String {
    format!("{program}/label {index}")
}
