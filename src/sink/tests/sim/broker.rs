//! Brokers that fall silent, fail, break and come back, and what they keep through all of that.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use rdkafka::types::RDKafkaErrorCode;

use super::world::Mark;
use crate::{
    capture::Record,
    ring::sim::Random,
    sink::{
        lease::{Lease, Origin, Report},
        sides::{Broker, Polled},
    },
};

/// What the brokers hold: marks by partition. Outlives every producer.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Vec<Mark>>,
    /// All of them.
    pub(super) there: HashSet<Mark>,
    /// Records above this are refused.
    pub(super) bytes_max: usize,
}

/// How it goes now; drawn anew by the world from time to time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Nothing is answered.
    pub(super) silent: bool,
    /// Nothing is answered on this partition.
    pub(super) silent_partition: Option<u32>,
    /// Of 1,000 records, so many fail, half of them although they were taken.
    pub(super) fails: u32,
    /// Of 1,000 turns, so many break the producer.
    pub(super) breaks: u32,
}

pub(super) const FAIR: Weather =
    Weather { silent: false, silent_partition: None, fails: 0, breaks: 0 };

/// See the file.
pub(super) struct FakeBroker {
    pub(super) topic: Rc<RefCell<Topic>>,
    pub(super) weather: Weather,
    pub(super) random: Random,
    /// With the producer, in order; whether the brokers have it.
    lent: VecDeque<(Lease, bool)>,
    /// Partitions on which a record failed that the brokers do not have: they take nothing behind it of this producer.
    dead: HashSet<u32>,
    ending: bool,
    ready_ns: u64,
}

impl FakeBroker {
    pub(super) fn new(topic: Rc<RefCell<Topic>>, weather: Weather, random: Random) -> Self {
        let lent = VecDeque::new();
        let dead = HashSet::new();
        Self { topic, weather, random, lent, dead, ending: false, ready_ns: 0 }
    }

    /// The process died: what was under way may arrive all the same, in order.
    pub(super) fn die(mut self) -> u64 {
        let with_it = self.lent.len() as u64;
        while let Some((lease, taken)) = self.lent.pop_front() {
            self.perhaps(&lease, taken, 300);
        }
        with_it
    }

    /// The brokers get a record after all, or nothing more of its partition.
    fn perhaps(&mut self, lease: &Lease, taken: bool, lost: u32) -> bool {
        if taken {
            return true;
        }
        if self.dead.contains(&lease.partition) || self.random.chance(lost) {
            self.dead.insert(lease.partition);
            return false;
        }
        self.keep(lease);
        true
    }

    fn keep(&self, lease: &Lease) {
        let mark = Mark::of(&lease.record.bytes);
        let mut topic = self.topic.borrow_mut();
        topic.partitions[lease.partition as usize].push(mark);
        topic.there.insert(mark);
    }

    fn serve(&mut self, polled: &mut Polled) {
        let mut stopped = vec![false; self.topic.borrow().partitions.len()];
        let mut left = VecDeque::new();
        let bytes_max = self.topic.borrow().bytes_max;
        while let Some((lease, taken)) = self.lent.pop_front() {
            let partition = lease.partition;
            let silent = self.weather.silent
                || self.weather.silent_partition == Some(partition)
                || self.dead.contains(&partition);
            let stopped = &mut stopped[partition as usize];
            if *stopped || silent || self.random.chance(200) {
                // An answer can get lost on its way.
                *stopped = true;
                let arrives =
                    !taken && !silent && left_is_taken(&left, partition) && self.random.chance(300);
                if arrives {
                    self.keep(&lease);
                }
                left.push_back((lease, taken || arrives));
            } else if lease.record.bytes.len() > bytes_max && !taken {
                let failure = Some(RDKafkaErrorCode::MessageSizeTooLarge);
                polled.reports.push(Report { lease, failure });
                // Whatever stands behind it in the batch fails with it.
                *stopped = true;
                let (mine, others): (Vec<_>, Vec<_>) =
                    self.lent.drain(..).partition(|(lease, _)| lease.partition == partition);
                self.lent.extend(others);
                polled.reports.extend(mine.into_iter().map(|(lease, _)| Report { lease, failure }));
            } else if self.random.chance(self.weather.fails) {
                self.perhaps(&lease, taken, 500);
                polled
                    .reports
                    .push(Report { lease, failure: Some(RDKafkaErrorCode::RequestTimedOut) });
                *stopped = true;
            } else {
                if !taken {
                    self.keep(&lease);
                }
                polled.reports.push(Report { lease, failure: None });
            }
        }
        self.lent = left;
    }
}

fn left_is_taken(left: &VecDeque<(Lease, bool)>, partition: u32) -> bool {
    left.iter().filter(|(lease, _)| lease.partition == partition).all(|(_, taken)| *taken)
}

impl Broker for FakeBroker {
    fn partitions(&self) -> Option<usize> {
        let ready = !self.ending && self.ready_ns == 0;
        ready.then(|| self.topic.borrow().partitions.len())
    }

    fn produce(&mut self, lease: Lease) -> Result<(), (RDKafkaErrorCode, Lease)> {
        assert!(self.partitions().is_some(), "nothing is handed to a producer that is not ready");
        if self.random.chance(5) {
            return Err((RDKafkaErrorCode::QueueFull, lease));
        }
        self.lent.push_back((lease, false));
        Ok(())
    }

    fn for_each(&mut self, look: &mut dyn FnMut(&Record, &mut Origin)) {
        for (lease, _) in &mut self.lent {
            look(&lease.record, &mut lease.origin);
        }
    }

    fn poll(&mut self, now_ns: u64) -> Polled {
        let mut polled = Polled::default();
        if self.ending {
            // Some arrive after all before the producer is gone.
            while let Some((lease, taken)) = self.lent.pop_front() {
                self.perhaps(&lease, taken, 500);
                let failure = Some(RDKafkaErrorCode::PurgeInflight);
                polled.reports.push(Report { lease, failure });
            }
            self.dead.clear();
            self.ending = false;
            self.ready_ns = now_ns + self.random.below(3_000_000_000);
        } else if self.ready_ns == 0 {
            self.serve(&mut polled);
            polled.broken = self.random.chance(self.weather.breaks);
        } else if now_ns >= self.ready_ns && !self.weather.silent {
            self.ready_ns = 0;
        }
        if self.random.chance(if self.weather.silent { 100 } else { 2 }) {
            polled.complaint = Some("all brokers are down".into());
        }
        polled
    }

    fn examine(&mut self, _: u64, partitions: &[usize]) {
        assert!(partitions.iter().all(|one| *one < self.topic.borrow().partitions.len()));
    }

    fn renew(&mut self, _: u64) {
        if self.ready_ns == 0 {
            self.ending = true;
        }
    }
}
