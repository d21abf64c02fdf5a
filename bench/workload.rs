//! The requests sent and the answers expected.
//!
//! It owns the workloads and the bytes of their requests. It never does I/O.

/// One closed loop: each connection sends the same request again once it has the whole answer.
#[derive(Debug)]
pub(crate) struct Workload {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What the table says.
    pub(crate) title: &'static str,
    /// Connections open at the same time, each with one request in flight.
    pub(crate) connections: u32,
    body: Body,
}

impl Workload {
    /// Every workload, in the order of the table.
    pub(crate) const ALL: [Self; 6] = [
        Self {
            name: "get-1k",
            title: "GET 1 KiB × 32",
            connections: 32,
            body: Body::Answer(1 << 10),
        },
        Self {
            name: "get-16k",
            title: "GET 16 KiB × 32",
            connections: 32,
            body: Body::Answer(16 << 10),
        },
        Self {
            name: "bulk-5k",
            title: "bulk POST 5 KiB × 32",
            connections: 32,
            body: Body::Bulk(5 << 10),
        },
        Self {
            name: "bulk-1m",
            title: "bulk POST 1 MiB × 4",
            connections: 4,
            body: Body::Bulk(1 << 20),
        },
        Self {
            name: "get-1k-256",
            title: "GET 1 KiB × 256",
            connections: 256,
            body: Body::Answer(1 << 10),
        },
        Self {
            name: HANDSHAKES,
            title: "full TLS handshake and GET 1 KiB, one after the other",
            connections: 1,
            body: Body::Answer(1 << 10),
        },
    ];

    /// The workload of that name, or the names there are.
    pub(crate) fn by_name(name: &str) -> Result<&'static Self, String> {
        static ALL: [Workload; 6] = Workload::ALL;
        ALL.iter().find(|w| w.name == name).ok_or_else(|| {
            let known: Vec<&str> = ALL.iter().map(|w| w.name).collect();
            format!("no such workload; one of: {}", known.join(", "))
        })
    }

    /// The whole request, head and body. The path of a GET ends in the size of its answer.
    pub(crate) fn request(&self) -> Vec<u8> {
        match self.body {
            Body::Answer(bytes) => format!(
                "GET /bench/_doc/{bytes} HTTP/1.1\r\nHost: origin.bench\r\n\
                 User-Agent: tapline-bench\r\nAccept: */*\r\n\r\n"
            )
            .into_bytes(),
            Body::Bulk(bytes) => {
                let mut request = format!(
                    "POST /_bulk HTTP/1.1\r\nHost: origin.bench\r\nUser-Agent: tapline-bench\r\n\
                     Content-Type: application/x-ndjson\r\nContent-Length: {bytes}\r\n\r\n"
                )
                .into_bytes();
                request.extend(bulk_body(bytes));
                request
            }
        }
    }

    /// Whether each request has a connection and a handshake of its own; only with TLS.
    pub(crate) fn is_handshakes(&self) -> bool {
        self.name == HANDSHAKES
    }

    /// Length of the body that a right answer has, in bytes.
    pub(crate) fn answer_bytes(&self) -> usize {
        match self.body {
            Body::Answer(bytes) => bytes,
            Body::Bulk(_) => BULK_ANSWER_BYTES,
        }
    }
}

/// Which side carries the bytes; sizes in bytes.
#[derive(Debug)]
enum Body {
    Answer(usize),
    Bulk(usize),
}

/// NDJSON of exactly `bytes` bytes: index actions, the last document padded to fit.
fn bulk_body(bytes: usize) -> Vec<u8> {
    const LINES: &[u8] = b"{\"index\":{\"_index\":\"bench\"}}\n\
        {\"user\":\"kimchy\",\"message\":\"the quick brown fox jumps over the lazy dog\",\"n\":42}\n";
    let mut body = LINES.repeat((bytes.saturating_sub(2 * LINES.len()) / LINES.len()).max(1));
    body.extend_from_slice(b"{\"index\":{\"_index\":\"bench\"}}\n{\"pad\":\"");
    let padding = bytes - body.len() - 3;
    body.resize(body.len() + padding, b'x');
    body.extend_from_slice(b"\"}\n");
    body
}

const HANDSHAKES: &str = "handshake";
/// Length of the origin's answer to anything whose path does not end in a size, in bytes.
pub(crate) const BULK_ANSWER_BYTES: usize = 256;
