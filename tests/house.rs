//! The rules of the house, read from the sources: which room may know which, where `unsafe` may
//! stand, who may not do I/O, how long a file may be, what may not be left behind.
//!
//! Every rule is a function from one source to its findings, and each is shown to find something.

mod faults;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::Source;

/// Each room and the rooms it may know, in an order in which none knows a later one: so there is
/// no cycle. Tests may know more.
const ROOMS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("ring", &[]),
    ("net", &[]),
    ("ask", &["net"]),
    ("tls", &[]),
    ("http", &[]),
    ("filter", &["http"]),
    ("proto", &[]),
    ("capture", &[]),
    ("log", &[]),
    ("observe", &["http"]),
    ("config", &["filter", "http", "net", "observe", "sys"]),
    ("admin", &["observe"]),
    ("es", &["http"]),
    ("rewrite", &["es", "http"]),
    ("credentials", &["rewrite"]),
    ("kafka", &["config", "credentials", "observe", "rewrite", "sys"]),
    ("sink", &["capture", "config", "kafka", "log", "observe", "sys"]),
    (
        "proxy",
        &["capture", "config", "filter", "http", "net", "observe", "ring", "sink", "sys", "tls"],
    ),
    ("target", &["http", "net", "ring", "sys", "tls"]),
    ("feed", &["config", "kafka", "log", "observe", "proto"]),
    ("outcome", &["sys"]),
    ("replay", &["es", "feed", "http", "proto", "rewrite"]),
    ("inspect", &["capture", "config", "feed", "http", "kafka", "log", "observe", "proto"]),
    ("demo", &[]),
    ("tune", &["sys"]),
    ("doctor", &["ask", "config", "kafka", "net", "ring", "sink", "sys", "tls", "tune"]),
    (
        "service",
        &[
            "ask",
            "admin",
            "capture",
            "config",
            "credentials",
            "doctor",
            "es",
            "feed",
            "filter",
            "http",
            "kafka",
            "log",
            "net",
            "observe",
            "outcome",
            "proxy",
            "replay",
            "rewrite",
            "ring",
            "sink",
            "sys",
            "target",
            "tls",
        ],
    ),
    (
        "cli",
        &[
            "capture", "config", "demo", "doctor", "filter", "http", "inspect", "log", "net",
            "observe", "service", "sys", "tune",
        ],
    ),
];

/// Rooms that do no I/O and read no clock, which is what lets them be simulated and fuzzed.
const PURE: &[&str] =
    &["capture", "es", "filter", "http", "proto", "proxy", "replay", "rewrite", "target"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["src/ring/", "src/sys/", "src/sink/lend.rs", "src/kafka/native.rs"];

/// Files that may be longer than [`LINES_MAX`], and why.
const LONG: &[(&str, &str)] = &[];

const LINES_MAX: usize = 600;
const MAIN_LINES_MAX: usize = 150;
const COLUMNS_MAX: usize = 120;
/// How far above an `unsafe` its reason may stand.
const SAFETY_LINES: usize = 6;

type Rule = fn(&Source) -> Vec<Finding>;
/// Line and what to do.
type Finding = (usize, String);

const RULES: &[Rule] =
    &[arrows, room_texts, unsafe_places, unsafe_reasons, purity, lengths, columns, leftovers];

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = source::all(root, &["src", "bench", "tests"]);
    assert!(sources.len() > 50, "the sources lie where they are looked for");
    let mut findings: Vec<String> = sources.iter().flat_map(check).collect();
    findings.extend(table_findings(&sources));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn rooms_are_listed_from_the_bottom_up() {
    for (at, (room, known)) in ROOMS.iter().enumerate() {
        for other in *known {
            let below = ROOMS[..at].iter().any(|(name, _)| name == other);
            assert!(below, "{room} may know {other}, which stands later in the list");
        }
    }
}

#[test]
fn every_rule_finds_what_it_is_for() {
    let long = "x\n".repeat(LINES_MAX + 1);
    let wide = format!("{}\n", "x".repeat(COLUMNS_MAX + 1));
    let bad: &[(&str, &str, &str)] = &[
        ("src/http/head.rs", "use crate::{log, http::body};", "src/http/head.rs:1: room http"),
        ("src/http/head.rs", "\nuse super::super::log;", "src/http/head.rs:2: write crate::"),
        ("src/http/mod.rs", "//! One line.\n", "src/http/mod.rs:1: begin"),
        ("src/log/a.rs", "fn f() {\nunsafe { g() } }", "src/log/a.rs:2: unsafe"),
        ("src/log/a.rs", "#![allow(unsafe_code)]", "src/log/a.rs:1: unsafe"),
        ("src/sys/a.rs", "// SAFETY: far\n\n\n\n\n\n\nunsafe { g() }", "src/sys/a.rs:8: say"),
        ("src/proxy/a.rs", "use std::{fs, time::Duration};", "src/proxy/a.rs:1: std::fs"),
        ("src/proxy/a.rs", "use std::net::{SocketAddr, TcpStream};", "std::net::TcpStream"),
        ("src/http/a.rs", "use std::net::SocketAddr;", "src/http/a.rs:1: std::net"),
        ("src/capture/a.rs", "std::time::Instant::now();", "src/capture/a.rs:1: std::time"),
        ("src/capture/a.rs", "use std::time::{Duration, SystemTime};", "time::SystemTime"),
        ("src/capture/a.rs", "rustix::fs::fsync(f);", "src/capture/a.rs:1: rustix"),
        ("bench/a.rs", &long, "bench/a.rs:601: longer"),
        ("src/main.rs", &long, "src/main.rs:151: longer"),
        ("src/log/a.rs", &wide, "src/log/a.rs:1: 121 columns"),
        ("tests/a.rs", "fn f() {\n    todo!() }", "tests/a.rs:2: finish"),
        ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", "tests/a.rs:2: finish"),
        ("src/log/a.rs", "f(dbg!(x));", "src/log/a.rs:1: finish"),
        ("src/log/a.rs", concat!("// FIX", "ME later"), "src/log/a.rs:1: finish"),
    ];
    for (path, text, expected) in bad {
        let found = check(&Source::new(path, (*text).to_owned()));
        let hit = found.iter().any(|finding| finding.contains(expected));
        assert!(hit, "expected {expected:?} of {path}, found {found:#?}");
    }
    let good: &[(&str, &str)] = &[
        ("src/proxy/a.rs", "use std::net::SocketAddr;\nuse crate::{ring::Fd, sink};"),
        ("src/http/a.rs", "use super::head;\n#[cfg(test)]\nmod tests { use std::fs; }"),
        ("src/ring/a.rs", "// SAFETY: it lives.\nunsafe { g() }"),
        ("src/log/a.rs", "// unsafe, std::fs and dbg! are words here\nlet a = \"todo!()\";"),
        ("src/log/mod.rs", "//! What it owns.\n//! What it never does.\nmod a;"),
    ];
    for (path, text) in good {
        let found = check(&Source::new(path, (*text).to_owned()));
        assert!(found.is_empty(), "{path}: {found:#?}");
    }
}

fn check(source: &Source) -> Vec<String> {
    let findings = RULES.iter().flat_map(|rule| rule(source));
    let findings: BTreeSet<Finding> = findings.collect();
    let shown = |(line, what)| format!("{}:{line}: {what}", source.path);
    findings.into_iter().map(shown).collect()
}

/// The tables above say what is there, no less and no more.
fn table_findings(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let rooms: BTreeSet<&str> = sources.iter().filter_map(Source::room).collect();
    for room in &rooms {
        if !ROOMS.iter().any(|(name, _)| name == room) {
            findings.push(format!("src/{room}: a new room; give it a place in ROOMS"));
        }
    }
    for (room, known) in ROOMS {
        let uses: BTreeSet<String> = sources
            .iter()
            .filter(|source| source.room() == Some(*room))
            .flat_map(|source| source.paths("crate"))
            .map(|(_, path)| first(&path).to_owned())
            .collect();
        if !rooms.contains(room) {
            findings.push(format!("ROOMS: there is no src/{room}; take it off the list"));
        }
        for other in known.iter().filter(|other| !uses.contains(**other)) {
            findings.push(format!("ROOMS: {room} does not know {other} any more; take it off"));
        }
    }
    for (path, reason) in LONG {
        let length = sources.iter().find(|s| s.path == *path).map_or(0, |s| s.text.lines().count());
        if length <= LINES_MAX || reason.is_empty() {
            findings.push(format!("LONG: {path} has {length} lines; take it off the list"));
        }
    }
    findings
}

/// Arrows between rooms point one way.
fn arrows(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room() else { return Vec::new() };
    let known = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, known)| known);
    let mut findings = Vec::new();
    for (at, path) in source.paths("crate") {
        let other = first(&path);
        if other != room && !known.contains(&other) {
            let what = format!(
                "room {room} may not know {other}; move what both need to a room below, or, where \
                 the arrow is right, add it to ROOMS in tests/house.rs"
            );
            findings.push((source.line(at), what));
        }
    }
    let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    let out = "super::".repeat(depth);
    for (at, _) in source.product.match_indices(&out) {
        findings.push((source.line(at), "write crate:: for what lies outside of the room".into()));
    }
    findings
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// Each room says what it owns and what it never does.
fn room_texts(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room() else { return Vec::new() };
    let texts = source.text.lines().take_while(|line| line.starts_with("//!"));
    if source.path != format!("src/{room}/mod.rs") || texts.count() >= 2 {
        return Vec::new();
    }
    vec![(1, "begin the room with `//!` lines: what it owns, what it never does".into())]
}

fn unsafe_places(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") || UNSAFE.iter().any(|at| source.path.starts_with(at)) {
        return Vec::new();
    }
    let words = ["unsafe", "unsafe_code"].into_iter();
    let found = words.flat_map(|word| Source::words(&source.code, word));
    let what = format!("unsafe belongs to {}; find a safe way or move it there", UNSAFE.join(", "));
    found.map(|at| (source.line(at), what.clone())).collect()
}

fn unsafe_reasons(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for at in Source::words(&source.code, "unsafe") {
        let line = source.line(at);
        let above = &lines[line.saturating_sub(1 + SAFETY_LINES)..line];
        if !above.iter().any(|line| line.contains("SAFETY:")) {
            findings.push((line, "say in a SAFETY comment above which invariant holds".into()));
        }
    }
    findings
}

/// No I/O, no clock, no threads.
fn purity(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room().filter(|room| PURE.contains(room)) else { return Vec::new() };
    let forbidden = |path: &str| match path.split("::").collect::<Vec<_>>()[..] {
        // An address is a value.
        ["net", "SocketAddr" | "IpAddr"] => {
            !matches!(room, "capture" | "filter" | "proxy" | "target")
        }
        ["fs" | "net" | "thread" | "process" | "env", ..] => true,
        ["time", kind, ..] => matches!(kind, "Instant" | "SystemTime"),
        _ => false,
    };
    let what = |path: &str| {
        format!("{path} in {room}, which does no I/O and reads no clock; have its caller do it")
    };
    let mut findings: Vec<Finding> = source
        .paths("std")
        .into_iter()
        .filter(|(_, path)| forbidden(path))
        .map(|(at, path)| (source.line(at), what(&format!("std::{path}"))))
        .collect();
    for word in ["rustix", "socket2", "tokio", "rdkafka"] {
        let found = Source::words(&source.product, word);
        findings.extend(found.into_iter().map(|at| (source.line(at), what(word))));
    }
    findings
}

fn lengths(source: &Source) -> Vec<Finding> {
    let limit = if source.path == "src/main.rs" { MAIN_LINES_MAX } else { LINES_MAX };
    let exempt = LONG.iter().any(|(path, _)| *path == source.path);
    if source.text.lines().count() <= limit || exempt {
        return Vec::new();
    }
    vec![(limit + 1, format!("longer than {limit} lines; part it where a concept of its own ends"))]
}

fn columns(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate().filter(|_| source.path.starts_with("src/"));
    let widths = lines.map(|(number, line)| (number + 1, line.chars().count()));
    widths
        .filter(|(_, width)| *width > COLUMNS_MAX)
        .map(|(number, width)| (number, format!("{width} columns; break at {COLUMNS_MAX}")))
        .collect()
}

/// What is begun and not done.
fn leftovers(source: &Source) -> Vec<Finding> {
    let in_code = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let in_text = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
    let code = in_code.iter().flat_map(|mark| source.code.match_indices(mark));
    let code = code.map(|(at, mark)| (at, mark.to_owned()));
    let text = in_text.iter().flat_map(|mark| {
        Source::words(&source.text, mark).into_iter().map(|at| (at, (*mark).to_owned()))
    });
    code.chain(text)
        .map(|(at, mark)| (source.line(at), format!("finish it or take it out: {mark}")))
        .collect()
}
