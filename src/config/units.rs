//! Durations and sizes as operators write them.

use std::time::Duration;

/// `500ms`, `10s`, `5m`, `2h`; a unit is required.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a duration; write 500ms, 10s, 5m or 2h"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err(format!("'{text}' needs a unit: ms, s, m or h")),
    }
}

/// `65536`, `64KiB`, `512MiB`, `2GiB`; without a unit it is bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a size; write 65536, 64KiB, 512MiB or 2GiB"))?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" | "K" | "k" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        _ => return Err(format!("'{text}' has an unknown unit; use KiB, MiB or GiB")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

/// As [`bytes`], for sizes that are held in memory.
pub fn size(text: &str) -> Result<usize, String> {
    bytes(text).map(|bytes| bytes as usize)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood_and_their_absence_is_named() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert!(duration("10").is_err_and(|e| e.contains("unit")));
        assert!(duration("fast").is_err());
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("7"), Ok(7));
        assert!(bytes("1TB").is_err());
        assert!(bytes("99999999999GiB").is_err());
    }
}
