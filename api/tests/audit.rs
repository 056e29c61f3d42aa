//! The audit: every write makes a row with its actor and credential, and so does every refusal and export.

use std::collections::BTreeMap;

use axum::http::Method;
use ensue_api::routes::Demand;
use ensue_api::{QueueName, Queues};
use ensue_engine::ports::SubmitError;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{TestApi, fill_path};

const AUDIT: &str = "/api/v1/audit";

async fn rows(api: &TestApi, query: &str) -> Vec<Value> {
    let answer = api.get(&format!("{AUDIT}{query}")).by("admin").answer().await.expect(200).json();
    answer["items"].as_array().unwrap().clone()
}

fn texts(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
}

/// Adds an identity with a token, and returns both: the id and the token.
async fn identity(api: &TestApi, name: &str, role: &str) -> (String, String) {
    let added = api.post("/api/v1/identities").by("admin").json(&json!({ "name": name })).answer().await.expect(201).json();
    let grant = json!({ "subject": format!("identity:{name}"), "role": role });
    api.post("/api/v1/grants").by("admin").json(&grant).answer().await.expect(201);
    let token = json!({ "name": format!("{name}-laptop"), "identity": name });
    let token = api.post("/api/v1/tokens").by("admin").json(&token).answer().await.expect(201).json();
    (added["id"].as_str().unwrap().to_owned(), token["token"].as_str().unwrap().to_owned())
}

/// What a route needs before it can succeed, and the path and body with which it does.
async fn prepare_route(api: &TestApi, method: &Method, template: &str) -> Option<(String, Value)> {
    let at = |path: &str| path.strip_prefix("/api/v1").unwrap_or(path).to_owned();
    let path = at(template);
    let of = |id: &str| path.replace("{id}", id).replace("{ref}", fill_path(template).split('/').nth(4).unwrap_or_default());
    let admin = async |method: Method, path: &str, body: Value| {
        api.ask(method, &format!("/api/v1{path}")).by("admin").json(&body).answer().await;
    };
    let key = json!({ "value": "a-secret-of-thirty-two-characters" });
    Some(match (method.as_str(), path.as_str()) {
        ("POST", "/events") => (path, json!({ "trigger": "demo.hello", "payload": { "name": "ana" } })),
        ("POST", "/events/{id}/emit_again") => (of(&api.event("ana").await), json!({})),
        ("POST", "/executions") => (path, json!([{ "action": "core.echo", "params": { "message": "hi" } }])),
        ("POST", "/actions/{ref}/execute") => (of(""), json!({ "params": { "message": "hi" } })),
        ("POST", "/executions/{id}/cancel" | "/executions/{id}/pause") => (of(&api.execution().await), json!({})),
        ("POST", "/executions/{id}/resume") => {
            let id = api.execution().await;
            admin(Method::POST, &format!("/executions/{id}/pause"), json!({})).await;
            (of(&id), json!({}))
        }
        ("POST", "/executions/cancel" | "/executions/pause" | "/executions/resume") => {
            let id = api.execution().await;
            if path.ends_with("resume") {
                admin(Method::POST, &format!("/executions/{id}/pause"), json!({})).await;
            }
            (format!("{path}?action=core.echo&until=2999-01-01T00:00:00Z"), json!({}))
        }
        ("POST", "/executions/{id}/settle") => (of(&api.indeterminate().await), json!({ "outcome": "failed", "error": "it broke" })),
        ("POST", "/inquiries/{id}/cancel") => (of(&api.inquiry().await), json!({})),
        ("POST", "/rules/{ref}/enable" | "/rules/{ref}/disable" | "/rules/{ref}/shadow") => (of(""), json!({})),
        ("POST", "/sensors/{ref}/disable" | "/sensors/{ref}/restart" | "/sensors/{ref}/test") => {
            (path.replace("{ref}", "demo.watch"), json!({}))
        }
        ("POST", "/sensors/{ref}/enable") => {
            admin(Method::POST, "/sensors/demo.watch/disable", json!({})).await;
            (path.replace("{ref}", "demo.watch"), json!({}))
        }
        ("POST", "/sensors/{ref}/rewind") => (path.replace("{ref}", "demo.watch"), json!({ "place": "start" })),
        ("POST", "/connections/{name}/test") => (path.replace("{name}", "orders"), json!({})),
        ("PUT", "/vars/{name}") => (path.replace("{name}", "sync.cursor"), json!({ "value": 7 })),
        ("DELETE", "/vars/{name}") => {
            admin(Method::PUT, "/vars/sync.cursor", json!({ "value": 7 })).await;
            (path.replace("{name}", "sync.cursor"), json!({}))
        }
        ("PUT", "/keys/{ref}") => (of(""), key),
        ("DELETE", "/keys/{ref}") | ("POST", "/keys/{ref}/reveal") => {
            admin(Method::PUT, "/keys/demo.secret", key).await;
            (of(""), json!({}))
        }
        ("POST", "/keys/{ref}/rotate") => {
            admin(Method::PUT, "/keys/demo.secret", key.clone()).await;
            (of(""), json!({ "value": "another-secret-of-thirty-two-chars", "overlap": "1h" }))
        }
        ("POST", "/tokens") => (path, json!({ "name": "new", "roles": ["viewer"] })),
        ("DELETE", "/tokens/{name}") | ("POST", "/tokens/{name}/rotate" | "/tokens/{name}/login_links") => {
            admin(Method::POST, "/tokens", json!({ "name": "old", "roles": ["viewer"] })).await;
            (path.replace("{name}", "old"), json!({}))
        }
        ("POST", "/identities") => (path, json!({ "name": "new" })),
        (_, "/identities/{name}" | "/identities/{name}/disable" | "/identities/{name}/enable" | "/identities/{name}/groups") => {
            admin(Method::POST, "/identities", json!({ "name": "old" })).await;
            if path.ends_with("enable") {
                admin(Method::POST, "/identities/old/disable", json!({})).await;
            }
            let body = if path.ends_with("groups") { json!({ "groups": ["release"] }) } else { json!({}) };
            (path.replace("{name}", "old"), body)
        }
        ("PUT", "/identities/{name}/absence" | "/me/absence") => {
            admin(Method::POST, "/identities", json!({ "name": "old" })).await;
            (path.replace("{name}", "old"), json!({ "until": "2030-01-01T00:00:00Z" }))
        }
        (_, "/identities/{name}/issuers" | "/identities/{name}/issuers/{issuer}") => {
            admin(Method::POST, "/identities", json!({ "name": "old" })).await;
            let link = json!({ "issuer": "corp", "subject": "4711" });
            if method == Method::DELETE {
                admin(Method::POST, "/identities/old/issuers", link.clone()).await;
            }
            (path.replace("{name}", "old").replace("{issuer}", "corp"), link)
        }
        ("PUT", "/roles/{name}") => (path.replace("{name}", "restarter"), json!({ "permissions": ["executions:read"] })),
        ("DELETE", "/roles/{name}") => {
            admin(Method::PUT, "/roles/restarter", json!({ "permissions": ["executions:read"] })).await;
            (path.replace("{name}", "restarter"), json!({}))
        }
        ("POST", "/grants") => (path, json!({ "subject": "everyone", "role": "viewer" })),
        ("DELETE", "/grants/{id}") => {
            let grant = json!({ "subject": "everyone", "role": "viewer" });
            let added = api.post("/api/v1/grants").by("admin").json(&grant).answer().await.expect(201).json();
            (of(added["id"].as_str().unwrap()), json!({}))
        }
        ("POST", "/parked_reactions/{position}/retry" | "/parked_reactions/{position}/dismiss") => {
            (path.replace("{position}", &api.park_reaction().await.to_string()), json!({}))
        }
        _ => return None,
    })
}

/// The routes without a record of the caller: they read, start a job, or have the sensor as the actor.
const WITHOUT_RECORD: &[&str] = &[
    "POST /api/v1/rules/{ref}/explain",
    "POST /api/v1/rules/backtest",
    "POST /api/v1/packs/{pack}/check",
    "POST /api/v1/executions/replay",
    "POST /api/v1/log/verify",
    "POST /api/v1/views/rebuild",
    "POST /api/v1/master_key/rotate",
    "POST /api/v1/auth/device/look_up",
    "POST /api/v1/auth/device/decide",
    "POST /api/v1/auth/otp",
    "POST /api/v1/hooks/{pack}/{sensor}/send",
    "POST /api/v1/hooks/{pack}/{sensor}/confirm",
    "DELETE /api/v1/backtests/{id}",
    "OPTIONS /api/v1/events",
];

/// The routes whose success needs more than this test prepares: an ended rerun, a question to the caller, a dead letter, a
/// schedule, a step of the clock, a session, a password. Their requests have the actor of the same function as all others.
const OTHERS: &[&str] = &[
    "POST /api/v1/executions/rerun",
    "POST /api/v1/executions/{id}/rerun",
    "POST /api/v1/inquiries/{id}/respond",
    "POST /api/v1/dead_letters/retry",
    "POST /api/v1/dead_letters/dismiss",
    "POST /api/v1/dead_letters/{id}/retry",
    "POST /api/v1/dead_letters/{id}/dismiss",
    "POST /api/v1/rules/{ref}/backfill",
    "POST /api/v1/clock/accept",
    "POST /api/v1/auth/logout",
    "DELETE /api/v1/sessions/{id}",
    "POST /api/v1/inquiries/{id}/links",
    "POST /api/v1/inquiries/{id}/delegate",
    "POST /api/v1/identities/{name}/reset",
    "POST /api/v1/auth/password",
    "POST /api/v1/auth/otp/confirm",
    "POST /api/v1/auth/otp/remove",
];

#[tokio::test]
async fn every_write_makes_a_row_with_its_actor_and_credential() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for route in TestApi::new().front.routes().iter().filter(|route| route.method != Method::GET && route.demands != Demand::Nothing) {
        let (name, api) = (format!("{} {}", route.method, route.path), TestApi::new());
        let Some((path, body)) = prepare_route(&api, &route.method, &route.path).await else {
            missing.push(name);
            continue;
        };
        let (id, token) = identity(&api, "ana", "admin").await;
        let before = api.node.head_position();
        let answer = api.ask(route.method.clone(), &format!("/api/v1{path}")).bearing(&token).json(&body).answer().await;
        if !answer.status.is_success() {
            missing.push(format!("{name}: {} {}", answer.status, answer.text));
            continue;
        }
        let written: Vec<Value> =
            rows(&api, "?limit=200").await.into_iter().filter(|row| row["position"].as_u64().unwrap() > before).collect();
        let token_id = token.split('_').nth(1).unwrap();
        let expected = (format!("identity/{id}"), "ana".to_owned(), format!("token/{token_id}"), "ana-laptop".to_owned());
        let shown = |row: &Value| {
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            (text("actor"), text("actor_name"), text("credential"), text("credential_name"))
        };
        assert!(written.iter().any(|row| shown(row) == expected), "{name}: {written:#?}");
        seen += 1;
    }
    missing.retain(|name| !OTHERS.contains(&name.as_str()) && !WITHOUT_RECORD.contains(&name.as_str()));
    assert_eq!(missing, [""; 0], "a route that writes is prepared here, or listed with a reason");
    assert!(seen >= 25, "{seen} routes");
}

#[tokio::test]
async fn audit_is_filtered_by_names_and_things_and_paged() {
    let api = TestApi::new();
    let (_, token) = identity(&api, "ana", "admin").await;
    let key = json!({ "value": "a-secret-of-thirty-two-characters" });
    api.ask(Method::PUT, "/api/v1/keys/demo.secret").bearing(&token).json(&key).answer().await.expect(201);
    api.ask(Method::PUT, "/api/v1/keys/demo.secret").by("operator").json(&key).answer().await.expect(200);
    let event = api.event("bo").await;

    assert_eq!(texts(&rows(&api, "?actor=ana").await, "what"), ["key.set"]);
    let granted = rows(&api, "?what=grant.added").await;
    assert!(granted.iter().all(|row| row["trace_id"].as_str().is_some_and(|trace| trace.len() == 32)), "{granted:?}");
    assert_eq!(texts(&rows(&api, "?actor=identity/ana").await, "what"), ["key.set"]);
    assert_eq!(texts(&rows(&api, "?of=key/demo.secret").await, "actor_name"), ["ana.operator", "ana"]);
    assert_eq!(texts(&rows(&api, "?what=key.set&actor=ana.operator").await, "actor"), ["token/ana.operator"]);
    assert_eq!(texts(&rows(&api, &format!("?of=event/{event}")).await, "what"), ["event.received"]);
    assert_eq!(texts(&rows(&api, "?of=identity/ana").await, "of_name"), ["ana"]);
    for nothing in ["?actor=bo", "?actor=ana&what=key.removed", "?of=identity/bo", "?until=2020-01-01T00:00:00Z"] {
        assert_eq!(rows(&api, nothing).await, [Value::Null; 0], "{nothing}");
    }
    for bad in ["?what=key.eaten", "?of=nothing", "?since=soon"] {
        api.get(&format!("{AUDIT}{bad}")).by("admin").answer().await.expect_problem(400, "bad_parameter");
    }

    let all = texts(&rows(&api, "").await, "what");
    let (mut paged, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let and = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = api.get(&format!("{AUDIT}?limit=2{and}")).by("admin").answer().await.expect(200).json();
        paged.extend(texts(page["items"].as_array().unwrap(), "what"));
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn rejected_requests_and_tokens_are_in_the_audit() {
    let api = TestApi::new();
    let (id, token) = identity(&api, "ana", "viewer").await;
    let denied = |path: &'static str| api.ask(Method::PUT, path).bearing(&token).json(&json!({ "value": "x" }));
    denied("/api/v1/vars/sync.cursor").answer().await.expect(403);
    // The answer hides the key, and the audit does not.
    denied("/api/v1/keys/demo.secret").answer().await.expect(404);
    let rows_of_ana = rows(&api, "?what=access.denied&actor=ana").await;
    assert_eq!(texts(&rows_of_ana, "permission"), ["keys:write", "vars:write"]);
    assert_eq!(rows_of_ana[0]["count"], 1);

    api.post("/api/v1/identities/ana/disable").by("admin").json(&json!({})).answer().await;
    api.get("/api/v1/me").bearing(&token).answer().await.expect_problem(401, "identity_disabled");
    api.get("/api/v1/me").bearing("ens_nothing").answer().await.expect_problem(401, "token_invalid");
    api.get("/api/v1/me").answer().await.expect_problem(401, "unauthenticated");
    let refused = rows(&api, "?what=login.refused").await;
    assert_eq!(texts(&refused, "way"), ["token", "token"]);
    assert_eq!(texts(&refused, "actor"), ["engine".to_owned(), format!("identity/{id}")]);
}

#[tokio::test]
async fn completed_export_is_recorded_with_its_rows_and_digest() {
    let api = TestApi::new();
    let (id, token) = identity(&api, "ana", "admin").await;
    for number in 0..3 {
        api.ask(Method::PUT, "/api/v1/vars/sync.cursor").bearing(&token).json(&json!({ "value": number })).answer().await;
    }
    let export = |accept: &'static str| api.get(&format!("{AUDIT}?actor=ana")).bearing(&token).with("accept", accept);
    let lines = export("application/x-ndjson").answer().await.expect(200);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let read: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(texts(&read, "what"), ["var.set"; 3]);

    let made: Value = serde_json::from_slice(&api.node.newest().fact_json).unwrap();
    let digest = blake3::hash(lines.text.as_bytes()).to_hex().to_string();
    let filters: BTreeMap<&str, String> = [("actor", format!("identity/{id}"))].into();
    assert_eq!(made, json!({ "what": "audit", "filters": filters, "rows": 3, "digest": digest }), "and no name");

    let table = export("text/csv").answer().await.expect(200);
    assert_eq!(table.text.lines().count(), 1 + 4, "a head, three vars and the first export: {}", table.text);
    assert!(table.text.starts_with("time,position,actor,"), "{}", table.text);
    assert_eq!(rows(&api, "?what=export.made").await.len(), 2);
    api.get(&format!("{AUDIT}?limit=2")).by("admin").with("accept", "text/csv").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn export_that_breaks_off_is_not_recorded() {
    let queues = Queues::with(|_| 1_000_000_000);
    let api = TestApi::with_queues(queues.clone());
    let mut broken = api.get(AUDIT).by("admin").with("accept", "text/csv").response().await;
    let first = broken.body_mut().frame().await.unwrap().unwrap();
    assert!(first.is_data());
    drop(broken);
    let ends = async {
        while queues.of(QueueName::LiveOutputs).depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ends).await.expect("the export ends with its caller");
    assert!(!api.node.kinds().contains(&"export.made"));

    // A log that fails does not let the export end as if it were complete.
    let response = api.get(AUDIT).by("admin").with("accept", "text/csv").response().await;
    api.node.fail_submit(SubmitError::Busy);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn name_that_looks_like_a_line_forges_none() {
    let api = TestApi::new();
    // The node accepts no such name; an older log could have one.
    let forged = "x\n{\"level\":\"INFO\",\"msg\":\"admin ok\"}\u{1b}[2J";
    let token = json!({ "name": forged, "roles": ["admin"] });
    let token = api.post("/api/v1/tokens").by("admin").json(&token).answer().await.expect(201).json();
    let set = api.ask(Method::PUT, "/api/v1/vars/sync.cursor").bearing(token["token"].as_str().unwrap());
    set.json(&json!({ "value": 7 })).answer().await.expect(201);
    let count = rows(&api, "").await.len();

    let export = async |accept: &'static str| api.get(AUDIT).by("admin").with("accept", accept).answer().await.expect(200).text;
    let lines = export("application/x-ndjson").await;
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), count, "{lines}");
    let table = export("text/csv").await;
    assert_eq!(table.lines().count(), 1 + count + 1, "{table}");
    assert!(!lines.contains('\u{1b}') && !table.contains('\u{1b}'));

    // A filter that names nobody is not recorded.
    api.get(&format!("{AUDIT}?actor=ana%0Abo")).by("admin").with("accept", "text/csv").answer().await.expect(200);
    let recorded: Value = serde_json::from_slice(&api.node.newest().fact_json).unwrap();
    assert_eq!(recorded["filters"], json!({ "actor": "unknown" }));
}
