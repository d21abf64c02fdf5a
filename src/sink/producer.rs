//! The brokers behind a producer of librdkafka: asked for the topic, given records, made anew when it breaks.
//!
//! Never waits: what librdkafka only does by waiting (a question for metadata, the end of a producer) is done on a
//! thread of its own. The number of partitions is asked for once per producer: partitions added meanwhile would tear
//! connections apart.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, channel},
    },
    thread::{self, JoinHandle},
};

use rdkafka::{error::RDKafkaErrorCode, producer::Producer};

use super::{
    lease::{Lease, Origin},
    lend::Lender,
    sides::{Broker, Polled},
    topic::{KafkaError, KafkaSettings, TopicCheck},
};
use crate::{capture::Record, kafka::error_name, sys::bell::Bell};

/// The wait before a new producer, doubled after each failure up to the second figure.
const REST_NS: (u64, u64) = (100_000_000, 5_000_000_000);
/// How long the brokers are left alone after they could not name the partitions.
const ASK_PAUSE_NS: u64 = 500_000_000;
/// How often the brokers are asked why they acknowledge nothing.
const EXAMINE_PAUSE_NS: u64 = 5_000_000_000;
/// How often what a producer has is recalled again.
const RECALL_NS: u64 = 1_000_000_000;

/// See the file.
pub(super) struct KafkaBroker {
    settings: KafkaSettings,
    bell: Arc<Bell>,
    stage: Stage,
    rest_ns: u64,
    /// The question why nothing is acknowledged, and when it may be asked again.
    examination: (Option<JoinHandle<()>>, u64),
    /// Producers made after the first.
    pub(super) rebuilds: u64,
    /// What went wrong since somebody took this, by code.
    pub(super) errors: BTreeMap<String, u64>,
}

enum Stage {
    /// The number of partitions is not known yet.
    Asking { lender: Arc<Lender>, answer: Option<Receiver<TopicCheck>>, due_ns: u64 },
    /// Records can be handed over.
    Ready { lender: Arc<Lender>, partitions: usize },
    /// The producer reports what it has as failed.
    Ending { lender: Arc<Lender>, recalled_ns: u64 },
    /// There is no producer until then.
    Resting { until_ns: u64 },
}

impl KafkaBroker {
    /// Makes the first producer on the calling thread.
    pub(super) fn new(settings: KafkaSettings, bell: Arc<Bell>) -> Result<Self, KafkaError> {
        let lender = Arc::new(settings.lender(&bell)?);
        let stage = Stage::Asking { lender, answer: None, due_ns: 0 };
        let (examination, errors) = ((None, 0), BTreeMap::new());
        Ok(Self { settings, bell, stage, rest_ns: REST_NS.0, examination, rebuilds: 0, errors })
    }

    fn lender(&self) -> Option<&Arc<Lender>> {
        match &self.stage {
            Stage::Asking { lender, .. }
            | Stage::Ready { lender, .. }
            | Stage::Ending { lender, .. } => Some(lender),
            Stage::Resting { .. } => None,
        }
    }

    /// Goes on with what was begun; what is to be complained of.
    fn proceed(&mut self, now_ns: u64) -> Option<String> {
        match &mut self.stage {
            Stage::Asking { lender, answer: answer @ None, due_ns } if now_ns >= *due_ns => {
                *answer = ask(&self.settings, lender, &self.bell);
                *due_ns = now_ns + ASK_PAUSE_NS;
                None
            }
            Stage::Asking { lender, answer, due_ns } => {
                let said = match answer.as_ref()?.try_recv() {
                    Ok(said) => said,
                    Err(TryRecvError::Empty) => return None,
                    Err(TryRecvError::Disconnected) => TopicCheck::Unreachable("no answer".into()),
                };
                *answer = None;
                *due_ns = now_ns + ASK_PAUSE_NS;
                match said {
                    TopicCheck::Ready(partitions) => {
                        let lender = Arc::clone(lender);
                        lender.producer().context().witness.forget();
                        self.stage = Stage::Ready { lender, partitions };
                        None
                    }
                    TopicCheck::Unknown => Some(self.settings.missing()),
                    TopicCheck::Unreachable(reason) => Some(reason),
                }
            }
            Stage::Ending { lender, .. } if lender.lent() == 0 => {
                self.stage = Stage::Resting { until_ns: now_ns + self.rest_ns };
                self.rest_ns = (self.rest_ns * 2).min(REST_NS.1);
                None
            }
            Stage::Ending { lender, recalled_ns } if now_ns >= *recalled_ns + RECALL_NS => {
                lender.recall();
                *recalled_ns = now_ns;
                None
            }
            Stage::Resting { until_ns } if now_ns >= *until_ns => {
                match self.settings.lender(&self.bell) {
                    Ok(lender) => {
                        self.rebuilds += 1;
                        let lender = Arc::new(lender);
                        self.stage = Stage::Asking { lender, answer: None, due_ns: 0 };
                        None
                    }
                    Err(error) => {
                        *until_ns = now_ns + REST_NS.1;
                        Some(error.to_string())
                    }
                }
            }
            _ => None,
        }
    }

    /// Lets go of a producer. Its end waits for librdkafka's threads, which may be looking up a name.
    fn bury(&self, lender: Arc<Lender>) {
        let bell = Arc::clone(&self.bell);
        let end = move || {
            drop(lender);
            drop(bell);
        };
        // Without a thread for it, it is done here.
        let _ = thread::Builder::new().name("kafka-end".into()).spawn(end);
    }
}

impl Broker for KafkaBroker {
    fn partitions(&self) -> Option<usize> {
        match &self.stage {
            Stage::Ready { partitions, .. } => Some(*partitions),
            _ => None,
        }
    }

    fn produce(&mut self, lease: Lease) -> Result<(), (RDKafkaErrorCode, Lease)> {
        match &self.stage {
            Stage::Ready { lender, .. } => lender.produce(lease),
            _ => Err((RDKafkaErrorCode::QueueFull, lease)),
        }
    }

    fn for_each(&mut self, look: &mut dyn FnMut(&Record, &mut Origin)) {
        if let Some(lender) = self.lender() {
            lender.for_each(look);
        }
    }

    fn poll(&mut self, now_ns: u64) -> Polled {
        let mut polled = Polled::default();
        let ending = matches!(self.stage, Stage::Ending { .. });
        let mut errors = BTreeMap::new();
        if let Some(lender) = self.lender() {
            polled.reports = lender.collect();
            let witness = &lender.producer().context().witness;
            polled.complaint = witness.news().map(|trouble| trouble.to_string());
            errors = witness.take_counts();
            for report in &polled.reports {
                match report.failure {
                    None => witness.forget(),
                    // Called back by us.
                    Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
                    Some(code) => *errors.entry(error_name(code)).or_default() += 1,
                }
            }
            if witness.was_refused() {
                self.settings.access().login().renew(lender.producer().client());
            }
            if !ending && let Some((code, reason)) = lender.producer().client().fatal_error() {
                polled.complaint = Some(format!("fatal: {code}: {reason}"));
                polled.broken = true;
            }
        }
        for (code, count) in errors {
            *self.errors.entry(code).or_default() += count;
        }
        if polled.reports.iter().any(|report| report.failure.is_none()) {
            self.rest_ns = REST_NS.0;
        }
        let before = self.lender().cloned();
        let complaint = self.proceed(now_ns);
        polled.complaint = complaint.or(polled.complaint);
        if matches!(self.stage, Stage::Resting { .. })
            && let Some(lender) = before
        {
            self.bury(lender);
        }
        polled
    }

    fn examine(&mut self, now_ns: u64, partitions: &[usize]) {
        let (asking, due_ns) = &mut self.examination;
        let Stage::Ready { lender, .. } = &self.stage else { return };
        if now_ns < *due_ns || asking.as_ref().is_some_and(|asking| !asking.is_finished()) {
            return;
        }
        *due_ns = now_ns + EXAMINE_PAUSE_NS;
        let (settings, lender, bell) =
            (self.settings.clone(), Arc::clone(lender), Arc::clone(&self.bell));
        let partitions = partitions.to_vec();
        let work = move || {
            if let Some(trouble) = settings.examine(lender.producer(), &partitions) {
                lender.producer().context().witness.found(trouble);
                bell.ring_always();
            }
            drop(lender);
            drop(bell);
        };
        *asking = thread::Builder::new().name("kafka-why".into()).spawn(work).ok();
    }

    fn renew(&mut self, now_ns: u64) {
        let lender = match &self.stage {
            Stage::Asking { lender, .. } | Stage::Ready { lender, .. } => Arc::clone(lender),
            Stage::Ending { .. } | Stage::Resting { .. } => return,
        };
        lender.recall();
        self.stage = Stage::Ending { lender, recalled_ns: now_ns };
    }
}

/// Asks for the topic on a thread of its own, which rings the bell when it knows.
fn ask(
    settings: &KafkaSettings,
    lender: &Arc<Lender>,
    bell: &Arc<Bell>,
) -> Option<Receiver<TopicCheck>> {
    let (settings, lender, bell) = (settings.clone(), Arc::clone(lender), Arc::clone(bell));
    let (tell, answer) = channel();
    let work = move || {
        // Nobody listens any more when the producer was given up meanwhile.
        let _ = tell.send(settings.ask(lender.producer()));
        bell.ring_always();
        drop(lender);
        drop(bell);
    };
    thread::Builder::new().name("kafka-ask".into()).spawn(work).ok().map(|_| answer)
}
