//! Sessions of browsers: the cookie, the requests that count with it, and their end.

use axum::http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::support::{TestApi, TestRequest};

const SESSIONS: &str = "/api/v1/sessions";

/// Logs in with the token of a role, and returns the id of the session and its cookie.
async fn logged_in(api: &TestApi, role: &str) -> (String, String) {
    let token = api.node.token_of(role);
    let opened = api.post(SESSIONS).json(&json!({ "token": token })).answer().await.expect(201);
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    let set = opened.header("set-cookie").unwrap().to_owned();
    let (cookie, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=2592000");
    (opened.json()["id"].as_str().unwrap().to_owned(), cookie.to_owned())
}

/// Marks a request as one of a page of the node.
fn from_page<'a>(asked: TestRequest<'a>, cookie: &str) -> TestRequest<'a> {
    asked.with("cookie", cookie).with("ensue-page", "1").with("sec-fetch-site", "same-origin")
}

fn delete<'a>(api: &'a TestApi, session: &str) -> TestRequest<'a> {
    api.ask(Method::DELETE, &format!("{SESSIONS}/{session}"))
}

#[tokio::test]
async fn session_has_the_rights_of_its_token_until_it_ends() {
    let api = TestApi::new();
    let (id, cookie) = logged_in(&api, "viewer").await;
    let me = api.get("/api/v1/me").with("cookie", &cookie).answer().await.expect(200).json();
    assert_eq!((me["by"]["kind"].as_str(), me["by"]["id"].as_str()), (Some("session"), Some(id.as_str())));
    assert_eq!((me["session"]["current"].as_bool(), me["session"]["way"].as_str()), (Some(true), Some("token")));
    api.get("/api/v1/events").with("cookie", &cookie).answer().await.expect(200);
    api.get("/api/v1/keys").with("cookie", &cookie).answer().await.expect_problem(403, "forbidden");
    let ended = from_page(delete(&api, "current"), &cookie).json(&json!({})).answer().await.expect(204);
    assert!(ended.header("set-cookie").unwrap().ends_with("Max-Age=0"));
    assert_eq!(api.node.newest().kind(), "session.ended");
    api.get("/api/v1/events").with("cookie", &cookie).answer().await.expect_problem(401, "session_unknown");
}

#[tokio::test]
async fn public_status_says_whether_the_browser_is_logged_in() {
    let api = TestApi::new();
    let asked = async |cookie: &str| {
        let status = api.get("/api/v1/public/status").with("cookie", cookie).answer().await.expect(200).json();
        status["logged_in"].clone()
    };
    assert_eq!(asked("theme=dark").await, json!(false));
    let (_, cookie) = logged_in(&api, "viewer").await;
    assert_eq!(asked(&cookie).await, json!(true));
    let altered = format!("{}{}", &cookie[..cookie.len() - 1], if cookie.ends_with('0') { '1' } else { '0' });
    assert_eq!(asked(&altered).await, json!(false), "it has another secret");
    assert_eq!(asked("__Host-ensue=nonsense").await, json!(false));
    from_page(delete(&api, "current"), &cookie).json(&json!({})).answer().await.expect(204);
    assert_eq!(asked(&cookie).await, json!(false));
    let status = api.get("/api/v1/public/status").by("viewer").answer().await.expect(200).json();
    assert_eq!(status["logged_in"], json!(false), "a program knows whether it has a token");
}

#[tokio::test]
async fn each_login_has_a_new_id_whatever_cookie_came_with_it() {
    let api = TestApi::new();
    let (first, cookie) = logged_in(&api, "viewer").await;
    let token = api.node.token_of("viewer");
    let again = api.post(SESSIONS).with("cookie", &cookie).json(&json!({ "token": token })).answer().await.expect(201);
    assert_ne!(again.json()["id"], first.as_str());
}

#[tokio::test]
async fn cookie_with_a_token_is_ambiguous_and_a_page_of_another_site_is_refused() {
    let api = TestApi::new();
    let (_, cookie) = logged_in(&api, "admin").await;
    let both = api.get("/api/v1/events").with("cookie", &cookie).by("admin");
    both.answer().await.expect_problem(400, "doubled_authorization");
    let event = json!({ "trigger": "demo.hello", "payload": { "name": "bo" } });
    from_page(api.post("/api/v1/events"), &cookie).json(&event).answer().await.expect(202);
    let written = || api.post("/api/v1/events").with("cookie", &cookie).json(&event);
    written().answer().await.expect_problem(403, "origin_refused");
    written().with("ensue-page", "1").with("sec-fetch-site", "cross-site").answer().await.expect_problem(403, "origin_refused");
    let read = api.get("/api/v1/events").with("cookie", &cookie).with("sec-fetch-site", "cross-site");
    read.answer().await.expect_problem(403, "origin_refused");
}

#[tokio::test]
async fn wrong_token_opens_no_session_and_attempts_are_limited() {
    let api = TestApi::new();
    let wrong = format!("ens_01980000-0000-7000-8000-00000000000a_{}", "0".repeat(64));
    let attempt = || api.post(SESSIONS).json(&json!({ "token": wrong }));
    for _ in 0..20 {
        let refused = attempt().answer().await;
        assert_eq!(refused.header("set-cookie"), None);
        refused.expect_problem(401, "token_invalid");
    }
    attempt().answer().await.expect_problem(429, "rate_limited");
    let right = api.post(SESSIONS).json(&json!({ "token": api.node.token_of("admin") }));
    right.answer().await.expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn holder_ends_its_own_sessions_and_an_admin_ends_any() {
    let api = TestApi::new();
    let (_, cookie) = logged_in(&api, "viewer").await;
    let (others, _) = logged_in(&api, "operator").await;
    let own = api.get(SESSIONS).with("cookie", &cookie).answer().await.expect(200).json();
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    let all = format!("{SESSIONS}?all=true");
    api.get(&all).with("cookie", &cookie).answer().await.expect_problem(403, "forbidden");
    from_page(delete(&api, &others), &cookie).json(&json!({})).answer().await.expect_problem(404, "not_found");
    let listed = api.get(&all).by("admin").answer().await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    delete(&api, &others).by("admin").answer().await.expect(204);
    delete(&api, &others).by("admin").answer().await.expect_problem(404, "not_found");
    delete(&api, "current").by("admin").answer().await.expect_problem(404, "not_found");
}

#[tokio::test(start_paused = true)]
async fn stream_ends_with_its_session() {
    let api = TestApi::new();
    let (id, cookie) = logged_in(&api, "viewer").await;
    let stream = api.get("/api/v1/log/stream").with("cookie", &cookie).response().await;
    assert_eq!(stream.status().as_u16(), 200);
    delete(&api, &id).by("admin").answer().await.expect(204);
    let read = tokio::time::timeout(std::time::Duration::from_secs(1), stream.into_body().collect());
    let text = read.await.expect("the stream waits for nothing else").unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).ends_with("event: end\ndata: {\"reason\":\"not_allowed\"}\n\n"), "{text:?}");
}
