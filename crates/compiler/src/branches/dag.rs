//! The rules of a family and protocol as a decision graph.
//!
//! A node looks at one dimension of the packet and knows which rules still match: the axis is cut where a rule starts
//! or ends, and each piece leads to a node for the rules that are left. Equal rests share one node. A rest ends
//! at the first rule that takes whatever the dimensions still to come say: those after it can't win.

use std::collections::HashMap;
use std::fmt;

use crate::family::Family;
use crate::rules::{Domain, Prefix, Rule};

/// More cuts than this in one graph make more code than the strategy is for, and than jumps can span.
const MAX_CUTS: usize = 1024;

/// What a node looks at, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dimension {
    Destination,
    Port,
    Source,
    Interface,
}

/// A place in the graph. Nodes are known by their place in [`Dag::nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Each piece of the axis starts at a number, the first at 0, and leads to a node further down the list.
    Split { dimension: Dimension, cuts: Vec<(u128, usize)> },
    /// The rule that wins, by its place in [`Domain::rules`].
    Leaf(Option<u32>),
}

/// A decision graph; the packet starts at the first node.
pub(super) struct Dag {
    nodes: Vec<Node>,
}

impl Dimension {
    const ALL: [Dimension; 4] = [Dimension::Destination, Dimension::Port, Dimension::Source, Dimension::Interface];

    /// Whether its numbers have more than 32 bits.
    pub(super) fn is_wide(self, family: Family) -> bool {
        family == Family::V6 && matches!(self, Dimension::Destination | Dimension::Source)
    }

    /// The numbers of this dimension that a rule takes.
    fn range(self, family: Family, rule: &Rule) -> (u128, u128) {
        let prefix = |prefix: Prefix| prefix.range(family.bits());
        match self {
            Dimension::Destination => prefix(rule.destination),
            Dimension::Port => (rule.ports.0.into(), rule.ports.1.into()),
            Dimension::Source => rule.source.map_or((0, self.last(family)), prefix),
            Dimension::Interface => rule.interface.map_or((0, self.last(family)), |index| (index.into(), index.into())),
        }
    }

    /// The highest number.
    fn last(self, family: Family) -> u128 {
        match self {
            Dimension::Destination | Dimension::Source => Prefix { address: 0, length: 0 }.range(family.bits()).1,
            Dimension::Port => u16::MAX.into(),
            Dimension::Interface => u32::MAX.into(),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dimension::Destination => "destination",
            Dimension::Port => "port",
            Dimension::Source => "source",
            Dimension::Interface => "interface",
        })
    }
}

impl Dag {
    /// The graph of a domain; `None` if it would have more than [`MAX_CUTS`] cuts.
    pub(super) fn new(domain: &Domain) -> Option<Dag> {
        if domain.rules.len() > MAX_CUTS {
            return None;
        }
        let mut maker = Maker { domain, nodes: Vec::new(), known: HashMap::new(), cuts: 0 };
        let rules: Vec<u32> = (0..domain.rules.len() as u32).collect();
        let root = maker.node(&Dimension::ALL, rules)?;
        Some(Dag { nodes: in_order(maker.nodes, root) })
    }

    /// The nodes, each before those it leads to.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

struct Maker<'a> {
    domain: &'a Domain,
    nodes: Vec<Node>,
    /// Nodes by how many dimensions are to come and which rules are left.
    known: HashMap<(usize, Vec<u32>), usize>,
    cuts: usize,
}

impl Maker<'_> {
    /// The node for the rules that are left before `dimensions` are looked at.
    fn node(&mut self, dimensions: &[Dimension], rules: Vec<u32>) -> Option<usize> {
        if let Some(&node) = self.known.get(&(dimensions.len(), rules.clone())) {
            return Some(node);
        }
        let node = match dimensions {
            [] => self.add(Node::Leaf(rules.first().copied())),
            [dimension, rest @ ..] => {
                let mut cuts: Vec<(u128, usize)> = Vec::new();
                for (from, left) in self.pieces(*dimension, rest, &rules) {
                    let node = self.node(rest, left)?;
                    if cuts.last().is_none_or(|&(_, last)| last != node) {
                        cuts.push((from, node));
                    }
                }
                self.cuts += cuts.len();
                if self.cuts > MAX_CUTS {
                    return None;
                }
                match cuts[..] {
                    [(_, only)] => only,
                    _ => self.add(Node::Split { dimension: *dimension, cuts }),
                }
            }
        };
        self.known.insert((dimensions.len(), rules), node);
        Some(node)
    }

    /// The axis cut where rules start or end, with the rules that are left on each piece.
    fn pieces(&self, dimension: Dimension, rest: &[Dimension], rules: &[u32]) -> Vec<(u128, Vec<u32>)> {
        let family = self.domain.family;
        let rule = |&index: &u32| &self.domain.rules[index as usize];
        let mut starts = vec![0];
        for (first, last) in rules.iter().map(|index| dimension.range(family, rule(index))) {
            starts.push(first);
            if last < dimension.last(family) {
                starts.push(last + 1);
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let takes_all = |rule: &Rule| rest.iter().all(|rest| rest.range(family, rule) == (0, rest.last(family)));
        let left = |from| {
            let mut left = Vec::new();
            for index in rules {
                let (first, last) = dimension.range(family, rule(index));
                if first <= from && from <= last {
                    left.push(*index);
                    if takes_all(rule(index)) {
                        break;
                    }
                }
            }
            left
        };
        starts.into_iter().map(|from| (from, left(from))).collect()
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

/// The nodes that can be reached from `root`, sorted by dimension, leaves last: so each stands before its children.
fn in_order(nodes: Vec<Node>, root: usize) -> Vec<Node> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&node| match nodes[node] {
        Node::Split { dimension, .. } => (node != root, Some(dimension).is_none(), Some(dimension)),
        Node::Leaf(_) => (node != root, true, None),
    });
    let mut place = vec![0; nodes.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut moved = |old: usize| {
        let mut node = nodes[old].take().expect("each node stands in the order once");
        if let Node::Split { cuts, .. } = &mut node {
            cuts.iter_mut().for_each(|(_, child)| *child = place[*child]);
        }
        node
    };
    order.into_iter().map(&mut moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::rules::domains;
    use crate::tests::policy;

    fn dag(bindings: &[&str]) -> Vec<Node> {
        let policy = policy(bindings);
        let interfaces = policy.interfaces().iter().zip(7..).map(|(name, index)| (name.clone(), index)).collect();
        let domains = domains(&policy, &Options { interfaces, ..Options::default() }).unwrap();
        assert_eq!(domains.len(), 1);
        Dag::new(&domains[0]).unwrap().nodes
    }

    #[test]
    fn dimensions_that_no_rule_uses_are_not_looked_at() {
        let split = |dimension, cuts| Node::Split { dimension, cuts };
        assert_eq!(
            dag(&["a tcp 0.0.0.0/0 80"]),
            [split(Dimension::Port, vec![(0, 1), (80, 2), (81, 1)]), Node::Leaf(None), Node::Leaf(Some(0))]
        );
        assert_eq!(dag(&["a tcp ::/0"]), [Node::Leaf(Some(0))]);
    }

    #[test]
    fn rests_that_are_equal_share_a_node() {
        let nodes = dag(&["a tcp 10.0.0.1,10.0.0.3,10.0.0.5 80 dev eth0", "b tcp 10.0.0.0/24 80"]);
        let ports = nodes.iter().filter(|node| matches!(node, Node::Split { dimension: Dimension::Port, .. }));
        assert_eq!(ports.count(), 4, "one for each address, one for the rest of the prefix: {nodes:?}");
        let last = nodes.iter().filter(|node| **node == Node::Leaf(None));
        assert_eq!(last.count(), 1);
    }

    #[test]
    fn each_node_stands_before_its_children() {
        let nodes =
            dag(&["a tcp 10.0.0.0/8 1-99 from 10.0.0.0/8 dev eth0", "b tcp 10.1.0.0/16 dev eth1", "c tcp ::/0"][..2]);
        for (index, node) in nodes.iter().enumerate() {
            if let Node::Split { cuts, .. } = node {
                assert!(cuts.iter().all(|&(_, child)| child > index), "{nodes:?}");
            }
        }
    }

    #[test]
    fn an_explosion_of_cases_is_refused() {
        let bindings: Vec<String> =
            (1..=60).map(|n| format!("l{n} tcp 0.0.0.0/0 {}-{} from 10.{n}.0.0/16", n * 10, 1000 + n * 11)).collect();
        let policy = policy(&bindings.iter().map(String::as_str).collect::<Vec<_>>());
        let domains = domains(&policy, &Options::default()).unwrap();
        assert!(Dag::new(&domains[0]).is_none());
    }
}
