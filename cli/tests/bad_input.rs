//! Bad input: each error is reported at its place with advice, and disturbs nothing else.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Client, CommandOutput, Delivery, NodeFolder, SECRET, signature};

/// Requires a problem with this status and code that contains advice, and returns it.
#[track_caller]
fn problem(answer: &Answer, status: StatusCode, code: &str) -> Value {
    assert_eq!(answer.status, status, "{:#}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["code"], code, "{:#}", answer.body);
    for member in ["type", "title", "detail", "request_id"] {
        assert!(answer.body[member].is_string(), "`{member}` in {:#}", answer.body);
    }
    answer.body.clone()
}

/// Announces a delivery of so many bytes, sends none of them, and returns the answer.
async fn announce(url: &str, bytes: usize) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hooks/github/webhook HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

async fn a_good_delivery_is_taken(client: &Client, id: &str) {
    let taken = client.deliver(&Delivery::pull_request(id)).await.unwrap();
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{:#}", taken.body);
}

async fn execute(client: &Client, action: &str, params: Value) -> Answer {
    let request = client.request(Method::POST, &format!("/api/v1/actions/{action}/execute"));
    Answer::of(request.header("prefer", "wait=30").json(&json!({ "params": params })).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_delivery_is_rejected_and_the_next_valid_one_accepted() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let good = || Delivery::pull_request("d");
    let signed = |body: &[u8]| Delivery::github("pull_request", "d", body);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let misfit = br#"{"action":7}"#;
    let wrong: [(&str, Delivery, StatusCode, &str); 7] = [
        ("no signature", good().with_header("x-hub-signature-256", None), StatusCode::UNAUTHORIZED, "signature_refused"),
        (
            "a signature over another body",
            good().with_header("x-hub-signature-256", Some(&signature(SECRET.as_bytes(), b"other"))),
            StatusCode::UNAUTHORIZED,
            "signature_refused",
        ),
        ("no such hook", good().at("/hooks/github/other"), StatusCode::NOT_FOUND, "not_found"),
        ("not JSON", signed(b"action=opened"), StatusCode::BAD_REQUEST, "body_not_json"),
        ("too deep", signed(deep.as_bytes()), StatusCode::BAD_REQUEST, "body_not_json"),
        (
            "another media type",
            good().with_header("content-type", Some("application/x-www-form-urlencoded")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
        ),
        ("not fitting its trigger", signed(misfit), StatusCode::UNPROCESSABLE_ENTITY, "payload_invalid"),
    ];
    for (what, delivery, status, code) in wrong {
        let answer = client.deliver(&delivery).await.unwrap();
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{what}: {:#}", answer.body);
        problem(&answer, status, code);
    }
    let said = announce(&node.url(), 4 * 1024 * 1024 + 1).await;
    assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("body_too_large"), "{said}");
    let mut doubled = good();
    doubled.headers.push(("x-hub-signature-256".into(), signature(SECRET.as_bytes(), &doubled.body)));
    problem(&client.deliver(&doubled).await.unwrap(), StatusCode::UNAUTHORIZED, "signature_refused");
    a_good_delivery_is_taken(&client, "good-1").await;

    // A delivery with a verified sender is stored with the reason; others are only counted.
    let records = client.records().await;
    let kept: Vec<&Value> = records.iter().filter(|record| record["kind"] == "delivery.refused").collect();
    assert!(kept.iter().any(|record| record["fact"]["reason"].as_str().unwrap().contains("github.pull_request")), "{kept:#?}");
    let hook = client.get("/hooks/github/webhook").await;
    assert!(hook.to_string().contains("signature_refused"), "{hook:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hook_without_its_secret_accepts_nothing() {
    let place = NodeFolder::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE");
    let node = place.start();
    let refused = node.client().deliver(&Delivery::pull_request("d")).await.unwrap();
    let problem = problem(&refused, StatusCode::SERVICE_UNAVAILABLE, "hook_unusable");
    assert!(problem["hint"].as_str().unwrap().contains("ensue keys set github.webhook_secret"), "{problem:#}");
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_pack_is_not_loaded_and_stops_nothing() {
    let place = NodeFolder::new();
    place.write_pack_file("broken/pack.yaml", "name: broken\nversion: 1.0.0\ndescription: Has a mistake.\n");
    place.write_pack_file("broken/rules/bad.yaml", "trigger: github.push\nwhem: 'true'\naction: core.ecko\n");
    let node = place.start();
    let client = node.client();
    let pack = client.get("/packs/broken").await;
    let findings = pack["findings"].to_string();
    assert!(findings.contains("did you mean `when`") && findings.contains("core.ecko"), "{pack:#}");
    a_good_delivery_is_taken(&client, "d").await;
    assert!(node.stderr_text().contains("whem"), "{}", node.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_error_is_counted_and_other_rules_act() {
    let place = NodeFolder::new();
    place.write_pack_file("errs/pack.yaml", "name: errs\nversion: 1.0.0\ndescription: Errs.\n");
    place.write_pack_file("errs/triggers/seen.yaml", "description: Something was seen.\npayload: { thing: object }\n");
    place.write_pack_file("errs/rules/reads_too_much.yaml", "trigger: errs.seen\nwhen: event.payload.thing.size > 3\naction: core.echo\n");
    place.write_pack_file("errs/rules/works.yaml", "trigger: errs.seen\naction: core.echo\n");
    let node = place.start();
    let client = node.client();
    for _ in 0..3 {
        let sent = client.post("/events", &json!({ "trigger": "errs.seen", "payload": { "thing": {} } })).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    }
    client
        .until("/executions?rule=errs.works&status=succeeded", |page| page["items"].as_array().is_some_and(|items| items.len() == 3))
        .await;
    let rule = client.get("/rules/errs.reads_too_much").await;
    assert!(rule.to_string().contains("size"), "{rule:#}");
    let records = client.records().await;
    assert_eq!(records.iter().filter(|record| record["kind"] == "rule.erred").count(), 1, "the first of a kind is a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_reported_one_by_one() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let answer = execute(&client, "core.http", json!({ "url": 7, "methode": "GET" })).await;
    let problem = problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "parameters_invalid");
    let pointers: Vec<&str> = problem["errors"].as_array().unwrap().iter().filter_map(|error| error["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/url", "/methode"]);
    let answer = execute(&client, "core.nothing", json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{:#}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_program_or_server_fails_only_its_execution() {
    let place = NodeFolder::new();
    place.write_pack_file("bad/pack.yaml", "name: bad\nversion: 1.0.0\ndescription: Bad programs.\n");
    place.write_pack_file(
        "bad/actions/absent.yaml",
        "description: Is not there.\nrun:\n  process:\n    command: [no-such-program-anywhere]\n",
    );
    place.write_pack_file(
        "bad/actions/stubborn.yaml",
        "description: Ignores being asked.\ntimeout: 300ms\ngrace: 300ms\nrun:\n  shell:\n    script: |\n      trap '' TERM\n      while :; do sleep 1; done\n",
    );
    let node = place.start();
    let client = node.client();
    let kind = |answer: &Answer| answer.body["error"]["kind"].as_str().unwrap_or_default().to_owned();
    let absent = execute(&client, "bad.absent", json!({})).await;
    assert_eq!(kind(&absent), "spawn", "{:#}", absent.body);
    assert!(absent.body["error"]["message"].as_str().unwrap().contains("no-such-program-anywhere"), "{:#}", absent.body);
    let stubborn = execute(&client, "bad.stubborn", json!({})).await;
    assert_eq!((kind(&stubborn).as_str(), &stubborn.body["status"]), ("timeout", &json!("timed_out")), "{:#}", stubborn.body);
    let metadata = execute(&client, "core.http", json!({ "url": "http://169.254.169.254/latest/meta-data/" })).await;
    assert_eq!(kind(&metadata), "egress_denied", "{:#}", metadata.body);
    let fine = execute(&client, "core.echo", json!({ "message": "still here" })).await;
    assert_eq!(fine.body["result"]["message"], "still here", "{:#}", fine.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nearly_full_disk_stops_input_but_not_reads() {
    let place = NodeFolder::new();
    drop(place.start());
    let place = place.with_arguments(&["--min-free", "9000000000000000000"]);
    let node = place.start();
    let client = node.client();
    let refused = client.deliver(&Delivery::pull_request("d")).await.unwrap();
    problem(&refused, StatusCode::SERVICE_UNAVAILABLE, "storage_full");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(client.get("/packs").await["items"].as_array().is_some_and(|packs| packs.len() == 3));
    let doctor = client.get("/doctor").await;
    assert!(doctor.to_string().contains("free"), "{doctor:#}");
}

#[test]
fn second_node_on_a_directory_is_rejected_with_the_holder_s_pid() {
    let place = NodeFolder::new();
    let node = place.start();
    let said = place.try_start().map(|_| ()).unwrap_err();
    assert!(said.contains(&node.pid().to_string()) && said.contains("--server"), "{said}");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn data_of_a_newer_release_is_rejected_with_the_reason() {
    let place = NodeFolder::new();
    assert_eq!(place.start().stop(), Some(0));
    let connection = rusqlite::Connection::open(place.data().join("log.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let said = place.try_start().map(|_| ()).unwrap_err();
    assert!(said.contains("newer release"), "{said}");
}

#[test]
fn data_without_its_master_key_is_rejected_and_no_new_key_is_created() {
    let place = NodeFolder::new();
    assert_eq!(place.start().stop(), Some(0));
    let state = place.path().join("state");
    let aside = place.path().join("aside");
    std::fs::rename(&state, &aside).unwrap();
    let said = place.try_start().map(|_| ()).unwrap_err();
    assert!(said.contains("master key") || said.contains("master.key"), "{said}");
    assert!(!state.join("ensue").exists() || std::fs::read_dir(state.join("ensue")).unwrap().count() == 0, "a key was made");
    std::fs::rename(&aside, &state).unwrap();
    assert_eq!(place.start().stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_with_a_missing_tail_is_rejected() {
    let place = NodeFolder::new();
    assert_eq!(place.start().stop(), Some(0));
    let parts = ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"];
    let older = |part: &str| place.path().join(format!("older-{part}"));
    for part in parts.iter().filter(|part| place.data().join(part).exists()) {
        std::fs::copy(place.data().join(part), older(part)).unwrap();
    }
    let node = place.start();
    a_good_delivery_is_taken(&node.client(), "d").await;
    assert_eq!(node.stop(), Some(0));
    for part in parts {
        let _ = std::fs::remove_file(place.data().join(part));
        if older(part).exists() {
            std::fs::rename(older(part), place.data().join(part)).unwrap();
        }
    }
    let said = place.try_start().map(|_| ()).unwrap_err();
    assert!(said.contains("tail is missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bit_in_the_log_is_located() {
    let place = NodeFolder::new();
    let node = place.start();
    a_good_delivery_is_taken(&node.client(), "d").await;
    node.client().until("/executions?status=succeeded", |page| page["items"].as_array().is_some_and(|items| items.len() == 2)).await;
    assert_eq!(node.stop(), Some(0));
    let connection = rusqlite::Connection::open(place.data().join("log.sqlite")).unwrap();
    let changed =
        connection.execute("UPDATE records SET content = CAST(x'00' || substr(content, 2) AS BLOB) WHERE content IS NOT NULL", []).unwrap();
    assert!(changed > 0);
    drop(connection);
    let verified = CommandOutput::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert_ne!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stderr.contains("position"), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_under_load_answers_open_requests_and_exits_cleanly() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let (first_is_taken, first) = tokio::sync::oneshot::channel();
    let sender = {
        let client = client.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            let mut first_is_taken = Some(first_is_taken);
            for n in 0.. {
                match client.deliver(&Delivery::pull_request(&format!("d-{n}"))).await {
                    Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                        taken.push(answer.body["events"][0]["id"].clone());
                        if let Some(first_is_taken) = first_is_taken.take() {
                            let _ = first_is_taken.send(());
                        }
                    }
                    Ok(answer) => assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}"),
                    Err(_) => break,
                }
            }
            taken
        })
    };
    first.await.unwrap();
    assert_eq!(node.stop(), Some(0));
    let taken = sender.await.unwrap();
    assert!(!taken.is_empty());
    let node = place.start();
    let records = node.client().records().await;
    let kept: Vec<&Value> = records.iter().filter(|record| record["kind"] == "event.received").map(|record| &record["id"]).collect();
    for event in &taken {
        assert!(kept.contains(&event), "{event} was acknowledged and is not in the log");
    }
}
