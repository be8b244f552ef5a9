//! One `[[case]]`.

mod names;

use std::collections::HashSet;
use std::sync::Arc;

use super::map::Contents;
use super::object::Objects;
use super::room::Room;
use super::tree::{Keys, Node, Read};
use super::{list, step, world};
use crate::case::{Case, Map, Program, Version};

/// Definitions at the top of a file: a case uses them by name.
#[derive(Default)]
pub(super) struct Shared {
    maps: Vec<(String, Map)>,
    /// What is in maps of objects.
    filled: Vec<(String, Contents)>,
    programs: Vec<(String, Program)>,
}

impl Shared {
    pub(super) fn read(&mut self, keys: &mut Keys, objects: &Objects<'_>) -> Read<()> {
        (self.maps, self.filled) = world::maps(keys)?;
        self.programs = world::programs(keys, objects)?;
        Ok(())
    }

    /// Gives a case what it names and does not define itself: programs, then the maps that these use too, of the file or of
    /// their objects.
    fn lend(&self, case: &mut Case, filled: Vec<(String, Contents)>, objects: &Objects<'_>) -> Read<()> {
        let lent = missing(&self.programs, &case.world.programs, &names::programs(case));
        case.world.programs.splice(..0, lent);
        let lent = missing(&self.maps, &case.world.maps, &names::maps(case));
        case.world.maps.splice(..0, lent);
        objects.furnish(case, filled, &self.filled)
    }
}

/// Those that are named and not there yet.
fn missing<T: Clone>(all: &[(String, T)], own: &[(String, T)], named: &HashSet<String>) -> Vec<(String, T)> {
    let is_missing = |name: &String| named.contains(name) && own.iter().all(|(known, _)| known != name);
    all.iter().filter(|(name, _)| is_missing(name)).cloned().collect()
}

pub(super) fn read(node: Node, shared: &Shared, path: &Arc<str>, objects: &Objects<'_>, room: &mut Room) -> Read<Case> {
    let mut keys = node.keys("a case", "[[case]] and its keys below")?;
    let line = keys.line;
    let node = keys.required("name", "\"a-name\"")?;
    let name = node.text("name", "\"a-name\"")?.to_owned();
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(node.not("name", "a name without blanks, such as \"a-selection-beats-a-drop\""));
    }
    let source = keys.text("source", "where the rule is stated")?;
    let note = keys.text("note", "a sentence")?;
    let kernel = keys.take("kernel").map(|node| version(&node)).transpose()?;
    let (world, filled) = world::read(&mut keys, objects)?;
    let steps = list(&mut keys, "step")?;
    // First: a file of something else has keys that no case has, and no steps either.
    keys.end()?;
    let steps = step::read(steps, line)?;
    let instructions = room.instructions();
    let mut case = Case { name, file: path.clone(), line, source, kernel, note, world, steps, instructions };
    room.take_case(&case)?;
    shared.lend(&mut case, filled, objects)?;
    names::check(&case)?;
    Ok(case)
}

fn version(node: &Node) -> Read<Version> {
    let text = node.text("kernel", "\"5.9\"")?;
    let plain = Version::parse(text).filter(|version| version.to_string() == text);
    plain.ok_or_else(|| node.not("kernel", "the oldest version that it holds for, such as \"5.9\""))
}
