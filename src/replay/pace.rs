//! When a request is due.
