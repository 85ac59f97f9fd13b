//! The commands, one file each: `run(context, arguments)` does it, prints its facts, and returns.

pub mod audit;
pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod launch;
pub mod list;
pub mod offsets;
mod operate;
pub mod peek;
pub mod plan;
pub mod run;
pub mod savepoint;
pub mod status;
pub mod stop;
mod stopped;
pub mod top;
