//! A live mix of writes and reads by several clients, many of them writing to the same documents at once.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire;

/// What a mix did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that write, bulks among them.
    pub writes: u64,
    /// Items of bulks.
    pub items: u64,
    /// Writes of a single document that were refused because another was there first.
    pub conflicts: u64,
    /// Connections opened.
    pub connections: u64,
}

/// Runs the mix against a server for a while and waits for its end. `seed` decides what each client asks; how often it
/// comes to ask is the server's matter. Fails when a client cannot connect or its connection breaks.
pub fn traffic(addr: SocketAddr, duration: Duration, seed: u64) -> io::Result<Totals> {
    let deadline = Instant::now() + duration;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let seed = seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                scope.spawn(move || Client::new(addr, seed)?.run(deadline))
            })
            .collect();
        let mut totals = Totals::default();
        for client in clients {
            let one =
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
            totals.requests += one.requests;
            totals.writes += one.writes;
            totals.items += one.items;
            totals.conflicts += one.conflicts;
            totals.connections += one.connections;
        }
        Ok(totals)
    })
}

struct Client {
    addr: SocketAddr,
    stream: BufReader<TcpStream>,
    random: u64,
    totals: Totals,
}

impl Client {
    fn new(addr: SocketAddr, seed: u64) -> io::Result<Self> {
        let totals = Totals { connections: 1, ..Totals::default() };
        Ok(Self { addr, stream: connect(addr)?, random: seed | 1, totals })
    }

    fn run(mut self, deadline: Instant) -> io::Result<Totals> {
        while Instant::now() < deadline {
            if self.draw(REQUESTS_PER_CONNECTION) == 0 {
                self.stream = connect(self.addr)?;
                self.totals.connections += 1;
            }
            self.step()?;
        }
        Ok(self.totals)
    }

    fn step(&mut self) -> io::Result<()> {
        // A few documents, so that clients meet.
        let path = format!("/{INDEX}/_doc/{}", self.id());
        let document = self.document();
        match self.draw(20) {
            0..6 => self.write("PUT", &path, &document),
            6..8 => self.write("POST", &format!("/{INDEX}/_doc"), &document),
            8 => {
                let id = self.id();
                self.write("PUT", &format!("/{INDEX}/_create/{id}"), &document)
            }
            9..11 => {
                let (id, n) = (self.id(), self.draw(1000));
                let body = json!({"doc": {format!("f{}", n % 5): n}});
                self.write("POST", &format!("/{INDEX}/_update/{id}"), &body)
            }
            11 => self.write("DELETE", &path, &Value::Null),
            12 => self.conditional(&path),
            13..15 => self.bulk(),
            15..18 => self.ask("GET", &path, "").map(drop),
            18 => self.ask("POST", &format!("/{INDEX}/_search"), "{}").map(drop),
            _ => self.ask("GET", &format!("/{INDEX}/_count"), "").map(drop),
        }
    }

    fn conditional(&mut self, path: &str) -> io::Result<()> {
        let (_, found) = self.ask("GET", path, "")?;
        let found: Value = serde_json::from_slice(&found)?;
        let Some(at) = found["_seq_no"].as_u64() else { return Ok(()) };
        let document = self.document();
        self.write("PUT", &format!("{path}?if_seq_no={at}&if_primary_term=1"), &document)
    }

    fn bulk(&mut self) -> io::Result<()> {
        let mut lines = String::new();
        for _ in 0..5 + self.draw(16) {
            let meta = json!({"_index": INDEX, "_id": self.id().to_string()});
            let (action, document) = match self.draw(6) {
                0 => (json!({"delete": meta}), None),
                1 => {
                    let partial = json!({"doc": {"n": self.draw(1000)}, "doc_as_upsert": true});
                    (json!({"update": meta}), Some(partial))
                }
                2 => (json!({"create": meta}), Some(self.document())),
                3 => (json!({"index": {"_index": INDEX}}), Some(self.document())),
                _ => (json!({"index": meta}), Some(self.document())),
            };
            for line in [Some(action), document].into_iter().flatten() {
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            self.totals.items += 1;
        }
        self.totals.writes += 1;
        self.ask("POST", "/_bulk", &lines).map(drop)
    }

    fn write(&mut self, method: &str, path: &str, document: &Value) -> io::Result<()> {
        let body = if document.is_null() { String::new() } else { document.to_string() };
        let (status, _) = self.ask(method, path, &body)?;
        self.totals.writes += 1;
        self.totals.conflicts += u64::from(status == 409);
        Ok(())
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let (addr, length) = (self.addr, body.len());
        let wire = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(wire.as_bytes())?;
        let (status, body) = wire::read_answer(&mut self.stream)?;
        if status >= 500 {
            return Err(io::Error::other(format!("{method} {path} was answered {status}")));
        }
        self.totals.requests += 1;
        Ok((status, body))
    }

    fn id(&mut self) -> u64 {
        self.draw(DOCUMENTS)
    }

    fn document(&mut self) -> Value {
        let n = self.draw(1000);
        let text = ["red", "green", "blue", "yellow"][(n % 4) as usize];
        json!({"n": n, "text": text})
    }

    /// A number below `limit` (xorshift).
    fn draw(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }
}

fn connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

const INDEX: &str = "demo";
const CLIENTS: u64 = 8;
/// Documents with ids of the clients' choice.
const DOCUMENTS: u64 = 40;
/// On average.
const REQUESTS_PER_CONNECTION: u64 = 200;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Server;

    #[test]
    fn the_mix_writes_reads_and_meets_conflicts() {
        let server = Server::start().unwrap();
        let totals = traffic(server.addr(), Duration::from_millis(300), 1).unwrap();
        assert_eq!(server.requests(), totals.requests);
        assert!(totals.conflicts > 0 && totals.items > 0, "{totals:?}");
        assert!(totals.writes < totals.requests && totals.connections >= CLIENTS, "{totals:?}");
        let state = server.state();
        let generated = state.keys().filter(|(_, id)| id.len() == 20).count();
        assert!(generated > 0 && generated < state.len(), "{generated} of {}", state.len());
    }
}
