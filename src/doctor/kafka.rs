//! Kafka: whether it answers, and whether the topic keeps what is written to it.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    config::FromClientConfigAndContext,
    producer::{BaseProducer, Producer},
};

use super::Finding;
use crate::{
    config::KafkaConfig,
    kafka::{self, Access, Witness},
    sink::KafkaSettings,
};

/// How long the brokers may take for each answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Key, headers and the batch's own header, on top of a record.
const OVERHEAD_BYTES: u64 = 500;

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// As the operator wrote them.
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) record_bytes_max: u64,
    /// Who answered, or why nobody did.
    pub(super) cluster: Result<Brokers, Unanswered>,
}

/// Why nobody answered.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    pub(super) why: String,
    /// What mends it; empty when the reason says so itself.
    pub(super) fix: String,
}

/// What the brokers say.
#[derive(Clone, Debug, Default)]
pub(super) struct Brokers {
    pub(super) count: usize,
    /// Of each partition: replicas, of which in step, and whether one leads. Empty when there is no such topic.
    pub(super) partitions: Vec<(usize, usize, bool)>,
    /// The topic's settings, or why they are not shown.
    pub(super) settings: Option<Result<BTreeMap<String, String>, String>>,
    /// Secrets that others can read.
    pub(super) warnings: Vec<String>,
}

pub(super) fn look(config: &KafkaConfig, record_bytes_max: usize) -> Facts {
    Facts {
        brokers: config.brokers.clone(),
        topic: config.topic.clone(),
        record_bytes_max: record_bytes_max as u64,
        cluster: ask(config, record_bytes_max),
    }
}

fn ask(config: &KafkaConfig, record_bytes_max: usize) -> Result<Brokers, Unanswered> {
    let unusable = |why: String| Unanswered { why, fix: String::new() };
    let (access, warnings) =
        Access::with_warnings(config).map_err(|failure| unusable(failure.to_string()))?;
    access.wait().map_err(|failure| unusable(failure.to_string()))?;
    // The producer's own properties: what it will have to get by with.
    let settings = KafkaSettings::new(config, access.clone(), record_bytes_max)
        .map_err(|error| unusable(error.to_string()))?;
    let client = settings.client();
    let refused = |error| unusable(Access::unusable(&error).to_string());
    let producer: BaseProducer<Witness> =
        client.create_with_context(access.witness()).map_err(refused)?;
    access.login().adopt(producer.client());
    // All topics are asked for: the question for a single one makes brokers create it.
    let hear = || producer.poll(Duration::ZERO);
    let metadata = kafka::metadata(producer.client(), None, ANSWER_MAX, hear)
        .map_err(|trouble| Unanswered { why: trouble.what(), fix: trouble.mend().to_owned() })?;
    let mut brokers = Brokers { count: metadata.brokers().len(), warnings, ..Brokers::default() };
    let topic = metadata.topics().iter().find(|topic| topic.name() == config.topic);
    let Some(topic) = topic.filter(|topic| topic.error().is_none()) else { return Ok(brokers) };
    brokers.partitions = topic
        .partitions()
        .iter()
        .map(|part| (part.replicas().len(), part.isr().len(), part.leader() >= 0))
        .collect();
    brokers.settings = Some(topic_settings(client, &access, &config.topic));
    Ok(brokers)
}

fn topic_settings(
    client: &ClientConfig,
    access: &Access,
    topic: &str,
) -> Result<BTreeMap<String, String>, String> {
    let admin = AdminClient::from_config_and_context(client, access.witness())
        .map_err(|error| error.to_string())?;
    access.login().adopt(admin.inner());
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX));
    let topics = [ResourceSpecifier::Topic(topic)];
    let question = admin.describe_configs(&topics, &options);
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let mut answers = runtime.block_on(question).map_err(|error| error.to_string())?;
    let answer = answers.pop().ok_or("no answer")?.map_err(|error| error.to_string())?;
    let pairs = answer.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
    Ok(pairs.collect())
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let brokers = match &facts.cluster {
        Ok(brokers) => brokers,
        Err(Unanswered { why, fix }) => {
            let first = facts.brokers.split(',').next().unwrap_or_default();
            let (host, port) = first.rsplit_once(':').unwrap_or((first, "9092"));
            let fix = match fix.as_str() {
                "" => "as it says".to_owned(),
                fix => format!(
                    "{fix}. Is it up, does a security group let you in? nc -vz {host} {port}"
                ),
            };
            return vec![Finding::fail("kafka", format!("no answer: {why}"), fix)];
        }
    };
    let mut findings = vec![Finding::ok("kafka", format!("{} brokers", brokers.count))];
    findings.extend(brokers.warnings.iter().map(|warning| {
        let (what, fix) = warning.split_once("; ").unwrap_or((warning, ""));
        Finding::warn("kafka.secret", what, fix)
    }));
    findings.push(topic(facts, brokers));
    if brokers.partitions.is_empty() {
        return findings;
    }
    findings.push(replication(facts, brokers));
    match &brokers.settings {
        Some(Ok(settings)) => {
            let value = |name: &str| settings.get(name).map(String::as_str);
            let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
            findings.extend(number("max.message.bytes").map(|max| message_bytes(facts, max)));
            findings
                .extend(number("min.insync.replicas").map(|min| in_sync(facts, brokers, min)));
            findings.extend(value("cleanup.policy").map(|policy| retention(facts, policy, value("retention.ms"))));
        }
        Some(Err(why)) => findings.push(Finding::warn(
            "kafka.rights",
            format!("the topic's settings are not shown: {why}"),
            format!(
                "kafka-acls.sh --bootstrap-server {} --add --allow-principal User:NAME --operation Describe \
                 --operation DescribeConfigs --operation Write --topic {}",
                facts.brokers, facts.topic
            ),
        )),
        None => {}
    }
    findings
}

fn topic(facts: &Facts, brokers: &Brokers) -> Finding {
    let (check, topic) = ("kafka.topic", &facts.topic);
    let partitions = &brokers.partitions;
    if partitions.is_empty() {
        let copies = brokers.count.clamp(1, 3);
        let min = if copies > 1 { " --config min.insync.replicas=2" } else { "" };
        return Finding::fail(
            check,
            format!("there is no topic '{topic}', or this user may not see it"),
            format!(
                "kafka-topics.sh --create --bootstrap-server {} --topic {topic} --partitions 8 --replication-factor \
                 {copies}{min}; or grant it: kafka-acls.sh --add --allow-principal User:NAME --operation Describe \
                 --operation Write --topic {topic}",
                facts.brokers
            ),
        );
    }
    let without = partitions.iter().filter(|(_, _, leads)| !leads).count();
    if without > 0 {
        return Finding::fail(
            check,
            format!(
                "{without} of {} partitions have no leader: their records wait",
                partitions.len()
            ),
            format!(
                "kafka-topics.sh --describe --bootstrap-server {} --topic {topic}; start the brokers that it names",
                facts.brokers
            ),
        );
    }
    Finding::ok(check, format!("'{topic}', {} partitions", partitions.len()))
}

fn replication(facts: &Facts, brokers: &Brokers) -> Finding {
    let check = "kafka.replication";
    let copies = brokers.partitions.iter().map(|(copies, _, _)| *copies).min().unwrap_or(0);
    let behind = brokers.partitions.iter().filter(|(all, in_step, _)| in_step < all).count();
    if behind > 0 {
        return Finding::warn(
            check,
            format!(
                "{behind} of {} partitions have replicas that are behind",
                brokers.partitions.len()
            ),
            format!(
                "kafka-topics.sh --describe --under-replicated-partitions --bootstrap-server {}",
                facts.brokers
            ),
        );
    }
    if copies < 3 {
        let fix = if brokers.count < 3 {
            "three brokers or more, and a topic with --replication-factor 3".to_owned()
        } else {
            format!(
                "create the topic anew with --replication-factor 3, or: kafka-reassign-partitions.sh \
                 --bootstrap-server {}",
                facts.brokers
            )
        };
        return Finding::warn(
            check,
            format!("{copies} replicas: with a broker records can be lost"),
            fix,
        );
    }
    Finding::ok(check, format!("{copies} replicas, all in step"))
}

fn message_bytes(facts: &Facts, max: u64) -> Finding {
    let check = "kafka.message_bytes";
    let needed = facts.record_bytes_max + OVERHEAD_BYTES;
    if max < needed {
        return Finding::fail(
            check,
            format!(
                "max.message.bytes is {max}, and records of up to {needed} bytes would be refused"
            ),
            format!(
                "{}; or --record-bytes-max {}",
                alter(facts, &format!("max.message.bytes={}", needed.next_multiple_of(1024))),
                max.saturating_sub(OVERHEAD_BYTES)
            ),
        );
    }
    Finding::ok(check, format!("{max}, records take up to {needed}"))
}

fn in_sync(facts: &Facts, brokers: &Brokers, min: u64) -> Finding {
    let check = "kafka.min_insync";
    let copies = brokers.partitions.iter().map(|(copies, _, _)| *copies).min().unwrap_or(0) as u64;
    let in_step =
        brokers.partitions.iter().map(|(_, in_step, _)| *in_step).min().unwrap_or(0) as u64;
    if in_step < min {
        return Finding::fail(
            check,
            format!("{in_step} replicas are in step and {min} must be: records are refused"),
            format!("start the missing brokers, or: {}", alter(facts, "min.insync.replicas=1")),
        );
    }
    if copies > 1 && min < 2 {
        return Finding::warn(
            check,
            format!("{min}: what a single broker has is called safe, and goes with it"),
            alter(facts, "min.insync.replicas=2"),
        );
    }
    if copies > 1 && min >= copies {
        return Finding::warn(
            check,
            format!("{min} of {copies}: one broker that restarts stops all writes"),
            alter(facts, &format!("min.insync.replicas={}", copies - 1)),
        );
    }
    Finding::ok(check, format!("{min} of {copies}"))
}

fn retention(facts: &Facts, policy: &str, time: Option<&str>) -> Finding {
    let check = "kafka.retention";
    if policy.contains("compact") {
        return Finding::fail(
            check,
            format!("cleanup.policy is {policy}: of each connection only the last record is kept"),
            alter(facts, "cleanup.policy=delete"),
        );
    }
    match time.and_then(|time| time.parse::<i64>().ok()) {
        Some(ms) if ms >= 0 => {
            let hours = ms / 3_600_000;
            let shown = format!("{hours} hours: replay must not be further behind");
            if hours < 24 {
                return Finding::warn(check, shown, alter(facts, "retention.ms=604800000"));
            }
            Finding::ok(check, shown)
        }
        _ => Finding::ok(check, "records are kept without end"),
    }
}

fn alter(facts: &Facts, setting: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {setting}",
        facts.brokers, facts.topic
    )
}
