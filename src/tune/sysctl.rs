//! Settings of the kernel by name. The table is the file that `sysctl --system` reads as well.

use super::{Setting, Tuner};
use crate::sys::tree::Tree;

/// The one table of wanted values.
const TABLE: &str = include_str!("../../tuning/sysctl.d/90-tapline.conf");

/// When a value that differs will do as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// More is as good.
    AtLeast,
    /// Less is as good.
    AtMost,
    /// Only this.
    Exactly,
    /// A range that begins and ends further out is as good.
    AtLeastRange,
}

/// One for each line of the table.
const FITS: &[(&str, Fit)] = &[
    ("net.core.somaxconn", Fit::AtLeast),
    ("net.ipv4.tcp_max_syn_backlog", Fit::AtLeast),
    ("net.ipv4.tcp_migrate_req", Fit::Exactly),
    ("net.ipv4.ip_local_port_range", Fit::AtLeastRange),
    ("net.ipv4.tcp_keepalive_time", Fit::AtMost),
    ("net.ipv4.tcp_keepalive_intvl", Fit::AtMost),
    ("net.ipv4.tcp_keepalive_probes", Fit::AtMost),
    ("vm.swappiness", Fit::AtMost),
    ("fs.nr_open", Fit::AtLeast),
];

/// A line of the table with the comment above it.
struct Line {
    name: &'static str,
    value: &'static str,
    reason: String,
}

pub(super) fn tuner(tree: &Tree) -> Tuner {
    let mut tuner = Tuner::new("sysctl", "settings of the kernel, from 90-tapline.conf");
    for Line { name, value, reason } in lines() {
        let file = format!("proc/sys/{}", name.replace('.', "/"));
        // A kernel without it, or a container that is not shown it.
        let Some(now) = tree.read(&file) else { continue };
        let now = now.split_whitespace().collect::<Vec<_>>().join(" ");
        tuner.settings.push(Setting {
            name: name.into(),
            fits: fits(fit(name), &now, value),
            file,
            now: Some(now),
            wanted: value.into(),
            reason,
            ours: false,
        });
    }
    if tuner.settings.is_empty() {
        tuner.unsupported("/proc/sys shows none of them")
    } else {
        tuner
    }
}

fn lines() -> Vec<Line> {
    let (mut lines, mut reason) = (Vec::new(), String::new());
    for line in TABLE.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            comment.trim().clone_into(&mut reason);
        } else if let Some((name, value)) = line.split_once('=') {
            lines.push(Line { name: name.trim(), value: value.trim(), reason: reason.clone() });
        }
    }
    lines
}

fn fit(name: &str) -> Fit {
    FITS.iter().find(|(known, _)| *known == name).map_or(Fit::Exactly, |(_, fit)| *fit)
}

fn fits(fit: Fit, now: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    match (fit, numbers(now).as_slice(), numbers(wanted).as_slice()) {
        (Fit::AtLeast, [now], [wanted]) => now >= wanted,
        (Fit::AtMost, [now], [wanted]) => now <= wanted,
        (Fit::AtLeastRange, [low, high], [first, last]) => low <= first && high >= last,
        _ => now == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_has_a_reason_and_a_rule() {
        let lines = lines();
        assert_eq!(lines.len(), FITS.len());
        for (line, (name, _)) in lines.iter().zip(FITS) {
            assert_eq!(line.name, *name);
            assert!(!line.reason.is_empty() && !line.value.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_better_than_wanted_is_left_alone() {
        assert!(fits(Fit::AtLeast, "65535", "4096") && !fits(Fit::AtLeast, "128", "4096"));
        assert!(fits(Fit::AtMost, "0", "1") && !fits(Fit::AtMost, "60", "1"));
        assert!(fits(Fit::AtLeastRange, "1024 65535", "10000 65000"));
        assert!(!fits(Fit::AtLeastRange, "32768 60999", "10000 65000"));
        assert!(fits(Fit::Exactly, "1", "1") && !fits(Fit::Exactly, "0", "1"));
        assert!(!fits(Fit::AtLeast, "", "1"));
    }
}
