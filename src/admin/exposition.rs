//! Metrics at one moment, and the text format of Prometheus (version 0.0.4) for them.

use std::fmt::Write as _;

use crate::observe::Distribution;

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// Metrics at one moment, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    pub(super) families: Vec<Family>,
}

/// Metrics of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// With the prefix `tapline_`.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: Value,
}

/// What it is at that moment.
#[derive(Debug)]
pub(super) enum Value {
    Number(f64),
    Distribution(Box<Distribution>),
}

impl Exposition {
    /// Begins a family; the samples that follow are its own. `name` comes without the prefix `tapline_`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert!(
            (kind == Kind::Counter) == name.ends_with("_total"),
            "counters, and nothing else, end in _total: {name}"
        );
        let (name, help) = (format!("tapline_{name}"), help.to_owned());
        self.families.push(Family { name, kind, help, samples: Vec::new() });
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.push(labels, Value::Number(value));
    }

    /// One histogram of the family.
    pub fn histogram(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        self.push(labels, Value::Distribution(Box::new(distribution.clone())));
    }

    fn push(&mut self, labels: &[(&str, &str)], value: Value) {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let family = self.families.last_mut();
        debug_assert!(family.is_some(), "a sample belongs to a family");
        if let Some(family) = family {
            family.samples.push(Sample { labels, value });
        }
    }

    /// Everything in the format of Prometheus.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for family in &self.families {
            let Family { name, kind, help, samples } = family;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for Sample { labels, value } in samples {
                match value {
                    Value::Number(number) => line(&mut out, name, labels, None, *number),
                    Value::Distribution(spread) => {
                        histogram(&mut out, name, labels, spread);
                    }
                }
            }
        }
        out
    }
}

fn histogram(out: &mut String, name: &str, labels: &[(String, String)], spread: &Distribution) {
    let bucket = format!("{name}_bucket");
    for (bound, count) in spread.cumulative() {
        line(out, &bucket, labels, Some(&bound.to_string()), count as f64);
    }
    let count = spread.count() as f64;
    line(out, &bucket, labels, Some("+Inf"), count);
    line(out, &format!("{name}_sum"), labels, None, spread.sum_s());
    line(out, &format!("{name}_count"), labels, None, count);
}

fn line(out: &mut String, name: &str, labels: &[(String, String)], le: Option<&str>, value: f64) {
    out.push_str(name);
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut open = '{';
    for (name, value) in labels.chain(le.map(|bound| ("le", bound))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{open}{name}=\"{value}\"");
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Histogram;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.family("rejected_requests_total", Kind::Counter, "Refused.\nBy reason.");
        out.sample(&[("reason", "a\"b\\c\nd")], 3.0);
        out.single("up", Kind::Gauge, "One.", 1.5);
        let histogram = Histogram::default();
        histogram.observe(1_000_000);
        out.family("wait_seconds", Kind::Histogram, "Waits.");
        out.histogram(&[("worker", "0")], &Distribution::of([&histogram].into_iter()));
        let text = out.text();
        let begin = "# HELP tapline_rejected_requests_total Refused.\\nBy reason.\n\
                     # TYPE tapline_rejected_requests_total counter\n\
                     tapline_rejected_requests_total{reason=\"a\\\"b\\\\c\\nd\"} 3\n\
                     # HELP tapline_up One.\n# TYPE tapline_up gauge\ntapline_up 1.5\n";
        assert!(text.starts_with(begin), "{text}");
        for line in [
            "tapline_wait_seconds_bucket{worker=\"0\",le=\"0.000016384\"} 0\n",
            "tapline_wait_seconds_bucket{worker=\"0\",le=\"+Inf\"} 1\n",
            "tapline_wait_seconds_sum{worker=\"0\"} 0.001\n",
            "tapline_wait_seconds_count{worker=\"0\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
