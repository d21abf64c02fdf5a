//! The comparison bench.

fn main() {}
