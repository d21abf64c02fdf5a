//! nginx with fixed answers, as a source that is not ours and reads whole bodies before it answers.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::Process;
use super::{ground, port, services, wait};

/// A running nginx. `GET /1k`, `/16k`, `/1m` give that many bytes; any other request is read whole
/// (up to 200 MB) and answered with `done`.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Option<Process>,
    dir: PathBuf,
    port: u16,
}

impl Nginx {
    /// The server that all tests of this run share. It ends with the run.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Nginx, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::try_start) {
            Ok(nginx) => nginx,
            Err(error) => panic!("{error}"),
        }
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A server of its own that routes by `Host`: requests for `host` go to a port on 127.0.0.1, all others are
    /// answered 421.
    pub(crate) fn routing(host: &str, to: u16) -> Self {
        let started = Self::start("routing", |port, _| {
            format!(
                "server {{ listen 127.0.0.1:{port}; server_name _; return 421 \"wrong host\"; }}\n\
                 server {{ listen 127.0.0.1:{port}; server_name {host};\n\
                 location / {{ proxy_pass http://127.0.0.1:{to}; proxy_http_version 1.1;\n\
                 proxy_set_header Host $http_host; }} }}\n"
            )
        });
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start() -> Result<Self, String> {
        let sink = port::free();
        // A request is passed to the second server so that its body is read before the answer.
        Self::start("nginx", |port, dir| {
            format!(
                "server {{ listen 127.0.0.1:{port} backlog=1024;\nroot {dir};\n\
                 location ~ ^/(1k|16k|1m)$ {{ }}\n\
                 location / {{ proxy_pass http://127.0.0.1:{sink}; }} }}\n\
                 server {{ listen 127.0.0.1:{sink}; location / {{ return 200 \"done\"; }} }}\n"
            )
        })
    }

    fn start(name: &str, servers: impl Fn(u16, &str) -> String) -> Result<Self, String> {
        let program = services::program("nginx", "apt-get install nginx-light")?;
        let port = port::free();
        let dir = ground::run_dir(&ground::home_for_others(), name);
        let mut nginx = Self { process: None, dir, port };
        let write = |path: &str, text: &[u8]| {
            fs::write(nginx.dir.join(path), text)
                .map_err(|error| format!("{}: {error}", nginx.dir.join(path).display()))
        };
        for (name, size) in SIZES {
            write(name, &answer(size))?;
        }
        let user = if ground::am_root() { "user root;\n" } else { "" };
        let dir = nginx.dir.display();
        let servers = servers(port, &dir.to_string());
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .concat();
        let config = format!(
            "{user}daemon off;\nworker_processes 1;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\naccess_log off;\n{paths}keepalive_requests 1000000;\n\
             client_max_body_size 200m;\n{servers}}}\n"
        );
        write("nginx.conf", config.as_bytes())?;
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(nginx.dir.join("nginx.conf"))
            .arg("-p")
            .arg(&nginx.dir)
            .arg("-e")
            .arg(nginx.dir.join("error.log"));
        let process = Process::spawn(&mut command, &nginx.dir.join("stdout.log"), &nginx.dir);
        let listens = wait::until(START, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        if !listens {
            return Err(format!("nginx does not listen: {}", process.last_words()));
        }
        nginx.process = Some(process);
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.take();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The fixed answer of a given size.
pub(crate) fn answer(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + (at % 26) as u8).collect()
}

/// Names and sizes of the fixed answers.
pub(crate) const SIZES: [(&str, usize); 3] = [("1k", 1 << 10), ("16k", 16 << 10), ("1m", 1 << 20)];
const START: Duration = Duration::from_secs(20);

#[test]
fn nginx_gives_fixed_answers_and_takes_large_bodies() {
    use super::client::{Client, bare, request};
    if !services::wanted("nginx_gives_fixed_answers_and_takes_large_bodies") {
        return;
    }
    let mut client = Client::connect(Nginx::shared().port());
    for (name, size) in SIZES {
        let response = client.ask(&bare("GET", &format!("/{name}")));
        assert_eq!((response.status(), response.body == answer(size)), (200, true), "{name}");
    }
    let response = client.ask(&request("POST", "/x/_bulk", &vec![b'x'; 3 << 20]));
    assert_eq!((response.status(), response.text()), (200, "done".to_owned()));
    assert_eq!(client.ask(&bare("GET", "/1k")).status(), 200);
}
