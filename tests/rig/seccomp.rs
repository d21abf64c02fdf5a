//! Programs under a system call filter, as a unit or a container would have them, without either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A filter and the launcher that puts a program under it.
#[derive(Debug)]
pub(crate) struct Filter {
    dir: TempDir,
    default: &'static str,
}

impl Filter {
    /// These calls work, all others fail with EPERM.
    pub(crate) fn allowing(calls: &BTreeSet<String>) -> Self {
        Self::new(calls, "deny", "EPERM")
    }

    /// These calls fail with this error, all others work.
    pub(crate) fn denying(calls: &[&str], error: &str) -> Self {
        let calls = calls.iter().map(ToString::to_string).collect();
        Self::new(&calls, "allow", error)
    }

    fn new(calls: &BTreeSet<String>, default: &'static str, error: &str) -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        fs::write(dir.path().join("launch.py"), LAUNCHER).expect("it is writable");
        let lines: Vec<&str> = calls.iter().map(String::as_str).collect();
        let text = format!("{default} {error}\n{}\n", lines.join("\n"));
        fs::write(dir.path().join("calls"), text).expect("it is writable");
        Self { dir, default }
    }

    /// What is put before a command line.
    pub(crate) fn launcher(&self) -> Vec<String> {
        assert!(matches!(self.default, "allow" | "deny"));
        let path = |name: &str| self.dir.path().join(name).to_string_lossy().into_owned();
        vec!["python3".into(), path("launch.py"), path("calls")]
    }
}

/// What `SystemCallFilter=` of a unit lets through.
pub(crate) fn of_unit(unit: &Path) -> BTreeSet<String> {
    let groups = groups();
    let text = fs::read_to_string(unit).expect("the unit is there");
    let mut allowed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (removes, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line),
        };
        for name in names.split_whitespace() {
            let mut calls = BTreeSet::new();
            expand(&groups, name, &mut calls);
            if removes {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    assert!(allowed.len() > 100, "the unit has a filter: {allowed:?}");
    allowed
}

fn expand(groups: &BTreeMap<String, Vec<String>>, name: &str, into: &mut BTreeSet<String>) {
    if !name.starts_with('@') {
        into.insert(name.to_owned());
        return;
    }
    let members = groups.get(name).unwrap_or_else(|| panic!("systemd knows no group {name}"));
    for member in members {
        expand(groups, member, into);
    }
}

/// The groups of calls that systemd knows.
fn groups() -> BTreeMap<String, Vec<String>> {
    let output = Command::new("systemd-analyze")
        .args(["--no-pager", "syscall-filter"])
        .output()
        .expect("systemd-analyze starts");
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut group = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let word = line.trim();
        if line.starts_with('@') {
            word.clone_into(&mut group);
        } else if line.starts_with(' ') && !word.is_empty() && !word.starts_with('#') {
            groups.entry(group.clone()).or_default().push(word.to_owned());
        }
    }
    groups
}

/// The unit of this name in the repository.
pub(crate) fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// Loads the filter by prctl(2) and becomes the program.
const LAUNCHER: &str = r##"
import ctypes, errno, glob, os, re, struct, sys

head, *names = open(sys.argv[1]).read().split("\n")
default, error = head.split()
headers = glob.glob("/usr/include/*/asm/unistd_64.h") or ["/usr/include/asm-generic/unistd.h"]
numbers = dict(re.findall(r"#define\s+__NR_(\w+)\s+(\d+)", open(headers[0]).read()))
ALLOW, FAIL = 0x7FFF0000, 0x00050000 | getattr(errno, error)
named, other = (ALLOW, FAIL) if default == "deny" else (FAIL, ALLOW)
step = struct.Struct("HBBI").pack
code = [step(0x20, 0, 0, 0)]
for name in names:
    if name in numbers:
        code += [step(0x15, 0, 1, int(numbers[name])), step(0x06, 0, 0, named)]
code.append(step(0x06, 0, 0, other))
text = ctypes.create_string_buffer(b"".join(code))
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
for call in [(38, 1, 0, 0, 0), (22, 2, ctypes.c_char_p(program))]:
    if libc.prctl(*call) != 0:
        sys.exit(f"prctl{call}: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
"##;
