//! Memory: bounded by `--capture-memory`, however many clients send however much while Kafka takes nothing.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use crate::rig::client::{request, try_connect};
use crate::rig::kafka::Kafka;
use crate::rig::message::Reader;
use crate::rig::origin::ok;
use crate::rig::services;
use crate::rig::tapline::{Capture, Tapline};

const MIB: usize = 1 << 20;
const BUDGET_MIB: u64 = 64;
/// What a development build may take beside the budget for records: 40 for itself, and a little for each connection.
const BESIDE_MIB: u64 = 112;

#[test]
fn a_kafka_that_stands_still_costs_no_more_memory_than_the_budget() {
    if !services::wanted("a_kafka_that_stands_still_costs_no_more_memory_than_the_budget") {
        return;
    }
    let kafka = Kafka::start(&[]);
    let clients = services::scale(400, 2000);
    for (topic, policy) in [("full-spool", "spool"), ("full-block", "block")] {
        kafka.create_topic(topic, 4, &[]);
        let capture = Capture::of(forgetful_origin()).kafka(&kafka, topic).flag("--workers", "2");
        let capture = capture.flag("--capture-memory", &format!("{BUDGET_MIB}MiB"));
        let capture = capture.flag("--hold-timeout", "5s");
        let tapline = capture.flag("--on-capture-unavailable", policy).start();
        let (port, before) = (tapline.port(), peak_mib(&tapline));
        kafka.pause();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..clients).map(|n| scope.spawn(move || post(port, n))).collect();
            clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
        });
        kafka.resume();
        let peak = peak_mib(&tapline);
        let served = statuses.iter().filter(|status| **status == 200).count();
        println!("{policy}: {served} of {clients} served, peak {peak} MiB, {before} at the start");
        assert!(
            peak <= BUDGET_MIB + BESIDE_MIB,
            "{policy}: {peak} MiB
{}",
            tapline.output()
        );
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        if policy == "spool" {
            assert_eq!(served, clients, "{}", tapline.output());
        }
    }
}

/// Keeps nothing of what it is sent, other than the rig's.
fn forgetful_origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = Reader::new(stream.try_clone()?);
                while reader.request()?.is_some() {
                    stream.write_all(&ok(b""))?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

/// The status that a write of 1 MiB gets; `None` when its connection ends before.
fn post(port: u16, number: usize) -> Option<u16> {
    let mut client = try_connect(port).ok()?;
    client.try_send(&request("PUT", &format!("/i/_doc/{number}"), &vec![b'x'; MIB])).ok()?;
    client.try_response("PUT").ok().map(|answer| answer.status())
}

/// The most memory that it ever had.
fn peak_mib(tapline: &Tapline) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", tapline.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a line of VmHWM");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
    kib / 1024
}
