//! Programs that call the API with the token of their attempt, and what becomes of the token when the attempt ends.

#![cfg(target_os = "linux")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::skipped::has_program;
use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder, Running, free_port, until};

const PACK: &str = "name: release\nversion: 1.0.0\ndescription: Ships.\npermissions: [\"vars:read\"]\n";

/// Sends an event with the token of its attempt, and runs until it may end.
const TELL: &str = "\
description: Sends an event while it runs.
token: true
timeout: 5m
grace: 1m
run:
  shell:
    script: |
      trap 'while [ ! -e go ]; do sleep 0.02; done; exit 1' TERM
      curl -sS --fail-with-body -H \"Authorization: Bearer $ENSUE_TOKEN\" -H 'Content-Type: application/json' \\
        -d '{\"trigger\": \"release.ping\", \"payload\": {}}' \"$ENSUE_URL/api/v1/events\" >&2
      echo \"$ENSUE_TOKEN\"
      echo \"$ENSUE_TOKEN\" > begun
      while [ ! -e go ]; do sleep 0.02; done
";

const AS_CALLER: &str = "\
description: Runs the same as its caller.
run_as: caller
run:
  workflow:
    steps:
      tell: { action: release.tell }
";

fn place() -> NodeFolder {
    let place = NodeFolder::new().listening_on(&format!("127.0.0.1:{}", free_port()));
    place.write_pack_file("release/pack.yaml", PACK);
    place.write_pack_file("release/actions/tell.yaml", TELL);
    place.write_pack_file("release/actions/careful.yaml", AS_CALLER);
    place.write_pack_file(
        "release/actions/plain.yaml",
        "description: Gets none.\nrun: { shell: { script: 'env | grep -c ENSUE_TOKEN || true' } }\n",
    );
    place.write_pack_file("release/triggers/ping.yaml", "description: A ping.\n");
    place
}

async fn ask(client: &Client, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = client.anonymous(method, &format!("/api/v1{path}")).bearer_auth(token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    Answer::of(request.send().await.unwrap()).await
}

async fn get(client: &Client, token: &str, path: &str) -> (u16, String) {
    let answer = ask(client, token, Method::GET, path, None).await;
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

fn invalid_token_answer() -> (u16, String) {
    (401, "token_invalid".to_owned())
}

fn admin(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let printed = CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(printed.code, Some(0), "{arguments:?}: {}{}", printed.stdout, printed.stderr);
    printed
}

#[tokio::test]
async fn program_acts_for_its_pack_with_its_token_until_its_attempt_ends() {
    if !has_program("program_acts_for_its_pack_with_its_token_until_its_attempt_ends", "curl") {
        return;
    }
    let place = place();
    let node = place.start();
    let client = node.client();
    assert_eq!(client.run("release.plain", &json!({})).await["result"], json!("0"), "a program that does not ask for a token gets none");
    let other = client.run("release.plain", &json!({})).await["id"].as_str().unwrap().to_owned();
    let id = client.execute("release.tell", &json!({})).await;
    let program = Running::one(&place).await;
    let token = program.wrote.clone();
    assert!(token.starts_with(&format!("ensp_{id}_1_")), "{token}");

    // It wrote as its execution, in the chain of its execution.
    let records = client.records().await;
    let actor = format!("execution/{id}/1");
    let written: Vec<&Value> = records.iter().filter(|record| record["actor"] == actor.as_str()).collect();
    assert_eq!(written.len(), 1, "{written:#?}");
    assert_eq!((&written[0]["kind"], &written[0]["fact"]["trigger"]), (&json!("event.received"), &json!("release.ping")));
    assert_eq!((&written[0]["cause"]["root"], &written[0]["cause"]["depth"]), (&json!(id), &json!(1)));
    let audit = client.until(&format!("/audit?actor=execution/{id}"), |audit| !audit["items"][0].is_null()).await;
    let row = &audit["items"][0];
    assert_eq!((&row["what"], &row["credential"]), (&json!("event.received"), &json!(actor)), "{row:#}");

    // It sees itself and what its pack may see.
    let me = ask(&client, &token, Method::GET, "/me", None).await.body;
    assert_eq!((&me["name"], &me["by"]["kind"], &me["by"]["id"]), (&json!("pack/release"), &json!("execution"), &json!(format!("{id}/1"))));
    for (path, status) in [
        (format!("/executions/{id}"), 200),
        (format!("/executions/{id}/timeline"), 200),
        (format!("/executions/{id}/artifacts"), 200),
        (format!("/executions/{other}"), 404),
        (format!("/executions/{other}/timeline"), 404),
        ("/vars".to_owned(), 200),
        ("/keys".to_owned(), 403),
        ("/tokens".to_owned(), 403),
        ("/log".to_owned(), 403),
        ("/audit".to_owned(), 403),
    ] {
        assert_eq!(get(&client, &token, &path).await.0, status, "{path}");
    }
    assert_eq!(ask(&client, &token, Method::GET, "/executions", None).await.body["items"], json!([]));
    let more = json!({ "name": "more", "roles": ["admin"] });
    assert_eq!(ask(&client, &token, Method::POST, "/tokens", Some(more)).await.status, StatusCode::FORBIDDEN);
    let far = json!({ "params": { "script": "true" } });
    let far = ask(&client, &token, Method::POST, "/actions/core.shell/execute", Some(far)).await;
    assert_eq!(far.status, StatusCode::NOT_FOUND, "the pack lists no action of others, and may not see them: {far:?}");
    let own = ask(&client, &token, Method::POST, "/actions/release.plain/execute", Some(json!({}))).await;
    assert_eq!((own.status, &own.body["principal"]), (StatusCode::ACCEPTED, &json!("pack/release")), "{own:?}");

    // A repeat of a request is answered with the first one's execution.
    let keyed = || {
        let request = client.anonymous(Method::POST, "/api/v1/actions/release.plain/execute").bearer_auth(&token);
        request.header("Idempotency-Key", id.as_str()).json(&json!({})).send()
    };
    let (first, again) = (Answer::of(keyed().await.unwrap()).await, Answer::of(keyed().await.unwrap()).await);
    assert_eq!((&first.body["id"], first.body["id"].is_string()), (&again.body["id"], true), "{again:?}");

    // It is one attempt's token, and no other's.
    let mark = token.rsplit('_').next().unwrap();
    let last = if mark.ends_with('0') { '1' } else { '0' };
    for forged in [
        format!("ensp_{id}_2_{mark}"),
        format!("ensp_{other}_1_{mark}"),
        format!("ensp_{id}_1_{}{last}", &mark[..63]),
        format!("ens_{id}_{mark}"),
    ] {
        assert_eq!(get(&client, &forged, "/me").await, invalid_token_answer(), "{forged}");
    }
    let in_url = Answer::of(client.anonymous(Method::GET, &format!("/api/v1/me?x={token}")).send().await.unwrap()).await;
    assert_eq!(in_url.body["code"], "token_in_url");

    // Its end is the end of its token, and the token is nowhere.
    program.let_go();
    let ended = client.until(&format!("/executions/{id}"), |execution| execution["ended_at"].is_string()).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("succeeded"), &json!("[redacted ensue.token]")), "{ended:#}");
    assert_eq!(get(&client, &token, "/me").await, invalid_token_answer());
    let log = std::fs::read(place.data().join("log.sqlite")).unwrap();
    assert!(!log.windows(mark.len()).any(|window| window == mark.as_bytes()), "the log has the token");
}

#[tokio::test]
async fn token_survives_a_kill_of_the_node_with_its_program() {
    if !has_program("token_survives_a_kill_of_the_node_with_its_program", "curl") {
        return;
    }
    let place = place();
    let node = place.start();
    let before = node.client().execute("release.tell", &json!({})).await;
    let program = Running::one(&place).await;
    program.let_go();
    let Running { wrote: ended, folder } = program;
    node.client().until(&format!("/executions/{before}"), |execution| execution["ended_at"].is_string()).await;
    until("the end of the first program's folder", async || !folder.exists()).await;
    let id = node.client().execute("release.tell", &json!({})).await;
    let program = Running::one(&place).await;
    let token = program.wrote.clone();
    node.kill();

    let node = place.start();
    let client = node.client();
    assert_eq!(get(&client, &token, &format!("/executions/{id}")).await.0, 200, "its program continues, so its token does");
    assert_eq!(get(&client, &ended, "/me").await, invalid_token_answer(), "the program of this one ended before");

    // A request to end it is the end of its token, even while the program cleans up.
    client.post(&format!("/executions/{id}/cancel"), &json!({})).await;
    assert_eq!(get(&client, &token, "/me").await, invalid_token_answer());
    assert_eq!(client.get(&format!("/executions/{id}")).await["status"], "cancelling");
    program.let_go();
    client.until(&format!("/executions/{id}"), |execution| execution["ended_at"].is_string()).await;
    assert_eq!(get(&client, &token, "/me").await, invalid_token_answer());
}

#[tokio::test]
async fn token_of_a_program_that_runs_as_its_caller_is_bound_to_both() {
    if !has_program("token_of_a_program_that_runs_as_its_caller_is_bound_to_both", "curl") {
        return;
    }
    let place = place();
    let node = place.start();
    let client = node.client();
    admin(&place, &node, &["identities", "add", "ana"]);
    admin(&place, &node, &["grants", "add", "identity:ana", "--role", "ingester"]);
    admin(&place, &node, &["roles", "set", "runner", "actions:execute"]);
    admin(&place, &node, &["grants", "add", "identity:ana", "--role", "runner"]);
    let ana = admin(&place, &node, &["tokens", "add", "laptop", "--identity", "ana"]).stdout.trim().to_owned();
    let begun = ask(&client, &ana, Method::POST, "/actions/release.careful/execute", Some(json!({}))).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
    let program = Running::one(&place).await;
    let token = program.wrote.clone();
    let me = ask(&client, &token, Method::GET, "/me", None).await.body;
    assert!(me["name"].as_str().unwrap().starts_with("pack/release+identity/"), "{me:#}");
    assert_eq!(get(&client, &token, "/vars").await.0, 403, "the pack may, and ana may not");
    let ping = json!({ "trigger": "release.ping", "payload": {} });
    assert_eq!(ask(&client, &token, Method::POST, "/events", Some(ping.clone())).await.status, StatusCode::ACCEPTED, "both may");
    admin(&place, &node, &["identities", "disable", "ana"]);
    assert_eq!(get(&client, &token, "/me").await, (401, "identity_disabled".to_owned()));
    assert_eq!(ask(&client, &token, Method::POST, "/events", Some(ping)).await.status, StatusCode::UNAUTHORIZED);
    program.let_go();
}

#[tokio::test]
async fn last_use_of_a_token_is_known_after_a_kill() {
    let place = place();
    let node = place.start();
    admin(&place, &node, &["tokens", "add", "idle", "--role", "viewer"]);
    let busy = admin(&place, &node, &["tokens", "add", "busy", "--role", "viewer"]).stdout.trim().to_owned();
    let client = node.client();
    let rows = until("both tokens are listed", async || {
        let rows = client.get("/tokens").await["items"].clone();
        let named = |name: &str| rows.as_array().unwrap().iter().any(|row| row["name"] == name);
        if named("idle") && named("busy") { Ok(rows) } else { Err(format!("{rows:#}")) }
    })
    .await;
    assert!(rows.as_array().unwrap().iter().filter(|row| row["name"] == "busy").all(|row| row["used_at"].is_null()), "{rows:#}");
    assert_eq!(get(&client, &busy, "/me").await.0, 200);
    let used = client.get("/tokens/busy").await["used_at"].clone();
    assert!(used.is_string(), "{used}");
    // It is stored, and nothing of it is in the log.
    let id = client.get("/tokens/busy").await["id"].as_str().unwrap().to_owned();
    until("the use is in the vault", async || {
        let stored = "SELECT count(*) FROM secrets WHERE purpose = 'use' AND name = ?1";
        // It fails while the node writes.
        let vault = rusqlite::Connection::open_with_flags(place.data().join("vault.sqlite"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        match vault.and_then(|vault| vault.query_row(stored, [&id], |row| row.get::<_, i64>(0))) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(client.records().await.iter().all(|record| !record["kind"].as_str().unwrap().contains("used")));
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(client.get("/tokens/busy").await["used_at"], used);
    assert_eq!(client.get("/tokens/idle").await["used_at"], Value::Null);
    let shown = admin(&place, &node, &["tokens", "show", "busy"]).stdout;
    assert!(shown.contains("name: busy\n") && shown.contains("used: "), "{shown}");
    let listed = admin(&place, &node, &["tokens", "list"]).stdout;
    assert!(listed.lines().next().unwrap().contains("USED"), "{listed}");
    let doctor = CommandOutput::by(place.ensue(&["doctor"]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN)).stdout;
    assert!(doctor.contains("each token that never expires was used within 90 days"), "{doctor}");
}

#[tokio::test]
async fn audit_says_which_attempt_was_given_which_key() {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\nkeys: [deploy_token]\n");
    place.write_pack_file(
        "release/actions/ship.yaml",
        "description: Ships.\nrun:\n  process: { command: [cat], input: \"${{ keys['release.deploy_token'] }}\" }\n",
    );
    let node = place.start();
    let client = node.client();
    let mut set = place.ensue(&["keys", "set", "release.deploy_token"]);
    let set = CommandOutput::by_feeding(set.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN), b"s3cr3t-of-the-release");
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let shipped = client.run("release.ship", &json!({})).await;
        assert_eq!(shipped["status"], "succeeded", "{shipped:#}");
        ids.push(shipped["id"].as_str().unwrap().to_owned());
    }
    let used = client.until("/audit?what=key.used", |audit| !audit["items"][0].is_null()).await;
    let row = &used["items"][0];
    assert_eq!((&row["of"], &row["count"]), (&json!("key/release.deploy_token"), &json!(1)), "{row:#}");
    assert_eq!(row["credential"], json!(format!("execution/{}/1", ids[0])));
    // The later uses are added up, and a stop records them.
    node.stop_well();
    let node = place.start();
    let records = node.client().records().await;
    let used: Vec<&Value> = records.iter().filter(|record| record["kind"] == "key.used").collect();
    assert_eq!(used.len(), 2, "{used:#?}");
    assert_eq!((&used[1]["fact"]["count"], &used[1]["fact"]["version"]), (&json!(2), &json!(1)));
    assert_eq!(used[1]["actor"], json!(format!("execution/{}/1", ids[2])));
    let printed = admin(&place, &node, &["audit", "list", "--what", "key.used"]).stdout;
    assert_eq!(printed.matches("key/release.deploy_token").count(), 2, "{printed}");
}
