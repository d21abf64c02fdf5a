//! A target with fixed answers, nginx, and the load generator it is measured with, wrk.
//!
//! It owns their configuration. The answers have the sizes of the captured ones, and every bulk
//! has arrived in nginx's header buffer whole before it is answered.

use crate::Outcome;
use crate::host;
use crate::process::Process;
use crate::tape;
use crate::usage::Spent;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running nginx; ends with its value.
pub(crate) struct Target {
    process: Process,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Target {
    /// Starts it and waits until it listens.
    pub(crate) fn start(scratch: &Path) -> Outcome<Self> {
        let directory = TempDir::with_prefix_in("bench-", scratch)?;
        let address = host::free_port()?;
        let (mut get, mut bulk) = (Vec::new(), Vec::new());
        tape::get_answer_body(0, &mut get);
        tape::bulk_answer_body(0, tape::items_of(tape::BULK_BYTES), &mut bulk);
        let text = NGINX
            .replace("ADDRESS", &address.to_string())
            .replace("GET_ANSWER", std::str::from_utf8(&get)?)
            .replace("BULK_ANSWER", std::str::from_utf8(&bulk)?);
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).args(["-e", "error.log", "-c"]).arg(file);
        let log = directory.path().join("output");
        let process = Process::proxy("nginx", command, None, &log)?;
        let mut target = Self { process, address, _directory: directory };
        let until = Instant::now() + START_TIME_MAX;
        while TcpStream::connect(address).is_err() {
            host::check_interrupted()?;
            target.process.check_running()?;
            if Instant::now() > until {
                return Err(format!("nginx does not listen after {START_TIME_MAX:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(target)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Runs wrk with the requests of the log in the same proportion, on one thread; returns how many
/// were answered with 200, and what it cost.
pub(crate) fn wrk(
    target: &Target,
    connections: u32,
    seconds: u64,
    scratch: &Path,
) -> Outcome<(u64, Spent)> {
    let directory = TempDir::with_prefix_in("bench-", scratch)?;
    let (get, bulk) = (directory.path().join("get"), directory.path().join("bulk"));
    let mut bytes = Vec::new();
    tape::get_request(0, &mut bytes);
    fs::write(&get, &bytes)?;
    bytes.clear();
    tape::bulk_request(0, tape::BULK_BYTES, &mut bytes);
    fs::write(&bulk, &bytes)?;
    let script = directory.path().join("mix.lua");
    fs::write(
        &script,
        WRK.replace("GET_FILE", &get.display().to_string())
            .replace("BULK_FILE", &bulk.display().to_string())
            .replace("BULKS", &tape::BULKS_OF_100.to_string()),
    )?;
    let mut command = Command::new("wrk");
    command
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("http://{}", target.address));
    let log = directory.path().join("output");
    let mut process = Process::proxy("wrk", command, None, &log)?;
    let spent = process.spent(Duration::from_secs(seconds) + TIME_BESIDE)?;
    let output = fs::read_to_string(&log)?;
    if output.contains("Socket errors") || output.contains("Non-2xx") {
        return Err(format!("wrk met errors: {output}").into());
    }
    let requests = output
        .lines()
        .find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())
        .ok_or_else(|| format!("wrk counts no requests: {output}"))?;
    Ok((requests, spent))
}

/// Head and body of a bulk fit into the first buffer of nginx, so that it has read all of it when
/// it answers.
const NGINX: &str = "daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  keepalive_time 10h;
  client_header_buffer_size 16k;
  client_max_body_size 0;
  default_type application/json;
  server {
    listen ADDRESS backlog=4096;
    location / { return 200 'GET_ANSWER'; }
    location = /_bulk { return 200 'BULK_ANSWER'; }
  }
}
";
const WRK: &str = "local function read(path)
  local file = io.open(path, 'rb')
  local bytes = file:read('*a')
  file:close()
  return bytes
end
local get, bulk, number = read('GET_FILE'), read('BULK_FILE'), 0
request = function()
  number = number + 1
  if number * 37 % 100 < BULKS then return bulk end
  return get
end
";
const START_TIME_MAX: Duration = Duration::from_secs(20);
const TIME_BESIDE: Duration = Duration::from_secs(20);
