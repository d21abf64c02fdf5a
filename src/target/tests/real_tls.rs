//! The worker on the real ring against servers that speak TLS, or do not.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{
    line,
    real::{Running, body, request},
};
use crate::{
    target::{Broken, Counter, Settings},
    tls::Trust,
};

/// Answers each request with the length of its body; `/open` with a body that the connection ends, in order, and `/cut`
/// with one that is cut.
fn serve(config: &Arc<ServerConfig>) -> SocketAddr {
    let config = Arc::clone(config);
    listen(move |stream| {
        let server = ServerConnection::new(Arc::clone(&config)).expect("a server");
        let mut stream = StreamOwned::new(server, stream);
        while turn(&mut stream) == Some(true) {}
    })
}

fn listen(each: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            std::thread::spawn(move || each(stream));
        }
    });
    address
}

fn turn(stream: &mut StreamOwned<ServerConnection, TcpStream>) -> Option<bool> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).expect("a head");
    let path = text.split(' ').nth(1)?.to_owned();
    let length = text.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    let read = std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    if path == "/open" || path == "/cut" {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nopen").ok()?;
        if path == "/open" {
            stream.conn.send_close_notify();
        }
        stream.flush().ok()?;
        return None;
    }
    let pad = path[1..].parse::<usize>().unwrap_or(0);
    let body = format!("{read:.<pad$}");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).ok()?;
    Some(true)
}

fn running(address: SocketAddr, host: &str, ca: &Path) -> Running {
    let mut settings = Settings::new(vec![address]);
    settings.tls = Some(Trust::new(host, Some(ca), None, false).expect("a trust"));
    Running::with(settings)
}

#[test]
fn requests_and_answers_of_any_size_go_through_tls() {
    let stage = line::Stage::new("es.example");
    let mut running = running(serve(&stage.server), "es.example", &stage.ca);
    let sizes = [0, 1, 16_384, 262_144, 262_145, 20 << 20];
    let requests = sizes.iter().map(|n| request("/60000", *n)).collect();
    let replies = running.ask(requests);
    for (reply, size) in replies.iter().zip(sizes) {
        assert_eq!(body(reply), size.to_string());
        assert_eq!(reply.bytes.len(), request("/60000", size).len());
        assert!(reply.sent_ns > 0 && reply.sent_ns <= reply.finished_ns);
    }
    let again = running.ask(vec![request("/1", 10)]);
    assert_eq!(body(&again[0]), "10");
    let ends = running.ask(vec![request("/open", 1), request("/cut", 1)]);
    let whole = ends[0].result.as_ref().expect("ended in order");
    assert!(whole.bytes.ends_with(b"open"));
    assert!(
        matches!(ends[1].result, Err(Broken::Lost { response_begun: true, .. })),
        "an end that nobody vouches for: {:?}",
        ends[1].result
    );
    let counters = running.end();
    assert_eq!(counters.get(Counter::Opened), counters.get(Counter::Closed));
    assert!(counters.get(Counter::Opened) <= 6, "connections serve again");
    assert_eq!(counters.get(Counter::TlsFailures), 0);
}

#[test]
fn a_server_that_is_not_to_be_trusted_gets_nothing_and_the_reply_says_why() {
    let stage = line::Stage::new("es.example");
    let other = line::Stage::new("es.example");
    let address = serve(&stage.server);
    for (host, ca) in [("es.example", &other.ca), ("another.example", &stage.ca)] {
        let mut running = running(address, host, ca);
        let replies = running.ask(vec![request("/1", 10)]);
        let why = replies[0].result.as_ref().expect_err("refused");
        assert!(matches!(why, Broken::Tls { handshake: true, .. }) && why.is_unsent(), "{why:?}");
        assert!(why.to_string().contains("authority"), "{why}");
        assert_eq!((replies[0].bytes.len(), replies[0].sent_ns), (request("/1", 10).len(), 0));
        assert_eq!(running.end().get(Counter::TlsFailures), 1);
    }
}

#[test]
fn a_server_without_tls_is_named() {
    let stage = line::Stage::new("es.example");
    let plain = listen(|mut stream| {
        let mut some = [0; 5];
        stream.read_exact(&mut some).expect("a handshake");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
        // Until the other side has had enough.
        while stream.read(&mut some).is_ok_and(|n| n > 0) {}
    });
    let mut speaking = running(plain, "es.example", &stage.ca);
    let replies = speaking.ask(vec![request("/1", 10)]);
    let why = replies[0].result.as_ref().expect_err("no TLS");
    assert!(why.is_unsent() && why.to_string().contains("speak TLS"), "{why}");
    speaking.end();
    let mut silent = running(listen(drop), "es.example", &stage.ca);
    let replies = silent.ask(vec![request("/1", 10)]);
    assert!(matches!(replies[0].result, Err(Broken::Unsecured(_))), "{:?}", replies[0].result);
    silent.end();
    assert!(fs::exists(&stage.ca).expect("the stage stands"));
}
