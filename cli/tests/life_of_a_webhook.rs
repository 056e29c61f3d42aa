//! One webhook, from its arrival to the answer of a query: `docs/concepts/life-of-a-webhook.md`, step by step.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, CommandOutput, Delivery, NodeFolder, PULL_REQUEST, bounded};

#[tokio::test(flavor = "multi_thread")]
async fn life_of_a_webhook() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();

    // 1, 2: the webhook accepts only deliveries from a verified sender.
    let forged = Delivery::pull_request("d-1").with_header("x-hub-signature-256", Some(&format!("sha256={}", "0".repeat(64))));
    let refused = client.deliver(&forged).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let accepted = client.deliver(&Delivery::pull_request("d-1")).await.unwrap();
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{:#}", accepted.body);
    let event = accepted.body["events"][0].clone();
    assert_eq!(event["trigger"], "github.pull_request");
    let event_id = event["id"].as_str().unwrap();

    // 3, 4: each rule of the trigger was evaluated, and the reasons of those that did not match are reported.
    let judged = client.until(&format!("/events/{event_id}/rules"), |rules| rules["items"].is_array()).await;
    let verdict = |rule: &str| judged["items"].as_array().unwrap().iter().find(|item| item["rule"] == rule).cloned().unwrap();
    assert_eq!(verdict("examples.greet_pull_request")["verdict"], "matched");
    assert_eq!(verdict("examples.note_pull_request")["verdict"], "matched");
    let not_matched = verdict("examples.celebrate_merge");
    assert_eq!(not_matched["verdict"], "not_matched");
    assert!(not_matched["why"].to_string().contains("event.payload.action"), "{not_matched:#}");

    // 5–9: the resulting executions ended, and have their results.
    let of_event = |status: &'static str| format!("/executions?correlation={event_id}&status={status}");
    let ended = client.until(&of_event("succeeded"), |page| page["items"].as_array().is_some_and(|items| items.len() == 2)).await;
    let execution = |action: &str| ended["items"].as_array().unwrap().iter().find(|item| item["action"] == action).cloned().unwrap();
    let echo = client.get(&format!("/executions/{}", execution("core.echo")["id"].as_str().unwrap())).await;
    assert_eq!(echo["result"]["message"], "octomona opened pull request 42 of harbour/lamplight");
    let shell = execution("core.shell");
    let logs = client.get(&format!("/executions/{}/logs", shell["id"].as_str().unwrap())).await;
    assert!(logs.to_string().contains("Hello octomona, thank you for pull request #42"), "{logs:#}");

    // 6: everything acknowledged is one commit, and the payload has exactly the received bytes.
    let records = client.records().await;
    let of_kind = |kind: &str| {
        records.iter().filter(|record| record["kind"] == kind && record["cause"]["root"] == event_id).cloned().collect::<Vec<Value>>()
    };
    let received = of_kind("event.received");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["position"], event["position"]);
    for follows in ["enforcement.made", "execution.requested"] {
        let follows = of_kind(follows);
        assert_eq!(follows.len(), 2);
        assert!(follows.iter().all(|record| record["batch"] == received[0]["batch"]), "{follows:#?}");
    }
    let stored = client.get(&format!("/events/{event_id}")).await;
    assert_eq!(stored["payload"], serde_json::from_slice::<Value>(PULL_REQUEST).unwrap());

    // The same delivery is a duplicate of the event.
    let again = client.deliver(&Delivery::pull_request("d-1")).await.unwrap();
    assert_eq!((again.status, &again.body["events"][0]["id"]), (StatusCode::OK, &event["id"]));

    // So is the signed body with another id, or without one: the id is not signed.
    for id in [Some("d-2"), None] {
        let replayed = client.deliver(&Delivery::pull_request("d-1").with_header("x-github-delivery", id)).await.unwrap();
        assert_eq!((replayed.status, &replayed.body["events"][0]["id"]), (StatusCode::OK, &event["id"]), "{id:?}");
    }

    // 10: a read with the position of a write sees the write.
    let sent = client.post("/events", &json!({ "trigger": "examples.hello", "payload": { "name": "Ada" } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    let path = format!("/api/v1/events/{}", sent.body["id"].as_str().unwrap());
    let position = sent.headers["ensue-position"].to_str().unwrap();
    let seen = Answer::of(client.request(Method::GET, &path).header("ensue-position", position).send().await.unwrap()).await;
    assert_eq!((seen.status, &seen.body["payload"]["name"]), (StatusCode::OK, &json!("Ada")));

    // One page explains all of it.
    let why = bounded::output(place.ensue(&["why", event_id, "--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let why = String::from_utf8(why.stdout).unwrap();
    for told in ["event github.pull_request", "rule examples.greet_pull_request matched", "core.shell succeeded", "did not match"] {
        assert!(why.contains(told), "`{told}` in:\n{why}");
    }
    assert_eq!(node.stop(), Some(0));

    // The log is unchanged, as an independent check confirms.
    let verified = CommandOutput::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
