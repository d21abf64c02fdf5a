//! Records out into a file and in again: into a log and into a topic of a mock cluster.

use std::{fs, io::Write as _, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use rdkafka::mocking::MockCluster;

use super::{Author, Filter, Format, Origin, Raw, Scratch, Span, Visit, options, read, verified};
use crate::{
    config::KafkaConfig,
    inspect::{
        Edge, ExportOptions, export, import,
        source::{Loss, Place, Stop},
    },
    observe::ExitCode,
};

/// Every payload with its place.
#[derive(Default)]
struct Collect(Vec<(Place, Vec<u8>)>);

impl Visit for Collect {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        self.0.push((raw.place, raw.payload.unwrap().to_vec()));
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        panic!("{loss:?}");
    }
}

fn payloads(origin: &Origin) -> Vec<Vec<u8>> {
    let mut all = Collect::default();
    read(origin, Span::default(), &mut all).unwrap();
    all.0.into_iter().map(|record| record.1).collect()
}

fn exported(origin: &Origin, output: &Path, filter: Filter) {
    export(origin, &ExportOptions { output: output.into(), filter }).unwrap();
}

#[test]
fn a_log_comes_back_whole_from_its_export() {
    let mut author = Author::new(2);
    let mut records = author.connection(1, 5);
    records.extend(author.connection(2, 3));
    let scratch = Scratch::of(&records);
    let (file, dir) = (scratch.root.path().join("x.gz"), scratch.root.path().join("copy"));
    exported(&scratch.origin(), &file, Filter::default());
    assert!(!scratch.root.path().join("x.gz.part").exists());
    let copy = Origin::Log(dir);
    import(&file, &copy).unwrap();
    assert_eq!(payloads(&copy), records);
    assert!(verified(&payloads(&copy), true).whole());

    // The plain lines of a dump are as good.
    let lines = scratch.root.path().join("lines");
    fs::write(&lines, scratch.dump(&options(Format::Base64))).unwrap();
    import(&lines, &copy).unwrap();
    assert_eq!(payloads(&copy), [records.clone(), records.clone()].concat());

    let filter =
        Filter { from: Some(Edge::Number(2)), to: Some(Edge::Number(6)), connection: None };
    exported(&scratch.origin(), &file, filter);
    let part = Origin::Log(scratch.root.path().join("part"));
    import(&file, &part).unwrap();
    assert_eq!(payloads(&part), records[2..=6]);
}

#[test]
fn what_cannot_be_read_is_carried_and_what_is_no_record_is_named() {
    let records = [b"no record".to_vec(), Author::new(1).connection(1, 1).remove(0)];
    let scratch = Scratch::of(&records);
    let file = scratch.root.path().join("x.gz");
    exported(&scratch.origin(), &file, Filter::default());
    let copy = Origin::Log(scratch.root.path().join("copy"));
    import(&file, &copy).unwrap();
    assert_eq!(payloads(&copy), records);

    let mut lines = fs::File::create(scratch.root.path().join("lines")).unwrap();
    write!(lines, "k|YQ==\n%%%\nk|Yg==\n").unwrap();
    let failure = import(&scratch.root.path().join("lines"), &copy).unwrap_err();
    assert_eq!(failure.code(), ExitCode::Failed);
    assert!(failure.to_string().starts_with("2 records were imported, but 1 lines"), "{failure}");
    assert_eq!(payloads(&copy)[2..], [b"a".to_vec(), b"b".to_vec()]);

    let missing = scratch.root.path().join("none");
    assert_eq!(import(&missing, &copy).unwrap_err().code(), ExitCode::Configuration);
}

#[test]
fn a_topic_gets_each_connection_where_a_java_client_puts_it() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("traffic", 7, 1).unwrap();
    let brokers = mock.bootstrap_servers();
    let config = |topic: &str| Origin::Kafka(KafkaConfig::new(brokers.clone(), topic));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("lines");
    let lines: Vec<String> =
        (0..50).map(|number| format!("foobar|{}\n", STANDARD.encode(number.to_string()))).collect();
    fs::write(&file, lines.concat()).unwrap();
    import(&file, &config("traffic")).unwrap();
    let mut all = Collect::default();
    read(&config("traffic"), Span::default(), &mut all).unwrap();
    // What is left of the murmur2 of "foobar", from the unit tests of the Java client.
    let partition = 1_357_151_166 % 7;
    let expected: Vec<_> = (0..50_i64)
        .map(|offset| (Place::Kafka { partition, offset }, offset.to_string().into_bytes()))
        .collect();
    assert_eq!(all.0, expected);

    let failure = import(&file, &config("a/b")).unwrap_err();
    assert!(failure.to_string().contains("kafka-topics.sh"), "{failure}");
}
