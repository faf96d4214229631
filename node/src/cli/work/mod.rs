//! Running programs: from files and flags to results.

pub mod content;
pub mod exec;
mod explained;
pub mod follow;
pub mod inputs;
pub mod map;
pub mod module;
pub mod naming;
pub mod out_dir;
pub mod progress;
pub mod report;
pub mod results;
pub mod run;
pub mod submit;
mod walk;
