//! Permissions: which caller may do what.

use axum::http::Method;
use ensue_api::routes::{BASE, Demand, Public, Route};
use ensue_engine::access::permission::BuiltInRole;

use crate::support::{TestApi, fill_path, token_of_attempt};

/// Every built-in role, and an example of another.
fn roles() -> impl Iterator<Item = &'static str> {
    BuiltInRole::ALL.map(BuiltInRole::name).into_iter().chain(["release_managers"])
}

#[tokio::test]
async fn routes_allow_the_roles_of_the_permission_table() {
    let mut matrix = String::from("route: nobody, garbage");
    for role in roles() {
        matrix.push_str(&format!(", {role}"));
    }
    matrix.push_str(", link session: another/its inquiry, program of {id}\n");
    for route in TestApi::new().front.routes() {
        let path = fill_path(&route.path);
        // A separate node for each: one caller's changes must not affect the next.
        let api = TestApi::new();
        let ask = || api.ask(route.method.clone(), &path).json(&serde_json::json!({}));
        // A stream has a status and no end, so its body is not read.
        let mut statuses = vec![ask().response().await.status().as_u16(), ask().bearing("nothing").response().await.status().as_u16()];
        for role in roles() {
            let api = TestApi::new();
            let asked = api.ask(route.method.clone(), &path).json(&serde_json::json!({})).by(role);
            statuses.push(asked.response().await.status().as_u16());
        }
        let in_link = [link_session(route, WhichInquiry::Another).await, link_session(route, WhichInquiry::Own).await];
        if route.demands != Demand::Nothing {
            let is_served = ["/me", "/inquiries/{id}", "/inquiries/{id}/why", "/inquiries/{id}/respond"]
                .iter()
                .any(|path| route.path == format!("{BASE}{path}"));
            let has_id = route.path.contains("{id}");
            assert_eq!(in_link.map(|status| status == 401), [!is_served || has_id, !is_served], "{} {}", route.method, route.path);
        }
        let demand = match route.demands {
            Demand::Nothing => "public".to_owned(),
            Demand::Token => "any token".to_owned(),
            Demand::Permission { name, .. } => name.to_owned(),
        };
        let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
        let [another, own] = in_link;
        let program = program(route).await;
        matrix.push_str(&format!("{} {} [{demand}]: {}, {another}/{own}, {program}\n", route.method, route.path, statuses.join(", ")));
    }
    insta::assert_snapshot!(matrix);
}

/// Sends a request by the program of an execution, which the path names, and returns the status of the answer.
async fn program(route: &Route) -> u16 {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = fill_path(&route.path.replace("{id}", &id));
    let asked = api.ask(route.method.clone(), &path).json(&serde_json::json!({}));
    asked.bearing(&token_of_attempt(&id, 1)).response().await.status().as_u16()
}

/// Which inquiry the path of a request names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhichInquiry {
    /// That of the link.
    Own,
    /// Another one, which asks the same person.
    Another,
}

/// Sends a request by the session of a link, and returns the status of the answer.
async fn link_session(route: &Route, which: WhichInquiry) -> u16 {
    let api = TestApi::new();
    let (own, cookie) = api.open_link_session().await;
    let id = if which == WhichInquiry::Own { own } else { api.inquiry_of("ana").await };
    let path = fill_path(&route.path.replace("{id}", &id));
    let asked = api.ask(route.method.clone(), &path).json(&serde_json::json!({}));
    let asked = asked.with("cookie", &cookie).with("ensue-page", "1").with("sec-fetch-site", "same-origin");
    asked.response().await.status().as_u16()
}

#[tokio::test]
async fn session_of_a_link_answers_its_inquiry_and_reaches_nothing_else() {
    let api = TestApi::new();
    let (own, cookie) = api.open_link_session().await;
    let other = api.inquiry_of("ana").await;
    let get = |path: String| api.get(&path).with("cookie", &cookie);
    get(format!("/api/v1/inquiries/{other}")).answer().await.expect_problem(401, "only_one_inquiry");
    get("/api/v1/inquiries".to_owned()).answer().await.expect_problem(401, "only_one_inquiry");
    // An id in another form is not another way to write it.
    get(format!("/api/v1/inquiries/{}", own.to_uppercase())).answer().await.expect_problem(401, "only_one_inquiry");
    let shown = get(format!("/api/v1/inquiries/{own}")).answer().await.expect(200).json();
    assert_eq!(shown["status"], "open", "reading it answers nothing");
    let me = get("/api/v1/me".to_owned()).answer().await.expect(200).json();
    assert_eq!((me["name"].as_str(), me["session"]["way"].as_str()), (Some("ana"), Some("link")));
    let answered = api.post(&format!("/api/v1/inquiries/{own}/respond")).with("cookie", &cookie).with("ensue-page", "1");
    let answered = answered.with("sec-fetch-site", "same-origin").json(&serde_json::json!({ "answer": {} })).answer().await.expect(200);
    assert_eq!(answered.json()["status"], "answered");
}

#[test]
fn public_routes_are_a_closed_list() {
    let api = TestApi::new();
    let public: Vec<String> = api
        .front
        .routes()
        .iter()
        .filter(|route| route.demands == Demand::Nothing)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let mut listed: Vec<String> = Public::ALL.iter().map(|public| format!("{} {}", public.method(), public.path())).collect();
    let mut known = vec![
        "GET /livez",
        "GET /health",
        "GET /readyz",
        "GET /ready",
        "POST /hooks/{pack}/{sensor}",
        "OPTIONS /hooks/{pack}/{sensor}",
        "GET /api/v1/public/status",
        "GET /docs",
        "GET /docs/{section}",
        "GET /docs/{section}/{page}",
        "GET /docs/search",
        "GET /docs/reference/openapi",
        "GET /api/v1/openapi.json",
        "POST /api/v1/sessions",
        "POST /api/v1/auth/login",
        "POST /api/v1/auth/refresh",
        "GET /api/v1/auth/jwks",
        "GET /api/v1/auth/oidc/start",
        "GET /api/v1/auth/oidc/callback/{issuer}",
        "POST /api/v1/auth/oidc/logout/{issuer}",
        "GET /auth/terminal",
        "POST /auth/terminal",
        "POST /api/v1/auth/device",
        "POST /api/v1/auth/device/token",
        "GET /auth/device",
        "POST /auth/device",
        "POST /api/v1/auth/reset",
        "POST /api/v1/inquiries/links/open",
    ];
    listed.sort();
    known.sort_unstable();
    let mut public = public;
    public.sort();
    assert_eq!(public, known);
    assert_eq!(listed, known);
}

#[tokio::test]
async fn path_tricks_never_bypass_permissions() {
    let api = TestApi::new();
    let games = [
        "/api/v1/keys/health",
        "/api/v1/keys/x-configs",
        "/api/v1/keys/configs",
        "/api/v1/keys/ready",
        "/api/v1/keys/metrics",
        "/api/v1/keys/docs",
        "/api/v1//keys",
        "/%61pi/v1/keys",
        "/api/v1/keys;/health",
        "/api/v1/health/../keys",
        "/livez/../api/v1/keys",
        "/docs/../api/v1/keys",
        "/api/v1/public/../keys",
        "/api/v1/public/keys",
        "/api/v1/keys/%2e%2e%2fhealth",
        "/API/V1/KEYS",
        "/api/v1/keys/",
        "/api/v1/keys.json",
        "/api/v1/keys%00",
        "/api/v1/keys%2f",
        "//api/v1/keys",
        "/hooks/../api/v1/keys",
        "/docs/errors/../../api/v1/keys",
        "/.git/config",
        "/.env",
        "/metrics",
        "/debug/pprof",
    ];
    for path in games {
        let answer = api.get(path).answer().await;
        assert!(matches!(answer.status.as_u16(), 401 | 404 | 405), "{path}: {} {}", answer.status, answer.text);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
}

#[tokio::test]
async fn method_override_has_no_effect() {
    let api = TestApi::new();
    let path = "/api/v1/rules/demo.greet";
    let overridden = api.get(path).by("admin").with("x-http-method-override", "DELETE").answer().await.expect(200);
    assert_eq!(overridden.json()["ref"], "demo.greet");
    for name in ["get", "Get", "TRACE", "CONNECT", "PROPFIND"] {
        let method = Method::from_bytes(name.as_bytes()).unwrap();
        let answer = api.ask(method, path).by("admin").answer().await;
        assert_eq!(answer.header("allow"), Some("GET,HEAD,OPTIONS"), "{name}");
        answer.expect_problem(405, "method_not_allowed");
    }
    // HEAD is GET without a body, and needs the same permissions.
    api.ask(Method::HEAD, path).answer().await.expect(401);
    assert_eq!(api.ask(Method::HEAD, path).by("viewer").answer().await.expect(200).text, "");
}

#[tokio::test]
async fn request_must_have_exactly_one_valid_token() {
    let api = TestApi::new();
    let token = api.node.token_of("admin");
    api.get("/api/v1/events").answer().await.expect_problem(401, "unauthenticated");
    let garbage = ["nothing", "ens_", "ens_x_y", &token[..token.len() - 1], &token.to_uppercase(), &format!("{token}x"), ""];
    for garbage in garbage {
        let answer = api.get("/api/v1/events").bearing(garbage).answer().await;
        assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
        answer.expect_problem(401, "token_invalid");
    }
    api.get("/api/v1/events").with("authorization", &format!("Basic {token}")).answer().await.expect_problem(401, "token_invalid");
    api.get("/api/v1/events").bearing(&token).bearing(&token).answer().await.expect_problem(400, "doubled_authorization");
    for query in ["token=x", "api_key=x", "access_token=x", &format!("trigger={token}")] {
        let path = format!("/api/v1/events?{query}");
        api.get(&path).bearing(&token).answer().await.expect_problem(400, "token_in_url");
    }
    // Cookies are ignored, whatever they contain.
    api.get("/api/v1/events").with("cookie", &format!("token={token}")).answer().await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn revoked_token_is_rejected() {
    let api = TestApi::new();
    api.get("/api/v1/events").by("viewer").answer().await.expect(200);
    api.node.revoke("viewer");
    api.get("/api/v1/events").by("viewer").answer().await.expect_problem(401, "token_invalid");
}

#[tokio::test]
async fn resource_without_read_permission_is_not_found() {
    let api = TestApi::new();
    let value = serde_json::json!({ "value": "s3cret, long enough" });
    api.ask(Method::PUT, "/api/v1/keys/demo.secret").by("admin").json(&value).answer().await.expect(201);
    let there = api.get("/api/v1/keys/demo.secret").by("viewer").answer().await.expect_problem(404, "not_found");
    let not_there = api.get("/api/v1/keys/demo.nothing").by("viewer").answer().await.expect_problem(404, "not_found");
    assert_eq!(there["detail"].as_str().unwrap().replace("secret", "nothing"), not_there["detail"].as_str().unwrap());
    assert_eq!(there["hint"], not_there["hint"]);
    // The list itself is not secret, and neither is the fact that the caller may not see it.
    api.get("/api/v1/keys").by("viewer").answer().await.expect_problem(403, "forbidden");
    // A caller that may read a thing is told that it may not change it.
    api.post("/api/v1/rules/demo.greet/disable").by("viewer").answer().await.expect_problem(403, "forbidden");
    api.post("/api/v1/rules/demo.greet/disable").by("release_managers").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn record_names_its_actor_and_trace() {
    let api = TestApi::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    api.post("/api/v1/rules/demo.greet/disable").by("author").with("traceparent", trace).answer().await.expect(200);
    let record = api.node.newest();
    assert_eq!((record.kind(), record.actor.to_string()), ("rule.mode_set", "token/ana.author".to_owned()));
}
