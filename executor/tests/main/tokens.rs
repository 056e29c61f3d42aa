//! Tokens of OAuth 2.0: what connections ask for, how long they use it, and when they ask again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ensue_engine::names::{ConnectionName, KeyRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_executor::EgressPolicy;
use ensue_executor::connections::{
    BreakerSettings, ConnectionErrorKind, ConnectionSettings, ConnectionTestOutcome, ConnectionUser, Connections, ConnectionsHost,
    Endpoint, HttpAuth, HttpEndpoint, OAuthClient, UNUSED_FOR,
};
use ensue_executor::ports::KeyError;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::server::{ReceivedRequest, Server, json_answer};
use crate::world::{HandClock, NOON};

/// A server that issues tokens and accepts them, a connection to it, and the clock of the worker.
struct Site {
    connections: Connections,
    server: Server,
    clock: Arc<HandClock>,
}

/// The same secret is stored under every key.
struct OneSecret;

impl ConnectionsHost for OneSecret {
    fn open(&self, _: &KeyRef, _: &ConnectionUser) -> Result<Option<Secret>, KeyError> {
        Ok(Some(Secret::new(b"s3cret & more".to_vec())))
    }

    fn now(&self) -> Timestamp {
        NOON
    }
}

fn orders() -> ConnectionName {
    "orders".parse().unwrap()
}

impl Site {
    async fn start(change: impl FnOnce(&mut OAuthClient), answer: impl Fn(&ReceivedRequest) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let server = Server::start(answer).await;
        let mut client = OAuthClient {
            token_url: server.url("/token").parse().unwrap(),
            client_id: "shop/1".into(),
            client_secret: "test.secret".parse().unwrap(),
            scopes: Vec::new(),
            audience: None,
        };
        change(&mut client);
        let http = HttpEndpoint {
            url: server.url("/api").parse().unwrap(),
            auth: HttpAuth::OAuth2(Box::new(client)),
            headers: HeaderMap::new(),
            ca: None,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            test_path: None,
        };
        let settings =
            ConnectionSettings { endpoint: Endpoint::Http(Box::new(http)), packs: None, max: 4, breaker: BreakerSettings::default() };
        let clock = Arc::new(HandClock::default());
        let egress = EgressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
        let connections = Connections::new(BTreeMap::from([(orders(), settings)]), egress, clock.clone(), Arc::new(OneSecret));
        Self { connections, server, clock }
    }

    /// Uses the connection once.
    async fn test(&self) -> ConnectionTestOutcome {
        self.connections.test(&orders()).await.unwrap()
    }

    /// Returns the requests for tokens.
    fn token_requests(&self) -> Vec<ReceivedRequest> {
        self.server.requests().into_iter().filter(|asked| asked.line().starts_with("POST /token ")).collect()
    }

    /// Uses the connection after a while. Returns how many tokens were asked for so far.
    async fn tokens_after(&self, seconds: u64) -> usize {
        self.clock.advance(Duration::from_secs(seconds));
        let tested = self.test().await;
        assert_eq!(tested.error, None, "{}", tested.message);
        self.token_requests().len()
    }
}

/// Answers with a token, whatever is asked.
fn token(fields: serde_json::Value) -> impl Fn(&ReceivedRequest) -> Vec<u8> + Send + Sync + 'static {
    move |_| json_answer("200 OK", &fields.to_string())
}

#[tokio::test]
async fn token_is_used_until_half_a_minute_before_its_end_or_half_its_life() {
    for (answer, used_for) in [
        (json!({ "access_token": "t", "expires_in": 100 }), 70),
        (json!({ "access_token": "t", "expires_in": 20 }), 10),
        (json!({ "access_token": "t" }), 270),
        (json!({ "access_token": "t", "expires_in": -1 }), 270),
    ] {
        let site = Site::start(|_| {}, token(answer.clone())).await;
        assert_eq!(site.tokens_after(0).await, 1, "{answer}");
        assert_eq!(site.tokens_after(used_for - 1).await, 1, "{answer}: it is asked for too early");
        assert_eq!(site.tokens_after(1).await, 2, "{answer}: it is used too long");
    }
}

#[tokio::test]
async fn request_for_a_token_has_all_scopes_the_audience_and_encoded_credentials() {
    let change = |client: &mut OAuthClient| {
        client.scopes = vec!["orders:read".into(), "orders:write".into()];
        client.audience = Some("https://shop.example.test".into());
    };
    let site = Site::start(change, token(json!({ "access_token": "t" }))).await;
    site.tokens_after(0).await;
    let asked = &site.token_requests()[0];
    assert_eq!(asked.body, "grant_type=client_credentials&scope=orders%3Aread+orders%3Awrite&audience=https%3A%2F%2Fshop.example.test");
    // `shop%2F1:s3cret+%26+more`
    assert_eq!(asked.header("authorization"), Some("Basic c2hvcCUyRjE6czNjcmV0KyUyNittb3Jl"));
    let site = Site::start(|_| {}, token(json!({ "access_token": "t" }))).await;
    site.tokens_after(0).await;
    assert_eq!(site.token_requests()[0].body, "grant_type=client_credentials", "nothing is asked for that is not set");
}

#[tokio::test]
async fn rejected_token_is_forgotten_and_an_accepted_one_is_used_again() {
    let issued = AtomicU32::new(0);
    let site = Site::start(
        |_| {},
        move |asked| match asked.header("authorization") {
            Some("Bearer t0") => json_answer("401 Unauthorized", "{}"),
            Some("Bearer t1") => json_answer("200 OK", "{}"),
            _ => json_answer("200 OK", &json!({ "access_token": format!("t{}", issued.fetch_add(1, Ordering::Relaxed)) }).to_string()),
        },
    )
    .await;
    assert_eq!(site.test().await.error, Some(ConnectionErrorKind::Auth));
    assert_eq!(site.tokens_after(0).await, 2);
    assert_eq!(site.tokens_after(0).await, 2);
}

#[tokio::test]
async fn answer_without_a_usable_token_says_what_is_wrong() {
    let long = "x".repeat(65 << 10);
    for (status, body, kind, message) in [
        ("400 Bad Request", "{}", ConnectionErrorKind::Auth, "answered 400"),
        ("403 Forbidden", "{}", ConnectionErrorKind::Auth, "answered 403"),
        ("404 Not Found", "{}", ConnectionErrorKind::Protocol, "answered 404"),
        ("500 Internal Server Error", "{}", ConnectionErrorKind::Server, "answered 500"),
        ("200 OK", "{}", ConnectionErrorKind::Protocol, "not JSON with `access_token`"),
        ("200 OK", r#"{"access_token":"t","token_type":"mac"}"#, ConnectionErrorKind::Protocol, "not of the type `bearer`"),
        ("200 OK", &*long, ConnectionErrorKind::Protocol, "more than 65536 bytes"),
    ] {
        let answer = json_answer(status, body);
        let site = Site::start(|_| {}, move |_| answer.clone()).await;
        let tested = site.test().await;
        assert_eq!(tested.error, Some(kind), "{}", tested.message);
        assert!(tested.message.contains(message), "{}", tested.message);
    }
}

#[tokio::test]
async fn pool_is_kept_for_ten_minutes_after_its_last_use() {
    let site = Site::start(|_| {}, token(json!({ "access_token": "t", "expires_in": 86_400 }))).await;
    assert_eq!(site.tokens_after(0).await, 1);
    site.clock.advance(UNUSED_FOR - Duration::from_secs(1));
    site.connections.close_unused();
    assert_eq!(site.tokens_after(0).await, 1, "its token is kept with it");
    site.clock.advance(UNUSED_FOR);
    site.connections.close_unused();
    assert_eq!(site.tokens_after(0).await, 2);
}

#[tokio::test]
async fn pool_is_kept_during_a_use_that_is_longer_than_ten_minutes() {
    let hangs = Arc::new(AtomicBool::new(true));
    let is_hanging = hangs.clone();
    let site = Site::start(
        |_| {},
        move |asked| match asked.line().starts_with("POST /token ") {
            true => json_answer("200 OK", &json!({ "access_token": "t", "expires_in": 86_400 }).to_string()),
            false if is_hanging.load(Ordering::Relaxed) => Vec::new(),
            false => json_answer("200 OK", "{}"),
        },
    )
    .await;
    let until_it_hangs = async {
        while site.server.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut using = Box::pin(site.test());
    tokio::select! {
        tested = &mut using => panic!("it ended: {}", tested.message),
        hung = tokio::time::timeout(Duration::from_secs(60), until_it_hangs) => hung.expect("the server is asked"),
    }
    hangs.store(false, Ordering::Relaxed);
    site.clock.advance(UNUSED_FOR);
    site.connections.close_unused();
    drop(using);
    assert_eq!(site.tokens_after(0).await, 1, "its token is kept with it");
}
