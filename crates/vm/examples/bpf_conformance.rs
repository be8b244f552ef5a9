//! The interpreter as a plug-in of bpf_conformance, a suite of instruction tests for any BPF runtime.
//!
//! ```text
//! cargo build --release -p sklookup-vm --example bpf_conformance
//! bpf_conformance_runner --test_file_directory tests --cpu_version v4 \
//!     --plugin_path target/release/examples/bpf_conformance
//! ```
//!
//! The runner starts it once a test: memory for the program comes as an argument, bytecode on standard input, both in
//! hexadecimal; R0 goes to standard output. The program finds the memory's address in R1 and its length in R2. By hand:
//!
//! ```text
//! $ echo 61 10 00 00 00 00 00 00  95 00 00 00 00 00 00 00 | bpf_conformance '01 02 03 04'
//! 4030201
//! ```
//!
//! Calls by register (the runner's group callx) are run; packet access (its group packet) is refused, and so is what names
//! a map by a file descriptor.

use std::io::Read;
use std::process::ExitCode;

use sklookup_bpf::{AluOp, Insn, MapRef, MapSpec, MapType, Reg, Source, Wide, Width, abi::helper, decode};
use sklookup_vm::{Instructions, Map, Memory, Nowhere, Program, Rules, update};

const USAGE: &str = "usage: bpf_conformance [MEMORY] [--program BYTECODE]
MEMORY and BYTECODE in hexadecimal; without --program the bytecode is read from standard input";

/// No program runs for more instructions.
const BUDGET: u64 = 10_000_000;

/// The most memory that a program is given, in bytes.
const MEMORY_LIMIT: u64 = 1 << 30;

/// Helpers that answer without a machine around them.
const RULES: Rules = Rules {
    instructions: Instructions::All,
    helpers: &[
        helper::KTIME_GET_NS,
        helper::GET_PRANDOM_U32,
        helper::GET_SMP_PROCESSOR_ID,
        helper::JIFFIES64,
        helper::LOOP,
    ],
    context: |_, _| false,
};

fn main() -> ExitCode {
    match plugin(std::env::args().skip(1)) {
        Ok(value) => {
            println!("{value:x}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("bpf_conformance: {what}");
            ExitCode::FAILURE
        }
    }
}

/// What the program returns.
fn plugin(args: impl Iterator<Item = String>) -> Result<u64, String> {
    let Asked { memory, bytecode } = Asked::parse(args)?;
    let memory = bytes(&memory.unwrap_or_default()).map_err(|what| format!("memory: {what}"))?;
    let bytecode = match bytecode {
        Some(bytecode) => bytecode,
        None => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input).map_err(|error| format!("standard input: {error}"))?;
            input
        }
    };
    let insns = decode(&bytes(&bytecode).map_err(|what| format!("bytecode: {what}"))?).map_err(|e| e.to_string())?;
    run(&insns, &memory)
}

/// The command line.
#[derive(Default)]
struct Asked {
    memory: Option<String>,
    bytecode: Option<String>,
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        while let Some(arg) = args.next() {
            let place = match arg.as_str() {
                "--program" => {
                    let bytecode = args.next().ok_or_else(|| format!("--program needs bytecode\n{USAGE}"))?;
                    asked.bytecode.replace(bytecode)
                }
                "--elf" => return Err("--elf: bytecode is run, not ELF files; start the runner without it".to_owned()),
                option if option.starts_with('-') => return Err(format!("{option} is no option here\n{USAGE}")),
                _ => asked.memory.replace(arg),
            };
            if let Some(first) = place {
                return Err(format!("`{}` is given beside another\n{USAGE}", first.trim()));
            }
        }
        Ok(asked)
    }
}

/// Bytes in hexadecimal, with white space anywhere between them.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digit = |c: char| c.to_digit(16).ok_or_else(|| format!("`{c}` is no hexadecimal digit"));
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Ok((digit(high)? << 4 | digit(low)?) as u8),
            _ => Err(format!("{} digits are no whole number of bytes", digits.len())),
        })
        .collect()
}

/// Runs a program on memory, which is the value of a map: the program may read and write it, and nothing around it.
fn run(insns: &[Insn], memory: &[u8]) -> Result<u64, String> {
    let mut maps = Vec::new();
    let mut address = Wide::Imm(0);
    let length = i32::try_from(memory.len()).map_err(|_| format!("{} bytes of memory are too many", memory.len()))?;
    if !memory.is_empty() {
        let spec = MapSpec::new("memory", MapType::Array, 4, memory.len() as u32, 1);
        let map = Map::create(1, &spec, 1, &Memory::new(MEMORY_LIMIT))
            .and_then(|map| map.update(&[0; 4], memory, update::ANY).map(|()| map))
            .map_err(|errno| format!("{length} bytes of memory: {errno}"))?;
        maps.push(map);
        address = Wide::MapValue { map: MapRef::Index(0), offset: 0 };
    }
    let mut whole = vec![
        Insn::LoadWide { dst: Reg::R1, value: address },
        Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: Reg::R2, src: Source::Imm(length) },
    ];
    whole.extend_from_slice(insns);
    let program = Program::load(&whole, &maps, &RULES).map_err(|refused| refused.to_string())?;
    program.run(&mut Nowhere, BUDGET).map(|outcome| outcome.value).map_err(|fault| fault.to_string())
}
