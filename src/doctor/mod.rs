//! Looks at a host and at what tapline will talk to, and says what is wrong with the command that mends it.
//!
//! One file per family. In each, looking is apart from judging: what was seen becomes facts, and findings follow from
//! facts alone. Changes nothing: what is written (to time the disk) has no name and is gone when it was read.

mod certificate;
mod clock;
mod cluster;
mod cpu;
mod finding;
mod host;
mod kafka;
mod kernel;
mod limits;
mod memory;
mod network;
mod redaction;
mod storage;

#[cfg(test)]
mod tests;

pub use finding::{Finding, Status};

use crate::{config::DoctorConfig, sys::tree::Tree};

/// Everything that can be looked at, in the order in which a reader wants it: the host, its disk, then the others.
pub fn examine(config: &DoctorConfig, tree: &Tree) -> Vec<Finding> {
    let mut findings = kernel::judge(&kernel::look(tree));
    findings.extend(limits::judge(&limits::look()));
    findings.extend(cpu::judge(&cpu::look(tree, config)));
    findings.extend(memory::judge(&memory::look(tree, config)));
    findings.extend(host::judge(tree, config.cpus.as_ref()));
    findings.extend(clock::judge(clock::look()));
    findings.extend(network::judge(&network::look(tree, config)));
    findings.extend(storage::judge(&storage::look(tree, config)));
    findings.extend(certificate::judge(certificate::look(config).as_ref()));
    findings.extend(redaction::judge(config));
    findings.extend(cluster::judge(&cluster::look(config)));
    if let Some(kafka) = &config.kafka {
        findings.extend(kafka::judge(&kafka::look(kafka, config.record_bytes_max)));
    }
    findings
}
