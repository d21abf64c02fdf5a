//! What is left of a replayed request: tuples, quarantine, the journal of what was sent.
//!
//! Writes files; decides nothing.
