//! Connections: endpoints with credentials that packs use without reading a key.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, files_below};

const FIRST: &str = "canary-first-value-81c4f0";
const SECOND: &str = "canary-second-value-3b9d77a2";
const TOKEN: &str = "canary-issued-token-5e06";

/// What a server does with requests.
#[derive(Clone)]
struct Manners {
    /// The header that proves the sender, with its value.
    proof: (&'static str, String),
    /// The status of each answer, if it is not 200.
    fails: Option<u16>,
    /// The requests that it received.
    heads: Vec<String>,
}

/// A server on loopback, which checks who sends a request, and repeats what it was sent.
#[derive(Clone)]
struct Server {
    manners: Arc<Mutex<Manners>>,
    address: SocketAddr,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    fn start(proof: (&'static str, String)) -> Self {
        Self::start_with(proof, None)
    }

    fn start_with(proof: (&'static str, String), tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let manners = Arc::new(Mutex::new(Manners { proof, fails: None, heads: Vec::new() }));
        let server = Self { manners, address: listener.local_addr().unwrap() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (server, tls) = (serving.clone(), tls.clone());
                std::thread::spawn(move || {
                    let stream: Box<dyn Stream> = match tls {
                        Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)),
                        None => Box::new(stream),
                    };
                    server.serve(stream);
                });
            }
        });
        server
    }

    fn serve(&self, stream: Box<dyn Stream>) {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let (status, more, said) = self.answer(&head, &String::from_utf8_lossy(&body));
        let answer = format!(
            "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{said}",
            said.len()
        );
        let _ = reader.get_mut().write_all(answer.as_bytes());
        let _ = reader.get_mut().flush();
    }

    fn answer(&self, head: &str, body: &str) -> (u16, &'static str, String) {
        let mut manners = self.manners.lock().unwrap();
        manners.heads.push(head.to_owned());
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/token" {
            let expected = format!("authorization: Basic {}", STANDARD.encode(format!("ensue:{FIRST}")));
            let is_right = head.lines().any(|line| line == expected) && body == "grant_type=client_credentials&scope=read+write";
            let said = json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600 });
            return if is_right { (200, "", said.to_string()) } else { (401, "", "{}".to_owned()) };
        }
        let proof = format!("{}: {}", manners.proof.0, manners.proof.1);
        if !head.lines().any(|line| line == proof) {
            return (401, "", json!({ "heard": head }).to_string());
        }
        if let Some(status) = manners.fails {
            return (status, "", "{}".to_owned());
        }
        match path {
            "/api/away" => (302, "location: /other\r\n", "{}".to_owned()),
            _ => (200, "", json!({ "path": path, "heard": head, "items": [{ "n": 1 }, { "n": 2 }] }).to_string()),
        }
    }

    fn expects(&self, name: &'static str, value: &str) {
        self.manners.lock().unwrap().proof = (name, value.to_owned());
    }

    fn fails(&self, with: Option<u16>) {
        self.manners.lock().unwrap().fails = with;
    }

    fn request_count(&self) -> usize {
        self.manners.lock().unwrap().heads.len()
    }
}

/// A place with the pack `shop`, whose actions use connections.
fn place(connections: &str) -> NodeFolder {
    let place = NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", "127.0.0.1");
    std::fs::write(place.path().join("ensue.yaml"), format!("connections:\n{connections}")).unwrap();
    place.write_pack_file(
        "shop/pack.yaml",
        "name: shop\nversion: 1.0.0\ndescription: Orders.\nconnections: [orders]\nconfig: { other: 'connection<http>?' }\nkeys: []\n",
    );
    place.write_pack_file(
        "shop/actions/get.yaml",
        "description: Gets an item.\nparameters: { path: string }\nrun: { http: { connection: orders, url: '/${{ params.path }}' } }\n",
    );
    place.write_pack_file(
        "shop/actions/any.yaml",
        "description: Gets an item from any server.\nparameters: { server: 'connection<http>', path: string }\n\
         run: { http: { connection: '${{ params.server }}', url: '${{ params.path }}' } }\n",
    );
    place
}

fn connection(name: &str, server: &Server, rest: &str) -> String {
    format!("  {name}: {{ http: {{ url: 'http://{}/api', {rest} }} }}\n", server.address)
}

async fn set_key(client: &Client, key: &str, value: &str) {
    let answer = client.request(Method::PUT, &format!("/api/v1/keys/{key}")).json(&json!({ "value": value })).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// Runs an action, and returns its result, or the kind and the message of its failure.
async fn run(client: &Client, action: &str, params: Value) -> Result<Value, (String, String)> {
    let execution = client.run(action, &params).await;
    if execution["status"] == "succeeded" {
        let id = execution["id"].as_str().unwrap();
        return Ok(client.get(&format!("/executions/{id}")).await["result"].clone());
    }
    let error = &execution["error"];
    Err((error["kind"].as_str().unwrap_or_default().to_owned(), error["message"].as_str().unwrap_or_default().to_owned()))
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

/// Fails if a secret is in what the node stored, said, or answers.
async fn nothing_leaked(place: &NodeFolder, node: &Node) {
    let client = node.client();
    let basic = STANDARD.encode(format!("app:{FIRST}"));
    let secrets = [FIRST, SECOND, TOKEN, basic.as_str()];
    let clean = |where_: &str, text: &str| {
        for secret in secrets {
            assert!(!text.contains(secret), "{where_} holds {secret}");
        }
    };
    for path in files_below(&place.data()).into_iter().chain(files_below(&place.path().join("state"))) {
        if let Ok(bytes) = std::fs::read(&path) {
            clean(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
    for path in ["/connections", "/executions?limit=200", "/doctor", "/audit?limit=200"] {
        clean(path, &client.get(path).await.to_string());
    }
    clean("the log", &json!(client.records().await).to_string());
    clean("what the node said", &node.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_credentials_reaches_its_server_and_leaks_nowhere() {
    let proofs = [
        ("auth: { bearer: { key: shop.token } }", ("authorization", format!("Bearer {FIRST}"))),
        (
            "auth: { basic: { user: app, password: { key: shop.token } } }",
            ("authorization", format!("Basic {}", STANDARD.encode(format!("app:{FIRST}")))),
        ),
        ("auth: { header: { name: X-Api-Key, prefix: 'Token ', value: { key: shop.token } } }", ("x-api-key", format!("Token {FIRST}"))),
    ];
    for (auth, proof) in proofs {
        let server = Server::start(proof);
        let place = place(&connection("orders", &server, &format!("{auth}, headers: {{ X-Shop: eu }}")));
        let node = place.start();
        let client = node.client();
        let unset = run(&client, "shop.get", json!({ "path": "items/7" })).await.unwrap_err();
        assert_eq!(unset.0, "key_missing", "{unset:?}");
        set_key(&client, "shop.token", FIRST).await;
        let result = run(&client, "shop.get", json!({ "path": "items/7" })).await.unwrap();
        assert_eq!(result["body"]["path"], "/api/items/7");
        let heard = result["body"]["heard"].as_str().unwrap();
        assert!(heard.contains("[redacted shop.token]") && heard.contains("x-shop: eu"), "{heard}");
        nothing_leaked(&place, &node).await;
        assert_eq!(node.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_oauth_is_fetched_once_and_again_after_it_was_rejected() {
    let server = Server::start(("authorization", format!("Bearer {TOKEN}")));
    let auth = format!(
        "auth: {{ oauth2: {{ token_url: 'http://{}/token', client_id: ensue, client_secret: {{ key: shop.client }}, scopes: [read, write] }} }}",
        server.address
    );
    let place = place(&connection("orders", &server, &auth));
    let node = place.start();
    let client = node.client();
    set_key(&client, "shop.client", FIRST).await;
    for _ in 0..2 {
        run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    }
    assert_eq!(server.request_count(), 3, "one request for a token, two for items");
    server.expects("authorization", "Bearer other");
    let rejected = run(&client, "shop.get", json!({ "path": "items" })).await.unwrap_err();
    assert_eq!(rejected.0, "http_status");
    server.expects("authorization", &format!("Bearer {TOKEN}"));
    run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    assert_eq!(server.request_count(), 6, "the token was forgotten when the server rejected it");
    set_key(&client, "shop.client", SECOND).await;
    let refused = run(&client, "shop.get", json!({ "path": "items" })).await.unwrap_err();
    assert!(refused.1.contains("token_url"), "{refused:?}");
    nothing_leaked(&place, &node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_key_is_used_by_the_next_request() {
    let server = Server::start(("authorization", format!("Bearer {FIRST}")));
    let place = place(&connection("orders", &server, "auth: { bearer: { key: shop.token } }"));
    let node = place.start();
    let client = node.client();
    set_key(&client, "shop.token", FIRST).await;
    run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    let opened = client.get("/connections/orders").await["opened_at"].clone();
    set_key(&client, "shop.token", SECOND).await;
    server.expects("authorization", &format!("Bearer {SECOND}"));
    run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    assert_ne!(client.get("/connections/orders").await["opened_at"], opened, "the pool was made again");
    nothing_leaked(&place, &node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_cannot_leave_the_address_of_its_connection() {
    let server = Server::start(("authorization", format!("Bearer {FIRST}")));
    let place = place(&connection("orders", &server, "auth: { bearer: { key: shop.token } }"));
    let node = place.start();
    let client = node.client();
    set_key(&client, "shop.token", FIRST).await;
    let away = run(&client, "shop.get", json!({ "path": "away" })).await.unwrap_err();
    assert_eq!(away.0, "egress_denied", "{away:?}");
    for path in ["/../other", "/%2e%2e/other", "http://127.0.0.1:1/api/x", "//127.0.0.1:1/x", "@127.0.0.1/x"] {
        let refused = run(&client, "shop.any", json!({ "server": "orders", "path": path })).await.unwrap_err();
        assert!(["egress_denied", "parameters_invalid"].contains(&refused.0.as_str()), "{path}: {refused:?}");
    }
    assert_eq!(server.request_count(), 1, "only the request that was redirected was sent");
    let whole = format!("http://{}/api/next?page=2", server.address);
    let next = run(&client, "shop.any", json!({ "server": "orders", "path": whole })).await.unwrap();
    assert_eq!(next["body"]["path"], "/api/next?page=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_down_opens_the_breaker_until_a_trial_succeeds() {
    let server = Server::start(("x-shop", "eu".to_owned()));
    let connections =
        connection("orders", &server, "headers: { X-Shop: eu }").replace("} }\n", "}, breaker: { failures: 3, open_for: 2s } }\n");
    let place = place(&connections);
    let node = place.start();
    let client = node.client();
    server.fails(Some(503));
    for _ in 0..3 {
        let failed = run(&client, "shop.get", json!({ "path": "items" })).await.unwrap_err();
        assert_eq!(failed.0, "http_status", "{failed:?}");
    }
    let paused = run(&client, "shop.get", json!({ "path": "items" })).await.unwrap_err();
    assert!(paused.0 == "network" && paused.1.contains("is paused after repeated failures"), "{paused:?}");
    assert_eq!(server.request_count(), 3, "nothing is sent while it is paused");
    let shown = client.get("/connections/orders").await;
    assert!(shown["breaker"] == "open" && shown["retry_at"].is_string(), "{shown}");
    assert_eq!(shown["last_error"]["kind"], "server");
    let doctor = client.get("/doctor").await;
    let finding = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "connections").unwrap().to_string();
    assert!(finding.contains("`orders` fails"), "{finding}");
    let metrics = client.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ensue_connection_state{connection=\"orders\"} 2"), "{metrics}");
    let listed = ensue(&place, &node, &["connections", "list"]);
    assert!(listed.stdout.contains("orders") && listed.stdout.contains("open"), "{listed:?}");
    assert_eq!(ensue(&place, &node, &["connections"]).stdout, listed.stdout);
    server.fails(None);
    client.until("/connections/orders", |shown| shown["breaker"] == "half_open").await;
    run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    assert_eq!(client.get("/connections/orders").await["breaker"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_packs_that_list_a_connection_and_are_allowed_to_use_it() {
    let server = Server::start(("x-shop", "eu".to_owned()));
    let both = connection("orders", &server, "headers: { X-Shop: eu }") + &connection("stock", &server, "headers: { X-Shop: eu }");
    let place = place(&both.replacen("} }\n", "}, packs: [shop] }\n", 1));
    place.write_pack_file(
        "rogue/pack.yaml",
        "name: rogue\nversion: 1.0.0\ndescription: Wants more.\nconnections: [orders]\nrequires: { packs: { shop: ^1 } }\n",
    );
    let steal = "description: Passes on what it may not use.\nresult: object\nrun:\n  workflow:\n    steps:\n      get: { action: shop.any, with: \
                 { server: '${{ params.server }}', path: /items } }\n    result: '${{ steps.get.result }}'\nparameters: { server: string }\n";
    place.write_pack_file("rogue/actions/steal.yaml", &steal.replace("result: object\n", ""));
    let node = place.start();
    let client = node.client();
    run(&client, "shop.get", json!({ "path": "items" })).await.unwrap();
    run(&client, "shop.any", json!({ "server": "orders", "path": "/items" })).await.unwrap();
    let unlisted = run(&client, "shop.any", json!({ "server": "stock", "path": "/items" })).await.unwrap_err();
    assert!(unlisted.0 == "egress_denied" && unlisted.1.contains("does not list it"), "{unlisted:?}");
    let unknown = run(&client, "shop.any", json!({ "server": "nowhere", "path": "/items" })).await.unwrap_err();
    assert!(unknown.1.contains("there is no connection `nowhere`"), "{unknown:?}");
    let heard = server.request_count();
    run(&client, "rogue.steal", json!({ "server": "stock" })).await.unwrap_err();
    assert_eq!(server.request_count(), heard);
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("does not let the pack `rogue` use the connection `orders`"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn core_http_takes_a_connection_that_the_caller_may_use() {
    let server = Server::start(("authorization", format!("Bearer {FIRST}")));
    let auth = "auth: { bearer: { key: shop.token } }";
    let place =
        place(&(connection("orders", &server, auth) + &connection("stock", &server, auth).replace("} }\n", "}, packs: [core] }\n")));
    place.write_pack_file(
        "shop/actions/through.yaml",
        "description: Gets items with core.http.\nparameters: { server: string }\nrun:\n  workflow:\n    steps:\n      get: { action: core.http, \
         with: { connection: '${{ params.server }}', url: /items, query: { page: 2 } } }\n    result: '${{ steps.get.result.body.path }}'\n",
    );
    place.write_pack_file(
        "shop/actions/fixed.yaml",
        "description: Gets items with core.http.\nrun:\n  workflow:\n    steps:\n      get: { action: core.http, with: { connection: orders, \
         url: /items } }\n    result: '${{ steps.get.result.body.path }}'\n",
    );
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    let node = place.start();
    let client = node.client();
    set_key(&client, "shop.token", FIRST).await;
    assert_eq!(run(&client, "shop.fixed", json!({})).await.unwrap(), "/api/items");
    assert_eq!(run(&client, "shop.through", json!({ "server": "orders" })).await.unwrap(), "/api/items?page=2");
    // `shop` does not list it, and the operator gave it to `core` only for people.
    let heard = server.request_count();
    run(&client, "shop.through", json!({ "server": "stock" })).await.unwrap_err();
    let unlisted = run(&client, "core.http", json!({ "connection": "orders", "url": "/items" })).await.unwrap_err();
    assert!(unlisted.0 == "egress_denied" && unlisted.1.contains("does not list it"), "{unlisted:?}");
    assert_eq!(server.request_count(), heard);
    let by_a_person = run(&client, "core.http", json!({ "connection": "stock", "url": "/items" })).await.unwrap();
    assert_eq!(by_a_person["body"]["path"], "/api/items");
    let plain = run(&client, "core.http", json!({ "url": format!("http://{}/api/items", server.address) })).await.unwrap_err();
    assert!(plain.0 == "http_status", "without a connection there are no credentials: {plain:?}");
    nothing_leaked(&place, &node).await;
}

/// A private certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns its certificate.
    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns the TLS of a server with such a certificate.
    fn certifies(&self, params: &CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        // It speaks HTTP/1.1 only. A client that can choose HTTP/2 does not understand its answers.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// The certificate of a server on loopback.
fn on_loopback() -> CertificateParams {
    CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_of_a_private_authority_is_trusted_only_with_its_file() {
    let authority = Authority::new();
    let server = Server::start_with(("x-shop", "eu".to_owned()), Some(authority.certifies(&on_loopback())));
    let https = connection("orders", &server, "headers: { X-Shop: eu }").replace("http://", "https://");
    let place = place(&https);
    std::fs::write(place.path().join("ca.pem"), authority.pem()).unwrap();
    let node = place.start();
    let refused = run(&node.client(), "shop.get", json!({ "path": "items" })).await.unwrap_err();
    assert_eq!(refused.0, "network", "{refused:?}");
    let tested = ensue(&place, &node, &["connections", "test", "orders", "-o", "json"]);
    assert!(tested.code == Some(1) && tested.stdout.contains("\"tls\""), "{tested:?}");
    assert_eq!(node.stop(), Some(0));
    std::fs::write(place.path().join("ensue.yaml"), format!("connections:\n{}", https.replace("/api',", "/api', ca: ca.pem,"))).unwrap();
    let node = place.start();
    run(&node.client(), "shop.get", json!({ "path": "items" })).await.unwrap();
    let tested = ensue(&place, &node, &["connections", "test", "orders"]);
    assert!(tested.code == Some(0) && tested.stdout.contains("200"), "{tested:?}");
    let audit = node.client().get("/audit?what=connection.tested").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 2, "{audit}");
    let missing = ensue(&place, &node, &["connections", "test", "order"]);
    assert!(missing.stderr.contains("orders"), "{missing:?}");
    let forbidden = node.client().anonymous(Method::POST, "/api/v1/connections/orders/test").send().await.unwrap();
    assert_eq!(forbidden.status(), StatusCode::UNAUTHORIZED);
}

/// Adds a sensor that polls over a connection.
fn add_sensor(place: &NodeFolder, name: &str, connection: &str) {
    place.write_pack_file("shop/triggers/item.yaml", "description: There is an item.\npayload: { n: integer }\n");
    place.write_pack_file(
        &format!("shop/sensors/{name}.yaml"),
        &format!(
            "description: New items.\npoll:\n  every: 1s\n  http: {{ connection: {connection}, url: /items }}\n  items: body.items\n  \
             only_new: item.n\n  first: emit\nemits: [{{ trigger: shop.item, payload: {{ n: '${{{{ item.n }}}}' }} }}]\n"
        ),
    );
}

/// Waits until a sensor fails for a reason, and returns the second in which it would be tried again.
async fn fails_with(client: &Client, sensor: &str, kind: &str) -> String {
    let is_so = |sensor: &Value| sensor["state"] == "failing" && sensor["error"]["kind"] == kind;
    second(&client.until(&format!("/sensors/{sensor}"), is_so).await["retry_at"])
}

fn second(time: &Value) -> String {
    time.as_str().unwrap()[.."2026-11-29T12:20:29".len()].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_over_a_connection_starts_at_once_when_its_key_is_set_or_rotated() {
    sensor_follows_its_key("orders", "orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_over_a_connection_that_a_setting_names_starts_at_once_when_its_key_is_set_or_rotated() {
    sensor_follows_its_key("stock", "'${{ config.other }}'").await;
}

async fn sensor_follows_its_key(name: &str, written: &str) {
    let server = Server::start(("authorization", format!("Bearer {FIRST}")));
    let connections = connection(name, &server, "auth: { bearer: { key: shop.token } }");
    let place = place(&format!("{connections}packs: {{ shop: {{ config: {{ other: {name} }} }} }}\n"));
    add_sensor(&place, "items", written);
    let node = place.start();
    let client = node.client();
    fails_with(&client, "shop.items", "key_missing").await;
    assert_eq!(server.request_count(), 0);
    set_key(&client, "shop.token", SECOND).await;
    fails_with(&client, "shop.items", "auth").await;
    // A sensor whose credentials are rejected waits at least 15 seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.request_count(), 1, "rejected credentials are not sent again and again");
    set_key(&client, "shop.token", FIRST).await;
    client.until("/sensors/shop.items", |sensor| sensor["state"] == "running" && sensor["events_count"] == 2).await;
    server.expects("authorization", &format!("Bearer {SECOND}"));
    let tried_again_at = fails_with(&client, "shop.items", "auth").await;
    set_key(&client, "shop.token", SECOND).await;
    let running = client.until("/sensors/shop.items", |sensor| sensor["state"] == "running").await;
    assert!(second(&running["since"]) < tried_again_at, "it ran before {tried_again_at}: {running}");
    assert_eq!(running["events_count"], 2, "its cursor is kept: {running}");
    nothing_leaked(&place, &node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_fails_with_tls_if_a_certificate_is_of_an_unknown_authority_for_another_name_or_expired() {
    let authority = Authority::new();
    let mut expired = on_loopback();
    expired.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let another = CertificateParams::new(["shop.example.test".to_owned()]).unwrap();
    let mut connections = String::new();
    for (name, certificate, trust) in [
        ("orders", on_loopback(), "ca: ca.pem, "),
        ("unknown", on_loopback(), ""),
        ("another", another, "ca: ca.pem, "),
        ("expired", expired, "ca: ca.pem, "),
    ] {
        let server = Server::start_with(("x-shop", "eu".to_owned()), Some(authority.certifies(&certificate)));
        connections += &connection(name, &server, &format!("{trust}headers: {{ X-Shop: eu }}")).replace("http://", "https://");
    }
    let place = place(&connections);
    std::fs::write(place.path().join("ca.pem"), authority.pem()).unwrap();
    let pack = "name: shop\nversion: 1.0.0\ndescription: Orders.\nconnections: [orders, unknown, another, expired]\n";
    place.write_pack_file("shop/pack.yaml", &format!("{pack}config: {{ other: 'connection<http>?' }}\nkeys: []\n"));
    for name in ["orders", "unknown", "another", "expired"] {
        add_sensor(&place, name, name);
    }
    let node = place.start();
    let client = node.client();
    client.until("/sensors/shop.orders", |sensor| sensor["events_count"] == 2).await;
    for name in ["unknown", "another", "expired"] {
        fails_with(&client, &format!("shop.{name}"), "tls").await;
    }
}

/// A server for mail on loopback, which begins TLS when it is asked to, and takes one login.
fn mail_server(tls: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let tls = tls.clone();
            std::thread::spawn(move || {
                stream.write_all(b"220 mail.example.test ESMTP\r\n").unwrap();
                let begins = |line: &str| line.starts_with("STARTTLS");
                if talk(&mut stream, "250-mail.example.test\r\n250 STARTTLS\r\n", begins) {
                    let mut secure = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
                    talk(&mut secure, "250-mail.example.test\r\n250 AUTH PLAIN LOGIN\r\n", |_| false);
                }
            });
        }
    });
    address
}

/// Answers commands, one line at a time. Returns true if one of them begins TLS.
fn talk(stream: &mut impl Stream, hello: &str, begins_tls: impl Fn(&str) -> bool) -> bool {
    let login = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0app\0{FIRST}")));
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return false;
            }
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let answer = match line.as_str() {
            line if begins_tls(line) => "220 go ahead\r\n",
            line if line.starts_with("EHLO ") => hello,
            line if line == login => "235 welcome\r\n",
            line if line.starts_with("AUTH ") => "535 no\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "500 what\r\n",
        };
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return false;
        }
        if begins_tls(&line) {
            return true;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn test_of_a_mail_server_begins_tls_and_logs_in() {
    let authority = Authority::new();
    let address = mail_server(authority.certifies(&on_loopback()));
    let smtp = format!("host: 127.0.0.1, port: {}, user: app, password: {{ key: shop.token }}, timeout: 10s", address.port());
    let place = place(&format!("  trusted: {{ smtp: {{ {smtp}, ca: ca.pem }} }}\n  strange: {{ smtp: {{ {smtp} }} }}\n"));
    std::fs::write(place.path().join("ca.pem"), authority.pem()).unwrap();
    let node = place.start();
    let client = node.client();
    set_key(&client, "shop.token", SECOND).await;
    let test = |name: &'static str| {
        let client = &client;
        async move { client.post(&format!("/connections/{name}/test"), &json!({})).await.body }
    };
    let rejected = test("trusted").await;
    assert_eq!(rejected["error"], "auth", "{rejected}");
    set_key(&client, "shop.token", FIRST).await;
    let tested = test("trusted").await;
    assert!(tested["ok"] == true && tested["message"].as_str().unwrap().contains("mail.example.test"), "{tested}");
    let strange = test("strange").await;
    assert_eq!(strange["error"], "tls", "{strange}");
    nothing_leaked(&place, &node).await;
}
