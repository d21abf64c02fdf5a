//! The witness of durability: it reads the capture log or the topic beside the program under test
//! and says which marks stand there *now*.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;
use tapline::log::{Position, Reader};

use super::marker::Scanner;
use super::records::TrafficStream;
use super::topics::{Stored, Tail, Topics};
use super::wait;

/// A reader that remembers all marks it has met in what clients sent.
pub(crate) struct Witness {
    source: Source,
    marks: Scanner<String>,
}

enum Source {
    Log { dir: PathBuf, reader: Option<Box<Reader>> },
    Topic(Tail),
}

impl Witness {
    /// Of a capture log, which may not exist yet.
    pub(crate) fn of_log(dir: &Path) -> Self {
        let source = Source::Log { dir: dir.to_path_buf(), reader: None };
        Self { source, marks: Scanner::new() }
    }

    /// Of a topic, which exists.
    pub(crate) fn of_topic(kafka: &Topics, topic: &str) -> Self {
        Self { source: Source::Topic(kafka.tail(topic)), marks: Scanner::new() }
    }

    /// Whether the mark stands in what can be read at this moment. For a topic that is everything
    /// before the high watermarks at the moment of asking.
    pub(crate) fn has(&mut self, mark: u64) -> bool {
        if !self.marks.has(mark) {
            self.catch_up();
        }
        self.marks.has(mark)
    }

    /// All marks that can be read now.
    pub(crate) fn all(&mut self) -> &std::collections::BTreeSet<u64> {
        self.catch_up();
        self.marks.found()
    }

    fn catch_up(&mut self) {
        match &mut self.source {
            Source::Log { dir, reader } => {
                if reader.is_none() {
                    *reader = Reader::open(dir, &Position::start()).ok().map(Box::new);
                }
                let Some(reader) = reader else { return };
                while let Some(frame) = reader.next().expect("the log can be read") {
                    learn(&mut self.marks, frame.payload);
                }
            }
            Source::Topic(tail) => {
                let ends = tail.ends();
                let mut stored: Vec<Stored> = Vec::new();
                let reached = wait::until(Duration::from_secs(30), || {
                    tail.reached(&ends) || {
                        tail.read(&mut stored);
                        tail.reached(&ends)
                    }
                });
                assert!(reached, "the topic cannot be read to its end");
                for record in stored {
                    learn(&mut self.marks, &record.value);
                }
            }
        }
    }
}

fn learn(marks: &mut Scanner<String>, record: &[u8]) {
    let stream = TrafficStream::decode(record).expect("a record is a TrafficStream");
    let connection = format!("{} {}", stream.node_id, stream.connection_id);
    for observation in &stream.observations {
        let whole = observation.read.as_ref().map(|read| &read.data);
        let piece = observation.read_segment.as_ref().map(|read| &read.data);
        for bytes in [whole, piece].into_iter().flatten() {
            marks.scan(connection.clone(), bytes);
        }
    }
}
