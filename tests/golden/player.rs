//! Plays a scenario against the program: scripted clients before it, a scripted source behind it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use prost::Message;
use tapline::log::{Position, Reader};
use tapline::proto::TrafficStream;

use crate::rig::client::Client;
use crate::rig::origin::{Origin, Visit};
use crate::rig::port;
use crate::rig::tapline::Capture;

use super::vectors::{Event, Scenario};

/// What came of it.
pub(crate) struct Played {
    /// What each client received.
    pub(crate) received: Vec<Vec<u8>>,
    /// What the source received on each of its connections, in the order in which they came.
    pub(crate) reached: Vec<Vec<u8>>,
    pub(crate) records: Vec<TrafficStream>,
}

/// Plays it and stops the program. `cut_off`: the program is expected not to let everything reach
/// the source, so the source's connections are not waited for.
pub(crate) fn play(scenario: &Scenario, cut_off: bool) -> Played {
    let scripts = scenario.sources.clone();
    let origin = Origin::start(move |visit| {
        let number = visit.number();
        scripts.get(number).map_or(Ok(()), |script| source(script, visit))
    });
    let listens = !scenario.sources.is_empty();
    let source_port = if listens { origin.port() } else { port::free() };
    let mut tapline = Capture::of(source_port).flag("--workers", "1").start();
    let received = clients(&scenario.clients, tapline.port());
    if !cut_off {
        let used = scenario.reached.iter().filter(|bytes| !bytes.is_empty()).count();
        for number in 0..used {
            let conversation = origin.conversation(number);
            let ending = conversation.received.ending_within(PATIENCE);
            assert!(ending.is_some(), "connection {number} of the source does not end");
        }
    }
    tapline.stop();
    let reached = origin.conversations().iter().map(|c| c.received.bytes()).collect();
    Played { received, reached, records: records(&tapline.log()) }
}

/// One step of each connection after the other, changing over whenever one waited for an answer:
/// connections come to the source in the order in which the scenario names them.
fn clients(scripts: &[Vec<Event>], port: u16) -> Vec<Vec<u8>> {
    let mut players: Vec<Player> = scripts
        .iter()
        .map(|script| Player {
            client: Some(Client::connect(port)),
            rest: script.iter().cloned().collect(),
            received: Vec::new(),
        })
        .collect();
    while players.iter().any(|player| !player.rest.is_empty()) {
        for player in &mut players {
            player.turn();
        }
    }
    players.into_iter().map(|player| player.received).collect()
}

struct Player {
    client: Option<Client>,
    rest: VecDeque<Event>,
    received: Vec<u8>,
}

impl Player {
    /// Up to the next answer and including it.
    fn turn(&mut self) {
        while let Some(event) = self.rest.pop_front() {
            let Some(client) = &mut self.client else {
                // After its end a client only waits.
                if let Event::Pause(pause) = event {
                    thread::sleep(pause);
                }
                continue;
            };
            match event {
                // Whoever refused the last request may be gone.
                Event::Send(bytes) => drop(client.try_send(&bytes)),
                Event::Trickle(bytes, pause) => client.send_in_pieces(&bytes, 1, pause),
                Event::Pause(pause) => thread::sleep(pause),
                Event::Finish => client.finish(),
                Event::Close => self.client = None,
                Event::Reset => {
                    if let Some(client) = self.client.take() {
                        client.reset();
                    }
                }
                Event::Receive { bytes, end } => {
                    self.receive(if end { usize::MAX } else { bytes });
                    return;
                }
            }
        }
    }

    /// Waits for so many bytes more, or the end.
    fn receive(&mut self, bytes: usize) {
        let Some(client) = &mut self.client else { return };
        let wanted = self.received.len().saturating_add(bytes);
        let mut buffer = vec![0; 64 << 10];
        while self.received.len() < wanted {
            match client.read_some(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{} of {wanted} bytes, then {error}", self.received.len()),
            }
        }
    }
}

fn source(script: &[Event], visit: &mut Visit) -> io::Result<()> {
    let (mut slow, mut late) = (false, false);
    for event in script {
        match event {
            Event::Receive { end: true, .. } => drop(visit.until_end()?),
            Event::Receive { bytes, .. } => slow = visit.take(*bytes)?.starts_with(b"GET /slow"),
            Event::Send(bytes) => {
                // The recording does not say so, but its source took its time over this target.
                if std::mem::take(&mut slow) {
                    thread::sleep(THINKING);
                    late = true;
                }
                visit.send(bytes)?;
            }
            Event::Trickle(bytes, pause) => {
                for byte in bytes {
                    visit.send(&[*byte])?;
                    thread::sleep(*pause);
                }
            }
            Event::Pause(pause) => thread::sleep(*pause),
            Event::Reset => return visit.reset(),
            // Also for a close: what follows from the client must not turn it into a reset.
            Event::Finish | Event::Close => visit.finish()?,
        }
    }
    visit.until_end()?;
    if late {
        // What the client's side makes of a late answer is not to race with our own end.
        thread::sleep(THINKING);
    }
    Ok(())
}

fn records(log: &Path) -> Vec<TrafficStream> {
    let mut reader = Reader::open(log, &Position::start()).expect("the capture log is readable");
    let mut records = Vec::new();
    while let Some(frame) = reader.next().expect("the capture log is undamaged") {
        let record = TrafficStream::decode(frame.payload).expect("a record is a TrafficStream");
        // The reference has no heartbeats.
        if record.provenance.as_ref().is_none_or(|origin| origin.heartbeat.is_none()) {
            records.push(record);
        }
    }
    records
}

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the pauses that clients make meanwhile.
const THINKING: Duration = Duration::from_millis(500);
