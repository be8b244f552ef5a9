//! One file a command: it takes what was parsed, and gives an answer or says why not.

pub mod apply;
pub mod attach;
pub mod bind;
pub mod check;
pub mod completions;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod list;
pub mod metrics;
pub mod programs;
pub mod register;
pub mod replay;
pub mod rollback;
pub mod run;
pub mod status;
pub mod test;
#[cfg(feature = "tui")]
pub mod top;
pub mod unload;
pub mod upgrade;
pub mod watch;
