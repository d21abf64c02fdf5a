//! The tuples of a replay, read for the order in which each document was written.
//!
//! Both servers number the writes of a shard (`_seq_no`), so each tells its own order. Finds what the
//! states at the end cannot show: writes in a wrong order that later ones have covered.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// Writes to documents, by the source's order.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    documents: BTreeMap<Document, BTreeMap<u64, Write>>,
}

/// Index and id.
type Document = (String, String);

/// What the source took under a number.
#[derive(Debug)]
struct Write {
    /// The target's number for it; `None` when it did not come there.
    target: Option<u64>,
    /// The connection and the request's number in it.
    who: String,
}

impl Writes {
    /// All that the tuples in a directory tell.
    pub(crate) fn read(dir: &Path) -> Self {
        let mut writes = Self::default();
        for entry in fs::read_dir(dir).expect("there are tuples") {
            let path = entry.expect("the directory can be read").path();
            if path.extension().is_none_or(|extension| extension != "gz") {
                continue;
            }
            let file = File::open(&path).expect("a file of tuples can be read");
            for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
                let line = line.expect("a file of tuples is whole");
                writes.add(&serde_json::from_str(&line).expect("a tuple is JSON"));
            }
        }
        writes
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.documents.values().map(BTreeMap::len).sum()
    }

    /// Writes that came after another one on the target and before it on the source.
    pub(crate) fn misplaced(&self) -> Vec<String> {
        let mut misplaced = Vec::new();
        for (document, writes) in &self.documents {
            let mut last: Option<(u64, u64, &str)> = None;
            for (&source, Write { target, who }) in writes {
                let Some(target) = *target else {
                    misplaced
                        .push(format!("{document:?}: {who} is number {source}, not on the target"));
                    continue;
                };
                if let Some((before, number, other)) = last
                    && number >= target
                {
                    misplaced.push(format!(
                        "{document:?}: {other} and {who} are {before} and {source} on the source, \
                         {number} and {target} on the target"
                    ));
                }
                last = Some((source, target, who));
            }
        }
        misplaced
    }

    fn add(&mut self, tuple: &Value) {
        if matches!(tuple["sourceRequest"]["Method"].as_str(), Some("GET" | "HEAD")) {
            return;
        }
        let who = tuple["connectionId"].as_str().unwrap_or_default();
        let responses = tuple["targetResponses"].as_array().map_or(&[][..], Vec::as_slice);
        // A bulk that went in parts has an answer for each; of one document its items keep their order.
        let mut on_target: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for (document, number) in responses.iter().flat_map(numbers) {
            on_target.entry(document).or_default().push(number);
        }
        for (document, number) in numbers(&tuple["sourceResponse"]) {
            let target = on_target.get_mut(&document).filter(|left| !left.is_empty());
            let target = target.map(|left| left.remove(0));
            let writes = self.documents.entry(document).or_default();
            writes.insert(number, Write { target, who: who.to_owned() });
        }
    }
}

/// The documents that a response says were written, and the numbers of these writes.
fn numbers(response: &Value) -> Vec<(Document, u64)> {
    let body = &response["payload"]["inlinedJsonBody"];
    let items = match body["items"].as_array() {
        Some(items) => items.iter().filter_map(|item| item.as_object()?.values().next()).collect(),
        None => vec![body],
    };
    let number = |item: &&Value| {
        let text = |name: &str| item[name].as_str().map(str::to_owned);
        // Nothing was to be changed: it has the number of the write before.
        let is_write = !matches!(item["result"].as_str(), None | Some("noop"));
        let number = item["_seq_no"].as_u64().filter(|_| is_write)?;
        Some(((text("_index")?, text("_id")?), number))
    };
    items.iter().filter_map(number).collect()
}

#[test]
fn writes_in_another_order_are_found() {
    let tuple = |who: &str, source: u64, target: &[u64]| {
        let response = |number: u64| {
            let item = serde_json::json!({"_index": "i", "_id": "d", "_seq_no": number, "result": "updated"});
            serde_json::json!({"payload": {"inlinedJsonBody": {"items": [{"index": item}]}}})
        };
        let responses: Vec<_> = target.iter().map(|number| response(*number)).collect();
        serde_json::json!({"connectionId": who, "sourceRequest": {"Method": "POST"},
            "sourceResponse": response(source), "targetResponses": responses})
    };
    let of = |tuples: &[Value]| {
        let mut writes = Writes::default();
        for tuple in tuples {
            writes.add(tuple);
        }
        assert_eq!(writes.count(), tuples.len());
        writes.misplaced().len()
    };
    assert_eq!(of(&[tuple("a", 7, &[2]), tuple("b", 5, &[1]), tuple("c", 9, &[3])]), 0);
    assert_eq!(of(&[tuple("a", 7, &[1]), tuple("b", 5, &[2]), tuple("c", 9, &[3])]), 1);
    assert_eq!(of(&[tuple("a", 7, &[]), tuple("b", 5, &[2]), tuple("c", 9, &[3])]), 1);
}
