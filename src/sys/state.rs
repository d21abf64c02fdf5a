//! The state directory: who may read it, and the node's name that is kept in it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use uuid::Uuid;

/// Creates the directory if need be (durably, mode 0700) and checks that it is ours alone to write.
pub fn prepare(dir: &Path) -> Result<(), String> {
    let name = dir.display();
    create(dir).map_err(|error| {
        format!(
            "cannot create the state directory {name}: {error}. Name another with \
                 --state-dir, or create it and give it to this user"
        )
    })?;
    let meta = fs::metadata(dir).map_err(|error| {
        format!("cannot read the state directory {name}: {error}. Give it to this user: chown")
    })?;
    let user = rustix::process::geteuid().as_raw();
    if meta.uid() != user {
        return Err(format!(
            "the state directory {name} belongs to user {}, not to user {user} who runs tapline. \
             Run: chown -R {user} {name}",
            meta.uid()
        ));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(format!(
            "the state directory {name} is open to others (mode {:o}), and holds what clients send. \
             Run: chmod 0700 {name}",
            meta.mode() & 0o7777
        ));
    }
    fs::read_dir(dir).map(drop).map_err(|error| {
        format!("cannot read the state directory {name}: {error}. Run: chmod 0700 {name}")
    })
}

/// Each level is on the disk before the next is made: what is durable in the directory is of no use when the power
/// takes its name.
fn create(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync(parent.unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes the names in a directory durable.
fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// The node's name: a UUID, made once and kept in `node-id`.
pub fn node_id(dir: &Path) -> Result<String, String> {
    let path = dir.join("node-id");
    match fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map(|id| id.to_string()).map_err(|_| {
            format!("{} does not hold a UUID. Remove it and a new one is made", path.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::new_v4().to_string();
            write_new(dir, "node-id", format!("{id}\n").as_bytes())
                .map(|()| id)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
                        "cannot write {}: {error}. Make space, or name a directory on another disk with --state-dir",
                        path.display()
                    ),
                    _ => format!("cannot write {}: {error}", path.display()),
                })
        }
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// A secret of this node: 32 random bytes, made once and kept in a file that only its owner reads.
pub fn key(dir: &Path, name: &str) -> Result<[u8; 32], String> {
    let path = dir.join(name);
    let shown = path.display();
    let failed = |what: &str, error: &io::Error| format!("cannot {what} {shown}: {error}");
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match random_key().and_then(|key| write_new(dir, name, &key)) {
                // Another process of this node was faster: its key holds.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(|error| failed("write", &error))?,
            }
        }
        Err(error) => return Err(failed("read", &error)),
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            return Err(format!("{shown} can be read by others. Run: chmod 0600 {shown}"));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(|error| failed("read", &error))?;
    bytes.try_into().map_err(|_| {
        format!("{shown} does not hold 32 bytes. Remove it and a new key is made; equal credentials then differ from \
                 those recorded before")
    })
}

fn random_key() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

/// Whole or not at all, also when the power goes: it is linked to its name when it is on the disk.
fn write_new(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!(".{name}.{}", Uuid::new_v4()));
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let made = written().and_then(|()| fs::hard_link(&draft, dir.join(name)));
    let _ = fs::remove_file(&draft);
    made.and_then(|()| sync(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_node_keeps_its_name() {
        let dir = tempfile::tempdir().expect("temp dir");
        let state = dir.path().join("state");
        prepare(&state).expect("made");
        let first = node_id(&state).expect("named");
        assert_eq!(node_id(&state), Ok(first));
        fs::write(state.join("node-id"), "nonsense").expect("written");
        assert!(node_id(&state).is_err_and(|error| error.contains("UUID")));
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("temp dir");
        let first = key(dir.path(), "k").expect("made");
        assert_ne!(first, [0; 32]);
        assert_eq!(key(dir.path(), "k"), Ok(first));
        assert_ne!(key(dir.path(), "other").expect("made"), first);
        let path = dir.path().join("k");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2, "no draft is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(key(dir.path(), "k").is_err_and(|error| error.contains("chmod 0600")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        fs::write(&path, "short").expect("written");
        assert!(key(dir.path(), "k").is_err_and(|error| error.contains("32 bytes")));
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).expect("chmod");
        assert!(prepare(dir.path()).is_err_and(|error| error.contains("chmod 0700")));
    }
}
