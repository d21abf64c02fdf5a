//! A mixed write and read load on many keep-alive connections, fast enough to make clusters busy.
//!
//! Everything a client decides comes from its seed; what the server makes of concurrent writes to
//! the same documents does not. Owns the load alone: it never says what must come of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::client::{Client, try_connect};
use super::message::Message;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix<'a> {
    /// Begins the names of all indices.
    pub(crate) prefix: &'a str,
    /// Requests in all, a bulk counting as one.
    pub(crate) requests: u64,
    /// Clients side by side.
    pub(crate) clients: u64,
    pub(crate) documents: Documents,
    /// Whether updates by script are among the writes: they give another result when done twice.
    pub(crate) scripts: bool,
    /// Whether the load makes its indices and ends with writes to whole indices.
    pub(crate) whole: bool,
    /// Only what a simple document server knows: no gzip, no `_mget`.
    pub(crate) plain: bool,
    pub(crate) seed: u64,
}

/// Which documents the connections write to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Documents {
    /// So many, all connections the same.
    Shared(u64),
    /// Each connection its own.
    Own,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) bulk_items: u64,
    pub(crate) connections: u64,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
}

impl Mix<'_> {
    /// Makes the indices, runs the clients, and ends with writes to whole indices; panics when an
    /// answer is none of those that such a load brings about.
    pub(crate) fn run(&self, port: u16) -> Totals {
        let mut first = Session::open(self, port, u64::MAX, 0).expect("the cluster is there");
        if self.whole {
            first.make_indices();
        }
        let left = AtomicU64::new(self.requests);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let left = &left;
                    scope.spawn(move || self.client(port, number, left))
                })
                .collect();
            for client in clients {
                first.totals.add(&client.join().expect("a client does not panic"));
            }
        });
        if self.whole {
            first.whole_indices();
        }
        first.totals
    }

    /// One client, which connects anew now and then.
    fn client(&self, port: u16, number: u64, left: &AtomicU64) -> Totals {
        let mut totals = Totals::default();
        let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        for connection in 0.. {
            let mut session = Session::open(self, port, number, connection)
                .unwrap_or_else(|error| panic!("client {number} cannot connect: {error}"));
            let mut done = false;
            for _ in 0..REQUESTS_PER_CONNECTION {
                if take().is_err() {
                    done = true;
                    break;
                }
                session
                    .step()
                    .unwrap_or_else(|error| panic!("client {number}.{connection}: {error}"));
            }
            totals.add(&session.totals);
            if done {
                break;
            }
        }
        totals
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.bulk_items += other.bulk_items;
        self.connections += other.connections;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }
}

/// One connection.
struct Session<'a> {
    mix: &'a Mix<'a>,
    client: Client,
    /// Begins the ids of documents that are this connection's own.
    own: String,
    random: u64,
    totals: Totals,
}

impl<'a> Session<'a> {
    fn open(mix: &'a Mix<'a>, port: u16, number: u64, connection: u64) -> io::Result<Self> {
        let seed = mix.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (connection << 32);
        Ok(Self {
            mix,
            client: try_connect(port)?,
            own: format!("c{number}.{connection}-"),
            random: seed | 1,
            totals: Totals { connections: 1, ..Totals::default() },
        })
    }

    /// One request, or two where the second depends on the first's answer.
    fn step(&mut self) -> io::Result<()> {
        let (index, id) = (self.index(), self.id());
        let document = self.document();
        match self.draw(100) {
            0..18 => self.ask("PUT", &format!("/{index}/_doc/{id}"), &document)?,
            18..26 => self.ask("POST", &format!("/{index}/_doc"), &document)?,
            26..34 => self.ask("PUT", &format!("/{index}/_create/{id}"), &document)?,
            34..38 => self.ask("PUT", &format!("/{index}/_doc/{id}?op_type=create"), &document)?,
            38..50 => self.update(&index, &id)?,
            50..58 => self.ask("DELETE", &format!("/{index}/_doc/{id}"), "")?,
            58..64 => return self.conditional(&index, &id),
            64..74 => self.ask("GET", &format!("/{index}/_doc/{id}"), "")?,
            74..78 if !self.mix.plain => {
                let body = json!({"ids": [id, self.id(), self.id()]}).to_string();
                self.ask("POST", &format!("/{index}/_mget"), &body)?
            }
            74..82 => {
                let body = json!({"query": {"match": {"t": word(self.draw(8))}}, "size": 3});
                self.ask("POST", &format!("/{index}/_search"), &body.to_string())?
            }
            82..84 => self.ask("GET", &format!("/{index}/_count"), "")?,
            84..86 => self.ask("HEAD", &format!("/{index}/_doc/{id}"), "")?,
            _ => self.bulk()?,
        };
        Ok(())
    }

    fn update(&mut self, index: &str, id: &str) -> io::Result<Message> {
        let retries = ["", "?retry_on_conflict=0", "?retry_on_conflict=3"][self.draw(3) as usize];
        let by = self.draw(10);
        let body = match self.draw(3) {
            0 if self.mix.scripts => json!({
                "script": {"source": ADD, "params": {"by": by}},
                "upsert": {"n": by}
            }),
            1 => json!({"doc": {format!("f{by}"): by}, "doc_as_upsert": true}),
            _ => json!({"doc": {"n": by, format!("f{by}"): self.draw(1000)}}),
        };
        self.ask("POST", &format!("/{index}/_update/{id}{retries}"), &body.to_string())
    }

    /// Reads a document and writes it if nobody else has in the meantime.
    fn conditional(&mut self, index: &str, id: &str) -> io::Result<()> {
        let found = self.ask("GET", &format!("/{index}/_doc/{id}"), "")?;
        let found: Value = serde_json::from_slice(&found.body)?;
        let (Some(number), Some(term)) =
            (found["_seq_no"].as_u64(), found["_primary_term"].as_u64())
        else {
            return Ok(());
        };
        let target = format!("/{index}/_doc/{id}?if_seq_no={number}&if_primary_term={term}");
        let document = self.document();
        self.ask("PUT", &target, &document).map(drop)
    }

    fn bulk(&mut self) -> io::Result<Message> {
        let items = 5 + self.draw(26);
        let mut lines = String::new();
        for _ in 0..items {
            let (index, id) = (self.index(), self.id());
            let document = self.document();
            let mut line = |action: Value| lines.extend([action.to_string(), "\n".into()]);
            match self.draw(10) {
                0..4 => line(json!({"index": {"_index": index, "_id": id}})),
                4 => line(json!({"index": {"_index": index}})),
                5..7 => line(json!({"create": {"_index": index, "_id": id}})),
                7 => {
                    line(json!({"delete": {"_index": index, "_id": id}}));
                    continue;
                }
                _ => {
                    line(json!({"update": {"_index": index, "_id": id}}));
                    let partial = json!({"doc": {"n": self.draw(1000)}, "doc_as_upsert": true});
                    lines.extend([partial.to_string(), "\n".into()]);
                    continue;
                }
            }
            lines.push_str(&document);
            lines.push('\n');
        }
        self.totals.bulk_items += items;
        if self.mix.plain || self.draw(3) > 0 {
            return self.ask("POST", "/_bulk", &lines);
        }
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(lines.as_bytes())?;
        self.send("POST", "/_bulk", "Content-Encoding: gzip\r\n", &zipped.finish()?)
    }

    fn make_indices(&mut self) {
        // What is tested here does not lose power: no fsync for each request.
        let settings = r#"{"settings":{"number_of_shards":2,"number_of_replicas":0,
            "translog.durability":"async"}}"#;
        for name in INDICES {
            let target = format!("/{}-{name}", self.mix.prefix);
            self.expect(200, "PUT", &target, settings);
        }
    }

    /// Writes that touch a whole index, by one client alone: only so is their result determined.
    fn whole_indices(&mut self) {
        let prefix = self.mix.prefix;
        let every = |field: &str| json!({"query": {"range": {"n": {field: 50}}}}).to_string();
        self.expect(200, "POST", &format!("/{prefix}-a/_refresh"), "");
        self.expect(200, "POST", &format!("/{prefix}-a/_delete_by_query"), &every("lt"));
        self.expect(200, "POST", &format!("/{prefix}-b/_refresh"), "");
        let gone = format!("/{prefix}-gone");
        for n in 0..3 {
            let target = format!("{gone}/_doc/{n}");
            self.expect(201, "PUT", &target, &json!({"n": n}).to_string());
        }
        self.expect(200, "DELETE", &gone, "");
        self.expect(201, "PUT", &format!("{gone}/_doc/1?refresh=true"), r#"{"n":7}"#);
        let copy = json!({"source": {"index": format!("{prefix}-gone")},
            "dest": {"index": format!("{prefix}-copy")}});
        self.expect(200, "POST", "/_reindex?refresh=true", &copy.to_string());
    }

    fn expect(&mut self, status: u16, method: &str, target: &str, body: &str) {
        let answer = self.ask(method, target, body).expect("the cluster answers");
        assert_eq!(answer.status(), status, "{method} {target}: {}", answer.text());
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> io::Result<Message> {
        self.send(method, target, "", body.as_bytes())
    }

    fn send(
        &mut self,
        method: &str,
        target: &str,
        field: &str,
        body: &[u8],
    ) -> io::Result<Message> {
        let length = body.len();
        let (own, number) = (&self.own, self.totals.requests);
        let mut wire = format!(
            "{method} {target} HTTP/1.1\r\nHost: source\r\n{MARK}: {own}{number}\r\n{field}"
        )
        .into_bytes();
        if length > 0 {
            let head = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
            wire.extend_from_slice(head.as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(body);
        self.client.try_send(&wire)?;
        let answer = self.client.try_response(method)?;
        let status = answer.status();
        if !matches!(status, 200 | 201 | 404 | 409) {
            return Err(io::Error::other(format!("{method} {target}: {status} {}", answer.text())));
        }
        self.totals.requests += 1;
        *self.totals.statuses.entry(status).or_default() += 1;
        Ok(answer)
    }

    fn index(&mut self) -> String {
        format!("{}-{}", self.mix.prefix, INDICES[self.draw(2) as usize])
    }

    fn id(&mut self) -> String {
        match self.mix.documents {
            Documents::Shared(count) => format!("s{}", self.draw(count)),
            Documents::Own => {
                let number = self.draw(OWN);
                format!("{}{number}", self.own)
            }
        }
    }

    fn document(&mut self) -> String {
        let words: Vec<&str> = (0..=self.draw(12)).map(|_| word(self.draw(8))).collect();
        json!({"n": self.draw(1000), "t": words.join(" ")}).to_string()
    }

    /// A number below `limit` (xorshift).
    fn draw(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }
}

fn word(number: u64) -> &'static str {
    ["red", "green", "blue", "ünïcode", "\"quoted\"", "a\\b", "tab\there", "long-long-word"]
        [number as usize]
}

/// The field in which each request of a load has a name of its own.
pub(crate) const MARK: &str = "X-Opaque-Id";
/// A document that was made by a partial one may have no `n`.
const ADD: &str = "ctx._source.n = (ctx._source.containsKey('n') ? ctx._source.n : 0) + params.by";
const INDICES: [&str; 2] = ["a", "b"];
/// Documents of a connection of its own.
const OWN: u64 = 20;
const REQUESTS_PER_CONNECTION: u64 = 100;

#[test]
fn the_same_load_by_one_client_gives_the_same_state_twice() {
    use super::elasticsearch::Elasticsearch;
    use super::opensearch::OpenSearch;
    if !super::services::wanted("the_same_load_by_one_client_gives_the_same_state_twice") {
        return;
    }
    let (one, other) = (Elasticsearch::shared(), OpenSearch::shared());
    let mix = Mix {
        prefix: "mix-once",
        requests: 300,
        clients: 1,
        documents: Documents::Shared(40),
        scripts: true,
        whole: true,
        plain: false,
        seed: 11,
    };
    let totals = mix.run(one.port());
    assert_eq!(totals, mix.run(other.port()));
    for status in [200, 201, 404, 409] {
        assert!(totals.statuses.get(&status).is_some_and(|count| *count > 3), "{totals:?}");
    }
    let mut states = [one, other].map(|cluster| cluster.state("mix-once"));
    for state in &mut states {
        // Ids that the server gives are the server's own.
        state.documents.retain(|(_, id), _| id.len() < 20);
        assert!(state.documents.len() > 20 && state.indices.len() == 4, "{state:?}");
    }
    assert_eq!(states[0].difference(&states[1]), None);
}

#[test]
fn many_clients_meet_conflicts() {
    use super::elasticsearch::Elasticsearch;
    if !super::services::wanted("many_clients_meet_conflicts") {
        return;
    }
    let mix = Mix {
        prefix: "mix-many",
        requests: super::services::scale(1500, 50_000),
        clients: 16,
        documents: Documents::Shared(100),
        scripts: true,
        whole: true,
        plain: false,
        seed: 3,
    };
    let start = std::time::Instant::now();
    let totals = mix.run(Elasticsearch::shared().port());
    println!("{:.1} s: {totals:?}", start.elapsed().as_secs_f64());
    assert!(totals.requests >= mix.requests && totals.connections > 16, "{totals:?}");
    assert!(totals.statuses[&409] > 10, "{totals:?}");
    let own = Mix { prefix: "mix-own", documents: Documents::Own, ..mix };
    assert!(own.run(Elasticsearch::shared().port()).statuses[&201] > 10);
}
