//! Readers against real-looking messages, and against anything.

mod answers;
mod bodies;
mod bulks;
mod endpoints;
mod speed;
