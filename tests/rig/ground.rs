//! The directories of the rig: what is fetched once, and what one run uses and throws away.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The rig's directory below the build's target directory; survives between runs.
pub(crate) fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("invariant: cargo's temporary directory lies in the target directory");
    let home = target.join("rig");
    fs::create_dir_all(&home).expect("the target directory is writable");
    home
}

/// As [`home`], but readable for other users: some servers refuse to run as root.
pub(crate) fn home_for_others() -> PathBuf {
    let home = home();
    let passable = |dir: &Path| {
        fs::metadata(dir).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
    };
    if !am_root() || home.ancestors().all(passable) {
        return home;
    }
    let home = PathBuf::from("/var/tmp/tapline-rig");
    fs::create_dir_all(&home).expect("/var/tmp is writable");
    fs::set_permissions(&home, Permissions::from_mode(0o755)).expect("the directory is ours");
    home
}

/// Whether this process may give files to other users.
pub(crate) fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Closes a directory to others, as a state directory must be; one that is not there yet is made so.
pub(crate) fn close(dir: &Path) {
    if dir.is_dir() {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).expect("the directory is ours");
    }
}

/// A new directory for one run of one service below `home`; whoever asked removes it.
pub(crate) fn run_dir(home: &Path, name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = home.join("run").join(format!("{name}-{}-{number}", std::process::id()));
    // A process with the same id may have died here before.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("the rig's directory is writable");
    dir
}

/// Makes `dir` once: under a lock, so that tests and runs side by side do not race, and complete,
/// so that an interrupted attempt is started afresh. An error of `make` is given to the caller.
pub(crate) fn once(
    dir: &Path,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let marker = dir.join(".complete");
    if marker.is_file() {
        return Ok(());
    }
    let parent = dir.parent().expect("invariant: a directory of the rig has a parent");
    fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let name = dir.file_name().expect("invariant: it has a name").to_string_lossy();
    let lock = File::create(parent.join(format!(".{name}.lock")))
        .map_err(|error| format!("lock for {}: {error}", dir.display()))?;
    lock.lock().map_err(|error| format!("lock for {}: {error}", dir.display()))?;
    if marker.is_file() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    make(dir)?;
    File::create(&marker).map_err(|error| format!("{}: {error}", marker.display()))?;
    Ok(())
}

#[test]
fn a_directory_is_made_once_and_again_after_a_failure() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("things");
    assert_eq!(once(&dir, |_| Err("no luck".to_owned())), Err("no luck".to_owned()));
    once(&dir, |dir| fs::write(dir.join("a"), "1").map_err(|error| error.to_string())).unwrap();
    once(&dir, |_| panic!("it is complete already")).unwrap();
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
}
