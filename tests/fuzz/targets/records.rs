//! Records: the view that replay reads says the same as the protobuf library, about any bytes.

use prost::Message;
use tapline::proto::{Capture, RecordView, TrafficStream, ViewError, What};

/// Any bytes as a `TrafficStream`.
pub(crate) fn record_decoding(data: &[u8]) {
    let view = RecordView::parse(data);
    let stock = TrafficStream::decode(data);
    let (view, stock) = match (view, stock) {
        (Ok(view), Ok(stock)) => (view, stock),
        (Err(ViewError::Nameless), Ok(stock)) => {
            assert!(stock.connection_id.is_empty());
            return;
        }
        (Err(_), Err(_)) => return,
        (view, stock) => panic!("the view says {view:?}, the library {stock:?}"),
    };
    assert_eq!((view.connection_id, view.node_id), (&*stock.connection_id, &*stock.node_id));
    assert_eq!((view.number, view.last), stock.number());
    assert_eq!(view.provenance, stock.provenance);
    let mut walked = 0;
    for (seen, observation) in view.observations().zip(&stock.sub_stream) {
        let same = match (&observation.capture, seen.what) {
            (Some(Capture::Read(data)), What::Read(bytes))
            | (Some(Capture::Write(data)), What::Write(bytes)) => data.data == bytes,
            (Some(Capture::ReadSegment(data)), What::ReadSegment(bytes))
            | (Some(Capture::WriteSegment(data)), What::WriteSegment(bytes)) => data.data == bytes,
            (
                Some(
                    Capture::Read(_)
                    | Capture::Write(_)
                    | Capture::ReadSegment(_)
                    | Capture::WriteSegment(_),
                ),
                _,
            ) => false,
            (Some(Capture::EndOfMessage(_)), what) => what == What::EndOfMessage,
            (Some(Capture::Close(_)), what) => what == What::Close,
            (_, what) => !matches!(what, What::Read(_) | What::Write(_)),
        };
        assert!(same, "{observation:?} was read as {seen:?}");
        walked += 1;
    }
    assert_eq!(walked, stock.sub_stream.len());
    assert_eq!(view.observations().count(), walked);
}
