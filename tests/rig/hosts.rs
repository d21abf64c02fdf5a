//! Names that lead where a test says, for one process alone.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A table of hosts that only the process started by [`Hosts::launcher`] sees.
#[derive(Debug)]
pub(crate) struct Hosts {
    dir: TempDir,
    name: &'static str,
}

impl Hosts {
    /// A table with one name.
    pub(crate) fn of(name: &'static str, address: &str) -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let hosts = Self { dir, name };
        hosts.lead_to(address);
        hosts
    }

    /// Lets the name lead elsewhere. In place: it is the file, not its name, that the process sees.
    pub(crate) fn lead_to(&self, address: &str) {
        self.write(&format!("{address} {}\n", self.name));
    }

    /// Takes the name off the table.
    pub(crate) fn forget(&self) {
        self.write("");
    }

    /// What starts a process that sees the table in place of the host's.
    pub(crate) fn launcher(&self) -> Vec<String> {
        let root = rustix::process::geteuid().is_root();
        let namespace = if root { "-m" } else { "-rm" };
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let file = self.file().display().to_string();
        ["unshare", namespace, "sh", "-c", script, &file].map(str::to_owned).to_vec()
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).expect("the temporary directory is writable");
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }
}
