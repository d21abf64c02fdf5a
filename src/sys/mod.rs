//! The host: processors, memory, limits, clocks, the state directory, the service manager.
//!
//! Asks the host and tells what it said; decides nothing and knows no other room.

pub mod bell;
pub mod cgroup;
pub mod clock;
pub mod cpu;
pub mod disk;
pub mod limits;
pub mod names;
pub mod notify;
mod parked;
pub mod passed;
pub mod secret;
pub mod state;
pub mod tree;
