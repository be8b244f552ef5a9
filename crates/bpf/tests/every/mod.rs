//! Every valid instruction, up to the values of its numbers, and random ones.

use sklookup_bpf::{AluOp, AtomicOp, Callee, Cond, Insn, MapRef, Order, Reg, Size, Source, Wide, Width};

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const SIZES: [Size; 4] = [Size::B1, Size::B2, Size::B4, Size::B8];
const IMMS: [i32; 9] = [0, 1, -1, 8, 0x1b5f, 0x7fff, 0x1_0000, i32::MAX, i32::MIN];
const OFFSETS: [i16; 6] = [0, 1, -1, 60, i16::MAX, i16::MIN];
const NUMBERS: [u32; 6] = [0, 1, 124, 5000, i32::MAX as u32, u32::MAX];
const ALU_OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::SDiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::SMod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];
const CONDS: [Cond; 11] =
    [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Ge, Cond::Lt, Cond::Le, Cond::Set, Cond::SGt, Cond::SGe, Cond::SLt, Cond::SLe];
const ATOMIC_OPS: [AtomicOp; 10] = [
    AtomicOp::Add { fetch: false },
    AtomicOp::Add { fetch: true },
    AtomicOp::Or { fetch: false },
    AtomicOp::Or { fetch: true },
    AtomicOp::And { fetch: false },
    AtomicOp::And { fetch: true },
    AtomicOp::Xor { fetch: false },
    AtomicOp::Xor { fetch: true },
    AtomicOp::Xchg,
    AtomicOp::Cmpxchg,
];

/// Every operation with every register, and with numbers at the edges of their fields.
pub(crate) fn every_instruction() -> Vec<Insn> {
    let mut all = vec![Insn::Exit];
    let sources: Vec<Source> = Reg::ALL.into_iter().map(Source::Reg).chain(IMMS.into_iter().map(Source::Imm)).collect();
    for dst in Reg::ALL {
        for width in WIDTHS {
            all.push(Insn::Neg { width, dst });
            for &src in &sources {
                all.extend(ALU_OPS.map(|op| Insn::Alu { width, op, dst, src }));
                for offset in OFFSETS {
                    all.extend(CONDS.map(|cond| Insn::Branch { width, cond, dst, src, offset }));
                }
            }
        }
        for order in [Order::Little, Order::Big, Order::Swap] {
            all.extend([Size::B2, Size::B4, Size::B8].map(|size| Insn::Swap { order, size, dst }));
        }
        for src in Reg::ALL {
            for (width, from) in SIGN_EXTENSIONS {
                all.push(Insn::MovSigned { width, from, dst, src });
            }
        }
        for value in every_wide_value() {
            all.push(Insn::LoadWide { dst, value });
        }
    }
    for (base, offset) in Reg::ALL.into_iter().flat_map(|base| OFFSETS.map(|offset| (base, offset))) {
        for size in SIZES {
            all.extend(Reg::ALL.map(|dst| Insn::Load { size, dst, base, offset }));
            all.extend(sources.iter().map(|&src| Insn::Store { size, base, offset, src }));
        }
        for size in [Size::B1, Size::B2, Size::B4] {
            all.extend(Reg::ALL.map(|dst| Insn::LoadSigned { size, dst, base, offset }));
        }
        for (size, src) in [Size::B4, Size::B8].into_iter().flat_map(|size| Reg::ALL.map(|src| (size, src))) {
            all.extend(ATOMIC_OPS.map(|op| Insn::Atomic { size, op, base, offset, src }));
        }
    }
    all.extend(OFFSETS.map(|offset| Insn::Jump { offset }));
    all.extend(IMMS.map(|offset| Insn::JumpLong { offset }));
    all.extend(IMMS.map(|distance| Insn::Call(Callee::Local(distance))));
    all.extend(Reg::ALL.map(|reg| Insn::Call(Callee::Register(reg))));
    for number in NUMBERS {
        all.push(Insn::Call(Callee::Helper(number)));
        all.extend(OFFSETS.map(|module| Insn::Call(Callee::Kfunc { id: number, module })));
    }
    all
}

const SIGN_EXTENSIONS: [(Width, Size); 5] = [
    (Width::W32, Size::B1),
    (Width::W32, Size::B2),
    (Width::W64, Size::B1),
    (Width::W64, Size::B2),
    (Width::W64, Size::B4),
];

fn every_wide_value() -> Vec<Wide> {
    let mut all: Vec<Wide> =
        [0, 1, u64::from(u32::MAX), 1 << 32, 0x1_2345_6789, 1 << 63, u64::MAX].map(Wide::Imm).into();
    all.extend(IMMS.map(Wide::Function));
    all.extend(NUMBERS.map(Wide::Variable));
    let maps = NUMBERS.map(MapRef::Index).into_iter().chain(IMMS.map(MapRef::Fd));
    for map in maps {
        all.push(Wide::Map(map));
        all.extend(NUMBERS.map(|offset| Wide::MapValue { map, offset }));
    }
    all
}

/// An instruction of any kind with any numbers.
pub(crate) fn random_instruction(random: &mut Random) -> Insn {
    let [dst, base, other] = [(); 3].map(|()| random.pick(&Reg::ALL));
    let imm = random.bits() as i32;
    let number = random.bits() as u32;
    let offset = random.bits() as i16;
    let width = random.pick(&WIDTHS);
    let size = random.pick(&SIZES);
    let src = if random.below(2) == 0 { Source::Reg(other) } else { Source::Imm(imm) };
    match random.below(14) {
        0 => Insn::Alu { width, op: random.pick(&ALU_OPS), dst, src },
        1 => {
            let (width, from) = random.pick(&SIGN_EXTENSIONS);
            Insn::MovSigned { width, from, dst, src: other }
        }
        2 => Insn::Neg { width, dst },
        3 => {
            let order = random.pick(&[Order::Little, Order::Big, Order::Swap]);
            Insn::Swap { order, size: random.pick(&[Size::B2, Size::B4, Size::B8]), dst }
        }
        4 => Insn::Load { size, dst, base, offset },
        5 => Insn::LoadSigned { size: random.pick(&[Size::B1, Size::B2, Size::B4]), dst, base, offset },
        6 => Insn::Store { size, base, offset, src },
        7 => {
            let size = random.pick(&[Size::B4, Size::B8]);
            Insn::Atomic { size, op: random.pick(&ATOMIC_OPS), base, offset, src: other }
        }
        8 => {
            let map = if random.below(2) == 0 { MapRef::Index(number) } else { MapRef::Fd(imm) };
            let value = match random.below(5) {
                0 => Wide::Imm(random.bits()),
                1 => Wide::Map(map),
                2 => Wide::MapValue { map, offset: random.bits() as u32 },
                3 => Wide::Variable(number),
                _ => Wide::Function(imm),
            };
            Insn::LoadWide { dst, value }
        }
        9 => Insn::Jump { offset },
        10 => Insn::JumpLong { offset: imm },
        11 => Insn::Branch { width, cond: random.pick(&CONDS), dst, src, offset },
        12 => Insn::Call(match random.below(4) {
            0 => Callee::Helper(number),
            1 => Callee::Local(imm),
            2 => Callee::Register(other),
            _ => Callee::Kfunc { id: number, module: offset },
        }),
        _ => Insn::Exit,
    }
}

/// SplitMix64: small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn fresh_seed() -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
