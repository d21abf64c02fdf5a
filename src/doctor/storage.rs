//! The state directory, and the disk that decides how long writes wait.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Finding, finding::size};
use crate::{
    config::DoctorConfig,
    sys::{
        disk::{self, Room},
        tree::Tree,
    },
};

/// A held write waits for one fdatasync at least.
const SYNC_ADVISED: Duration = Duration::from_millis(10);
/// Below these the log soon has to stop writes.
const FREE_MIN: u64 = 512 << 20;
const FREE_ADVISED: u64 = 10 << 30;
const FREE_FILES_MIN: u64 = 1000;

/// What was seen of one directory.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The directory, or the one in which it would be made.
    pub(super) dir: PathBuf,
    /// Whether it is there yet.
    pub(super) exists: bool,
    /// Owner and mode.
    pub(super) owner: u32,
    pub(super) mode: u32,
    /// Who looks.
    pub(super) user: u32,
    /// It is a directory, and something can be made in it; else why not.
    pub(super) writable: Result<(), String>,
    pub(super) room: Option<Room>,
    /// What the capture log leaves to others.
    pub(super) reserve: u64,
    pub(super) kind: Option<String>,
    /// What the disk calls itself, as `Amazon EC2 NVMe Instance Storage`.
    pub(super) model: Option<String>,
    /// Times of fdatasync after a small write, shortest first.
    pub(super) syncs: Vec<Duration>,
}

pub(super) fn look(tree: &Tree, config: &DoctorConfig) -> Vec<Facts> {
    let mut dirs = vec![config.state_dir.clone()];
    dirs.extend(config.log.clone());
    dirs.iter().map(|dir| at(tree, dir, config.log_reserve)).collect()
}

fn at(tree: &Tree, dir: &Path, reserve: u64) -> Facts {
    let exists = dir.exists();
    // One that is not there yet will be made, so the disk above it is what counts.
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let meta = fs::metadata(there);
    let syncs = disk::sync_times(there);
    Facts {
        dir: dir.to_owned(),
        exists,
        owner: meta.as_ref().map_or(0, MetadataExt::uid),
        mode: meta.as_ref().map_or(0, |meta| meta.mode() & 0o7777),
        user: rustix::process::geteuid().as_raw(),
        writable: match &syncs {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", there.display())),
        },
        room: disk::room(there).ok(),
        reserve,
        kind: disk::kind(there).ok(),
        model: disk::device(there).ok().and_then(|device| model(tree, &device)),
        syncs: syncs.unwrap_or_default(),
    }
}

/// A partition's directory lies in that of its disk.
fn model(tree: &Tree, device: &str) -> Option<String> {
    let at = format!("sys/dev/block/{device}");
    ["device/model", "../device/model"].iter().find_map(|file| tree.read(&format!("{at}/{file}")))
}

pub(super) fn judge(all: &[Facts]) -> Vec<Finding> {
    all.iter().flat_map(of).collect()
}

fn of(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![directory(facts)];
    if facts.writable.is_ok() {
        findings.extend(facts.room.map(|room| space(facts, room)));
        findings.push(file_system(facts));
        findings.push(sync(facts));
    }
    findings
}

fn directory(facts: &Facts) -> Finding {
    let check = "state.directory";
    let name = facts.dir.display();
    if facts.exists && facts.user != 0 && facts.owner != facts.user {
        return Finding::fail(
            check,
            format!("{name} belongs to user {}, and you are user {}", facts.owner, facts.user),
            format!(
                "sudo -u '#{}' tapline doctor, or: sudo chown -R {} {name}",
                facts.owner, facts.user
            ),
        );
    }
    if facts.exists && facts.mode & 0o022 != 0 {
        return Finding::fail(
            check,
            format!("{name} can be written by others (mode {:04o})", facts.mode),
            format!("chmod 0700 {name}"),
        );
    }
    if let Err(why) = &facts.writable {
        return Finding::fail(
            check,
            format!("nothing can be written in {why}"),
            format!("sudo install -d -m 0700 -o {} {name}, or another --state-dir", facts.user),
        );
    }
    if facts.exists && facts.mode & 0o077 != 0 {
        return Finding::fail(
            check,
            format!(
                "{name} can be read by others (mode {:04o}): it holds captured traffic",
                facts.mode
            ),
            format!("chmod 0700 {name}"),
        );
    }
    if !facts.exists {
        return Finding::ok(check, format!("{name} is not there yet and can be made"));
    }
    Finding::ok(check, format!("{name}, user {}, mode {:04o}", facts.owner, facts.mode))
}

fn space(facts: &Facts, room: Room) -> Finding {
    let check = "state.space";
    let name = facts.dir.display();
    let shown = format!("{} of {} free", size(room.free_bytes), size(room.bytes));
    let fix = format!(
        "df -h {name}; make room, or a larger disk with --state-dir (a full disk stops writes of clients)"
    );
    if room.free_files.is_some_and(|files| files < FREE_FILES_MIN) {
        let files = room.free_files.unwrap_or(0);
        return Finding::fail(
            check,
            format!("{files} files may still be made"),
            format!("df -i {name}; {fix}"),
        );
    }
    if room.free_bytes <= facts.reserve {
        return Finding::fail(
            check,
            format!("{shown}, and --log-reserve leaves {} to others", size(facts.reserve)),
            fix,
        );
    }
    match room.free_bytes {
        0..FREE_MIN => Finding::fail(check, shown, fix),
        FREE_MIN..FREE_ADVISED => Finding::warn(check, shown, fix),
        _ => Finding::ok(check, shown),
    }
}

fn file_system(facts: &Facts) -> Finding {
    let check = "state.file_system";
    let kind = facts.kind.as_deref().unwrap_or("unknown");
    let model = facts.model.as_deref().unwrap_or_default();
    if model.contains("Instance Storage") {
        return Finding::warn(
            check,
            format!(
                "{kind} on {model}: its contents are gone when the instance stops or its host fails"
            ),
            "an EBS volume (gp3 or io2) for --state-dir, or accept the loss: what Kafka has acknowledged is safe, a \
             backlog is not",
        );
    }
    match kind {
        "tmpfs" | "ramfs" => Finding::warn(
            check,
            format!("{kind} is memory: records in it do not survive a restart of the host"),
            "--state-dir on a disk",
        ),
        "overlay" => Finding::warn(
            check,
            "overlay is the layer of a container: records in it go with the container",
            "mount a volume and name it with --state-dir",
        ),
        "nfs" | "cifs" | "fuse" => Finding::warn(
            check,
            format!("{kind}: each held write waits for another host's disk"),
            "--state-dir on a local disk with ext4 or xfs",
        ),
        _ => Finding::ok(check, format!("{kind} {model}").trim()),
    }
}

fn sync(facts: &Facts) -> Finding {
    let check = "state.sync";
    let at = |share: usize| facts.syncs.get((facts.syncs.len() - 1) * share / 100).copied();
    let (Some(middle), Some(worst)) = (at(50), at(100)) else {
        return Finding::ok(check, "not measured");
    };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let shown = format!(
        "a write of 4 KiB is durable after {:.2} ms in the middle, {:.2} ms at worst, of {}",
        ms(middle),
        ms(worst),
        facts.syncs.len()
    );
    if middle > SYNC_ADVISED {
        return Finding::warn(
            check,
            format!("{shown}: each held write waits so long"),
            "a faster disk, or one that nobody else writes to, for --state-dir; tuning/disk.md has figures",
        );
    }
    Finding::ok(check, shown)
}
