//! The integration tests: the program as its users run it, against real and scripted peers.
//!
//! `TAPLINE_TEST_SERVICES=off` leaves out what needs Kafka, Elasticsearch, nginx or Python;
//! `TAPLINE_TEST_SLOW=1` makes the numbers large.

#![allow(
    clippy::unwrap_used,
    reason = "a test and its rig fail by panicking; there is nobody to hand an error to"
)]

mod admin;
mod blocking;
mod brokers;
mod clients;
mod clock;
mod configuration;
mod descriptors;
mod disk_broken;
mod disk_full;
mod doctor;
mod endurance;
mod feed;
mod fields;
mod forgotten;
mod framing_agreement;
mod fuzz;
mod golden;
mod handover;
mod holding;
mod house;
mod kafka_security;
mod kill9;
mod logging;
mod memory;
mod moving;
mod nodes;
mod passing;
mod proof;
mod real_clients;
mod refused;
mod reloading;
mod replay;
mod replay_clusters;
mod replay_members;
mod rig;
mod service;
mod shutdown;
mod spool;
mod startup;
mod tls;
mod topic_deleted;
mod transparency;
mod tune;
mod units;
