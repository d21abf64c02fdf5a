//! TLS in front of a scripted target: opens what comes, seals what goes back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tempfile::TempDir;

/// A listening front. Dropping it stops listening; running connections end with their client.
#[derive(Debug)]
pub(crate) struct Secure {
    address: SocketAddr,
    dir: TempDir,
    closing: Arc<AtomicBool>,
}

impl Secure {
    /// In front of a port on 127.0.0.1, with a certificate of its own for that address.
    pub(crate) fn before(port: u16) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CA), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let closing = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closing);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let config = Arc::clone(&config);
                // An end of either side is the end of both, for whatever reason.
                thread::spawn(move || drop(relay(client, port, config)));
            }
        });
        Self { address, dir, closing }
    }

    /// `https://` and the address.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file by which it is known.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join(CA)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(mut client: TcpStream, port: u16, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut target = TcpStream::connect(("127.0.0.1", port))?;
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
        let mut fds = [&client, &target].map(|stream| PollFd::new(stream, PollFlags::IN));
        poll(&mut fds, None)?;
        let ready = fds.map(|fd| !fd.revents().is_empty());
        if ready[0] {
            if tls.read_tls(&mut client)? == 0 {
                return Ok(());
            }
            let state = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut client)?;
            }
            let state = state.map_err(io::Error::other)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plain)?;
            target.write_all(&plain)?;
        }
        if ready[1] {
            let count = target.read(&mut buffer)?;
            if count == 0 {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut client)?;
                }
                return Ok(());
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let taken = tls.writer().write(rest)?;
                rest = &rest[taken..];
                while tls.wants_write() {
                    tls.write_tls(&mut client)?;
                }
            }
        }
    }
}

const CA: &str = "ca.pem";

#[test]
fn each_front_has_a_certificate_of_its_own() {
    let fronts = [1, 2].map(Secure::before);
    let read = |path: &Path| fs::read(path).unwrap();
    assert_ne!(read(&fronts[0].ca()), read(&fronts[1].ca()));
    assert!(fronts[0].url().starts_with("https://127.0.0.1:"));
}
