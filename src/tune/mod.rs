//! What tapline wants of its host, beside what is there: named tuners, each with its settings, and their way back.
//!
//! Every setting is a file and a text. All of them are forgotten by the kernel at the next start, and so is the record
//! of their former values, which lies in `/run`: what a boot has set, the same boot can take back. Nothing here decides
//! on its own to change anything.

mod apply;
mod balance;
mod clocksource;
mod devices;
mod former;
mod governor;
mod interrupts;
mod packets;
mod rings;
mod sysctl;

#[cfg(test)]
mod tests;

pub use apply::{Change, Outcome, apply, revert};

use crate::sys::{cpu::CpuList, tree::Tree};

/// The names of all tuners, in the order in which they are applied.
pub const NAMES: [&str; 8] = [
    "sysctl",
    "irq-affinity",
    "rps",
    "xps",
    "irqbalance",
    "cpu-governor",
    "clocksource",
    "nic-rings",
];

/// What the host is tuned for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The processors of the workers; by default all but the last, as `tapline capture` takes them.
    pub workers: Option<CpuList>,
    /// Only these tuners; empty for all.
    pub only: Vec<String>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As operators know it: `net.core.somaxconn`, or a path.
    pub name: String,
    /// The file that holds it, without the leading slash.
    pub file: String,
    /// What is set; `None` for a file of ours that is not there.
    pub now: Option<String>,
    /// What is wanted.
    pub wanted: String,
    /// Whether what is set will do.
    pub fits: bool,
    /// Why it is wanted.
    pub reason: String,
    /// A file of ours, which may be made and removed, and not a setting of the kernel's.
    pub ours: bool,
}

/// One tuner on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuner {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Why it can do nothing here, if so.
    pub unsupported: Option<String>,
    /// What it wants.
    pub settings: Vec<Setting>,
    /// Commands that are only recommended: what they gain depends on more than the host.
    pub advice: Vec<String>,
    /// Commands that make a change known, after it was applied or taken back.
    pub reload: Vec<&'static str>,
}

impl Tuner {
    fn new(name: &'static str, purpose: &'static str) -> Self {
        Self {
            name,
            purpose,
            unsupported: None,
            settings: Vec::new(),
            advice: Vec::new(),
            reload: Vec::new(),
        }
    }

    fn unsupported(mut self, why: impl Into<String>) -> Self {
        self.unsupported = Some(why.into());
        self
    }

    /// The settings that are not as wanted.
    pub fn pending(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(|setting| !setting.fits)
    }
}

/// Looks at the host; an unknown name in `only` is an error that has the known ones.
pub fn plan(tree: &Tree, options: &Options) -> Result<Vec<Tuner>, String> {
    if let Some(unknown) = options.only.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("there is no tuner '{unknown}'; there are {}", NAMES.join(", ")));
    }
    let host = devices::Host::look(tree, options.workers.as_ref());
    let mut all = vec![
        sysctl::tuner(tree),
        interrupts::tuner(tree, &host),
        packets::receive(tree, &host),
        packets::transmit(tree, &host),
        balance::tuner(tree, &host),
        governor::tuner(tree, &host),
        clocksource::tuner(tree),
        rings::tuner(&host),
    ];
    all.retain(|tuner| {
        options.only.is_empty() || options.only.iter().any(|name| name == tuner.name)
    });
    Ok(all)
}
