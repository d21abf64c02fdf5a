//! What was found, and what to do about it.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// tapline runs, but something is slower, weaker or nearer to its end than it should be.
    Warn,
    /// tapline does not start, or does not do its work.
    Fail,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a name that does not change between versions.
    pub check: String,
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// The command or change that mends it; empty when there is nothing to mend.
    pub fix: String,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        let (check, detail) = (check.into(), detail.into());
        Self { check, status: Status::Ok, detail, fix: String::new() }
    }

    pub(super) fn warn(
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (check, detail) = (check.into(), detail.into());
        Self { check, status: Status::Warn, detail, fix: fix.into() }
    }

    pub(super) fn fail(
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (check, detail) = (check.into(), detail.into());
        Self { check, status: Status::Fail, detail, fix: fix.into() }
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        u64::MAX => "unlimited".into(),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
