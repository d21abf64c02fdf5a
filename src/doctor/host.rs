//! What `tapline tune` would change, as findings.

use super::Finding;
use crate::{
    sys::{cpu::CpuList, tree::Tree},
    tune::{self, Tuner},
};

/// Settings of one tuner that a line names; the rest is a number.
const NAMED: usize = 3;

pub(super) fn judge(tree: &Tree, workers: Option<&CpuList>) -> Vec<Finding> {
    let options = tune::Options { workers: workers.cloned(), ..tune::Options::default() };
    // Nothing is asked for by name, so no name is unknown.
    let tuners = tune::plan(tree, &options).unwrap_or_default();
    tuners.iter().filter(|tuner| tuner.advice.is_empty()).flat_map(of).collect()
}

fn of(tuner: &Tuner) -> Vec<Finding> {
    let name = tuner.name;
    let fix = format!("sudo tapline tune --apply --only {name}");
    if name == "sysctl" {
        let each = |setting: &tune::Setting| {
            let now = setting.now.as_deref().unwrap_or_default();
            let check = format!("sysctl.{}", setting.name);
            if setting.fits {
                return Finding::ok(check, now);
            }
            let detail = format!("{now}, wanted {}: {}", setting.wanted, setting.reason);
            Finding::warn(check, detail, format!("{fix}, or: sysctl -w {}", command(setting)))
        };
        return tuner.settings.iter().map(each).collect();
    }
    let check = format!("tune.{name}");
    if let Some(why) = &tuner.unsupported {
        return vec![Finding::ok(check, format!("nothing to set: {why}"))];
    }
    let pending: Vec<String> = tuner
        .pending()
        .map(|setting| {
            format!(
                "{} is {}, wanted {}",
                setting.name,
                setting.now.as_deref().unwrap_or("not there"),
                setting.wanted.lines().last().unwrap_or_default()
            )
        })
        .collect();
    if pending.is_empty() {
        return vec![Finding::ok(check, format!("{}: as wanted", tuner.purpose))];
    }
    let more = match pending.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let detail = format!("{}{more}", pending[..pending.len().min(NAMED)].join("; "));
    vec![Finding::warn(check, detail, fix)]
}

fn command(setting: &tune::Setting) -> String {
    if setting.wanted.contains(' ') {
        format!("{}='{}'", setting.name, setting.wanted)
    } else {
        format!("{}={}", setting.name, setting.wanted)
    }
}
