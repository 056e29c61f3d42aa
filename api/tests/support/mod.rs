//! A node small enough for a test: the real core, real views and real signatures, all in memory; no worker
//! runs anything.

pub(crate) mod clock;
pub(crate) mod contract;
#[path = "../../../tests/support/no_logins.rs"]
mod no_logins;
mod node;
mod packs;
mod workflows;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use ensue_api::{Front, Hosts, Limits, Ports, Queues, Rates, Settings};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use no_logins::NoLogins;
pub(crate) use node::{ENDLESS_RULE, NOON, TestNode};

/// The key that signs the deliveries of the hook `demo.gate`.
pub(crate) const GATE_SECRET: &str = "a-secret-of-thirty-two-characters";

/// The API over a small node.
pub(crate) struct TestApi {
    pub(crate) node: Arc<TestNode>,
    pub(crate) front: Front,
}

/// An answer, read completely.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Requires a well-formed problem with this code.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem:#}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/docs/errors/{}", code.replace('_', "-")));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty() && title != code), "{problem:#}");
        let known = ["type", "title", "status", "detail", "instance", "code", "errors", "hint", "request_id"];
        let fields = problem.as_object().unwrap();
        let of_quotas = ["what", "limit", "used", "resets_at"];
        let is_known = |field: &str| known.contains(&field) || (code == "quota_exceeded" && of_quotas.contains(&field));
        assert!(fields.keys().all(|field| is_known(field)), "{problem:#}");
        if status == 500 {
            assert!(["detail", "instance", "hint", "errors"].iter().all(|field| !fields.contains_key(*field)), "{problem:#}");
        } else {
            assert!(problem["instance"].as_str().is_some_and(|instance| instance.starts_with('/')), "{problem:#}");
        }
        if status == 503 || status == 429 {
            assert!(self.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "Retry-After is missing");
        }
        problem
    }
}

/// A request being built.
pub(crate) struct TestRequest<'a> {
    api: &'a TestApi,
    request: axum::http::request::Builder,
    body: Body,
}

impl TestRequest<'_> {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn bearing(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn by(self, role: &str) -> Self {
        let token = self.api.node.token_of(role);
        self.bearing(&token)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        Self { body: Body::from(body.to_string()), ..self.with("content-type", "application/json") }
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Returns the answer with its body unread, after comparing it with the OpenAPI document.
    pub(crate) async fn response(self) -> Response<Body> {
        self.send().await.0
    }

    async fn send(self) -> (Response<Body>, Option<contract::DocumentedAnswer>) {
        let request = self.request.body(self.body).unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.api.front.clone().oneshot(request).await.unwrap();
        let told = contract::demand_documented(&method, &path, response.status(), response.headers());
        (response, told)
    }

    /// Returns the answer, after comparing it with the OpenAPI document.
    pub(crate) async fn answer(self) -> Answer {
        let (response, told) = self.send().await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() };
        if let Some(told) = told {
            told.demand_body(&answer);
        }
        answer
    }
}

impl TestApi {
    pub(crate) fn new() -> Self {
        Self::within(Limits::default())
    }

    /// Creates a node whose pack has other contents of a file.
    pub(crate) fn with_file(path: &str, text: &str) -> Self {
        let node = Arc::new(TestNode::with_file(path, text));
        let front = Self::front(&node, Limits::default(), Queues::with(|_| 1_000_000_000));
        Self { node, front }
    }

    pub(crate) fn within(limits: Limits) -> Self {
        Self::with(limits, Queues::with(|_| 1_000_000_000))
    }

    /// Creates a node whose queues have these limits.
    pub(crate) fn with_queues(queues: Queues) -> Self {
        Self::with(Limits::default(), queues)
    }

    /// The same with request limits.
    pub(crate) fn within_queues(limits: Limits, queues: Queues) -> Self {
        Self::with(limits, queues)
    }

    /// Creates a node with rate limits.
    pub(crate) fn with_rates(rates: Rates) -> Self {
        let node = Arc::new(TestNode::new());
        let front = Self::front_of(&node, Settings { rates, ..Self::settings(Limits::default(), Queues::with(|_| 1_000_000_000)) });
        Self { node, front }
    }

    /// Creates a node with changed settings.
    pub(crate) fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let node = Arc::new(TestNode::new());
        let mut settings = Self::settings(Limits::default(), Queues::with(|_| 1_000_000_000));
        change(&mut settings);
        let front = Self::front_of(&node, settings);
        Self { node, front }
    }

    fn with(limits: Limits, queues: Queues) -> Self {
        let node = Arc::new(TestNode::new());
        let front = Self::front(&node, limits, queues);
        Self { node, front }
    }

    /// Opens a new API over the same log, as a restart of the node does.
    pub(crate) fn restart(&mut self) {
        self.front = Self::front(&self.node, Limits::default(), Queues::with(|_| 1_000_000_000));
    }

    fn front(node: &Arc<TestNode>, limits: Limits, queues: Queues) -> Front {
        Self::front_of(node, Self::settings(limits, queues))
    }

    fn front_of(node: &Arc<TestNode>, settings: Settings) -> Front {
        Front::new(Self::ports(node), settings)
    }

    fn settings(limits: Limits, queues: Queues) -> Settings {
        Settings {
            base_url: "https://ensue.example.test".to_owned(),
            hosts: Hosts::of("https://ensue.example.test", ["x".to_owned()]),
            release: "0.1.0-test".to_owned(),
            addresses: ensue_api::Addresses::trusting(Vec::new(), ensue_api::ProxyHeader::default()),
            cors: ensue_api::Cors::default(),
            cursor_key: [7; 32],
            limits,
            queues,
            rates: Rates::default(),
            blocking: ensue_api::Blocking::Pool,
            page: ensue_api::PageServing::On,
            features: std::collections::BTreeSet::from([ensue_api::Feature::Tls]),
        }
    }

    fn ports(node: &Arc<TestNode>) -> Ports {
        Ports {
            submit: node.clone(),
            installed: node.clone(),
            backtests: node.clone(),
            replays: node.clone(),
            views: Arc::new(node.views()),
            views_at: node.views_at(),
            views_follower: node.clone(),
            ends: node.ends.clone(),
            changes: node.changes.clone(),
            deliveries: Arc::default(),
            log: node.clone(),
            outputs: node.clone(),
            blobs: Arc::new(node.blobs.clone()),
            webhooks: node.clone(),
            sensors: node.clone(),
            connections: node.clone(),
            event_maker: node.clone(),
            access: node.clone(),
            keys: node.clone(),
            tokens: node.clone(),
            usage: node.clone(),
            people: node.clone(),
            refusals: node.clone(),
            sessions: node.clone(),
            passwords: node.clone(),
            issuers: node.clone(),
            vouching: Arc::new(NoLogins),
            logins: Arc::new(NoLogins),
            devices: node.clone(),
            node: node.clone(),
            spans: None,
        }
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> TestRequest<'_> {
        TestRequest { api: self, request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    pub(crate) fn get(&self, path: &str) -> TestRequest<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> TestRequest<'_> {
        self.ask(Method::POST, path)
    }

    /// Sends an event and returns its id.
    pub(crate) async fn event(&self, name: &str) -> String {
        let given = serde_json::json!({ "trigger": "demo.hello", "payload": { "name": name } });
        let sent = self.post("/api/v1/events").by("admin").json(&given).answer().await.expect(202);
        sent.json()["id"].as_str().unwrap().to_owned()
    }

    /// Runs an action and returns the execution's id.
    pub(crate) async fn execution(&self) -> String {
        let started =
            self.post("/api/v1/actions/core.echo/execute").by("admin").json(&serde_json::json!({ "params": { "message": "hi" } }));
        started.answer().await.expect(202).json()["id"].as_str().unwrap().to_owned()
    }

    /// Creates an indeterminate execution and returns its id.
    pub(crate) async fn indeterminate(&self) -> String {
        let run = self.post("/api/v1/actions/core.shell/execute").by("admin").json(&serde_json::json!({ "params": { "script": "true" } }));
        let id = run.answer().await.expect(202).json()["id"].as_str().unwrap().to_owned();
        self.node.lose(&id);
        id
    }

    /// Opens an inquiry to an admin and returns its id.
    pub(crate) async fn inquiry(&self) -> String {
        self.inquiry_of("ana.admin").await
    }

    /// Adds the identity `ana`, who may do everything, and opens the session of a link for her. Returns the inquiry and the
    /// cookie.
    pub(crate) async fn open_link_session(&self) -> (String, String) {
        let post = async |path: &str, body: serde_json::Value| self.post(path).by("admin").json(&body).answer().await.expect(201);
        post("/api/v1/identities", serde_json::json!({ "name": "ana" })).await;
        post("/api/v1/grants", serde_json::json!({ "subject": "identity:ana", "role": "admin" })).await;
        let inquiry = self.inquiry_of("ana").await;
        let link = post(&format!("/api/v1/inquiries/{inquiry}/links"), serde_json::json!({ "for": "ana" })).await.json();
        let opened = post("/api/v1/inquiries/links/open", serde_json::json!({ "code": link["code"] })).await;
        let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        (inquiry, cookie)
    }

    /// Opens an inquiry to somebody and returns its id.
    pub(crate) async fn inquiry_of(&self, name: &str) -> String {
        let params = serde_json::json!({ "title": "Go on?", "answer": {}, "assignees": [name], "digest": "optional" });
        let run = self.post("/api/v1/actions/core.inquiry/execute").by("admin").json(&serde_json::json!({ "params": params }));
        run.answer().await.expect(202).json()["inquiry"].as_str().unwrap().to_owned()
    }

    /// Parks a reaction, and returns the record that it is owed to.
    pub(crate) async fn park_reaction(&self) -> u64 {
        let event = self.event("ana").await;
        let shown = self.get(&format!("/api/v1/events/{event}")).by("admin").answer().await.expect(200).json();
        let of = shown["position"].as_u64().unwrap();
        self.node.park(of);
        of
    }
}

/// An id that does not exist.
const NOTHING: &str = "01980000-0000-7000-8000-0000000000ff";

/// Returns a route's path with its parameters replaced by names of existing resources, if there are any.
pub(crate) fn fill_path(path: &str) -> String {
    let reference = match path.split('/').nth(3) {
        Some("actions") => "core.echo",
        Some("triggers") => "demo.hello",
        Some("sensors") => "demo.door",
        Some("rules") => "demo.greet",
        Some("keys") => "demo.secret",
        _ => "nothing.here",
    };
    path.replace("{ref}", reference)
        .replace("/vars/{name}", "/vars/sync.cursor")
        .replace("{pack}", "demo")
        .replace("{sensor}", "door")
        .replace("{id}", NOTHING)
        .replace("{artifact}", NOTHING)
        .replace("{path}", "pack.yaml")
        .replace("{other}", NOTHING)
        .replace("{name}", "nobody")
        .replace("{position}", "1")
        .replace("{slug}", "forbidden")
}

/// Returns the token of an attempt.
pub(crate) fn token_of_attempt(execution: &str, number: u32) -> String {
    format!("ensp_{execution}_{number}_{}", hex::encode(node::PROGRAM_MARK))
}

/// The name of the token with one role.
pub(crate) fn token_name(role: &str) -> String {
    format!("ana.{role}")
}

/// The random bits of the id for a name.
fn entropy(name: &str) -> u128 {
    let digest = ensue_engine::record::Digest::of(name.as_bytes());
    u128::from_le_bytes(digest.as_bytes()[..16].try_into().unwrap())
}
