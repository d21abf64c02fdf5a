//! Another process takes over: no connection is refused or reset, no record is missing, and a successor that does not
//! start changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::client::{Client, bare, request};
use crate::rig::manager::Manager;
use crate::rig::message::Reader;
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::{Capture, Tapline, run};
use crate::rig::witness::Witness;
use crate::rig::{marker, services, wait};

#[test]
fn ten_reloads_and_ten_hand_overs_lose_nothing() {
    let goal = services::scale(20_000, 500_000);
    let source = many_connections();
    let state = tempfile::tempdir().unwrap();
    let first = Capture::of(source).state(state.path()).flag("--workers", "2").start();
    let port = first.port();
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let load = Arc::clone(&load);
            thread::spawn(move || load.run(port, number == 0))
        })
        .collect();
    let mut line = Line { running: vec![first], heirs: Vec::new() };
    for round in 1..=10 {
        let due = goal * round / 11;
        load.wait_for(due, &line);
        line.reload();
        if round.is_multiple_of(2) {
            line.succeed_by_signal();
        } else {
            // Another number of workers: the sockets are the same.
            let workers = (1 + round % 3).to_string();
            let capture = Capture::on(port, source).state(state.path());
            line.succeed_by(capture.flag("--workers", &workers));
        }
    }
    load.wait_for(goal, &line);
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let failures = load.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} of {} failed: {failures:#?}", failures.len(), load.sent());
    line.stop();
    let log = state.path().join("log");
    let path = log.to_string_lossy();
    let verified = run(&["log", "verify", "--log", &path]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    let recorded = Witness::of_log(&log).all().clone();
    let missing: BTreeSet<u64> = (0..load.sent()).filter(|mark| !recorded.contains(mark)).collect();
    assert!(missing.is_empty(), "{} of {} are not recorded", missing.len(), load.sent());
    let incarnations = fs::read_dir(&log).unwrap().flatten().filter(|e| e.path().is_dir()).count();
    assert_eq!(incarnations, 11, "each process wrote a log of its own");
}

#[test]
fn what_is_in_flight_is_finished_by_the_process_that_accepted_it() {
    let origin = Origin::start(|visit| {
        while let Some(request) = visit.request()? {
            if request.target() == "/slow" {
                thread::sleep(Duration::from_secs(3));
            }
            visit.send(&ok(request.target().as_bytes()))?;
        }
        Ok(())
    });
    let state = tempfile::tempdir().unwrap();
    let mut old = Capture::of(origin.port()).state(state.path()).start();
    let mut idle = Client::connect(old.port());
    assert_eq!(idle.ask(&bare("GET", "/quick")).text(), "/quick");
    let mut slow = Client::connect(old.port());
    slow.send(&request("PUT", "/slow", b"body"));
    assert!(origin.conversation(1).received.holds(b"body", PATIENCE));
    let mut upload = Client::connect(old.port());
    upload.send(b"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    assert!(origin.conversation(2).received.holds(b"half", PATIENCE));
    let mut new = take_over(Capture::on(old.port(), origin.port()).state(state.path()));
    assert_eq!(Client::connect(new.port()).ask(&bare("GET", "/new")).text(), "/new");
    upload.send(b"done");
    assert_eq!(upload.response("PUT").text(), "/upload");
    assert_eq!(slow.response("PUT").text(), "/slow");
    assert_eq!(idle.until_end().expect("a FIN, not a reset"), b"");
    assert_eq!(old.wait(), Some(0), "{}", old.output());
    assert_eq!(Client::connect(new.port()).ask(&bare("GET", "/still")).text(), "/still");
    new.stop();
}

/// A pooled connection that is in use all the time is served on, and closed between two requests.
#[test]
fn a_busy_connection_gets_its_end_between_two_requests() {
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let state = tempfile::tempdir().unwrap();
    let capture = |port| {
        let capture = Capture::on(port, origin.port()).state(state.path());
        capture.flag("--drain-timeout", "10s")
    };
    let mut old = capture(crate::rig::port::free()).start();
    let mut busy = Client::connect(old.port());
    assert_eq!(busy.ask(&bare("GET", "/0")).text(), "/0");
    let mut new = take_over(capture(old.port()));
    let mut served = 0;
    // As clients with a pool do: whoever finds an end does not send.
    while busy.is_silent(Duration::from_millis(20)) {
        let target = format!("/{served}");
        assert_eq!(busy.ask(&bare("GET", &target)).text(), target);
        served += 1;
        assert!(served < 100_000, "it is never closed");
    }
    assert_eq!(busy.until_end().expect("a FIN, not a reset"), b"");
    assert!(served > 10, "closed after {served} requests: there was no hurry");
    assert_eq!(old.wait(), Some(0), "{}", old.output());
    assert!(!old.output().contains("\\\"drain_cut\\\":1"), "{}", old.output());
    new.stop();
}

/// Health checks are answered all the time, and by the process that serves.
#[test]
fn the_admin_endpoint_is_handed_over_too() {
    let origin = Origin::start(|visit| {
        while let Some(request) = visit.request()? {
            if request.target() == "/slow" {
                thread::sleep(Duration::from_secs(6));
            }
            visit.send(&ok(b""))?;
        }
        Ok(())
    });
    let state = tempfile::tempdir().unwrap();
    let admin = crate::rig::port::free();
    let address = format!("127.0.0.1:{admin}");
    let capture =
        |port| Capture::on(port, origin.port()).state(state.path()).flag("--admin", &address);
    let mut old = capture(crate::rig::port::free()).start();
    let ready = || Client::connect(admin).ask(&bare("GET", "/readyz")).status() == 200;
    assert!(wait::until(PATIENCE, ready), "{}", old.output());
    let mut slow = Client::connect(old.port());
    slow.send(&bare("GET", "/slow"));
    // The first connection may be a probe of the source.
    let arrived =
        || origin.conversations().iter().any(|c| c.received.holds(b"/slow", Duration::ZERO));
    assert!(wait::until(PATIENCE, arrived));
    let (stop, checks) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut new = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Refused or reset would panic here.
                Client::connect(admin).ask(&bare("GET", "/livez"));
                checks.fetch_add(1, Ordering::Relaxed);
            }
        });
        let new = take_over(capture(old.port()));
        // The old one still has something to finish, which is nobody's business.
        let answered = wait::until(PATIENCE, || ready() && checks.load(Ordering::Relaxed) > 10);
        stop.store(true, Ordering::Relaxed);
        assert!(answered, "{}", new.output());
        new
    });
    assert!(old.runs(), "{}", old.output());
    assert_eq!(slow.response("GET").status(), 200);
    assert_eq!(old.wait(), Some(0), "{}", old.output());
    assert!(!new.output().contains("admin.busy"), "{}", new.output());
    new.stop();
}

#[test]
fn a_successor_that_does_not_start_changes_nothing() {
    let origin = Origin::answering(|_| ok(b"here"));
    let scratch = tempfile::tempdir().unwrap();
    // A program that can be replaced, as an upgrade does it.
    let program = scratch.path().join("tapline");
    fs::copy(env!("CARGO_BIN_EXE_tapline"), &program).unwrap();
    let replace = |text: &str| {
        let new = scratch.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &program).unwrap();
    };
    let state = scratch.path().join("state");
    let capture = Capture::of(origin.port()).state(&state).program(&program);
    let mut line = Line { running: vec![capture.start()], heirs: Vec::new() };
    let old = &line.running[0];
    let port = old.port();
    let serves = || assert_eq!(Client::connect(port).ask(&bare("GET", "/")).text(), "here");

    replace("#!/bin/sh\nexit 3\n");
    old.signal(Signal::USR2);
    assert!(said(old, "\"code\":3"), "{}", old.output());
    serves();
    fs::remove_file(&program).unwrap();
    old.signal(Signal::USR2);
    assert!(said(old, "could not be started again"), "{}", old.output());
    serves();

    // It asks, and then cannot have its log.
    let broken = Capture::on(port, origin.port()).state(&state).switch("--take-over");
    let outcome = ended(broken.flag("--log", "/proc/no-log-here"));
    assert_eq!(outcome.0, Some(78), "{}", outcome.1);
    assert!(said(old, "the new process did not start"), "{}", old.output());
    assert!(old.output().contains("no-log-here"), "it says why: {}", old.output());
    serves();

    fs::copy(env!("CARGO_BIN_EXE_tapline"), &program).unwrap();
    line.succeed_by_signal();
    serves();
    line.stop();
}

#[test]
fn the_manager_follows_the_new_process() {
    let origin = Origin::answering(|_| ok(b"here"));
    let mut manager = Manager::start();
    let state = tempfile::tempdir().unwrap();
    let capture = Capture::of(origin.port())
        .state(state.path())
        .variable("NOTIFY_SOCKET", manager.address())
        .variable("WATCHDOG_USEC", "4000000");
    let mut line = Line { running: vec![capture.start()], heirs: Vec::new() };
    assert!(manager.hears("READY=1", PATIENCE));
    manager.forget();
    line.succeed_by_signal();
    let heir = line.heirs[0];
    assert!(manager.hears(&format!("MAINPID={heir}"), PATIENCE), "{:?}", manager.heard());
    assert!(manager.hears("READY=1", PATIENCE) && manager.hears("WATCHDOG=1", PATIENCE));
    assert!(wait::until(PATIENCE, || !line.running[0].runs()));
    assert_eq!(line.running[0].wait(), Some(0));
    let heard = manager.heard();
    assert!(!heard.iter().any(|line| line == "STOPPING=1"), "the service goes on: {heard:?}");
    manager.forget();
    assert!(manager.hears("WATCHDOG=1", PATIENCE), "the new process feeds the watchdog");
    line.stop();
    assert!(manager.hears("STOPPING=1", PATIENCE), "{:?}", manager.heard());
}

#[test]
fn without_anybody_to_take_over_from_it_says_so() {
    let (code, output) = ended(Capture::of(1).switch("--take-over"));
    assert_eq!(code, Some(69), "{output}");
    assert!(output.contains("nobody to take over from"), "{output}");
}

/// Processes that took over from each other.
struct Line {
    running: Vec<Tapline>,
    /// Those that a process of ours started; killed in the end.
    heirs: Vec<u32>,
}

impl Line {
    fn succeed_by_signal(&mut self) {
        let taken = self.count("handover.taken");
        self.signal(Signal::USR2);
        let started = wait::until(PATIENCE, || self.count("handover.taken") > taken);
        assert!(started, "{}", self.output());
        let output = self.output();
        let done = output.lines().rfind(|line| line.contains("handover.done")).unwrap();
        let line: serde_json::Value = serde_json::from_str(done).unwrap();
        let heir = line["process"].as_u64().unwrap() as u32;
        // Its parent is whoever looks after orphans: a manager would not wait for the end of another's child.
        let stat = fs::read_to_string(format!("/proc/{heir}/stat")).unwrap();
        let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
        let before = self.heirs.last().copied().unwrap_or_else(|| self.running[0].pid());
        assert_ne!(parent, before.to_string(), "{stat}");
        self.heirs.push(heir);
    }

    fn succeed_by(&mut self, capture: Capture) {
        self.running.push(take_over(capture));
        self.heirs.push(self.running.last().expect("just pushed").pid());
    }

    /// To the process that serves now.
    fn signal(&self, signal: Signal) {
        let process = self.heirs.last().map_or_else(|| self.running[0].pid(), |pid| *pid);
        let _ = kill_process(Pid::from_raw(process as i32).expect("not zero"), signal);
    }

    fn reload(&self) {
        let before = self.count("capture.reloaded");
        self.signal(Signal::HUP);
        let reloaded = wait::until(PATIENCE, || self.count("capture.reloaded") > before);
        assert!(reloaded, "{}", self.output());
    }

    fn count(&self, event: &str) -> usize {
        self.output().matches(&format!("\"{event}\"")).count()
    }

    fn output(&self) -> String {
        self.running.iter().map(Tapline::output).collect()
    }

    /// Stops the last one; all have ended well.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        for tapline in &mut self.running {
            assert_eq!(tapline.wait(), Some(0), "{}", tapline.output());
        }
        let gone = |pid: &u32| !fs::exists(format!("/proc/{pid}/fd/0")).unwrap_or(false);
        assert!(wait::until(PATIENCE * 2, || self.heirs.iter().all(gone)), "{}", self.output());
        let ended = self.count("capture.stopped");
        assert_eq!(ended, self.heirs.len() + 1, "each ended in order: {}", self.output());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for heir in &self.heirs {
            // It may be gone, and its number somebody else's by now: only a tapline is meant.
            let name = fs::read_to_string(format!("/proc/{heir}/comm")).unwrap_or_default();
            if name.trim() == "tapline" {
                let _ = kill_process(Pid::from_raw(*heir as i32).expect("not zero"), Signal::KILL);
            }
        }
    }
}

/// Starts it and waits until it has taken over.
fn take_over(capture: Capture) -> Tapline {
    let tapline = capture.switch("--take-over").start();
    assert!(said(&tapline, "handover.taken"), "{}", tapline.output());
    tapline
}

fn said(tapline: &Tapline, text: &str) -> bool {
    wait::until(PATIENCE, || tapline.output().contains(text))
}

/// How a process that is expected to end by itself did, and what it printed.
fn ended(capture: Capture) -> (Option<i32>, String) {
    match capture.try_start() {
        Err(outcome) => (outcome.code, outcome.stderr),
        // The port was somebody else's.
        Ok(mut tapline) => (tapline.wait(), tapline.output()),
    }
}

/// Clients that make a connection for each request.
#[derive(Default)]
struct Load {
    next: AtomicU64,
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn wait_for(&self, sent: u64, line: &Line) {
        let limit = Duration::from_mins(20);
        let passed =
            wait::until(limit, || self.sent() >= sent || !self.failures.lock().unwrap().is_empty());
        assert!(passed, "the load stands still at {}: {}", self.sent(), line.output());
    }

    /// `lingers`: now and then a connection is made a while before its request.
    fn run(&self, port: u16, lingers: bool) {
        while !self.stop.load(Ordering::Relaxed) {
            let mark = self.next.fetch_add(1, Ordering::Relaxed);
            let pause =
                Duration::from_millis(if lingers && mark.is_multiple_of(16) { 200 } else { 0 });
            if let Err(error) = ask(port, mark, pause) {
                self.failures.lock().unwrap().push(format!("{mark}: {error}"));
                return;
            }
        }
    }
}

fn ask(port: u16, mark: u64, pause: Duration) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    thread::sleep(pause);
    let method = if mark.is_multiple_of(4) { "PUT" } else { "GET" };
    let body = marker::text(mark);
    stream.write_all(&request(method, "/i/_doc/1", body.as_bytes()))?;
    let mut reader = Reader::new(stream);
    let answer = reader.response(method)?;
    if answer.status() != 200 || answer.body != body.as_bytes() {
        return Err(std::io::Error::other(format!("{} {}", answer.status(), answer.text())));
    }
    Ok(())
}

/// An origin for very many connections, each served to its end by one of a few threads; it gives bodies back.
fn many_connections() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for _ in 0..64 {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut reader = Reader::new(stream);
                while let Ok(Some(request)) = reader.request() {
                    let mut stream = reader.stream();
                    if stream.write_all(&ok(&request.body)).is_err() {
                        break;
                    }
                }
                let _ = reader.stream().read(&mut [0]);
            }
        });
    }
    port
}

const PATIENCE: Duration = Duration::from_secs(30);
