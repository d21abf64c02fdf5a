//! Where captured records come from, and how far they are done with: capture log, Kafka group, lines.
//!
//! Decodes nothing.
