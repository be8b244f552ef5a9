//! What is refused when a program is loaded, and how that is said.

use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_engine::{Errno, Machine, Program};

fn load(text: &str) -> Result<Program, (Errno, String)> {
    let spec = ProgramSpec::from_text("test", ProgramType::SkLookup, text).unwrap();
    Program::load(&Machine::default(), &spec, &[]).map_err(|error| (error.errno(), error.log().to_owned()))
}

fn refused(text: &str) -> (Errno, String) {
    load(text).expect_err(text)
}

#[test]
fn every_read_of_the_context_that_linux_allows_is_allowed_and_no_other() {
    let sizes = [(1, "u8"), (2, "u16"), (4, "u32"), (8, "u64")];
    for offset in -8..80i32 {
        for (bytes, size) in sizes {
            let allowed = match bytes {
                8 => offset == 0,
                bytes => offset >= 8 && offset + bytes <= 68 && offset % bytes == 0,
            };
            let text = format!("r2 = *({size} *)(r1 {offset:+})\nr0 = 1\nexit");
            match load(&text) {
                Ok(_) => assert!(allowed, "{text}"),
                Err((errno, log)) => {
                    assert!(!allowed, "{text}{log}");
                    assert_eq!(errno, Errno::ACCES, "{text}");
                    assert!(log.ends_with(&format!("invalid bpf_context access off={offset} size={bytes}")), "{log}");
                }
            }
        }
    }
    for (size, bytes) in [("s8", 1), ("s16", 2), ("s32", 4)] {
        assert!(load(&format!("r2 = *({size} *)(r1 +60)\nr0 = 1\nexit")).is_ok(), "{bytes}");
    }
}

#[test]
fn nothing_is_written_to_the_context() {
    for (size, offset) in [("u64", 0), ("u32", 8), ("u8", 40), ("u32", 72)] {
        let (errno, log) = refused(&format!("*({size} *)(r1 +{offset}) = 0\nr0 = 1\nexit"));
        assert_eq!(errno, Errno::ACCES);
        assert!(log.contains("writes") && log.contains("invalid bpf_context access"), "{log}");
    }
}

#[test]
fn the_context_is_followed_through_registers_stack_and_branches() {
    for text in [
        "r6 = r1\ncall bpf_get_prandom_u32\nr2 = *(u8 *)(r6 +0)\nr0 = 1\nexit",
        "*(u64 *)(r10 -8) = r1\nr3 = *(u64 *)(r10 -8)\nr2 = *(u32 *)(r3 +72)\nr0 = 1\nexit",
        "r2 = *(u32 *)(r1 +8)\nif r2 == 2 goto end\nr3 = *(u64 *)(r1 +8)\nend: r0 = 1\nexit",
    ] {
        let (_, log) = refused(text);
        assert!(log.contains("invalid bpf_context access"), "{log}");
    }
    // In R1 there is something else by then.
    assert!(load("r1 = r10\n*(u64 *)(r1 -8) = 5\nr0 = 1\nexit").is_ok());
}

#[test]
fn an_error_names_the_instruction_and_its_slot() {
    assert_eq!(
        refused("r2 = 1 ll\nr3 = *(u64 *)(r1 +8)\nr0 = 1\nexit").1,
        "slot 2: `r3 = *(u64 *)(r1 +8)` reads 8 bytes at offset 8 of the context: invalid bpf_context access off=8 size=8"
    );
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    for (text, message) in [
        ("call bpf_sk_select_reuseport\nexit", "program of this type cannot use, bpf_sk_select_reuseport#82"),
        ("call 84\nexit", "unknown#84"),
        ("call bpf_timer_init\nexit", "bpf_timer_init#169, which is not implemented"),
        ("call kfunc#7\nexit", "calls a kernel function"),
        ("r1 = variable[3] ll\nexit", "a variable of the kernel"),
        ("r1 = map[0] ll\nexit", "names map 0, and only 0 were given"),
        ("r1 = map[fd:3] ll\nexit", "a file descriptor of another process"),
        ("goto +5\nexit", "leads to where no instruction begins"),
        ("goto +1\nr1 = 1 ll\nexit", "leads to where no instruction begins"),
        ("r10 = 1\nexit", "writes to the frame pointer"),
        ("r0 = 1", "the last instruction is neither an exit nor a jump"),
        ("", "the program is empty"),
    ] {
        let (_, log) = refused(text);
        assert!(log.contains(message), "{text:?}: {log}");
    }
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let world = crate::world::World::with(sklookup_engine::Config { instructions: 1000, ..Default::default() });
    let _link = world.attach("again: goto again");
    let fault = world.netns.receive(&crate::world::tcp(crate::world::CONTACTED)).unwrap_err();
    assert_eq!(fault.to_string(), "slot 0: `goto pc-1` is reached after 1000 instructions, and no run may take more");
}
