//! The outcome thread and the journal, as the conductor's thread sees them.
//!
//! Owns the translation of the core's outcomes into what is written. Nothing is handed back to the core as written
//! before it is.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    config::replay::{Input, ReplayConfig},
    observe::{ExitCode, Failure},
    outcome::{
        self, Attempt, Counter, DeskSettings, Entry, Journal, Members, Message, Misfit,
        OutcomeError, Raw, Reply, Stage, TargetRequest, Tuple,
    },
    replay::{
        conductor::Conductor,
        exchange::Answer,
        outcome::{Fate, Finished, Oddity, Sent, Skip, What},
    },
    sys::bell::Bell,
};

/// See the module.
pub(super) struct Desk {
    counter: Counter,
    thread: Option<JoinHandle<()>>,
    /// Lines of a file have no position, and so no journal: each run begins anew.
    journal: Option<Journal>,
    known: HashMap<u64, Stage>,
    tuples: bool,
    /// Outcomes that found the queue full.
    stuck: Vec<outcome::Outcome>,
    /// Times that it was.
    waits: u64,
    entries: Vec<Entry>,
    unwritten: u64,
}

impl Desk {
    /// Opens the files and starts the thread. `anew`: the group has no position, so nothing it did before counts.
    pub(super) fn open(
        config: &ReplayConfig,
        bell: &Arc<Bell>,
        anew: bool,
    ) -> Result<Self, Failure> {
        let settings = DeskSettings::new(config.tuples.clone(), config.quarantine.clone());
        let (counter, desk, recovered) =
            outcome::open(&settings, Arc::clone(bell)).map_err(failure)?;
        if recovered.files > 0 {
            tracing::info!(
                event = "replay.tuples_recovered",
                ?recovered,
                "tuple files of a run that died were closed"
            );
        }
        let members = match config.input {
            Input::Kafka(_) => Some(Members::Many),
            Input::Log(_) => Some(Members::One),
            Input::File(_) | Input::Stdin => None,
        };
        let (mut journal, mut known) = (None, HashMap::new());
        if let Some(members) = members {
            let dir = config.state_dir.join("replay");
            let (mut opened, noted) =
                Journal::open(&dir, &config.group, members, unix_s()).map_err(failure)?;
            if anew {
                opened.clear().map_err(failure)?;
            } else {
                known = noted;
            }
            journal = Some(opened);
        }
        let work = move || {
            // The counter tells the conductor of a failure.
            let _ = desk.run();
        };
        let thread =
            thread::Builder::new().name("outcomes".into()).spawn(work).map_err(|error| {
                Failure::new(ExitCode::Failed, format!("cannot start a thread: {error}"))
            })?;
        let tuples = config.tuples.is_some();
        let thread = Some(thread);
        Ok(Self {
            counter,
            thread,
            journal,
            known,
            tuples,
            stuck: Vec::new(),
            waits: 0,
            entries: Vec::new(),
            unwritten: 0,
        })
    }

    /// Fingerprints of what earlier runs have sent.
    pub(super) fn known(&self) -> HashSet<u64> {
        self.known.keys().copied().collect()
    }

    /// Hands over what has ended since the last time.
    pub(super) fn submit(&mut self, core: &mut Conductor) -> Result<(), Failure> {
        self.note(core)?;
        let waited = self.is_full();
        let mut batch = std::mem::take(&mut self.stuck);
        for ended in core.take_outcomes() {
            self.unwritten += 1;
            batch.push(match ended.what {
                What::Finished(finished) => self.finished(ended.number, *finished),
                What::Oddity(oddity) => outcome::Outcome {
                    id: ended.number,
                    tuple: None,
                    quarantine: Some(Box::new(misfit_of_oddity(*oddity))),
                },
            });
        }
        if !batch.is_empty()
            && let Err(batch) = self.counter.submit(batch)
        {
            self.stuck = batch;
            self.waits += u64::from(!waited);
        }
        Ok(())
    }

    /// Tells the core what is written; true when something was.
    pub(super) fn collect(&mut self, core: &mut Conductor) -> Result<bool, Failure> {
        let mut any = false;
        while let Some(ids) = self.counter.written() {
            any = true;
            self.unwritten -= ids.len() as u64;
            for id in ids {
                core.written(id);
            }
        }
        match self.counter.failure() {
            Some(error) => Err(failure(error)),
            None => Ok(any),
        }
    }

    /// The queue is full: nothing more should be sent.
    pub(super) fn is_full(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Times that the queue was full.
    pub(super) fn waits(&self) -> u64 {
        self.waits
    }

    /// Nothing waits to be collected.
    pub(super) fn is_quiet(&self) -> bool {
        self.counter.is_quiet()
    }

    /// Everything that was handed over is written.
    pub(super) fn is_settled(&self) -> bool {
        self.unwritten == 0
    }

    /// Positions were stored.
    pub(super) fn saved(&mut self, lanes: &[(u32, u64)]) -> Result<(), Failure> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.saved(lanes)).map_err(failure)
    }

    /// The lane is somebody else's.
    pub(super) fn left(&mut self, lane: u32) {
        if let Some(journal) = &mut self.journal {
            journal.left(lane);
        }
    }

    /// Writes everything, closes the files, ends the thread.
    pub(super) fn close(&mut self, core: &mut Conductor) -> Result<(), Failure> {
        self.submit(core)?;
        while self.is_full() {
            thread::sleep(Duration::from_millis(1));
            self.collect(core)?;
            self.submit(core)?;
        }
        self.counter.close();
        while !self.counter.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        self.collect(core)
            .map(drop)
            .or_else(|failure| if self.is_settled() { Ok(()) } else { Err(failure) })?;
        self.note(core)?;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Ok(())
    }

    /// Journals what must not be sent again.
    fn note(&mut self, core: &mut Conductor) -> Result<(), Failure> {
        let ended = core.take_journal();
        let Some(journal) = &mut self.journal else {
            ended.clear();
            return Ok(());
        };
        if ended.is_empty() {
            return Ok(());
        }
        self.entries.clear();
        self.entries.extend(ended.drain(..).map(|entry| Entry {
            fingerprint: entry.fingerprint,
            stage: if entry.written { Stage::Written } else { Stage::Answered },
            lane: entry.mark.lane,
            number: entry.mark.number,
        }));
        journal.add(&self.entries, unix_s()).map_err(failure)
    }

    fn finished(&self, id: u64, finished: Finished) -> outcome::Outcome {
        let quarantine = match &finished.fate {
            Fate::Failed(why) => Some(("failed_on_target", why.clone())),
            Fate::Unsendable(code, why) => Some((*code, why.clone())),
            Fate::Done | Fate::Skipped(_) => None,
        };
        let quarantine = quarantine.map(|(reason, detail)| {
            let answers =
                finished.attempts.iter().filter_map(|attempt| attempt.result.as_ref().ok());
            Box::new(Misfit {
                place: finished.place.to_string(),
                node: Some(finished.request.name.node.clone()),
                connection: Some(finished.request.name.id.clone()),
                index: Some(finished.request.index),
                reason,
                detail,
                raw: Raw::Request(finished.request.bytes.clone()),
                answers: answers.map(|answer| answer.bytes.clone()).collect(),
            })
        });
        let tuple = self.tuples.then(|| Box::new(tuple(finished)));
        outcome::Outcome { id, tuple, quarantine }
    }
}

fn tuple(finished: Finished) -> Tuple {
    let Finished { request, answer, sent, attempts, fate, possible_duplicate, mut notes, .. } =
        finished;
    let asked_until_ns = request.last_ns;
    let target_request = match (sent, attempts.is_empty()) {
        (_, true) => TargetRequest::NotSent,
        (Some(Sent::Head(head)), false) => TargetRequest::OtherHead(head),
        (Some(Sent::Whole(bytes)), false) => {
            let head_bytes =
                memchr::memmem::find(&bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
            TargetRequest::Changed(Message::whole(bytes, head_bytes))
        }
        (None, false) => TargetRequest::AsCaptured,
    };
    let error = match fate {
        Fate::Failed(why) => Some(why),
        Fate::Unsendable(code, why) => Some(format!("{code}: {why}")),
        Fate::Skipped(skip) => {
            notes.push(Skip::note(skip));
            None
        }
        Fate::Done => None,
    };
    Tuple {
        connection: request.name.id.clone(),
        index: request.index,
        source_response: answer.map(|answer| source_reply(answer, asked_until_ns)),
        source_request: Message::whole(request.bytes, request.head.head_bytes),
        target_request,
        target_responses: attempts.into_iter().map(attempt).collect(),
        error,
        possible_duplicate,
        notes,
    }
}

fn source_reply(answer: Answer, asked_until_ns: i64) -> Reply {
    let took_ns = answer.last_ns - asked_until_ns;
    let message = Message {
        bytes: answer.bytes,
        head_bytes: answer.head_bytes,
        wire_bytes: answer.wire_bytes,
    };
    Reply { message, took_ns }
}

fn attempt(attempt: crate::replay::Attempt) -> Attempt {
    match attempt.result {
        Ok(answer) => Attempt {
            reply: Some(Reply {
                message: Message {
                    bytes: answer.bytes,
                    head_bytes: answer.head_bytes,
                    wire_bytes: answer.wire_bytes,
                },
                took_ns: attempt.took_ns as i64,
            }),
            error: None,
        },
        Err(why) => Attempt { reply: None, error: Some(why) },
    }
}

fn misfit_of_oddity(oddity: Oddity) -> Misfit {
    Misfit {
        place: oddity.place.to_string(),
        node: oddity.name.as_ref().map(|name| name.node.clone()),
        connection: oddity.name.as_ref().map(|name| name.id.clone()),
        index: None,
        reason: oddity.reason,
        detail: oddity.detail,
        raw: if oddity.is_record { Raw::Record(oddity.bytes) } else { Raw::Request(oddity.bytes) },
        answers: Vec::new(),
    }
}

fn unix_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

// By value, so that it can stand in `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn failure(error: OutcomeError) -> Failure {
    Failure::new(ExitCode::Failed, error)
}
