//! TLS as clients and operators meet it: with curl and openssl, Python and a scanner, good and bad certificates, on
//! either side and on both.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::rig::client::{Client, bare, request};
use crate::rig::haproxy::Haproxy;
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::secure::Secure;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::{digest, python, services, wait};

#[test]
fn curl_is_served_under_the_certificate_that_tapline_keeps() {
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let state = tempfile::tempdir().unwrap();
    let certificate = state.path().join("self-signed.crt");
    let mut shown = Vec::new();
    for _ in 0..2 {
        let mut tapline = Capture::secure(origin.port()).state(state.path()).start();
        let base = format!("https://127.0.0.1:{}", tapline.port());
        assert_eq!(curl(&["-k", &format!("{base}/a")]).unwrap(), "/a");
        let known = ["--cacert", certificate.to_str().unwrap()];
        assert_eq!(curl(&[&known[..], &[&format!("{base}/b")]].concat()).unwrap(), "/b");
        let named = format!("https://localhost:{}/c", tapline.port());
        assert_eq!(curl(&[&known[..], &[&named]].concat()).unwrap(), "/c");
        let stranger = curl(&[&format!("{base}/d")]).unwrap_err();
        assert!(stranger.contains("certificate"), "{stranger}");
        tapline.stop();
        shown.push(fs::read(&certificate).unwrap());
        let file = certificate.to_str().unwrap();
        let print = openssl(&["x509", "-in", file, "-noout", "-fingerprint", "-sha256"], "");
        let print = print.trim().rsplit('=').next().unwrap().to_owned();
        assert!(tapline.output().contains(&print), "{print} is not in:\n{}", tapline.output());
        let names = openssl(&["x509", "-in", file, "-noout", "-ext", "subjectAltName"], "");
        for name in ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"] {
            assert!(names.contains(name), "{name} is not in {names}");
        }
    }
    assert_eq!(shown[0], shown[1], "it stays the same");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(state.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("self-signed.key"), 0o600);
}

#[test]
fn only_tls_1_2_and_1_3_are_spoken_and_sessions_are_taken_up_again() {
    // Closes behind its answer, which ends what openssl waits for.
    let origin = Origin::start(|visit| {
        visit.request()?;
        visit.send(&ok(b"hello"))
    });
    let tapline = Capture::secure(origin.port()).start();
    let address = format!("127.0.0.1:{}", tapline.port());
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("session").to_str().unwrap().to_owned();
    let ask = "GET / HTTP/1.0\r\n\r\n";
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let base = ["s_client", "-connect", &address, flag, "-ign_eof"];
        let offers = ["-alpn", "h2,http/1.1", "-sess_out", &kept];
        let first = openssl(&[&base[..], &offers[..]].concat(), ask);
        assert!(first.contains(&format!("New, {version}")), "{first}");
        assert!(first.contains("ALPN protocol: http/1.1"), "{first}");
        assert!(first.contains("hello"), "{first}");
        let early = first.matches("Max Early Data: ").count();
        assert_eq!(first.matches("Max Early Data: 0").count(), early, "{first}");
        let again = openssl(&[&base[..], &["-sess_in", &kept]].concat(), ask);
        assert!(again.contains(&format!("Reused, {version}")), "{again}");
        assert!(again.contains("hello"), "{again}");
    }
    let old = ["s_client", "-connect", &address, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let refused = openssl(&old, "");
    assert!(refused.contains("SSL alert number"), "{refused}");
    assert!(refused.contains("Cipher is (NONE)"), "{refused}");
    let only_h2 = openssl(&["s_client", "-connect", &address, "-alpn", "h2"], "");
    assert!(only_h2.contains("no application protocol"), "{only_h2}");
}

#[test]
fn certificates_of_clients_are_optional_or_required() {
    let origin = Origin::answering(|_| ok(b"in"));
    let (ours, theirs) = (Pair::new("a client"), Pair::new("a stranger"));
    let dress = |pair: &Pair| {
        [
            "--cert".into(),
            pair.certificate.display().to_string(),
            "--key".into(),
            pair.key.display().to_string(),
        ]
    };
    for required in [false, true] {
        let mut capture = Capture::secure(origin.port())
            .flag("--tls-client-ca", ours.certificate.to_str().unwrap());
        if required {
            capture = capture.switch("--tls-require-client-cert");
        }
        let tapline = capture.start();
        let url = format!("https://127.0.0.1:{}/", tapline.port());
        let with = |pair: &Pair| {
            let [a, b, c, d] = dress(pair);
            curl(&["-k", &a, &b, &c, &d, &url])
        };
        assert_eq!(with(&ours).as_deref(), Ok("in"));
        assert!(with(&theirs).is_err(), "a stranger's certificate");
        assert_eq!(curl(&["-k", &url]).is_ok(), !required, "no certificate");
    }
}

#[test]
fn an_https_source_is_verified_unless_told_otherwise() {
    let origin = Origin::answering(|request| ok(&request.body));
    let front = Secure::before(origin.port());
    let ca = front.ca();
    let ask = |capture: Capture| {
        let mut tapline = capture.start();
        let mut client = Client::connect(tapline.port());
        let response = client.ask(&request("POST", "/i/_doc", b"{\"a\":1}"));
        drop(client);
        tapline.stop();
        (response.status(), response.text(), tapline.output())
    };
    let known = |url: &str| Capture::to(url).flag("--source-ca", ca.to_str().unwrap());
    let (status, text, _) = ask(known(&front.url()));
    assert_eq!((status, text.as_str()), (200, "{\"a\":1}"));
    // Found under a name that its certificate does not have.
    let (status, text, output) = ask(known(&front.url().replace("127.0.0.1", "localhost")));
    assert_eq!(status, 502);
    assert!(text.contains("not valid for name") || text.contains("host name"), "{text}");
    assert!(output.contains("source_tls_failed"), "{output}");
    let (status, text, _) = ask(Capture::to(&front.url()));
    assert_eq!(status, 502, "{text}");
    let (status, _, output) = ask(Capture::to(&front.url()).switch("--source-insecure"));
    assert_eq!(status, 200);
    assert!(output.contains("--source-insecure"), "{output}");
    let said = origin.conversations().into_iter().filter(|one| !one.received.bytes().is_empty());
    assert_eq!(said.count(), 2, "nothing reached the source that was not trusted");
}

#[test]
fn sixty_megabytes_pass_both_sides_unchanged() {
    let body: Vec<u8> = (0..15_000_000_u32).flat_map(|n| (n ^ 0x5bd1_e995).to_le_bytes()).collect();
    let origin = Origin::answering(|request| ok(&request.body));
    let front = Secure::before(origin.port());
    let mut tapline =
        Capture::secure_to(&front.url()).flag("--source-ca", front.ca().to_str().unwrap()).start();
    let dir = tempfile::tempdir().unwrap();
    let (sent, received) = (dir.path().join("sent"), dir.path().join("received"));
    fs::write(&sent, &body).unwrap();
    let url = format!("https://127.0.0.1:{}/_bulk", tapline.port());
    let data = format!("@{}", sent.display());
    curl(&["-k", "--data-binary", &data, "-o", received.to_str().unwrap(), &url]).unwrap();
    let expected = digest::sha256(&body);
    assert_eq!(digest::sha256(&fs::read(&received).unwrap()), expected, "at the client");
    let conversation = origin.conversation(0);
    let at_the_source = conversation.received.bytes();
    assert!(at_the_source.ends_with(&body), "at the source");
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    let captured = records.only();
    let digests = [digest::sha256(&at_the_source), digest::sha256(&conversation.sent.bytes())];
    assert_eq!(records.digests(), [(digests[0].clone(), digests[1].clone())], "in the records");
    assert!(captured.closed);
}

#[test]
fn rotation_under_load_fails_no_handshake() {
    let origin = Origin::answering(|_| ok(b"in"));
    let pair = Pair::new("127.0.0.1");
    let tapline = Capture::secure(origin.port())
        .flag("--tls", "files")
        .flag("--tls-cert", pair.certificate.to_str().unwrap())
        .flag("--tls-key", pair.key.to_str().unwrap())
        .start();
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let rounds = services::scale(5, 60);
    let url = format!("https://127.0.0.1:{}/", tapline.port());
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let answer = curl(&["-k", "--no-sessionid", &url]);
                assert_eq!(answer.as_deref(), Ok("in"));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..rounds {
            let before = shown(tapline.port());
            pair.renew();
            let changed = wait::until(PATIENCE, || shown(tapline.port()) != before);
            assert!(changed, "the new certificate is shown:\n{}", tapline.output());
        }
        // A key that does not fit: the pair in use stays.
        let (before, key) = (shown(tapline.port()), fs::read(&pair.key).unwrap());
        fs::write(&pair.key, fs::read(&Pair::new("other").key).unwrap()).unwrap();
        let refused = || tapline.output().contains("tls.reload_failed");
        assert!(wait::until(PATIENCE, refused), "{}", tapline.output());
        assert_eq!(shown(tapline.port()), before);
        fs::write(&pair.key, key).unwrap();
        stop.store(true, Ordering::Release);
        load.join().unwrap();
    });
    assert!(asked.load(Ordering::Relaxed) > rounds, "there was load");
    let output = tapline.output();
    assert_eq!(output.matches("tls.reload_failed").count(), 1, "{output}");
}

#[test]
fn whoever_speaks_the_wrong_language_is_told_so() {
    let origin = Origin::answering(|_| ok(b"in"));
    let mut tapline = Capture::secure(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let answer = client.ask(&bare("GET", "/secret"));
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let url = format!("https://127.0.0.1:{}/", tapline.port());
    assert_eq!(curl(&["-k", &url]).as_deref(), Ok("in"));
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    assert!(!records.holds_request(b"/secret"));
    assert_eq!(counter(&tapline, "tls_failed_plaintext"), 1);

    let mut plain = Capture::of(origin.port()).start();
    let refused = curl(&["-k", &format!("https://127.0.0.1:{}/", plain.port())]).unwrap_err();
    assert!(refused.contains("protocol version"), "{refused}");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{}/", plain.port())]).as_deref(), Ok("in"));
    let told = || plain.output().contains("1 clients spoke TLS to a port for plaintext");
    assert!(wait::until(PATIENCE, told), "{}", plain.output());
    plain.stop();
    assert_eq!(counter(&plain, "tls_on_plaintext_port"), 1);
}

#[test]
fn thousands_of_bad_handshakes_are_one_line() {
    let origin = Origin::answering(|_| ok(b"in"));
    let mut tapline = Capture::secure(origin.port()).start();
    let count = services::scale(1000, 10_000);
    let noise: [&[u8]; 5] = [
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x00\x02\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x00",
    ];
    for number in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", tapline.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(noise[number % noise.len()]).unwrap();
        // FIN, and then whatever it says about that: an alert, an end or a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let end = stream.read_to_end(&mut said);
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(end.as_ref().map_or_else(reset, |_| true), "{end:?}");
        assert!(said.len() < 100);
    }
    let url = format!("https://127.0.0.1:{}/", tapline.port());
    assert_eq!(curl(&["-k", &url]).as_deref(), Ok("in"));
    tapline.stop();
    let failed = counter(&tapline, "tls_failed_malformed") + counter(&tapline, "tls_failed_closed");
    assert_eq!(failed, count as u64);
    assert!(tapline.output().matches("tls.failures").count() <= 3, "{}", tapline.output());
}

/// The header comes in the clear, before the handshake.
#[test]
fn a_balancer_names_the_client_before_tls_begins() {
    if !services::wanted("a_balancer_names_the_client_before_tls_begins") {
        return;
    }
    let origin = Origin::answering(|request| {
        ok(request.field("x-forwarded-for").unwrap_or_default().as_bytes())
    });
    for words in ["send-proxy", "send-proxy-v2"] {
        let capture = Capture::secure(origin.port()).flag("--proxy-protocol", "require");
        let tapline = &mut capture.switch("--forwarded-for").admin().start();
        let haproxy = Haproxy::to(tapline.port(), words);
        let url = format!("https://127.0.0.1:{}/a", haproxy.port());
        assert_eq!(curl(&["-k", &url]).as_deref(), Ok("127.0.0.1"), "{words}");
        assert_eq!(curl(&["-k", "-d", "{}", &url]).as_deref(), Ok("127.0.0.1"), "{words}");
        // Without a header there is no handshake.
        let direct = format!("https://127.0.0.1:{}/", tapline.port());
        assert!(curl(&["-k", "--max-time", "5", &direct]).is_err());
        haproxy.stop();
        tapline.stop();
        assert_eq!(tapline.counter("proxy_protocol_errors"), 1, "{}", tapline.output());
        let records = Records::of_log(&tapline.log());
        assert!(records.holds_request(b"GET /a ") && records.holds_request(b"POST /a "));
        assert!(!records.holds_request(b"PROXY") && !records.holds_request(b"QUIT"));
    }
}

#[test]
fn what_cannot_be_used_is_refused_at_the_start() {
    let pair = Pair::new("one");
    let other = Pair::new("two");
    let text = |path: &PathBuf| path.display().to_string();
    let files = |certificate: &PathBuf, key: &PathBuf| {
        Capture::secure(9)
            .flag("--tls", "files")
            .flag("--tls-cert", &text(certificate))
            .flag("--tls-key", &text(key))
    };
    let nowhere = pair.certificate.with_extension("nowhere");
    for (capture, says) in [
        (files(&pair.certificate, &other.key), "do not fit together"),
        (files(&nowhere, &pair.key), "nowhere"),
        (files(&pair.key, &pair.key), "no PEM certificate"),
        (Capture::secure(9).flag("--tls", "files"), "--tls-cert and --tls-key"),
        (Capture::secure(9).switch("--tls-require-client-cert"), "--tls-client-ca"),
        (Capture::secure(9).switch("--source-insecure"), "https://"),
    ] {
        let outcome = capture.refusal();
        assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{says} is not in: {}", outcome.stderr);
    }
}

#[test]
fn the_official_python_client_writes_and_reads_over_tls() {
    if !services::wanted("the_official_python_client_writes_and_reads_over_tls") {
        return;
    }
    let origin = Origin::answering(|request| {
        let body: &[u8] =
            if request.method() == "HEAD" { b"" } else { b"{\"result\":\"created\"}" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    });
    let state = tempfile::tempdir().unwrap();
    let mut tapline = Capture::secure(origin.port()).state(state.path()).start();
    let ca = state.path().join("self-signed.crt");
    let port = tapline.port().to_string();
    let printed = python::run("secure.py", &[&port, ca.to_str().unwrap()]).unwrap();
    assert_eq!(printed.trim(), "200 created");
    tapline.stop();
    assert!(counter(&tapline, "requests_held") >= 200);
}

#[test]
fn a_scanner_finds_nothing_weak() {
    if !services::wanted("a_scanner_finds_nothing_weak") {
        return;
    }
    let origin = Origin::answering(|_| ok(b"in"));
    let tapline = Capture::secure(origin.port()).start();
    let found = python::scan(tapline.port()).unwrap();
    let result = &found["server_scan_results"][0]["scan_result"];
    let accepted = |version: &str| {
        let suites =
            &result[format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"];
        let name =
            |suite: &serde_json::Value| suite["cipher_suite"]["name"].as_str().unwrap().to_owned();
        suites.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(accepted(version), Vec::<String>::new(), "{version}");
    }
    for version in ["tls_1_2", "tls_1_3"] {
        let suites = accepted(version);
        assert!(!suites.is_empty(), "{version}");
        for suite in suites {
            let sealed = suite.contains("_GCM_") || suite.contains("_CHACHA20_POLY1305_");
            let secret = version == "tls_1_3" || suite.starts_with("TLS_ECDHE_");
            assert!(sealed && secret, "{suite} is weak");
        }
    }
    let said = |scan: &str, what: &str| result[scan]["result"][what].clone();
    assert_eq!(said("heartbleed", "is_vulnerable_to_heartbleed"), false);
    assert_eq!(said("tls_compression", "supports_compression"), false);
    assert_eq!(said("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"), false);
}

/// A certificate and its key in files of their own.
struct Pair {
    _dir: TempDir,
    name: String,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let pair = Self { _dir: dir, name: name.into(), certificate, key };
        pair.renew();
        pair
    }

    /// As those who renew certificates do: each file whole, one after the other.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed([self.name.clone()]).unwrap();
        let put = |path: &Path, text: &str| {
            let beside = path.with_extension("beside");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, path).unwrap();
        };
        put(&self.certificate, &made.cert.pem());
        put(&self.key, &made.signing_key.serialize_pem());
    }
}

/// What curl prints, or what it complains about.
fn curl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .output()
        .expect("curl is installed");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Everything that openssl prints, given this input.
fn openssl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat()
}

/// The certificate that a port shows.
fn shown(port: u16) -> String {
    let address = format!("127.0.0.1:{port}");
    let talk = openssl(&["s_client", "-connect", &address], "");
    let end = talk.find("-----END CERTIFICATE").expect("a certificate is shown");
    talk[..end].to_owned()
}

/// A counter in what the run said at its end.
fn counter(tapline: &Tapline, name: &str) -> u64 {
    let output = tapline.output();
    let (_, rest) = output.rsplit_once(name).unwrap_or_else(|| {
        panic!("{name} is not in:\n{output}");
    });
    let rest = rest.trim_start_matches(['\\', '"', ':']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

const PATIENCE: Duration = Duration::from_mins(1);
