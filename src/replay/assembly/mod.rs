//! Records become requests and answers, per captured connection.
//!
//! Owns the messages that are not complete yet.
