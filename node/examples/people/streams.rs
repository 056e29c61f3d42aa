//! Streams: how long changes take to arrive, what they cost the callers that send events, and how soon streams end when
//! their caller's rights do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::quotas::send_events;
use super::{Bed, summarize};

/// How many events are sent while changes are followed, and how long after another.
const EVENTS: u64 = 200;
const APART: Duration = Duration::from_millis(50);
/// How long a stream waits for an event.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of streams of one caller, and of callers, when rights are revoked.
const STREAMS_OF_ONE: usize = 20;
const CALLERS: usize = 50;
/// How long events are sent at full speed.
const AT_FULL_SPEED: Duration = Duration::from_secs(4);

/// Measures how long the ids of events take to reach 20 and 100 callers.
pub(super) async fn measure_changes(bed: &Bed) {
    let sender = bed.identity("sender", &[], "ingester", &json!(null)).await;
    let (_, tokens) = readers(bed, "readers", 100).await;
    println!("  without callers: {}", send_events(bed, &sender, AT_FULL_SPEED).await);
    for callers in [20, 100] {
        let (end, ending) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for token in &tokens[..callers] {
            let stream = open_stream(bed, token, "/changes?of=events").await;
            tasks.spawn(follow_events(stream, ending.clone()));
        }
        let sent_at_speed = send_events(bed, &sender, AT_FULL_SPEED).await;
        // What was sent at full speed has arrived before the rest.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut sent = BTreeMap::new();
        for number in 0..EVENTS {
            let at = Instant::now();
            sent.insert(bed.tick(&sender, number).await, at);
            tokio::time::sleep(APART).await;
        }
        end.send_replace(Some(sent.keys().next_back().unwrap().clone()));
        let arrived = tasks.join_all().await;
        let times = arrived.iter().flat_map(|one| sent.iter().filter_map(|(id, at)| Some(*one.get(id)? - *at))).collect::<Vec<_>>();
        let lost = callers * sent.len() - times.len();
        println!("  {callers} callers: {lost} of {} ids lost; each arrived after: {}", callers * sent.len(), summarize(times));
        println!("    events at full speed meanwhile: {}", sent_at_speed);
    }
}

/// Follows a stream of changes until an event arrived, and returns when each did.
async fn follow_events(mut stream: Response, mut ending: watch::Receiver<Option<String>>) -> BTreeMap<String, Instant> {
    let (mut arrived, mut unread) = (BTreeMap::new(), Vec::new());
    loop {
        let last = ending.borrow_and_update().clone();
        if last.is_some_and(|last| arrived.contains_key(&last)) {
            return arrived;
        }
        tokio::select! {
            chunk = tokio::time::timeout(PATIENCE, stream.chunk()) => {
                let Ok(Ok(Some(chunk))) = chunk else { return arrived };
                unread.extend_from_slice(&chunk);
            }
            _ = ending.changed() => {}
        }
        let now = Instant::now();
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            let data = block.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
            let changed: Value = data.and_then(|data| serde_json::from_slice(data).ok()).unwrap_or_default();
            let ids = changed["changed"]["events"].as_array().into_iter().flatten();
            arrived.extend(ids.filter_map(|id| Some((id.as_str()?.to_owned(), now))));
        }
    }
}

/// Opens a stream, and waits until it has begun.
async fn open_stream(bed: &Bed, token: &str, path: &str) -> Response {
    let mut stream = bed.request(Method::GET, path, token).send().await.unwrap().error_for_status().unwrap();
    stream.chunk().await.unwrap();
    stream
}

/// Adds identities that may read because of a grant to their group. Returns the grant, and a token of each.
async fn readers(bed: &Bed, group: &str, count: usize) -> (String, Vec<String>) {
    let grant = bed.call(Method::POST, "/grants", &json!({ "subject": format!("group:{group}"), "role": "viewer" })).await;
    let mut tokens = Vec::with_capacity(count);
    for number in 0..count {
        let name = format!("{group}{number}");
        bed.call(Method::POST, "/identities", &json!({ "name": name, "groups": [group] })).await;
        tokens.push(bed.token(&name).await);
    }
    (grant["id"].as_str().unwrap().to_owned(), tokens)
}

/// Measures how soon the streams of a group end after its grant was removed.
pub(super) async fn measure_revocation(bed: &Bed) {
    for (path, group) in [("/changes", "followers"), ("/log/stream", "readers")] {
        let (grant, tokens) = readers(bed, group, CALLERS).await;
        let ended = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for token in tokens.iter().flat_map(|token| std::iter::repeat_n(token, STREAMS_OF_ONE)) {
            let (mut stream, ended) = (open_stream(bed, token, path).await, ended.clone());
            tasks.spawn(async move {
                while let Ok(Some(_)) = stream.chunk().await {}
                ended.fetch_add(1, Ordering::Relaxed);
                Instant::now()
            });
        }
        let before = ended.load(Ordering::Relaxed);
        let begun = Instant::now();
        bed.call(Method::DELETE, &format!("/grants/{grant}"), &json!({})).await;
        let answered = begun.elapsed();
        let times: Vec<Duration> = tasks.join_all().await.into_iter().map(|end| end.saturating_duration_since(begun)).collect();
        println!(
            "  {path}: {before} of {} had ended before; answered after {answered:.1?}; each ended after: {}",
            times.len(),
            summarize(times)
        );
    }
}
