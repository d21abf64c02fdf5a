//! What can be set, and every bound of what cannot.

pub mod limits;
