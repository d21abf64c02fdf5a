//! A raw TCP client: it sends what a test says, in the pieces a test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use super::message::{Message, Reader};
use super::origin;

/// One connection to a port on 127.0.0.1. Reads give up after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    reader: Reader<TcpStream>,
}

impl Client {
    /// Connects, without delaying small segments.
    pub(crate) fn connect(port: u16) -> Self {
        try_connect(port).expect("the port is listened on")
    }

    /// Sends bytes; panics when the connection does not take them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection takes bytes");
    }

    /// Sends bytes to a peer that may have closed already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes in pieces of `size` with a pause behind each.
    pub(crate) fn send_in_pieces(&mut self, bytes: &[u8], size: usize, pause: Duration) {
        for piece in bytes.chunks(size) {
            self.send(piece);
            thread::sleep(pause);
        }
    }

    /// The final response to a request with the given method.
    pub(crate) fn response(&mut self, method: &str) -> Message {
        self.try_response(method).expect("the response is complete")
    }

    /// As [`Self::response`], where the connection may end or stay silent instead.
    pub(crate) fn try_response(&mut self, method: &str) -> io::Result<Message> {
        self.reader.response(method)
    }

    /// The head of the next response, also of an interim one.
    pub(crate) fn head(&mut self) -> Message {
        self.reader.head().expect("the connection gives a head").expect("the stream goes on")
    }

    /// Sends a request and gives its final response.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Message {
        self.send(request);
        let method = request.split(|&byte| byte == b' ').next().unwrap_or_default();
        self.response(&String::from_utf8_lossy(method))
    }

    /// Sends everything and finishes while reading, so that neither side waits for the other; all
    /// that was received.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut writing = self.stream.try_clone().expect("a socket can be duplicated");
        thread::scope(|scope| {
            scope.spawn(move || {
                writing.write_all(bytes).expect("the connection takes bytes");
                writing.shutdown(Shutdown::Write).expect("the connection is open");
            });
            self.until_end().expect("the stream ends well")
        })
    }

    /// Everything up to the end of the stream, or the error that ended it.
    pub(crate) fn until_end(&mut self) -> io::Result<Vec<u8>> {
        self.reader.rest()
    }

    /// Everything up to the end of the stream, be it FIN or reset; panics when it does not end.
    pub(crate) fn remainder(&mut self) -> Vec<u8> {
        match self.until_end() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.reader.leftover(),
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }

    /// Whether nothing arrives for a while.
    pub(crate) fn is_silent(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).expect("a connected socket takes options");
        let outcome = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a connected socket takes options");
        outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends FIN and keeps on reading.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        origin::reset(&self.stream).expect("the connection is open");
    }

    /// Reads some bytes as they come.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

/// As [`Client::connect`], where nobody may listen.
pub(crate) fn try_connect(port: u16) -> io::Result<Client> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let reader = Reader::new(stream.try_clone()?);
    Ok(Client { stream, reader })
}

/// A request with a `Content-Length`.
pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: source\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A request without a body.
pub(crate) fn bare(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: source\r\n\r\n").into_bytes()
}

/// A request with a chunked body.
pub(crate) fn chunked(method: &str, target: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut wire =
        format!("{method} {target} HTTP/1.1\r\nHost: source\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for chunk in chunks {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(20);
