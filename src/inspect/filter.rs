//! Which records are wanted.

use std::str::FromStr;

use super::{source::Place, text::Moment};
use crate::proto::TrafficStream;

/// One end of a stretch of records, which belongs to the stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// An offset in each partition of a topic, or a frame's sequence in each incarnation of a log.
    Number(u64),
    /// The time of a record's first observation: seconds since 1970, and nanoseconds.
    Time(i64, i32),
}

impl FromStr for Edge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            format!("'{text}' is neither an offset nor a time; write 4711 or 2026-11-21T03:20:00Z")
        })?;
        // Below a second the library counts away from 1970, protobuf always forward.
        let nanos = time.as_nanosecond();
        let second = 1_000_000_000;
        Ok(Self::Time(nanos.div_euclid(second) as i64, nanos.rem_euclid(second) as i32))
    }
}

/// What a record must be to be shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not before this.
    pub from: Option<Edge>,
    /// Not after this.
    pub to: Option<Edge>,
    /// Of this connection.
    pub connection: Option<String>,
}

impl Filter {
    /// The first offset or sequence, when one was given.
    pub(super) fn first_number(&self) -> Option<u64> {
        number(self.from)
    }

    /// The last offset or sequence, when one was given.
    pub(super) fn last_number(&self) -> Option<u64> {
        number(self.to)
    }

    /// By its place alone, can the record be wanted?
    pub(super) fn admits(&self, place: Place) -> bool {
        let number = place.number();
        self.first_number().is_none_or(|first| number >= first)
            && self.last_number().is_none_or(|last| number <= last)
    }

    /// By what it holds, is the record wanted? One without observations has no time.
    pub(super) fn wants(&self, stream: &TrafficStream) -> bool {
        let time = stream.sub_stream.iter().find_map(|seen| seen.ts).map(Moment::from);
        let in_time = |edge: Option<Edge>, fits: fn(Moment, Moment) -> bool| match edge {
            Some(Edge::Time(seconds, nanos)) => {
                time.is_some_and(|time| fits(time, Moment { seconds, nanos }))
            }
            _ => true,
        };
        in_time(self.from, |time, from| time >= from)
            && in_time(self.to, |time, to| time <= to)
            && self.connection.as_ref().is_none_or(|id| *id == stream.connection_id)
    }
}

fn number(edge: Option<Edge>) -> Option<u64> {
    match edge {
        Some(Edge::Number(number)) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_numbers_or_times_with_an_offset() {
        assert_eq!("4711".parse(), Ok(Edge::Number(4711)));
        assert_eq!("1970-01-01T01:00:01.5+01:00".parse(), Ok(Edge::Time(1, 500_000_000)));
        assert_eq!("1969-12-31T23:59:59.75Z".parse(), Ok(Edge::Time(-1, 750_000_000)));
        for text in ["yesterday", "-1", "2026-11-21", "2026-11-21T03:20:00"] {
            assert!(text.parse::<Edge>().is_err_and(|error| error.contains(text)), "{text}");
        }
    }
}
