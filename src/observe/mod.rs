//! What tapline says of itself: counters of the workers and the sink, and how they are written down.

mod counters;

pub use counters::{Counter, Counters, Snapshot};
