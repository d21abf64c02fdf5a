//! A real Apache Kafka broker, one node in `KRaft` mode.
//!
//! The jars come from Maven Central once; the broker's data lives as long as its handle.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::java::{self, Artifact};
use super::process::{self, Process};
use super::topics::Topics;
use super::{ground, port, wait};

/// One broker. Dropping it kills the broker and removes its data.
#[derive(Debug)]
pub(crate) struct Kafka {
    process: Option<Process>,
    dir: PathBuf,
    topics: Topics,
    extras: Extras,
}

/// What a broker is given beside its properties.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    /// Users for SCRAM-SHA-512, with their passwords.
    pub(crate) users: Vec<(String, String)>,
    /// Further classes.
    pub(crate) classes: Option<PathBuf>,
    /// Whether it is one of several: with little heap and soon up.
    pub(crate) small: bool,
}

impl Kafka {
    /// The broker that all tests of this run share. It ends with the run.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::try_start(&[])) {
            Ok(kafka) => kafka,
            Err(error) => panic!("{error}"),
        }
    }

    /// A broker of one's own, with further broker properties.
    pub(crate) fn start(properties: &[(&str, &str)]) -> Self {
        Self::try_start(properties).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Self::start`], reached through a relay of which it knows.
    pub(crate) fn start_behind(hole: &super::hole::Hole, properties: &[(&str, &str)]) -> Self {
        let port = port::free();
        hole.lead_to(port);
        let mut kafka = Self::try_start_at(port, properties, Extras::default())
            .unwrap_or_else(|error| panic!("{error}"));
        kafka.topics = at(hole.port());
        kafka
    }

    /// As [`Self::start`] on a port of the caller's.
    pub(crate) fn start_with(port: u16, properties: &[(&str, &str)], extras: Extras) -> Self {
        Self::try_start_at(port, properties, extras).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a user for SCRAM-SHA-512, or gives it another password.
    pub(crate) fn set_user(&self, name: &str, password: &str) {
        let output = java()
            .unwrap_or_else(|error| panic!("{error}"))
            .args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(jars().unwrap_or_else(|error| panic!("{error}")).join("*"))
            .args(["kafka.admin.ConfigCommand", "--bootstrap-server"])
            .arg(self.brokers())
            .args(["--alter", "--entity-type", "users", "--entity-name", name, "--add-config"])
            .arg(format!("SCRAM-SHA-512=[password={password}]"))
            .output()
            .expect("java runs");
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
    }

    /// The directory of Kafka's jars.
    pub(crate) fn jars() -> PathBuf {
        jars().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Deletes the records of a partition that lie before an offset, as retention does.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let file = self.dir.join(format!("delete-{topic}-{partition}.json"));
        let text = format!(
            "{{\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{before}}}],\"version\":1}}"
        );
        fs::write(&file, text).expect("the broker's directory can be written");
        let output = java()
            .unwrap_or_else(|error| panic!("{error}"))
            .args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg("-cp")
            .arg(jars().unwrap_or_else(|error| panic!("{error}")).join("*"))
            .args(["org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server"])
            .arg(self.brokers())
            .arg("--offset-json-file")
            .arg(&file)
            .output()
            .expect("java runs");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(output.status.success() && printed.contains("low_watermark"), "{printed}");
    }

    /// Kills the broker at once, as a power failure would. Its data stays.
    pub(crate) fn kill(&mut self) {
        self.process.take();
    }

    /// Stops the broker's process in its tracks; connections stay open and unanswered.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("the broker runs").pause();
    }

    /// Lets a paused broker go on.
    pub(crate) fn resume(&self) {
        self.process.as_ref().expect("the broker runs").signal(Signal::CONT);
    }

    /// Starts a killed broker again on its old data and port.
    pub(crate) fn revive(&mut self) {
        self.launch().unwrap_or_else(|error| panic!("{error}"));
    }

    /// As [`Self::revive`], with other properties: of two that are alike the last one counts.
    pub(crate) fn revive_with(&mut self, properties: &[(&str, &str)]) {
        let file = self.dir.join("server.properties");
        let mut text = fs::read_to_string(&file).expect("the broker has its properties");
        add(&mut text, properties);
        fs::write(&file, text).expect("the broker's directory can be written");
        self.revive();
    }

    fn try_start(properties: &[(&str, &str)]) -> Result<Self, String> {
        Self::try_start_at(port::free(), properties, Extras::default())
    }

    fn try_start_at(
        port: u16,
        properties: &[(&str, &str)],
        extras: Extras,
    ) -> Result<Self, String> {
        let jars = jars()?;
        let dir = ground::run_dir(&ground::home(), "kafka");
        let mut kafka = Self { process: None, dir, topics: at(port), extras };
        kafka
            .configure(port, properties)
            .map_err(|error| format!("{}: {error}", kafka.dir.display()))?;
        kafka.format(&jars)?;
        kafka.launch()?;
        Ok(kafka)
    }

    fn configure(&self, broker: u16, properties: &[(&str, &str)]) -> std::io::Result<()> {
        let (controller, dir) = (port::free(), self.dir.display());
        let mut text = format!(
            "listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{broker}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs={dir}/data\n{BROKER}"
        );
        add(&mut text, properties);
        fs::write(self.dir.join("server.properties"), text)?;
        let log = format!("appender.f.fileName={dir}/server.log\n{LOGGING}");
        fs::write(self.dir.join("log4j2.properties"), log)
    }

    fn format(&self, jars: &Path) -> Result<(), String> {
        let output = java()?
            .args([
                "-Xmx64m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Dlog4j2.level=ERROR",
            ])
            .arg("-cp")
            .arg(jars.join("*"))
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
            .arg(self.dir.join("server.properties"))
            .args(self.extras.users.iter().flat_map(|(name, password)| {
                ["--add-scram".into(), format!("SCRAM-SHA-512=[name={name},password={password}]")]
            }))
            .output()
            .map_err(|error| format!("java: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        Err(format!("kafka format: {}", process::tail(&String::from_utf8_lossy(&printed))))
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = self.dir.join("server.log");
        let _ = fs::remove_file(&log);
        let mut command = java()?;
        let size = if self.extras.small { SMALL } else { LARGE };
        command
            .args(size)
            .args(["-Xms64m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"])
            .arg(format!(
                "-Dlog4j2.configurationFile={}",
                self.dir.join("log4j2.properties").display()
            ))
            .arg("-cp")
            .arg(self.class_path()?)
            .arg("kafka.Kafka")
            .arg(self.dir.join("server.properties"));
        let mut process = Process::spawn(&mut command, &self.dir.join("stdout.log"), &self.dir);
        let started = wait::until(START, || {
            process.ended().is_some()
                || fs::read_to_string(&log).is_ok_and(|text| text.contains("Kafka Server started"))
        });
        if !started || process.ended().is_some() {
            let logged = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!(
                "kafka did not start within {START:?}:\n{}\n{}",
                process.last_words(),
                process::tail(&logged)
            ));
        }
        self.process = Some(process);
        if wait::until(START, || self.metadata_is_served()) {
            return Ok(());
        }
        Err("kafka started, but does not answer".to_owned())
    }

    fn class_path(&self) -> Result<OsString, String> {
        let all = [Some(jars()?.join("*")), self.extras.classes.clone()];
        std::env::join_paths(all.into_iter().flatten()).map_err(|error| error.to_string())
    }
}

impl Deref for Kafka {
    type Target = Topics;

    fn deref(&self) -> &Topics {
        &self.topics
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.process.take();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn at(port: u16) -> Topics {
    Topics::of(format!("127.0.0.1:{port}"), 1)
}

fn add(text: &mut String, properties: &[(&str, &str)]) {
    for (key, value) in properties {
        writeln!(text, "{key}={value}").expect("writing to a string cannot fail");
    }
}

fn jars() -> Result<PathBuf, String> {
    let home = ground::home().join(format!("kafka-{VERSION}"));
    ground::once(&home, |home| java::jars(home, &[("lib", ARTIFACTS)]))?;
    Ok(home.join("lib"))
}

fn java() -> Result<Command, String> {
    let home = java::home(17, 99)?;
    let mut command = Command::new(home.join("bin/java"));
    command.env_remove("JAVA_TOOL_OPTIONS");
    Ok(command)
}

const VERSION: &str = "4.3.1";
const ARTIFACTS: &[Artifact] = &[
    Artifact { group: "org.apache.kafka", name: "kafka_2.13", version: VERSION },
    Artifact { group: "org.apache.kafka", name: "kafka-tools", version: VERSION },
    Artifact { group: "org.apache.logging.log4j", name: "log4j-slf4j-impl", version: "2.25.4" },
];
const CLUSTER: &str = "dGFwbGluZS1yaWctMDAwMA";
const LARGE: &[&str] = &["-Xmx256m"];
const SMALL: &[&str] = &["-Xmx160m", "-XX:TieredStopAtLevel=1"];
const START: Duration = Duration::from_secs(90);
const REQUEST: Duration = Duration::from_secs(15);

const BROKER: &str = "process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=2
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.threads=1
num.recovery.threads.per.data.dir=1
";
const LOGGING: &str = "rootLogger.level=info
rootLogger.appenderRef.f.ref=F
appender.f.type=File
appender.f.name=F
appender.f.layout.type=PatternLayout
appender.f.layout.pattern=%d{ISO8601} %p %m (%c)%n
";

#[test]
fn a_broker_survives_its_death_and_a_pause() {
    use super::topics::Stored;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    if !super::services::wanted("a_broker_survives_its_death_and_a_pause") {
        return;
    }
    let mut kafka = Kafka::start(&[]);
    kafka.create_topic("things", 2, &[("max.message.bytes", "2000000")]);
    let produce = |kafka: &Kafka, value: &str, limit: Duration| {
        let producer: BaseProducer = kafka.client().set("acks", "all").create().unwrap();
        let record = BaseRecord::to("things").partition(1).key("k").payload(value);
        producer.send(record).unwrap();
        producer.flush(limit).is_ok()
    };
    assert!(produce(&kafka, "one", REQUEST));
    kafka.pause();
    assert!(!produce(&kafka, "lost", Duration::from_millis(300)), "a paused broker is silent");
    kafka.resume();
    kafka.kill();
    kafka.revive();
    assert!(produce(&kafka, "two", REQUEST));
    let stored = kafka.consume_all("things");
    let first = Stored { partition: 1, offset: 0, key: b"k".to_vec(), value: b"one".to_vec() };
    assert_eq!(stored.first(), Some(&first));
    assert_eq!(stored.last().map(|record| record.value.as_slice()), Some(b"two".as_slice()));
    kafka.delete_topic("things");
    assert_eq!(kafka.partitions("things"), 0);
}
