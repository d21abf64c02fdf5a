//! The host: processors, memory, limits, clocks, the state directory.

pub mod clock;
pub mod cpu;
pub mod limits;
pub mod state;
