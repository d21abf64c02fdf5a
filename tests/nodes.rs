//! Three capture nodes behind a balancer, one topic, three replayers in one group: the target ends in the source's
//! state, also when one of each is killed in the middle and started again.
//!
//! What is promised across nodes and members is order per connection, so connections write to documents of their own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::rig::client::{request, try_connect};
use crate::rig::group::{Group, PATIENCE};
use crate::rig::haproxy::Haproxy;
use crate::rig::mixed::{Documents, Mix};
use crate::rig::replayer::Replayer;
use crate::rig::tapline::Tapline;
use crate::rig::{services, wait};

#[test]
fn three_nodes_and_three_replayers_end_in_the_state_of_the_source() {
    if !services::wanted("three_nodes_and_three_replayers_end_in_the_state_of_the_source") {
        return;
    }
    let mut group = Group::new("nodes");
    let mut members: Vec<Replayer> = (0..3).map(|_| member(&mut group)).collect();
    let mut nodes: Vec<Tapline> =
        ["node-0", "node-1", "node-2"].map(|n| group.capture(n).start()).into();
    // Where the first node is found again after its end.
    let again = group.capture("node-0");
    let ports: Vec<u16> = nodes.iter().map(Tapline::port).chain([again.port()]).collect();
    let balancer = Haproxy::to_all(&ports, "check inter 200ms fall 1 rise 1");

    println!("{:?}", mix(services::scale(3_000, 20_000)).run(balancer.port()));
    group.assert_equal();

    let load = Load::default();
    let count = services::scale(2_000, 20_000);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (load, port) = (&load, balancer.port());
                scope.spawn(move || load.client(port, number, count / 8))
            })
            .collect();
        let half = || load.answered.load(Ordering::Relaxed) > count / 3;
        assert!(wait::until(PATIENCE, half), "{load:?}");
        nodes.remove(0).kill();
        assert!(members.remove(0).kill(), "the member had ended");
        nodes.push(again.start());
        members.push(member(&mut group));
        for client in clients {
            client.join().expect("a client does not panic");
        }
    });
    assert!(
        load.broken.load(Ordering::Relaxed) > 0,
        "no connection was on the node that was killed: {load:?}"
    );
    println!("{load:?}");
    // Connections that the killed node did not end are over when captured time has gone on: it goes on with traffic.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                tick(balancer.port(), number);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let source = group.source.state();
        let equal = wait::until(PATIENCE, || group.target.state() == source);
        done.store(true, Ordering::Relaxed);
        assert!(equal, "{} documents of {}", group.target.state().len(), source.len());
    });
    balancer.stop();
    for node in &mut nodes {
        node.stop();
    }
    group.assert_equal();
    for member in members {
        println!("{:?}", member.stop());
    }
}

/// A member that gives up on connections which a killed node has left open soon enough for a test.
fn member(group: &mut Group) -> Replayer {
    let name = group.next_member();
    group.replay(&name).flag("--connection-timeout", "5s").flag("--lookahead", "60s").start()
}

fn mix(requests: u64) -> Mix<'static> {
    Mix {
        prefix: "calm",
        requests,
        clients: 12,
        documents: Documents::Own,
        scripts: false,
        whole: false,
        plain: true,
        seed: 7,
    }
}

/// Clients that send again what got no answer, as client libraries do.
///
/// Each write is to a document that nothing else writes to: of a write that got no answer nobody knows whether the
/// source took it, and its repetition over another node stands in another partition, so nothing orders the two against
/// an earlier write of that document.
#[derive(Debug, Default)]
struct Load {
    answered: AtomicU64,
    broken: AtomicU64,
}

impl Load {
    fn client(&self, port: u16, number: u64, count: u64) {
        let mut connection = None;
        for write in 0..count {
            let body = format!("{{\"n\":{write},\"client\":{number}}}");
            let target = format!("/storm/_doc/{number}-{write}");
            let wire = match write % 4 {
                0 => {
                    let action = format!(
                        "{{\"index\":{{\"_index\":\"storm\",\"_id\":\"{number}-{write}\"}}}}"
                    );
                    request("POST", "/_bulk", format!("{action}\n{body}\n").as_bytes())
                }
                _ => request("PUT", &target, body.as_bytes()),
            };
            let sent = wait::until(PATIENCE, || {
                let Ok(mut client) = connection.take().map_or_else(|| try_connect(port), Ok) else {
                    return false;
                };
                let answer = client.try_send(&wire).and_then(|()| client.try_response("PUT"));
                match answer {
                    Ok(answer) if matches!(answer.status(), 200 | 201) => {
                        connection = Some(client);
                        true
                    }
                    _ => {
                        self.broken.fetch_add(1, Ordering::Relaxed);
                        false
                    }
                }
            });
            assert!(sent, "client {number}: write {write} is not answered: {self:?}");
            self.answered.fetch_add(1, Ordering::Relaxed);
            // A new connection now and then, so that all nodes have some.
            if write % 50 == 49 {
                connection = None;
            }
        }
    }
}

/// A read on a connection of its own.
fn tick(port: u16, number: u64) {
    if let Ok(mut client) = try_connect(port) {
        let get = request("GET", &format!("/storm/_doc/{number}"), b"");
        let _ = client.try_send(&get).and_then(|()| client.try_response("GET"));
    }
}
