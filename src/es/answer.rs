//! What the answers to writes say: of one document, of a bulk.
//!
//! Owns the fields that order, retries and amendments need. Never trusts the order of keys, and says of an answer it
//! cannot read that it cannot.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::bulk::Action;
use super::json::{Plain, Scanner};

/// The answer to a write of one document, or one item of a bulk's.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Written<'a> {
    /// The index that was written: an alias or a data stream stands resolved.
    pub index: Option<Cow<'a, str>>,
    /// The id, given by the client or made by the server.
    pub id: Option<Cow<'a, str>>,
    /// The place of the write in the order of its shard. −2 where it has none.
    pub seq_no: Option<i64>,
    /// The primary's term, which rises when a shard gets a new primary.
    pub primary_term: Option<i64>,
    /// The document's version.
    pub version: Option<i64>,
    /// `created`, `updated`, `deleted`, `noop`, `not_found`.
    pub result: Option<Cow<'a, str>>,
    /// The status that the body names: always in a bulk's items, in an error's body, else not.
    pub status: Option<u16>,
    /// What was wrong.
    pub error: Option<ItemError<'a>>,
}

impl Written<'_> {
    /// Refused or failed.
    pub fn failed(&self) -> bool {
        self.error.is_some() || self.status.is_some_and(|status| status >= 400)
    }
}

/// What was wrong with a write.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ItemError<'a> {
    /// The error's own `type`; those of causes below it do not count.
    pub kind: Option<Cow<'a, str>>,
    /// It came as an object, as it does since Elasticsearch 2; else as text.
    pub is_object: bool,
}

/// One item of a bulk's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerItem<'a> {
    /// What the item did; `None` for an action no server has had so far.
    pub action: Option<Action>,
    /// What became of it.
    pub written: Written<'a>,
}

/// The answer to a bulk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BulkAnswer<'a> {
    /// Has any item failed?
    pub errors: Option<bool>,
    /// The items in the order of the request's. A client that filters the answer (`filter_path`) may get fewer: the
    /// places mean something only when the count is the request's.
    pub items: Option<Vec<AnswerItem<'a>>>,
    /// The error of a bulk that was refused as a whole.
    pub error: Option<ItemError<'a>>,
}

/// The answer is not the JSON it should be.
#[derive(Debug)]
pub struct Unreadable(serde_json::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer to a write cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads the answer to a write of one document.
///
/// # Errors
/// [`Unreadable`] when it is not one JSON object.
pub fn write(body: &[u8]) -> Result<Written<'_>, Unreadable> {
    serde_json::from_slice(body).map_err(Unreadable)
}

/// Reads the answer to a bulk.
///
/// # Errors
/// [`Unreadable`] when it is not one JSON object.
pub fn bulk(body: &[u8]) -> Result<BulkAnswer<'_>, Unreadable> {
    serde_json::from_slice(body).map_err(Unreadable)
}

/// The flag `errors` of a bulk's answer, read from its front where the servers write it. `None` when items come first
/// or it is not there: then [`bulk`] tells. The rest of the answer is not looked at.
pub fn errors_at_front(body: &[u8]) -> Option<bool> {
    let mut scanner = Scanner::new(body);
    if !scanner.take(b'{') {
        return None;
    }
    for _ in 0..FRONT_NAMES_MAX {
        let name = scanner.name()?;
        let value = scanner.plain()?;
        if name.is("errors") {
            return match value {
                Plain::Word(b"true") => Some(true),
                Plain::Word(b"false") => Some(false),
                _ => None,
            };
        }
        if !scanner.take(b',') {
            return None;
        }
    }
    None
}

/// `took`, `ingest_took` and room for more.
const FRONT_NAMES_MAX: usize = 8;

impl<'de: 'a, 'a> Deserialize<'de> for Written<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a write")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written<'de>, A::Error> {
        let mut written = Written::default();
        while let Some(Text(name)) = map.next_key()? {
            match name.as_ref() {
                "_index" => written.index = map.next_value::<Scalar>()?.text(),
                "_id" => written.id = map.next_value::<Scalar>()?.text(),
                "_seq_no" => written.seq_no = map.next_value::<Scalar>()?.number(),
                "_primary_term" => written.primary_term = map.next_value::<Scalar>()?.number(),
                "_version" => written.version = map.next_value::<Scalar>()?.number(),
                "result" => written.result = map.next_value::<Scalar>()?.text(),
                "status" => {
                    let status = map.next_value::<Scalar>()?.number();
                    written.status = status.and_then(|status| u16::try_from(status).ok());
                }
                "error" => written.error = map.next_value::<ErrorValue>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(written)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for BulkAnswer<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BulkVisitor)
    }
}

struct BulkVisitor;

impl<'de> Visitor<'de> for BulkVisitor {
    type Value = BulkAnswer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a bulk")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BulkAnswer<'de>, A::Error> {
        let mut answer = BulkAnswer::default();
        while let Some(Text(name)) = map.next_key()? {
            match name.as_ref() {
                "errors" => answer.errors = map.next_value::<Scalar>()?.truth(),
                "items" => answer.items = Some(map.next_value::<Vec<AnswerItem<'de>>>()?),
                "error" => answer.error = map.next_value::<ErrorValue>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(answer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AnswerItem<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = AnswerItem<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item of a bulk's answer: one action and what became of it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnswerItem<'de>, A::Error> {
        let Some(Text(action)) = map.next_key()? else {
            return Err(A::Error::custom("an item without an action"));
        };
        let written = map.next_value()?;
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("an item with two actions"));
        }
        Ok(AnswerItem { action: Action::of(&action), written })
    }
}

/// Text that is borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(ScalarVisitor)? {
            Scalar::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a name that is no text")),
        }
    }
}

/// Any value, of which only the plain kinds are kept.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Truth(bool),
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn truth(self) -> Option<bool> {
        if let Self::Truth(truth) = self { Some(truth) } else { None }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Truth(truth))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// The value of `error`: none when it is `null`.
struct ErrorValue<'a>(Option<ItemError<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for ErrorValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ErrorVisitor)
    }
}

struct ErrorVisitor;

impl<'de> Visitor<'de> for ErrorVisitor {
    type Value = ErrorValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ErrorValue<'de>, A::Error> {
        let mut kind = None;
        while let Some(Text(name)) = map.next_key()? {
            if name == "type" {
                kind = map.next_value::<Scalar>()?.text();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(ErrorValue(Some(ItemError { kind, is_object: true })))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(Some(ItemError::default())))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(Some(ItemError::default())))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(Some(ItemError::default())))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(Some(ItemError::default())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(Some(ItemError::default())))
    }

    fn visit_unit<E: Error>(self) -> Result<ErrorValue<'de>, E> {
        Ok(ErrorValue(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ErrorValue<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ErrorValue(Some(ItemError::default())))
    }
}
