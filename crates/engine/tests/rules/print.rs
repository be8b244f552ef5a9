//! What programs print, as the trace shows it.

use sklookup_engine::Packet;
use sklookup_engine::trace::Step;

use crate::programs::returning;
use crate::world::{CONTACTED, World, at};

/// Text on the stack, from R10 - `top` on.
fn text(text: &str, top: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    let word = |(at, chunk): (usize, &[u8])| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        format!("r1 = {} ll\n*(u64 *)(r10 -{}) = r1\n", u64::from_ne_bytes(word), top - 8 * at)
    };
    bytes.chunks(8).enumerate().map(word).collect()
}

/// What a program prints that is given a format and three arguments, and the address of "text" in R9.
fn printed(format: &str, arguments: [&str; 3]) -> Vec<String> {
    let [a, b, c] = arguments;
    let program = [
        &text("text", 16),
        &text(format, 128),
        &format!("r9 = r10\nr9 += -16\nr1 = r10\nr1 += -128\nr2 = {}\n", format.len() + 1),
        &format!("r3 = {a}\nr4 = {b}\nr5 = {c}\ncall bpf_trace_printk\n"),
        &returning(1),
    ];
    trace(&program.map(|part: &String| part.as_str()).concat())
}

fn trace(program: &str) -> Vec<String> {
    let world = World::new();
    let program = world.program(program, &[]);
    let _link = sklookup_engine::Link::attach(&program, &world.netns).unwrap();
    let packet = Packet::tcp(at("127.0.0.1:40000"), at(CONTACTED));
    let (delivered, trace) = world.netns.receive_traced(&packet);
    delivered.unwrap_or_else(|fault| panic!("{fault}"));
    let kept = trace.steps.into_iter().filter(|step| matches!(step, Step::Prints { .. } | Step::PrintsMore));
    kept.map(|step| step.to_string()).collect()
}

#[test]
fn numbers_are_printed_as_their_conversion_says() {
    for (format, arguments, expected) in [
        ("%d|%u|%x", ["-1", "-1", "-1"], "-1|4294967295|ffffffff"),
        ("%ld|%lu|%llX", ["-1", "-1", "-1"], "-1|18446744073709551615|FFFFFFFFFFFFFFFF"),
        ("%5d|%-5d|%05d", ["7", "-7", "-7"], "    7|-7   |-0007"),
        ("%+d|% d|%+d", ["7", "7", "-7"], "+7| 7|-7"),
        ("%c%%%c", ["65", "66", "0"], "A%B"),
        ("%px|%ps|%d", ["4096", "4096", "1"], "0000000000001000|0x1000|1"),
    ] {
        assert_eq!(printed(format, arguments), [format!("  prints {expected:?}")], "{format}");
    }
}

#[test]
fn addresses_are_printed_as_what_lies_there_or_what_they_lead_to() {
    assert_eq!(printed("%6s|%-5s|%s", ["r9", "r9", "0"]), ["  prints \"  text|text |\""]);
    assert_eq!(printed("%pI4|%pi4", ["r9", "r9", "0"]), ["  prints \"116.101.120.116|116.101.120.116\""]);
    assert_eq!(printed("%px", ["r9", "0", "0"]), ["  prints \"(a pointer to the stack)\""]);
}

#[test]
fn what_a_program_prints_can_do_nothing_to_a_terminal() {
    assert_eq!(printed("a\n%c[2J", ["27", "0", "0"]), ["  prints \"a\\n\\u{1b}[2J\""]);
}

#[test]
fn of_a_program_that_prints_in_a_loop_a_part_is_kept() {
    let line = "x".repeat(100);
    let program = [
        &text(&line, 112),
        "r6 = 10000\nagain: r1 = r10\nr1 += -112\nr2 = 101\ncall bpf_trace_printk\nr6 -= 1\nif r6 != 0 goto again\n",
        &returning(1),
    ];
    let lines = trace(&program.concat());
    // 16 KiB of lines of 101 bytes.
    assert_eq!(lines.len(), 163);
    assert_eq!(lines[162], "  prints more, which is left out");
}
