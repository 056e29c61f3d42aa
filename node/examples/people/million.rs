//! Overviews of a million executions: what needs attention, search and counts, for an admin and for limited callers.

use std::path::Path;
use std::time::{Duration, Instant};

use ensue_node::long_log::{self, LongLogPlan};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Bed, config, summarize};

/// The number of records of a million executions, with their events, enforcements and attempts.
const RECORDS: u64 = 5_600_000;
const PAYLOAD_BYTES: usize = 100;
/// How many executions wait for a worker.
const OPEN: u64 = 1_000;
/// How often each path is requested.
const TIMES: usize = 40;

/// Creates the executions if they do not exist, and measures.
pub(super) async fn measure(folder: &Path) {
    let config = config(folder);
    // The first start installs the pack.
    Bed::start(folder).await.node.stop().await.unwrap();
    let plan = LongLogPlan {
        records: RECORDS,
        trigger: "people.tick".parse().unwrap(),
        payload_bytes: PAYLOAD_BYTES,
        open: OPEN,
        failing: Some("core.echo".parse().unwrap()),
    };
    let begun = Instant::now();
    let position = tokio::task::block_in_place(|| long_log::lengthen(&config, &plan, |_| {})).unwrap();
    println!("  {position} records after {:.0?}", begun.elapsed());
    let bed = Bed::start(folder).await;
    let newest = answer(&bed, "/executions?status=succeeded&limit=1", &bed.admin.clone()).await;
    let id = newest["items"][0]["id"].as_str().unwrap().to_owned();
    let action = json!({ "actions": ["core.echo"] });
    let pack = json!({ "packs": ["people"] });
    let suffix = position.0;
    let callers = [
        ("admin", bed.admin.clone()),
        ("limited to a pack", bed.identity(&format!("ana{suffix}"), &[], "viewer", &pack).await),
        ("limited to an action", bed.identity(&format!("bo{suffix}"), &[], "viewer", &action).await),
    ];
    println!("  counted: {}", answer(&bed, "/counts?of=executions&by=status", &bed.admin).await["total"]);
    for path in [
        "/now".to_owned(),
        format!("/search?q={}", &id[..8]),
        format!("/search?q={id}"),
        "/search?q=people".to_owned(),
        "/search?q=nothing_like_it".to_owned(),
        "/search?q=site=eu".to_owned(),
        "/counts?of=executions&by=status".to_owned(),
        "/counts?of=executions&by=action".to_owned(),
        "/counts?of=executions&by=rule&status=failed".to_owned(),
        "/executions?limit=50".to_owned(),
        "/executions?limit=50&action=core.noop&status=timed_out".to_owned(),
    ] {
        for (who, token) in &callers {
            let mut times: Vec<Duration> = Vec::with_capacity(TIMES);
            for _ in 0..TIMES {
                let begun = Instant::now();
                answer(&bed, &path, token).await;
                times.push(begun.elapsed());
            }
            println!("  {path}, {who}: {}", summarize(times));
        }
    }
    bed.node.stop().await.unwrap();
}

async fn answer(bed: &Bed, path: &str, token: &str) -> Value {
    let answer = bed.request(Method::GET, path, token).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}
