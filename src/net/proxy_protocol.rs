//! The PROXY protocol, versions 1 and 2: a balancer says whose connection it passes on, before anything else.
//!
//! Sans-IO. Follows HAProxy's `proxy-protocol.txt`: both versions, the checksum of version 2 where there is one, LOCAL
//! for the balancer's own health checks. Stricter than the text where it leaves a choice: a broken header is never
//! taken for data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client's address.
    Client(SocketAddr),
    /// The balancer speaks for itself, or does not know.
    Unnamed,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They begin like neither version.
    NoHeader,
    /// Version 1: not what its grammar allows.
    Line,
    /// Version 2: another version, an unknown command, or an address family that carries no stream.
    Kind,
    /// Version 2: shorter than its addresses, or its extensions do not fill it.
    Length,
    /// Version 2: longer than [`HEADER_BYTES_MAX`].
    TooLong,
    /// Version 2: the checksum does not match.
    Checksum,
}

impl Fault {
    /// For logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoHeader => "no PROXY protocol header",
            Self::Line => "a broken PROXY protocol line",
            Self::Kind => "an unknown kind of PROXY protocol header",
            Self::Length => "a PROXY protocol header of wrong length",
            Self::TooLong => "a PROXY protocol header beyond the limit",
            Self::Checksum => "a PROXY protocol header with a wrong checksum",
        }
    }
}

/// The longest header taken: the text asks for at least 536 bytes; extensions of balancers fit well into this.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Reads the header at the front of `bytes`: its length and what it says; `None` while more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Origin)>, Fault> {
    if begins_like(bytes, V2_SIGNATURE) {
        return version_2(bytes);
    }
    if begins_like(bytes, V1_SIGNATURE) {
        return version_1(bytes);
    }
    Err(Fault::NoHeader)
}

/// One begins with the other.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

fn version_1(bytes: &[u8]) -> Result<Option<(usize, Origin)>, Fault> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if window.len() < V1_BYTES_MAX { Ok(None) } else { Err(Fault::Line) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| Fault::Line)?;
    let parts: Vec<&str> = line.split(' ').collect();
    let origin = match parts[1..] {
        ["UNKNOWN", ..] => Origin::Unnamed,
        ["TCP4", client, server, client_port, server_port] => {
            let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| Fault::Line);
            address(server)?;
            port(server_port)?;
            Origin::Client((address(client)?, port(client_port)?).into())
        }
        ["TCP6", client, server, client_port, server_port] => {
            let address = |text: &str| text.parse::<Ipv6Addr>().map_err(|_| Fault::Line);
            address(server)?;
            port(server_port)?;
            Origin::Client((address(client)?, port(client_port)?).into())
        }
        _ => return Err(Fault::Line),
    };
    Ok(Some((end + 2, origin)))
}

/// Decimal without a sign or a leading zero.
fn port(text: &str) -> Result<u16, Fault> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| Fault::Line) } else { Err(Fault::Line) }
}

fn version_2(bytes: &[u8]) -> Result<Option<(usize, Origin)>, Fault> {
    let Some(&[version_command, family, high, low]) = bytes.get(12..16) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || version_command & 15 > 1 {
        return Err(Fault::Kind);
    }
    let end = 16 + len;
    if end > HEADER_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    let Some(header) = bytes.get(..end) else { return Ok(None) };
    if version_command & 15 == LOCAL {
        // The balancer's own health check: whatever it says of addresses is to be ignored.
        return Ok(Some((end, Origin::Unnamed)));
    }
    let addresses = &header[16..];
    let (origin, used) = match family {
        // Unspecified: whatever follows is not for us.
        0x00 => (Origin::Unnamed, len),
        0x11 => {
            let all: &[u8; 12] = addresses.first_chunk().ok_or(Fault::Length)?;
            let client = Ipv4Addr::new(all[0], all[1], all[2], all[3]);
            (named(client.into(), [all[8], all[9]]), 12)
        }
        0x21 => {
            let all: &[u8; 36] = addresses.first_chunk().ok_or(Fault::Length)?;
            let client: [u8; 16] = *all.first_chunk().ok_or(Fault::Length)?;
            (named(Ipv6Addr::from(client).into(), [all[32], all[33]]), 36)
        }
        // A local socket: a stream, but no address that means anything elsewhere.
        0x31 if len >= 216 => (Origin::Unnamed, 216),
        0x31 => return Err(Fault::Length),
        _ => return Err(Fault::Kind),
    };
    check_extensions(header, 16 + used)?;
    Ok(Some((end, origin)))
}

fn named(address: IpAddr, port: [u8; 2]) -> Origin {
    Origin::Client(SocketAddr::new(address, u16::from_be_bytes(port)))
}

/// The extensions fill the header, and the checksum among them is right.
fn check_extensions(header: &[u8], from: usize) -> Result<(), Fault> {
    let mut at = from;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else { return Err(Fault::Length) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(at + 3..at + 3 + len).ok_or(Fault::Length)?;
        if kind == CRC32C {
            let sent: [u8; 4] = value.try_into().map_err(|_| Fault::Length)?;
            let before = crc32c::crc32c(&header[..at + 3]);
            let blank = crc32c::crc32c_append(before, &[0; 4]);
            if crc32c::crc32c_append(blank, &header[at + 7..]) != u32::from_be_bytes(sent) {
                return Err(Fault::Checksum);
            }
        }
        at += 3 + len;
    }
    Ok(())
}

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1 with its line end.
const V1_BYTES_MAX: usize = 107;
/// The command of the balancer's own connections.
const LOCAL: u8 = 0;
/// `PP2_TYPE_CRC32C`.
const CRC32C: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Origin {
        Origin::Client(text.parse().expect("an address"))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [V2_SIGNATURE, &[0x20 | command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x04, 0xD2, 0x23, 0xF0];

    #[test]
    fn version_1() {
        let good: &[(&str, Origin)] = &[
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1234 9200\r\n", client("192.0.2.1:1234")),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", client("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", Origin::Unnamed),
            ("PROXY UNKNOWN ff ff 1 1\r\n", Origin::Unnamed),
        ];
        for (line, origin) in good {
            let bytes = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(parse(bytes.as_bytes()), Ok(Some((line.len(), *origin))), "{line}");
            for end in 0..line.len() {
                assert_eq!(parse(&line.as_bytes()[..end]), Ok(None), "{line} {end}");
            }
        }
        for bad in [
            "PROXY TCP4 192.0.2.1 10.0.0.1 1234\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 01234 9200\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 9200\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 9200\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 9200\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Fault::Line), "{bad}");
        }
        assert_eq!(
            parse(format!("PROXY UNKNOWN {}", "x".repeat(120)).as_bytes()),
            Err(Fault::Line)
        );
        for other in ["GET / HTTP/1.1\r\n", "PROXX", "\r\n\r\nGET", "\u{16}\u{3}"] {
            assert_eq!(parse(other.as_bytes()), Err(Fault::NoHeader), "{other:?}");
        }
    }

    #[test]
    fn version_2_with_and_without_extensions() {
        let mut v6 = [0; 36];
        (v6[15], v6[32], v6[33]) = (1, 0x04, 0xD2);
        let noop = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, origin) in [
            (v2(1, 0x11, &V4), client("192.0.2.1:1234")),
            (v2(1, 0x21, &v6), client("[::1]:1234")),
            (v2(1, 0x11, &noop), client("192.0.2.1:1234")),
            (v2(0, 0x11, &V4), Origin::Unnamed),
            (v2(0, 0x00, b"anything"), Origin::Unnamed),
            (v2(1, 0x00, b""), Origin::Unnamed),
            (v2(1, 0x31, &[b'a'; 216]), Origin::Unnamed),
        ] {
            let bytes = [&header[..], b"\x16\x03\x01"].concat();
            assert_eq!(parse(&bytes), Ok(Some((header.len(), origin))), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{header:?} {end}");
            }
        }
        for (header, fault) in [
            (v2(2, 0x11, &V4), Fault::Kind),
            (v2(1, 0x12, &V4), Fault::Kind),
            (v2(1, 0x11, &V4[..11]), Fault::Length),
            (v2(1, 0x21, &V4), Fault::Length),
            (v2(1, 0x11, &[&V4[..], &[4, 0]].concat()), Fault::Length),
            (v2(1, 0x11, &[&V4[..], &[4, 0, 9, 0]].concat()), Fault::Length),
            (v2(1, 0x11, &[&V4[..], &[3, 0, 2, 0, 0]].concat()), Fault::Length),
            (v2(1, 0x00, &[0; 5000]), Fault::TooLong),
        ] {
            assert_eq!(parse(&header), Err(fault), "{header:?}");
        }
        let mut old = v2(1, 0x11, &V4);
        old[12] = 0x31;
        assert_eq!(parse(&old), Err(Fault::Kind));
    }

    #[test]
    fn a_checksum_is_checked() {
        let mut header = v2(1, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 9]].concat());
        let checksum = crc32c::crc32c(&header).to_be_bytes();
        header[31..35].copy_from_slice(&checksum);
        assert_eq!(parse(&header), Ok(Some((header.len(), client("192.0.2.1:1234")))));
        for at in [17, 31, header.len() - 1] {
            let mut broken = header.clone();
            broken[at] ^= 1;
            assert_eq!(parse(&broken), Err(Fault::Checksum), "{at}");
        }
    }
}
