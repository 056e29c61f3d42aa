//! Streams of records from their callers' point of view.

use std::time::Duration;

use axum::body::Body;
use ensue_api::{QueueName, Queues};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::support::{TestApi, TestRequest};

const LOG: &str = "/api/v1/log/stream";

/// An event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream in transit.
pub(crate) struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    pub(crate) async fn of(asked: TestRequest<'_>) -> Self {
        let response = asked.response().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// Returns the next event with data, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.next_block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
            if let Some(data) = field("data") {
                let id = field("id").map(|id| id.parse().unwrap());
                return Some(Event { id, name: field("event").unwrap_or_default(), data: serde_json::from_str(&data).unwrap() });
            }
        }
    }

    pub(crate) async fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await.expect("the stream says something");
            match frame {
                Some(frame) => self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap()),
                None => {
                    assert_eq!(self.text, "", "a stream ends between two events");
                    return None;
                }
            }
        }
    }

    /// Returns the ids of the events up to and including a position.
    async fn ids_to(&mut self, last: u64) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.last() != Some(&last) {
            ids.push(self.next().await.expect("the stream continues").id.unwrap());
        }
        ids
    }
}

#[tokio::test]
async fn stream_sends_records_as_the_log_returns_them_with_position_and_kind() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(&format!("{LOG}?named=true")).by("viewer")).await;
    let mut unnamed = Stream::of(api.get(LOG).by("viewer")).await;
    for name in ["Ana", "Bo"] {
        api.event(name).await;
        let event = stream.next().await.unwrap();
        assert_eq!(unnamed.next().await.unwrap(), Event { name: String::new(), id: event.id, data: event.data.clone() });
        let alone = api.get(&format!("/api/v1/log/{}", event.id.unwrap())).by("viewer").answer().await.expect(200).json();
        assert_eq!(event.data, alone);
        assert_eq!(alone["kind"], event.name);
    }
}

#[tokio::test]
async fn stream_resumes_at_any_position_after_a_restart_without_gap_or_repeat() {
    let mut api = TestApi::new();
    for _ in 0..5 {
        api.event("Ana").await;
    }
    for place in 0..=api.node.head_position() {
        let id = place.to_string();
        let mut stream = Stream::of(api.get(LOG).by("viewer").with("last-event-id", &id)).await;
        let last = api.node.head_position();
        let mut ids = stream.ids_to(last).await;
        // New events arrive while the stream is followed, and while the node is down.
        api.event("Bo").await;
        let last = api.node.head_position();
        ids.extend(stream.ids_to(last).await);
        api.front.stop();
        assert_eq!(stream.next().await.unwrap().name, "end");
        assert_eq!(stream.next().await, None);
        api.event("Cy").await;
        api.restart();
        let known = ids.last().unwrap().to_string();
        let mut stream = Stream::of(api.get(LOG).by("viewer").with("last-event-id", &known)).await;
        ids.extend(stream.ids_to(api.node.head_position()).await);
        assert_eq!(ids, (place + 1..=api.node.head_position()).collect::<Vec<_>>(), "from {place}");
    }
}

#[tokio::test]
async fn records_after_a_revocation_never_reach_the_revoked_token() {
    let api = TestApi::new();
    let mut waiting = Stream::of(api.get(LOG).by("viewer")).await;
    waiting.next_block().await.unwrap();
    let mut behind = Stream::of(api.get(LOG).by("viewer").with("last-event-id", "0")).await;
    api.node.revoke("viewer");
    // The first one notices the revocation before anything else happens, within its idle interval.
    assert_eq!(waiting.next().await.unwrap().data["reason"], "not_allowed");
    api.event("Ana").await;
    let last = api.node.head_position();
    while let Some(event) = behind.next().await {
        assert!(event.id.is_none_or(|id| id < last), "{event:?}");
    }
}

#[tokio::test]
async fn reconnect_after_the_end_of_an_execution_gets_204() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/stream");
    let mut stream = Stream::of(api.get(&path).by("viewer")).await;
    let mut last = 0;
    loop {
        let event = stream.next().await.unwrap();
        if event.name == "end" {
            break;
        }
        last = event.id.unwrap();
    }
    let again = |place: u64| api.get(&path).by("viewer").with("last-event-id", &place.to_string()).answer();
    assert_eq!((again(last).await.status.as_u16(), again(last - 1).await.status.as_u16()), (204, 200));
}

#[tokio::test(start_paused = true)]
async fn fifty_log_followers_cost_one_log_read_per_commit() {
    let api = TestApi::new();
    let mut streams = Vec::new();
    for role in ["admin", "operator", "author"] {
        for _ in 0..17 {
            let mut stream = Stream::of(api.get(LOG).by(role)).await;
            stream.next_block().await.unwrap();
            streams.push(stream);
        }
    }
    // The first event shows that all of them follow, and the second that all of them wait again.
    for name in ["Ana", "Bo"] {
        api.event(name).await;
        for stream in &mut streams {
            stream.ids_to(api.node.head_position()).await;
        }
    }
    let before = api.node.log_reads();
    api.event("Cy").await;
    for stream in &mut streams {
        stream.ids_to(api.node.head_position()).await;
    }
    assert_eq!(api.node.log_reads() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn records_are_streamed_even_if_the_views_lag() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(LOG).by("viewer")).await;
    api.event("Ana").await;
    let head = api.node.head_position();
    stream.ids_to(head).await;
    api.node.hold_views();
    api.event("Bo").await;
    assert_eq!(stream.next().await.unwrap().id, Some(head + 1));
}

#[tokio::test]
async fn pages_cached_for_followers_are_freed_when_none_is_left() {
    let queues = Queues::with(|_| 1_000_000_000);
    let api = TestApi::with_queues(queues.clone());
    let mut stream = Stream::of(api.get(&format!("{LOG}?after=0")).by("viewer")).await;
    stream.ids_to(api.node.head_position()).await;
    assert!(queues.of(QueueName::AnswerBytes).depth() > 0, "the next caller gets the same page");
    drop(stream);
    let is_let_go_of = async {
        while queues.of(QueueName::AnswerBytes).depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_let_go_of).await.unwrap();
}

#[tokio::test]
async fn reconnect_in_the_middle_of_a_cached_page_gets_its_rest() {
    let api = TestApi::new();
    let head = api.node.head_position();
    Stream::of(api.get(&format!("{LOG}?after=0")).by("viewer")).await.ids_to(head).await;
    for place in 0..head {
        let mut stream = Stream::of(api.get(&format!("{LOG}?after={place}")).by("viewer")).await;
        assert_eq!(stream.ids_to(head).await, (place + 1..=head).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn stream_without_a_position_starts_at_the_head_and_reports_it() {
    let api = TestApi::new();
    let head = api.node.head_position();
    let mut stream = Stream::of(api.get(LOG).by("viewer")).await;
    assert_eq!(stream.next_block().await.unwrap(), format!("retry: 1000\nid: {head}"));
    api.event("Ana").await;
    assert_eq!(stream.next().await.unwrap().id, Some(head + 1));
    let mut from_two = Stream::of(api.get(&format!("{LOG}?after=2")).by("viewer")).await;
    assert_eq!(from_two.next().await.unwrap().id, Some(3));
    let mut resumed = Stream::of(api.get(&format!("{LOG}?after=2")).by("viewer").with("last-event-id", "4")).await;
    assert_eq!(resumed.next().await.unwrap().id, Some(5), "the stream continues after the last sent record");
}

#[tokio::test]
async fn position_that_the_log_does_not_have_is_rejected() {
    let api = TestApi::new();
    let ahead = (api.node.head_position() + 1).to_string();
    for place in [ahead.as_str(), "x", "-1", ""] {
        api.get(LOG).by("viewer").with("last-event-id", place).answer().await.expect_problem(400, "bad_parameter");
        api.get(&format!("{LOG}?after={place}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
    api.get(LOG).by("viewer").with("accept", "application/json").answer().await.expect_problem(406, "not_acceptable");
}

#[tokio::test]
async fn stop_ends_a_stream_with_a_last_event() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(LOG).by("viewer")).await;
    api.front.stop();
    let last = stream.next().await.unwrap();
    assert_eq!((last.id, last.name.as_str(), last.data["reason"].as_str()), (None, "end", Some("stopping")));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn caller_has_at_most_twenty_streams_and_others_have_theirs() {
    let api = TestApi::new();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(Stream::of(api.get(LOG).by("viewer")).await);
    }
    api.get(LOG).by("viewer").answer().await.expect_problem(429, "over_share");
    open.push(Stream::of(api.get(LOG).by("admin")).await);
    drop(open);
    let has_room = async {
        while api.get(LOG).by("viewer").response().await.status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), has_room).await.expect("a stream that was left gives its place back");
}

#[tokio::test]
async fn node_limits_the_total_number_of_streams() {
    let api = TestApi::with_queues(Queues::with(|name| if name == QueueName::LiveStreams { 1 } else { 1_000_000_000 }));
    let _open = Stream::of(api.get(LOG).by("viewer")).await;
    api.get(LOG).by("admin").answer().await.expect_problem(503, "busy");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_dropped_and_can_resume() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(&format!("{LOG}?after=0")).by("viewer")).await;
    // As many as several pages hold, each sent before the next is created.
    for _ in 0..20 {
        api.event("Ana").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    let mut got = Vec::new();
    while let Some(event) = stream.next().await {
        got.push(event.id.unwrap());
    }
    let head = api.node.head_position();
    let last = got.last().copied().unwrap_or(0);
    assert!(last < head, "it was dropped before the end");
    let mut resumed = Stream::of(api.get(LOG).by("viewer").with("last-event-id", &last.to_string())).await;
    got.extend(resumed.ids_to(head).await);
    assert_eq!(got, (1..=head).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn idle_stream_sends_a_heartbeat_every_15_seconds_and_ends_with_its_token() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(LOG).by("viewer")).await;
    stream.next_block().await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(stream.next_block().await.unwrap(), ":");
    assert_eq!(began.elapsed().as_secs(), 15);
    api.node.revoke("viewer");
    let last = stream.next().await.unwrap();
    assert_eq!((last.name.as_str(), last.data["reason"].as_str()), ("end", Some("not_allowed")));
    assert!(began.elapsed().as_secs() <= 20);
}

#[tokio::test]
async fn execution_stream_runs_from_the_first_record_to_the_end() {
    let api = TestApi::new();
    let (id, other) = (api.execution().await, api.execution().await);
    let path = format!("/api/v1/executions/{id}/stream?named=true");
    let mut stream = Stream::of(api.get(&path).by("viewer")).await;
    assert_eq!(stream.next().await.unwrap().name, "execution.requested");
    assert_eq!(stream.next().await.unwrap().name, "attempt.started");
    api.node.succeed(&other, "{}");
    api.node.succeed(&id, "{}");
    let mut rest = Vec::new();
    while let Some(event) = stream.next().await {
        rest.push(event);
    }
    let names: Vec<&str> = rest.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["attempt.succeeded", "execution.succeeded", "end"]);
    assert_eq!(rest[2].data, serde_json::json!({ "reason": "ended", "status": "succeeded" }));
    assert!(rest[..2].iter().all(|event| event.data["stream"] == format!("execution/{id}")));

    // Callers that connect later, or again, get exactly the missing messages.
    let whole = Stream::of(api.get(&path).by("viewer")).await.names().await;
    assert_eq!(whole, ["execution.requested", "attempt.started", "attempt.succeeded", "execution.succeeded", "end"]);
    let known = rest[0].id.unwrap().to_string();
    assert_eq!(Stream::of(api.get(&path).by("viewer").with("last-event-id", &known)).await.names().await, ["execution.succeeded", "end"]);
}

impl Stream {
    /// Returns the names of all events to the end.
    async fn names(mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(event) = self.next().await {
            names.push(event.name);
        }
        names
    }
}

#[tokio::test]
async fn unknown_execution_has_no_stream() {
    let api = TestApi::new();
    let path = "/api/v1/executions/01980000-0000-7000-8000-0000000000ff/stream";
    api.get(path).by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn stream_without_memory_for_its_pages_ends_with_busy() {
    let queues = Queues::with(|name| if name == QueueName::AnswerBytes { 1_000_000 } else { 1_000_000_000 });
    let _unwritten = queues.of(QueueName::AnswerBytes).enter(1_000_000).unwrap();
    let api = TestApi::with_queues(queues.clone());
    let mut stream = Stream::of(api.get(&format!("{LOG}?after=0")).by("viewer")).await;
    assert_eq!(stream.next().await.unwrap().data["reason"], "busy");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn reconnecting_stream_gets_past_records_larger_than_answer_memory() {
    let api = TestApi::with_queues(Queues::with(|name| if name == QueueName::AnswerBytes { 300_000 } else { 1_000_000_000 }));
    // The event, and the rule's execution with the text as a parameter.
    let long = serde_json::json!({ "trigger": "demo.long", "payload": { "text": "a".repeat(400_000) } });
    api.post("/api/v1/events").by("admin").json(&long).answer().await.expect(202);
    let (mut at, head) = (0, api.node.head_position());
    while at < head {
        let came_to = at;
        let mut stream = Stream::of(api.get(&format!("{LOG}?after={at}")).by("viewer")).await;
        while let Some(Event { id: Some(id), .. }) = stream.next().await {
            at = id;
            if at == head {
                break;
            }
        }
        assert!(at > came_to, "nobody gets past position {at}");
    }
}

#[tokio::test]
async fn stream_of_the_log_has_only_the_records_that_its_caller_asks_for() {
    let api = TestApi::new();
    let head = api.node.head_position();
    api.event("ana").await;
    api.event("Bo").await;
    let wanted = |record: &Value| record["kind"] == "event.received" || record["kind"] == "execution.requested";
    let all = api.get(&format!("/api/v1/log?after={head}&limit=200")).by("viewer").answer().await.expect(200).json();
    let expected: Vec<u64> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| wanted(record))
        .map(|record| record["position"].as_u64().unwrap())
        .collect();
    for form in ["false", "true"] {
        let path = format!("{LOG}?after={head}&kind=event.received,execution.requested&named={form}");
        let mut stream = Stream::of(api.get(&path).by("viewer")).await;
        assert_eq!(stream.ids_to(*expected.last().unwrap()).await, expected);
    }
    let root = all["items"][0]["cause"]["root"].as_str().unwrap();
    let of_root = api.get(&format!("/api/v1/log?root={root}&limit=200")).by("viewer").answer().await.expect(200).json();
    let expected: Vec<u64> = of_root["items"].as_array().unwrap().iter().map(|record| record["position"].as_u64().unwrap()).collect();
    let mut stream = Stream::of(api.get(&format!("{LOG}?after={head}&root={root}")).by("viewer")).await;
    assert_eq!(stream.ids_to(*expected.last().unwrap()).await, expected);
    api.get(&format!("{LOG}?kind=no.such")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn caller_that_wants_none_of_the_new_records_learns_its_position() {
    let api = TestApi::new();
    let mut stream = Stream::of(api.get(&format!("{LOG}?kind=var.set")).by("viewer")).await;
    stream.next_block().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    api.event("Ana").await;
    let last = format!("id: {}", api.node.head_position());
    loop {
        let block = stream.next_block().await.unwrap();
        assert!(!block.contains("data:"), "{block}");
        if block == last {
            break;
        }
    }
}
