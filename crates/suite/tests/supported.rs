//! docs/supported.md is what the tables in the code say, with the cases that show it.
//!
//! After a change: `SKLOOKUP_WRITE_SUPPORTED=1 cargo test -p sklookup-suite --test supported`.

use std::fmt::Write;
use std::path::Path;

use sklookup_bpf::object::features;
use sklookup_bpf::{Callee, Insn, MapType, ProgramType, helper_name, map_kinds};
use sklookup_suite::case::Program;
use sklookup_suite::{Case, Engine, Executor, Verdict, case_files, read_cases};
use sklookup_vm::helpers;

/// What no case can show, for the kernel takes such a program with type information only, and what shows it instead.
const SHOWN_ELSEWHERE: [(u32, &str); 2] = [(164, "crates/vm/tests/programs"), (181, "crates/vm/tests/programs")];

#[test]
fn the_page_says_what_the_tables_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = case_files(&[root.join("testdata/lookup")]).unwrap();
    let cases = read_cases(&files).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let passing: Vec<&Case> = cases.iter().filter(|case| Engine.run(case) == Verdict::Passed).collect();
    let vectors = std::fs::read_to_string(root.join("crates/vm/testdata/vectors.txt")).unwrap();
    let page = [HEAD.to_owned(), instructions(&vectors), maps(&passing), helper_rows(&passing), objects()].concat();
    let path = root.join("docs/supported.md");
    if std::env::var_os("SKLOOKUP_WRITE_SUPPORTED").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(page == written, "docs/supported.md is to be made anew (see the top of this test): {differing:?}");
}

const HEAD: &str = "# What is supported

What programs and objects may use on the engine; the kernel takes what it takes. What is refused is refused when it is loaded
or created, by its name and with the reason that stands here. Made from the tables in the code by a test of the suite.

";

/// Vectors by group and version, as the file of vectors counts them.
fn instructions(vectors: &str) -> String {
    let mut text = "## Instructions

All of RFC 9669 but packet access, which Linux does not load for programs of these types either. Each group by the vectors
that the kernel answered (`crates/vm/testdata/vectors.txt`), by the version of the instruction set.

| Group | v1 | v2 | v3 | v4 |
|---|---|---|---|---|
"
    .to_owned();
    let rows = vectors.lines().take_while(|line| line.starts_with('#'));
    let rows = rows.map(|line| line[1..].split_whitespace().collect::<Vec<_>>());
    for row in rows.filter(|row| row.len() == 5 && row[1..].iter().all(|count| count.parse::<u32>().is_ok())) {
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
    text
}

fn maps(cases: &[&Case]) -> String {
    let mut text = "
## Maps

| Number | Type | Cases | Why not |
|---|---|---|---|
"
    .to_owned();
    for kind in map_kinds() {
        let shown = |kind: MapType| {
            let has = |case: &&&Case| case.world.maps.iter().any(|(_, map)| map.spec.kind == kind);
            let shown = cases.iter().filter(has).count();
            assert!(shown > 0, "no case has a map of type {}", kind.name());
            shown
        };
        let (count, why) =
            kind.kind.map_or_else(|why| ("refused".to_owned(), why), |kind| (shown(kind).to_string(), ""));
        writeln!(text, "| {} | {} | {count} | {why} |", kind.number, kind.name).unwrap();
    }
    text
}

fn helper_rows(cases: &[&Case]) -> String {
    let mut text = "
## Helpers

Those that Linux 6.18 lets sk_lookup programs call, some with CAP_PERFMON only, and those of sk_reuseport programs.

| Number | Helper | Cases | Why not |
|---|---|---|---|
"
    .to_owned();
    for helper in helpers() {
        let name = helper_name(helper.number).expect("the tables have the same rows");
        let calls = |case: &&&Case| {
            let programs = case.world.programs.iter().filter_map(|(_, program)| match program {
                Program::Text(spec) => Some(spec),
                _ => None,
            });
            let mut insns = programs.flat_map(|spec| &spec.insns);
            insns.any(|insn| *insn == Insn::Call(Callee::Helper(helper.number)))
        };
        let elsewhere = SHOWN_ELSEWHERE.iter().find(|(number, _)| *number == helper.number);
        let (shown, why) = match (helper.refused, elsewhere) {
            (Some(why), _) => ("refused".to_owned(), why),
            (None, Some((_, test))) => (format!("`{test}`"), ""),
            (None, None) => {
                let count = cases.iter().filter(calls).count();
                assert!(count > 0, "no case calls {name}");
                (count.to_string(), "")
            }
        };
        writeln!(text, "| {} | {name} | {shown} | {why} |", helper.number).unwrap();
    }
    text
}

fn objects() -> String {
    let mut text = "
## Objects

What compilers write into objects; `testdata/objects` has the source of each.

| | Shown by | Why not |
|---|---|---|
"
    .to_owned();
    for feature in features() {
        writeln!(text, "| {} | {} | {} |", feature.name, feature.shown_by, feature.why()).unwrap();
    }
    text
}

#[test]
fn a_refused_helper_is_refused_at_load_by_name_with_the_reason() {
    let machine = sklookup_engine::Machine::default();
    for helper in helpers() {
        let Some(why) = helper.refused else { continue };
        let name = helper_name(helper.number).unwrap();
        let load = |kind| {
            let spec = sklookup_bpf::ProgramSpec::from_text("p", kind, &format!("call {name}\nexit")).unwrap();
            sklookup_engine::Program::load(&machine, &spec, &[]).unwrap_err().to_string()
        };
        let told = [load(ProgramType::SkLookup), load(ProgramType::SkReuseport)];
        assert!(told.iter().any(|told| told.contains(name) && told.contains(why)), "{told:?}");
    }
}
