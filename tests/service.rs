//! As a service: what the manager is told and when, the watchdog, sockets that it passes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::rig::client::{Client, bare};
use crate::rig::manager::Manager;
use crate::rig::origin::{Origin, ok};
use crate::rig::process::Process;
use crate::rig::records;
use crate::rig::tapline::Capture;
use crate::rig::{services, wait};

#[test]
fn the_manager_is_told_what_happens() {
    let origin = Origin::answering(|_| ok(b"here"));
    let mut manager = Manager::start();
    let tapline = &mut Capture::of(origin.port())
        .variable("NOTIFY_SOCKET", manager.address())
        .variable("WATCHDOG_USEC", "4000000")
        .start();
    assert!(manager.hears("READY=1", PATIENCE), "{}", tapline.output());
    let says = "STATUS=records are durable; policy block; ";
    assert!(manager.hears(says, PATIENCE), "{:?}", manager.heard());
    assert!(
        manager.heard().iter().any(|line| line.ends_with(" ms behind")),
        "{:?}",
        manager.heard()
    );
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).text(), "here");
    // An idle worker is called and proves itself.
    for _ in 0..3 {
        manager.forget();
        assert!(manager.hears("WATCHDOG=1", PATIENCE), "{}", tapline.output());
    }
    manager.forget();
    tapline.signal(Signal::HUP);
    assert!(manager.hears("READY=1", PATIENCE), "{}", tapline.output());
    let heard = manager.heard();
    let at = |start: &str| heard.iter().position(|line| line.starts_with(start));
    assert!(
        at("RELOADING=1") < at("READY=1") && at("MONOTONIC_USEC=") < at("READY=1"),
        "{heard:?}"
    );
    assert!(at("RELOADING=1").is_some(), "{heard:?}");
    tapline.stop();
    assert!(manager.hears("STOPPING=1", PATIENCE), "{}", tapline.output());
}

/// One thread is held in its system call, as a dead disk or a defect would hold it: the others go on, and so would a
/// timer.
#[test]
fn a_worker_that_stands_still_is_not_vouched_for() {
    if !wanted("a_worker_that_stands_still_is_not_vouched_for", "strace", "strace") {
        return;
    }
    let origin = Origin::answering(|_| ok(b"here"));
    let mut manager = Manager::start();
    let tapline = &mut Capture::of(origin.port())
        .flag("--workers", "2")
        .variable("NOTIFY_SOCKET", manager.address())
        .variable("WATCHDOG_USEC", "4000000")
        .start();
    assert!(manager.hears("WATCHDOG=1", PATIENCE), "{}", tapline.output());
    let scratch = tempfile::tempdir().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-e", "trace=io_uring_enter", "-e", "inject=io_uring_enter:delay_enter=600s"]);
    strace.args(["-p", &thread(tapline.pid(), "worker-1")]);
    let mut strace = Process::spawn(&mut strace, &scratch.path().join("strace"), scratch.path());
    let noticed = wait::until(PATIENCE * 3, || tapline.output().contains("worker.stalled"));
    assert!(noticed, "{}\n{}", strace.last_words(), tapline.output());
    // Twelve seconds are six of the watchdog's ticks: a timer would have fed it.
    manager.forget();
    assert!(!manager.hears("WATCHDOG=1", Duration::from_secs(6)), "{}", tapline.output());
    assert!(manager.hears("STATUS=", PATIENCE), "the control thread is alive");
    strace.kill();
    assert!(manager.hears("WATCHDOG=1", PATIENCE * 3), "{}", tapline.output());
    assert!(wait::until(PATIENCE, || tapline.output().contains("worker.turns_again")));
    tapline.stop();
}

#[test]
fn workers_share_a_socket_that_was_passed() {
    if !wanted("workers_share_a_socket_that_was_passed", "systemd-socket-activate", "systemd") {
        return;
    }
    let origin = Origin::answering(|_| ok(b"here"));
    let capture = Capture::of(origin.port());
    let listen = format!("127.0.0.1:{}", capture.port());
    let launcher = ["systemd-socket-activate", "-l", &listen];
    // --listen names an address that is taken: the passed socket wins.
    let tapline = &mut capture.under(&launcher).flag("--workers", "3").start();
    for _ in 0..150 {
        assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).text(), "here");
    }
    assert!(tapline.output().contains("listen.passed"), "{}", tapline.output());
    tapline.stop();
    let mut by_worker = BTreeMap::new();
    for stream in records::of_log(&tapline.log()) {
        let worker = stream.provenance.expect("tapline wrote it").worker;
        *by_worker.entry(worker).or_insert(0) += 1;
    }
    assert_eq!(by_worker.len(), 3, "{by_worker:?}");
    assert!(by_worker.values().all(|records| *records >= 20), "unfair: {by_worker:?}");
}

#[test]
fn sockets_per_worker_can_be_passed_too() {
    if !wanted("sockets_per_worker_can_be_passed_too", "systemd-socket-activate", "systemd") {
        return;
    }
    let origin = Origin::answering(|_| ok(b"here"));
    let capture = Capture::of(origin.port());
    let (one, two) = (format!("127.0.0.1:{}", capture.port()), crate::rig::port::free());
    let other = format!("127.0.0.1:{two}");
    let launcher = ["systemd-socket-activate", "-l", &one, "-l", &other];
    let tapline = &mut capture.under(&launcher).flag("--workers", "2").start();
    for port in [tapline.port(), two, tapline.port(), two] {
        assert_eq!(Client::connect(port).ask(&bare("GET", "/")).text(), "here");
    }
    tapline.stop();
}

#[test]
fn a_datagram_socket_is_refused_by_name() {
    if !wanted("a_datagram_socket_is_refused_by_name", "systemd-socket-activate", "systemd") {
        return;
    }
    let capture = Capture::of(1);
    let listen = format!("127.0.0.1:{}", capture.port());
    // A datagram wakes systemd-socket-activate; a connection to the port would be refused.
    let poke = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = listen.clone();
    let poker = std::thread::spawn(move || {
        for _ in 0..100 {
            let _ = poke.send_to(b"x", &to);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let outcome =
        capture.under(&["systemd-socket-activate", "--datagram", "-l", &listen]).refusal();
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("not a TCP socket"), "{}", outcome.stderr);
    poker.join().unwrap();
}

/// The id of a thread by its name.
fn thread(process: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    tasks
        .flatten()
        .find(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
        .map_or_else(
            || panic!("process {process} has no thread {name}"),
            |task| task.file_name().to_string_lossy().into_owned(),
        )
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

const PATIENCE: Duration = Duration::from_secs(20);
