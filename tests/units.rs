//! The systemd units: valid, closed, and wide enough for what tapline does; and hosts on which it cannot work.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::client::{Client, bare, request};
use crate::rig::load::{self, Load};
use crate::rig::origin::{Origin, ok};
use crate::rig::seccomp::{self, Filter};
use crate::rig::tapline::{Capture, Outcome, program_under};
use crate::rig::{ground, services};

const CONFIG: i32 = 78;
const SERVICES: [&str; 3] =
    ["tapline-capture.service", "tapline-replay@.service", "tapline-tune.service"];

#[test]
fn units_are_valid() {
    if !wanted("units_are_valid", "systemd-analyze", "systemd") {
        return;
    }
    let dir = units();
    let names = SERVICES.iter().chain(&["tapline-capture.socket"]);
    let paths: Vec<PathBuf> = names.map(|name| dir.path().join(name)).collect();
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .args(&paths)
        .env("SYSTEMD_UNIT_PATH", unit_path(dir.path()));
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn services_are_closed() {
    if !wanted("services_are_closed", "systemd-analyze", "systemd") {
        return;
    }
    let dir = units();
    for name in ["tapline-capture.service", "tapline-replay@.service"] {
        // The threshold is in tenths: 1.5.
        let output = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", "--threshold=15"])
            .arg(dir.path().join(name.replace('@', "@x")))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = said.lines().rfind(|line| line.contains("exposure")).unwrap_or_default();
        assert!(
            output.status.success(),
            "{name}: {verdict}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_hardening_line_stands_with_its_kind() {
    let text = fs::read_to_string(seccomp::unit("tapline-capture.service")).unwrap();
    for line in ["Type=notify", "KillMode=mixed", "WatchdogSec=", "RestartPreventExitStatus=78"] {
        assert!(text.lines().any(|other| other.starts_with(line)), "{line} is missing");
    }
}

/// Everything that capture does, under the filter of its unit: whatever is not in it fails with EPERM.
#[test]
fn capture_works_under_the_filter_of_its_unit() {
    if !wanted("capture_works_under_the_filter_of_its_unit", "systemd-analyze", "systemd") {
        return;
    }
    let filter = Filter::allowing(&seccomp::of_unit(&seccomp::unit("tapline-capture.service")));
    let launcher = filter.launcher();
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let origin = load::origin(|_| ());
    let tapline = &mut Capture::of(origin.port()).under(&launcher).flag("--workers", "2").start();
    let load = std::sync::Arc::new(Load::default());
    load.run(tapline.port(), 4, 3000, false);
    assert!(load.answered() > 300, "{}: {}", load.answered(), tapline.output());
    let output = tapline.output();
    assert!(!output.contains("worker.unpinned"), "pinning is allowed: {output}");
    assert!(!output.contains("limits.open_files"), "raising the limit is allowed: {output}");
    tapline.stop();
}

/// What capture recorded is replayed under the filter of its unit.
#[test]
fn replay_works_under_the_filter_of_its_unit() {
    if !wanted("replay_works_under_the_filter_of_its_unit", "systemd-analyze", "systemd") {
        return;
    }
    let origin = Origin::answering(|_| ok(b"{}"));
    let tapline = &mut Capture::of(origin.port()).start();
    let put = request("PUT", "/i/_doc/1", b"{}");
    assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200);
    tapline.stop();
    let target = Origin::answering(|_| ok(b"{}"));
    let state = tempfile::tempdir().unwrap();
    ground::close(state.path());
    let unit = seccomp::unit("tapline-replay@.service");
    let filter = Filter::allowing(&seccomp::of_unit(&unit));
    let mut command = program_under(&filter.launcher());
    command.args(["replay", "--until-end", "--speedup", "max", "--admin", "off", "--target"]);
    command.arg(format!("http://127.0.0.1:{}", target.port())).arg("--log").arg(tapline.log());
    let output = command.arg("--state-dir").arg(state.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        target.conversation(0).received.holds(b"PUT /i/_doc/1", std::time::Duration::from_secs(5)),
        "{said}"
    );
}

/// The same, the other way round: what the kernel was asked for is in the filter.
#[test]
fn the_system_calls_of_capture_are_those_of_its_unit() {
    let name = "the_system_calls_of_capture_are_those_of_its_unit";
    if !wanted(name, "strace", "strace") || !wanted(name, "systemd-analyze", "systemd") {
        return;
    }
    let allowed = seccomp::of_unit(&seccomp::unit("tapline-capture.service"));
    let scratch = tempfile::tempdir().unwrap();
    let counts = scratch.path().join("counts");
    let launcher = ["strace", "-f", "-qq", "-c", "-o", &counts.to_string_lossy()];
    let origin = load::origin(|_| ());
    let tapline = &mut Capture::of(origin.port()).under(&launcher).flag("--workers", "2").start();
    let load = std::sync::Arc::new(Load::default());
    load.run(tapline.port(), 4, 100, false);
    // strace waits for what it traces and passes no signal on.
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", tapline.pid())).unwrap();
    let child = child.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(child.unwrap(), rustix::process::Signal::TERM).unwrap();
    assert_eq!(tapline.wait(), Some(0), "{}", tapline.output());
    let table = fs::read_to_string(&counts).unwrap();
    let used: BTreeSet<String> = table
        .lines()
        .filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit()))
        .filter_map(|line| line.split_whitespace().last())
        .filter(|call| *call != "total")
        .map(ToOwned::to_owned)
        .collect();
    assert!(used.contains("io_uring_enter") && used.contains("fdatasync"), "{table}");
    let outside: Vec<&String> = used.difference(&allowed).collect();
    assert!(outside.is_empty(), "not in the unit's SystemCallFilter: {outside:?}");
}

#[test]
fn a_host_without_io_uring_is_named() {
    for (error, words) in [
        ("EPERM", ["seccomp", "io_uring_setup"]),
        ("ENOSYS", ["this kernel has no io_uring", "CONFIG_IO_URING"]),
    ] {
        let filter = Filter::denying(&["io_uring_setup"], error);
        let launcher = filter.launcher();
        let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
        let outcome = Capture::of(1).under(&launcher).refusal();
        assert_says(&outcome, &words);
    }
}

/// Whoever may lock 64 KiB only can have the rings on newer kernels, or is told what to do.
#[test]
fn little_lockable_memory_is_enough_or_named() {
    if !ground::am_root() {
        // Root would be asked no limit; others have the low one by default.
        return;
    }
    let place = Place::new();
    let origin = Origin::answering(|_| ok(b"here"));
    let limits = ["prlimit", "--memlock=65536:65536"];
    let capture = place.capture(origin.port(), "own", NOBODY);
    match capture.under(&[&limits[..], &AS_NOBODY].concat()).try_start() {
        Ok(mut tapline) => {
            let put = request("PUT", "/i/_doc/1", b"body");
            assert_eq!(Client::connect(tapline.port()).ask(&put).text(), "here");
            tapline.stop();
        }
        Err(outcome) => assert_says(&outcome, &["RLIMIT_MEMLOCK", "LimitMEMLOCK=infinity"]),
    }
}

#[test]
fn a_state_directory_of_somebody_else_is_named() {
    if !ground::am_root() {
        return;
    }
    let place = Place::new();
    let outcome = place.capture(1, "roots", 0).under(&AS_NOBODY).refusal();
    assert_says(&outcome, &["belongs to user 0", "chown -R 65534"]);
}

#[test]
fn a_state_directory_that_others_can_read_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    for mode in [0o755, 0o750, 0o770] {
        let open = scratch.path().join(format!("{mode:o}"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = Capture::of(1).state_as_it_is(&open).refusal();
        assert_says(&outcome, &["chmod 0700", &format!("{mode:o}")]);
    }
}

#[test]
fn a_full_state_directory_is_named() {
    if !ground::am_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let disk = Mount::tmpfs(scratch.path(), "size=64k,mode=0700");
    fs::write(disk.0.join("others"), vec![0; 1 << 20]).expect_err("the disk is full");
    let outcome = Capture::of(1).state(&disk.0).refusal();
    assert_says(&outcome, &["No space left", "space"]);
}

/// A unit that lost its `User=`: systemd says which process it has started.
#[test]
fn a_unit_that_runs_it_as_root_is_named() {
    if !ground::am_root() {
        return;
    }
    let by_systemd = ["sh", "-c", "SYSTEMD_EXEC_PID=$$ exec \"$0\" \"$@\""];
    let outcome = Capture::of(1).under(&by_systemd).refusal();
    assert_says(&outcome, &["as root", "User=tapline"]);
    // Another process of the same unit, or root in a container, is nobody's mistake.
    let origin = Origin::answering(|_| ok(b"here"));
    let tapline = &mut Capture::of(origin.port()).variable("SYSTEMD_EXEC_PID", "1").start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).text(), "here");
    tapline.stop();
}

/// The request that follows a start under the least that is needed.
#[test]
fn the_socket_unit_gives_what_capture_takes() {
    if !wanted("the_socket_unit_gives_what_capture_takes", "systemd-socket-activate", "systemd") {
        return;
    }
    let text = fs::read_to_string(seccomp::unit("tapline-capture.socket")).unwrap();
    assert!(text.contains("\nListenStream=9200\n") && text.contains("\nAccept=no\n"), "{text}");
    let origin = Origin::answering(|_| ok(b"here"));
    let capture = Capture::of(origin.port());
    // As ListenStream=PORT makes it: IPv6, for IPv4 as well.
    let listen = capture.port().to_string();
    let tapline = &mut capture.under(&["systemd-socket-activate", "-l", &listen]).start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).text(), "here");
    tapline.stop();
}

/// The units with the program where it was built, and the examples as drop-ins.
fn units() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = seccomp::unit("");
    for entry in fs::read_dir(&from).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".service") && !name.ends_with(".socket") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("/usr/bin/tapline", env!("CARGO_BIN_EXE_tapline"));
        fs::write(dir.path().join(&name), &text).unwrap();
        fs::write(dir.path().join(name.replace("@.", "@x.")), &text).unwrap();
    }
    for entry in fs::read_dir(from.join("examples")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let unit = if name == "ports.conf" { "socket" } else { "service" };
        let drop_in = dir.path().join(format!("tapline-capture.{unit}.d"));
        fs::create_dir_all(&drop_in).unwrap();
        fs::copy(entry.path(), drop_in.join(name)).unwrap();
    }
    dir
}

/// The units of the host stay known: ours come after some of them.
fn unit_path(dir: &Path) -> String {
    format!("{}:/usr/lib/systemd/system:/lib/systemd/system", dir.display())
}

/// A directory that other users can reach, with the program in it.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = ground::run_dir(&ground::home_for_others(), "units");
        let program = dir.join("tapline");
        fs::copy(env!("CARGO_BIN_EXE_tapline"), &program).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    /// With a state directory of this user.
    fn capture(&self, source: u16, state: &str, owner: u32) -> Capture {
        let state = self.dir.join(state);
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&state, Some(owner), Some(owner)).unwrap();
        Capture::of(source).program(&self.dir.join("tapline")).state(&state)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A file system of its own; dropping it unmounts.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(dir: &Path, options: &str) -> Self {
        let at = dir.join("disk");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).status();
        assert!(status.is_ok_and(|status| status.success()), "root can mount a tmpfs");
        Self(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn assert_says(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(CONFIG), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not in: {}", outcome.stderr);
    }
}

/// Whether the test is to run; panics where a program is missing that it needs.
fn wanted(test: &str, program: &str, package: &str) -> bool {
    let wanted = services::wanted(test);
    if wanted
        && let Err(missing) = services::program(program, &format!("apt-get install {package}"))
    {
        panic!("{missing}");
    }
    wanted
}

const NOBODY: u32 = 65_534;
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
