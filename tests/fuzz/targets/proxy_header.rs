//! The PROXY protocol's header: however little of it has come, nothing is said that more bytes would take back.

use tapline::net::proxy_protocol::{Fault, HEADER_BYTES_MAX, parse};

/// The front of a connection.
pub(crate) fn proxy_header(data: &[u8]) {
    let whole = parse(data);
    for len in (0..=data.len().min(600)).chain([data.len()]) {
        match parse(&data[..len]) {
            Ok(None) => assert!(len < HEADER_BYTES_MAX, "no more than that is waited for"),
            Ok(Some((used, origin))) => {
                assert!(0 < used && used <= len && used <= HEADER_BYTES_MAX);
                assert_eq!(whole, Ok(Some((used, origin))), "of {len} bytes");
            }
            // One byte can tell that there is none, and a later one that it is broken; it stays so.
            Err(fault) => assert_eq!(whole, Err(fault), "of {len} bytes"),
        }
    }
    if whole == Err(Fault::NoHeader) {
        let starts = [&b"PROXY "[..], b"\r\n\r\n\0\r\nQUIT\n"];
        assert!(!starts.iter().any(|start| data.starts_with(start)));
    }
}
