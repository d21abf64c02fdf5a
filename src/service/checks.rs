//! What is looked at before anything starts. Every finding says what to do.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use crate::{
    admin::Door,
    config::{AdminConfig, CaptureConfig},
    net::{Doors, ListenError},
    observe::{ExitCode, Failure},
    ring::{Options, probe},
    sys::{limits, passed},
};

/// Descriptors that are not connections: rings, logs, Kafka, stdio, and a reserve.
const OTHER_DESCRIPTORS: u64 = 64;
/// Below this many descriptors a proxy cannot do its work.
const DESCRIPTORS_MIN: u64 = 256;
/// What replay needs at most.
const REPLAY_DESCRIPTORS_MIN: u64 = 1200;
/// Below this many it can, but an operator should know.
const DESCRIPTORS_ADVISED: u64 = 20_000;

/// A unit without `User=` would run it as root, and one hole in a parser would be the whole host. Root in a container
/// or on a terminal is the operator's own choice.
pub(super) fn user() -> Result<(), Failure> {
    let ours = std::process::id().to_string();
    let by_systemd = std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == ours);
    if by_systemd && rustix::process::geteuid().is_root() {
        return Err(Failure::configuration(
            "systemd runs tapline as root, which it never needs to be. Put User=tapline and Group=tapline into the \
             unit and run: chown -R tapline: /var/lib/tapline",
        ));
    }
    Ok(())
}

pub(super) fn rings() -> Result<(), Failure> {
    probe::check(Options::default())
        .map_err(|error| Failure::configuration(format!("{}. {}", error.what, error.fix)))
}

pub(super) fn descriptors() -> Result<(), Failure> {
    let allowed = limits::raise_open_files();
    let connections = allowed.saturating_sub(OTHER_DESCRIPTORS) / 2;
    if allowed < DESCRIPTORS_MIN {
        return Err(Failure::configuration(format!(
            "only {allowed} files may be open (RLIMIT_NOFILE); every client connection takes two. \
             Run: ulimit -n 1048576, or set LimitNOFILE=1048576 in the unit"
        )));
    }
    if allowed < DESCRIPTORS_ADVISED {
        tracing::warn!(
            event = "limits.open_files",
            allowed,
            connections,
            "the open-files limit allows few connections; raise it with LimitNOFILE= or ulimit -n"
        );
    }
    Ok(())
}

/// Replay takes a connection per request in flight, and files of its own.
pub(super) fn descriptors_for_replay() -> Result<(), Failure> {
    let allowed = limits::raise_open_files();
    if allowed < REPLAY_DESCRIPTORS_MIN {
        return Err(Failure::configuration(format!(
            "only {allowed} files may be open (RLIMIT_NOFILE), and up to {REPLAY_DESCRIPTORS_MIN} are needed. \
             Run: ulimit -n 65536, or set LimitNOFILE=65536 in the unit"
        )));
    }
    Ok(())
}

/// The sockets of the process that is taken over from, else those that the service manager passed, else sockets of our
/// own: bound, not listening.
pub(super) fn doors(
    config: &CaptureConfig,
    workers: usize,
    taken_over: Option<Vec<OwnedFd>>,
) -> Result<Doors, Failure> {
    if let Some(sockets) = taken_over {
        return Doors::adopt(sockets, 0).map_err(Failure::configuration);
    }
    let passed = passed::descriptors();
    if passed.is_empty() {
        return bind(&config.listen, workers).map_err(Failure::configuration);
    }
    let doors = Doors::adopt(passed, passed::FIRST).map_err(Failure::configuration)?;
    let text = |addresses: &[SocketAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    tracing::info!(
        event = "listen.passed",
        listen = text(&doors.addresses()),
        flag = text(&config.listen),
        "listening on the sockets that the service manager passed; --listen is not looked at"
    );
    Ok(doors)
}

/// Sockets of our own. A process that was killed may be gone while the kernel still takes its rings down, and with them
/// its listening sockets: an address in use is waited for.
fn bind(listen: &[SocketAddr], workers: usize) -> Result<Doors, ListenError> {
    let until = Instant::now() + ADDRESS_PATIENCE;
    let mut said = false;
    loop {
        match Doors::bind(listen, workers) {
            Err(error) if error.is_in_use() && Instant::now() < until => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        event = "listen.waiting",
                        "{error}. Waiting for it to be let go"
                    );
                }
                thread::sleep(ADDRESS_PAUSE);
            }
            done => return done,
        }
    }
}

/// For how long an address in use is waited for, and how often it is tried.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(5);
const ADDRESS_PAUSE: Duration = Duration::from_millis(20);

/// The admin endpoint of the process that is taken over from, unless this one is to have it elsewhere.
pub(super) fn inherited_admin(config: &AdminConfig, socket: Option<OwnedFd>) -> Option<Door> {
    let (address, door) = (config.listen?, Door::inherited(socket?).ok()?);
    (door.to_string() == address.to_string()).then_some(door)
}

/// The admin endpoint's address; nobody is answered there yet. One that takes over finds its predecessor there.
pub(super) fn admin(config: &AdminConfig, take_over: bool) -> Result<Door, Failure> {
    Door::open(config.listen, config.insist && !take_over).map_err(|error| {
        Failure::configuration(format!(
            "the admin endpoint cannot listen on {}: {error}. Name another address with --admin, or --admin off",
            config.listen.map_or_else(String::new, |address| address.to_string())
        ))
    })
}

pub(super) fn source(config: &CaptureConfig) -> Result<Vec<SocketAddr>, Failure> {
    config.source.resolve().map_err(|error| {
        Failure::new(
            ExitCode::Unavailable,
            format!(
                "the name of the source {} cannot be resolved: {error}. Check --source and \
                     the resolver",
                config.source
            ),
        )
    })
}
