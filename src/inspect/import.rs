//! Records out of a file of lines, into a capture log or a topic.
//!
//! The records stay as they are, byte for byte and in their order. A line that is no record is told
//! and passed; the rest is imported, and the whole is a failure at the end.

use std::{path::Path, time::SystemTime};

use prost::Message;
use uuid::Uuid;

use super::{produce::Topic, source::Origin};
use crate::{
    capture::NODE_BYTES_MAX,
    feed::{Line, Lines, log_failure},
    log::{Settings, Writer},
    observe::{ExitCode, Failure},
    proto::TrafficStream,
};

/// Adds the records of `input` (`-`: the standard input) to a capture log, as a new incarnation of
/// it, or to a topic.
pub fn import(input: &Path, to: &Origin) -> Result<(), Failure> {
    let mut lines = Lines::open(input)?;
    let (records, bad) = match to {
        Origin::Log(dir) => into_log(&mut lines, dir)?,
        Origin::Kafka(config) => {
            let mut topic = Topic::open(config)?;
            let seen = each(&mut lines, |key, payload| topic.send(key, payload));
            // What was sent before a failure should arrive as well.
            topic.finish().and(seen)?
        }
    };
    tracing::info!(event = "import.done", records, to = %to);
    if bad == 0 {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::Failed,
        format!(
            "{records} records were imported, but {bad} lines of {} are no records. The log lines above name them",
            lines.name()
        ),
    ))
}

/// Gives every record with its key to `add`: how many there were, and how many lines are none.
fn each(
    lines: &mut Lines,
    mut add: impl FnMut(Option<&[u8]>, &[u8]) -> Result<(), Failure>,
) -> Result<(u64, u64), Failure> {
    let (mut records, mut bad) = (0, 0);
    let name = lines.name().clone();
    while let Some(line) = lines.next()? {
        if let Some(poison) = &line.poison {
            bad += 1;
            tracing::warn!(
                event = "import.left_out",
                line = line.number,
                input = &*name,
                "{poison}"
            );
            continue;
        }
        let Line { key, payload, .. } = line;
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            add(Some(key), payload)?;
        } else {
            let stream = TrafficStream::decode(payload).unwrap_or_default();
            let id = Some(stream.connection_id).filter(|id| !id.is_empty());
            add(id.as_deref().map(str::as_bytes), payload)?;
        }
        records += 1;
    }
    Ok((records, bad))
}

fn into_log(lines: &mut Lines, dir: &Path) -> Result<(u64, u64), Failure> {
    let mut writer: Option<Writer> = None;
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let seen = each(lines, |_, payload| {
        if writer.is_none() {
            let (settings, id) = (Settings::new(dir), Uuid::new_v4().as_u64_pair().0);
            let made = Writer::create(settings, &node_of(payload), id, SystemTime::now());
            writer = Some(made.map_err(log_failure)?);
        }
        batch.push(payload.to_vec());
        bytes += payload.len();
        if bytes >= BATCH_BYTES || batch.len() >= BATCH_RECORDS {
            bytes = 0;
            append(writer.as_mut(), &mut batch)?;
        }
        Ok(())
    });
    // What came before a failure of the input is kept, in a log that is closed and whole.
    append(writer.as_mut(), &mut batch)?;
    if let Some(writer) = writer {
        writer.close().map_err(log_failure)?;
    }
    seen
}

fn append(writer: Option<&mut Writer>, batch: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
    let payloads: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    if let Some(writer) = writer
        && !payloads.is_empty()
    {
        writer.append(&payloads).map_err(log_failure)?;
        batch.clear();
    }
    Ok(())
}

/// The node that captured the record, or who brings it here.
fn node_of(payload: &[u8]) -> String {
    let node = TrafficStream::decode(payload).map(|stream| stream.node_id).unwrap_or_default();
    if node.is_empty() || node.len() > NODE_BYTES_MAX { "import".into() } else { node }
}

const BATCH_BYTES: usize = 4 << 20;
const BATCH_RECORDS: usize = 1024;
