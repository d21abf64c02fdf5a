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

/// Processors as the kernel writes sets of them: hexadecimal, 32 to a group, highest first.
pub fn to_mask(cpus: &[usize]) -> String {
    let groups = cpus.iter().max().map_or(1, |last| last / 32 + 1);
    let mut words = vec![0_u32; groups];
    for cpu in cpus {
        words[cpu / 32] |= 1 << (cpu % 32);
    }
    let words: Vec<String> = words.iter().rev().map(|word| format!("{word:08x}")).collect();
    words.join(",")
}

/// The other way round; `None` for what is no mask.
pub fn from_mask(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for (group, word) in text.trim().rsplit(',').enumerate() {
        let word = u32::from_str_radix(word, 16).ok()?;
        cpus.extend((0..32).filter(|bit| word & (1 << bit) != 0).map(|bit| group * 32 + bit));
    }
    Some(cpus)
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

    #[test]
    fn masks_go_both_ways() {
        assert_eq!(to_mask(&[0, 1, 35]), "00000008,00000003");
        assert_eq!(from_mask("00000008,00000003"), Some(vec![0, 1, 35]));
        assert_eq!(from_mask("f"), Some(vec![0, 1, 2, 3]));
        assert_eq!((to_mask(&[]).as_str(), from_mask("x")), ("00000000", None));
    }
}
