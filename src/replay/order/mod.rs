//! Which requests may run side by side, and which must wait for which.
//!
//! Owns the conflict order.
