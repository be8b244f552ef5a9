//! The example `bpf_conformance`, started as its runner starts it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sklookup_bpf::{encode, parse};

use super::file::{Recorded, stored};
use super::replay::to_bytes;

/// What a vector changes is what the plug-in prints, for a vector of each form.
pub(crate) fn prints_what_vectors_say() {
    let mut run = 0;
    for (Recorded { form, vectors }, number) in stored().into_iter().zip(0..) {
        if form.code.contains("map[") {
            continue; // It has no maps.
        }
        let (before, after) = vectors[number % vectors.len()];
        let changed = (0..3).find(|at| before[*at] != after[*at]).unwrap_or(0);
        let result = ["", "r0 = r1", "r0 = *(u64 *)(r7 +0)"][changed];
        let (body, subprograms) = form.code.split_once(" | ").unwrap_or((&form.code, ""));
        let text = format!(
            "r6 = r1; r7 = r6; r7 += 16; r0 = *(u64 *)(r6 +0); r1 = *(u64 *)(r6 +8); {body}; \
             done: goto end; end: {result}; exit; {subprograms}"
        );
        let printed = plugin(&[&hex(&to_bytes(&before))], &text.replace("; ", "\n"));
        assert_eq!(printed, Ok(format!("{:x}", after[changed])), "{}", form.code);
        run += 1;
    }
    assert!(run > 450, "{run}");
}

pub(crate) fn takes_memory_before_and_after_options() {
    let (memory, program) = ("01  02  03  04  ", hex(&bytecode("r0 = *(u32 *)(r1 +0)\nr0 += r2\nexit")));
    for args in [&[memory, "--program", &program][..], &["--program", &program, memory]] {
        assert_eq!(said(&start(args, "")), Ok("4030205".to_owned()), "{args:?}");
    }
    assert_eq!(plugin(&[memory], "r0 = r2\nexit"), Ok("4".to_owned()));
    assert_eq!(plugin(&[""], "r0 = r2\nexit"), Ok("0".to_owned()));
    assert_eq!(plugin(&[], "r0 = r1\nr0 -= 1\nexit"), Ok("ffffffffffffffff".to_owned()));
}

pub(crate) fn calls_by_register() {
    assert_eq!(plugin(&[], "r1 = -1\nr2 = 5\ncallx r2\nr0 = 2\nexit"), Ok("2".to_owned()));
    assert_eq!(plugin(&[], "r6 = subprog[sub] ll\ncallx r6\nexit\nsub: r0 = 3\nexit"), Ok("3".to_owned()));
}

pub(crate) fn says_what_is_wrong_and_fails() {
    for (args, text, told) in [
        (&["--elf"][..], "r0 = 0\nexit", "--elf: bytecode is run, not ELF files"),
        (&["--jit"], "r0 = 0\nexit", "--jit is no option here\nusage: "),
        (&["--program"], "r0 = 0\nexit", "--program needs bytecode"),
        (&["01", "02"], "r0 = 0\nexit", "`01` is given beside another"),
        (&["0"], "r0 = 0\nexit", "memory: 1 digits are no whole number of bytes"),
        (&["zz"], "r0 = 0\nexit", "memory: `z` is no hexadecimal digit"),
        (&["01"], "r0 = *(u16 *)(r1 +0)\nexit", "accesses 2 bytes at offset 0 of a value of `memory`, which has 1"),
        (&[], "again: goto again", "is reached after 10000000 instructions"),
        (&[], "call bpf_sk_release\nexit", "calls a helper that a program of this type cannot use, bpf_sk_release#86"),
    ] {
        let error = plugin(args, text).unwrap_err();
        assert!(error.starts_with("bpf_conformance: ") && error.contains(told), "{error}");
    }
    let packet = said(&start(&[], "30 00 00 00 00 00 00 00 95 00 00 00 00 00 00 00")).unwrap_err();
    assert!(packet.contains("slot 0: opcode 0x30 is LD ABS, legacy packet access"), "{packet}");
}

/// What it prints for a program in the text form; else what it says on standard error.
fn plugin(args: &[&str], text: &str) -> Result<String, String> {
    said(&start(args, &hex(&bytecode(text))))
}

fn bytecode(text: &str) -> Vec<u8> {
    encode(&parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")).insns)
}

fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn start(args: &[&str], input: &str) -> Output {
    let program = program();
    let mut child = Command::new(&program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo test` builds it, with --test alone it doesn't", program.display())
        });
    // Who doesn't read it has given up for another reason, and says so.
    let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Where cargo puts examples: beside the folder of this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).expect("tests are in a folder of the profile's");
    profile.join("examples").join(format!("bpf_conformance{}", std::env::consts::EXE_SUFFIX))
}

/// As the runner writes bytes.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}  ")).collect()
}
