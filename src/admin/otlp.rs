//! The same metrics pushed to an OpenTelemetry collector, where one is named: OTLP over HTTP, as JSON.
//!
//! One export at a time, from the runtime's pool of blocking threads; while one is under way no other begins, so a
//! collector that is slow or gone costs a counter and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Exposition, Kind, Subject,
    exposition::{Sample, Value as Measured},
};

/// How often metrics are pushed.
const PUSH_EVERY: Duration = Duration::from_secs(10);
/// When the first push is.
const FIRST_PUSH: Duration = Duration::from_secs(1);
/// How long one push may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Cumulative since the start, as Prometheus counts.
const CUMULATIVE: u8 = 2;

/// How pushing goes.
#[derive(Debug, Default)]
pub struct Pushes {
    /// Taken by the collector.
    pub done: AtomicU64,
    /// Not taken, and lost: the next one has the newer figures.
    pub failed: AtomicU64,
}

impl Pushes {
    /// As metrics.
    pub fn write(&self, out: &mut Exposition) {
        out.family("otlp_pushes_total", Kind::Counter, "Pushes of metrics to a collector.");
        out.sample(&[("result", "done")], self.done.load(Ordering::Relaxed) as f64);
        out.sample(&[("result", "failed")], self.failed.load(Ordering::Relaxed) as f64);
    }
}

/// Pushes to `endpoint` (as `http://collector:4318`) until the runtime ends; must run on a tokio runtime.
pub async fn push(
    endpoint: String,
    service: &'static str,
    subject: Arc<dyn Subject>,
    pushes: Arc<Pushes>,
) {
    let url = format!("{}/v1/metrics", endpoint.trim_end_matches('/'));
    let started = unix_ns();
    let config = ureq::Agent::config_builder().timeout_global(Some(PUSH_TIMEOUT)).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut complained = false;
    let mut pause = FIRST_PUSH;
    loop {
        tokio::time::sleep(pause).await;
        pause = PUSH_EVERY;
        let body = encode(&subject.measure(), service, started, unix_ns()).to_string();
        let (agent, url) = (agent.clone(), url.clone());
        let send = move || {
            let request = agent.post(&url).header("Content-Type", "application/json");
            request.send(body).map(drop).map_err(|error| error.to_string())
        };
        let result = tokio::task::spawn_blocking(send).await;
        match result.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => {
                pushes.done.fetch_add(1, Ordering::Relaxed);
                complained = false;
            }
            Err(error) => {
                pushes.failed.fetch_add(1, Ordering::Relaxed);
                if !complained {
                    tracing::warn!(
                        event = "otlp.failed",
                        endpoint,
                        error,
                        "the collector takes no metrics; going on without"
                    );
                    complained = true;
                }
            }
        }
    }
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// `ExportMetricsServiceRequest` in the JSON mapping of OTLP 1.x: 64-bit integers are text.
fn encode(metrics: &Exposition, service: &str, started_ns: u64, now_ns: u64) -> Value {
    let point = |sample: &Sample| {
        let attributes: Vec<Value> =
            sample.labels.iter().map(|(name, value)| attribute(name, value)).collect();
        let mut point = json!({
            "attributes": attributes,
            "startTimeUnixNano": started_ns.to_string(),
            "timeUnixNano": now_ns.to_string(),
        });
        match &sample.value {
            Measured::Number(number) => point["asDouble"] = json!(number),
            Measured::Distribution(spread) => {
                let cumulative = spread.cumulative();
                let mut before = 0;
                let mut counts: Vec<String> = Vec::with_capacity(cumulative.len() + 1);
                for (_, count) in &cumulative {
                    counts.push((count - before).to_string());
                    before = *count;
                }
                counts.push(spread.count().saturating_sub(before).to_string());
                let bounds: Vec<f64> = cumulative.iter().map(|(bound, _)| *bound).collect();
                point["count"] = json!(spread.count().to_string());
                point["sum"] = json!(spread.sum_s());
                point["bucketCounts"] = json!(counts);
                point["explicitBounds"] = json!(bounds);
            }
        }
        point
    };
    let metrics: Vec<Value> = metrics
        .families
        .iter()
        .map(|family| {
            let points: Vec<Value> = family.samples.iter().map(point).collect();
            let (kind, data) = match family.kind {
                Kind::Counter => (
                    "sum",
                    json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true }),
                ),
                Kind::Gauge => ("gauge", json!({ "dataPoints": points })),
                Kind::Histogram => {
                    ("histogram", json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE }))
                }
            };
            json!({ "name": family.name, "description": family.help, kind: data })
        })
        .collect();
    json!({
        "resourceMetrics": [{
            "resource": { "attributes": [attribute("service.name", service)] },
            "scopeMetrics": [{
                "scope": { "name": "tapline", "version": env!("CARGO_PKG_VERSION") },
                "metrics": metrics,
            }],
        }],
    })
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Distribution, Histogram};

    #[test]
    fn buckets_add_up_and_counters_are_cumulative() {
        let mut metrics = Exposition::default();
        metrics.family("requests_total", Kind::Counter, "Requests.");
        metrics.sample(&[("class", "held")], 5.0);
        let histogram = Histogram::default();
        for ns in [1_000_000, 2_000_000, u64::MAX >> 1] {
            histogram.observe(ns);
        }
        metrics.family("wait_seconds", Kind::Histogram, "Waits.");
        metrics.histogram(&[], &Distribution::of([&histogram].into_iter()));
        let json = encode(&metrics, "capture", 1, 2);
        let found = &json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(found[0]["sum"]["isMonotonic"], true);
        assert_eq!(
            found[0]["sum"]["dataPoints"][0]["attributes"][0]["value"]["stringValue"],
            "held"
        );
        let point = &found[1]["histogram"]["dataPoints"][0];
        let counts = point["bucketCounts"].as_array().unwrap();
        let sum: u64 = counts.iter().map(|n| n.as_str().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!((sum, point["count"].as_str()), (3, Some("3")));
        assert_eq!(counts.len(), point["explicitBounds"].as_array().unwrap().len() + 1);
    }
}
