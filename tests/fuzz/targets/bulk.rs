//! Bulk bodies: items cover the body in order, and amending one changes that one alone.

use tapline::es::bulk::{lines, write_amended};

/// Any bytes as the body of a `_bulk`.
pub(crate) fn bulk_lines(data: &[u8]) {
    let mut end = 0;
    let mut amended = Vec::new();
    let mut items = Vec::new();
    for (number, item) in lines(data, Some("fallback")).enumerate() {
        let Ok(item) = item else { break };
        assert_eq!(item.number, number);
        assert!(item.whole.start >= end && item.whole.end <= data.len(), "{item:?} behind {end}");
        assert!(item.whole.start <= item.line.start && item.line.end <= item.whole.end);
        assert!((item.line.start..=item.line.end).contains(&item.metadata), "{item:?}");
        if let Some(source) = &item.source {
            assert!(source.start >= item.line.end && source.end <= item.whole.end, "{item:?}");
        }
        end = item.whole.end;
        // Behind a last line without a line end nothing can be appended.
        if item.whole.end == data.len() && data.last() != Some(&b'\n') {
            break;
        }
        let id = item.wants_id().then_some("pinned \"id\"");
        write_amended(data, &item, id, true, &mut amended);
        items.push((item, id));
    }
    let again: Vec<_> = lines(&amended, Some("fallback")).collect();
    assert_eq!(again.len(), items.len(), "of {:?}", amended.escape_ascii().to_string());
    for ((item, id), again) in items.iter().zip(again) {
        let again = again.expect("an amended item is an item");
        assert_eq!((again.action, &again.index), (item.action, &item.index));
        assert!(!again.sequence_condition, "conditions on sequence numbers are gone");
        assert_eq!(again.id.as_deref(), id.or(item.id.as_deref()));
        let source = |body: &[u8], range: &Option<std::ops::Range<usize>>| {
            range.clone().map(|range| body[range].to_vec())
        };
        assert_eq!(source(&amended, &again.source), source(data, &item.source));
    }
}
