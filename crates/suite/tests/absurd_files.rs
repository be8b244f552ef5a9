//! Case files that would become gigabytes, or have no end, are refused for that, at once.

use sklookup_suite::{Engine, Executor, Verdict, load};

const STEP: &str = "step = [{ query = true, expect = [] }]\n";

/// The first thing that is said of a file.
fn told(text: &str) -> String {
    let problems = load(text, "c.toml").expect_err("it is refused");
    problems[0].to_string()
}

/// A table of so many cells, with a case of these lines.
fn table(name: &str, cells: usize, words: &str, case: &str) -> String {
    let columns: String = (0..cells).map(|column| format!("c{column} ")).collect();
    let row = vec!["x"; cells].join(" ");
    format!("[[table]]\nname = \"{name}\"\n{words}cells = \"{columns}\\nr {row}\"\n[table.case]\n{case}{STEP}\n")
}

const MORE_THAN_64_MIB: &str = "with this, the cases of the file take more than 64 MiB\n    make its tables, ";

#[test]
fn tables_that_are_small_one_by_one_are_counted_together() {
    let long = format!("note = \"{}\"\n", "n".repeat(10_000));
    // 50 times 1000 times 10,000 bytes.
    let file: String = (0..50).map(|number| table(&format!("t{number}"), 1000, "", &long)).collect();
    assert!(told(&file).contains(MORE_THAN_64_MIB));
}

#[test]
fn a_long_word_in_many_places_is_counted_before_it_is_written() {
    let words = format!("cell = {{ x = \"{}\" }}\n", "w".repeat(1 << 20));
    // 2^17 places times 2^20 bytes, of one cell.
    let text = format!("note = \"{}\"\n", "{cell}".repeat(1 << 17));
    assert!(told(&table("t", 1, &words, &text)).contains(MORE_THAN_64_MIB));
    let list = format!("link = [{}]\n", "\"{cell}\",".repeat(1 << 17));
    assert!(told(&table("t", 1, &words, &list)).contains(MORE_THAN_64_MIB));
}

#[test]
fn what_cases_share_is_there_once() {
    // 5000 times 2 MB of instructions.
    let program = format!("program.p = \"{}exit\"\n", "r0 = 1\\n".repeat(90_000));
    let file = format!("{program}{}", table("t", 5000, "", "link = [\"p\"]\n"));
    assert_eq!(load(&file, "c.toml").unwrap().len(), 5000);
}

#[test]
fn a_line_of_a_policy_that_is_a_million_bindings_is_refused_before_they_are_made() {
    let ports = |most: u32| (1..=most).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    let case = |ports: &str| format!("program.p = {{ policy = [\"web tcp 127.0.0.1 {ports}\"] }}\nlink = [\"p\"]\n");
    let told_of_one = told(&table("t", 1, "", &case(&ports(10_001))));
    assert!(
        told_of_one.contains("10001 bindings more than the 0 before\n    at most 10000 are possible"),
        "{told_of_one}"
    );
    let problems = load(&table("t", 1000, "", &case(&ports(10_000))), "c.toml").unwrap_err();
    let [only] = &problems[..] else { panic!("{problems:?}") };
    assert!(only.to_string().contains(MORE_THAN_64_MIB), "{only}");
}

#[test]
fn more_steps_than_a_case_can_have_are_told() {
    let file = format!("[[case]]\nname = \"x\"\nstep = [{}]\n", "{},".repeat(1_000_000));
    assert!(told(&file).contains("case \"x\": 1000000 steps are too many\n    write at most 10000"));
}

#[test]
fn numbers_that_no_machine_has_are_refused_before_anything_is_made() {
    for map in [
        "type = \"hash\", entries = 4294967295",
        "type = \"array\", entries = 1, value-size = 4294967295",
        "type = \"sockmap\", entries = 4294967295",
        "type = \"hash\", key-size = 4294967295",
    ] {
        let told = told(&format!("[[case]]\nname = \"x\"\nmap.m = {{ {map} }}\n{STEP}"));
        assert!(told.contains("map m is too large for a case"), "{told}");
    }
    let beyond = told(&format!("[[case]]\nname = \"x\"\nmap.m = {{ type = \"hash\", entries = 4294967296 }}\n{STEP}"));
    assert!(beyond.contains("entries is 4294967296"), "{beyond}");
}

/// Nothing here may follow how deep the file goes with its own stack.
#[test]
fn a_file_that_nests_without_end_is_refused() {
    const DEEP: usize = 200_000;
    for file in [
        format!("{}x = 1", "a.".repeat(DEEP)),
        format!("[{}a]\nx = 1", "a.".repeat(DEEP)),
        format!("[[{}a]]\nx = 1", "a.".repeat(DEEP)),
        format!("a = {}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("a = {}1{}", "{a=".repeat(DEEP), "}".repeat(DEEP)),
        format!("a = {{ {}x = 1 }}", "a.".repeat(DEEP)),
    ] {
        let told = told(&file);
        assert!(told.len() < 1000, "{told}");
    }
}

#[test]
fn a_file_that_repeats_more_than_a_million_times_is_refused() {
    let packet = "{ packet = \"tcp 127.0.0.1:1 > 127.0.0.1:2\", again = 9999, expect = \"reset\" },";
    let case = |name: &str, steps: usize| format!("[[case]]\nname = \"{name}\"\nstep = [{}]\n", packet.repeat(steps));
    assert_eq!(load(&case("x", 100), "c.toml").unwrap().len(), 1);
    let told = told(&(case("x", 60) + &case("y", 41)));
    assert!(
        told.contains("case \"y\": with this, the cases of the file send packets and run programs more than 1000000"),
        "{told}"
    );
}

/// A loop of nearly a million instructions, run as often as a file can ask for, in as many cases.
#[test]
fn all_runs_of_a_case_have_one_budget_of_instructions_and_all_cases_of_a_file_another() {
    let program = "program.p = \"r1 = 400000\\nagain: r1 -= 1\\nif r1 != 0 goto again\\nr0 = 1\\nexit\"\n";
    let run = "{ test-run = \"p\", context = \"tcp 127.0.0.1:1 > 127.0.0.1:2\", repeat = 10000, expect = \"pass\" },";
    let case = |name: &str| format!("[[case]]\nname = \"{name}\"\n{program}step = [{run}]\n");
    // With 1000 cases the share of each is 10 million instructions: 12 runs.
    let file: String = (0..1000).map(|number| case(&format!("c{number}"))).collect();
    let many = run.replace("10000", "1000");
    let cases = load(&file.replace(run, &many), "c.toml").unwrap();
    assert_eq!(cases[0].instructions, 10_000_000);
    let Verdict::Failed { why, .. } = Engine.run(&cases[0]) else { panic!("it ran to the end") };
    assert_eq!(why, "test run of p: expected pass, got EINVAL");
    assert_eq!(load(&case("alone"), "c.toml").unwrap()[0].instructions, 100_000_000);
}
