//! Puts the rooms together into a running process: checks, threads, signals, the end.
//!
//! The only room that starts threads of the data path. It sees no byte of the traffic.

pub mod capture;
mod checks;
mod signals;
mod sinks;
