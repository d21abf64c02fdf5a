//! What a topic holds, judged against what the source saw.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::digest;
use super::marker::Scanner;
use super::records::TrafficStream;
use super::topics::Topics;

/// What a topic holds, repeats left out.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// What clients wrote.
    pub(crate) marks: BTreeSet<u64>,
    /// Partition and mark, as they stand there.
    pub(crate) order: Vec<(i32, u64)>,
    /// Records that stand there more than once.
    pub(crate) repeats: u64,
}

impl Content {
    /// Checks that each connection's records are whole and in order.
    pub(crate) fn of(kafka: &Topics, topic: &str) -> Self {
        let mut content = Self::default();
        let (mut numbers, mut scanner) = (BTreeMap::new(), Scanner::new());
        let mut known = BTreeMap::new();
        for stored in kafka.consume_all(topic) {
            let stream = TrafficStream::decode(&stored.value[..]).expect("a TrafficStream");
            let origin = stream.provenance.expect("every record says where it comes from");
            let place = (origin.incarnation, origin.worker, origin.sequence);
            let digest = digest::sha256(&stored.value);
            if let Some(before) = known.insert(place, digest.clone()) {
                assert_eq!(before, digest, "two records claim to be {place:?}");
                content.repeats += 1;
                continue;
            }
            let id = &stream.connection_id;
            let number = stream.number.or(stream.last_number).unwrap_or(0);
            let before = numbers.insert(id.clone(), number).unwrap_or(0);
            assert_eq!(number, before + 1, "connection {id}");
            for read in stream.observations.iter().filter_map(|seen| seen.read.as_ref()) {
                let found = scanner.scan(id.clone(), &read.data);
                content.order.extend(found.into_iter().map(|mark| (stored.partition, mark)));
            }
        }
        content.marks.clone_from(scanner.found());
        content
    }

    /// Checks that everything the source saw is there.
    pub(crate) fn hold(&self, seen: &BTreeSet<u64>, output: &str) {
        let lost: Vec<_> = seen.difference(&self.marks).take(10).collect();
        assert!(lost.is_empty(), "the source saw {lost:?}, which are not in Kafka: {output}");
        assert!(seen.len() > 100, "the load was too small to prove anything: {}", seen.len());
    }
}
