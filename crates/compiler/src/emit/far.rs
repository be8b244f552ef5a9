//! Labels that are further ahead than a jump can reach.
//!
//! A jump spans at most 32,767 slots, and a table with many prefix lengths makes a longer program. Each label that
//! is still ahead when the code has grown long gets a relay: a jump to a label further ahead.

use sklookup_bpf::{Builder, Label};

/// A relay is placed this many slots after the first jump to it: less than half of what a jump spans, so that a block
/// of the other half's size may stand between two chances to place it.
const REACH: usize = 16_000;

/// Labels ahead, to be asked for again at each jump.
#[derive(Default)]
pub(crate) struct FarLabels {
    labels: Vec<Ahead>,
}

/// A label in [`FarLabels`].
#[derive(Clone, Copy)]
pub(crate) struct Far(usize);

struct Ahead {
    /// Where jumps from here go: the place itself, or the next relay.
    next: Label,
    /// Slot of the first jump to `next`; `None`: there is none yet, and the kernel refuses code that nothing leads to.
    since: Option<usize>,
    placed: bool,
}

impl FarLabels {
    /// A label to be placed later.
    pub(crate) fn label(&mut self, b: &mut Builder) -> Far {
        self.labels.push(Ahead { next: b.label(), since: None, placed: false });
        Far(self.labels.len() - 1)
    }

    /// What the next instruction, a jump, names.
    pub(crate) fn target(&mut self, b: &Builder, far: Far) -> Label {
        let ahead = &mut self.labels[far.0];
        ahead.since.get_or_insert(b.slot());
        ahead.next
    }

    /// Places the label before the next instruction.
    pub(crate) fn place(&mut self, b: &mut Builder, far: Far) {
        let ahead = &mut self.labels[far.0];
        ahead.placed = true;
        b.place(ahead.next);
    }

    /// A chance to place relays, to be given between blocks where control falls through.
    pub(crate) fn relay(&mut self, b: &mut Builder) {
        let slot = b.slot();
        let due = |ahead: &Ahead| !ahead.placed && ahead.since.is_some_and(|since| slot - since > REACH);
        if !self.labels.iter().any(due) {
            return;
        }
        let over = b.label();
        b.jump(over);
        for ahead in &mut self.labels {
            if !due(ahead) {
                continue;
            }
            b.note("relay");
            b.place(ahead.next);
            ahead.since = Some(b.slot());
            ahead.next = b.label();
            b.jump(ahead.next);
        }
        b.place(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_bpf::Reg;

    #[test]
    fn a_jump_over_a_hundred_thousand_slots_is_relayed() {
        let mut b = Builder::new();
        let mut far = FarLabels::default();
        let end = far.label(&mut b);
        b.jump(far.target(&b, end));
        for _ in 0..1000 {
            for _ in 0..100 {
                b.mov(Reg::R0, 0);
            }
            far.relay(&mut b);
        }
        far.place(&mut b, end);
        b.exit();
        assert!(b.finish().is_ok());
    }
}
