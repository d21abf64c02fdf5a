//! The test rig: real services, scripted peers and recorders, all started by the tests themselves.
//!
//! It owns every process, port and directory that a test needs and takes all of them away again,
//! also when a test panics or the whole run is killed. It never asserts anything about `tapline`;
//! that is for the test modules beside it.

pub(crate) mod brokers;
pub(crate) mod cgroup;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod content;
pub(crate) mod digest;
pub(crate) mod elasticsearch;
pub(crate) mod ground;
pub(crate) mod group;
pub(crate) mod guarded;
pub(crate) mod haproxy;
pub(crate) mod hole;
pub(crate) mod hosts;
pub(crate) mod java;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod manager;
pub(crate) mod marker;
pub(crate) mod message;
pub(crate) mod mixed;
pub(crate) mod nginx;
pub(crate) mod opensearch;
pub(crate) mod origin;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod recording;
pub(crate) mod records;
pub(crate) mod relay;
pub(crate) mod replayer;
pub(crate) mod run;
pub(crate) mod scripted;
pub(crate) mod seccomp;
pub(crate) mod secure;
pub(crate) mod services;
pub(crate) mod tape;
pub(crate) mod tapline;
pub(crate) mod topics;
pub(crate) mod tuples;
pub(crate) mod wait;
pub(crate) mod witness;
