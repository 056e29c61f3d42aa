//! Long answers: only a few are read at once, and further ones wait for them.

use std::net::SocketAddr;
use std::time::Duration;

use ensue_engine::catalog::Run;
use ensue_engine::executions::facts::FailureKind;
use ensue_executor::EgressPolicy;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::server::{Server, answer};
use crate::world::{Plan, attempt, failure, get, result};

/// How many long answers are read at once.
const AT_ONCE: u32 = 8;
/// The length of an answer that ends in the middle, and how much of it is sent: more than the system takes from the
/// server before the client reads it.
const PROMISED: usize = 9 << 20;
const SENT: usize = 8 << 20;
/// Longer than an answer takes.
const A_WHILE: Duration = Duration::from_millis(300);

/// Starts a server whose answers end in the middle, and reports each that was read so far.
async fn half_server() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(send_half(stream, tell.clone()));
        }
    });
    (address, told)
}

async fn send_half(mut stream: TcpStream, tell: mpsc::UnboundedSender<()>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        stream.read_buf(&mut request).await.unwrap();
    }
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {PROMISED}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; SENT]).await.unwrap();
    tell.send(()).unwrap();
    // The client closes the connection.
    let _ = stream.read_buf(&mut request).await;
}

#[tokio::test]
async fn ninth_long_answer_waits_and_a_short_one_does_not() {
    let (halves, mut sent) = half_server().await;
    let server = Server::start(|asked| {
        let length = if asked.line().contains("/long") { 300_000 } else { 10 };
        answer("200 OK", &[("content-type", "text/plain")], "x".repeat(length))
    })
    .await;
    let request = get("${{ params.url }}");
    let allowed = [halves, server.address].map(|address| address.to_string().parse().unwrap());
    let mut world = Plan::new(Run::Http(Box::new(request))).egress(EgressPolicy::allowing(allowed.into())).begin();
    for number in 1..=AT_ONCE {
        world.dispatch(number, json!({ "url": format!("http://{halves}/") }));
    }
    for _ in 1..=AT_ONCE {
        sent.recv().await.unwrap();
    }

    world.dispatch(AT_ONCE + 1, json!({ "url": server.url("/long") }));
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    world.dispatch(AT_ONCE + 2, json!({ "url": server.url("/short") }));
    let short = world.report().await;
    assert_eq!((short.attempt, result(&short)["status"].clone()), (attempt(AT_ONCE + 2), json!(200)));
    tokio::time::sleep(A_WHILE).await;
    assert!(world.asked.is_empty(), "no long answer is read before another ends");

    world.stop(1);
    // The place of the stopped one is free before its end is reported, so either report may come first.
    let mut reports = [world.report().await, world.report().await];
    reports.sort_by_key(|report| report.attempt != attempt(1));
    let [stopped, ninth] = reports;
    assert_eq!((stopped.attempt, ninth.attempt), (attempt(1), attempt(AT_ONCE + 1)));
    failure(&stopped, FailureKind::Cancelled);
    assert_eq!(result(&ninth)["body"].as_str().unwrap().len(), 300_000);
}
