//! Space of a file system.

use std::{io, path::Path};

/// What a file system has and has left for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub all_bytes: u64,
    /// Free for this user, bytes.
    pub free_bytes: u64,
}

/// The space of the file system that holds `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Space {
        all_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_some_space() {
        let space = space(Path::new("/")).expect("the root is mounted");
        assert!(space.all_bytes > 0 && space.free_bytes <= space.all_bytes);
        assert!(super::space(Path::new("/no/such/place")).is_err());
    }
}
