//! The files in which the kernel shows and takes settings: `/proc`, `/sys`, and the few beside them.
//!
//! All below one root, so that a host can be described by a directory of plain files.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

/// A root and everything below it. Paths are written without a leading slash: `proc/sys/vm/swappiness`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

impl Default for Tree {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Tree {
    /// The tree below a directory; `/` is this host.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the host and not a picture of one.
    pub fn is_host(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// The text of a file without the white space around it; `None` when it is not there or not ours to read.
    pub fn read(&self, file: &str) -> Option<String> {
        // Some of these files are not UTF-8 to the last byte, as /proc/PID/environ.
        let bytes = fs::read(self.path(file)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one value.
    pub fn value<T: FromStr>(&self, file: &str) -> Option<T> {
        self.read(file)?.parse().ok()
    }

    /// Whether there is such a file or directory.
    pub fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    /// The names in a directory, numbers in their order; empty when there is none.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(dir)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by_cached_key(|name| {
            let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
            (name[..name.len() - digits.len()].to_owned(), digits.parse::<u64>().ok(), name.clone())
        });
        names
    }

    /// Gives a setting to the kernel: the file must be there.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        // In one write: the kernel takes each write for a whole value.
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(file))?
            .write_all(format!("{value}\n").as_bytes())
    }

    /// Writes a file of ours so that a reader sees the former text or all of this one, also after a crash.
    /// `mode` is that of the file; directories on the way are made (0755).
    pub fn put(&self, file: &str, text: &str, mode: u32) -> io::Result<()> {
        let path = self.path(file);
        let dir = path.parent().unwrap_or(&self.root);
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let fresh = path.with_extension("new");
        // What a crash left there is of no use to anybody.
        let _ = fs::remove_file(&fresh);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(dir)?.sync_all()
    }

    /// Removes a file of ours; one that is not there is no error.
    pub fn remove(&self, file: &str) -> io::Result<()> {
        match fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn settings_are_read_set_and_never_made() {
        let dir = tempfile::tempdir().expect("temp dir");
        let tree = Tree::below(dir.path());
        assert_eq!(tree.read("proc/sys/vm/swappiness"), None);
        assert!(tree.set("proc/sys/vm/swappiness", "1").is_err(), "a setting that is not there");
        tree.put("proc/sys/vm/swappiness", "60\n", 0o644).expect("made");
        tree.set("proc/sys/vm/swappiness", "1").expect("set");
        assert_eq!(tree.value::<u32>("proc/sys/vm/swappiness"), Some(1));
        tree.remove("proc/sys/vm/swappiness").expect("removed");
        tree.remove("proc/sys/vm/swappiness").expect("not there is as good");
        assert!(!tree.is_host() && Tree::default().is_host());
    }

    #[test]
    fn numbers_stand_in_their_order_and_files_have_their_mode() {
        let dir = tempfile::tempdir().expect("temp dir");
        let tree = Tree::below(dir.path());
        for name in ["rx-10", "rx-2", "tx-0", "rx-0"] {
            tree.put(&format!("q/{name}"), "", 0o600).expect("made");
        }
        assert_eq!(tree.names("q"), ["rx-0", "rx-2", "rx-10", "tx-0"]);
        let mode = fs::metadata(tree.path("q/rx-0")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
