//! Three real Kafka brokers that keep three copies of each record, of which two must be in step.

use std::ops::Deref;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::kafka::{Extras, Kafka};
use super::topics::Topics;
use super::{port, wait};

/// The brokers 1, 2 and 3. Dropping them kills them and removes their data.
#[derive(Debug)]
pub(crate) struct Brokers {
    nodes: Vec<Kafka>,
    topics: Topics,
}

impl Brokers {
    /// Starts them; the first so many are the quorum that chooses leaders.
    pub(crate) fn start(quorum: u16) -> Self {
        let ports: Vec<(u16, u16)> = (0..NODES).map(|_| (port::free(), port::free())).collect();
        let voter = |id: u16| format!("{id}@127.0.0.1:{}", ports[usize::from(id) - 1].1);
        let voters = (1..=quorum).map(voter).collect::<Vec<_>>().join(",");
        let start = |id: u16| {
            let (port, controller) = ports[usize::from(id) - 1];
            let (id, votes) = (id.to_string(), id <= quorum);
            let also =
                if votes { format!(",CONTROLLER://127.0.0.1:{controller}") } else { String::new() };
            let listeners = format!("PLAINTEXT://127.0.0.1:{port}{also}");
            let mut properties = vec![
                ("node.id", id.as_str()),
                ("process.roles", if votes { "broker,controller" } else { "broker" }),
                ("listeners", &listeners),
                ("controller.quorum.voters", &voters),
            ];
            properties.extend(SETTINGS);
            let extras = Extras { small: true, ..Extras::default() };
            Kafka::start_with(port, &properties, extras)
        };
        // None of them is up before most of the quorum is.
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = (1..=NODES).map(|id| scope.spawn(move || start(id))).collect();
            starting.into_iter().map(|node| node.join().expect("the broker starts")).collect()
        });
        let mut brokers = Self { nodes, topics: Topics::of(String::new(), i32::from(NODES)) };
        brokers.topics = Topics::of(brokers.without(0), i32::from(NODES));
        brokers
    }

    /// Kills a broker at once.
    pub(crate) fn kill(&mut self, id: i32) {
        self.node(id).kill();
    }

    /// Starts a killed broker again.
    pub(crate) fn revive(&mut self, id: i32) {
        self.node(id).revive();
    }

    /// Stops a broker in its tracks.
    pub(crate) fn pause(&mut self, id: i32) {
        self.node(id).pause();
    }

    /// Lets a paused broker go on.
    pub(crate) fn resume(&mut self, id: i32) {
        self.node(id).resume();
    }

    /// Who leads a partition.
    pub(crate) fn leader(&self, topic: &str, partition: usize) -> i32 {
        let metadata = metadata(&self.topics, topic).expect("a broker answers");
        metadata.topics()[0].partitions()[partition].leader()
    }

    /// Waits until every partition is led by another broker than this one; whether that came.
    pub(crate) fn left(&self, topic: &str, id: i32) -> bool {
        let others = Topics::of(self.without(id), i32::from(NODES));
        wait::until(PATIENCE, || {
            let Some(metadata) = metadata(&others, topic) else { return false };
            let partitions = metadata.topics()[0].partitions();
            partitions.iter().all(|one| ![-1, id].contains(&one.leader()))
        })
    }

    /// Waits until every broker says that all copies of every partition are in step; whether that came.
    pub(crate) fn in_step(&self, topic: &str) -> bool {
        // One that slept answers with what it knew before.
        let said = |node: &Kafka| {
            metadata(node, topic).is_some_and(|metadata| {
                let partitions = metadata.topics()[0].partitions();
                partitions.iter().all(|one| one.isr().len() == usize::from(NODES))
            })
        };
        wait::until(PATIENCE, || self.nodes.iter().all(said))
    }

    /// What the leader of a partition says to a record that all copies in step are to have.
    pub(crate) fn answer(&self, topic: &str, partition: i32) -> Result<(), RDKafkaErrorCode> {
        let mut client = self.client();
        client.set("acks", "all").set("retries", "0").set("message.timeout.ms", "5000");
        let producer: BaseProducer<Answer> =
            client.create_with_context(Answer::default()).expect("the settings are valid");
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(b"?");
        producer.send(record).map_err(|(error, _)| error).expect("the queue is empty");
        let _ = producer.flush(PATIENCE);
        let said = producer.context().0.lock().expect("nobody panics with it").take();
        said.expect("a record is reported")
    }

    fn without(&self, id: i32) -> String {
        let others = (1..).zip(&self.nodes).filter(|(number, _)| *number != id);
        others.map(|(_, node)| node.brokers()).collect::<Vec<_>>().join(",")
    }

    fn node(&mut self, id: i32) -> &mut Kafka {
        &mut self.nodes[usize::try_from(id).expect("there is a leader") - 1]
    }
}

impl Deref for Brokers {
    type Target = Topics;

    fn deref(&self) -> &Topics {
        &self.topics
    }
}

/// What brokers say of a topic; `None` when they do not answer, or do not know it.
fn metadata(brokers: &Topics, topic: &str) -> Option<Metadata> {
    let client: BaseProducer = brokers.client().create().expect("the settings are valid");
    let said = client.client().fetch_metadata(Some(topic), Duration::from_secs(2)).ok()?;
    said.topics().first()?.error().is_none().then_some(said)
}

/// Keeps what is said to a record.
#[derive(Default)]
struct Answer(Mutex<Option<Result<(), RDKafkaErrorCode>>>);

impl ClientContext for Answer {}

impl ProducerContext for Answer {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let said = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        *self.0.lock().expect("nobody panics with it") = Some(said);
    }
}

const NODES: u16 = 3;
/// Who is gone is noticed soon, and who only waits for a busy host is not taken for gone.
const SETTINGS: [(&str, &str); 4] = [
    ("min.insync.replicas", "2"),
    ("broker.session.timeout.ms", "4000"),
    ("broker.heartbeat.interval.ms", "500"),
    ("replica.lag.time.max.ms", "4000"),
];
const PATIENCE: Duration = Duration::from_secs(90);
