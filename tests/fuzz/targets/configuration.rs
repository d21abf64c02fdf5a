//! The configuration file: whatever stands in it, it is understood, or refused with a sentence that says where.

use std::ffi::OsString;

use tapline::cli;
use tapline::observe::ExitCode;

/// The file; its first byte says whose.
pub(crate) fn configuration(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let file = tempfile::NamedTempFile::new().expect("the temporary directory is writable");
    std::fs::write(file.path(), text).expect("the temporary directory is writable");
    let subcommand = ["capture", "replay", "doctor"][usize::from(*first) % 3];
    let mut line: Vec<OsString> = vec!["tapline".into(), subcommand.into()];
    line.extend(["--config".into(), file.path().into()]);
    let Err(failure) = cli::understand(line) else { return };
    let said = failure.to_string();
    match failure.code() {
        ExitCode::Configuration => {
            let path = file.path().display().to_string();
            assert!(said.contains(&path), "it says in which file: {said}");
        }
        // What is missing is in no file.
        code => assert_eq!(code, ExitCode::Usage, "{said}"),
    }
    assert!(!said.trim().is_empty() && said.len() < 4096 + 2 * text.len(), "{said}");
}
