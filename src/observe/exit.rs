//! Exit codes (sysexits.h where it has one) and the failures that lead to them.

use std::fmt;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// A peer (the source, Kafka) cannot be reached.
    Unavailable = 69,
    /// A defect of tapline.
    Bug = 70,
    /// Configuration or environment must be changed first.
    Configuration = 78,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command could not do what it was asked: a sentence that says what to do next.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    text: String,
}

impl Failure {
    /// A failure that ends the process with this code.
    pub fn new(code: ExitCode, text: impl fmt::Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// Configuration or environment.
    pub fn configuration(text: impl fmt::Display) -> Self {
        Self::new(ExitCode::Configuration, text)
    }

    /// The code to end with.
    pub fn code(&self) -> ExitCode {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
