//! The short answers that tapline gives itself, in the error shape of Elasticsearch.
//!
//! Owns the bytes of each answer: HTTP/1.1, `Connection: close`, a JSON body that client libraries
//! show to their users. Never repeats a byte of the client's request.

use serde_json::json;

/// The answer to a refused request. `reason` is the label of [`super::Refusal::reason`].
pub fn refusal(status: u16, reason: &str) -> Vec<u8> {
    let hint = match status {
        408 => "Send requests without long pauses, or raise tapline's deadlines.",
        414 | 431 => "Shorten the request line or the header fields, or raise tapline's limits.",
        501 => "tapline forwards plain HTTP/1.1 only: no CONNECT, no transfer coding but chunked.",
        505 => "Speak HTTP/1.1 or HTTP/1.0 to tapline.",
        _ => "tapline forwards only what every HTTP parser reads alike. Mend the client.",
    };
    let text = format!("Refused by tapline, not by the source: {reason}. {hint}");
    answer(status, "tapline_refused", &text, "")
}

/// The answer to a client that speaks HTTP without TLS on a port for TLS.
pub fn not_tls() -> Vec<u8> {
    let text = "This port speaks TLS: use https:// (with tapline's own certificate: curl -k, or trust the file \
                self-signed.crt of its state directory). Nothing was forwarded.";
    answer(400, "tapline_tls_expected", text, "")
}

/// The answer when the source cannot be reached or ended without one. `source` is its address.
pub fn bad_gateway(source: &str, why: &str) -> Vec<u8> {
    let text = format!(
        "No answer from the source {source}: {why}. Check that it runs and that tapline can reach \
         it. A request that changes something may have been applied."
    );
    answer(502, "tapline_bad_gateway", &text, "")
}

/// The answer when tapline cannot take the request now; it may be sent again after
/// `retry_after_s` seconds.
pub fn unavailable(why: &str, retry_after_s: u32) -> Vec<u8> {
    let text = format!(
        "Not forwarded: {why}. Nothing was changed; send the request again in {retry_after_s} s."
    );
    answer(503, "tapline_unavailable", &text, &format!("Retry-After: {retry_after_s}\r\n"))
}

/// The answer to a health check of the proxy itself: 200, or 503 while it drains. `to_head`: without the body.
/// `close`: the connection ends with it.
pub fn health(draining: bool, to_head: bool, close: bool) -> Vec<u8> {
    let (status, text) = if draining { (503, "draining") } else { (200, "ok") };
    let body = format!("{{\"status\":\"{text}\"}}\n");
    let connection = if close { "close" } else { "keep-alive" };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: {connection}\r\n\r\n",
        phrase(status),
        body.len(),
    );
    if to_head { head.into_bytes() } else { (head + &body).into_bytes() }
}

fn answer(status: u16, kind: &str, text: &str, more_fields: &str) -> Vec<u8> {
    let cause = json!({ "type": kind, "reason": text });
    let body = json!({
        "error": { "root_cause": [cause], "type": kind, "reason": text },
        "status": status,
    })
    .to_string();
    format!(
        "HTTP/1.1 {status} {phrase}\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\
         {more_fields}\
         Connection: close\r\n\
         \r\n\
         {body}",
        phrase = phrase(status),
        length = body.len(),
    )
    .into_bytes()
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answering, Limits, Refusal, ResponseFraming, ResponsePart};
    use super::*;
    use serde_json::Value;

    /// Reads an answer with our own parser and gives its status, head and body.
    fn read(answer: &[u8]) -> (u16, String, Value) {
        let mut framing = ResponseFraming::new();
        let piece = framing.next(&Limits::default(), Answering::Other, answer).unwrap();
        let ResponsePart::Head(head) = piece.what else { panic!("{piece:?}") };
        assert!(head.close && !head.until_eof);
        let (text, body) = answer.split_at(piece.len);
        assert_eq!(head.content_length, Some(body.len() as u64));
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["status"], head.status);
        assert_eq!(body["error"]["root_cause"][0]["reason"], body["error"]["reason"]);
        (head.status, String::from_utf8(text.to_vec()).unwrap(), body)
    }

    #[test]
    fn every_refusal_has_an_answer() {
        for refused in Refusal::ALL {
            let (status, head, body) = read(&refusal(refused.status(), refused.reason()));
            assert_eq!(status, refused.status());
            assert_eq!(body["error"]["type"], "tapline_refused");
            assert!(body["error"]["reason"].as_str().unwrap().contains(refused.reason()));
            assert!(!head.starts_with(&format!("HTTP/1.1 {status} \r\n")), "{head}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let (status, _, body) = read(&bad_gateway("[::1]:9200", "a \"quoted\"\r\n\0 \\ é text"));
        assert_eq!(status, 502);
        assert_eq!(body["error"]["type"], "tapline_bad_gateway");
        let reason = body["error"]["reason"].as_str().unwrap();
        assert!(reason.contains("[::1]:9200: a \"quoted\"\r\n\0 \\ é text."), "{reason}");
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        let (status, head, body) = read(&unavailable("the capture log is full", 7));
        assert_eq!(status, 503);
        assert!(head.contains("\r\nRetry-After: 7\r\n"), "{head}");
        assert_eq!(body["error"]["type"], "tapline_unavailable");
    }
}
