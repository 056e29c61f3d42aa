//! Packs of the library over connections: the credentials of the connection are sent, and no key of the pack is needed.

use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Client, CommandOutput, Node, NodeFolder, until};

const SECRET: &str = "canary-of-the-connection-7d1e";

/// A server on loopback that keeps what it is sent, and repeats it in its answer.
struct Echo {
    address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let hearing = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut sent = Vec::new();
                while !is_complete(&String::from_utf8_lossy(&sent)) {
                    if stream.read_buf(&mut sent).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let sent = String::from_utf8_lossy(&sent).into_owned();
                let said = json!({ "ok": true, "items": [{ "id": 1 }, { "id": 2 }], "heard": sent }).to_string();
                hearing.lock().unwrap().push(sent);
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
                let _ = stream.write_all(format!("{head}content-length: {}\r\n\r\n{said}", said.len()).as_bytes()).await;
            }
        });
        Self { address, heard }
    }

    fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn connection(&self, auth: &Value) -> Value {
        json!({ "vendor": { "http": { "url": format!("http://{}/base", self.address), "auth": auth }, "packs": ["pagerduty", "http", "core"] } })
    }
}

fn is_complete(sent: &str) -> bool {
    let Some((head, body)) = sent.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

/// Starts a node with a pack of the library and its settings.
fn node(pack: &str, config: &Value, connections: &Value) -> (NodeFolder, Node) {
    let place = NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", "127.0.0.1");
    let added = CommandOutput::by(&mut place.ensue(&["packs", "add", pack]));
    assert_eq!(added.code, Some(0), "{added:#?}");
    let settings = json!({ "connections": connections, "packs": { pack: { "config": config } } });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    let node = place.start();
    (place, node)
}

async fn set_key(client: &Client, key: &str, value: &str) {
    let answer = client.request(Method::PUT, &format!("/api/v1/keys/{key}")).json(&json!({ "value": value })).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn finding(client: &Client, check: &str) -> Value {
    let doctor = client.get("/doctor").await;
    doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_a_connection_is_put_into_the_body_and_leaks_nowhere() {
    let vendor = Echo::start().await;
    let auth = json!({ "json_field": { "name": "routing_key", "value": { "key": "ops.pagerduty" } } });
    let (_place, node) = node("pagerduty", &json!({ "connection": "vendor" }), &vendor.connection(&auth));
    let client = node.client();
    set_key(&client, "ops.pagerduty", SECRET).await;
    let ended = client.run("pagerduty.resolve", &json!({ "dedup_key": "disk-full/db-1" })).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let heard = vendor.requests().concat();
    assert!(heard.starts_with("POST /base/v2/enqueue "), "{heard}");
    let body: Value = serde_json::from_str(heard.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, json!({ "routing_key": SECRET, "event_action": "resolve", "dedup_key": "disk-full/db-1" }));
    let execution = client.get(&format!("/executions/{}", ended["id"].as_str().unwrap())).await.to_string();
    assert!(execution.contains("[redacted ops.pagerduty]") && !execution.contains(SECRET), "{execution}");
    assert!(!json!(client.records().await).to_string().contains(SECRET) && !node.stderr_text().contains(SECRET));
    // A connection that puts its key into the body has nothing to add to a request without one.
    let failed = client.run("core.http", &json!({ "connection": "vendor", "url": "/v2/enqueue" })).await;
    let error = &failed["error"];
    assert_eq!(error["kind"], "parameters_invalid", "{failed}");
    assert!(error["message"].as_str().unwrap().contains("the request has no body"), "{failed}");
    let tested = client.post("/connections/vendor/test", &json!({})).await.body;
    assert!(tested["ok"] == true && tested["message"].as_str().unwrap().contains("the key was not tried"), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_and_actions_of_the_pack_http_go_over_its_connection() {
    let vendor = Echo::start().await;
    let auth = json!({ "basic": { "user": "ensue", "password": { "key": "ops.stock" } } });
    let config = json!({ "connection": "vendor", "url": "/items?sort=new", "items": "items" });
    let (_place, node) = node("http", &config, &vendor.connection(&auth));
    let client = node.client();
    set_key(&client, "ops.stock", SECRET).await;
    set_key(&client, "http.token", "key-of-the-pack").await;
    let ended = client.run("http.get", &json!({ "path": "/items/7?x=1" })).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    until("the sensor asks", async || vendor.requests().iter().any(|heard| heard.starts_with("GET /base/items?sort=new "))).await;
    let heard = vendor.requests();
    assert!(heard.iter().any(|heard| heard.starts_with("GET /base/items/7?x=1 ")), "{heard:#?}");
    assert!(heard.iter().all(|heard| heard.contains("authorization: Basic ") && !heard.contains("key-of-the-pack")), "{heard:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_pack_without_credentials_and_a_setting_with_an_unknown_connection() {
    let (_place, without) = node("slack", &json!({}), &json!({}));
    let client = without.client();
    let told = finding(&client, "credentials").await;
    assert_eq!(
        (told["verdict"].as_str(), told["message"].as_str()),
        (Some("warning"), Some("the pack `slack` cannot send its requests: set the key `slack.bot_token`, or the setting `connection`"))
    );
    set_key(&client, "slack.bot_token", "xoxb-of-the-pack").await;
    assert_eq!(finding(&client, "credentials").await["verdict"], "good");
    drop(without);
    let (_place, astray) = node("slack", &json!({ "connection": "chat" }), &json!({}));
    let client = astray.client();
    assert_eq!(finding(&client, "credentials").await["verdict"], "good");
    let told = finding(&client, "connections").await["message"].as_str().unwrap().to_owned();
    assert_eq!(told, "the setting `connection` of the pack `slack` names `chat`, which `ensue.yaml` does not declare");
}
