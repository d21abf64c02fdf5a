//! What a run found: every round for a program, medians for a person.
//!
//! It owns the figures and their arithmetic. Ratios are taken within one round, between cells
//! minutes apart at most, and the median of those is printed: absolute figures drift.

use crate::Outcome;
use crate::host::Host;
use crate::load::Window;
use crate::peers::Variant;
use crate::plan::Plan;
use crate::workload::Workload;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One proxy under one workload in one round.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) workload: &'static str,
    pub(crate) proxy: &'static str,
    pub(crate) round: u32,
    pub(crate) window: Window,
    /// Connections the origin accepted, the first probe and the warm-up included.
    pub(crate) origin_connections: u64,
}

/// One proxy holding idle connections in one round; memory resident, in bytes.
#[derive(Serialize)]
pub(crate) struct Held {
    pub(crate) proxy: &'static str,
    pub(crate) round: u32,
    pub(crate) connections: u32,
    pub(crate) before_bytes: u64,
    pub(crate) after_bytes: u64,
}

/// Either of them.
pub(crate) enum Entry {
    Cell(Cell),
    Held(Held),
}

impl From<Cell> for Entry {
    fn from(cell: Cell) -> Self {
        Self::Cell(cell)
    }
}

impl From<Held> for Entry {
    fn from(held: Held) -> Self {
        Self::Held(held)
    }
}

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    host: Host,
    versions: BTreeMap<&'static str, String>,
    seconds: u64,
    warm_up_ms: u64,
    pinned: bool,
    cells: Vec<Cell>,
    idle: Vec<Held>,
}

impl Report {
    /// A report without figures.
    pub(crate) fn new(host: Host, versions: Vec<(&'static str, String)>, plan: &Plan) -> Self {
        Self {
            host,
            versions: versions.into_iter().collect(),
            seconds: plan.seconds,
            warm_up_ms: plan.warm_up_ms,
            pinned: !plan.both_cores,
            cells: Vec::new(),
            idle: Vec::new(),
        }
    }

    /// Keeps an entry and shows it on standard error as it comes.
    pub(crate) fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Cell(cell) => {
                let window = &cell.window;
                eprintln!(
                    "round {} {:<11} {:<13} {:>8.0} req/s {:>8.2} us/req, others {:.0}%",
                    cell.round + 1,
                    cell.workload,
                    cell.proxy,
                    per_second(window),
                    per_request(window.proxy_cpu_us, window),
                    others_percent(window)
                );
                self.cells.push(cell);
            }
            Entry::Held(held) => {
                let (round, kib) = (held.round + 1, held.kib_each());
                eprintln!("round {round} {:<13} {kib:.2} KiB/connection", held.proxy);
                self.idle.push(held);
            }
        }
    }

    /// Prints the medians.
    pub(crate) fn print(&self) {
        println!("\n{}", self.host.line());
        for version in self.versions.values() {
            println!("{version}");
        }
        let place = if self.pinned {
            "proxy on one core, load and origin on another"
        } else {
            "nothing pinned"
        };
        println!("{place}; windows of {} s; medians over rounds", self.seconds);
        for workload in &Workload::ALL {
            self.print_workload(workload);
        }
        self.print_idle();
    }

    fn print_workload(&self, workload: &Workload) {
        let of_workload = |cell: &&Cell| cell.workload == workload.name;
        let cells: Vec<&Cell> = self.cells.iter().filter(of_workload).collect();
        if cells.is_empty() {
            return;
        }
        println!("\n{} ({})", workload.title, workload.name);
        println!(
            "{:<13} {:>6} {:>9} {:>9} {:>9} {:>10} {:>6} {:>8} {:>9} {:>9} {:>7}",
            "proxy",
            "rounds",
            "req/s",
            "p50 us",
            "p99 us",
            "CPU us/rq",
            "busy",
            "/haproxy",
            "load us",
            "orig. us",
            "others"
        );
        for name in names() {
            let own: Vec<&Cell> = cells.iter().filter(|c| c.proxy == name).copied().collect();
            if own.is_empty() {
                continue;
            }
            let median_of = |figure: fn(&Window) -> f64| {
                median(own.iter().map(|cell| figure(&cell.window)).collect())
            };
            let proxied = name != Variant::Direct.name();
            let only_proxied = |text: String| if proxied { text } else { "-".to_owned() };
            println!(
                "{name:<13} {:>6} {:>9.0} {:>9.0} {:>9.0} {:>10} {:>6} {:>8} {:>9.2} {:>9.2} {:>7}",
                own.len(),
                median_of(per_second),
                median_of(|w| w.p50_us),
                median_of(|w| w.p99_us),
                only_proxied(format!("{:.2}", median_of(|w| per_request(w.proxy_cpu_us, w)))),
                only_proxied(format!("{:.0}%", median_of(|w| w.proxy_cpu_us / w.seconds / 1e4))),
                only_proxied(ratio(&own, &cells)),
                median_of(|w| per_request(w.load_cpu_us, w)),
                median_of(|w| per_request(w.origin_cpu_us, w)),
                format!("{:.0}%", median_of(others_percent)),
            );
        }
    }

    fn print_idle(&self) {
        if self.idle.is_empty() {
            return;
        }
        println!("\nmemory per idle connection that has done one request");
        println!(
            "{:<13} {:>6} {:>11} {:>10} {:>10} {:>14}",
            "proxy", "rounds", "connections", "before MiB", "held MiB", "KiB/connection"
        );
        for name in names() {
            let own: Vec<&Held> = self.idle.iter().filter(|h| h.proxy == name).collect();
            let Some(first) = own.first() else { continue };
            let median_of =
                |figure: fn(&Held) -> f64| median(own.iter().map(|h| figure(h)).collect());
            println!(
                "{name:<13} {:>6} {:>11} {:>10.1} {:>10.1} {:>14.2}",
                own.len(),
                first.connections,
                median_of(|h| h.before_bytes as f64 / MIB),
                median_of(|h| h.after_bytes as f64 / MIB),
                median_of(Held::kib_each),
            );
        }
    }

    /// Writes every round as JSON.
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).map_err(|e| format!("writing {}: {e}", path.display()))?;
        Ok(())
    }
}

impl Held {
    fn kib_each(&self) -> f64 {
        (self.after_bytes as f64 - self.before_bytes as f64) / 1024.0 / f64::from(self.connections)
    }
}

/// The median over rounds of this proxy's CPU time per request over `HAProxy`'s in that round.
fn ratio(own: &[&Cell], all: &[&Cell]) -> String {
    let ratios: Vec<f64> = own
        .iter()
        .filter_map(|cell| {
            let peer = Variant::HaproxyHttp.name();
            let peer = all.iter().find(|c| c.proxy == peer && c.round == cell.round)?;
            let cost = |cell: &Cell| per_request(cell.window.proxy_cpu_us, &cell.window);
            Some(cost(cell) / cost(peer))
        })
        .collect();
    if ratios.is_empty() { "-".to_owned() } else { format!("{:.2}", median(ratios)) }
}

fn names() -> impl Iterator<Item = &'static str> {
    <Variant as clap::ValueEnum>::value_variants().iter().map(|variant| variant.name())
}

fn per_second(window: &Window) -> f64 {
    window.requests as f64 / window.seconds
}

fn per_request(cpu_us: f64, window: &Window) -> f64 {
    cpu_us / window.requests as f64
}

/// What the rest of the machine used meanwhile, in percent of one core.
pub(crate) fn others_percent(window: &Window) -> f64 {
    window.others_cpu_us / window.seconds / 1e4
}

/// The middle value, or the mean of the two in the middle; of at least one value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

const MIB: f64 = 1_048_576.0;
