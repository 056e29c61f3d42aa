//! Records over WebSocket, followed over the death of a node: nothing is lost or repeated.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{ADMIN_TOKEN, Client, Node, NodeFolder, PATIENCE, until};

const PACK: &str = "name: mill\nversion: 0.1.0\ndescription: A mill.\nrequires: { packs: { core: ^0.1 } }\n";
const TRIGGER: &str = "description: Corn came.\npayload: { number: integer }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("mill/pack.yaml", PACK);
    place.write_pack_file("mill/triggers/corn.yaml", TRIGGER);
    place
}

async fn send(client: &Client, number: u32) -> u64 {
    let sent = client.post("/events", &json!({ "trigger": "mill.corn", "payload": { "number": number } })).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    sent.body["position"].as_u64().unwrap()
}

/// A WebSocket to a node.
struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The position from which the node starts.
    begins_at: u64,
}

/// How a socket ends.
#[derive(Debug)]
enum SocketEnd {
    Closed(CloseFrame),
    BrokenOff,
}

impl Socket {
    async fn of(node: &Node, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, Box<Error>> {
        let address = node.url().trim_start_matches("http://").to_owned();
        let mut request = format!("ws://{address}/api/v1{path}").into_client_request().unwrap();
        for (name, value) in [("authorization", format!("Bearer {ADMIN_TOKEN}").as_str())].iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connection = TcpStream::connect(address).await.unwrap();
        let (stream, answer) = client_async(request, connection).await.map_err(Box::new)?;
        let begins_at = answer.headers()["ensue-position"].to_str().unwrap().parse().unwrap();
        Ok(Self { stream, begins_at })
    }

    /// Returns the next record, or how the socket ends.
    async fn next(&mut self) -> Result<Value, SocketEnd> {
        loop {
            match tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("the node says something") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return Err(SocketEnd::Closed(frame)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => return Err(SocketEnd::BrokenOff),
            }
        }
    }

    /// Reads until the node closes. Returns the positions that arrived, and the close frame.
    async fn read_to_the_end(&mut self) -> (Vec<u64>, CloseFrame) {
        let mut told = Vec::new();
        loop {
            match self.next().await {
                Ok(record) => told.push(position(&record)),
                Err(SocketEnd::Closed(frame)) => return (told, frame),
                Err(SocketEnd::BrokenOff) => panic!("it broke off at {:?}", told.last()),
            }
        }
    }
}

fn position(record: &Value) -> u64 {
    record["position"].as_u64().unwrap()
}

/// Returns the status and the problem's code of a rejected handshake.
fn rejection(asked: Result<Socket, Box<Error>>) -> (u16, String) {
    let Err(error) = asked else { panic!("it was let in") };
    let Error::Http(answer) = *error else { panic!("{error}") };
    let problem: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap_or_default();
    (answer.status().as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn websocket_resumes_after_its_last_position_when_the_node_was_killed() {
    let place = place();
    let mut node = place.start();
    let first = send(&node.client(), 0).await;
    let (mut told, mut last) = (Vec::new(), first);
    for round in 1..=5 {
        let after = told.last().copied().unwrap_or(first - 1);
        let mut socket = match round % 2 {
            0 => Socket::of(&node, "/log/stream", &[("last-event-id", &after.to_string())]).await.unwrap(),
            _ => Socket::of(&node, &format!("/log/stream?after={after}"), &[]).await.unwrap(),
        };
        assert_eq!(socket.begins_at, after);
        for number in 0..20 {
            last = send(&node.client(), round * 100 + number).await;
        }
        // A part was read and another is in transit when the node dies.
        while told.last().is_none_or(|told| *told + 5 < last) {
            told.push(position(&socket.next().await.unwrap()));
        }
        node.kill();
        loop {
            match socket.next().await {
                Ok(record) => told.push(position(&record)),
                Err(SocketEnd::BrokenOff) => break,
                Err(SocketEnd::Closed(frame)) => panic!("a killed node said {frame:?}"),
            }
        }
        node = place.start();
    }
    let after = told.last().copied().unwrap();
    let mut socket = Socket::of(&node, &format!("/log/stream?after={after}"), &[]).await.unwrap();
    let end = send(&node.client(), 999).await;
    while told.last() != Some(&end) {
        told.push(position(&socket.next().await.unwrap()));
    }
    assert_eq!(told, (first..=end).collect::<Vec<_>>(), "each position once, in order");
    // A message equals the record in the log.
    let shown = node.client().get(&format!("/log/{end}")).await;
    let mut again = Socket::of(&node, &format!("/log/stream?after={}", end - 1), &[]).await.unwrap();
    assert_eq!(again.next().await.unwrap(), shown);

    // A stop does not wait for callers; it announces itself with the caller's position.
    node.stop_well();
    let Err(SocketEnd::Closed(frame)) = socket.next().await else { panic!("the node said nothing at its end") };
    assert_eq!(frame.code, CloseCode::Away);
    assert_eq!(serde_json::from_str::<Value>(&frame.reason).unwrap(), json!({ "reason": "stopping", "position": end }));
}

#[tokio::test]
async fn execution_can_be_followed_from_any_position_to_its_end() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let shown = client.run("core.shell", &json!({ "script": "echo ground" })).await;
    let id = shown["id"].as_str().unwrap();
    let all = client.get(&format!("/executions/{id}/timeline")).await;
    let all: Vec<u64> = all["items"].as_array().unwrap().iter().map(position).collect();
    assert!(all.len() >= 4, "{all:?}");
    for known in 0..all.len() {
        let after = known.checked_sub(1).map_or(0, |at| all[at]);
        let mut socket = Socket::of(&node, &format!("/executions/{id}/stream?after={after}"), &[]).await.unwrap();
        let mut told = Vec::new();
        let frame = loop {
            match socket.next().await {
                Ok(record) => told.push(position(&record)),
                Err(SocketEnd::Closed(frame)) => break frame,
                Err(SocketEnd::BrokenOff) => panic!("it broke off at {told:?}"),
            }
        };
        assert_eq!(told, all[known..]);
        let expected = json!({ "reason": "ended", "status": "succeeded", "position": all.last() });
        assert_eq!((frame.code, serde_json::from_str::<Value>(&frame.reason).unwrap()), (CloseCode::Normal, expected));
    }
    node.stop_well();
}

#[tokio::test]
async fn forbidden_or_invalid_handshake_gets_a_problem_and_no_websocket() {
    let place = place();
    let node = place.start();
    let asked = async |path: &str, headers: &[(&'static str, &str)]| rejection(Socket::of(&node, path, headers).await);
    let problem = |status, code: &str| (status, code.to_owned());
    assert_eq!(asked("/log/stream", &[("authorization", "Bearer nothing")]).await.0, 401);
    assert_eq!(asked("/log/stream", &[("origin", "https://evil.example.test")]).await, problem(403, "origin_refused"));
    assert_eq!(asked("/log/stream", &[("sec-websocket-version", "8")]).await, problem(400, "websocket_invalid"));
    assert_eq!(asked("/log/stream?after=1000000", &[]).await, problem(400, "bad_parameter"));
    assert_eq!(asked("/log/stream?nonsense=1", &[]).await, problem(400, "unknown_parameter"));
    assert_eq!(asked("/executions/019d3450-be00-8003-99b9-00f151262684/stream", &[]).await.0, 404);
    // A page of the node's own origin is accepted, and a client that sends a message is told that none is
    // accepted.
    let mut socket = Socket::of(&node, "/log/stream", &[("origin", &node.url())]).await.unwrap();
    futures_util::SinkExt::send(&mut socket.stream, Message::text("hello")).await.unwrap();
    let Err(SocketEnd::Closed(frame)) = socket.next().await else { panic!("it was taken") };
    assert_eq!(frame.code, CloseCode::Unsupported);
    node.stop_well();
}

#[tokio::test]
async fn slow_reader_is_disconnected_with_its_position() {
    let place = place().with_variable("ENSUE_LOG", "ensue_api::streams=debug");
    let node = place.start();
    let client = node.client();
    let first = send(&client, 0).await;
    let mut socket = Socket::of(&node, &format!("/log/stream?after={}", first - 1), &[]).await.unwrap();
    // More than the kernel buffers for a connection on both sides.
    let text = "x".repeat(200);
    let events: Vec<Value> =
        (0..100).map(|number| json!({ "trigger": "examples.hello", "payload": { "name": format!("{text}{number}") } })).collect();
    let mut last = 0;
    let mut bytes = 0;
    while bytes < 24 * 1024 * 1024 {
        let sent = client.post("/events", &json!(events)).await;
        assert_eq!(sent.status, 202, "{sent:?}");
        last = client.get("/log/head").await["position"].as_u64().unwrap();
        // A record is about seven hundred bytes of JSON.
        bytes = (last - first) * 700;
    }
    until("the reader is too slow", async || node.stderr_text().contains("a reader of records is too slow and is disconnected")).await;
    let (told, frame) = socket.read_to_the_end().await;
    let reached = told.last().copied().unwrap();
    assert_eq!(told, (first..=reached).collect::<Vec<_>>());
    assert!(reached < last, "it was given all of it");
    let reason: Value = serde_json::from_str(&frame.reason).unwrap();
    assert_eq!((frame.code, reason), (CloseCode::Again, json!({ "reason": "slow", "position": reached })));
    node.stop_well();
}

#[tokio::test]
async fn close_is_answered_and_any_client_message_ends_the_stream_with_a_reason() {
    let place = place();
    let node = place.start();
    let mut socket = Socket::of(&node, "/log/stream", &[]).await.unwrap();
    let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
    socket.stream.close(Some(frame.clone())).await.unwrap();
    let Err(SocketEnd::Closed(answered)) = socket.next().await else { panic!("it was broken off") };
    assert_eq!(answered, frame);
    for length in [5, 5_000, 2_000_000] {
        let mut socket = Socket::of(&node, "/log/stream", &[]).await.unwrap();
        // A long message may be rejected before all of it is sent.
        let _ = socket.stream.send(Message::text("x".repeat(length))).await;
        let Err(SocketEnd::Closed(answered)) = socket.next().await else { panic!("{length}: it was broken off") };
        assert_eq!(answered.code, CloseCode::Unsupported);
        let reason: Value = serde_json::from_str(&answered.reason).unwrap();
        assert_eq!(reason, json!({ "reason": "nothing_is_taken", "position": socket.begins_at }));
    }
    node.stop_well();
}

#[tokio::test]
async fn ping_is_answered_and_a_revoked_token_closes_the_socket() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let made = client.post("/tokens", &json!({ "name": "bo", "roles": ["viewer"] })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let authorization = format!("Bearer {}", made.body["token"].as_str().unwrap());
    let mut socket = Socket::of(&node, "/log/stream", &[("authorization", &authorization)]).await.unwrap();
    socket.stream.send(Message::Ping("there?".into())).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, socket.stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(heard, Message::Pong("there?".into()));

    let revoked = client.request(reqwest::Method::DELETE, "/api/v1/tokens/bo").send().await.unwrap();
    assert_eq!(revoked.status(), 204);
    let (told, frame) = socket.read_to_the_end().await;
    let last = told.last().copied().unwrap_or(socket.begins_at);
    let reason: Value = serde_json::from_str(&frame.reason).unwrap();
    assert_eq!((frame.code, reason), (CloseCode::Policy, json!({ "reason": "not_allowed", "position": last })));
    node.stop_well();
}

#[tokio::test]
async fn unmasked_frame_closes_with_a_protocol_error() {
    let place = place();
    let node = place.start();
    let mut socket = Socket::of(&node, "/log/stream", &[]).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(socket.stream.get_mut(), &[0x81, 0x01, b'a']).await.unwrap();
    let Err(SocketEnd::Closed(frame)) = socket.next().await else { panic!("it was taken") };
    let reason: Value = serde_json::from_str(&frame.reason).unwrap();
    assert_eq!((frame.code, reason), (CloseCode::Protocol, json!({ "reason": "no_websocket", "position": socket.begins_at })));
    node.stop_well();
}
