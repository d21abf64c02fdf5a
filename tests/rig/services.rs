//! Which real services the tests may use, and what to say when something is missing.
//!
//! `TAPLINE_TEST_SERVICES=off` leaves out every test that needs one; it is said in the output, also
//! where the harness swallows what a passing test prints. `TAPLINE_TEST_SLOW=1` makes the numbers
//! large.

use std::io::Write;
use std::path::PathBuf;

/// Whether tests that need a real service run at all; says so when they do not.
pub(crate) fn wanted(test: &str) -> bool {
    let off = std::env::var("TAPLINE_TEST_SERVICES").is_ok_and(|value| value == "off");
    if off {
        say(&format!("left out: {test} (TAPLINE_TEST_SERVICES=off)"));
    }
    !off
}

/// `fast` by default, `slow` with `TAPLINE_TEST_SLOW=1`.
pub(crate) fn scale<T>(fast: T, slow: T) -> T {
    if std::env::var("TAPLINE_TEST_SLOW").is_ok_and(|value| value == "1") { slow } else { fast }
}

/// Prints a line that the harness does not capture.
pub(crate) fn say(line: &str) {
    // Only the print macros are captured; a failure to print must not fail a test.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Where a program is, or the one line that says what to install.
pub(crate) fn program(name: &str, install: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is missing: {install}, or set TAPLINE_TEST_SERVICES=off"))
}

#[test]
fn a_missing_program_is_one_line_that_says_what_to_install() {
    let error = program("no-such-program", "apt-get install nothing").expect_err("is missing");
    assert!(error.contains("apt-get install nothing"), "{error}");
    assert_eq!(error.lines().count(), 1);
    assert!(program("sh", "install a shell").is_ok());
}
