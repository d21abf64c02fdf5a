//! Connections that have each done one request and then stay open.
//!
//! It owns the client's side of the memory measurement. It never measures: the bench reads the
//! proxy's memory while the connections are held.

use crate::Outcome;
use crate::plan::RoleArguments;
use crate::secure::Stream;
use crate::wire;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Opens the connections and says `ready`; for every line on standard input repeats the request
/// on some of them, which must still work, and says `alive`; ends with standard input.
pub(crate) fn hold(arguments: &RoleArguments) -> Outcome<()> {
    let request = arguments.workload.request();
    let answer_bytes = arguments.workload.answer_bytes();
    let mut streams = Vec::with_capacity(arguments.connections as usize);
    for number in 0..arguments.connections {
        let mut stream = connect(number, arguments.target)
            .and_then(|socket| Stream::new(socket, arguments.tls))
            .map_err(|e| format!("opening connection {number}: {e}"))?;
        exchange(&mut stream, &request, answer_bytes)
            .map_err(|e| format!("the first request of connection {number}: {e}"))?;
        streams.push(stream);
    }
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        for (number, stream) in streams.iter_mut().enumerate().step_by(REPEAT_EVERY) {
            exchange(stream, &request, answer_bytes)
                .map_err(|e| format!("the second request of connection {number}: {e}"))?;
        }
        println!("alive");
    }
    Ok(())
}

/// One request and its answer, checked, on a blocking connection.
pub(crate) fn exchange(stream: &mut Stream, request: &[u8], answer_bytes: usize) -> Outcome<()> {
    stream.socket().set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n").map(|at| at + 4) {
            let right = wire::status(&answer[..end]) == Some(200)
                && wire::content_length(&answer[..end]) == Some(answer_bytes);
            if !right {
                let head = String::from_utf8_lossy(&answer[..end]);
                return Err(format!("a wrong answer: {}", head.trim_end()).into());
            }
            if answer.len() >= end + answer_bytes {
                return Ok(());
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err("closed before the answer was whole".into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Spreads the connections over several loopback addresses, so that no address runs out of ports.
fn connect(number: u32, target: SocketAddr) -> Outcome<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let last = 2 + (number / CONNECTIONS_PER_ADDRESS) as u8;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.connect_timeout(&target.into(), ANSWER_TIME_MAX)?;
    Ok(socket.into())
}

const CONNECTIONS_PER_ADDRESS: u32 = 5_000;
const REPEAT_EVERY: usize = 100;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
