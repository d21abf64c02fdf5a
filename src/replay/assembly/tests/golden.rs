//! The captures of the reference: what the clients sent comes out.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;

use super::*;

/// Where less comes out than was sent, and why.
const DIFFERENT: &[(&str, &str, &[&str])] = &[
    ("bare-lf", "its line ends are mended", &["request", "answer"]),
    ("header-shapes", "its folded line is joined", &["request", "answer"]),
    ("malformed-request-line", "it is no request", &["not_a_request"]),
    ("client-close-mid-request", "it is not whole", &["request_truncated"]),
    ("destination-refused", "nothing was captured", &[]),
    ("suppressed-all", "nothing was captured", &[]),
    ("suppressed-header", "one was not captured", &["request", "answer"]),
    ("suppressed-method", "one was not captured", &["request", "answer", "request", "answer"]),
];

#[test]
fn every_capture_of_the_reference_gives_the_requests_that_were_sent() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    if !root.is_dir() {
        println!("left out: no captures of the reference at {}", root.display());
        return;
    }
    let mut files = 0;
    for scenario in root.read_dir().unwrap().filter_map(Result::ok) {
        for form in ["file", "kafka"] {
            let path = scenario.path().join(format!("records-{form}.txt.gz"));
            if path.is_file() {
                files += 1;
                compare(&scenario.path(), &path);
            }
        }
    }
    assert!(files > 60, "{files} captures in {}", root.display());
}

fn compare(scenario: &Path, records: &Path) {
    let name = scenario.file_name().unwrap().to_str().unwrap();
    let mut run = Run::new();
    for line in BufReader::new(GzDecoder::new(File::open(records).unwrap())).lines() {
        let line = line.unwrap();
        run.feed(&STANDARD.decode(line.split_once('|').unwrap().1).unwrap());
    }
    run.end();
    if let Some((_, why, kinds)) = DIFFERENT.iter().find(|(other, ..)| *other == name) {
        let told = run.told();
        let found = told.iter().filter_map(|told| told.split(' ').next());
        let found: Vec<&str> = found.filter(|kind| *kind != "ended").collect();
        assert_eq!(&found, kinds, "{name}: {why}");
        return;
    }
    let mut found: HashMap<u64, Vec<u8>> = HashMap::new();
    for request in run.requests() {
        found.entry(request.connection.0).or_default().extend_from_slice(&request.bytes);
    }
    let mut connection = 0;
    while let Some(sent) = bytes(scenario, &format!("client-sent-{connection}.bin")) {
        let found = found.remove(&connection).unwrap_or_default();
        let sent = if name == "leading-crlf" { without_empty_lines(&sent) } else { sent };
        assert!(found == sent, "{name} {connection}: {:?}", run.told());
        connection += 1;
    }
    assert!(connection > 0 && found.is_empty(), "{name}");
    let cut = ["client-close-mid-response", "server-close-mid-response"];
    for told in run.told() {
        let kinds = ["request ", "answer ", "ended ", "arriving ", "arrived "];
        let fine = kinds.iter().any(|kind| told.starts_with(kind));
        assert!(fine || cut.contains(&name), "{name}: {:?}", run.told());
    }
}

fn bytes(scenario: &Path, name: &str) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    if let Ok(mut file) = File::open(scenario.join(name)) {
        file.read_to_end(&mut content).unwrap();
        return Some(content);
    }
    let file = File::open(scenario.join(format!("{name}.gz"))).ok()?;
    GzDecoder::new(file).read_to_end(&mut content).unwrap();
    Some(content)
}

/// What was sent without the empty lines before each request, which belong to none. The requests have no bodies.
fn without_empty_lines(sent: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(sent.to_vec()).unwrap();
    let requests = text.split("\r\n\r\n").map(|request| request.trim_start_matches("\r\n"));
    let requests: Vec<String> =
        requests.filter(|one| !one.is_empty()).map(|one| format!("{one}\r\n\r\n")).collect();
    requests.concat().into_bytes()
}
