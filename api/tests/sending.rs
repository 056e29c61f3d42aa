//! Several events in one request: all or none of them, in one commit.

use serde_json::{Value, json};

use crate::support::{Answer, TestApi};

const EVENTS: &str = "/api/v1/events";
/// The maximum number of events in one request, according to the reference.
const EVENTS_MAX: usize = 1_000;

fn hello(name: &str) -> Value {
    json!({ "trigger": "demo.hello", "payload": { "name": name } })
}

fn keyed_event(name: &str, key: &str) -> Value {
    json!({ "trigger": "demo.hello", "payload": { "name": name }, "dedupe": key })
}

async fn send(api: &TestApi, events: &[Value]) -> Answer {
    api.post(EVENTS).by("admin").json(&Value::from(events)).answer().await
}

fn ids(answer: &Answer) -> Vec<Value> {
    answer.json()["items"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect()
}

fn repeats(answer: &Answer) -> Vec<bool> {
    answer.json()["items"].as_array().unwrap().iter().map(|event| event["repeat"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn event_list_is_accepted_in_order_in_one_commit() {
    let api = TestApi::new();
    let taken = send(&api, &[hello("ana"), hello("cy"), hello("bo")]).await.expect(202);
    let items = taken.json()["items"].as_array().unwrap().clone();
    let mut batches = Vec::new();
    for (item, name) in items.iter().zip(["ana", "cy", "bo"]) {
        let path = format!("{EVENTS}/{}", item["id"].as_str().unwrap());
        let event = api.get(&path).by("viewer").answer().await.expect(200).json();
        assert_eq!((&event["payload"]["name"], &event["position"]), (&json!(name), &item["position"]));
        let record = api.get(&format!("/api/v1/log/{}", item["position"])).by("viewer").answer().await.expect(200).json();
        batches.push(record["batch"].clone());
    }
    assert!(batches.iter().all(|batch| *batch == batches[0]), "{batches:?}");
    let head = api.node.head_position().to_string();
    assert_eq!(taken.header("ensue-position"), Some(head.as_str()), "the sender sees the result of each event");
}

#[tokio::test]
async fn event_list_of_repeats_returns_the_first_ids_and_a_mixed_list_adds_new() {
    let api = TestApi::new();
    let first = send(&api, &[keyed_event("ana", "1"), keyed_event("bo", "2")]).await.expect(202);
    let again = send(&api, &[keyed_event("bo", "2"), keyed_event("ana", "1")]).await.expect(200);
    assert_eq!(ids(&again), [&ids(&first)[1], &ids(&first)[0]].map(Value::clone));
    assert_eq!((repeats(&first), repeats(&again)), (vec![false, false], vec![true, true]));
    let mixed = send(&api, &[keyed_event("ana", "1"), keyed_event("cy", "3"), keyed_event("cy", "3")]).await.expect(202);
    assert_eq!(ids(&mixed)[0], ids(&first)[0]);
    assert_eq!(ids(&mixed)[1], ids(&mixed)[2], "a key that is twice in a list creates one event");
    assert_eq!(repeats(&mixed), [true, false, true]);
    send(&api, &[hello("di"), keyed_event("another", "1")]).await.expect_problem(409, "dedupe_key_reused");
}

#[tokio::test]
async fn empty_event_list_changes_nothing() {
    let api = TestApi::new();
    let position = api.node.head_position();
    assert_eq!(send(&api, &[]).await.expect(200).json(), json!({ "items": [] }));
    assert_eq!(api.node.head_position(), position);
}

#[tokio::test]
async fn one_invalid_event_rejects_the_whole_list_with_a_pointer_for_each() {
    let api = TestApi::new();
    let position = api.node.head_position();
    let pointers = |problem: &Value| -> Vec<String> {
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let of_other_shape = [hello("ana"), json!({ "trigger": "demo.hello" }), json!(["demo.hello", {}]), json!({ "colour": "red" })];
    let problem = send(&api, &of_other_shape).await.expect_problem(422, "body_invalid");
    assert_eq!(pointers(&problem), ["/1/payload", "/2", "/3/colour"].map(str::to_owned));
    let unfit =
        [hello("ana"), json!({ "trigger": "demo.nothing", "payload": {} }), json!({ "trigger": "demo.hello", "payload": { "name": 1 } })];
    let problem = send(&api, &unfit).await.expect_problem(422, "trigger_not_found");
    assert_eq!(pointers(&problem), ["/1/trigger", "/2/payload/name"].map(str::to_owned));
    let keys = [hello("ana"), keyed_event("bo", ""), keyed_event("cy", &"k".repeat(1_025))];
    assert_eq!(pointers(&send(&api, &keys).await.expect_problem(422, "body_invalid")), ["/1/dedupe", "/2/dedupe"].map(str::to_owned));
    let many: Vec<Value> = (0..100).map(|_| json!({ "trigger": "demo.hello", "payload": {} })).collect();
    assert_eq!(
        pointers(&send(&api, &many).await.expect_problem(422, "payload_invalid")).len(),
        20,
        "the number of reported errors is limited"
    );
    assert_eq!(api.node.head_position(), position, "nothing was accepted");
}

#[tokio::test]
async fn request_accepts_at_most_a_thousand_events() {
    let api = TestApi::new();
    let position = api.node.head_position();
    let mut events: Vec<Value> = (0..=EVENTS_MAX).map(|n| hello(&n.to_string())).collect();
    let problem = send(&api, &events).await.expect_problem(413, "too_many_events");
    assert!(problem["detail"].as_str().unwrap().contains("1001"), "{problem}");
    assert_eq!(api.node.head_position(), position);
    events.pop();
    let taken = send(&api, &events).await.expect(202);
    let positions: Vec<u64> = taken.json()["items"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (position + 1..=position + EVENTS_MAX as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn stored_event_is_emitted_again_as_a_new_event_that_it_caused() {
    let api = TestApi::new();
    let first = api.event("ana").await;
    let path = format!("{EVENTS}/{first}/emit_again");
    let sent = api.post(&path).by("admin").answer().await.expect(202);
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(sent.header("location"), Some(format!("{EVENTS}/{id}").as_str()));
    assert_ne!(id, first);
    let shown = async |id: &str| api.get(&format!("{EVENTS}/{id}")).by("admin").answer().await.expect(200).json();
    let (old, new) = (shown(&first).await, shown(&id).await);
    for field in ["trigger", "version", "source", "time", "payload", "correlation", "matched"] {
        assert_eq!(new[field], old[field], "{field}");
    }
    assert_eq!((&new["parent"], &new["sensor"]), (&json!(first), &Value::Null));
    api.post(&path).by("admin").json(&json!({})).answer().await.expect(202);
}

#[tokio::test]
async fn event_is_emitted_again_once_under_a_key() {
    let api = TestApi::new();
    let path = format!("{EVENTS}/{}/emit_again", api.event("ana").await);
    let keyed = |key: &str| api.post(&path).by("admin").json(&json!({ "dedupe": key })).answer();
    let first = keyed("1").await.expect(202).json();
    assert_eq!(keyed("1").await.expect(200).json(), first);
    assert_ne!(keyed("2").await.expect(202).json(), first);
    let problem = keyed("").await.expect_problem(422, "body_invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/dedupe");
    let of_another = format!("{EVENTS}/{}/emit_again", api.event("bo").await);
    let reused = api.post(&of_another).by("admin").json(&json!({ "dedupe": "1" })).answer().await;
    reused.expect_problem(409, "dedupe_key_reused");
    let sent = json!({ "trigger": "demo.hello", "payload": { "name": "ana" }, "dedupe": "order-17" });
    let sent = api.post(EVENTS).by("admin").json(&sent).answer().await.expect(202).json();
    let sent = format!("{EVENTS}/{}/emit_again", sent["id"].as_str().unwrap());
    let under_its_own_key = api.post(&sent).by("admin").json(&json!({ "dedupe": "order-17" })).answer().await;
    under_its_own_key.expect_problem(409, "dedupe_key_reused");
    let request = || api.post(&path).by("admin").with("idempotency-key", "again").answer();
    let once = request().await.expect(202).json();
    assert_eq!(request().await.json(), once, "a request that is sent again emits nothing");
}

#[tokio::test]
async fn event_is_emitted_again_only_by_callers_that_may_send_and_read_it() {
    let api = TestApi::new();
    let first = api.event("ana").await;
    let path = format!("{EVENTS}/{first}/emit_again");
    api.post(&path).by("viewer").answer().await.expect_problem(403, "forbidden");
    let before = api.node.head_position();
    let nothing = format!("{EVENTS}/01980000-0000-7000-8000-0000000000ff/emit_again");
    api.post(&nothing).by("admin").answer().await.expect_problem(404, "not_found");
    api.post(&path).by("admin").json(&json!({ "payload": {} })).answer().await.expect_problem(422, "body_invalid");
    assert_eq!(api.post(&format!("{path}?dry_run=true")).by("admin").answer().await.status, 204);
    assert_eq!(api.node.head_position(), before);
}
