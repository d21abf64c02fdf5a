//! Tuples against the reference's form, files against kills, the thread against its promises.

mod desk;
mod files;
mod lines;

use super::tuple::{Attempt, Message, Reply, TargetRequest, Tuple};

/// A message from its text; the head ends with the first empty line.
fn message(text: impl AsRef<[u8]>) -> Message {
    let bytes = text.as_ref().to_vec();
    let head = memchr::memmem::find(&bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    Message::whole(bytes, head)
}

fn reply(text: impl AsRef<[u8]>, ms: i64) -> Reply {
    Reply { message: message(text), took_ns: ms * 1_000_000 + 999_999 }
}

fn attempt(text: impl AsRef<[u8]>, ms: i64) -> Attempt {
    Attempt { reply: Some(reply(text, ms)), error: None }
}

/// The reference's sample.
fn sample() -> Tuple {
    let created = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
        content-length: 20\r\n\r\n{\"result\":\"created\"}";
    let put = |host: &str| {
        format!(
            "PUT /books/_doc/7 HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: 15\r\n\r\n{{\"title\":\"Dune\"}}"
        )
    };
    Tuple {
        connection: "0242acfffe11000a-00000007-0000002c-124a9b1d5c7f3b60-5f0c9a11".into(),
        index: 3,
        source_request: message(put("search.example:9200")),
        source_response: Some(reply(created, 12)),
        target_request: TargetRequest::Changed(message(put("target.example"))),
        target_responses: vec![attempt(created, 9)],
        ..Tuple::default()
    }
}
