//! Long answers: only a few are read at once, and further ones wait for them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::Duration;

use ensue_engine::catalog::Run;
use ensue_engine::command::Ask;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::{BlobError, BlobPart, Blobs, NewBlob};
use ensue_engine::record::Digest;
use ensue_executor::EgressPolicy;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::answers::gzip;
use crate::server::{Server, answer};
use crate::world::{KeptBlobs, Plan, attempt, failure, get, result};

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

/// Many more short answers than arrive before one that does not wait.
const SHORT_ANSWERS: u32 = 20;

#[tokio::test]
async fn compressed_answer_waits_for_a_place_however_small_it_is() {
    let (halves, mut sent) = half_server().await;
    let server = Server::start(|asked| {
        let text = "x".repeat(1_000);
        if asked.line().contains("/packed") {
            return answer("200 OK", &[("content-type", "text/plain"), ("content-encoding", "gzip")], gzip(text.as_bytes()));
        }
        answer("200 OK", &[("content-type", "text/plain")], text)
    })
    .await;
    let allowed = [halves, server.address].map(|address| address.to_string().parse().unwrap());
    let request = get("${{ params.url }}");
    let mut world = Plan::new(Run::Http(Box::new(request))).egress(EgressPolicy::allowing(allowed.into())).begin();
    for number in 1..=AT_ONCE {
        world.dispatch(number, json!({ "url": format!("http://{halves}/") }));
    }
    for _ in 1..=AT_ONCE {
        sent.recv().await.unwrap();
    }

    let packed = AT_ONCE + 1;
    world.dispatch(packed, json!({ "url": server.url("/packed") }));
    for short in packed + 1..=packed + SHORT_ANSWERS {
        world.dispatch(short, json!({ "url": server.url("/short") }));
        assert_eq!(world.report().await.attempt, attempt(short), "the compressed answer waits");
    }

    world.stop(1);
    let reports = [world.report().await, world.report().await];
    let packed = reports.iter().find(|report| report.attempt == attempt(packed)).expect("it has the place of the stopped one");
    assert_eq!(result(packed)["body"].as_str().unwrap().len(), 1_000);
}

#[tokio::test]
async fn long_answer_keeps_its_place_until_its_result_is_complete() {
    let server = Server::start(|asked| {
        let kind = if asked.line().contains("/image") { "image/png" } else { "text/plain" };
        answer("200 OK", &[("content-type", kind)], "x".repeat(if asked.line().contains("/short") { 10 } else { 300_000 }))
    })
    .await;
    let (blobs, mut writes, go_on) = HeldBlobs::new();
    let plan = Plan::new(Run::Http(Box::new(get("${{ params.url }}")))).allow(server.address).store(Arc::new(blobs));
    let mut world = plan.settings(|settings| settings.long_answers_max = 1).begin();
    world.dispatch(1, json!({ "url": server.url("/image") }));
    writes.recv().await.unwrap();

    world.dispatch(2, json!({ "url": server.url("/long") }));
    for short in 3..3 + SHORT_ANSWERS {
        world.dispatch(short, json!({ "url": server.url("/short") }));
        assert_eq!(world.report().await.attempt, attempt(short), "the first answer is being stored, so the second waits");
    }

    drop(go_on);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        // An artifact is reported before the end.
        if let Some(Ask::ReportAttempt(report)) = world.asked.recv().await {
            result(&report);
            ended.push(report.attempt);
        }
    }
    ended.sort();
    assert_eq!(ended, [attempt(1), attempt(2)]);
}

/// A store of files that says when a file is written, and holds that up.
struct HeldBlobs {
    kept: KeptBlobs,
    tell: mpsc::UnboundedSender<()>,
    go_on: Arc<Mutex<std_mpsc::Receiver<()>>>,
}

impl HeldBlobs {
    /// Returns the store, what hears of each file, and what lets them be written when it is dropped.
    fn new() -> (Self, mpsc::UnboundedReceiver<()>, std_mpsc::Sender<()>) {
        let (tell, told) = mpsc::unbounded_channel();
        let (go_on, until) = std_mpsc::channel();
        (Self { kept: KeptBlobs::default(), tell, go_on: Arc::new(Mutex::new(until)) }, told, go_on)
    }
}

impl Blobs for HeldBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        self.tell.send(()).unwrap();
        // It ends when the sender is dropped.
        let _ = self.go_on.lock().unwrap().recv();
        self.kept.begin()
    }

    fn read(&self, digest: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError> {
        self.kept.read(digest, offset, bytes_max)
    }
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
    while server.requests().is_empty() {
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
