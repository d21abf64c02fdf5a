//! The test's own reading of HTTP, so that the checker does not lean on the parser under test. It reads what the
//! scripts write and no more.

/// A head: its length with the blank line, its start line, its fields.
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) start: String,
    fields: Vec<(String, String)>,
}

/// How far a body has come.
pub(super) enum Body {
    Incomplete,
    /// Its content, and its length on the wire.
    Complete(Vec<u8>, usize),
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next()?.to_owned();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Some(Self { len: end + 4, start, fields })
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    pub(super) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The body in what follows the head. `None`: it has no end but that of the connection.
    pub(super) fn body(&self, rest: &[u8]) -> Option<Body> {
        if self.field("transfer-encoding").is_some() {
            return Some(chunked(rest));
        }
        let len: usize = self.field("content-length")?.parse().ok()?;
        Some(if rest.len() < len {
            Body::Incomplete
        } else {
            Body::Complete(rest[..len].to_vec(), len)
        })
    }
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn chunked(bytes: &[u8]) -> Body {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Body::Incomplete };
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = text.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        // The scripts' malformed chunks never get to an end.
        let Some(size) = size else { return Body::Incomplete };
        at += line + 2;
        if bytes.len() < at + size + 2 {
            return Body::Incomplete;
        }
        content.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
        if size == 0 {
            return Body::Complete(content, at);
        }
    }
}
