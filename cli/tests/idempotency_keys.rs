//! Requests with an `Idempotency-Key`, repeated to a node that was killed in between.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Client, NodeFolder};

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("greet/pack.yaml", "name: greet\nversion: 1.0.0\ndescription: Says hello.\n");
    place.write_pack_file(
        "greet/actions/hello.yaml",
        "description: Says hello once for each run.\nparameters:\n  name: {type: string}\nrun:\n  shell:\n    script: echo hello\n",
    );
    place
}

/// Requests a run of the action with a key. Fails without an answer.
async fn run(client: &Client, key: &str, name: &str) -> Result<Answer, reqwest::Error> {
    let request = client.request(Method::POST, "/api/v1/actions/greet.hello/execute").header("idempotency-key", key);
    let response = request.json(&json!({ "params": { "name": name } })).send().await?;
    Ok(Answer::of(response).await)
}

async fn count_requests(client: &Client) -> usize {
    let records = client.records().await;
    records.iter().filter(|record| record["kind"] == "execution.requested").count()
}

fn answer_parts(answer: &Answer) -> (StatusCode, Value, Vec<Option<String>>) {
    let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (answer.status, answer.body.clone(), vec![header("location"), header("ensue-position")])
}

#[tokio::test(flavor = "multi_thread")]
async fn request_repeated_after_a_kill_gets_the_first_answer_and_runs_once() {
    let place = place();
    let node = place.start();
    let first = run(&node.client(), KEY, "ana").await.unwrap();
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(answer_parts(&run(&client, KEY, "ana").await.unwrap()), answer_parts(&first));
    let other = run(&client, KEY, "bo").await.unwrap();
    assert_eq!((other.status, &other.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused")));
    assert_eq!(count_requests(&client).await, 1);
}

/// A caller without an answer repeats its request until it gets one, whatever happens to the node in the
/// meantime.
#[tokio::test(flavor = "multi_thread")]
async fn request_interrupted_by_a_kill_runs_once_however_often_it_is_repeated() {
    let place = place();
    let mut node = place.start();
    let (mut interrupted, mut took) = (0, std::time::Duration::ZERO);
    for round in 0.. {
        // Enough moments, and at least one of them between the request and its answer.
        if round >= 8 && interrupted > 0 {
            break;
        }
        assert!(round < 80, "no kill interrupted a request");
        let key = format!("round-{round}");
        let client = node.client();
        // The client has a connection, as most callers do.
        client.get("/me").await;
        let asked = tokio::spawn({
            let key = key.clone();
            async move { run(&client, &key, "ana").await }
        });
        tokio::time::sleep(took * (round % 8) / 8).await;
        node.kill();
        let heard = asked.await.unwrap();
        node = place.start();
        interrupted += usize::from(heard.as_ref().is_err_and(|error| !error.is_connect()));
        let begin = std::time::Instant::now();
        let again = run(&node.client(), &key, "ana").await.unwrap();
        took = begin.elapsed();
        assert_eq!(again.status, StatusCode::ACCEPTED, "{again:?}");
        if let Ok(heard) = heard
            && heard.status.is_success()
        {
            assert_eq!(answer_parts(&again), answer_parts(&heard), "round {round}");
        }
        assert_eq!(count_requests(&node.client()).await, round as usize + 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_requests_with_a_key_is_carried_out() {
    let place = place();
    let node = place.start();
    let all = (0..32).map(|_| {
        let client = node.client();
        tokio::spawn(async move { run(&client, KEY, "ana").await.unwrap() })
    });
    let mut taken = Vec::new();
    for asked in all.collect::<Vec<_>>() {
        let answer = asked.await.unwrap();
        match answer.status {
            StatusCode::ACCEPTED => taken.push(answer_parts(&answer)),
            StatusCode::CONFLICT => assert_eq!(answer.body["code"], "request_under_way"),
            _ => panic!("{answer:?}"),
        }
    }
    assert!(taken.windows(2).all(|two| two[0] == two[1]), "{taken:?}");
    assert!(!taken.is_empty());
    assert_eq!(count_requests(&node.client()).await, 1);
}

/// Sends a body with a key.
async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, &format!("/api/v1{path}")).header("idempotency-key", key);
    Answer::of(request.json(body).send().await.unwrap()).await
}

fn status_and_code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn token_is_created_once_per_key_even_if_revoked_since() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let body = json!({ "name": "zed", "roles": ["viewer"] });
    assert_eq!(post(&client, "/tokens", KEY, &body).await.status, 201);
    let revoked = client.request(Method::DELETE, "/api/v1/tokens/zed").send().await.unwrap();
    assert_eq!(revoked.status(), 204);
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(status_and_code(&post(&client, "/tokens", KEY, &body).await), (409, "token_name_taken"));
    let other = json!({ "name": "other", "roles": ["viewer"] });
    assert_eq!(status_and_code(&post(&client, "/tokens", KEY, &other).await), (422, "idempotency_key_reused"));
    let names: Vec<Value> = client.get("/tokens").await["items"].as_array().unwrap().iter().map(|token| token["name"].clone()).collect();
    assert!(!names.contains(&json!("zed")) && !names.contains(&json!("other")), "{names:?}");
    // Another key means another token.
    assert_eq!(post(&client, "/tokens", "another", &body).await.status, 201);
}

#[tokio::test]
async fn repeated_cancel_returns_the_state_of_its_own_change() {
    const EMITTED: usize = 1_000;
    let place = place();
    place.write_pack_file("greet/triggers/seen.yaml", "description: Something was seen.\npayload: {}\n");
    place.write_pack_file(
        "greet/actions/see.yaml",
        &format!(
            "description: Sees much.\non_lost: ask\nrun:\n  shell:\n    script: |\n      i=0; while [ $i -lt {EMITTED} ]; do i=$((i + 1)); \
             echo '{{\"emit\": {{\"trigger\": \"greet.seen\", \"payload\": {{}}}}}}'; done >&3\n      exec sleep 600\n"
        ),
    );
    let node = place.start();
    let client = node.client();
    let asked = client.post("/actions/greet.see/execute", &json!({})).await;
    let id = asked.body["id"].as_str().unwrap_or_else(|| panic!("{asked:?}")).to_owned();
    client.until("/status", |status| status["totals"]["events"].as_u64() >= Some(EMITTED as u64)).await;
    let cancel = format!("/executions/{id}/cancel");
    let first = post(&client, &cancel, KEY, &json!({})).await;
    assert_eq!((first.status.as_u16(), &first.body["status"]), (202, &json!("cancelling")), "{first:?}");
    client.until(&format!("/executions/{id}"), |shown| shown["status"] == "cancelled").await;
    assert_eq!(answer_parts(&post(&client, &cancel, KEY, &json!({})).await), answer_parts(&first));
    node.stop_well();
}
