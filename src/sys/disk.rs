//! The disk below a directory: which file system, how much room, how long it takes to make a write durable.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fdatasync, fstatvfs, statfs};

/// Bytes of each write whose time is taken, and how many there are: 128 KiB in all.
const WRITE_BYTES: usize = 4096;
const WRITES: usize = 32;
/// A disk so slow that it is not asked any further.
const ENOUGH: Duration = Duration::from_secs(5);

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the whole.
    pub bytes: u64,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where they are not counted.
    pub free_files: Option<u64>,
}

/// The room around an existing directory.
pub fn room(dir: &Path) -> io::Result<Room> {
    let stat = fstatvfs(File::open(dir)?)?;
    Ok(Room {
        bytes: stat.f_blocks * stat.f_frsize,
        free_bytes: stat.f_bavail * stat.f_frsize,
        free_files: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// The kind of file system of an existing directory, as `ext4`; a number in hexadecimal when it is a rare one.
pub fn kind(dir: &Path) -> io::Result<String> {
    // linux/magic.h
    Ok(match statfs(dir)?.f_type as u64 & 0xffff_ffff {
        0xef53 => "ext4".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        0xf2f5_2010 => "f2fs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x8584_58f6 => "ramfs".into(),
        0x794c_7630 => "overlay".into(),
        0x6969 => "nfs".into(),
        0xff53_4d42 | 0xfe53_4d42 => "cifs".into(),
        0x6573_5546 => "fuse".into(),
        other => format!("{other:#x}"),
    })
}

/// Where `/sys/dev/block` has the disk of a directory, as `259:1`.
pub fn device(dir: &Path) -> io::Result<String> {
    let device = std::fs::metadata(dir)?.dev();
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// How long each of a few small writes took to become durable, shortest first; nothing is left behind.
pub fn sync_times(dir: &Path) -> io::Result<Vec<Duration>> {
    let file = nameless(dir)?;
    let block = [0x5a; WRITE_BYTES];
    // Blocks are taken first, as the capture log does, so that the times are those of data alone.
    file.write_all_at(&vec![0; WRITE_BYTES * WRITES], 0)?;
    file.sync_all()?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    for at in 0..WRITES {
        let begun = Instant::now();
        file.write_all_at(&block, (at * WRITE_BYTES) as u64)?;
        fdatasync(&file)?;
        times.push(begun.elapsed());
        if started.elapsed() > ENOUGH {
            break;
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// A file without a name; where the file system has none such, one whose name is removed at once.
fn nameless(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE.bits() as i32;
    let plain = || OpenOptions::new().read(true).write(true).mode(0o600).clone();
    if let Ok(file) = plain().custom_flags(flags).open(dir) {
        return Ok(file);
    }
    let path = dir.join(format!(".tapline-doctor-{}", std::process::id()));
    let file = plain().create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

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
    fn a_directory_has_a_kind_room_and_times_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(!kind(dir.path()).expect("known").is_empty());
        let room = room(dir.path()).expect("known");
        assert!(room.bytes >= room.free_bytes && room.bytes > 0);
        let times = sync_times(dir.path()).expect("measured");
        assert!(!times.is_empty() && times.is_sorted());
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0);
        assert!(device(dir.path()).expect("known").contains(':'));
        assert!(sync_times(&dir.path().join("none")).is_err());
    }
}
