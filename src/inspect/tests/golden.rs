//! The records of the reference proxy, which name no sequence.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;

use super::{Description, Dumper, Format, Origin, described, feed, options, quietly, verified};

#[test]
fn every_record_of_the_reference_is_understood() {
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
                understand(&path);
            }
        }
    }
    assert!(files > 0, "no captures in {}", root.display());
}

fn understand(path: &Path) {
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let records: Vec<_> = lines
        .iter()
        .map(|line| STANDARD.decode(line.split_once('|').unwrap().1).unwrap())
        .collect();
    let mut description = Description::default();
    feed(&records, &mut description);
    let said = described(&description, &Origin::Log(path.into()));
    assert_eq!(said["records"], records.len(), "{}", path.display());
    assert_eq!(said["undecodable"], 0, "{}", path.display());
    assert_eq!(said["workers"], serde_json::json!([]));
    assert!(said["connections"].as_u64().unwrap() > 0);

    let report = verified(&records, true);
    assert!(report.whole(), "{}: {}", path.display(), report.verdict());

    for format in [Format::Raw, Format::Http, Format::Json, Format::Base64] {
        let options = options(format);
        let mut out = Vec::new();
        let mut dumper = Dumper::new(&options, &mut out);
        feed(&records, &mut dumper);
        quietly(dumper.finish()).unwrap();
        let out = String::from_utf8(out).unwrap();
        match format {
            Format::Http => assert!(out.contains("CLOSED ("), "{}", path.display()),
            Format::Base64 => assert!(out.lines().eq(&lines), "{}", path.display()),
            _ => assert_eq!(out.lines().count(), records.len(), "{}", path.display()),
        }
    }
}
