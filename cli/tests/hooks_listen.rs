//! `ensue hooks listen`: deliveries as they arrive, what they led to, and their way to a program of a developer.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, PATIENCE, free_port, until};

const SECRET: &str = "a secret that is long enough";
const SENSOR: &str = "webhook:
  verify: { scheme: bearer, key: chat.secret }
  accept: [json, form]
  path: /{room}
  reply:
    - when: body.?text.orValue('') == 'ping'
      status: 201
      body: pong
emits:
  - trigger: chat.command
    dedupe: body.?id
    payload: { text: '${{ body.text }}' }
";
/// How many lines wait for a test: more than any test makes.
const QUEUED_MAX: usize = 1_000;
const RULE: &str = "trigger: chat.command\nwhen: event.payload.text == 'go'\naction: core.noop\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    let key = place.path().join("chat-secret");
    std::fs::write(&key, SECRET).unwrap();
    let place = place.with_variable("ENSUE_KEY_CHAT_SECRET_FILE", &key.display().to_string());
    let manifest = "name: chat\nversion: 1.0.0\ndescription: A chat.\nkeys: [secret]\nrequires:\n  packs: { core: ^0.1 }\n";
    for (path, text) in [
        ("pack.yaml", manifest),
        ("triggers/command.yaml", "payload: { text: string }\n"),
        ("sensors/door.yaml", SENSOR),
        ("rules/go.yaml", RULE),
    ] {
        place.write_pack_file(&format!("chat/{path}"), text);
    }
    place
}

/// A command that listens, as JSON.
struct Listener {
    process: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn start(place: &NodeFolder, node: &Node, more: &[&str]) -> Self {
        let arguments = [&["hooks", "listen", "chat/door", "-o", "json"][..], more].concat();
        let mut command = place.ensue(&arguments);
        command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let (send, lines) = sync_channel(QUEUED_MAX);
        std::thread::spawn(move || {
            let documents = serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>();
            for document in documents.map_while(Result::ok) {
                let _ = send.send(document.to_string());
            }
        });
        let mut said = BufReader::new(stderr).lines();
        assert!(said.next().unwrap().unwrap().contains("waiting for deliveries"));
        Self { process, lines }
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    fn is_silent(&self) -> bool {
        matches!(self.lines.recv_timeout(std::time::Duration::from_millis(300)), Err(RecvTimeoutError::Timeout))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn delivery(client: &Client, token: &str, body: &str) -> RequestBuilder {
    let request = client.anonymous(Method::POST, "/hooks/chat/door/shed?from=a&token=hidden").bearer_auth(token);
    let request = request.header("content-type", "application/json").header("x-kind", "test").header("cookie", "a=b");
    request.body(body.to_owned())
}

async fn deliver(client: &Client, token: &str, body: &str) -> StatusCode {
    delivery(client, token, body).send().await.unwrap().status()
}

/// Waits until the node has a listener: until then, deliveries are not streamed to it. Returns what it heard first.
async fn heard_first(client: &Client, listener: &Listener) -> Value {
    let ping = async |request: &str| {
        let sent = delivery(client, SECRET, r#"{"text": "ping"}"#).header("x-request-id", request).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED);
    };
    let line = until("the first delivery that is heard", async || {
        ping("first").await;
        listener.lines.recv_timeout(std::time::Duration::from_millis(200)).ok()
    })
    .await;
    // Others may be on their way.
    ping("last").await;
    while listener.next()["delivery"]["request_id"] != "last" {}
    serde_json::from_str(&line).unwrap()
}

/// A program of a developer: answers each request with 418, and passes on what it got.
fn program() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, got) = sync_channel(QUEUED_MAX);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            let _ = send.send((head, String::from_utf8(body).unwrap()));
            let _ = stream.get_mut().write_all(b"HTTP/1.1 418 x\r\ncontent-length: 6\r\nconnection: close\r\n\r\nteapot");
        }
    });
    (port, got)
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_hears_each_delivery_with_what_became_of_it() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let listener = Listener::start(&place, &node, &[]);
    let first = heard_first(&client, &listener).await;
    assert_eq!((&first["delivery"]["outcome"], &first["delivery"]["status"]), (&json!("replied"), &json!(201)));
    assert_eq!(deliver(&client, SECRET, r#"{"text": "go", "id": "1"}"#).await, StatusCode::ACCEPTED);
    let accepted = listener.next();
    assert_eq!(accepted["delivery"]["outcome"], "accepted");
    assert_eq!(accepted["delivery"]["events"].as_array().unwrap().len(), 1);
    let decision = &accepted["led_to"][0];
    assert_eq!((&decision["rule"], decision["execution"].is_string()), (&json!("chat.go"), true), "{accepted:#}");
    assert_eq!(deliver(&client, SECRET, r#"{"text": "go", "id": "1"}"#).await, StatusCode::OK);
    assert_eq!(listener.next()["delivery"]["outcome"], "repeated");
    assert_eq!(deliver(&client, "nothing", r#"{"text": "secret of somebody else"}"#).await, StatusCode::UNAUTHORIZED);
    let refused = listener.next();
    assert_eq!((&refused["delivery"]["outcome"], &refused["delivery"]["code"]), (&json!("refused"), &json!("signature_refused")));
    assert_eq!(refused["content"], Value::Null, "nobody proved it");
    let listed = CommandOutput::by(
        place.ensue(&["hooks", "deliveries", "chat/door", "--outcome", "replied", "--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN),
    );
    assert!(listed.stdout.contains("replied, 201"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_is_forwarded_as_it_was_without_its_proof() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (port, got) = program();
    let listener = Listener::start(&place, &node, &["--forward-to", &format!("http://127.0.0.1:{port}/local")]);
    heard_first(&client, &listener).await;
    let body = "{ \"text\":  \"go\" }";
    assert_eq!(deliver(&client, SECRET, body).await, StatusCode::ACCEPTED);
    let heard = listener.next();
    assert_eq!(heard["answer"], json!({ "status": 418, "body": "teapot" }));
    let (head, sent) = got.recv_timeout(PATIENCE).unwrap();
    assert_eq!(sent, body, "byte for byte");
    assert!(head.starts_with("POST /local/shed?from=a HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("x-kind: test\r\n") && head.contains("content-type: application/json\r\n"), "{head}");
    assert!(!head.contains("authorization") && !head.contains("cookie") && !head.contains(SECRET), "{head}");
    assert_eq!(deliver(&client, "nothing", body).await, StatusCode::UNAUTHORIZED);
    assert!(listener.next()["answer"]["error"].is_string(), "what is refused is not forwarded");
    assert!(got.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_continues_after_a_restart_with_what_it_missed() {
    let place = place().listening_on(&format!("127.0.0.1:{}", free_port()));
    let node = place.start();
    let listener = Listener::start(&place, &node, &[]);
    heard_first(&node.client(), &listener).await;
    node.stop();
    let node = place.start();
    // It may not be back yet: then it hears this one from the list.
    assert_eq!(deliver(&node.client(), SECRET, r#"{"text": "go"}"#).await, StatusCode::ACCEPTED);
    let heard = listener.next();
    assert_eq!((&heard["delivery"]["outcome"], &heard["led_to"][0]["rule"]), (&json!("accepted"), &json!("chat.go")), "{heard:#}");
    assert!(listener.is_silent(), "each delivery is heard once");
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_needs_its_permission_and_a_hook() {
    let place = place();
    let node = place.start();
    let token =
        node.client().post("/tokens", &json!({ "name": "eye", "roles": ["viewer"] })).await.body["token"].as_str().unwrap().to_owned();
    let listen = |hook: &str, token: &str| {
        CommandOutput::by(place.ensue(&["hooks", "listen", hook, "--server", &node.url()]).env("ENSUE_TOKEN", token))
    };
    let refused = listen("chat/door", &token);
    assert!(refused.code == Some(4) && refused.stderr.contains("hooks:listen"), "{refused:?}");
    assert_eq!(listen("chat/window", ADMIN_TOKEN).code, Some(5));
}
