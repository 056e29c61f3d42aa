//! Webhooks beyond signed JSON by POST: forms, methods, paths and limits, and replies, as senders see them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, Running};

const SECRET: &str = "a secret that is long enough";
const PACK: &str = "name: chat\nversion: 1.0.0\ndescription: Commands from a chat.\nkeys: [secret]\n";
const TRIGGER: &str = "payload:\n  command: string?\n  text: string?\n";
const OPEN: &str = "verify: { scheme: bearer, key: chat.secret }";

/// A place with the pack `chat`.
fn place_with(files: &[(&str, &str)]) -> NodeFolder {
    let place = NodeFolder::new();
    let key = place.path().join("chat-secret");
    std::fs::write(&key, SECRET).unwrap();
    let place = place.with_variable("ENSUE_KEY_CHAT_SECRET_FILE", &key.display().to_string());
    for (path, text) in [("pack.yaml", PACK), ("triggers/command.yaml", TRIGGER)].iter().chain(files) {
        place.write_pack_file(&format!("chat/{path}"), text);
    }
    place
}

fn chat(files: &[(&str, &str)]) -> (NodeFolder, Node) {
    let place = place_with(files);
    let node = place.start();
    (place, node)
}

fn sensor(webhook: &str, emit: &str) -> String {
    let fields = webhook.lines().fold(String::new(), |mut fields, line| {
        let _ = writeln!(fields, "  {line}");
        fields
    });
    format!("webhook:\n{fields}emits:\n  - trigger: chat.command\n{emit}")
}

fn authorized_request(client: &Client, method: Method, path: &str) -> RequestBuilder {
    client.anonymous(method, path).bearer_auth(SECRET)
}

/// Returns the status and the text of an answer.
async fn send_request(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Returns the payloads of all events, once there are that many.
async fn payloads(client: &Client, count: usize) -> Vec<Value> {
    let are_enough = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() >= count);
    let events = client.until("/events", are_enough).await;
    let ids: Vec<String> = events["items"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    let mut payloads = Vec::new();
    for id in ids {
        payloads.push(client.get(&format!("/events/{id}")).await["payload"].clone());
    }
    payloads
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_s_commands_buttons_and_handshake_are_understood() {
    let hook = sensor("verify: { scheme: slack, key: chat.secret }\naccept: [json, form]\ndecode: body.payload", "");
    let (_place, node) = chat(&[("sensors/slack.yaml", &hook)]);
    let client = node.client();
    let sent = |content_type: &str, body: &'static str| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("v0:{time}:{body}").as_bytes());
        let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
        let request = client.anonymous(Method::POST, "/hooks/chat/slack").header("content-type", content_type);
        request.header("x-slack-request-timestamp", time).header("x-slack-signature", signature).body(body)
    };
    let (status, text) = send_request(sent("application/json", r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#)).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, r#"{"challenge":"3eZbrw1a"}"#));
    let form = "application/x-www-form-urlencoded";
    assert_eq!(send_request(sent(form, "command=%2Fdeploy&text=shop+now")).await.0, StatusCode::ACCEPTED);
    assert_eq!(send_request(sent(form, "payload=%7B%22text%22%3A%22pressed%22%7D")).await.0, StatusCode::ACCEPTED);
    let expected = [json!({ "command": "/deploy", "text": "shop now" }), json!({ "text": "pressed" })];
    let mut found = payloads(&client, 2).await;
    found.sort_by_key(|payload| payload["command"].is_null());
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_paths_and_networks_are_those_of_the_hook() {
    let rooms =
        sensor(&format!("{OPEN}\nmethods: [PUT, GET]\npath: /rooms/{{room}}"), "    payload: { text: '${{ path.room }} ${{ method }}' }\n");
    let afar = sensor(&format!("{OPEN}\nallow: [192.0.2.0/24]"), "");
    let near = sensor(&format!("{OPEN}\nallow: [127.0.0.0/8]\nbody_max: 20\nrate: 2/1h"), "");
    let (_place, node) = chat(&[("sensors/rooms.yaml", &rooms), ("sensors/afar.yaml", &afar), ("sensors/near.yaml", &near)]);
    let client = node.client();
    assert_eq!(
        send_request(authorized_request(&client, Method::PUT, "/hooks/chat/rooms/rooms/shed").json(&json!({}))).await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(send_request(authorized_request(&client, Method::GET, "/hooks/chat/rooms/rooms/shed")).await.0, StatusCode::ACCEPTED);
    let mut found = payloads(&client, 2).await;
    found.sort_by_key(|payload| payload["text"].to_string());
    assert_eq!(found, [json!({ "text": "shed GET" }), json!({ "text": "shed PUT" })]);
    let wrong = authorized_request(&client, Method::POST, "/hooks/chat/rooms/rooms/shed").send().await.unwrap();
    assert_eq!((wrong.status(), wrong.headers()["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "PUT, GET, OPTIONS"));
    assert_eq!(
        send_request(authorized_request(&client, Method::POST, "/hooks/chat/rooms").json(&json!({}))).await.0,
        StatusCode::NOT_FOUND
    );
    let (status, text) = send_request(authorized_request(&client, Method::POST, "/hooks/chat/afar").json(&json!({}))).await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("address_not_allowed"), "{status}: {text}");
    let near = |body: &str| {
        authorized_request(&client, Method::POST, "/hooks/chat/near").header("content-type", "application/json").body(body.to_owned())
    };
    let statuses = [
        send_request(near("{}")).await.0,
        send_request(near(r#"{"text":"longer than this hook takes"}"#)).await.0,
        send_request(near("{}")).await.0,
    ];
    assert_eq!(statuses, [StatusCode::ACCEPTED, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::TOO_MANY_REQUESTS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_of_25_megabytes_is_an_event_that_rules_judge_where_the_operator_allows_it() {
    const BYTES: usize = 25_000_000;
    let large = format!("{OPEN}\nbody_max: 26214400");
    let files = [
        ("sensors/large.yaml", sensor(&large, "")),
        ("sensors/any.yaml", sensor(OPEN, "    payload: { text: '${{ body.text }}', commits: '${{ [] }}' }\n")),
        ("triggers/push.yaml", "payload:\n  text: string\n  commits: [object]\n".to_owned()),
        ("rules/greet.yaml", "trigger: chat.push\nwhen: event.payload.text == 'hello'\naction: core.echo\nwith:\n  message: \"${{ event.payload.commits[0].id }}\"\n".to_owned()),
        ("rules/forward.yaml", "trigger: chat.push\naction: core.echo\nwith:\n  message: \"${{ event.payload.text }}\"\n".to_owned()),
    ];
    let files = files.map(|(path, text)| (path, text.replace("trigger: chat.command", "trigger: chat.push")));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let place = place_with(&files);
    let refused = CommandOutput::by(&mut place.ensue(&["check", "packs/"]));
    assert_eq!(refused.code, Some(0), "without a settings file the node is not known: {}", refused.stderr);
    std::fs::write(place.path().join("ensue.yaml"), "webhooks: { body_max: 20000000 }\n").unwrap();
    let refused = CommandOutput::by(&mut place.ensue(&["check", "packs/"]));
    let why = "`body_max` of `chat.large` is 26214400, but this node takes bodies of at most 20000000 bytes";
    assert!(refused.code != Some(0) && refused.stdout.contains(why), "{refused:?}");
    std::fs::write(place.path().join("ensue.yaml"), "webhooks: { body_max: 26214400 }\n").unwrap();
    let node = place.start();
    let client = node.client();
    let commit = json!({ "id": "0123456789abcdef0123456789abcdef01234567", "added": ["a/b/c.rs"], "message": "Say \"hello\"" });
    let commits = vec![commit.clone(); BYTES / commit.to_string().len()];
    let body = json!({ "text": "hello", "commits": commits }).to_string();
    assert!(body.len() > BYTES - 1_000, "{}", body.len());
    let send = |hook: &str, body: &str| {
        let request = authorized_request(&client, Method::POST, &format!("/hooks/chat/{hook}"));
        request.header("content-type", "application/json").body(body.to_owned())
    };
    let (status, text) = send_request(send("large", &body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let has_both =
        |page: &Value| page["items"].as_array().is_some_and(|items| items.iter().filter(|one| one["status"] == "succeeded").count() == 2);
    let found = client.until("/executions", has_both).await;
    let mut messages = Vec::new();
    for one in found["items"].as_array().unwrap() {
        let execution = client.get(&format!("/executions/{}", one["id"].as_str().unwrap())).await;
        messages.push(execution["result"]["message"].as_str().unwrap_or_default().to_owned());
    }
    messages.sort();
    assert_eq!(messages, ["0123456789abcdef0123456789abcdef01234567", "hello"]);
    let (status, text) = send_request(send("large", &format!("{body}{}", " ".repeat(2 << 20)))).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && text.contains("26214400"), "{status}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_without_a_proof_is_answered_as_text_and_nothing_else_is() {
    let reply = "methods: [POST, GET]\nreply:\n  - unproven: true\n    when: '\"validationToken\" in query'\n    body: '${{ query.validationToken }}'";
    let (_place, node) = chat(&[("sensors/graph.yaml", &sensor(&format!("{OPEN}\n{reply}"), ""))]);
    let client = node.client();
    let answer = client.anonymous(Method::POST, "/hooks/chat/graph?validationToken=a%20b").send().await.unwrap();
    assert_eq!((answer.status(), answer.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "text/plain; charset=utf-8"));
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.text().await.unwrap(), "a b");
    assert_eq!(send_request(client.anonymous(Method::POST, "/hooks/chat/graph").json(&json!({}))).await.0, StatusCode::UNAUTHORIZED);
    assert!(payloads(&client, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_delivery_that_is_refused_is_retried_with_the_same_events() {
    let hook = sensor(
        &format!("{OPEN}\naccept: [form]\nmethods: [PUT]\npath: /{{room}}"),
        "    payload: { text: '${{ path.room }} ${{ body.text }}' }\n",
    );
    let (place, node) =
        chat(&[("sensors/rooms.yaml", &hook), ("triggers/command.yaml", "payload: { text: { type: string, pattern: '^.{1,3}$' } }\n")]);
    let client = node.client();
    let body = zstd::encode_all(&b"text=hello"[..], 3).unwrap();
    let request =
        authorized_request(&client, Method::PUT, "/hooks/chat/rooms/shed").header("content-type", "application/x-www-form-urlencoded");
    let (status, text) = send_request(request.header("content-encoding", "zstd").body(body)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
    let letters = client.until("/dead_letters", |letters| letters["items"].as_array().is_some_and(|items| items.len() == 1)).await;
    let id = letters["items"][0]["id"].as_str().unwrap();
    place.write_pack_file("chat/triggers/command.yaml", "payload: { text: string }\n");
    node.stop();
    let node = place.start();
    let retried = node.client().post(&format!("/dead_letters/{id}/retry"), &json!({})).await;
    assert_eq!(retried.status, StatusCode::ACCEPTED, "{}", retried.body);
    assert_eq!(payloads(&node.client(), 1).await, [json!({ "text": "shed hello" })]);
}

const WAITS: &str = "reply:
  - wait: 10s
    rule: chat.deploy
    body: '${{ result }}'
    failed: { status: 200, body: 'failed: ${{ error.kind }}' }
    none: { status: 200, body: I do not know that command. }";
const DEPLOY: &str = "trigger: chat.command\nwhen: event.payload.?command.orValue('') == '/deploy'\naction: chat.deploy\nwith: { text: '${{ event.payload.text }}' }\n";
const ACTION: &str = "parameters: { text: string }
run:
  process:
    command: [./deploy.sh]
    input: { text: '${{ params.text }}' }
result: { text: string }
idempotent: true
on_lost: retry
";
const SCRIPT: &str = r#"#!/bin/sh
text=$(sed 's/.*"text": *"\([^"]*\)".*/\1/')
case "$text" in
  slow) echo begun > begun; while [ ! -e go ]; do sleep 0.02; done ;;
  bad) exit 3 ;;
esac
printf '{"text": "deployed %s"}' "$text"
"#;

fn deploying(wait: &str) -> (NodeFolder, Node) {
    deploying_with(&WAITS.replace("10s", wait), ACTION)
}

fn deploying_with(reply: &str, action: &str) -> (NodeFolder, Node) {
    let hook = sensor(&format!("{OPEN}\n{reply}"), "    dedupe: headers['x-id']\n");
    let place = place_with(&[("sensors/commands.yaml", &hook), ("rules/deploy.yaml", DEPLOY), ("actions/deploy.yaml", action)]);
    place.write_pack_program("chat/actions/deploy.sh", SCRIPT);
    let node = place.start();
    (place, node)
}

fn command(client: &Client, id: &str, command: &str, text: &str) -> RequestBuilder {
    authorized_request(client, Method::POST, "/hooks/chat/commands").header("x-id", id).json(&json!({ "command": command, "text": text }))
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_waits_for_the_execution_of_its_rule() {
    let (_place, node) = deploying("10s");
    let client = node.client();
    let (status, text) = send_request(command(&client, "1", "/deploy", "shop")).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, r#"{"text":"deployed shop"}"#));
    let again = send_request(command(&client, "1", "/deploy", "shop")).await;
    assert_eq!((again.0, again.1.as_str()), (StatusCode::OK, r#"{"text":"deployed shop"}"#), "a repeat gets the reply of the first");
    let (status, text) = send_request(command(&client, "2", "/deploy", "bad")).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "failed: exit_code"));
    let (status, text) = send_request(command(&client, "3", "/dance", "")).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "I do not know that command."));
    assert_eq!(client.get("/executions").await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_reply_has_the_address_of_the_execution_which_continues() {
    let (place, node) = deploying("200ms");
    let client = node.client();
    // The program does not end before it may.
    let answer = command(&client, "1", "/deploy", "slow").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    Running::one(&place).await.let_go();
    let path = answer.headers()["location"].to_str().unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    let ended = client.until(&path, |execution| execution["ended_at"].is_string()).await;
    assert_eq!(ended["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn execution_that_times_out_gives_its_sender_the_reply_of_failures() {
    let (_place, node) = deploying_with(&WAITS.replace("10s", "20s"), &format!("{ACTION}timeout: 1s\n"));
    let client = node.client();
    let (status, text) = send_request(command(&client, "1", "/deploy", "slow")).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "failed: timeout"));
    assert_eq!(client.get("/executions").await["items"][0]["status"], "timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn execution_that_is_canceled_gives_its_sender_an_error_without_a_reason() {
    let waits = WAITS.replace("10s", "20s");
    let silent: String = waits.lines().filter(|line| !line.contains("failed:")).fold(String::new(), |text, line| text + line + "\n");
    for (reply, expected) in [
        (silent.as_str(), (StatusCode::BAD_GATEWAY, "The work for this delivery failed.\n")),
        (waits.as_str(), (StatusCode::OK, "failed: cancelled")),
    ] {
        let (_place, node) = deploying_with(reply, ACTION);
        let client = node.client();
        let sent = tokio::spawn(send_request(command(&client, "1", "/deploy", "slow")));
        let is_running = |page: &Value| page["items"][0]["status"] == "running";
        let running = client.until("/executions", is_running).await;
        let id = running["items"][0]["id"].as_str().unwrap();
        let canceled = client.post(&format!("/executions/{id}/cancel"), &json!({})).await;
        assert!(canceled.status.is_success(), "{}", canceled.body);
        let (status, text) = sent.await.unwrap();
        assert_eq!((status, text.as_str()), expected);
    }
}

/// The longest time that a hook lets its senders wait.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Waits until that many senders wait for their reply.
async fn until_waiting(client: &Client, expected: u64) {
    let line = format!("ensue_queue_depth{{queue=\"hook_waiters\"}} {expected}\n");
    client.until_metrics(&line, |metrics| metrics.contains(&line)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_over_the_limit_of_a_hook_or_of_the_node_get_the_late_reply_at_once() {
    const HOOKS: usize = 11;
    let hook = sensor(&format!("{OPEN}\n{}", WAITS.replace("10s", "25s")), "    dedupe: headers['x-id']\n");
    let resting = "parameters: { text: string }\nrun:\n  workflow:\n    steps:\n      rest: { sleep: 10m }\n";
    let names: Vec<String> = (0..HOOKS).map(|number| format!("sensors/hook_{number}.yaml")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), hook.as_str())).collect();
    files.extend([("rules/deploy.yaml", DEPLOY), ("actions/deploy.yaml", resting)]);
    // All senders connect at once. On a busy machine many of them are silent for a second before they write; that such a
    // connection gives way to others is not the subject here.
    let place = place_with(&files).with_variable("ENSUE_LIMITS_SILENT_PER_ADDRESS", &(HOOKS * 100).to_string());
    let node = place.start();
    let client = node.client();
    let asked = |hook: usize, id: String| {
        let request = authorized_request(&client, Method::POST, &format!("/hooks/chat/hook_{hook}")).header("x-id", id);
        request.json(&json!({ "command": "/deploy", "text": "shop" }))
    };
    let late = async |hook: usize| {
        let begin = Instant::now();
        let answer = asked(hook, "over the limit".to_owned()).send().await.unwrap();
        assert!(begin.elapsed() < WAIT_MAX, "{:?}", begin.elapsed());
        assert_eq!((answer.status(), answer.headers().get("location")), (StatusCode::ACCEPTED, None));
    };
    let mut waiting = tokio::task::JoinSet::new();
    (0..100).for_each(|id| drop(waiting.spawn(asked(0, format!("0 {id}")).send())));
    until_waiting(&client, 100).await;
    late(0).await;
    (1..10).for_each(|hook| (0..100).for_each(|id| drop(waiting.spawn(asked(hook, format!("{hook} {id}")).send()))));
    until_waiting(&client, 1_000).await;
    late(10).await;
    // All that wait still do.
    assert!(waiting.try_join_next().is_none());
    waiting.shutdown().await;
    until_waiting(&client, 0).await;
    let _last = tokio::spawn(asked(10, "below the limit".to_owned()).send());
    until_waiting(&client, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_that_goes_away_frees_its_slot_and_a_stop_replies_at_once() {
    let (place, node) = deploying("25s");
    let client = node.client();
    let begin = Instant::now();
    let gone = tokio::spawn(command(&client, "1", "/deploy", "slow").send());
    until_waiting(&client, 1).await;
    gone.abort();
    until_waiting(&client, 0).await;
    assert!(begin.elapsed() < WAIT_MAX, "its slot was free at the end of its wait only");
    let begin = Instant::now();
    let last = tokio::spawn(command(&client, "2", "/deploy", "slow").send());
    until_waiting(&client, 1).await;
    let programs = Running::all(&place, 2).await;
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(last.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    assert!(begin.elapsed() < WAIT_MAX, "it was replied at the end of its wait only");
    programs.iter().for_each(Running::let_go);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_after_a_kill_gets_what_came_of_the_first_delivery() {
    let (place, node) = deploying("25s");
    let client = node.client();
    let broken = tokio::spawn(command(&client, "1", "/deploy", "slow").send());
    let program = Running::one(&place).await;
    node.kill();
    assert!(broken.await.unwrap().is_err());
    let node = place.start();
    let repeated = tokio::spawn(send_request(command(&node.client(), "1", "/deploy", "slow")));
    until_waiting(&node.client(), 1).await;
    program.let_go();
    let (status, text) = repeated.await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(node.client().get("/executions").await["items"].as_array().unwrap().len(), 1);
}

/// Signs a body as Slack does, `seconds` ago.
fn slack_headers(secret: &str, body: &str, seconds: u64) -> (String, String) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let time = (now - seconds).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{time}:{body}").as_bytes());
    (time, format!("v0={}", hex::encode(mac.finalize().into_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_deliveries_are_refused_and_the_next_good_one_is_accepted() {
    let signed = sensor("verify: { scheme: slack, key: chat.secret }", "");
    let forms = sensor(&format!("{OPEN}\naccept: [json, form]"), "");
    let (_place, node) = chat(&[("sensors/signed.yaml", &signed), ("sensors/forms.yaml", &forms)]);
    let client = node.client();
    let body = r#"{"text": "good"}"#;
    let sent = |headers: &[(&str, &str)]| {
        let request = client.anonymous(Method::POST, "/hooks/chat/signed").header("content-type", "application/json").body(body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let (time, signature) = slack_headers(SECRET, body, 0);
    let (old_time, old_signature) = slack_headers(SECRET, body, 301);
    let (_, forged) = slack_headers("another secret that is long enough", body, 0);
    const TIME: &str = "x-slack-request-timestamp";
    const SIGNATURE: &str = "x-slack-signature";
    for (name, headers) in [
        ("no signature", &[(TIME, time.as_str())][..]),
        ("two signatures", &[(TIME, &time), (SIGNATURE, &forged), (SIGNATURE, &signature)]),
        ("two times", &[(TIME, &old_time), (TIME, &time), (SIGNATURE, &signature)]),
        ("wrong clock", &[(TIME, &old_time), (SIGNATURE, &old_signature)]),
        ("another time", &[(TIME, &old_time), (SIGNATURE, &signature)]),
        ("another key", &[(TIME, &time), (SIGNATURE, &forged)]),
        ("a signature with capitals", &[(TIME, &time), (SIGNATURE, &signature.to_uppercase())]),
    ] {
        let (status, text) = send_request(sent(headers)).await;
        assert!(status == StatusCode::UNAUTHORIZED && text.contains("signature_refused"), "{name}: {status} {text}");
    }
    // These 64 MiB have a few kilobytes when they are compressed.
    let bomb = zstd::encode_all(&vec![b' '; 64 * 1024 * 1024][..], 3).unwrap();
    let request = authorized_request(&client, Method::POST, "/hooks/chat/forms").header("content-type", "application/json");
    let (status, text) = send_request(request.header("content-encoding", "zstd").body(bomb)).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && text.contains("body_too_large"), "{status} {text}");
    let many = (0..2_000).map(|number| format!("a{number}=1")).collect::<Vec<_>>().join("&");
    let request =
        authorized_request(&client, Method::POST, "/hooks/chat/forms").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send_request(request.body(many)).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send_request(sent(&[(TIME, &time), (SIGNATURE, &signature)])).await.0, StatusCode::ACCEPTED);
    assert_eq!(payloads(&client, 1).await, [json!({ "text": "good" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_texts_methods_and_paths_can_be_sent_for_a_try() {
    let rooms = sensor(
        &format!("{OPEN}\naccept: [form]\nmethods: [PUT]\npath: /rooms/{{room}}"),
        "    payload: { text: '${{ method }} ${{ path.room }} ${{ body.text }}' }\n",
    );
    let texts = sensor(&format!("{OPEN}\naccept: [text]"), "    payload: { text: '${{ body }}' }\n");
    let checks = sensor(&format!("{OPEN}\nmethods: [GET]"), "    payload: { text: '${{ method }}' }\n");
    let (place, node) = chat(&[("sensors/rooms.yaml", &rooms), ("sensors/texts.yaml", &texts), ("sensors/checks.yaml", &checks)]);
    let send = |arguments: &[&str]| {
        let all = [&["hooks", "send"][..], arguments].concat();
        CommandOutput::by(place.ensue(&all).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
    };
    for (arguments, why) in [
        (&["chat/rooms", "--data", r#"{"text": "a"}"#][..], "the parameter `room`"),
        (&["chat/rooms", "--data", r#"{"text": "a"}"#, "--path", "hall=1", "--path", "room=1"], "no parameter `hall`"),
        (&["chat/rooms", "--data", "[1]", "--path", "room=1"], "an object of the fields"),
        (&["chat/texts", "--data", "{}"], "give a string"),
        (&["chat/checks", "--data", "{}"], "no body"),
    ] {
        let refused = send(arguments);
        assert!(refused.code == Some(6) && refused.stderr.contains(why), "{why}: {refused:?}");
    }
    for arguments in [
        &["chat/rooms", "--data", r#"{"text": "a & b", "more": ["1", "2"]}"#, "--path", "room=a b/c"][..],
        &["chat/texts", "--data", r#""hello""#],
        &["chat/checks"],
    ] {
        let sent = send(arguments);
        assert_eq!(sent.code, Some(0), "{sent:?}");
    }
    let mut found: Vec<String> =
        payloads(&node.client(), 3).await.iter().map(|payload| payload["text"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, ["GET", "PUT a b/c a & b", "hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn id_of_the_sender_recognizes_repeats_unless_it_is_turned_off() {
    let natural = sensor("verify: { scheme: gitlab, key: chat.secret }", "");
    let off = sensor("verify: { scheme: gitlab, key: chat.secret }", "    dedupe: none\n");
    let (_place, node) = chat(&[("sensors/natural.yaml", &natural), ("sensors/off.yaml", &off)]);
    let client = node.client();
    let deliver = async |hook: &str, id: &str| {
        let request = client.anonymous(Method::POST, &format!("/hooks/chat/{hook}")).header("x-gitlab-token", SECRET);
        send_request(request.header("x-gitlab-event-uuid", id).json(&json!({ "text": "a" }))).await.0
    };
    assert_eq!(deliver("natural", "1").await, StatusCode::ACCEPTED);
    assert_eq!(deliver("natural", "1").await, StatusCode::OK);
    assert_eq!(deliver("natural", "2").await, StatusCode::ACCEPTED);
    assert_eq!((deliver("off", "1").await, deliver("off", "1").await), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
}

#[tokio::test(flavor = "multi_thread")]
async fn signature_may_cover_the_url_and_the_method() {
    let verify = "verify: { scheme: hmac, key: chat.secret, header: x-sig, signed: '${method} ${path} ${url} ${body}' }";
    let (place, node) = chat(&[("sensors/all.yaml", &sensor(&format!("{verify}\nmethods: [POST, PUT]"), ""))]);
    let client = node.client();
    let body = r#"{"text":"a"}"#;
    let deliver = async |method: Method, signed: &str, target: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let request = client.anonymous(method, target).header("content-type", "application/json").body(body);
        send_request(request.header("x-sig", hex::encode(mac.finalize().into_bytes()))).await.0
    };
    let target = "/hooks/chat/all?a=1";
    let text = |method: &str, target: &str| format!("{method} {target} {}{target} {body}", node.url());
    assert_eq!(deliver(Method::POST, &text("POST", target), target).await, StatusCode::ACCEPTED);
    assert_eq!(deliver(Method::PUT, &text("PUT", target), target).await, StatusCode::ACCEPTED, "another method is another delivery");
    assert_eq!(deliver(Method::POST, &text("POST", "/hooks/chat/all?a=2"), "/hooks/chat/all?a=2").await, StatusCode::ACCEPTED);
    assert_eq!(deliver(Method::POST, &text("POST", target), target).await, StatusCode::OK, "a repeat");
    assert_eq!(deliver(Method::PUT, &text("POST", target), target).await, StatusCode::UNAUTHORIZED);
    assert_eq!(deliver(Method::POST, &text("POST", target), "/hooks/chat/all?a=3").await, StatusCode::UNAUTHORIZED);
    let sent = CommandOutput::by(
        place.ensue(&["hooks", "send", "chat/all", "--data", "{}"]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN),
    );
    assert_eq!(sent.code, Some(0), "{sent:?}");
}
