//! Secrets out of files: a file, or a credential that systemd gives (`LoadCredential=`).
//!
//! What is in a file is never in an error text.

use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Longer is no password.
const BYTES_MAX: u64 = 4096;

/// The secret in a file: its one line, without the line ending (LF or CRLF). The error says what to do.
pub fn read(file: &Path) -> Result<String, String> {
    let name = file.display();
    let failed = |error: io::Error| format!("the secret {name} cannot be read: {error}");
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!(
            "{name} is longer than {BYTES_MAX} bytes: is it the file of a secret?"
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("the secret in {name} is not UTF-8; write it as text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(format!("{name} holds no secret; write it there as one line"));
    }
    if line.contains(['\r', '\n', '\0']) {
        return Err(format!("{name} holds more than one line; write the secret alone there"));
    }
    Ok(line.to_owned())
}

/// Whether every user of this host can read the file.
pub fn is_open_to_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// The credential that systemd has given this unit by that name.
pub fn credential(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(bytes: &[u8]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn one_line_ending_is_not_part_of_it_and_anything_else_is() {
        for bytes in [&b"a b "[..], b"a b \n", b"a b \r\n"] {
            assert_eq!(read_of(bytes).as_deref(), Ok("a b "));
        }
        for bad in [&b""[..], b"\n", b"hush\n\n", b"hush\nb", b"hush\rb", b"hush\0", b"\xff"] {
            let error = read_of(bad).unwrap_err();
            assert!(error.contains("write") && !error.contains("hush"), "{error}");
        }
        assert!(read_of(&[b'a'; 4097]).is_err_and(|error| error.contains("longer")));
        assert!(read("/nowhere/at/all".as_ref()).is_err_and(|error| error.contains("/nowhere")));
    }

    #[test]
    fn a_file_for_everybody_is_told_from_one_of_a_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(file.path()), open, "{mode:o}");
        }
    }
}
