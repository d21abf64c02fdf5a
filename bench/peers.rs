//! The proxies compared: how each is configured and started.
//!
//! It owns the fairness of the comparison: one worker thread each, keep-alive on both sides, no
//! logs, no timeouts that bite, bodies streamed and not spooled. It never tunes one peer alone.

use crate::Outcome;
use crate::host;
use crate::idle::exchange;
use crate::kafka::{Silence, Topic};
use crate::plan::Plan;
use crate::process::Process;
use crate::scrape::Scraper;
use crate::secure::{self, Stream};
use crate::usage;
use crate::workload::Workload;
use clap::ValueEnum;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One line of the table.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// No proxy: the load goes to the origin.
    Direct,
    /// tapline with `--no-capture`.
    TaplineOff,
    /// tapline with its capture log.
    TaplineLog,
    /// The same while its metrics are asked for ten times a second.
    TaplineScraped,
    /// tapline with Kafka.
    TaplineKafka,
    /// The same while the broker is stopped: it accepts connections and answers nothing.
    TaplineKafkaSilent,
    /// The same with nobody where the broker should be.
    TaplineKafkaGone,
    /// `HAProxy`, `mode http`.
    HaproxyHttp,
    /// `HAProxy`, `mode tcp`.
    HaproxyTcp,
    /// nginx, `proxy_pass` in `http`.
    NginxHttp,
    /// nginx, `proxy_pass` in `stream`.
    NginxStream,
}

impl Variant {
    /// What `--proxies` takes and the table says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::TaplineOff => "tapline-off",
            Self::TaplineLog => "tapline-log",
            Self::TaplineScraped => "tapline-scraped",
            Self::TaplineKafka => "tapline-kafka",
            Self::TaplineKafkaSilent => "tapline-kafka-silent",
            Self::TaplineKafkaGone => "tapline-kafka-gone",
            Self::HaproxyHttp => "haproxy-http",
            Self::HaproxyTcp => "haproxy-tcp",
            Self::NginxHttp => "nginx-http",
            Self::NginxStream => "nginx-stream",
        }
    }
}

/// A running proxy in front of the origin. Fields are dropped in this order: the process ends
/// before what it uses goes away.
pub(crate) struct Peer {
    /// Before the process, which it asks.
    scraper: Option<Scraper>,
    process: Process,
    address: SocketAddr,
    /// Before the topic, which a stopped broker would not delete.
    silence: Option<Silence>,
    _topic: Option<Topic>,
    _directory: TempDir,
}

impl Peer {
    /// Starts a proxy for up to `connections` clients and waits until it forwards; `Variant::Direct`
    /// has none.
    pub(crate) fn start(
        variant: Variant,
        plan: &Plan,
        origin: SocketAddr,
        connections: u32,
        core: Option<usize>,
    ) -> Outcome<Option<Self>> {
        let directory = TempDir::with_prefix_in("bench-", &plan.scratch)?;
        let address = host::free_port()?;
        let files = secure::Files::make(directory.path())?;
        let tls = plan.tls.then_some(&files);
        let place = Place { directory: directory.path(), address, origin, connections, tls };
        let (mut topic, mut admin) = (None, None);
        let command = match variant {
            Variant::Direct => return Ok(None),
            Variant::TaplineOff | Variant::TaplineLog => {
                let mut command = place.tapline(plan, None);
                command.args((variant == Variant::TaplineOff).then_some("--no-capture"));
                command
            }
            Variant::TaplineScraped => {
                admin = Some(host::free_port()?);
                place.tapline(plan, admin)
            }
            Variant::TaplineKafkaGone => {
                let mut command = place.tapline(plan, None);
                let nobody = host::free_port()?.to_string();
                command.args(["--kafka-brokers", &nobody, "--kafka-topic", "none"]);
                command
            }
            Variant::TaplineKafka | Variant::TaplineKafkaSilent => {
                let brokers = plan.kafka_brokers.as_deref().ok_or("no --kafka-brokers given")?;
                let name = format!("tapline-bench-{}-{}", std::process::id(), address.port());
                let name = topic.insert(Topic::create(brokers, name)?).name();
                let mut command = place.tapline(plan, None);
                command.args(["--kafka-brokers", brokers, "--kafka-topic", name]);
                command
            }
            Variant::HaproxyHttp => place.haproxy("http")?,
            Variant::HaproxyTcp => place.haproxy("tcp")?,
            Variant::NginxHttp => place.nginx(NGINX_HTTP)?,
            Variant::NginxStream => place.nginx(NGINX_STREAM)?,
        };
        let log = directory.path().join("output");
        let process = Process::proxy(variant.name(), command, core, &log)?;
        let mut peer = Self {
            scraper: None,
            process,
            address,
            silence: None,
            _topic: topic,
            _directory: directory,
        };
        peer.wait_ready(plan.tls)?;
        if variant == Variant::TaplineKafkaSilent {
            peer.silence = Some(Silence::of(plan.kafka_pid.ok_or("no --kafka-pid given")?)?);
        }
        peer.scraper = admin.map(Scraper::start);
        Ok(Some(peer))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process and all that it started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        usage::family(self.process.pid())
    }

    /// An error when it ended by itself.
    pub(crate) fn check_running(&mut self) -> Outcome<()> {
        self.process.check_running()
    }

    fn wait_ready(&mut self, tls: bool) -> Outcome<()> {
        let until = Instant::now() + START_TIME_MAX;
        loop {
            host::check_interrupted()?;
            self.process.check_running()?;
            let Err(error) = probe(self.address, tls) else { return Ok(()) };
            if Instant::now() > until {
                return Err(format!("not ready after {START_TIME_MAX:?}: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Versions of the peers, for the record.
pub(crate) fn versions(plan: &Plan) -> Vec<(&'static str, String)> {
    vec![
        ("tapline", host::version(&tapline(plan), "--version")),
        ("haproxy", host::version("haproxy", "-v")),
        ("nginx", host::version("nginx", "-v")),
    ]
}

/// The program to measure.
pub(crate) fn tapline(plan: &Plan) -> String {
    let built = || env!("CARGO_BIN_EXE_tapline").to_owned();
    plan.tapline.as_ref().map_or_else(built, |path| path.display().to_string())
}

/// Where a proxy is to stand.
struct Place<'a> {
    directory: &'a Path,
    address: SocketAddr,
    origin: SocketAddr,
    connections: u32,
    tls: Option<&'a secure::Files>,
}

impl Place<'_> {
    fn tapline(&self, plan: &Plan, admin: Option<SocketAddr>) -> Command {
        let mut command = Command::new(tapline(plan));
        command
            .arg("capture")
            .arg(format!("--source=http://{}", self.origin))
            .arg(format!("--listen={}", self.address))
            .args(["--workers", "1"])
            .arg("--state-dir")
            .arg(self.directory.join("state"));
        match self.tls {
            None => command.args(["--tls", "off"]),
            Some(files) => command
                .args(["--tls", "files", "--tls-cert"])
                .arg(&files.certificate)
                .arg("--tls-key")
                .arg(&files.key),
        };
        // Its port may be another tapline's; a version without that listener has no such flag.
        let help = Command::new(tapline(plan)).args(["capture", "--help"]).output();
        let help = help.map(|output| output.stdout).unwrap_or_default();
        if memchr::memmem::find(&help, b"--admin").is_some() {
            let admin = admin.map_or_else(|| "off".to_owned(), |address| address.to_string());
            command.args(["--admin", &admin]);
        }
        command
    }

    fn haproxy(&self, mode: &str) -> Outcome<Command> {
        let file = self.directory.join("haproxy.cfg");
        let (address, origin) = (self.address, self.origin);
        let tls = self.tls.map_or_else(String::new, |files| {
            let file = files.both.display();
            format!(" ssl crt {file} alpn http/1.1 ciphersuites TLS_AES_128_GCM_SHA256")
        });
        // No maxconn: HAProxy takes it from the limit of open files. It also closes idle
        // connections to the origin once a quarter of what maxconn allows is in use, so that a
        // maxconn close to the load makes it connect anew for every request.
        fs::write(
            &file,
            format!(
                "global\n  nbthread 1\n\
                 defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 10m\n  \
                 timeout server 10m\n  timeout http-keep-alive 10m\n\
                 frontend front\n  bind {address}{tls}\n  default_backend back\n\
                 backend back\n  server origin {origin}\n"
            ),
        )?;
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(file);
        Ok(command)
    }

    fn nginx(&self, section: &str) -> Outcome<Command> {
        let module = Path::new(NGINX_STREAM_MODULE);
        let load = if section == NGINX_STREAM && module.exists() {
            format!("load_module {NGINX_STREAM_MODULE};\n")
        } else {
            String::new()
        };
        let section = section
            .replace("ADDRESS", &self.address.to_string())
            .replace("ORIGIN", &self.origin.to_string());
        // One process for master and worker, so that its time is the whole of nginx.
        let text = format!(
            "{load}daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
             events {{ worker_connections {}; }}\n{section}",
            2 * self.connections + 100
        );
        let file = self.directory.join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(self.directory).args(["-e", "error.log", "-c"]).arg(file);
        Ok(command)
    }
}

/// One request through a proxy, to see that it works.
fn probe(address: SocketAddr, tls: bool) -> Outcome<()> {
    let workload = &Workload::ALL[0];
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    let mut stream = Stream::new(stream, tls)?;
    exchange(&mut stream, &workload.request(), workload.answer_bytes())
}

const NGINX_HTTP: &str = "http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
  upstream origin {
    server ORIGIN;
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_time 10h;
    keepalive_timeout 1h;
  }
  server {
    listen ADDRESS;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_request_buffering off;
    }
  }
}
";
const NGINX_STREAM: &str = "stream {
  server {
    listen ADDRESS;
    proxy_pass ORIGIN;
    proxy_timeout 1h;
  }
}
";
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const START_TIME_MAX: Duration = Duration::from_secs(20);
