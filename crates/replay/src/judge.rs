//! What policies decide about the first packet of a flow.

use std::collections::HashMap;

use sklookup_policy::{Finder, Packet, Policy};

use crate::report::{Row, Traffic};

/// What a policy decides about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decided {
    /// A binding, by its place in [`Policy::entries`](sklookup_policy::Policy::entries).
    Binding(usize),
    /// No binding matches: the regular lookup.
    NoBinding,
    /// It depends on the interface, which the capture does not tell.
    Interface,
}

/// Decides, and keeps the rows.
#[derive(Debug)]
pub struct Judge<'p> {
    policy: Finder<'p>,
    against: Option<Finder<'p>>,
    rows: Vec<Row>,
    /// Where the row of a pair of decisions is.
    places: HashMap<(Decided, Option<Decided>), u32>,
}

impl<'p> Judge<'p> {
    /// By one policy, or by two.
    pub fn new(policy: &'p Policy, against: Option<&'p Policy>) -> Judge<'p> {
        let against = against.map(Finder::new);
        Judge { policy: Finder::new(policy), against, rows: Vec::new(), places: HashMap::new() }
    }

    /// Whether some binding asks for the interface.
    pub fn asks_for_interfaces(&self) -> bool {
        let names = |finder: &Finder<'_>| !finder.policy().interfaces().is_empty();
        names(&self.policy) || self.against.as_ref().is_some_and(names)
    }

    /// The number of the row for what a packet begins.
    pub fn row(&mut self, packet: &Packet) -> u32 {
        let (by, against) = (decided(&self.policy, packet), self.against.as_ref().map(|other| decided(other, packet)));
        *self.places.entry((by, against)).or_insert_with(|| {
            let place = u32::try_from(self.rows.len()).expect("there are fewer pairs of bindings that meet");
            self.rows.push(Row { by, against, traffic: Traffic::default(), example: packet.clone() });
            place
        })
    }

    /// Adds to a row.
    pub fn add(&mut self, row: u32, traffic: Traffic) {
        self.rows[row as usize].traffic.add(traffic);
    }

    /// All rows, in the order in which they came.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

fn decided(finder: &Finder<'_>, packet: &Packet) -> Decided {
    if finder.depends_on_interface(packet) {
        return Decided::Interface;
    }
    finder.winner(packet).map_or(Decided::NoBinding, Decided::Binding)
}
