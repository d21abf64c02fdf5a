//! One line per record, as the reference's `dump-raw` prints it.
//!
//! `[first-last] since-start duration p:P o:OFFSET ncs:NODE.CONNECTION.NUMBER: R[16]: GET /… EOM`,
//! times in seconds. A capture log has `s:SEQUENCE` in the place of partition and offset; notes of
//! tapline's own stand last.

use std::io::{self, Write};

use super::{
    source::Place,
    text::{Extent, data, printable},
};
use crate::{
    capture::LeftOut,
    proto::{Capture, Provenance, TrafficStream},
};

/// Prints records; the first one's time is where the relative times begin.
#[derive(Debug)]
pub(super) struct RawLines {
    preview_bytes: usize,
    base: Option<i64>,
}

impl RawLines {
    /// Shows so many bytes of each run of reads or writes.
    pub(super) fn new(preview_bytes: usize) -> Self {
        Self { preview_bytes, base: None }
    }

    /// One line.
    pub(super) fn print(
        &mut self,
        out: &mut dyn Write,
        place: Place,
        stream: &TrafficStream,
    ) -> io::Result<()> {
        let mut time = Extent::default();
        time.widen(&stream.sub_stream);
        match time.ends {
            Some((first, last)) => {
                let (first, last) = (first.seconds, last.seconds);
                let base = *self.base.get_or_insert(first);
                let (since, lasted) = (first.saturating_sub(base), last.saturating_sub(first));
                write!(out, "[{first}-{last}] {since:6}.0s {lasted:3}.0s ")?;
            }
            None => write!(out, "[?-?] ")?,
        }
        match place {
            Place::Kafka { partition, offset } => write!(out, "p:{partition} o:{offset:6} ")?,
            Place::Log { sequence, .. } => write!(out, "s:{sequence:6} ")?,
        }
        let node = printable(stream.node_id.as_bytes());
        let connection = printable(stream.connection_id.as_bytes());
        write!(out, "ncs:{node}.{connection}.{}:", stream.number().0)?;
        self.tokens(out, stream)?;
        if let Some(origin) = &stream.provenance {
            notes(out, origin)?;
        }
        writeln!(out)
    }

    fn tokens(&self, out: &mut dyn Write, stream: &TrafficStream) -> io::Result<()> {
        let mut run: Option<Run> = None;
        for capture in stream.sub_stream.iter().map(|seen| seen.capture.as_ref()) {
            if let Some((reading, bytes)) = capture.and_then(data) {
                if let Some(other) = run.take_if(|run| run.reading != reading) {
                    other.print(out, self.preview_bytes)?;
                }
                let run = run.get_or_insert(Run { reading, bytes: 0, start: Vec::new() });
                run.bytes += bytes.len();
                let wanted = (self.preview_bytes - run.start.len()).min(bytes.len());
                run.start.extend_from_slice(&bytes[..wanted]);
                continue;
            }
            if run.is_some() && matches!(capture, Some(Capture::SegmentEnd(_))) {
                continue;
            }
            if let Some(run) = run.take() {
                run.print(out, self.preview_bytes)?;
            }
            write!(out, " {}", token(capture))?;
        }
        run.map_or(Ok(()), |run| run.print(out, self.preview_bytes))
    }
}

/// Reads or writes that follow each other.
struct Run {
    reading: bool,
    bytes: usize,
    start: Vec<u8>,
}

impl Run {
    fn print(&self, out: &mut dyn Write, preview_bytes: usize) -> io::Result<()> {
        write!(out, " {}[{}]", if self.reading { 'R' } else { 'W' }, self.bytes)?;
        if preview_bytes == 0 || self.bytes == 0 {
            return Ok(());
        }
        let cut = if self.bytes > self.start.len() { "..." } else { "" };
        write!(out, ": {}{cut}", printable(&self.start))
    }
}

fn token(capture: Option<&Capture>) -> &'static str {
    match capture {
        Some(Capture::Bind(_) | Capture::Connect(_)) => "OPEN",
        Some(Capture::Disconnect(_)) => "DISCONNECT",
        Some(Capture::Close(_)) => "CLOSE",
        Some(Capture::ConnectionException(_)) => "EXCEPTION",
        Some(Capture::SegmentEnd(_)) => "SEGMENT_END",
        Some(Capture::EndOfMessage(_)) => "EOM",
        Some(Capture::RequestDropped(_)) => "DROPPED",
        Some(Capture::RequestReleasedDownstream(_)) => "REQUEST_RELEASED",
        _ => "UNKNOWN",
    }
}

/// What tapline says beside the observations.
fn notes(out: &mut dyn Write, origin: &Provenance) -> io::Result<()> {
    if let Some(undelivered) = &origin.undelivered {
        write!(out, " UNDELIVERED[{}]", undelivered.requests)?;
    }
    if let Some(refused) = &origin.refused {
        write!(out, " REFUSED[{}]: {}", refused.bytes, printable(refused.reason.as_bytes()))?;
    }
    if let Some(gap) = &origin.gap {
        write!(out, " GAP[{}]", gap.bytes)?;
    }
    if let Some(client) = &origin.client {
        write!(out, " CLIENT[{}]", printable(client.as_bytes()))?;
    }
    for left_out in &origin.left_out {
        write!(out, " LEFT_OUT[{}]: {}", left_out.bytes, LeftOut::describe(left_out.cause))?;
    }
    Ok(())
}
