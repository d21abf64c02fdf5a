//! The connections to the target: a pool per worker thread, one request in flight on each.
//!
//! Knows jobs and replies; nothing of what they mean.
