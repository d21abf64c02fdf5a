//! `/metrics` of capture. Labels are bounded: reasons, classes, causes, directions, workers.

use std::time::UNIX_EPOCH;

use super::{Board, lock, status::age_s};
use crate::{
    admin::{Exposition, Kind, Verdict},
    observe::{Counter, Distribution, Gauge, Snapshot, Timing},
    sink::SinkState,
};

/// Counters that are written with labels, together with others.
const LABELLED: &[Counter] = &[
    Counter::Requests,
    Counter::Held,
    Counter::Responses,
    Counter::Responses1xx,
    Counter::Responses2xx,
    Counter::Responses3xx,
    Counter::Responses4xx,
    Counter::Responses5xx,
    Counter::ToSource,
    Counter::ToClients,
    Counter::Uncaptured,
    Counter::UncapturedBytes,
    Counter::Unstored,
    Counter::UnstoredBytes,
    Counter::Turns,
    Counter::TlsFailedPlaintext,
    Counter::TlsFailedVersion,
    Counter::TlsFailedOffer,
    Counter::TlsFailedCertificate,
    Counter::TlsFailedAlert,
    Counter::TlsFailedMalformed,
    Counter::TlsFailedTimeout,
    Counter::TlsFailedClosed,
];

impl Board {
    pub(super) fn metrics(&self) -> Exposition {
        let counted = Snapshot::of(self.counters.iter().map(|counters| &**counters));
        let mut out = Exposition::default();
        self.identity(&mut out);
        traffic(&mut out, &counted);
        for counter in Counter::ALL.iter().filter(|counter| !LABELLED.contains(counter)) {
            let name = format!("{}_total", counter.label());
            out.single(&name, Kind::Counter, counter.help(), counted.get(*counter) as f64);
        }
        self.workers(&mut out, &counted);
        self.timings(&mut out);
        self.log(&mut out);
        self.process(&mut out);
        for more in &self.extras.metrics {
            more(&mut out);
        }
        out
    }

    fn identity(&self, out: &mut Exposition) {
        out.family("build_info", Kind::Gauge, "What was built; always 1.");
        out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        out.family(
            "policy_info",
            Kind::Gauge,
            "What happens while the log takes no records; always 1.",
        );
        out.sample(&[("on_capture_unavailable", self.facts.config.policy())], 1.0);
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let help = "Unix time of the start.";
        out.single("start_time_seconds", Kind::Gauge, help, started.as_secs_f64());
        let verdict = lock(&self.readiness).verdict(self.started.elapsed());
        out.family("readiness", Kind::Gauge, "1 for the verdict of /readyz, else 0.");
        for one in [Verdict::Ready, Verdict::Degraded, Verdict::Unready] {
            out.sample(&[("status", one.name())], f64::from(u8::from(one == verdict)));
        }
    }

    fn workers(&self, out: &mut Exposition, counted: &Snapshot) {
        let open = counted.get(Counter::Accepted).saturating_sub(counted.get(Counter::Closed));
        out.single("connections_open", Kind::Gauge, "Client connections open.", open as f64);
        out.family("worker_turns_total", Kind::Counter, Counter::Turns.help());
        for (number, counters) in self.counters.iter().enumerate() {
            let turns = counters.get(Counter::Turns) as f64;
            out.sample(&[("worker", &number.to_string())], turns);
        }
        let waiting: u64 = self.counters.iter().map(|c| c.gauge(Gauge::Waiting)).sum();
        let help = "Connections with bytes that wait for their records.";
        out.single("gated_connections", Kind::Gauge, help, waiting as f64);
        let passing = self.workers_passing() > 0;
        let help =
            "1 while writes pass before their records are stored (--on-capture-unavailable pass).";
        out.single("passing", Kind::Gauge, help, f64::from(u8::from(passing)));
        let backlog = self.backlog();
        let help = "Records that were handed to the log and are not back.";
        out.single("backlog_records", Kind::Gauge, help, backlog.records as f64);
        let help = "Bytes of records that were handed to the log and are not back.";
        out.single("backlog_bytes", Kind::Gauge, help, backlog.bytes as f64);
        let help = "Age of the oldest records that were handed to the log and are not back.";
        out.single("backlog_oldest_age_seconds", Kind::Gauge, help, backlog.oldest_seconds);
        let help = "Memory for records that are not durable, of all workers.";
        out.single("capture_memory_bytes", Kind::Gauge, help, self.facts.memory_bytes as f64);
    }

    fn timings(&self, out: &mut Exposition) {
        for (timing, name, help) in [
            (
                Timing::Request,
                "request_duration_seconds",
                "From a request's head to the end of its answer; of a pipelined one, from the answer before.",
            ),
            (
                Timing::Release,
                "release_wait_seconds",
                "From the first bytes that wait for their record on a connection until none wait any more.",
            ),
            (
                Timing::Durable,
                "capture_durable_seconds",
                "From handing a batch with held records to the log until it came back durable.",
            ),
        ] {
            out.family(name, Kind::Histogram, help);
            out.histogram(&[], &self.distribution(timing));
        }
    }

    pub(super) fn distribution(&self, timing: Timing) -> Distribution {
        Distribution::of(self.counters.iter().map(|counters| counters.timing(timing)))
    }

    fn log(&self, out: &mut Exposition) {
        let sink = self.sink.to_json();
        let count = |name: &str| sink[name].as_u64().unwrap_or(0) as f64;
        for (field, name, help) in [
            ("records", "log_records_total", "Records that the log took."),
            ("bytes", "log_bytes_total", "Bytes of records that the log took."),
            (
                "commits",
                "log_commits_total",
                "Commits: fdatasync of the capture log, or acknowledged batches of Kafka.",
            ),
            (
                "errors",
                "log_errors_total",
                "Troubles with the log: a full disk, or what Kafka complained about.",
            ),
            (
                "producer_rebuilds",
                "kafka_producer_rebuilds_total",
                "Times that the Kafka producer was made anew.",
            ),
            (
                "resent",
                "kafka_resent_records_total",
                "Records given to Kafka again that it may have had already.",
            ),
            ("spooled", "spool_records_total", "Records that went to the spool."),
            ("spooled_bytes", "spool_bytes_total", "Bytes of records that went to the spool."),
            ("drained", "spool_drained_records_total", "Records of the spool that reached Kafka."),
            (
                "spool_losses",
                "spool_losses_total",
                "Stretches of the spool that could not be read.",
            ),
        ] {
            out.single(name, Kind::Counter, help, count(field));
        }
        let help = "Each fdatasync of the capture log or the spool.";
        out.family("log_fsync_seconds", Kind::Histogram, help);
        out.histogram(&[], &Distribution::of(std::iter::once(self.sink.sync())));
        let spool = self.sink.backlog();
        let help = "Records of this run in the spool that Kafka does not have.";
        out.single("spool_backlog_records", Kind::Gauge, help, spool.records as f64);
        let help = "Bytes of the spool that Kafka does not have, of earlier runs too.";
        out.single("spool_backlog_bytes", Kind::Gauge, help, spool.bytes as f64);
        let age = age_s(Some(spool.oldest_unix_ns).filter(|since| *since > 0));
        let help = "Age of the oldest record in the spool that Kafka does not have.";
        out.single("spool_oldest_age_seconds", Kind::Gauge, help, age);
        let errors = self.sink.kafka_errors();
        if !errors.is_empty() {
            let help = "Complaints of the Kafka client and records that were not delivered, by librdkafka's code.";
            out.family("kafka_errors_total", Kind::Counter, help);
            for (code, count) in errors {
                out.sample(&[("code", &code)], count as f64);
            }
        }
        let waiting = matches!(self.sink.state(), SinkState::Waiting(_));
        let help = "1 while the log takes no records.";
        out.single("log_waiting", Kind::Gauge, help, f64::from(u8::from(waiting)));
    }

    fn process(&self, out: &mut Exposition) {
        let (done, failed) = (self.reload.done(), self.reload.failed());
        out.family("reloads_total", Kind::Counter, "Reloads of the configuration.");
        out.sample(&[("result", "done")], done as f64);
        out.sample(&[("result", "failed")], failed as f64);
        self.pushes.write(out);
    }
}

fn traffic(out: &mut Exposition, counted: &Snapshot) {
    let get = |counter| counted.get(counter) as f64;
    out.family(
        "requests_total",
        Kind::Counter,
        "Requests seen: held until durable, or passed at once.",
    );
    out.sample(&[("class", "held")], get(Counter::Held));
    let passed = counted.get(Counter::Requests).saturating_sub(counted.get(Counter::Held));
    out.sample(&[("class", "passed")], passed as f64);
    out.family(
        "responses_total",
        Kind::Counter,
        "Final responses of the source by class of status.",
    );
    for (code, counter) in [
        ("1xx", Counter::Responses1xx),
        ("2xx", Counter::Responses2xx),
        ("3xx", Counter::Responses3xx),
        ("4xx", Counter::Responses4xx),
        ("5xx", Counter::Responses5xx),
    ] {
        out.sample(&[("code", code)], get(counter));
    }
    out.family("bytes_total", Kind::Counter, "Bytes passed on, by direction.");
    out.sample(&[("direction", "to_source")], get(Counter::ToSource));
    out.sample(&[("direction", "to_clients")], get(Counter::ToClients));
    out.family(
        "tls_handshake_failures_total",
        Kind::Counter,
        "TLS handshakes with clients that failed.",
    );
    for (reason, counter) in [
        ("plaintext", Counter::TlsFailedPlaintext),
        ("version", Counter::TlsFailedVersion),
        ("offer", Counter::TlsFailedOffer),
        ("certificate", Counter::TlsFailedCertificate),
        ("alert", Counter::TlsFailedAlert),
        ("malformed", Counter::TlsFailedMalformed),
        ("timeout", Counter::TlsFailedTimeout),
        ("closed", Counter::TlsFailedClosed),
    ] {
        out.sample(&[("reason", reason)], get(counter));
    }
    out.family(
        "rejected_requests_total",
        Kind::Counter,
        "Requests answered 400 and not forwarded, by reason.",
    );
    for (reason, count) in &counted.refused {
        out.sample(&[("reason", reason)], *count as f64);
    }
    let help = "Requests that passed uncaptured, by cause; markers in the records say where.";
    out.family("capture_gap_requests_total", Kind::Counter, help);
    // Counters are read one after the other, and a worker counts on meanwhile.
    let memory = |all, unstored| (get(all) - get(unstored)).max(0.0);
    out.sample(&[("cause", "memory")], memory(Counter::Uncaptured, Counter::Unstored));
    out.sample(&[("cause", "unstored")], get(Counter::Unstored));
    let help = "Bytes that passed uncaptured, by cause.";
    out.family("capture_gap_bytes_total", Kind::Counter, help);
    out.sample(&[("cause", "memory")], memory(Counter::UncapturedBytes, Counter::UnstoredBytes));
    out.sample(&[("cause", "unstored")], get(Counter::UnstoredBytes));
}
