//! Field lines set in what is forwarded: replaced, added, taken out, and not a byte besides.
//!
//! The first line of a name keeps its place and its name as the client wrote it and gets the new value, further lines
//! of that name go, and a field that is missing is added behind the others. Where every line is already as asked there
//! is nothing to do.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::http::{RequestLines, is_field_name, is_field_value};

/// One `--set-header`: the name and the value, empty where the field is to go.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderEdit {
    name: String,
    value: String,
}

impl HeaderEdit {
    /// Checked; the error says what to do.
    pub fn new(name: &str, value: &str) -> Result<Self, String> {
        if !is_field_name(name.as_bytes()) {
            return Err(format!(
                "{name:?} is no field name; write 'Name: value' with a name of letters, digits and hyphens"
            ));
        }
        if FRAMING.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "{name} says how the message is read or where it ends, so it follows the client; take it out"
            ));
        }
        if !is_field_value(value.as_bytes()) {
            return Err(format!(
                "the value for {name} has a control character such as a line end; give one line of plain text"
            ));
        }
        if name.eq_ignore_ascii_case("host") && value.is_empty() {
            return Err("HTTP/1.1 requests need a Host; give a value".to_owned());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Values may be credentials.
impl fmt::Debug for HeaderEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: hidden", self.name)
    }
}

impl FromStr for HeaderEdit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err("there is no colon; write 'Name: value'".to_owned());
        };
        // Only blanks: a line end at the end is as wrong as one in the middle.
        let blank = |c| matches!(c, ' ' | '\t');
        Self::new(name.trim_matches(blank), value.trim_matches(blank))
    }
}

/// All edits of a run.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    rules: Vec<Rule>,
}

#[derive(Clone)]
struct Rule {
    name: Vec<u8>,
    /// Empty: the field goes. Further values stand behind the first as lines of their own.
    value: Vec<u8>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: hidden", String::from_utf8_lossy(&self.name))
    }
}

impl HeaderEdits {
    /// The edits in their order; the same name twice gives two lines.
    pub fn new(edits: &[HeaderEdit]) -> Result<Self, String> {
        let mut rules: Vec<Rule> = Vec::new();
        for HeaderEdit { name, value } in edits {
            let found = rules.iter_mut().find(|r| r.name.eq_ignore_ascii_case(name.as_bytes()));
            let Some(rule) = found else {
                rules.push(Rule { name: name.clone().into(), value: value.clone().into() });
                continue;
            };
            let removes = value.is_empty() || rule.value.is_empty();
            if removes || name.eq_ignore_ascii_case("host") {
                return Err(format!("--set-header names {name} twice; give it once"));
            }
            for part in ["\r\n", name, ": ", value] {
                rule.value.extend_from_slice(part.as_bytes());
            }
        }
        if rules.len() > RULES_MAX {
            return Err(format!("--set-header names more than {RULES_MAX} fields"));
        }
        Ok(Self { rules })
    }

    /// There is nothing to do for any request.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The head as it is to be forwarded, or `None` when that is how it is. `head` is a complete request head.
    pub fn apply(&self, head: &[u8]) -> Option<Vec<u8>> {
        if self.rules.is_empty() {
            return None;
        }
        let mut draft = Draft { head, out: Vec::new(), copied: 0, room: self.room() };
        let mut seen: u64 = 0;
        let end = head.len() - CRLF.len();
        for line in RequestLines::new(head).fields() {
            let rule = self.rules.iter().enumerate().find(|(_, r)| line.is_named(head, &r.name));
            let Some((index, rule)) = rule else { continue };
            let first = seen & (1 << index) == 0;
            seen |= 1 << index;
            if !first || rule.value.is_empty() {
                draft.replace(line.line.start, line.line.end, &[]);
            } else if head[line.value.clone()] != rule.value[..] {
                let from = line.name.end + 1;
                draft.replace(from, line.line.end, &[b" ", &rule.value, CRLF]);
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if seen & (1 << index) == 0 && !rule.value.is_empty() {
                draft.replace(end, end, &[&rule.name, b": ", &rule.value, CRLF]);
            }
        }
        draft.finish()
    }

    /// Bytes that all rules together may add.
    fn room(&self) -> usize {
        self.rules.iter().map(|rule| rule.name.len() + rule.value.len() + ": \r\n".len()).sum()
    }
}

/// `head` with the client's address behind those that its last `X-Forwarded-For` has, or in a line of its own.
pub(super) fn forwarded_for(head: &[u8], client: IpAddr) -> Vec<u8> {
    const NAME: &[u8] = b"X-Forwarded-For";
    let client = client.to_string();
    let named = RequestLines::new(head).fields().filter(|line| line.is_named(head, NAME)).last();
    let mut draft = Draft { head, out: Vec::new(), copied: 0, room: NAME.len() + client.len() + 4 };
    if let Some(line) = named {
        let comma: &[u8] = if line.value.is_empty() { b"" } else { b", " };
        draft.replace(line.value.end, line.value.end, &[comma, client.as_bytes()]);
    } else {
        let end = head.len() - CRLF.len();
        draft.replace(end, end, &[NAME, b": ", client.as_bytes(), CRLF]);
    }
    draft.finish().expect("invariant: something was put in")
}

/// A copy of the head in the making; there is none until something differs.
struct Draft<'a> {
    head: &'a [u8],
    out: Vec<u8>,
    /// How much of the head is in the copy or left out of it.
    copied: usize,
    room: usize,
}

impl Draft<'_> {
    /// Puts `parts` in place of the bytes from `from` to `to`.
    fn replace(&mut self, from: usize, to: usize, parts: &[&[u8]]) {
        if self.out.capacity() == 0 {
            self.out.reserve_exact(self.head.len() + self.room);
        }
        self.out.extend_from_slice(&self.head[self.copied..from]);
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.copied = to;
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        if self.out.capacity() == 0 {
            return None;
        }
        self.out.extend_from_slice(&self.head[self.copied..]);
        Some(self.out)
    }
}

const CRLF: &[u8] = b"\r\n";

/// Fields that decide framing, the connection or the meaning of the method. Values of theirs that differ from what
/// the framing has read would make the source read another message than the one that is recorded.
const FRAMING: [&str; 13] = [
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Proxy-Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
];

/// One bit each in the mask of what was seen.
const RULES_MAX: usize = 64;
