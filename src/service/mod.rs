//! Puts the rooms together into a running process: checks, threads, signals, the end.

pub mod capture;
mod checks;
mod signals;
mod sinks;
