//! `If-Match` and `If-None-Match` on writes: a resource is changed only if it is as the caller read it.

use axum::http::Method;
use ensue_api::routes::Demand;
use serde_json::{Value, json};

use crate::support::{Answer, TestApi, fill_path};

const KEY: &str = "/api/v1/keys/demo.secret";
const ECHO: &str = "/api/v1/actions/core.echo/execute";

/// A readable path, and a write to it.
struct Write {
    read: String,
    method: Method,
    path: String,
    body: Value,
}

impl Write {
    fn of(read: &str, method: Method, path: &str, body: Value) -> Self {
        Self { read: read.to_owned(), method, path: path.to_owned(), body }
    }

    async fn tag(&self, api: &TestApi) -> String {
        api.get(&self.read).by("admin").answer().await.expect(200).header("etag").unwrap().to_owned()
    }

    async fn send(&self, api: &TestApi, name: &str, value: &str) -> Answer {
        api.ask(self.method.clone(), &self.path).by("admin").with(name, value).json(&self.body).answer().await
    }
}

async fn set(api: &TestApi, headers: &[(&str, &str)]) -> Answer {
    let asked = api.ask(Method::PUT, KEY).by("admin").json(&json!({ "value": "a value, long enough" }));
    headers.iter().fold(asked, |asked, (name, value)| asked.with(name, value)).answer().await
}

async fn tag(api: &TestApi, path: &str) -> String {
    api.get(path).by("admin").answer().await.expect(200).header("etag").unwrap().to_owned()
}

/// One write of every kind, each of an existing resource.
async fn writes(api: &TestApi) -> Vec<Write> {
    set(api, &[]).await.expect(201);
    api.post("/api/v1/tokens").by("admin").json(&json!({ "name": "bo", "roles": ["viewer"] })).answer().await.expect(201);
    let cancelled = api.execution().await;
    let settled = api.indeterminate().await;
    let (retried, dismissed) = (api.park_reaction().await, api.park_reaction().await);
    let execution = |id: &str, verb: &str, body| {
        Write::of(&format!("/api/v1/executions/{id}"), Method::POST, &format!("/api/v1/executions/{id}/{verb}"), body)
    };
    let (answered, not_answered) = (api.inquiry().await, api.inquiry().await);
    let inquiry = |id: &str, verb: &str, body| {
        Write::of(&format!("/api/v1/inquiries/{id}"), Method::POST, &format!("/api/v1/inquiries/{id}/{verb}"), body)
    };
    let put_aside = |position: u64, verb: &str| {
        let read = format!("/api/v1/parked_reactions/{position}");
        Write::of(&read, Method::POST, &format!("{read}/{verb}"), json!({}))
    };
    let (run_again, left) = (api.execution().await, api.execution().await);
    [&run_again, &left].iter().for_each(|execution| api.node.fail(execution));
    let letter = |id: &str, verb: &str| {
        Write::of(&format!("/api/v1/dead_letters/{id}"), Method::POST, &format!("/api/v1/dead_letters/{id}/{verb}"), json!({}))
    };
    let mode = |verb: &str| Write::of("/api/v1/rules/demo.greet", Method::POST, &format!("/api/v1/rules/demo.greet/{verb}"), json!({}));
    vec![
        Write::of(KEY, Method::PUT, KEY, json!({ "value": "another, long enough" })),
        Write::of(KEY, Method::DELETE, KEY, json!({})),
        Write::of("/api/v1/tokens/bo", Method::DELETE, "/api/v1/tokens/bo", json!({})),
        mode("disable"),
        mode("shadow"),
        mode("enable"),
        execution(&cancelled, "cancel", json!({})),
        execution(&settled, "settle", json!({ "outcome": "succeeded" })),
        inquiry(&answered, "respond", json!({ "answer": true })),
        inquiry(&not_answered, "cancel", json!({})),
        letter(&run_again, "retry"),
        letter(&left, "dismiss"),
        put_aside(retried, "retry"),
        put_aside(dismissed, "dismiss"),
    ]
}

#[tokio::test]
async fn every_conditional_write_requires_the_current_tag() {
    let api = TestApi::new();
    for write in writes(&api).await {
        let (shown, tag) = (&write.path, write.tag(&api).await);
        let head = api.node.head_position();
        for stale in ["\"other\"", &format!("W/{tag}"), "\"\"", &format!("W/{tag}, \"other\"")] {
            let refused = write.send(&api, "if-match", stale).await;
            assert_eq!(refused.expect_problem(412, "precondition_failed")["status"], 412, "{shown} {stale}");
        }
        for malformed in [tag.trim_matches('"'), "", "*, *"] {
            write.send(&api, "if-match", malformed).await.expect_problem(400, "condition_invalid");
        }
        assert_eq!((api.node.head_position(), write.tag(&api).await), (head, tag.clone()), "{shown}: nothing was done");
        // The tag of any coding is the resource's, and one match of several is enough.
        let coded = format!("{}-gzip\"", tag.trim_end_matches('"'));
        let done = write.send(&api, "if-match", &format!("\"other\", {coded}")).await;
        assert!(done.status.is_success(), "{shown}: {}", done.text);
        assert!(api.node.head_position() > head, "{shown}: it was done");
    }
}

#[tokio::test]
async fn tag_of_a_write_equals_the_tag_of_the_next_read() {
    let api = TestApi::new();
    for path in [KEY, "/api/v1/vars/sync.cursor"] {
        let put = async |name: &str, value: &str| {
            let body = json!({ "value": "a value, long enough" });
            api.ask(Method::PUT, path).by("admin").with(name, value).json(&body).answer().await
        };
        let made = put("if-none-match", "*").await.expect(201).header("etag").unwrap().to_owned();
        assert_eq!(made, tag(&api, path).await, "{path}");
        let second = put("if-match", &made).await.expect(200).header("etag").unwrap().to_owned();
        assert_ne!(second, made, "{path}");
        put("if-match", &second).await.expect(200);
        put("if-match", &made).await.expect_problem(412, "precondition_failed");
    }
}

#[tokio::test]
async fn each_documented_write_supports_conditions_or_rejects_them() {
    let api = TestApi::new();
    let mut heeding = 0;
    for route in api.front.routes() {
        if !matches!(route.method, Method::POST | Method::PUT | Method::DELETE) || route.demands == Demand::Nothing {
            continue;
        }
        let (head, path) = (api.node.head_position(), fill_path(&route.path));
        let body = match path.rsplit('/').next() {
            Some("settle") => json!({ "outcome": "succeeded" }),
            Some("respond") => json!({ "answer": true }),
            Some("rotate") => json!({ "generate": { "bytes": 32 }, "overlap": "1h" }),
            Some("demo.secret" | "sync.cursor") => json!({ "value": "a value, long enough" }),
            Some("nobody") if path.contains("/roles/") => json!({ "permissions": [] }),
            _ => json!({}),
        };
        let send = |name: &str, value: &str| api.ask(route.method.clone(), &path).by("admin").with(name, value).json(&body).answer();
        let answer = send("if-match", "\"other\"").await;
        match answer.status.as_u16() {
            412 => heeding += 1,
            400 => {
                answer.expect_problem(400, "condition_invalid");
                send("if-match", "*").await.expect_problem(400, "condition_invalid");
                send("if-none-match", "*").await.expect_problem(400, "condition_invalid");
            }
            other => panic!("{} {path}: {other} {}", route.method, answer.text),
        }
        assert_eq!(api.node.head_position(), head, "{} {path}: nothing was done", route.method);
    }
    assert_eq!(heeding, 23, "as the reference says");
}

#[tokio::test]
async fn if_match_never_creates_and_if_none_match_never_replaces() {
    let api = TestApi::new();
    set(&api, &[("if-match", "*")]).await.expect_problem(412, "precondition_failed");
    set(&api, &[("if-match", "\"other\"")]).await.expect_problem(412, "precondition_failed");
    api.get(KEY).by("admin").answer().await.expect_problem(404, "not_found");
    set(&api, &[("if-none-match", "*")]).await.expect(201);
    let first = tag(&api, KEY).await;
    set(&api, &[("if-none-match", "*")]).await.expect_problem(412, "precondition_failed");
    assert_eq!(tag(&api, KEY).await, first);
    set(&api, &[("if-match", "*")]).await.expect(200);
    assert_ne!(tag(&api, KEY).await, first, "a key that is set again has another tag, even with the same value");
    set(&api, &[("if-match", "*"), ("if-none-match", "*")]).await.expect_problem(400, "condition_invalid");
    set(&api, &[("if-none-match", &first)]).await.expect_problem(400, "condition_invalid");
    // A key that was removed and set again differs from the one read before.
    api.ask(Method::DELETE, KEY).by("admin").with("if-match", "*").answer().await.expect(204);
    api.ask(Method::DELETE, KEY).by("admin").with("if-match", "*").answer().await.expect_problem(412, "precondition_failed");
    set(&api, &[("if-none-match", "*")]).await;
    set(&api, &[("if-match", &first)]).await.expect_problem(412, "precondition_failed");
    for absent in ["/api/v1/rules/demo.nothing/disable", "/api/v1/parked_reactions/4711/retry"] {
        api.post(absent).by("admin").with("if-match", "*").answer().await.expect_problem(412, "precondition_failed");
        api.post(absent).by("admin").answer().await.expect_problem(404, "not_found");
        // Errors in the request come first.
        let misspelt = format!("{absent}?dry_run=yes");
        api.post(&misspelt).by("admin").with("if-match", "*").answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_writes_with_the_same_tag_succeeds() {
    let api = TestApi::new();
    set(&api, &[]).await.expect(201);
    for round in 0..20 {
        let read = tag(&api, KEY).await;
        let headers = [("if-match", read.as_str())];
        let all = futures_util::future::join_all((0..16).map(|_| set(&api, &headers))).await;
        let mut statuses: Vec<u16> = all.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (200, [412; 15].as_slice()), "round {round}");
        assert_eq!(api.get(KEY).by("admin").answer().await.json()["version"], round + 2);
    }
    api.ask(Method::DELETE, KEY).by("admin").answer().await.expect(204);
    let all = futures_util::future::join_all((0..16).map(|_| set(&api, &[("if-none-match", "*")]))).await;
    assert_eq!(all.iter().filter(|answer| answer.status.is_success()).count(), 1, "one makes it");
}

#[tokio::test]
async fn repeated_idempotency_key_returns_the_first_answer_despite_a_new_tag() {
    let mut api = TestApi::new();
    let id = api.post(ECHO).by("admin").json(&json!({ "params": { "message": "hi" } })).answer().await.expect(202).json()["id"].clone();
    let path = format!("/api/v1/executions/{}", id.as_str().unwrap());
    let read = tag(&api, &path).await;
    let cancel = async |api: &TestApi, key: &str| {
        let asked = api.post(&format!("{path}/cancel")).by("admin").with("if-match", &read).with("idempotency-key", key);
        asked.json(&json!({})).answer().await
    };
    let first = cancel(&api, "1").await.expect(202).text;
    assert_ne!(tag(&api, &path).await, read);
    assert_eq!(cancel(&api, "1").await.expect(202).text, first);
    api.restart();
    assert_eq!(cancel(&api, "1").await.expect(202).text, first);
    cancel(&api, "2").await.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn idempotency_key_can_be_reused_after_a_failed_precondition() {
    let api = TestApi::new();
    let disable = async |tag: &str| {
        api.post("/api/v1/rules/demo.greet/disable").by("admin").with("idempotency-key", "1").with("if-match", tag).answer().await
    };
    disable("\"other\"").await.expect_problem(412, "precondition_failed");
    disable(&tag(&api, "/api/v1/rules/demo.greet").await).await.expect(200);
}

#[tokio::test]
async fn dry_run_checks_the_condition_too() {
    let api = TestApi::new();
    let path = "/api/v1/rules/demo.greet";
    let read = tag(&api, path).await;
    let head = api.node.head_position();
    let tried = async |tag: &str| api.post(&format!("{path}/disable?dry_run=true")).by("admin").with("if-match", tag).answer().await;
    tried("\"other\"").await.expect_problem(412, "precondition_failed");
    tried(&read).await.expect(204);
    assert_eq!(api.node.head_position(), head);
}

#[tokio::test]
async fn tag_of_a_rule_changes_with_its_activity() {
    let api = TestApi::new();
    let path = "/api/v1/rules/demo.greet";
    let read = tag(&api, path).await;
    api.event("ana").await;
    let disable = api.post(&format!("{path}/disable")).by("admin").with("if-match", &read);
    disable.answer().await.expect_problem(412, "precondition_failed");
    let disable = api.post(&format!("{path}/disable")).by("admin").with("if-match", &tag(&api, path).await);
    disable.answer().await.expect(200);
}

#[tokio::test]
async fn other_errors_keep_their_order_before_the_precondition() {
    let api = TestApi::new();
    let mark = ("if-match", "\"other\"");
    api.ask(Method::PUT, KEY).with(mark.0, mark.1).json(&json!({ "value": "x" })).answer().await.expect_problem(401, "unauthenticated");
    let body = api.ask(Method::PUT, KEY).by("admin").with(mark.0, mark.1).json(&json!({ "value": 1 }));
    body.answer().await.expect_problem(422, "body_invalid");
    let id = api.execution().await;
    api.node.succeed(&id, "{}");
    let ended = format!("/api/v1/executions/{id}");
    let read = tag(&api, &ended).await;
    let cancel = async |tag: &str| api.post(&format!("{ended}/cancel")).by("admin").with("if-match", tag).answer().await;
    cancel(&read).await.expect_problem(409, "execution_not_open");
    cancel("\"other\"").await.expect_problem(412, "precondition_failed");
}

#[tokio::test(start_paused = true)]
async fn conditional_write_is_not_confirmed_while_the_views_lag() {
    let api = TestApi::new();
    set(&api, &[]).await.expect(201);
    let read = tag(&api, KEY).await;
    api.node.hold_views();
    set(&api, &[]).await.expect(200);
    set(&api, &[("if-match", &read)]).await.expect_problem(503, "view_behind");
    set(&api, &[]).await.expect(200);
}
