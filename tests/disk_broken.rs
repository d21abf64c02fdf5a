//! A device that fails in the middle of its work: nothing that it did not confirm reaches the source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::rig::client::{Client, request, try_connect};
use crate::rig::load;
use crate::rig::services::say;
use crate::rig::tapline::{self, Capture};
use crate::rig::witness::Witness;
use crate::rig::{ground, marker};

#[test]
fn a_device_that_fails_ends_the_process_and_loses_nothing_that_was_confirmed() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(device) = BrittleDevice::make(scratch.path()) else {
        say("left out: a_device_that_fails_ends_the_process_and_loses_nothing_that_was_confirmed \
             (an ext4 on a loop device cannot be mounted)");
        return;
    };
    let state = device.mount.clone();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noting = Arc::clone(&seen);
    let origin = load::origin(move |mark| {
        noting.lock().unwrap().insert(mark);
    });
    let capture = || {
        let capture = Capture::of(origin.port()).state(&state).flag("--segment-bytes", "8MiB");
        capture.flag("--log-reserve", "1MiB")
    };
    let mut tapline = capture().start();
    let mut answered = BTreeSet::new();
    let mut sent = 0;
    // Marks at both ends of 256 KiB, until a write has no answer.
    for number in 0..WRITES_MAX {
        let (first, last) = (2 * number, 2 * number + 1);
        let filler = "x".repeat(256 << 10);
        let body = format!("{}{filler}{}", marker::text(first), marker::text(last));
        sent = last + 1;
        let write = || {
            let mut client = try_connect(tapline.port())?;
            client.try_send(&request("PUT", "/i/_doc/1", body.as_bytes()))?;
            client.try_response("PUT")
        };
        match write() {
            Ok(answer) if answer.status() == 200 => answered.extend([first, last]),
            _ => break,
        }
    }
    assert!(sent < 2 * WRITES_MAX, "the device takes more than its backing holds");
    assert_eq!(tapline.wait(), Some(1), "{}", tapline.output());
    let output = tapline.output();
    assert!(output.contains("fdatasync failed") && output.contains("check the disk"), "{output}");
    assert!(!output.contains("disk_full"), "nothing is waited for: {output}");
    let before = seen.lock().unwrap().clone();
    assert!(before.is_superset(&answered) && answered.len() > 20, "{} answered", answered.len());
    assert!(!before.contains(&(sent - 1)), "what was never confirmed reached the source");

    // As after a new disk: what the kernel still had in memory is gone, and there is room.
    device.mend();
    let mut tapline = capture().start();
    let again = request("PUT", "/i/_doc/1", marker::text(sent).as_bytes());
    assert_eq!(Client::connect(tapline.port()).ask(&again).status(), 200);
    tapline.stop();
    let seen = seen.lock().unwrap().clone();
    let found = Witness::of_log(&state.join("log")).all().clone();
    let lost: Vec<_> = seen.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} marks are lost: {lost:?}", lost.len(), seen.len());
    let log = state.join("log");
    let verified = tapline::run(&["log", "verify", "--log", log.to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    println!("{} marks were confirmed, the {sent}th was not, none is lost", seen.len());
}

/// A file system on a device whose backing has less room than it says: writing back fails when that is used up.
struct BrittleDevice {
    backing: PathBuf,
    node: PathBuf,
    mount: PathBuf,
}

impl BrittleDevice {
    fn make(scratch: &Path) -> Option<Self> {
        let (backing, mount) = (scratch.join("backing"), scratch.join("state"));
        std::fs::create_dir(&backing).and_then(|()| std::fs::create_dir(&mount)).ok()?;
        if !ground::am_root() {
            return None;
        }
        // From here on dropping it takes away what there is.
        let mut device = Self { backing, node: PathBuf::new(), mount };
        let size = format!("size={BACKING_BYTES},mode=0700");
        let at = device.backing.to_str()?.to_owned();
        done("mount", &["-t", "tmpfs", "-o", &size, "tapline-rig", &at])?;
        let image = device.backing.join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(DEVICE_BYTES)).ok()?;
        device.node = done("losetup", &["--find", "--show", image.to_str()?])?.into();
        let node = device.node.to_str()?.to_owned();
        // The loop driver takes a write that its backing takes a part of for done (lo_complete_rq of 6.18): with such
        // a device fdatasync says yes to what is lost. Of a page the backing takes all or nothing.
        let queue = Path::new("/sys/block").join(device.node.file_name()?).join("queue");
        std::fs::write(queue.join("max_sectors_kb"), "4").ok()?;
        done("mkfs.ext4", &["-q", "-b", "4096", "-m", "0", "-N", "256", "-J", "size=4", &node])?;
        device.attach().then_some(device)
    }

    /// The backing gets room, and the file system is mounted anew.
    fn mend(&self) {
        let (backing, mount) = (self.backing.to_str().unwrap(), self.mount.to_str().unwrap());
        let size = format!("remount,size={}", 2 * DEVICE_BYTES);
        assert!(done("mount", &["-o", &size, backing]).is_some(), "a tmpfs can grow");
        assert!(done("umount", &[mount]).is_some(), "nothing uses it any more");
        assert!(self.attach(), "its journal can be read");
    }

    fn attach(&self) -> bool {
        let (node, mount) = (self.node.to_str().unwrap(), self.mount.to_str().unwrap());
        done("mount", &["-t", "ext4", "-o", "noinit_itable", node, mount]).is_some()
    }
}

impl Drop for BrittleDevice {
    fn drop(&mut self) {
        let umount = |at: &Path| done("umount", &["--lazy", at.to_str().unwrap()]);
        let _ = umount(&self.mount);
        if self.node.as_os_str().is_empty() {
            let _ = umount(&self.backing);
            return;
        }
        let _ = done("losetup", &["--detach", self.node.to_str().unwrap()]);
        let _ = umount(&self.backing);
    }
}

/// What a program printed, when it ended well.
fn done(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

const BACKING_BYTES: u64 = 40 << 20;
const DEVICE_BYTES: u64 = 256 << 20;
const WRITES_MAX: u64 = 400;
