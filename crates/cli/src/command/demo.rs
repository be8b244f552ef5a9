//! (being written)
use crate::args::Global;
use std::process::ExitCode;
pub fn demo(_: &Global) -> ExitCode {
    ExitCode::from(2)
}
