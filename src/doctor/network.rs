//! Where clients come in: the listening addresses, and what a network load balancer in front of them needs.

use std::net::SocketAddr;

use super::Finding;
use crate::{config::DoctorConfig, net::Doors, sys::tree::Tree};

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Each address with what stood in the way of taking it.
    pub(super) listen: Vec<(SocketAddr, Option<String>)>,
    /// Process ids of a tapline that runs.
    pub(super) running: Vec<String>,
}

pub(super) fn look(tree: &Tree, config: &DoctorConfig) -> Facts {
    let listen = config.listen.iter().map(|address| {
        let taken = Doors::bind(&[*address], 1);
        (*address, taken.err().map(|error| error.to_string()))
    });
    let own = std::process::id().to_string();
    let is_tapline = |pid: &String| {
        pid.starts_with(|c: char| c.is_ascii_digit())
            && *pid != own
            && tree.read(&format!("proc/{pid}/comm")).as_deref() == Some("tapline")
    };
    Facts {
        listen: listen.collect(),
        running: tree.names("proc").into_iter().filter(is_tapline).collect(),
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .listen
        .iter()
        .map(|(address, refused)| match refused {
            None => Finding::ok("listen", format!("{address} is free")),
            Some(_) if !facts.running.is_empty() => Finding::ok(
                "listen",
                format!(
                    "{address} is in use, and tapline runs (process {})",
                    facts.running.join(", ")
                ),
            ),
            Some(why) => {
                let (what, fix) = why.split_once(". ").unwrap_or((why, "see: ss -ltnp"));
                Finding::fail("listen", what, fix)
            }
        })
        .collect();
    if facts.listen.iter().any(|(address, _)| address.ip().is_loopback()) {
        findings.push(Finding::warn(
            "listen.reach",
            "a loopback address: neither clients nor a load balancer on other hosts get there",
            "--listen 0.0.0.0:9200",
        ));
    }
    if !findings.is_empty() {
        findings.push(Finding::ok(
            "load_balancer",
            "idle clients are probed after 60 s, below the 350 s of a network load balancer; before a stop, take the \
             node out of its target group",
        ));
    }
    findings
}
