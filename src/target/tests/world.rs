//! One simulated run: a worker, its conductor and its targets, drawn from one seed and turned until the worker is done.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::line::Stage;
use super::peer::{Manners, Peer, Request};
use crate::{
    ring::sim::{Faults, Ledger, Net, Random, SimRing},
    sys::bell::Bell,
    target::{ConductorEnd, Counters, Job, Parts, Reply, Settings, Worker, link},
    tls::Trust,
};

/// What a run is like.
pub(super) struct Setup {
    /// The targets speak TLS.
    pub(super) server: Option<Arc<rustls::ServerConfig>>,
    /// By those who are to use them.
    pub(super) distrusted: bool,
    /// Nothing goes wrong: every job gets its response.
    pub(super) calm: bool,
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) manners: Manners,
    pub(super) jobs: u64,
    pub(super) in_flight: u64,
    pub(super) body_bytes_max: u64,
    pub(super) cancel_ns: u64,
    /// The conductor stops taking replies at this time, and goes.
    pub(super) gone_ns: u64,
    pub(super) pause_ns_max: u64,
    pub(super) buffers: usize,
    pub(super) buffer_bytes: usize,
    pub(super) socket_bytes_max: u64,
    pub(super) connect_ns_max: u64,
}

/// A job as it was sent.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    /// The memory that was handed in.
    pub(super) lent: (Vec<u8>, Vec<u8>),
    pub(super) keep: usize,
    pub(super) cancelled: bool,
}

/// A run and what it left behind.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) peers: Vec<Peer>,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) replies: Vec<Reply>,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Ledger,
    /// The conductor went before the end.
    pub(super) gone: bool,
    random: Random,
    conductor: Option<ConductorEnd>,
    worker: Option<Worker<SimRing>>,
    next_ns: u64,
    cancelled: bool,
}

impl Setup {
    fn draw(random: &mut Random) -> Self {
        let calm = random.chance(300);
        let rare = |random: &mut Random, max| if calm { 0 } else { random.below(max) as u32 };
        let faults = Faults {
            rearm: random.below(100) as u32,
            no_buffers: random.below(100) as u32,
            woken: random.below(50) as u32,
            idle: random.below(50) as u32,
            send_fails: rare(random, 8),
            open_fails: rare(random, 200),
            connect_refused: rare(random, 400),
            connect_silent: rare(random, 100),
            ..Faults::default()
        };
        let manners = Manners {
            delay_ns_max: 1 << random.between(10, 27),
            answer_bytes_max: 1 << random.between(4, 18),
            early: rare(random, 80),
            interim: random.below(150) as u32,
            rude: 0,
            until_eof: random.below(60) as u32,
            says_close: random.below(100) as u32,
            resets: rare(random, 40),
            closes: rare(random, 40),
            closes_idle: rare(random, 100),
            garbage: rare(random, 30),
            surplus: rare(random, 30),
            silent: rare(random, 20),
        };
        let addresses = ["10.0.0.1:9200", "10.0.0.2:9200", "10.0.0.3:9200"];
        let addresses = addresses.map(|a| a.parse().expect("address"));
        let n = random.between(1, 3) as usize;
        let mut settings = Settings::new(addresses[..n].to_vec());
        settings.connect_timeout = Duration::from_secs(2);
        // Longer than any delay and pause of a peer in a calm run.
        settings.response_timeout = Duration::from_secs(5);
        settings.idle_timeout = Duration::from_millis(1 << random.between(0, 14));
        settings.connections_max = 1 + random.spread(0, 6) as usize;
        if random.chance(300) {
            settings.response_bytes_max = random.spread(4, 12) as usize;
        }
        let late = |random: &mut Random, per_mille| {
            let at = START_NS + random.spread(18, 33);
            if !calm && random.chance(per_mille) { at } else { u64::MAX }
        };
        Self {
            server: None,
            distrusted: false,
            calm,
            settings,
            faults,
            manners,
            jobs: random.between(1, 60),
            in_flight: 1 + random.spread(0, 6),
            body_bytes_max: 1 << random.between(2, 20),
            cancel_ns: late(random, 250),
            gone_ns: late(random, 80),
            pause_ns_max: 1 << random.between(8, 30),
            buffers: 1 << random.between(1, 6),
            buffer_bytes: 1 << random.between(7, 15),
            socket_bytes_max: 1 << random.between(9, 18),
            connect_ns_max: 1 << random.between(10, 28),
        }
    }

    /// With TLS, all of one certificate.
    pub(super) fn seal(&mut self) {
        static ONE: OnceLock<(Stage, Trust)> = OnceLock::new();
        let (stage, trust) = ONE.get_or_init(|| {
            let stage = Stage::new("es.example");
            let trust = Trust::new("es.example", Some(&stage.ca), None, false).expect("a trust");
            (stage, trust)
        });
        self.server = Some(Arc::clone(&stage.server));
        self.settings.tls = Some(trust.clone());
        // A handshake goes to and fro over small buffers and slow peers.
        self.settings.connect_timeout = Duration::from_secs(20);
    }

    /// Nothing goes wrong and nothing waits.
    pub(super) fn quiet() -> Self {
        let mut settings = Settings::new(vec!["10.0.0.1:9200".parse().expect("address")]);
        settings.connect_timeout = Duration::from_secs(2);
        settings.response_timeout = Duration::from_secs(5);
        Self {
            server: None,
            distrusted: false,
            calm: true,
            settings,
            faults: Faults::default(),
            manners: Manners { answer_bytes_max: 100, ..Manners::default() },
            jobs: 10,
            in_flight: 1,
            body_bytes_max: 100,
            cancel_ns: u64::MAX,
            gone_ns: u64::MAX,
            pause_ns_max: 1,
            buffers: 16,
            buffer_bytes: 32 << 10,
            socket_bytes_max: 64 << 10,
            connect_ns_max: 1_000_000,
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let setup = Setup::draw(&mut random);
        Self::build(random.draw(), setup)
    }

    /// The same over TLS, with targets that may cut an answer where only TLS can tell.
    pub(super) fn sealed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut setup = Setup::draw(&mut random);
        setup.seal();
        if !setup.calm {
            setup.manners.rude = 300;
        }
        Self::build(random.draw(), setup)
    }

    pub(super) fn build(seed: u64, setup: Setup) -> Self {
        let mut net = Net::new(seed, setup.faults);
        net.socket_bytes_max = setup.socket_bytes_max;
        net.connect_ns_max = setup.connect_ns_max;
        let net = Rc::new(RefCell::new(net));
        let bells = [(); 2].map(|()| Arc::new(Bell::new().expect("an event descriptor")));
        let (conductor, link) = link(Arc::clone(&bells[0]), Arc::clone(&bells[1]));
        let counters = Arc::<Counters>::default();
        let parts = Parts {
            ring: SimRing::new(Rc::clone(&net), setup.buffers, setup.buffer_bytes),
            settings: setup.settings.clone(),
            counters: Arc::clone(&counters),
            bell: Arc::clone(&bells[0]),
            link,
        };
        let worker = Worker::new(parts, net.borrow().now_ns());
        Self {
            setup,
            net,
            peers: Vec::new(),
            sent: BTreeMap::new(),
            replies: Vec::new(),
            counters,
            ledger: Ledger::default(),
            gone: false,
            random: Random::new(seed ^ 0x5EED),
            conductor: Some(conductor),
            worker: Some(worker),
            next_ns: 0,
            cancelled: false,
        }
    }

    /// Turns until the worker is done and its peers know it.
    pub(super) fn run(&mut self) {
        let mut worker = self.worker.take().expect("a world runs once");
        for turn in 0.. {
            assert!(
                turn < TURNS_MAX,
                "liveness: {} of {} replied",
                self.replies.len(),
                self.sent.len()
            );
            self.act();
            let done = worker.turn(|| self.net.borrow().now_ns()).expect("a turn");
            assert!(
                self.net.borrow().spins() < SPINS_MAX,
                "liveness: turns without anything to do"
            );
            if done {
                break;
            }
        }
        drop(worker);
        self.ledger = self.net.borrow().ledger();
        if let Some(conductor) = &mut self.conductor {
            self.replies.extend(std::iter::from_fn(|| conductor.reply()));
            assert!(conductor.is_finished());
        }
        for _ in 0..AFTER_TURNS {
            self.net.borrow_mut().pass(AFTER_TURN_NS);
            self.act_peers();
        }
    }

    fn act(&mut self) {
        self.act_conductor();
        self.act_peers();
        let net = &mut *self.net.borrow_mut();
        let peers = self.peers.iter().filter(|peer| !peer.done).map(|peer| peer.next_ns);
        let setup = &self.setup;
        let busy = (self.sent.len() - self.replies.len()) as u64;
        let more = busy < setup.in_flight && (self.sent.len() as u64) < setup.jobs;
        let own = [(more, self.next_ns), (!self.cancelled, setup.cancel_ns), (true, setup.gone_ns)];
        let own = own.into_iter().filter(|_| self.conductor.is_some());
        let own = own.filter_map(|(wanted, at)| wanted.then_some(at));
        let alarm = peers.chain(own).min();
        net.alarm_ns = alarm.map(|at| at.max(net.now_ns() + 1)).filter(|at| *at != u64::MAX);
    }

    fn act_peers(&mut self) {
        let net = &mut *self.net.borrow_mut();
        while let Some(link) = net.arrival() {
            self.peers.push(Peer::new(link, self.setup.manners, self.setup.server.as_ref()));
        }
        self.peers.iter_mut().for_each(|peer| peer.act(net));
    }

    fn act_conductor(&mut self) {
        let now_ns = self.net.borrow().now_ns();
        let Some(conductor) = &mut self.conductor else { return };
        if now_ns >= self.setup.gone_ns {
            self.conductor = None;
            self.gone = true;
            return;
        }
        self.replies.extend(std::iter::from_fn(|| conductor.reply()));
        let Self { random, setup, sent, .. } = self;
        if now_ns >= setup.cancel_ns && !self.cancelled {
            self.cancelled = true;
            conductor.cancel_all();
            for job in sent.values_mut() {
                job.cancelled = true;
            }
            conductor.flush();
        }
        if now_ns < self.next_ns {
            return;
        }
        let mut room = setup.in_flight.saturating_sub((sent.len() - self.replies.len()) as u64);
        room = room.min(setup.jobs - sent.len() as u64);
        for _ in 0..random.between(room.min(1), room) {
            let id = sent.len() as u64 + 1;
            let is_head = random.chance(150);
            let body = random.below(setup.body_bytes_max + 1);
            let body = if random.chance(800) { body.min(3000) } else { body } as usize;
            let bytes = Request::write(id, is_head, body);
            let keep = random.spread(0, 20) as usize;
            let job = job(random, id, &bytes);
            let lent = (job.head.clone(), job.bytes.clone());
            conductor.send(Job { head_request: is_head, keep, ..job });
            sent.insert(id, Sent { bytes, lent, keep, cancelled: false });
        }
        if sent.len() as u64 == setup.jobs {
            conductor.close();
        }
        conductor.flush();
        self.next_ns = now_ns + 1 + random.below(setup.pause_ns_max);
    }
}

/// The request in one piece, or its front apart and something else in front of the rest.
fn job(random: &mut Random, id: u64, request: &[u8]) -> Job {
    if random.chance(500) {
        return Job { id, bytes: request.to_vec(), ..Job::default() };
    }
    let cut = random.between(1, request.len() as u64) as usize;
    let from = random.below(200) as usize;
    let mut bytes = vec![b'-'; from];
    bytes.extend_from_slice(&request[cut..]);
    Job { id, head: request[..cut].to_vec(), bytes, from, ..Job::default() }
}

pub(super) const START_NS: u64 = 1_000_000_000;
/// Far more than any run needs.
const TURNS_MAX: usize = 400_000;
const SPINS_MAX: u32 = 100;
const AFTER_TURNS: usize = 1000;
const AFTER_TURN_NS: u64 = 10_000_000;
