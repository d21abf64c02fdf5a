//! Processors: which ones may be used, and pinning a thread to one.

use std::{fmt, str::FromStr};

use core_affinity::CoreId;

/// A list of processors as in `2-7,10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let number = |text: &str| {
                text.trim()
                    .parse::<usize>()
                    .map_err(|_| format!("'{part}' is not a processor or a range like 2-7"))
            };
            match part.split_once('-') {
                Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
                None => cpus.push(number(part)?),
            }
        }
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.is_empty() { Err("no processor named".into()) } else { Ok(Self(cpus)) }
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}

/// The processors that this process may run on.
pub fn usable() -> CpuList {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    CpuList(ids.into_iter().map(|id| id.id).collect())
}

/// Pins the calling thread; false when the system did not allow it.
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_parse_and_nonsense_is_named() {
        assert_eq!("2-4,7,3".parse::<CpuList>().map(|c| c.0), Ok(vec![2, 3, 4, 7]));
        assert!("2-".parse::<CpuList>().is_err());
        assert!("x".parse::<CpuList>().is_err_and(|e| e.contains("'x'")));
        assert!("5-2".parse::<CpuList>().is_err());
    }
}
