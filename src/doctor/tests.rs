//! Healthy hosts are all ok; each broken one is named, with its mend, and nothing else is.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    Finding, Status, certificate, clock, cluster, cpu, host, kafka, kernel, limits, memory,
    network, redaction, storage,
};
use crate::{
    ask::Cluster,
    sys::{cpu::CpuList, disk::Room, tree::Tree},
    tls::Inspection,
};

#[test]
fn a_healthy_host_is_all_ok() {
    let all = [
        kernel::judge(&a_kernel()),
        limits::judge(&SOME_LIMITS),
        cpu::judge(&some_cpus()),
        memory::judge(&SOME_MEMORY),
        clock::judge(Some(true)),
        network::judge(&a_network()),
        storage::judge(&[a_disk()]),
        certificate::judge(Some(&a_certificate())),
        certificate::judge(None),
        cluster::judge(&two_clusters()),
        kafka::judge(&a_kafka()),
    ];
    let all: Vec<Finding> = all.into_iter().flatten().collect();
    for finding in &all {
        assert_eq!((finding.status, finding.fix.as_str()), (Status::Ok, ""), "{finding:?}");
    }
    assert!(all.len() > 25, "{all:#?}");
}

#[test]
fn broken_kernels_and_limits_are_named() {
    let kernel = |change: fn(&mut kernel::Facts)| kernel::judge(&with(a_kernel(), change));
    expect(&kernel(|k| k.release = "5.15.0-91-generic".into()), "kernel", Status::Fail, "6.1");
    expect(
        &kernel(|k| {
            k.rings = Err(("off".into(), "run: sysctl -w kernel.io_uring_disabled=0".into()));
        }),
        "io_uring",
        Status::Fail,
        "sysctl -w kernel.io_uring_disabled=0",
    );
    let grouped = kernel(|k| (k.disabled, k.group, k.root) = (Some(1), Some(990), true));
    expect(&grouped, "io_uring", Status::Warn, "usermod -aG 990");
    let few = limits::judge(&limits::Facts { files: 200, ..SOME_LIMITS });
    expect(&few, "limits.open_files", Status::Fail, "LimitNOFILE=1048576");
    let some = limits::judge(&limits::Facts { files: 1024, ..SOME_LIMITS });
    expect(&some, "limits.open_files", Status::Warn, "LimitNOFILE=1048576");
    let locked = limits::judge(&limits::Facts { locked: 64 << 10, ..SOME_LIMITS });
    expect(&locked, "limits.locked_memory", Status::Fail, "LimitMEMLOCK=infinity");
    let root = limits::judge(&limits::Facts { locked: 64 << 10, root: true, ..SOME_LIMITS });
    assert!(root.iter().all(|finding| finding.status == Status::Ok), "root is not bound");
}

#[test]
fn broken_processors_memory_and_clocks_are_named() {
    let cpus = |change: fn(&mut cpu::Facts)| cpu::judge(&with(some_cpus(), change));
    expect(&cpus(|c| c.quota = Some(1.5)), "cpu.quota", Status::Warn, "AllowedCPUs=");
    expect(&cpus(|c| c.pinned = vec![2, 9]), "cpu.layout", Status::Fail, "--cpus 0,1,2,3");
    expect(&cpus(|c| c.workers = 4), "cpu.layout", Status::Warn, "--workers 3");
    let nodes = cpus(|c| c.nodes = vec![vec![0, 1], vec![2, 3]]);
    expect(&nodes, "cpu.nodes", Status::Warn, "--cpus");
    let one = cpus(|c| (c.usable, c.pinned, c.workers) = (vec![0], vec![0], 1));
    expect(&one, "cpu.layout", Status::Warn, "two processors");
    let poor = memory::judge(&memory::Facts { available: 100 << 20, ..SOME_MEMORY });
    expect(&poor, "memory.budget", Status::Warn, "--capture-memory 50MiB");
    let swap = memory::judge(&memory::Facts { swap: 1 << 30, swappiness: Some(60), ..SOME_MEMORY });
    expect(&swap, "memory.swap", Status::Warn, "tapline tune --apply --only sysctl");
    expect(&clock::judge(Some(false)), "clock.sync", Status::Warn, "chrony");
    expect(&clock::judge(None), "clock.sync", Status::Warn, "timedatectl");
}

#[test]
fn a_group_that_takes_processors_away_is_found_in_both_versions() {
    let dir = tempfile::tempdir().expect("temp dir");
    let tree = Tree::below(dir.path());
    let config = config();
    let put = |file: &str, text: &str| tree.put(file, text, 0o644).expect("made");
    assert_eq!(cpu::look(&tree, &config).quota, None);
    put("proc/self/cgroup", "0::/system.slice/tapline.service");
    put("sys/fs/cgroup/system.slice/tapline.service/cpu.max", "max 100000");
    put("sys/fs/cgroup/system.slice/cpu.max", "150000 100000");
    assert_eq!(cpu::look(&tree, &config).quota, Some(1.5), "the group above binds as well");
    put("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/docker/1");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "50000");
    put("sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000");
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
    assert_eq!(cpu::look(&tree, &config).quota, Some(0.5));
}

#[test]
fn an_untuned_host_is_named_setting_by_setting() {
    let dir = tempfile::tempdir().expect("temp dir");
    let tree = Tree::below(dir.path());
    let put = |file: &str, text: &str| tree.put(file, text, 0o644).expect("made");
    put("proc/sys/net/core/somaxconn", "128");
    put("proc/sys/net/ipv4/tcp_keepalive_time", "7200");
    put("proc/sys/vm/swappiness", "1");
    let clock = "sys/devices/system/clocksource/clocksource0";
    put(&format!("{clock}/current_clocksource"), "hpet");
    put(&format!("{clock}/available_clocksource"), "tsc hpet acpi_pm");
    let found = host::judge(&tree, None);
    let only = |check: &str| -> Vec<Finding> {
        found.iter().filter(|finding| finding.check == check).cloned().collect()
    };
    let sysctl = |name: &str| only(&format!("sysctl.{name}"));
    expect(
        &sysctl("net.core.somaxconn"),
        "sysctl.net.core.somaxconn",
        Status::Warn,
        "net.core.somaxconn=4096",
    );
    expect(
        &sysctl("net.ipv4.tcp_keepalive_time"),
        "sysctl.net.ipv4.tcp_keepalive_time",
        Status::Warn,
        "tapline tune --apply --only sysctl",
    );
    assert_eq!(sysctl("vm.swappiness")[0].status, Status::Ok);
    let clock = only("tune.clocksource");
    expect(&clock, "tune.clocksource", Status::Warn, "tapline tune --apply --only clocksource");
    assert!(clock[0].detail.contains("hpet"), "{clock:?}");
}

#[test]
fn broken_disks_are_named() {
    let disk = |change: fn(&mut storage::Facts)| storage::judge(&[with(a_disk(), change)]);
    let space = |free| Some(Room { bytes: 1 << 40, free_bytes: free, free_files: Some(1 << 20) });
    let stranger = disk(|d| (d.owner, d.user) = (0, 998));
    expect(&stranger, "state.directory", Status::Fail, "chown -R 998 /var/lib/tapline");
    expect(&disk(|d| d.mode = 0o777), "state.directory", Status::Fail, "chmod 0700");
    expect(&disk(|d| d.mode = 0o755), "state.directory", Status::Fail, "chmod 0700");
    let closed = disk(|d| d.writable = Err("/var/lib: Read-only file system".into()));
    expect(&closed, "state.directory", Status::Fail, "install -d -m 0700");
    let full = with(a_disk(), |d| d.room = None);
    let full = storage::judge(&[storage::Facts { room: space(100 << 20), ..full }]);
    expect(&full, "state.space", Status::Fail, "df -h /var/lib/tapline");
    let reserved = storage::judge(&[storage::Facts { reserve: 1 << 40, ..a_disk() }]);
    expect(&reserved, "state.space", Status::Fail, "larger disk");
    let near = storage::judge(&[storage::Facts { room: space(2 << 30), ..a_disk() }]);
    expect(&near, "state.space", Status::Warn, "larger disk");
    expect(
        &disk(|d| d.kind = Some("tmpfs".into())),
        "state.file_system",
        Status::Warn,
        "on a disk",
    );
    expect(&disk(|d| d.kind = Some("nfs".into())), "state.file_system", Status::Warn, "local disk");
    let passing = disk(|d| d.model = Some("Amazon EC2 NVMe Instance Storage".into()));
    expect(&passing, "state.file_system", Status::Warn, "EBS");
    let slow = disk(|d| d.syncs = vec![Duration::from_millis(25); 32]);
    expect(&slow, "state.sync", Status::Warn, "tuning/disk.md");
}

#[test]
fn broken_certificates_are_named() {
    let of = |from: i64, to: i64| {
        let certificate = Ok(Inspection { not_before: from, not_after: to, names: Vec::new() });
        certificate::judge(Some(&certificate::Facts { certificate, ..a_certificate() }))
    };
    expect(&of(0, NOW - 5 * DAY), "certificate", Status::Fail, "new certificate");
    expect(&of(NOW + DAY, NOW + 9 * DAY), "certificate", Status::Fail, "timedatectl");
    expect(&of(0, NOW + 9 * DAY), "certificate", Status::Warn, "new certificate");
    let key = Some(Err("k.pem does not belong to c.pem".into()));
    let wrong = certificate::judge(Some(&certificate::Facts { key, ..a_certificate() }));
    expect(&wrong, "certificate.key", Status::Fail, "--tls-key");
    let own = certificate::Facts { own: true, now: NOW + 280 * DAY, ..a_certificate() };
    expect(&certificate::judge(Some(&own)), "certificate", Status::Warn, "SIGUSR2");
}

#[test]
fn credentials_that_others_could_read_are_named() {
    let mut config = config();
    assert_eq!(redaction::judge(&config), []);
    config.source = Some("http://es:9200".parse().expect("a URL"));
    assert_eq!(redaction::judge(&config)[0].status, Status::Ok);

    config.kafka = Some(crate::config::KafkaConfig::new("k1:9092", "t"));
    expect(&redaction::judge(&config), "redaction", Status::Warn, "--redact-credentials");
    config.redact_credentials = true;
    assert_eq!(redaction::judge(&config)[0].status, Status::Ok);
}

#[test]
fn broken_clusters_are_named() {
    let with_source = |answer| {
        let [mut source, target] = two_clusters();
        source.answer = answer;
        cluster::judge(&[source, target])
    };
    let down = with_source(Err("http://es:9200/: io: Connection refused".into()));
    let down: Vec<Finding> = down.into_iter().filter(|f| f.check != "target.apart").collect();
    expect(&down, "source", Status::Fail, "curl -v http://es:9200/");
    let [source, mut target] = two_clusters();
    target.answer.clone_from(&source.answer);
    expect(&cluster::judge(&[source, target]), "target.apart", Status::Fail, "--target");
    let [source, mut target] = two_clusters();
    target.url = source.url.clone();
    expect(&cluster::judge(&[source, target]), "target.apart", Status::Fail, "--target");
    let [mut source, _] = two_clusters();
    source.answer = Err("https://es: invalid peer certificate: UnknownIssuer".into());
    expect(&cluster::judge(&[source]), "source", Status::Fail, "--source-ca");
    let [mut source, _] = two_clusters();
    source.answer = Ok((502, None));
    expect(&cluster::judge(&[source]), "source", Status::Fail, "cannot reach");
    let [mut source, _] = two_clusters();
    source.answer = Ok((401, None));
    assert_eq!(cluster::judge(&[source])[0].status, Status::Ok, "clients bring credentials");
    let [mut source, _] = two_clusters();
    source.insecure = true;
    expect(&cluster::judge(&[source]), "source", Status::Warn, "--source-ca");
}

#[test]
fn broken_topics_are_named_with_the_command() {
    let kafka = |change: fn(&mut kafka::Brokers)| {
        let mut facts = a_kafka();
        facts.cluster = facts.cluster.map(|brokers| with(brokers, change));
        kafka::judge(&facts)
    };
    let silent = kafka::Unanswered { why: "timed out".into(), fix: "Look at it".into() };
    let down = kafka::judge(&kafka::Facts { cluster: Err(silent), ..a_kafka() });
    expect(&down, "kafka", Status::Fail, "nc -vz k1 9092");
    let none = kafka(|b| (b.partitions, b.settings) = (Vec::new(), None));
    expect(
        &none,
        "kafka.topic",
        Status::Fail,
        "kafka-topics.sh --create --bootstrap-server k1:9092,k2:9092 --topic t",
    );
    expect(&kafka(|b| b.partitions[1].2 = false), "kafka.topic", Status::Fail, "--describe");
    expect(
        &kafka(|b| b.partitions[1].1 = 2),
        "kafka.replication",
        Status::Warn,
        "--under-replicated",
    );
    let small = kafka(|b| set(b, "max.message.bytes", "500000"));
    expect(&small, "kafka.message_bytes", Status::Fail, "--record-bytes-max 499500");
    let one = kafka(|b| set(b, "min.insync.replicas", "1"));
    expect(&one, "kafka.min_insync", Status::Warn, "--add-config min.insync.replicas=2");
    let all = kafka(|b| set(b, "min.insync.replicas", "3"));
    expect(&all, "kafka.min_insync", Status::Warn, "min.insync.replicas=2");
    let short = kafka(|b| set(b, "min.insync.replicas", "4"));
    expect(&short, "kafka.min_insync", Status::Fail, "min.insync.replicas");
    let compact = kafka(|b| set(b, "cleanup.policy", "compact"));
    expect(&compact, "kafka.retention", Status::Fail, "cleanup.policy=delete");
    let hour = kafka(|b| set(b, "retention.ms", "3600000"));
    expect(&hour, "kafka.retention", Status::Warn, "retention.ms=");
    let hidden = kafka(|b| b.settings = Some(Err("Topic authorization failed".into())));
    expect(&hidden, "kafka.rights", Status::Warn, "kafka-acls.sh");
}

#[test]
fn an_address_in_use_is_named_unless_tapline_has_it() {
    let taken = Some("0.0.0.0:9200 is in use by another process. See which: ss -ltnp".into());
    let listen = vec![("0.0.0.0:9200".parse().expect("address"), taken)];
    let facts = network::Facts { listen, running: Vec::new() };
    expect(&network::judge(&facts), "listen", Status::Fail, "ss -ltnp");
    let running = network::Facts { running: vec!["7".into()], ..facts };
    assert!(network::judge(&running).iter().all(|finding| finding.status == Status::Ok));
    let loopback = vec![("127.0.0.1:9200".parse().expect("address"), None)];
    let facts = network::Facts { listen: loopback, running: Vec::new() };
    expect(&network::judge(&facts), "listen.reach", Status::Warn, "--listen 0.0.0.0:9200");
}

fn set(brokers: &mut kafka::Brokers, name: &str, value: &str) {
    if let Some(Ok(settings)) = &mut brokers.settings {
        settings.insert(name.into(), value.into());
    }
}

/// One finding is not ok: this one, with this in its mend.
fn expect(findings: &[Finding], check: &str, status: Status, fix: &str) {
    let bad: Vec<&Finding> =
        findings.iter().filter(|finding| finding.status != Status::Ok).collect();
    let [bad] = bad[..] else { panic!("one finding should be bad: {findings:#?}") };
    assert_eq!((bad.check.as_str(), bad.status), (check, status), "{bad:?}");
    assert!(bad.fix.contains(fix), "{fix:?} is not in {bad:?}");
}

fn with<T>(mut facts: T, change: fn(&mut T)) -> T {
    change(&mut facts);
    facts
}

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn a_kernel() -> kernel::Facts {
    kernel::Facts {
        release: "6.1.0-18-cloud-amd64".into(),
        disabled: Some(0),
        group: Some(-1),
        root: false,
        filtered: true,
        rings: Ok(()),
    }
}

const SOME_LIMITS: limits::Facts = limits::Facts { files: 1 << 20, locked: u64::MAX, root: false };

fn some_cpus() -> cpu::Facts {
    cpu::Facts {
        usable: vec![0, 1, 2, 3],
        pinned: vec![0, 1, 2, 3],
        workers: 3,
        quota: None,
        nodes: vec![vec![0, 1, 2, 3]],
    }
}

const SOME_MEMORY: memory::Facts =
    memory::Facts { available: 12 << 30, budget: 4 << 30, swap: 0, swappiness: Some(60) };

fn a_network() -> network::Facts {
    let listen = vec![("0.0.0.0:9200".parse().expect("address"), None)];
    network::Facts { listen, running: Vec::new() }
}

fn a_disk() -> storage::Facts {
    storage::Facts {
        dir: "/var/lib/tapline".into(),
        exists: true,
        owner: 998,
        mode: 0o700,
        user: 998,
        writable: Ok(()),
        room: Some(Room { bytes: 1 << 40, free_bytes: 1 << 39, free_files: Some(1 << 20) }),
        reserve: 64 << 20,
        kind: Some("ext4".into()),
        model: Some("Amazon Elastic Block Store".into()),
        syncs: vec![Duration::from_micros(700); 32],
    }
}

fn a_certificate() -> certificate::Facts {
    let names = vec!["es.example".into()];
    certificate::Facts {
        file: "/etc/tapline/c.pem".into(),
        own: false,
        now: NOW,
        certificate: Ok(Inspection { not_before: 0, not_after: NOW + 300 * DAY, names }),
        key: Some(Ok(())),
    }
}

fn two_clusters() -> [cluster::Facts; 2] {
    let of = |role, url: &str, uuid: &str| {
        let body = format!(r#"{{"cluster_uuid":"{uuid}","version":{{"number":"7.10.2"}}}}"#);
        let url = url.parse().expect("a URL");
        cluster::Facts {
            role,
            url,
            answer: Ok((200, Cluster::parse(body.as_bytes()))),
            insecure: false,
        }
    };
    [of("source", "http://es:9200", "u-1"), of("target", "http://os:9200", "u-2")]
}

fn a_kafka() -> kafka::Facts {
    let settings = [
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "2"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
    ];
    let settings: BTreeMap<String, String> =
        settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    kafka::Facts {
        brokers: "k1:9092,k2:9092".into(),
        topic: "t".into(),
        record_bytes_max: 1_000_000,
        cluster: Ok(kafka::Brokers {
            warnings: Vec::new(),
            count: 3,
            partitions: vec![(3, 3, true); 8],
            settings: Some(Ok(settings)),
        }),
    }
}

fn config() -> crate::config::DoctorConfig {
    crate::config::DoctorConfig {
        source: None,
        source_tls: crate::config::replay::TargetTls::default(),
        target: None,
        target_tls: crate::config::replay::TargetTls::default(),
        listen: Vec::new(),
        tls: crate::config::TlsMode::Off,
        tls_cert: None,
        tls_key: None,
        state_dir: Path::new("state").into(),
        log: None,
        kafka: None,
        log_reserve: 64 << 20,
        redact_credentials: false,
        workers: None,
        cpus: Some(CpuList(vec![0])),
        record_bytes_max: 1_000_000,
        capture_memory: None,
    }
}
