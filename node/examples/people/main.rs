//! Measures what people and their programs wait for: logins, streams of changes, quotas, revocation, and overviews
//! of a million executions.
//!
//!     cargo run --release -p ensue-node --example people -- logins changes quotas revocation
//!     cargo run --release -p ensue-node --example people -- million=DIR     # creates the executions in DIR, once
//!
//! The client runs in the same process as the node.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

mod logins;
mod million;
mod quotas;
mod streams;

use std::path::Path;
use std::time::Duration;

use ensue_node::{Config, Node};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The address of a proxy that the node believes, so that callers may have many addresses; and a tier that limits nothing.
const SETTINGS: &str = r#"{
    "listen": "127.0.0.1:0", "login": { "password": true }, "trusted_proxies": ["127.0.0.1"], "workers": 2,
    "tiers": { "roomy": { "events_per_day": 1000000000, "executions_per_hour": 1000000000, "concurrent": 1000000000 } },
    "access": { "tiers": [{ "group": "metered", "tier": "roomy" }] }
}"#;
const TICK: &str = "description: A tick.\npayload:\n  n: integer\n  text: string\n";

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for part in std::env::args().skip(1) {
        println!("{part}:");
        if let Some(folder) = part.strip_prefix("million=") {
            million::measure(Path::new(folder)).await;
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let bed = Bed::start(folder.path()).await;
        match part.as_str() {
            "logins" => logins::measure(&bed).await,
            "changes" => streams::measure_changes(&bed).await,
            "quotas" => quotas::measure_quotas(&bed).await,
            "revocation" => streams::measure_revocation(&bed).await,
            unknown => panic!("there is no part `{unknown}`"),
        }
        bed.node.stop().await.unwrap();
    }
}

/// A running node, and its admin.
struct Bed {
    node: Node,
    http: reqwest::Client,
    admin: String,
}

impl Bed {
    /// Starts a node in a folder, with the pack of the measurement.
    async fn start(folder: &Path) -> Self {
        let config = config(folder);
        let admin = std::fs::read_to_string(folder.join("token")).unwrap();
        let node = Node::start(config).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { node, http, admin }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}/api/v1{path}", self.node.address())).bearer_auth(token)
    }

    /// Sends a request as the admin, and returns the answer.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.request(method, path, &self.admin).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap_or_default()
    }

    /// Adds an identity with a grant, and returns a token of it.
    async fn identity(&self, name: &str, groups: &[&str], role: &str, on: &Value) -> String {
        self.call(Method::POST, "/identities", &json!({ "name": name, "groups": groups })).await;
        let mut grant = json!({ "subject": format!("identity:{name}"), "role": role });
        if !on.is_null() {
            grant["on"] = on.clone();
        }
        self.call(Method::POST, "/grants", &grant).await;
        self.token(name).await
    }

    async fn token(&self, identity: &str) -> String {
        let made = self.call(Method::POST, "/tokens", &json!({ "name": format!("{identity}_laptop"), "identity": identity })).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// Sends an event, and returns its id.
    async fn tick(&self, token: &str, number: u64) -> String {
        let event = json!({ "trigger": "people.tick", "payload": { "n": number, "text": "x".repeat(200) } });
        let answer = self.request(Method::POST, "/events", token).json(&event).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }
}

/// Writes the settings, the pack and the token of the admin, unless they exist, and returns the settings.
fn config(folder: &Path) -> Config {
    std::fs::create_dir_all(folder).unwrap();
    let pack = folder.join("packs/people");
    if !folder.join("token").exists() {
        let mut random = [0; 32];
        getrandom::fill(&mut random).unwrap();
        let token = format!("ens_00000000-0000-7000-8000-000000000001_{}", hex::encode(random));
        std::fs::write(folder.join("token"), token).unwrap();
        std::fs::write(folder.join("ensue.yaml"), SETTINGS).unwrap();
        for (path, text) in [
            ("pack.yaml", "name: people\nversion: 0.1.0\ndescription: Made for a measurement.\n"),
            ("triggers/tick.yaml", TICK),
            ("rules/most.yaml", "description: Runs often.\ntrigger: people.tick\nwhen: event.payload.n % 10 != 0\naction: core.noop\n"),
            ("rules/some.yaml", "description: Runs rarely.\ntrigger: people.tick\nwhen: event.payload.n % 10 == 0\naction: core.echo\n"),
        ] {
            std::fs::create_dir_all(pack.join(path).parent().unwrap()).unwrap();
            std::fs::write(pack.join(path), text).unwrap();
        }
    }
    let token = std::fs::read_to_string(folder.join("token")).unwrap();
    let variables = [("ENSUE_ADMIN_TOKEN".to_owned(), token), ("ENSUE_DATA".to_owned(), folder.join("data").display().to_string())];
    let config = Config::read(Some(&folder.join("ensue.yaml")), variables.into_iter()).unwrap();
    Config { state_base: Some(folder.join("state")), ..config }
}

/// Describes how long something took.
fn summarize(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    format!("{} times, p50 {:.1?}, p95 {:.1?}, longest {:.1?}", times.len(), at(50), at(95), at(100))
}
