//! Every case under `testdata`, beside the example of an object, and on the pages, one trial a case and executor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sklookup_suite::{Case, Engine, Executor, Kernel, Row, Verdict, case_files, load_with, read_cases, read_object};
use sklookup_testbed::{Completion, Trial};

fn main() {
    // From the root of the repository: the command that a failure prints works there.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(root).expect("the repository is there");
    let files = case_files(&["testdata", "examples/objects"].map(PathBuf::from))
        .unwrap_or_else(|problems| panic!("{}", problems[0]));
    let cases = read_cases(&files).unwrap_or_else(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", told.join("\n"))
    });
    assert!(!cases.is_empty());
    let cases = cases.into_iter().chain(documented());
    let executors: [Arc<dyn Executor + Send + Sync>; 2] = [Arc::new(Engine), Arc::new(Kernel::new())];
    let trials = cases.flat_map(|case| executors.clone().map(|executor| trial(case.clone(), executor)));
    sklookup_testbed::main(trials.collect());
}

fn trial(case: Case, executor: Arc<dyn Executor + Send + Sync>) -> Trial {
    let stem = Path::new(&*case.file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Trial::ignorable_test(format!("{stem}::{} @ {}", case.name, executor.name()), move || {
        let row = Row::of(&case, &*executor);
        match &row.verdict {
            Verdict::Passed => Ok(Completion::Completed),
            Verdict::Skipped(reason) => Ok(Completion::ignored_with(reason.clone())),
            Verdict::Failed { .. } => Err(row.to_string().into()),
        }
    })
}

/// The cases that the documentation shows: each block is a file.
fn documented() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, least) in [("docs/cases.md", 2), ("docs/objects.md", 1)] {
        let text = std::fs::read_to_string(path).expect("the page is there");
        let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= least, "{path} shows cases");
        let object = |name: &str| read_object(Path::new(path), name);
        let read = |block: &&str| load_with(block, path, &object).unwrap_or_else(|problems| panic!("{}", problems[0]));
        cases.extend(blocks.iter().flat_map(read));
    }
    cases
}
