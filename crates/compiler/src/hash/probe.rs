//! Code that looks for the packet's key in its two buckets.

use sklookup_bpf::{AluOp, Builder, Cond, Label, Reg, Size};

use super::cuckoo::{self, BUCKET_WORDS};
use super::reg;
use super::shape::Shape;
use super::table::Buckets;

/// Goes to `found` with the reference in [`reg::FOUND`] if the key is there, and falls through if not. R0 to R5 are
/// overwritten.
pub(super) fn emit(b: &mut Builder, shape: &Shape, buckets: &Buckets, table: u32, found: Label) {
    let key = shape.emit(b);
    hash(b, &key, &buckets.seeds);
    let slots = cuckoo::slots(key.len());
    let slot_bytes = BUCKET_WORDS / slots * 8;
    for second in [false, true] {
        let (index, bucket, word) = (Reg::R3, Reg::R4, Reg::R5);
        // A half of the hash, scaled to the number of buckets: the verifier follows these bounds.
        if second {
            b.mov32(index, reg::FOUND);
        } else {
            b.mov(index, reg::FOUND);
            b.alu(AluOp::Rsh, index, 32);
        }
        b.alu(AluOp::Mul, index, buckets.count as i32);
        b.alu(AluOp::Rsh, index, 32);
        b.alu(AluOp::Lsh, index, (BUCKET_WORDS * 8).ilog2() as i32);
        b.map_value(bucket, table, buckets.offset);
        b.alu(AluOp::Add, bucket, index);
        for slot in 0..slots {
            let other = b.label();
            for (place, &of_packet) in key.iter().enumerate() {
                b.load(Size::B8, word, bucket, (slot * slot_bytes + place * 8) as i16);
                b.branch(Cond::Ne, word, of_packet, other);
            }
            b.load(Size::B8, reg::FOUND, bucket, ((slot + 1) * slot_bytes - 8) as i16);
            b.jump(found);
            b.place(other);
        }
    }
}

/// `FOUND =` the hash of the key: [`cuckoo::Seeds::hash`] in instructions.
fn hash(b: &mut Builder, key: &[Reg], seeds: &cuckoo::Seeds) {
    let sum = reg::FOUND;
    let [first, second, mix] = seeds.multipliers;
    b.mov(sum, key[0]);
    b.constant(Reg::R3, first);
    b.alu(AluOp::Mul, sum, Reg::R3);
    if let Some(&word) = key.get(1) {
        b.mov(Reg::R3, word);
        b.constant(Reg::R4, second);
        b.alu(AluOp::Mul, Reg::R3, Reg::R4);
        b.alu(AluOp::Add, sum, Reg::R3);
    }
    if let Some(&word) = key.get(2) {
        b.alu(AluOp::Add, sum, word);
    }
    b.mov(Reg::R3, sum);
    b.alu(AluOp::Rsh, Reg::R3, 32);
    b.alu(AluOp::Xor, sum, Reg::R3);
    b.constant(Reg::R3, mix);
    b.alu(AluOp::Mul, sum, Reg::R3);
}
