//! What the readers cost: printed when `TAPLINE_TEST_SLOW` is set, judged by nobody.

use std::hint::black_box;
use std::time::Instant;

use crate::es::endpoint::Endpoint;
use crate::es::{answer, bulk};
use crate::http::Method;

#[test]
fn cost_of_the_readers() {
    let rounds = if std::env::var_os("TAPLINE_TEST_SLOW").is_some() { 200_000 } else { 10 };
    let source = "x".repeat(560);
    let pairs: Vec<(String, String)> = (0..8)
        .map(|number| {
            let place = format!("\"_index\":\"logs-2024.01\",\"_id\":\"id-{number:08}\"");
            let lines = format!("{{\"index\":{{{place}}}}}\n{{\"message\":\"{source}\"}}\n");
            let item = format!(
                "{{\"index\":{{{place},\"_version\":1,\"result\":\"created\",\"_shards\":{{\"total\":2,\
                 \"successful\":1,\"failed\":0}},\"_seq_no\":{number},\"_primary_term\":1,\"status\":201}}}}"
            );
            (lines, item)
        })
        .collect();
    let (body, items): (String, Vec<String>) = pairs.into_iter().unzip();
    let items = items.join(",");
    let reply = format!("{{\"took\":30,\"errors\":false,\"items\":[{items}]}}");
    let measure = |what: &str, work: &mut dyn FnMut() -> usize| {
        let start = Instant::now();
        let sum: usize = (0..rounds).map(|_| work()).sum();
        println!("{what}: {:?} ({sum})", start.elapsed() / rounds);
    };
    measure("8 items of a bulk of 5 KB", &mut || {
        bulk::lines(black_box(body.as_bytes()), None).count()
    });
    measure("its answer, whole", &mut || {
        answer::bulk(black_box(reply.as_bytes())).unwrap().items.map_or(0, |items| items.len())
    });
    measure("its answer, front", &mut || {
        usize::from(answer::errors_at_front(black_box(reply.as_bytes())) == Some(false))
    });
    measure("target of a document", &mut || {
        let target = black_box(&b"/logs-2024.01/_doc/id-00000001?refresh=true"[..]);
        usize::from(Endpoint::of(Method::Put, target).id.is_some())
    });
}
