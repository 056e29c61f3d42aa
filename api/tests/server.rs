//! Connections, over real sockets.

use std::time::Duration;

use ensue_api::server::ServerEnd;
use ensue_api::{Addresses, Cors, Limits, ProxyHeader, QueueName, Queues, Server};
use ensue_engine::ports::OutputStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::TestApi;
use crate::support::clock::HeldClock;

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct TestServer {
    api: TestApi,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<ServerEnd>,
}

async fn start_server(limits: Limits) -> TestServer {
    served_by(TestApi::within(limits)).await
}

async fn served_by(api: TestApi) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = Server::new(api.front.clone());
    let ended = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
    TestServer { api, address, stop, ended }
}

impl TestServer {
    /// Sends a text, and reads until the other side closes.
    async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // Data that arrived before a reset counts.
        drop(stream.read_to_end(&mut heard).await);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

#[tokio::test]
async fn request_is_answered_over_a_socket() {
    let served = start_server(Limits::default()).await;
    let heard = served.say("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("{\"status\":\"ok\"}"), "{heard}");
}

#[tokio::test]
async fn silent_connection_is_closed() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    for begun in ["", "GET /livez HT"] {
        let begin = tokio::time::Instant::now();
        let heard = clock.pass_until(served.say(begun)).await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408"), "{begun:?}: {heard}");
        assert!(begin.elapsed() >= Limits::default().head_timeout, "{begun:?}: {:?}", begin.elapsed());
    }
}

/// How long a connection may take for its head, and for its body, while others are slow.
const SLOW: Duration = Duration::from_secs(3);

/// Sends a beginning and then single bytes at intervals, until the other side closes.
async fn dawdle(address: std::net::SocketAddr, begin: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            read = stream.read_buf(&mut heard) => if !read.is_ok_and(|bytes| bytes > 0) { break },
            () = tokio::time::sleep(SLOW / 15) => if stream.write_all(b"x").await.is_err() { break },
        }
    }
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408"), "{heard}");
}

#[tokio::test]
async fn slow_connections_are_closed_while_others_are_served() {
    let clock = HeldClock::new();
    let served = start_server(Limits { head_timeout: SLOW, body_timeout: SLOW, ..Limits::default() }).await;
    let head = "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let begins = [String::new(), "GET /livez HTTP/1.1\r\nx-a: ".to_owned(), format!("{head}content-length: 1000\r\n\r\n")];
    let slow: Vec<_> = begins.iter().cycle().take(300).cloned().collect();
    let mut slow: JoinSet<()> = slow.into_iter().map(|begin| async move { dawdle(served.address, &begin).await }).collect();
    for _ in 0..50 {
        let heard = served.say("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    }
    assert!(slow.try_join_next().is_none(), "they have time left");
    clock.pass_until(slow.join_all()).await;
}

/// Connects from another address of this machine.
async fn connected_from(from: [u8; 4], to: std::net::SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_connections_of_one_address_do_not_block_others() {
    const PLACES: usize = 40;
    let queues = Queues::with(|name| if name == QueueName::Connections { PLACES as u64 } else { 1_000_000_000 });
    let patient = Limits { head_timeout: PATIENCE * 60, ..Limits::default() };
    let served = served_by(TestApi::within_queues(patient, queues)).await;
    let mut silent = Vec::new();
    for _ in 0..2 * PLACES {
        silent.push(connected_from([127, 0, 0, 1], served.address).await);
    }
    for _ in 0..3 {
        let mut caller = connected_from([127, 0, 0, 2], served.address).await;
        caller.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut heard = [0; 15];
        tokio::time::timeout(PATIENCE, caller.read_exact(&mut heard)).await.expect("it is served").unwrap();
        assert_eq!(&heard, b"HTTP/1.1 200 OK");
        silent.push(caller);
    }
    let mut open = 0;
    for stream in &silent {
        open += usize::from(matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    }
    assert!(open >= PLACES / 2, "{open} are open still");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connection_with_an_open_request_does_not_give_way() {
    let queues = Queues::with(|name| if name == QueueName::Connections { 2 } else { 1_000_000_000 });
    let served = served_by(TestApi::within_queues(Limits::default(), queues)).await;
    let token = served.api.node.token_of("viewer");
    let head = format!("GET /api/v1/log/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut stream = connected_from([127, 0, 0, 1], served.address).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = [0; 15];
    stream.read_exact(&mut heard).await.unwrap();
    for _ in 0..5 {
        assert!(served.say("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.contains("200 OK"));
        drop(connected_from([127, 0, 0, 1], served.address).await);
    }
    let mut rest = [0; 4096];
    while let Ok(bytes) = stream.try_read(&mut rest) {
        assert!(bytes > 0, "the stream was closed");
    }
}

#[tokio::test]
async fn request_for_another_host_is_misdirected() {
    let served = start_server(Limits::default()).await;
    let asked = |host: &str| format!("GET /livez HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    for host in ["127.0.0.1:3678", "[::1]", "localhost", "ensue.example.test"] {
        assert!(served.say(&asked(host)).await.starts_with("HTTP/1.1 200"), "{host}");
    }
    let heard = served.say(&asked("rebound.attacker.test:3678")).await;
    assert!(heard.starts_with("HTTP/1.1 421 ") && heard.contains("\"code\":\"host_unknown\""), "{heard}");
}

#[tokio::test]
async fn malformed_request_gets_a_problem_and_its_connection_is_closed() {
    let served = start_server(Limits::default()).await;
    let posted = "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let refused = [
        (format!("{posted}x: a\ncontent-length: 2\r\n\r\n{{}}"), 400, "request_ambiguous"),
        ("GET /livez HTTP/1.1\nhost: x\r\n\r\n".to_owned(), 400, "request_ambiguous"),
        (format!("{posted}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"), 400, "request_ambiguous"),
        (format!("{posted}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"), 400, "request_ambiguous"),
        (format!("{posted}transfer-encoding: chunked\r\n\r\n2 \r\n{{}}\r\n0\r\n\r\n"), 400, "body_incomplete"),
        (format!("{posted}expect: 200-maybe\r\ncontent-length: 2\r\n\r\n{{}}"), 417, "expectation_unknown"),
        ("Bad Header\r\n\r\n".to_owned(), 400, "request_malformed"),
        ("GET / HTTP/3.0\r\nhost: x\r\n\r\n".to_owned(), 400, "request_malformed"),
        ("GET / HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(), 400, "request_malformed"),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000)), 431, "headers_too_large"),
    ];
    for (request, status, code) in refused {
        let heard = served.say(&format!("{request}GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "nothing behind it is read: {heard}");
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("connection: close") && head.contains("content-type: application/problem+json"), "{heard}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], code, "{request:?}");
    }
    let two = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(served.say(two).await.matches("HTTP/1.1 200").count(), 2);
}

#[tokio::test]
async fn invalid_http_is_rejected_and_the_connection_closed() {
    let served = start_server(Limits::default()).await;
    let refused = [
        "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-length: +5\r\n\r\nhello",
        "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost : x\r\n\r\n",
    ];
    for request in refused {
        let heard = served.say(request).await;
        assert!(heard.starts_with("HTTP/1.1 400"), "{request:?}: {heard}");
    }
    let announcing = |bytes: &str| {
        format!("POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n")
    };
    assert!(served.say(&announcing("1073741824")).await.starts_with("HTTP/1.1 413"));
    // This one number is larger than the parser can represent.
    assert!(served.say(&announcing("18446744073709551615")).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn ambiguous_request_is_rejected_and_pipelined_bytes_are_not_read() {
    let served = start_server(Limits::default()).await;
    let heads = [
        "transfer-encoding: gzip, chunked\r\nhost: x",
        "transfer-encoding: chunked, chunked\r\nhost: x",
        "transfer-encoding: chunked\r\nhost: x\r\nhost: y",
        "transfer-encoding: chunked",
        "host: x\r\ncontent-length: 6\r\ntransfer-encoding: chunked",
        "host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 6",
    ];
    for head in heads {
        let both = format!("POST /hooks/demo/door HTTP/1.1\r\n{head}\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
        let heard = served.say(&both).await;
        assert!(heard.starts_with("HTTP/1.1 400") && heard.contains("connection: close\r\n"), "{head}: {heard}");
        assert!(heard.contains("/docs/errors/request-ambiguous") && heard.matches("HTTP/1.1").count() == 1, "{head}: {heard}");
    }
    let clear = "POST /hooks/demo/nothing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    assert!(served.say(&format!("{clear}GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await.contains("HTTP/1.1 200"));
    // HTTP/1.0 has no `host`.
    assert!(served.say("GET /livez HTTP/1.0\r\n\r\n").await.contains("200 OK"));
}

#[tokio::test]
async fn invalid_chunk_closes_its_connection() {
    let served = start_server(Limits::default()).await;
    for chunk in ["0x5\r\nhello", "5;ext=\nhello", "-1\r\n", "fffffffffffffffff\r\n"] {
        let head = "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        let heard = served.say(&format!("{head}\r\n\r\n{chunk}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(heard.starts_with("HTTP/1.1 400") && heard.matches("HTTP/1.1").count() == 1, "{chunk}: {heard}");
    }
}

#[tokio::test]
async fn client_that_sends_an_unread_body_gets_the_error_and_a_close() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    let length = 3 * 1024 * 1024;
    let head = format!("POST /hooks/demo/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    // All of it arrives: the connection stays open and serves a second request.
    let whole = format!("{head}{}GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "x".repeat(length));
    let heard = served.say(&whole).await;
    assert!(heard.starts_with("HTTP/1.1 404") && heard.contains("HTTP/1.1 200 OK"), "{heard}");
    // It does not arrive: the connection must not stay open for free.
    let heard = clock.pass_until(served.say(&format!("{head}x"))).await;
    assert!(heard.starts_with("HTTP/1.1 404") && heard.contains("connection: close\r\n"), "{heard}");
}

#[tokio::test]
async fn client_can_send_an_oversized_body_completely_before_the_rejection() {
    let _clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    let length = 64 * 1024 * 1024;
    let body = "x".repeat(length);
    let heard = served.say(&format!("POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")).await;
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
}

#[tokio::test]
async fn oversized_head_is_rejected() {
    let served = start_server(Limits::default()).await;
    let long = format!("GET /livez?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "a".repeat(9_000));
    assert!(served.say(&long).await.starts_with("HTTP/1.1 414"));
    let many: String = (0..1_000).map(|at| format!("x-{at}: y\r\n")).collect();
    assert!(served.say(&format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn stop_lets_open_requests_end_and_accepts_no_new_ones() {
    let served = start_server(Limits::default()).await;
    let id = served.api.execution().await;
    served.api.node.print(&id, OutputStream::Stdout, "one\n");
    let token = served.api.node.token_of("viewer");
    let follow =
        format!("GET /api/v1/executions/{id}/logs?stream=stdout&follow=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut following = TcpStream::connect(served.address).await.unwrap();
    following.write_all(follow.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    following.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    served.stop.send(()).unwrap();
    // The open requests end by themselves, so nothing has to be cut.
    assert_eq!(served.ended.await.unwrap(), ServerEnd { connections_cut: 0 });
    let mut rest = Vec::new();
    following.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(TcpStream::connect(served.address).await.is_err());
    served.api.get("/readyz").answer().await.expect(503);
}

#[tokio::test]
async fn stop_has_a_time_limit() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    let mut hanging = TcpStream::connect(served.address).await.unwrap();
    let announced = "POST /hooks/demo/door HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    hanging.write_all(announced.as_bytes()).await.unwrap();
    // The request is open once the node has read its head; a second connection that is answered comes after
    // it.
    served.say("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let begin = tokio::time::Instant::now();
    served.stop.send(()).unwrap();
    assert_eq!(clock.pass_until(served.ended).await.unwrap(), ServerEnd { connections_cut: 1 });
    assert!(begin.elapsed() >= Limits::default().stop_timeout, "{:?}", begin.elapsed());
}

const ASKS: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends a request on a kept connection, and returns the data until the other side pauses.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(ASKS).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"{\"status\":\"ok\"}") {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn kept_alive_connection_gets_one_more_answer_during_a_stop_and_closes() {
    let served = start_server(Limits { linger: PATIENCE, ..Limits::default() }).await;
    let mut kept = TcpStream::connect(served.address).await.unwrap();
    assert!(!ask(&mut kept).await.contains("connection: close"));
    served.stop.send(()).unwrap();
    // The node is not ready from now on, which shows that it knows about the stop.
    let knows = async {
        while served.api.get("/readyz").answer().await.status != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, knows).await.unwrap();
    assert!(ask(&mut kept).await.contains("connection: close"));
    assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(served.ended.await.unwrap(), ServerEnd { connections_cut: 0 });
}

#[tokio::test]
async fn stop_closes_an_idle_connection() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    let mut kept = TcpStream::connect(served.address).await.unwrap();
    ask(&mut kept).await;
    served.stop.send(()).unwrap();
    assert_eq!(clock.pass_until(kept.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(clock.pass_until(served.ended).await.unwrap(), ServerEnd { connections_cut: 0 });
}

#[tokio::test]
async fn connection_in_the_backlog_at_a_stop_still_gets_an_answer() {
    let served = start_server(Limits::default()).await;
    // This test runs on one thread: until it waits, only the kernel knows about the connection and the
    // request.
    let mut unseen = std::net::TcpStream::connect(served.address).unwrap();
    std::io::Write::write_all(&mut unseen, ASKS).unwrap();
    served.stop.send(()).unwrap();
    assert_eq!(served.ended.await.unwrap(), ServerEnd { connections_cut: 0 });
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut unseen, &mut heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 OK") && heard.contains("connection: close"), "{heard}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn address_with_too_many_connections_is_rejected_and_others_are_served() {
    let served = served_by(TestApi::with_settings(|settings| {
        settings.addresses = Addresses::default();
        settings.limits.connections_per_address = 3;
    }))
    .await;
    let token = served.api.node.token_of("viewer");
    let follow = format!("GET /api/v1/log/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = connected_from([127, 0, 0, 1], served.address).await;
        stream.write_all(follow.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        open.push(stream);
    }
    let heard = served.say("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let is_told = heard.starts_with("HTTP/1.1 429 ") && heard.contains("\"code\":\"too_many_connections\"");
    assert!(is_told && heard.contains("retry-after: 1\r\n") && heard.contains("connection: close\r\n"), "{heard}");
    let mut other = connected_from([127, 0, 0, 2], served.address).await;
    assert!(ask(&mut other).await.starts_with("HTTP/1.1 200"));
    open.pop();
    // The node learns a moment later that it is closed.
    let free = async { while !served.say("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.contains("200 OK") {} };
    tokio::time::timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn requests_without_a_valid_token_are_limited_by_address() {
    let served = served_by(TestApi::with_settings(|settings| {
        settings.addresses = Addresses::default();
        settings.rates.anonymous = Some("3/1h".parse().unwrap());
    }))
    .await;
    let say = async |path: &str, token: &str| {
        let authorization = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        served.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{authorization}connection: close\r\n\r\n")).await
    };
    let wrong = format!("ens_01980000-0000-7000-8000-00000000000a_{}", "0".repeat(64));
    let first = say("/livez", "").await;
    assert!(first.contains("200 OK") && first.contains("ratelimit: \"anonymous\";r=2;"), "{first}");
    assert!(say("/api/v1/rules", &wrong).await.contains("token_invalid"));
    assert!(say("/api/v1/rules", "").await.contains("unauthenticated"));
    for (path, token) in [("/livez", ""), ("/livez", &wrong), ("/api/v1/rules", &wrong), ("/nothing", ""), ("/nothing", &wrong)] {
        let heard = say(path, token).await;
        assert!(heard.starts_with("HTTP/1.1 429 ") && heard.contains("retry-after: 1200\r\n"), "{path}: {heard}");
    }
    let token = served.api.node.token_of("viewer");
    // Logging in at the path of the sessions needs no token; listing them does.
    for path in ["/api/v1/rules", "/api/v1/rules", "/api/v1/sessions", "/api/v1/sessions"] {
        assert!(say(path, &token).await.contains("200 OK"), "a valid token is accepted whatever others send: {path}");
    }
    let delivered = served.say("POST /hooks/demo/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert!(delivered.starts_with("HTTP/1.1 404 "), "a delivery has a limit of its own: {delivered}");
}

#[tokio::test]
async fn client_behind_a_trusted_proxy_has_its_own_limit_and_its_scheme() {
    let served = served_by(TestApi::with_settings(|settings| {
        settings.addresses = Addresses::trusting(vec!["127.0.0.0/8".parse().unwrap()], ProxyHeader::Forwarded);
        settings.rates.anonymous = Some("1/1h".parse().unwrap());
    }))
    .await;
    let say = async |headers: &str| {
        served.say(&format!("GET /livez HTTP/1.1\r\nhost: ensue.example.test\r\n{headers}connection: close\r\n\r\n")).await
    };
    let is_free = async |headers: &str| say(headers).await.starts_with("HTTP/1.1 200");
    assert!(is_free("forwarded: for=192.0.2.7\r\n").await && !is_free("forwarded: for=127.0.0.1, for=192.0.2.7\r\n").await);
    assert!(is_free("forwarded: for=\"[2001:db8::1]\"\r\n").await && !is_free("forwarded: for=\"[2001:db8::2]\"\r\n").await);
    assert!(is_free("").await && is_free("").await, "the proxy's own requests have no limit");
    const STRICT: &str = "strict-transport-security: max-age=31536000\r\n";
    assert!(say("forwarded: for=192.0.2.9;proto=https\r\n").await.contains(STRICT));
    assert!(!say("forwarded: for=192.0.2.10;proto=http\r\n").await.contains(STRICT) && !say("").await.contains(STRICT));
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_read_answers() {
    let served = served_by(TestApi::with_settings(|settings| settings.cors = Cors::of(vec!["https://ok.com".parse().unwrap()]))).await;
    let say =
        async |line: &str, headers: &str| served.say(&format!("{line} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n")).await;
    let preflight = "access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
    let allowed = say("OPTIONS /api/v1/events", &format!("origin: https://ok.com\r\n{preflight}")).await;
    assert!(allowed.starts_with("HTTP/1.1 204") && allowed.contains("access-control-allow-origin: https://ok.com\r\n"), "{allowed}");
    assert!(
        allowed.contains("access-control-allow-methods: GET, HEAD, POST") && allowed.contains("authorization, content-type"),
        "{allowed}"
    );
    let answered = say("GET /api/v1/rules", "origin: https://ok.com\r\n").await;
    assert!(answered.contains("401") && answered.contains("access-control-allow-origin: https://ok.com\r\n"), "{answered}");
    assert!(!(allowed + &answered).contains("access-control-allow-credentials"));
    for origin in ["null", "https://evil.com", "https://ok.com.evil.com", "http://ok.com"] {
        for (line, more) in [("GET /livez", ""), ("OPTIONS /api/v1/events", preflight)] {
            let heard = say(line, &format!("origin: {origin}\r\n{more}")).await;
            assert!(!heard.contains("access-control-") && heard.contains("vary: origin\r\n"), "{origin}: {heard}");
        }
    }
    let off = self::start_server(Limits::default()).await;
    let heard = off.say("GET /livez HTTP/1.1\r\nhost: x\r\norigin: https://ok.com\r\nconnection: close\r\n\r\n").await;
    assert!(!heard.contains("access-control-") && !heard.contains("vary"), "{heard}");
}
