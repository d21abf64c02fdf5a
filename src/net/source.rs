//! The source cluster's URL.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

/// `http(s)://host[:port]`, nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrl {
    /// True for https.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 or 443 when none is written.
    pub port: u16,
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrlError(String);

impl fmt::Display for SourceUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SourceUrlError {}

impl FromStr for SourceUrl {
    type Err = SourceUrlError;

    fn from_str(text: &str) -> Result<Self, SourceUrlError> {
        let fail = |why: &str| Err(SourceUrlError(format!("{why}; write it as http://host:9200")));
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return fail("the URL must begin with http:// or https://"),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return fail("a path does not belong here: requests keep their own");
        }
        if authority.contains('@') {
            return fail("credentials do not belong here: clients send their own");
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let Ok(port) = port.map_or(Ok(default), str::parse) else {
            return fail("the port is not a number from 1 to 65535");
        };
        if host.is_empty() || port == 0 {
            return fail("host or port is missing");
        }
        Ok(Self { tls, host: host.into(), port })
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl SourceUrl {
    /// The addresses of the host, as the resolver gives them; never empty.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_parse_with_their_default_ports() {
        for (text, shown) in [
            ("http://es:9200", "http://es:9200"),
            ("http://es", "http://es:80"),
            ("https://es/", "https://es:443"),
            ("http://[::1]:9200", "http://[::1]:9200"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<SourceUrl>().map(|url| url.to_string()), Ok(shown.into()));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("es:9200", "begin with"),
            ("http://es/path", "path"),
            ("http://user:pass@es", "credentials"),
            ("http://es:0", "missing"),
            ("http://es:port", "port"),
            ("http://", "missing"),
        ] {
            let error = text.parse::<SourceUrl>().expect_err(text);
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
