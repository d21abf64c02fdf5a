//! One simulated run: a worker, its clients, sources and sink, drawn from one seed and turned until the worker is done.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use super::{
    client::{Client, End, Plan},
    line::{Line, Stage},
    origin::{Manners, Origin},
    script::{self, Kinds},
    sink::{Sink, Temper},
};
use crate::{
    capture::Identity,
    config::Deadlines,
    observe::Counters,
    proxy::{Control, Haste, Listener, Now, Parts, Settings, Worker},
    ring::sim::{Faults, Ledger, Net, Random, SimRing},
    sink::link,
    sys::bell::Bell,
};

/// What a run is like.
pub(super) struct Setup {
    /// Nothing goes wrong: everyone gets all they are due.
    pub(super) calm: bool,
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) manners: Manners,
    pub(super) temper: Temper,
    pub(super) kinds: Kinds,
    pub(super) drain_ns: u64,
    buffers: usize,
    buffer_bytes: usize,
    pub(super) socket_bytes_max: u64,
    pub(super) connect_ns_max: u64,
    clients: usize,
    /// Empty batches that stand in the sink's queue.
    pub(super) blocked_batches: usize,
    /// Accepting ends with each connection.
    shared: bool,
    pub(super) haste: Haste,
}

/// A run and what it left behind.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) clients: Vec<Client>,
    pub(super) origins: Vec<Origin>,
    pub(super) sink: Option<Sink>,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Ledger,
    pub(super) outstanding_bytes_max: u64,
    control: Arc<Control>,
    worker: Option<Worker<SimRing>>,
    told: bool,
}

impl Setup {
    /// What this seed makes of it.
    pub(super) fn draw(random: &mut Random) -> Self {
        let calm = random.chance(300);
        let rare = |random: &mut Random, max| if calm { 0 } else { random.below(max) as u32 };
        let faults = Faults {
            rearm: random.below(100) as u32,
            no_buffers: random.below(60) as u32,
            accept_ends: random.below(100) as u32,
            accept_full: random.below(100) as u32,
            watch_ends: random.below(500) as u32,
            woken: random.below(50) as u32,
            idle: random.below(50) as u32,
            send_fails: rare(random, 8),
            open_fails: rare(random, 60),
            connect_refused: rare(random, 150),
            connect_silent: rare(random, 60),
        };
        let manners = Manners {
            delay_ns_max: 1 << random.between(10, 27),
            answer_bytes_max: 1 << random.between(4, 18),
            early: rare(random, 80),
            interim: random.below(150) as u32,
            until_eof: rare(random, 60),
            resets: rare(random, 40),
            closes: rare(random, 40),
            garbage: rare(random, 30),
        };
        let addresses = ["10.0.0.1:9200", "10.0.0.2:9200"].map(|a| a.parse().expect("address"));
        let n = random.between(1, 2) as usize;
        let mut settings = Settings::new("source:9200", addresses[..n].to_vec());
        settings.capture = !random.chance(80);
        settings.hold_all_posts = random.chance(200);
        settings.record_bytes_max =
            [2048, 5000, 70_000, settings.record_bytes_max][random.below(4) as usize];
        settings.flush_age = Duration::from_millis(random.between(1, 500));
        if random.chance(400) {
            settings.unacknowledged_bytes_max = 1 << random.between(8, 18);
        }
        if !calm && random.chance(250) {
            settings.hold_timeout = Some(Duration::from_millis(1 << random.between(0, 12)));
        }
        if !calm {
            settings.drain_timeout = Duration::from_millis(1 << random.between(0, 14));
        }
        let drain_ns = if calm { u64::MAX } else { START_NS + (1 << random.between(18, 33)) };
        let temper = Temper {
            delay_ns_max: 1 << random.between(10, 28),
            stalls: random.below(60) as u32,
            stall_ns_max: 1 << random.between(10, 31),
            dies_ns: if !calm && random.chance(100) { drain_ns } else { u64::MAX },
            revives_ns: u64::MAX,
            deaf: false,
        };
        // With little memory each receive waits for the sink.
        let little = settings.unacknowledged_bytes_max < 16 << 10;
        settings.deadlines = match (calm, random.chance(300)) {
            (false, true) => Deadlines {
                head: Some(Duration::from_millis(300)),
                body_bytes_per_second: 100_000,
                body_window: Duration::from_millis(300),
                idle: Some(Duration::from_millis(500)),
                write_stall: Some(Duration::from_millis(400)),
            },
            _ => Deadlines {
                head: None,
                body_bytes_per_second: 0,
                idle: None,
                write_stall: None,
                ..Deadlines::default()
            },
        };
        let filtered = random.chance(400);
        let kinds = Kinds {
            filtered,
            redacts: random.chance(250),
            body_bytes_max: 1 << random.between(4, if little { 14 } else { 19 }),
            hold_all_posts: settings.hold_all_posts,
            malformed: random.below(60) as u32,
        };
        let often = [0, 20, 1000, 10_000][random.below(4) as usize];
        settings.heartbeat_interval = Duration::from_millis(often);
        if filtered || kinds.redacts {
            settings.filter = Arc::new(script::filter(kinds));
        }
        Self {
            calm,
            settings,
            faults,
            manners,
            temper,
            kinds,
            drain_ns,
            buffers: 8 << random.below(4),
            buffer_bytes: 1 << random.between(8, 15),
            socket_bytes_max: 1 << random.between(9, 18),
            connect_ns_max: 1 << random.between(10, 28),
            clients: random.between(1, 12) as usize,
            blocked_batches: 0,
            shared: random.chance(300),
            haste: if random.chance(300) { Haste::None } else { Haste::Soon },
        }
    }

    /// Nothing goes wrong and nothing waits.
    pub(super) fn quiet() -> Self {
        let address = "10.0.0.1:9200".parse().expect("an address");
        Self {
            calm: false,
            settings: Settings::new("source:9200", vec![address]),
            faults: Faults::default(),
            manners: Manners { answer_bytes_max: 100, ..Manners::default() },
            temper: Temper {
                delay_ns_max: 1,
                stalls: 0,
                stall_ns_max: 0,
                dies_ns: u64::MAX,
                revives_ns: u64::MAX,
                deaf: false,
            },
            kinds: Kinds {
                body_bytes_max: 100,
                hold_all_posts: false,
                malformed: 0,
                filtered: false,
                redacts: false,
            },
            drain_ns: START_NS + 1_000_000_000,
            buffers: 16,
            buffer_bytes: 32 << 10,
            socket_bytes_max: 64 << 10,
            connect_ns_max: 1_000_000,
            clients: 1,
            blocked_batches: 0,
            shared: false,
            haste: Haste::Soon,
        }
    }

    fn plan(&self, random: &mut Random, stream_bytes: usize) -> Plan {
        let start_ns = START_NS + random.spread(10, 29);
        let stream_bytes = stream_bytes as u64;
        let end = match random.below(if self.calm { 10 } else { 16 }) {
            0..=5 => End::Close,
            6 | 7 => End::HalfClose,
            8 | 9 => End::Stay,
            10 | 11 => End::ResetAt(start_ns + random.spread(10, 30)),
            12 | 13 => End::ResetAfter(random.below(stream_bytes + 1) as usize),
            _ => End::CloseAfter(random.below(stream_bytes + 1) as usize),
        };
        Plan {
            start_ns,
            depth: if random.chance(500) { 1 } else { random.between(2, 8) as usize },
            piece: match random.below(6) {
                0 => 1 + stream_bytes as usize / 400,
                1 => 100 + stream_bytes as usize / 400,
                _ => usize::MAX,
            },
            reads: if random.chance(150) { 300 } else { 1000 },
            end,
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self::draw(seed, |_| ())
    }

    /// The same over TLS on one side or both.
    pub(super) fn sealed(seed: u64) -> Self {
        Self::draw(seed, |setup| {
            let stage = Stage::get();
            if !seed.is_multiple_of(3) {
                setup.settings.tls = Some(stage.acceptor.clone());
            }
            if seed % 3 != 1 {
                setup.settings.source_tls = Some(stage.trust.clone());
            }
        })
    }

    /// The same with a sink that is stuck now and then, or for ever, and writes that pass meanwhile.
    pub(super) fn passing(seed: u64) -> Self {
        Self::draw(seed, |setup| {
            setup.settings.pass = true;
            setup.settings.hold_timeout = Some(Duration::from_millis(8 << (seed % 9)));
            setup.temper.stalls = setup.temper.stalls.max((seed % 7) as u32 * 40);
            if seed.is_multiple_of(5) {
                setup.temper.dies_ns = START_NS + (1 << (20 + seed % 12));
                setup.temper.revives_ns = setup.temper.dies_ns + (1 << (24 + seed % 11));
                setup.settings.drain_timeout = Duration::from_secs(1);
            }
            if seed.is_multiple_of(15) {
                setup.temper.revives_ns = u64::MAX;
            }
        })
    }

    fn draw(seed: u64, change: impl FnOnce(&mut Setup)) -> Self {
        let mut random = Random::new(seed);
        let mut setup = Setup::draw(&mut random);
        change(&mut setup);
        let mut clients = Vec::new();
        for number in 0..setup.clients {
            let n = random.between(u64::from(setup.calm), 12) as usize;
            let requests = script::requests(&mut random, number, n, setup.kinds);
            let bytes = requests.iter().map(|request| request.bytes.len()).sum();
            let plan = setup.plan(&mut random, bytes);
            clients.push(Client::new(number, requests, plan));
        }
        Self::build(random.draw(), setup, clients)
    }

    /// A world with these clients.
    pub(super) fn build(seed: u64, setup: Setup, mut clients: Vec<Client>) -> Self {
        for client in &mut clients {
            client.line = Line::client(setup.settings.tls.is_some());
        }
        let mut net = Net::new(seed, setup.faults);
        net.socket_bytes_max = setup.socket_bytes_max;
        net.connect_ns_max = setup.connect_ns_max;
        let listeners = vec![Listener { fd: net.listen(), shared: setup.shared }];
        let net = Rc::new(RefCell::new(net));
        let bells = [(); 2].map(|()| Arc::new(Bell::new().expect("an event descriptor")));
        let (worker_end, sink_end) = link(Arc::clone(&bells[0]), Arc::clone(&bells[1]));
        let captures = setup.settings.capture;
        for _ in 0..setup.blocked_batches {
            assert!(worker_end.publish(Vec::new(), false).is_ok(), "fits into the queue");
        }
        let (counters, control) = (Arc::<Counters>::default(), Arc::<Control>::default());
        let parts = Parts {
            ring: SimRing::new(Rc::clone(&net), setup.buffers, setup.buffer_bytes),
            listeners,
            settings: setup.settings.clone(),
            identity: Identity { node: NODE.into(), incarnation: seed, worker: 3 },
            counters: Arc::clone(&counters),
            control: Arc::clone(&control),
            bell: Arc::clone(&bells[0]),
            sink: captures.then_some(worker_end),
        };
        // What is held may wait for an earlier record first and for its own then, and the sink looks late.
        let patience = setup.settings.hold_timeout.map(|timeout| timeout / 4);
        let patience_ns = patience.map_or(u64::MAX, |patience| patience.as_nanos() as u64);
        let worker = Worker::new(parts, now(&net.borrow()));
        Self {
            sink: captures.then(|| Sink::new(sink_end, setup.temper, patience_ns)),
            setup,
            net,
            clients,
            origins: Vec::new(),
            counters,
            ledger: Ledger::default(),
            outstanding_bytes_max: 0,
            control,
            worker: Some(worker),
            told: false,
        }
    }

    /// Turns until the worker is done and its peers know it.
    pub(super) fn run(&mut self) {
        let mut worker = self.worker.take().expect("a world runs once");
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "liveness: not done after {turn} turns: {}", self.describe());
            self.act();
            let done = worker.turn(|| now(&self.net.borrow())).expect("a turn");
            let spins = self.net.borrow().spins();
            assert!(spins < SPINS_MAX, "liveness: {spins} turns without anything to do");
            if done {
                break;
            }
        }
        drop(worker);
        self.ledger = self.net.borrow().ledger();
        // The peers read what is on its way.
        for _ in 0..AFTER_TURNS {
            self.net.borrow_mut().pass(AFTER_TURN_NS);
            self.act();
        }
        let net = self.net.borrow();
        for origin in &mut self.origins {
            origin.line.read_to_the_end(net.departed(origin.link));
        }
    }

    /// What a run was in the middle of.
    fn describe(&self) -> String {
        let waiting = self.clients.iter().filter(|client| !client.is_done()).map(|client| {
            let (sent, all) = (client.sent, client.stream.len());
            let answers = (client.answers, client.requests.len());
            format!("\n{}: {:?}, {sent} of {all} sent, {answers:?}", client.number, client.plan)
        });
        let waiting: String = waiting.collect();
        let now = self.net.borrow().now_ns();
        format!("at {now}, drain at {}, still there:{waiting}", self.setup.drain_ns)
    }

    fn act(&mut self) {
        let net = &mut *self.net.borrow_mut();
        self.clients.iter_mut().for_each(|client| client.act(net));
        while let Some(link) = net.arrival() {
            let line = Line::server(self.setup.settings.source_tls.is_some());
            self.origins.push(Origin::new(link, line, self.setup.manners));
        }
        self.origins.iter_mut().for_each(|origin| origin.act(net));
        if let Some(sink) = &mut self.sink {
            sink.act(net);
            self.outstanding_bytes_max = self.outstanding_bytes_max.max(sink.outstanding_bytes);
        }
        if net.random.chance(3) {
            self.control.accept_anew();
        }
        let waits = |client: &Client| {
            client.plan.end == End::Stay && client.answers == client.requests.len()
        };
        let all_done = self.clients.iter().all(|client| client.is_done() || waits(client));
        let due = net.now_ns() >= self.setup.drain_ns;
        if !self.told && (due || (self.setup.calm && all_done)) {
            self.told = true;
            self.setup.drain_ns = net.now_ns();
            self.control.drain(self.setup.haste);
        }
        let clients = self.clients.iter().filter(|c| !c.is_done()).map(|c| c.next_ns);
        let origins = self.origins.iter().filter(|o| !o.done).map(|o| o.next_ns);
        let sink = self.sink.iter().map(|sink| sink.next_ns);
        let drain = (!self.told).then_some(self.setup.drain_ns);
        let alarm = clients.chain(origins).chain(sink).chain(drain).min();
        net.alarm_ns = alarm.map(|at| at.max(net.now_ns() + 1)).filter(|at| *at != u64::MAX);
    }
}

pub(super) const NODE: &str = "12200a50-4997-452d-aee7-f9617fdc27e7";
pub(super) const START_NS: u64 = 1_000_000_000;
const UNIX_NS: u64 = 1_795_224_395_000_000_000;
/// More than the slowest worlds need: of 100,000 over TLS four, with small pipes, took over 400,000.
const TURNS_MAX: usize = 1_000_000;
const SPINS_MAX: u32 = 100;
const AFTER_TURNS: usize = 3000;
const AFTER_TURN_NS: u64 = 10_000_000;
/// How long the peers are given after the worker is done.
pub(super) const AFTER_NS: u64 = AFTER_TURNS as u64 * AFTER_TURN_NS;

fn now(net: &Net) -> Now {
    Now { monotonic_ns: net.now_ns(), unix_ns: UNIX_NS + net.now_ns() }
}
