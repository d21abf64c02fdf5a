//! Header edits: field lines replaced, appended to, removed and added, and not a byte besides.
//!
//! Owns the rules made of the settings and the one pass over a head that carries them out. Never touches the request
//! line or the body, and allocates once, when the first line truly changes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::settings::{Auth, Host, Settings, is_framing};
use super::sigv4;
use crate::http::{RequestHead, Version, is_field_name, is_field_value};

/// The header edits of a run.
pub(super) struct Edits {
    rules: Vec<Rule>,
    /// Bytes that all rules together may add to a head.
    room: usize,
}

struct Rule {
    name: Vec<u8>,
    change: Change,
    /// Add the field where it is missing.
    add: Add,
}

enum Change {
    /// The value of the first such line; further values stand behind it as lines of their own.
    Replace(Vec<u8>),
    /// Behind what is there: `; value`.
    Append(Vec<u8>),
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Add {
    Always,
    Http11,
    Never,
}

impl Edits {
    /// Checks what was asked for; the error says what to do.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let mut edits = Self { rules: Vec::new(), room: 0 };
        for (name, value) in &settings.set_headers {
            check_set_header(name, value, settings)?;
            edits.set(name, value)?;
        }
        if let Host::Target(host) = &settings.host {
            let bad = |byte: &u8| !byte.is_ascii_graphic() || b"/?#@\"<>\\^`{|}".contains(byte);
            if host.is_empty() || host.as_bytes().iter().any(bad) {
                return Err(format!(
                    "the target's host {host:?} cannot stand in a Host field; give name or name:port"
                ));
            }
            if edits.find(b"host").is_none() {
                edits.push("Host", Change::Replace(host.clone().into_bytes()), Add::Http11);
            }
        }
        if let Some(agent) = &settings.user_agent {
            if agent.is_empty() || !is_field_value(agent.as_bytes()) {
                return Err(format!(
                    "--user-agent {agent:?} is empty, has a blank at an end or a control character; give plain text"
                ));
            }
            if edits.find(b"user-agent").is_some() {
                return Err(
                    "--user-agent and --set-header 'User-Agent: …' both change User-Agent; \
                            give one of them"
                        .to_owned(),
                );
            }
            let value = agent.clone().into_bytes();
            edits.push("user-agent", Change::Append(value), Add::Always);
        }
        edits.set_auth(&settings.auth)?;
        if edits.rules.len() > RULES_MAX {
            return Err(format!("more than {RULES_MAX} header edits; use --transform for so many"));
        }
        edits.room = edits.rules.iter().map(Rule::room).sum();
        Ok(edits)
    }

    /// Takes out what an older signature left.
    pub(super) fn for_signature() -> Self {
        let mut edits = Self { rules: Vec::new(), room: 0 };
        for name in sigv4::FIELDS {
            edits.push(name, Change::Remove, Add::Never);
        }
        edits
    }

    /// There is nothing to do for any request.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The request with its head edited, or `None` when every line is already as asked. `more` bytes of room are left
    /// behind the head for what the caller will insert.
    pub(super) fn apply(&self, request: &[u8], head: &RequestHead, more: usize) -> Option<Vec<u8>> {
        self.draft(request, head, more)
    }

    /// The same, the head alone.
    pub(super) fn apply_to_head(&self, request: &[u8], head: &RequestHead) -> Option<Vec<u8>> {
        self.draft(&request[..head.head_bytes], head, 0)
    }

    fn draft(&self, request: &[u8], head: &RequestHead, more: usize) -> Option<Vec<u8>> {
        let head_end = head.head_bytes - CRLF.len();
        let mut draft = Draft { request, room: self.room + more, out: None, copied: 0 };
        let mut seen: u64 = 0;
        let mut at = fields_start(request, head);
        while at < head_end {
            let next = line_end(request, at);
            let line = &request[at..next - CRLF.len()];
            if let Some((index, rule)) = self.rule_of(line) {
                let first = seen & (1 << index) == 0;
                seen |= 1 << index;
                rule.edit(&mut draft, at, next, first, head_end);
            }
            at = next;
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let add = match rule.add {
                Add::Always => true,
                Add::Http11 => head.version == Version::Http11,
                Add::Never => false,
            };
            if add && seen & (1 << index) == 0 {
                let out = draft.to(head_end, head_end);
                out.extend_from_slice(&rule.name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(rule.value());
                out.extend_from_slice(CRLF);
            }
        }
        draft.finish()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let found = self.rules.iter_mut().find(|rule| rule.is_of(name.as_bytes()));
        let Some(rule) = found else {
            let (change, add) = if value.is_empty() {
                (Change::Remove, Add::Never)
            } else {
                (Change::Replace(value.as_bytes().to_vec()), Add::Always)
            };
            self.push(name, change, add);
            return Ok(());
        };
        match &mut rule.change {
            Change::Replace(values) if !value.is_empty() && !name.eq_ignore_ascii_case("host") => {
                for part in ["\r\n", name, ": ", value] {
                    values.extend_from_slice(part.as_bytes());
                }
                Ok(())
            }
            _ => Err(format!("--set-header names {name} twice; give it once")),
        }
    }

    fn set_auth(&mut self, auth: &Auth) -> Result<(), String> {
        if *auth != Auth::Keep && self.find(b"authorization").is_some() {
            return Err("--auth and --set-header 'Authorization: …' both change Authorization; \
                        give one of them"
                .to_owned());
        }
        let value = match auth {
            Auth::Keep => return Ok(()),
            Auth::SigV4 { .. } => {
                for name in sigv4::FIELDS {
                    if name != "authorization" && self.find(name.as_bytes()).is_some() {
                        return Err(format!(
                            "--set-header {name}: it is of the signature; take it out"
                        ));
                    }
                }
                self.rules.extend(Self::for_signature().rules);
                return Ok(());
            }
            Auth::Remove => {
                self.push("authorization", Change::Remove, Add::Never);
                return Ok(());
            }
            Auth::Header(value) if value.is_empty() || !is_field_value(value.as_bytes()) => {
                return Err(
                    "the value of --auth-header is empty, has a blank at an end or a control \
                            character; give it on one line"
                        .to_owned(),
                );
            }
            Auth::Header(value) => value.clone(),
            Auth::Basic { user, .. } if user.is_empty() || user.contains(':') => {
                return Err(
                    "--auth-user is empty or has a colon, which the basic scheme cannot carry \
                            (RFC 7617); give another user"
                        .to_owned(),
                );
            }
            Auth::Basic { user, password } => {
                if user.chars().chain(password.chars()).any(char::is_control) {
                    return Err("--auth-user or its password has a control character; check the \
                                password file for a line end that does not belong to it"
                        .to_owned());
                }
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
        };
        self.push("authorization", Change::Replace(value.into_bytes()), Add::Always);
        Ok(())
    }

    fn push(&mut self, name: &str, change: Change, add: Add) {
        self.rules.push(Rule { name: name.as_bytes().to_vec(), change, add });
    }

    fn find(&self, name: &[u8]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.is_of(name))
    }

    #[inline]
    fn rule_of(&self, line: &[u8]) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.is_at(line))
    }
}

impl Rule {
    fn is_of(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Is `line` a field of this rule's name? The colon is looked at first: it rules nearly every line out.
    #[inline]
    fn is_at(&self, line: &[u8]) -> bool {
        let length = self.name.len();
        line.get(length) == Some(&b':') && line[..length].eq_ignore_ascii_case(&self.name)
    }

    fn value(&self) -> &[u8] {
        match &self.change {
            Change::Replace(value) | Change::Append(value) => value,
            Change::Remove => b"",
        }
    }

    fn room(&self) -> usize {
        self.name.len() + self.value().len() + b": ; \r\n".len()
    }

    /// Edits the line at `at..next`, the first of its name or a later one.
    fn edit(&self, draft: &mut Draft<'_>, at: usize, next: usize, first: bool, head_end: usize) {
        let value_start = at + self.name.len() + 1;
        let line = &draft.request[value_start..next - CRLF.len()];
        match &self.change {
            Change::Replace(value) if first && trim(line) == value => {}
            Change::Replace(value) if first => {
                let out = draft.to(value_start, next);
                out.push(b' ');
                out.extend_from_slice(value);
                out.extend_from_slice(CRLF);
            }
            Change::Append(value) if first => {
                let joined = self.joined(draft.request, at, head_end);
                let out = draft.to(value_start, next);
                for part in [b" ", &joined[..], value, CRLF] {
                    out.extend_from_slice(part);
                }
            }
            // What a later line held is in the first one now, or gone.
            Change::Replace(_) | Change::Append(_) | Change::Remove => {
                draft.to(at, next);
            }
        }
    }

    /// The values of all lines of this name from `at` on, each with `; ` behind it.
    fn joined(&self, request: &[u8], mut at: usize, head_end: usize) -> Vec<u8> {
        let mut joined = Vec::new();
        while at < head_end {
            let next = line_end(request, at);
            let line = &request[at..next - CRLF.len()];
            if self.is_at(line) {
                let value = trim(&line[self.name.len() + 1..]);
                if !value.is_empty() {
                    joined.extend_from_slice(value);
                    joined.extend_from_slice(b"; ");
                }
            }
            at = next;
        }
        joined
    }
}

/// A copy of the request in the making; there is none until something differs.
struct Draft<'a> {
    request: &'a [u8],
    room: usize,
    out: Option<Vec<u8>>,
    /// How much of the request is in the copy or left out of it.
    copied: usize,
}

impl Draft<'_> {
    /// Copies up to `to` and leaves the bytes from there to `resume` out.
    fn to(&mut self, to: usize, resume: usize) -> &mut Vec<u8> {
        let (request, room) = (self.request, self.room);
        let out = self.out.get_or_insert_with(|| Vec::with_capacity(request.len() + room));
        out.extend_from_slice(&request[self.copied..to]);
        self.copied = resume;
        out
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut out = self.out?;
        out.extend_from_slice(&self.request[self.copied..]);
        Some(out)
    }
}

fn check_set_header(name: &str, value: &str, settings: &Settings) -> Result<(), String> {
    if !is_field_name(name.as_bytes()) {
        return Err(format!(
            "--set-header: {name:?} is no field name; give 'Name: value' with a name of letters, digits and hyphens"
        ));
    }
    if is_framing(name.as_bytes()) {
        return Err(format!(
            "--set-header {name}: it says where the body ends and follows the body; take it out"
        ));
    }
    if !is_field_value(value.as_bytes()) {
        return Err(format!(
            "--set-header {name}: the value has a blank at an end or a control character such as a line end; \
             give one line of plain text"
        ));
    }
    if name.eq_ignore_ascii_case("host") && value.is_empty() && settings.host == Host::Keep {
        return Err("--set-header Host: HTTP/1.1 requests need one; give a value".to_owned());
    }
    Ok(())
}

/// Where the first field line starts: behind empty lines and the request line.
pub(super) fn fields_start(request: &[u8], head: &RequestHead) -> usize {
    let mut at = 0;
    while request[at..].starts_with(CRLF) {
        at += CRLF.len();
    }
    at + head.first_line_bytes as usize + CRLF.len()
}

/// The byte behind the line that starts at `at` and is known to end.
#[inline]
pub(super) fn line_end(request: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &request[at..]).map_or(request.len(), |length| at + length + 1)
}

pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

pub(super) const CRLF: &[u8] = b"\r\n";
/// One bit each in the mask of what was seen.
const RULES_MAX: usize = 64;
