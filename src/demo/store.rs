//! The documents: indices, versions, sequence numbers, and the rules by which a write is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// All documents by index and id: two servers hold the same when these are equal.
pub type State = BTreeMap<(String, String), Value>;

/// All indices of a server.
pub(super) struct Store {
    indices: BTreeMap<String, Index>,
    /// Begins the ids that this server gives, so that two servers never give the same.
    prefix: String,
    generated: u64,
}

#[derive(Default)]
struct Index {
    /// With the deleted ones, whose versions go on.
    documents: BTreeMap<String, Document>,
    next_seq: u64,
}

/// One document, or what is left of it.
pub(super) struct Document {
    pub(super) version: u64,
    pub(super) seq: u64,
    /// `None` when it is deleted.
    pub(super) source: Option<Value>,
}

/// A write to one document.
pub(super) enum Write {
    Index(Value),
    /// Only when there is none.
    Create(Value),
    /// A partial document, and what to create when there is none.
    Update(Value, Option<Value>),
    Delete,
}

/// What a write did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) seq: u64,
    /// As in the answer: `created`, `updated`, `deleted`, `noop`, `not_found`.
    pub(super) result: &'static str,
}

/// Why a write was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The document exists, or another write was there first: 409.
    Conflict,
    /// There is nothing to update: 404.
    Missing,
}

impl Store {
    pub(super) fn new(prefix: String) -> Self {
        Self { indices: BTreeMap::new(), prefix, generated: 0 }
    }

    /// Makes an index; whether there was none.
    pub(super) fn create_index(&mut self, name: &str) -> bool {
        let new = !self.indices.contains_key(name);
        self.indices.entry(name.to_owned()).or_default();
        new
    }

    /// Deletes an index; whether there was one.
    pub(super) fn delete_index(&mut self, name: &str) -> bool {
        self.indices.remove(name).is_some()
    }

    pub(super) fn has_index(&self, name: &str) -> bool {
        self.indices.contains_key(name)
    }

    /// A document that is there.
    pub(super) fn get(&self, index: &str, id: &str) -> Option<&Document> {
        let document = self.indices.get(index)?.documents.get(id)?;
        document.source.is_some().then_some(document)
    }

    /// The documents of an index, or of all.
    pub(super) fn all<'a>(
        &'a self,
        index: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
        let wanted =
            self.indices.iter().filter(move |(name, _)| index.is_none_or(|of| of == **name));
        wanted.flat_map(|(name, index)| {
            let there = |(id, document): (&'a String, &'a Document)| {
                Some((name.as_str(), id.as_str(), document.source.as_ref()?))
            };
            index.documents.iter().filter_map(there)
        })
    }

    pub(super) fn state(&self) -> State {
        self.all(None)
            .map(|(index, id, source)| ((index.to_owned(), id.to_owned()), source.clone()))
            .collect()
    }

    /// Does a write, or refuses it and changes nothing. Without an id the document gets one. `at`: only when the
    /// document's last write has this sequence number.
    pub(super) fn write(
        &mut self,
        index: &str,
        id: Option<&str>,
        write: Write,
        at: Option<u64>,
    ) -> Result<Written, Refused> {
        let id = id.map_or_else(|| self.generate(), ToOwned::to_owned);
        let index = self.indices.entry(index.to_owned()).or_default();
        let before = index.documents.get(&id);
        let source = before.and_then(|document| document.source.as_ref());
        if at.is_some() && at != before.filter(|_| source.is_some()).map(|document| document.seq) {
            return Err(Refused::Conflict);
        }
        let (after, result) = match (write, source) {
            (Write::Create(_), Some(_)) => return Err(Refused::Conflict),
            (Write::Update(_, None), None) => return Err(Refused::Missing),
            (Write::Index(new), Some(_)) => (Some(new), "updated"),
            (Write::Index(new) | Write::Create(new) | Write::Update(_, Some(new)), None) => {
                (Some(new), "created")
            }
            (Write::Update(partial, _), Some(old)) => {
                let mut new = old.clone();
                merge(&mut new, partial);
                if new == *old {
                    let (version, seq) = before.map_or((1, 0), |old| (old.version, old.seq));
                    return Ok(Written { id, version, seq, result: "noop" });
                }
                (Some(new), "updated")
            }
            (Write::Delete, Some(_)) => (None, "deleted"),
            (Write::Delete, None) => (None, "not_found"),
        };
        let version = before.map_or(0, |document| document.version) + 1;
        let seq = index.next_seq;
        index.next_seq += 1;
        index.documents.insert(id.clone(), Document { version, seq, source: after });
        Ok(Written { id, version, seq, result })
    }

    fn generate(&mut self) -> String {
        self.generated += 1;
        format!("{}{:010x}", self.prefix, self.generated)
    }
}

/// Objects are merged key by key and everything else is replaced, as a partial update does.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_and_sequence_numbers_go_on_behind_a_deletion() {
        let mut store = Store::new("x".to_owned());
        let mut write = |write, at| {
            let written = store.write("i", Some("1"), write, at)?;
            Ok((written.result, written.version, written.seq))
        };
        let partial = || Write::Update(json!({"a": {"c": 2}}), None);
        assert_eq!(write(partial(), None), Err(Refused::Missing));
        assert_eq!(write(Write::Delete, None), Ok(("not_found", 1, 0)));
        assert_eq!(write(Write::Create(json!({"a": {"b": 1}})), None), Ok(("created", 2, 1)));
        assert_eq!(write(Write::Create(json!({})), None), Err(Refused::Conflict));
        assert_eq!(write(partial(), Some(0)), Err(Refused::Conflict));
        assert_eq!(write(partial(), Some(1)), Ok(("updated", 3, 2)));
        assert_eq!(write(partial(), None), Ok(("noop", 3, 2)));
        let expected = json!({"a": {"b": 1, "c": 2}});
        assert_eq!(store.get("i", "1").and_then(|found| found.source.as_ref()), Some(&expected));
        let mut write = |write, at| store.write("i", Some("1"), write, at).map(|done| done.result);
        assert_eq!(write(Write::Delete, None), Ok("deleted"));
        assert_eq!(write(Write::Index(json!({})), Some(3)), Err(Refused::Conflict));
        assert_eq!(write(Write::Update(json!({}), Some(json!({"n": 1}))), None), Ok("created"));
        assert_eq!(store.state().len(), 1);
    }

    #[test]
    fn servers_never_give_the_same_id() {
        let (mut one, mut other) = (Store::new("a".to_owned()), Store::new("b".to_owned()));
        let mut ids: Vec<String> = Vec::new();
        for store in [&mut one, &mut other] {
            for _ in 0..3 {
                ids.push(store.write("i", None, Write::Create(json!({})), None).unwrap().id);
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6);
        assert_eq!(one.all(Some("i")).count(), 3);
        assert_eq!(one.all(Some("j")).count(), 0);
        assert!(one.delete_index("i") && !one.delete_index("i") && one.state().is_empty());
    }
}
