//! Which of several rectangles, one behind the other, can be seen from the front.
//!
//! A line moves over the ports and stops where a rectangle begins or ends. On the line lie the sources, as a binary trie
//! with the rectangles at their prefixes. Each node knows how deep one can see into it and which rectangle not
//! reported yet is seen in it; a stop changes only the nodes from one prefix to the root.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cover::{Block, Net};
use super::region::Region;

/// Depth of a place with no rectangle, and no rectangle.
const NONE: usize = usize::MAX;

/// Tells for each of `blocks`, given best first, whether a part of it is neither in `front` nor in a block before it.
/// Destinations are not looked at.
pub(super) fn visible(front: &Region, blocks: &[Block]) -> Vec<bool> {
    if front.is_empty() && blocks.len() == 1 {
        return vec![true];
    }
    // Depth 0 is the front, a block's depth is its index plus one.
    let mut rectangles: Vec<Rectangle> = Vec::new();
    for slab in front.slabs() {
        let in_front = |&source| Rectangle { depth: 0, first: slab.first, last: slab.last, source, node: 0 };
        rectangles.extend(slab.sources.iter().map(in_front));
    }
    for (index, &Block { first, last, source, .. }) in blocks.iter().enumerate() {
        rectangles.push(Rectangle { depth: index + 1, first, last, source, node: 0 });
    }
    let mut line = Line::new(&mut rectangles, blocks.len());

    // (port, rectangle): where it begins, and the first port after it.
    let mut stops: Vec<(u32, usize)> = Vec::with_capacity(2 * rectangles.len());
    for (index, rectangle) in rectangles.iter().enumerate() {
        stops.push((u32::from(rectangle.first), index));
        stops.push((u32::from(rectangle.last) + 1, index));
    }
    stops.sort_unstable();
    let mut node_of = vec![0; blocks.len() + 1];
    for rectangle in &rectangles {
        node_of[rectangle.depth] = rectangle.node;
    }
    for here in stops.chunk_by(|a, b| a.0 == b.0) {
        let port = here[0].0;
        for &(_, index) in here {
            let Rectangle { depth, first, last, node, .. } = rectangles[index];
            if u32::from(first) == port {
                line.nodes[node].active.push(Reverse((depth, last)));
            }
            line.update(node, port);
        }
        while line.nodes[0].unreported != NONE {
            let depth = line.nodes[0].unreported;
            line.reported[depth] = true;
            line.update(node_of[depth], port);
        }
    }
    line.reported.split_off(1)
}

#[derive(Clone, Copy)]
struct Rectangle {
    depth: usize,
    first: u16,
    last: u16,
    source: Net,
    /// Where `source` is in the trie.
    node: usize,
}

struct Line {
    /// The first is the root, every source.
    nodes: Vec<Node>,
    /// By depth. The front needs no report.
    reported: Vec<bool>,
}

struct Node {
    net: Net,
    parent: usize,
    /// The next prefixes in its two halves.
    halves: [usize; 2],
    /// Depth and last port of the rectangles here, the nearest on top. Those that are over are dropped when they get there.
    active: BinaryHeap<Reverse<(usize, u16)>>,
    /// The deepest that is seen somewhere in this prefix, looking at the rectangles in it only.
    deepest: usize,
    /// The nearest that is seen and not yet reported, likewise.
    unreported: usize,
}

impl Line {
    /// Makes the trie of all sources and tells each rectangle its node.
    fn new(rectangles: &mut [Rectangle], blocks: usize) -> Self {
        let mut reported = vec![false; blocks + 1];
        reported[0] = true;
        let mut line = Self { nodes: vec![Node::new(Net::ALL, 0)], reported };
        let mut by_source: Vec<&mut Rectangle> = rectangles.iter_mut().collect();
        by_source.sort_unstable_by_key(|rectangle| rectangle.source);
        // The path from the root to the node made last; what comes next ascends, so it hangs on this path.
        let mut path = vec![0];
        for rectangle in by_source {
            let source = rectangle.source;
            let mut below = None;
            while !line.nodes[path[path.len() - 1]].net.contains(source) {
                below = path.pop();
            }
            let mut top = path[path.len() - 1];
            if line.nodes[top].net != source {
                if let Some(below) = below {
                    let join = line.nodes[below].net.join(source);
                    if join != line.nodes[top].net {
                        top = line.insert(join, top);
                        line.hang(below, top);
                        path.push(top);
                    }
                }
                path.push(line.insert(source, top));
            }
            rectangle.node = path[path.len() - 1];
        }
        line
    }

    fn insert(&mut self, net: Net, parent: usize) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node::new(net, parent));
        self.hang(node, parent);
        node
    }

    fn hang(&mut self, node: usize, parent: usize) {
        let half = usize::from(self.nodes[node].net.bit(self.nodes[parent].net.length));
        self.nodes[parent].halves[half] = node;
        self.nodes[node].parent = parent;
    }

    /// Brings `node` and all above it up to date at `port`.
    fn update(&mut self, mut node: usize, port: u32) {
        loop {
            let Node { net, halves, .. } = self.nodes[node];
            // The root is nobody's half: 0 stands for a half without rectangles.
            let whole = halves.iter().all(|&half| half != 0 && self.nodes[half].net.length == net.length + 1);
            let [a, b] = halves.map(|half| &self.nodes[half]);
            let below = if whole { a.deepest.max(b.deepest) } else { NONE };
            let seen_below = |half: usize| if half == 0 { NONE } else { self.nodes[half].unreported };
            let unreported_below = seen_below(halves[0]).min(seen_below(halves[1]));

            let active = &mut self.nodes[node].active;
            while active.peek().is_some_and(|&Reverse((_, last))| u32::from(last) < port) {
                active.pop();
            }
            let nearest = active.peek().map_or(NONE, |&Reverse((depth, _))| depth);
            let unreported = if unreported_below < nearest {
                unreported_below
            } else if nearest < below && !self.reported[nearest] {
                nearest
            } else {
                NONE
            };
            let deepest = nearest.min(below);
            self.nodes[node].deepest = deepest;
            self.nodes[node].unreported = unreported;
            if node == 0 {
                return;
            }
            node = self.nodes[node].parent;
        }
    }
}

impl Node {
    fn new(net: Net, parent: usize) -> Self {
        Self { net, parent, halves: [0; 2], active: BinaryHeap::new(), deepest: NONE, unreported: NONE }
    }
}
