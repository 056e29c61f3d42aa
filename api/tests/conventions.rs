//! Conventions of all paths.

use axum::http::{HeaderValue, Method, StatusCode};
use ensue_api::{QueueName, Queues};
use ensue_engine::command::Refusal;
use ensue_engine::ports::SubmitError;
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::support::contract::{DOCUMENT, responses_of};
use crate::support::{TestApi, fill_path};

#[tokio::test]
async fn every_request_error_is_a_problem() {
    let api = TestApi::new();
    api.get("/api/v1/nothing").answer().await.expect_problem(404, "no_such_path");
    api.get("/nothing").answer().await.expect_problem(404, "no_such_path");
    let put = api.ask(Method::PUT, "/api/v1/events").answer().await;
    assert_eq!(put.header("allow"), Some("POST,OPTIONS,GET,HEAD"));
    put.expect_problem(405, "method_not_allowed");
    let post = |body: &'static str| api.post("/api/v1/events").by("admin").body(body);
    post("{}").answer().await.expect_problem(415, "unsupported_media_type");
    post("{}").with("content-type", "text/plain").answer().await.expect_problem(415, "unsupported_media_type");
    let json = |body: &'static str| post(body).with("content-type", "application/json");
    json("{}").with("content-encoding", "gzip").answer().await.expect_problem(415, "unsupported_media_type");
    json("{").answer().await.expect_problem(400, "body_not_json");
    json(r#"{"a":1,"a":2}"#).answer().await.expect_problem(400, "body_not_json");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    post("").with("content-type", "application/json").body(deep).answer().await.expect_problem(400, "body_not_json");
    let unknown =
        json(r#"{"trigger":"demo.hello","payload":{},"principal":{"id":"admin"}}"#).answer().await.expect_problem(422, "body_invalid");
    assert_eq!(unknown["errors"][0]["pointer"], "/principal");
    api.get("/api/v1/executions?limit=0").by("admin").answer().await.expect_problem(400, "bad_parameter");
    api.get(&format!("/api/v1/events?trigger={}", "a".repeat(9_000))).by("admin").answer().await.expect_problem(414, "target_too_long");
    api.get("/api/v1/events").with("x-long", &"a".repeat(17_000)).answer().await.expect_problem(431, "headers_too_large");
}

#[tokio::test]
async fn accept_header_must_allow_the_path_s_media_type() {
    let api = TestApi::new();
    let id = api.execution().await;
    let logs = format!("/api/v1/executions/{id}/logs");
    api.get(&logs).by("viewer").with("accept", "image/png").answer().await.expect_problem(406, "not_acceptable");
    api.get("/docs/errors/forbidden").with("accept", "application/xml").answer().await.expect_problem(406, "not_acceptable");
}

#[tokio::test]
async fn parameters_are_a_closed_list_without_duplicates() {
    let api = TestApi::new();
    let ask = |query: &str| api.get(&format!("/api/v1/executions?{query}")).by("admin");
    let unknown = ask("colour=red").answer().await.expect_problem(400, "unknown_parameter");
    assert!(unknown["detail"].as_str().unwrap().contains("`status`, `action`"), "{unknown}");
    ask("sort=name;DROP%20TABLE%20log--").answer().await.expect_problem(400, "bad_parameter");
    ask("limit=10&limit=1000").answer().await.expect_problem(400, "doubled_parameter");
    ask("status=finished").answer().await.expect_problem(400, "bad_parameter");
    ask("since=yesterday").answer().await.expect_problem(400, "bad_parameter");
    for limit in ["-1", "1e9", "9223372036854775808", "201"] {
        ask(&format!("limit={limit}")).answer().await.expect_problem(400, "bad_parameter");
    }
    // A value that looks like a statement is only a value.
    let none = ask("action=%27%20OR%201%3D1--").answer().await.expect(200).json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn every_route_rejects_unknown_parameters() {
    let api = TestApi::new();
    const PROBES: [&str; 4] = ["/livez", "/health", "/readyz", "/ready"];
    for probe in PROBES {
        api.get(&format!("{probe}?verbose")).answer().await.expect(200);
    }
    // The query of a delivery is its sender's, that of a callback is its issuer's, and tools add their own to probes.
    let is_open = |path: &str| path.starts_with("/hooks/") || path.starts_with("/api/v1/auth/oidc/callback/");
    let is_closed = |path: &str| !is_open(path) && !PROBES.contains(&path);
    for route in api.front.routes().iter().filter(|route| is_closed(&route.path)) {
        let path = format!("{}?colour=red", fill_path(&route.path));
        api.ask(route.method.clone(), &path).by("admin").answer().await.expect_problem(400, "unknown_parameter");
    }
}

/// Fields with which a caller would choose what the node decides: who it is, what it may do, or where its request belongs.
const FORGED: [&str; 10] =
    ["tenant_id", "is_superuser", "password_hash", "created_by", "owner", "position", "enabled_at", "principal", "target", "actor"];

#[tokio::test]
async fn body_cannot_say_who_the_caller_is_or_what_it_may_do() {
    let mut writes = 0;
    for route in TestApi::new().front.routes() {
        let operation = &DOCUMENT["paths"][&route.path][route.method.as_str().to_ascii_lowercase()];
        // The body of a delivery is its sender's.
        if operation["requestBody"]["content"]["application/json"].is_null() || route.path.starts_with("/hooks/") {
            continue;
        }
        writes += 1;
        let api = TestApi::new();
        api.post("/api/v1/identities").by("admin").json(&json!({ "name": "nobody" })).answer().await.expect(201);
        let head = api.node.head_position();
        let bulk = if operation["parameters"].to_string().contains("\"until\"") { "?until=2026-01-01T00:00:00Z" } else { "" };
        for field in FORGED {
            let path = format!("{}{bulk}", fill_path(&route.path));
            let forged = json!({ field: "admin" });
            // This path accepts only a list.
            let body = if route.path.ends_with("/executions") { json!([forged]) } else { forged };
            let answer = api.ask(route.method.clone(), &path).by("admin").json(&body).answer().await;
            let detail = answer.expect_problem(422, "body_invalid")["detail"].as_str().unwrap().to_owned();
            let is_secret = detail.contains("no details are shown, because the body contains a secret");
            assert!(is_secret || detail.contains(&format!("`{field}`")), "{} {path}: {detail}", route.method);
        }
        assert_eq!(api.node.head_position(), head, "{} {}", route.method, route.path);
    }
    assert!(writes > 40, "{writes}");
}

#[tokio::test]
async fn read_waits_for_the_position_of_a_write() {
    let api = TestApi::new();
    let sent =
        api.post("/api/v1/events").by("admin").json(&json!({ "trigger": "demo.hello", "payload": { "name": "ana" } })).answer().await;
    let position = sent.header("ensue-position").unwrap().to_owned();
    assert!(position.parse::<u64>().unwrap() >= sent.json()["position"].as_u64().unwrap());
    let path = format!("/api/v1/events/{}", sent.json()["id"].as_str().unwrap());
    api.get(&path).by("viewer").with("ensue-position", &position).answer().await.expect(200);
    for bad in ["-1", "soon", "1.5"] {
        api.get(&path).by("viewer").with("ensue-position", bad).answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn read_of_the_views_returns_the_position_that_it_shows() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let path = format!("/api/v1/events/{event}");
    let read = api.get(&path).by("viewer").answer().await.expect(200);
    assert_eq!(read.header("ensue-position"), Some(api.node.head_position().to_string().as_str()));
    let tag = read.header("etag").unwrap().to_owned();
    api.node.hold_views();
    let position = api.node.head_position();
    api.event("bo").await;
    let unchanged = api.get(&path).by("viewer").with("if-none-match", &tag).answer().await.expect(304);
    assert_eq!(unchanged.header("ensue-position"), Some(position.to_string().as_str()), "the views do not show the new event");
    let of_log = api.get("/api/v1/log").by("viewer").answer().await.expect(200);
    assert_eq!(of_log.header("ensue-position"), None, "it does not read the views");
}

#[tokio::test]
async fn filters_take_several_values() {
    let api = TestApi::new();
    let (one, two, three) = (api.execution().await, api.execution().await, api.execution().await);
    api.node.succeed(&one, "{}");
    api.node.fail(&two);
    let listed = async |query: &str| {
        let list = api.get(&format!("/api/v1/executions?{query}")).by("viewer").answer().await.expect(200).json();
        list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("status=succeeded,running").await, [three.clone(), one.clone()]);
    assert_eq!(listed("status=running&status=succeeded&action=core.noop,core.echo").await, [three.clone(), one.clone()]);
    assert_eq!(listed(&format!("id={one},{two}")).await, [two.clone(), one.clone()]);
    assert_eq!(listed(&format!("id={two}&id={one}&status=running&sort=position")).await, [""; 0]);
    assert_eq!(listed("id=nothing").await, [""; 0]);
    api.get("/api/v1/executions?status=running,gone").by("viewer").answer().await.expect_problem(400, "bad_parameter");
    let many = format!("/api/v1/executions?id={}", vec!["a"; 201].join(","));
    api.get(&many).by("viewer").answer().await.expect_problem(400, "bad_parameter");

    let (event, other) = (api.event("ana").await, api.event("bo").await);
    let events = api.get(&format!("/api/v1/events?id={event},{other}&trigger=demo.hello,demo.bye")).by("viewer").answer().await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
    let enforcements =
        api.get("/api/v1/enforcements?rule=demo.greet,demo.other&outcome=executed,rejected").by("viewer").answer().await.expect(200).json();
    let id = enforcements["items"][0]["id"].as_str().unwrap();
    let same = api.get(&format!("/api/v1/enforcements?id={id}")).by("viewer").answer().await.json();
    assert_eq!((&same["items"][0], same["items"].as_array().unwrap().len()), (&enforcements["items"][0], 1));
    let inquiry = api.inquiry().await;
    let inquiries = api.get(&format!("/api/v1/inquiries?id={inquiry}&status=open,answered")).by("viewer").answer().await.json();
    assert_eq!(inquiries["items"][0]["id"], json!(inquiry));
    let letters = api.get(&format!("/api/v1/dead_letters?id={two}&status=open,retried")).by("viewer").answer().await.json();
    assert_eq!(letters["items"][0]["id"], json!(two));
    let rules = async |query: &str| {
        api.get(&format!("/api/v1/rules?{query}")).by("viewer").answer().await.json()["items"].as_array().unwrap().len()
    };
    let all = rules("trigger=demo.hello").await;
    assert_eq!((rules("trigger=demo.nothing,demo.hello").await, rules("trigger=demo.nothing").await), (all, 0));
    let cancelled = api.post(&format!("/api/v1/executions/cancel?id={three},{one}")).by("operator").answer().await.expect(200).json();
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn read_behind_its_position_gets_503_with_a_retry_time() {
    let api = TestApi::new();
    api.node.hold_views();
    let sent =
        api.post("/api/v1/events").by("admin").json(&json!({ "trigger": "demo.hello", "payload": { "name": "ana" } })).answer().await;
    let position = sent.header("ensue-position").unwrap().to_owned();
    api.get("/api/v1/events").by("viewer").with("ensue-position", &position).answer().await.expect_problem(503, "view_behind");
    api.get("/api/v1/events").by("viewer").answer().await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn routes_that_wait_for_a_position_match_the_openapi_document() {
    for route in TestApi::new().front.routes() {
        let api = TestApi::new();
        api.node.hold_views();
        let event = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
        let sent = api.post("/api/v1/events").by("admin").json(&event).answer().await;
        let position = sent.header("ensue-position").unwrap().to_owned();
        let asked = api.ask(route.method.clone(), &fill_path(&route.path)).by("admin").with("ensue-position", &position).json(&json!({}));
        let response = asked.response().await;
        // A stream that is allowed to start has no end.
        let is_behind = response.status() == 503 && {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("\"view_behind\""), "{route:?}");
            true
        };
        let operation = &DOCUMENT["paths"][&route.path][route.method.as_str().to_lowercase()];
        let takes = |name: &str| operation["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == name);
        assert_eq!(is_behind, takes("Ensue-Position"), "{} {}", route.method, route.path);
        // A tag is compared with the state at the end of the log.
        let may_be_behind = takes("Ensue-Position") || takes("If-Match");
        assert_eq!(may_be_behind, responses_of(operation).get("503").is_some_and(|response| response.to_string().contains("view_behind")));
    }
}

#[tokio::test]
async fn request_id_and_trace_are_used_and_returned() {
    let api = TestApi::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let kept = api.get("/livez").with("x-request-id", "ana-7").with("traceparent", trace).answer().await.expect(200);
    assert_eq!((kept.header("x-request-id"), kept.header("traceparent")), (Some("ana-7"), Some(trace)));
    let begun = api.get("/nothing").with("x-request-id", "a b\"c").with("traceparent", "00-zz").answer().await;
    assert_ne!(begun.header("x-request-id"), Some("a b\"c"));
    assert_eq!(begun.header("traceparent").map(str::len), Some(55));
    let given = json!({ "trigger": "demo.hello", "payload": { "name": "cy" } });
    api.post("/api/v1/events").by("admin").with("traceparent", trace).json(&given).answer().await.expect(202);
    assert_eq!(api.node.newest().cause.trace.as_deref(), Some(trace));
}

#[tokio::test]
async fn every_answer_has_security_headers_and_no_cors() {
    let api = TestApi::new();
    for path in ["/livez", "/api/v1/events", "/nothing", "/docs/errors/forbidden", "/hooks/demo/nothing"] {
        let answer = api.get(path).answer().await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"), "{path}");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn unknown_ensue_header_is_reported_by_name() {
    let api = TestApi::new();
    let asked = |name: &str| api.get("/api/v1/events").by("viewer").with(name, "1").answer();
    let problem = asked("ensue-mock").await.expect_problem(400, "unknown_header");
    assert!(problem["detail"].as_str().unwrap().contains("`ensue-mock`"), "{problem}");
    let problem = asked("ensue-postion").await.expect_problem(400, "unknown_header");
    assert_eq!(problem["hint"], "did you mean `ensue-position`?");
    // The headers of a delivery are its sender's.
    let posted = api.post("/hooks/demo/door").with("content-type", "application/json").with("ensue-mock", "1").body("{}").answer();
    assert_ne!(posted.await.status.as_u16(), 400);
}

#[tokio::test]
async fn every_path_lists_its_methods() {
    let api = TestApi::new();
    for (path, methods) in [("/livez", "GET,HEAD,OPTIONS"), ("/api/v1/vars/a.b", "DELETE,GET,HEAD,PUT,OPTIONS")] {
        let answer = api.ask(Method::OPTIONS, path).answer().await.expect(204);
        let mut told: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        let mut wanted: Vec<&str> = methods.split(',').collect();
        told.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(told, wanted, "{path}");
    }
    api.ask(Method::OPTIONS, "/nothing").answer().await.expect_problem(404, "no_such_path");
}

#[tokio::test]
async fn position_beyond_the_log_is_rejected_at_once() {
    let api = TestApi::new();
    api.event("Ana").await;
    let asked = |position: u64| api.get("/api/v1/events").by("viewer").with("ensue-position", &position.to_string()).answer();
    asked(api.node.head_position()).await.expect(200);
    asked(api.node.head_position() + 1).await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn invalid_token_is_an_error_and_a_missing_one_is_not() {
    let api = TestApi::new();
    let refused = api.get("/api/v1/events").bearing("nothing").answer().await.expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"ensue\", error=\"invalid_token\""));
    let missing = api.get("/api/v1/events").answer().await.expect(401);
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"ensue\""));
}

#[tokio::test]
async fn panic_is_answered_only_with_the_request_id() {
    let api = TestApi::new();
    api.node.panic_in_doctor();
    let problem = api.get("/api/v1/doctor").by("admin").with("x-request-id", "ana-7").answer().await.expect_problem(500, "internal_error");
    assert_eq!(problem["request_id"], "ana-7");
    assert!(!problem.to_string().contains("secret detail"), "{problem}");
    // The next request is not affected.
    api.get("/api/v1/events").by("admin").answer().await.expect(200);
}

#[tokio::test]
async fn refusal_because_of_a_panic_hides_its_details() {
    let api = TestApi::new();
    api.node.fail_submit(SubmitError::Refused(Refusal::Bug("index out of bounds at /src/engine.rs:7".into())));
    let given = json!({ "trigger": "demo.hello", "payload": { "name": "cy" } });
    api.post("/api/v1/events").by("admin").json(&given).answer().await.expect_problem(500, "internal_error");
}

#[tokio::test]
async fn store_error_does_not_reveal_file_names() {
    let api = TestApi::new();
    api.node.break_log("cannot open /var/lib/ensue/log.sqlite: disk I/O error");
    let problem = api.get("/api/v1/log").by("admin").answer().await.expect_problem(503, "log_unavailable");
    assert!(!problem.to_string().contains("sqlite"), "{problem}");
}

#[tokio::test]
async fn temporary_failure_has_a_retry_time() {
    let given = json!({ "trigger": "demo.hello", "payload": { "name": "cy" } });
    let cases = [
        (SubmitError::Busy, "busy"),
        (SubmitError::StorageFull, "storage_full"),
        (SubmitError::Stopping, "stopping"),
        (SubmitError::Unknown, "outcome_unknown"),
        (SubmitError::Refused(Refusal::TooMuchOpen { open: 100_000, max: 100_000 }), "too_much_open"),
    ];
    for (error, code) in cases {
        let api = TestApi::new();
        api.node.fail_submit(error.clone());
        api.post("/api/v1/events").by("admin").json(&given).answer().await.expect_problem(503, code);
        let api = TestApi::new();
        api.node.close_admission(error);
        api.post("/api/v1/events").by("admin").json(&given).answer().await.expect_problem(503, code);
        api.post("/hooks/demo/door").json(&json!({ "kind": "hello", "name": "cy" })).answer().await.expect_problem(503, code);
    }
    let full = TestApi::with_queues(queues_with_cap(QueueName::Requests, 0));
    full.get("/livez").answer().await.expect_problem(503, "busy");
}

/// Queues without limits, except for one.
fn queues_with_cap(name: QueueName, cap: u64) -> Queues {
    Queues::with(|queue| if queue == name { cap } else { 1_000_000_000 })
}

#[tokio::test]
async fn request_body_over_the_memory_limit_is_rejected_and_not_stored() {
    let api = TestApi::with_queues(queues_with_cap(QueueName::RequestBytes, 10_000));
    let head = api.node.head_position();
    let given = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
    for _ in 0..2 {
        let refused = api.post("/api/v1/events").by("admin").json(&given).answer().await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.expect_problem(503, "busy");
        let refused = api.post("/hooks/demo/door").json(&json!({ "kind": "hello", "name": "cy" })).answer().await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.expect_problem(503, "busy");
    }
    assert_eq!(api.node.head_position(), head);
    let last = api.get("/api/v1/hooks/demo/door").by("viewer").answer().await.expect(200).json()["deliveries"][0].clone();
    assert_eq!((&last["outcome"], &last["code"]), (&json!("refused"), &json!("busy")), "{last}");
}

#[tokio::test]
async fn answer_counts_until_written_and_is_rejected_over_the_memory_limit() {
    let large = json!({ "trigger": "demo.hello", "payload": { "name": "a".repeat(40_000) } });
    let path_of = |sent: &crate::support::Answer| format!("/api/v1/events/{}", sent.json()["id"].as_str().unwrap());
    let api = TestApi::with_queues(queues_with_cap(QueueName::AnswerBytes, 60_000));
    let sent = api.post("/api/v1/events").by("admin").json(&large).answer().await.expect(202);
    for _ in 0..3 {
        api.get(&path_of(&sent)).by("viewer").answer().await.expect(200);
    }
    let queues = queues_with_cap(QueueName::AnswerBytes, 60_000);
    let _unwritten = queues.of(QueueName::AnswerBytes).enter(30_000).unwrap();
    let api = TestApi::with_queues(queues.clone());
    let sent = api.post("/api/v1/events").by("admin").json(&large).answer().await.expect(202);
    api.get(&path_of(&sent)).by("viewer").answer().await.expect_problem(503, "busy");
    api.get("/api/v1/events").by("viewer").answer().await.expect(200);
}

#[tokio::test]
async fn answer_larger_than_all_answer_memory_can_still_be_read() {
    let large = json!({ "trigger": "demo.hello", "payload": { "name": "a".repeat(40_000) } });
    let api = TestApi::with_queues(queues_with_cap(QueueName::AnswerBytes, 30_000));
    let position = api.post("/api/v1/events").by("admin").json(&large).answer().await.expect(202).json()["position"].clone();
    for path in ["/api/v1/log".to_owned(), format!("/api/v1/log/{position}")] {
        api.get(&path).by("viewer").answer().await.expect(200);
    }
}

#[tokio::test]
async fn read_with_a_request_body_is_rejected_when_answer_memory_is_full() {
    let queues = queues_with_cap(QueueName::AnswerBytes, 60_000);
    let _unwritten = queues.of(QueueName::AnswerBytes).enter(30_000).unwrap();
    let api = TestApi::with_queues(queues.clone());
    let long = json!({ "event": { "trigger": "demo.long", "payload": { "text": "a".repeat(40_000) } } });
    api.post("/api/v1/rules/demo.repeat/explain").by("viewer").json(&long).answer().await.expect_problem(503, "busy");
    let short = json!({ "event": { "trigger": "demo.long", "payload": { "text": "a" } } });
    api.post("/api/v1/rules/demo.repeat/explain").by("viewer").json(&short).answer().await.expect(200);
}

#[tokio::test]
async fn write_is_confirmed_however_little_answer_memory_there_is() {
    let api = TestApi::with_queues(queues_with_cap(QueueName::AnswerBytes, 30_000));
    let run = api.post("/api/v1/actions/core.echo/execute").by("admin");
    let told = run.json(&json!({ "params": { "message": "a".repeat(40_000) } })).answer().await.expect(202);
    assert!(told.text.len() > 40_000, "{}", told.text.len());
}

#[tokio::test]
async fn metrics_have_every_queue_and_bounded_label_values() {
    let api = TestApi::new();
    let answer = api.get("/metrics").by("viewer").with("accept", "application/openmetrics-text").answer().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    for name in QueueName::ALL {
        for metric in ["ensue_queue_depth", "ensue_queue_capacity", "ensue_queue_rejected_total"] {
            let line = format!("{metric}{{queue=\"{}\"}} ", name.as_str());
            assert_eq!(answer.text.matches(&line).count(), 1, "{line} in:\n{}", answer.text);
        }
    }
    assert!(answer.text.contains("ensue_memory_max_bytes 512\n") && answer.text.ends_with("# EOF\n"), "{}", answer.text);
    // The number of lines does not depend on the requests.
    let lines = answer.text.lines().count();
    for at in 0..50 {
        api.get(&format!("/api/v1/nothing-{at}")).by("viewer").with("user-agent", &format!("agent-{at}")).answer().await.expect(404);
    }
    let again = api.get("/metrics").by("viewer").with("accept", "application/openmetrics-text").answer().await.expect(200);
    assert_eq!(again.text.lines().count(), lines);
    assert!(again.text.contains("ensue_requests_total{status=\"4xx\"} 50\n"), "{}", again.text);
    api.get("/api/v1/keys").answer().await.expect(401);
    api.get("/api/v1/keys").by("viewer").answer().await.expect(403);
    let denied = api.get("/metrics").by("viewer").answer().await.expect(200);
    for status in ["401", "403"] {
        let line = format!("ensue_requests_denied_total{{status=\"{status}\"}} 1\n");
        assert!(denied.text.contains(&line), "{line} in:\n{}", denied.text);
    }
    assert!(again.text.contains("ensue_request_seconds_count{kind=\"read\"} 51\n"), "{}", again.text);
}

#[tokio::test]
async fn metrics_format_follows_the_accept_header_and_defaults_to_prometheus() {
    let api = TestApi::new();
    let answer = api.get("/metrics").by("viewer").answer().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(answer.text.contains("\n# TYPE ensue_queue_rejected_total counter\n") && !answer.text.contains("# EOF"), "{}", answer.text);
    let of_prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let answer = api.get("/metrics").by("viewer").with("accept", of_prometheus).answer().await.expect(200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    api.get("/metrics").by("viewer").with("accept", "image/png").answer().await.expect_problem(406, "not_acceptable");
}

#[tokio::test]
async fn every_problem_links_to_its_page() {
    let api = TestApi::new();
    for slug in ensue_api::slugs() {
        let page = api.get(&format!("/docs/errors/{slug}")).answer().await.expect(200);
        assert!(page.text.starts_with("# "), "{slug}");
    }
    for path in ["/docs/errors/..%2f..%2fCargo", "/docs/errors/no-such-page", "/docs/no-such-section", "/docs/errors/forbidden/x"] {
        api.get(path).answer().await.expect_problem(404, "no_such_path");
    }
    assert!(api.get("/docs/errors").answer().await.expect(200).text.contains("/docs/errors/forbidden"));
}

#[tokio::test]
async fn documentation_is_a_page_for_browsers_and_markdown_for_programs() {
    let api = TestApi::new();
    for path in ["/docs", "/docs/guides", "/docs/glossary", "/docs/guides/first-steps", "/docs/errors/forbidden"] {
        let text = api.get(path).answer().await.expect(200);
        assert!(text.text.starts_with("# ") && text.header("content-type") == Some("text/markdown; charset=utf-8"), "{path}");
        let html = api.get(path).with("accept", "text/html,*/*;q=0.8").answer().await.expect(200);
        assert!(html.text.starts_with("<!doctype html>") && html.header("content-type").unwrap().starts_with("text/html"), "{path}");
        for foreign in ["<script", "<img", "<link", "<iframe", " src=", "@import"] {
            assert!(!html.text.contains(foreign), "{path}: {foreign}");
        }
        let policy = html.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("form-action 'self'"), "{policy}");
    }
}

#[tokio::test]
async fn documentation_shows_pictures_that_the_node_serves() {
    let api = TestApi::new();
    let html = api.get("/docs/guides/use-the-page").with("accept", "text/html,*/*;q=0.8").answer().await.expect(200);
    let addresses: Vec<&str> = html.text.split("<img src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!addresses.is_empty() && html.header("content-security-policy").unwrap().contains("img-src 'self'"));
    for address in addresses {
        let picture = api.get(address).with("accept", "image/avif,image/webp,*/*;q=0.8").response().await;
        let kind = picture.headers().get("content-type").map(HeaderValue::as_bytes);
        assert_eq!((picture.status(), kind), (StatusCode::OK, Some(&b"image/png"[..])), "{address}");
    }
    for name in ["no-such.png", "../guides/use-the-page", "VERSIONS"] {
        api.get(&format!("/docs/pictures/{name}")).answer().await.expect_problem(404, "no_such_path");
    }
}

#[tokio::test]
async fn documentation_is_searched_and_shows_the_query_as_text() {
    let api = TestApi::new();
    let found = api.get("/docs/search?query=approval_stale").answer().await.expect(200);
    assert!(found.text.contains("<a href=\"/docs/errors/approval-stale\">"), "{}", found.text);
    let attack = api.get("/docs/search?query=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").answer().await.expect(200);
    assert!(!attack.text.contains("<script") && attack.text.contains("&lt;script&gt;"), "{}", attack.text);
    assert!(api.get("/docs/search").answer().await.expect(200).text.contains("Write what you look for"));
    api.get(&format!("/docs/search?query={}", "x".repeat(201))).answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn public_status_names_what_is_switched_on_and_nothing_else() {
    let api = TestApi::new();
    let status = api.get("/api/v1/public/status").answer().await.expect(200).json();
    assert_eq!(status["features"], json!(["page", "tls"]));
    let fields: Vec<&String> = status.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["api", "features", "logged_in", "logins", "name", "release"]);
}

#[tokio::test]
async fn probes_report_liveness_and_readiness() {
    let api = TestApi::new();
    for path in ["/livez", "/health"] {
        assert_eq!(api.get(path).answer().await.expect(200).json()["status"], "ok");
    }
    for path in ["/readyz", "/ready"] {
        let ready = api.get(path).answer().await.expect(200).json();
        assert_eq!((&ready["status"], &ready["dependencies"][0]["name"]), (&json!("ready"), &json!("log")));
    }
    api.node.be_not_ready();
    let not_ready = api.get("/readyz").answer().await.expect(503);
    assert_eq!(not_ready.json()["dependencies"][0]["why"], "the disk is full");
    assert!(not_ready.header("retry-after").is_some());
    api.get("/livez").answer().await.expect(200);

    let stopping = TestApi::new();
    stopping.front.stop();
    stopping.get("/readyz").answer().await.expect(503);
    assert_eq!(stopping.get("/api/v1/public/status").answer().await.expect(200).json()["release"], "0.1.0-test");
}
