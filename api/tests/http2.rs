//! Connections with TLS and HTTP/2, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use ensue_api::server::{ServerEnd, Tls};
use ensue_api::{Addresses, Limits, QueueName, Queues, Server};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::support::TestApi;
use crate::support::clock::HeldClock;

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct TestServer {
    api: TestApi,
    address: SocketAddr,
    trusting: Arc<ClientConfig>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<ServerEnd>,
}

/// A caller with one connection.
struct Caller {
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

async fn start_server(limits: Limits) -> TestServer {
    served_by(TestApi::within(limits)).await
}

/// Serves callers of the own machine with the limits for an address.
async fn served_with_limits_per_address(limits: Limits, queues: Queues) -> TestServer {
    served_by(TestApi::with_settings(|settings| {
        (settings.limits, settings.queues, settings.addresses) = (limits, queues, Addresses::default());
    }))
    .await
}

async fn served_by(api: TestApi) -> TestServer {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = CertificateDer::from(cert.der().to_vec());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut trusting = trusting.with_root_certificates(roots).with_no_client_auth();
    trusting.alpn_protocols = vec![b"h2".to_vec()];

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = Server::new(api.front.clone()).with_tls(Tls::new(config));
    let ended = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
    TestServer { api, address, trusting: Arc::new(trusting), stop, ended }
}

impl TestServer {
    async fn connect(&self) -> Caller {
        self.connect_with(h2::client::Builder::new()).await
    }

    async fn connect_with(&self, builder: h2::client::Builder) -> Caller {
        self.connect_over(TcpStream::connect(self.address).await.unwrap(), builder).await
    }

    async fn connect_from(&self, address: [u8; 4]) -> Caller {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        self.connect_over(socket.connect(self.address).await.unwrap(), h2::client::Builder::new()).await
    }

    async fn connect_over(&self, stream: TcpStream, builder: h2::client::Builder) -> Caller {
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(self.trusting.clone()).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Caller { requests, ended: tokio::spawn(connection) }
    }

    fn stream_of_the_log(&self) -> Request<()> {
        let token = self.api.node.token_of("viewer");
        request("/api/v1/log/stream", &[("authorization", &format!("Bearer {token}"))])
    }
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(format!("https://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

impl Caller {
    /// Sends a request without a body, and returns the head of the answer.
    async fn begin(&mut self, request: Request<()>) -> Result<(StatusCode, HeaderMap, RecvStream), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (answer, _) = requests.send_request(request, true)?;
        let (head, body) = answer.await?.into_parts();
        Ok((head.status, head.headers, body))
    }

    async fn ask(&mut self, request: Request<()>) -> Result<(StatusCode, HeaderMap, String), h2::Error> {
        let (status, headers, body) = self.begin(request).await?;
        Ok((status, headers, text_of(body).await?))
    }

    async fn is_served(&mut self) -> bool {
        self.ask(request("/livez", &[])).await.is_ok_and(|(status, _, text)| status == 200 && text == "{\"status\":\"ok\"}")
    }

    /// Waits until the node has closed the connection.
    async fn end(self) {
        // The node may close it in any way, as long as it answers no further request on it.
        drop(self.ended.await.unwrap());
    }
}

async fn text_of(mut body: RecvStream) -> Result<String, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn request_of_http_2_is_answered_like_any_other() {
    let served = start_server(Limits::default()).await;
    let mut caller = served.connect().await;
    assert!(caller.is_served().await);
    let (status, headers, text) = caller.ask(request("/api/v1/openapi.json", &[])).await.unwrap();
    assert!(status == 200 && text.len() > 64 * 1024 && text.trim_end().ends_with('}'), "{status}: {} bytes", text.len());
    assert_eq!(headers["content-length"], text.len().to_string());
    assert!(headers.contains_key("x-request-id") && !headers.contains_key("connection"));
    let (status, _, text) = caller.ask(request("/api/v1/rules", &[])).await.unwrap();
    assert!(status == 401 && text.contains("unauthenticated"), "{text}");
    assert_eq!(caller.requests.current_max_send_streams(), 100);
}

#[tokio::test]
async fn host_and_authority_of_a_request_must_be_the_same_and_the_node_s() {
    let served = start_server(Limits::default()).await;
    let mut caller = served.connect().await;
    let (status, _, text) = caller.ask(request("/livez", &[("host", "127.0.0.1")])).await.unwrap();
    assert!(status == 400 && text.contains("request_ambiguous"), "{text}");
    let (status, ..) = caller.ask(request("/livez", &[("host", "localhost")])).await.unwrap();
    assert_eq!(status, 200);
    let elsewhere = Request::get("https://attacker.test/livez").body(()).unwrap();
    let (status, _, text) = caller.ask(elsewhere).await.unwrap();
    assert!(status == 421 && text.contains("host_unknown"), "{text}");
}

#[tokio::test]
async fn large_heads_are_rejected_and_the_connection_continues() {
    let served = start_server(Limits::default()).await;
    let mut caller = served.connect().await;
    let (status, ..) = caller.ask(request("/livez", &[("x-large", &"x".repeat(17 * 1024))])).await.unwrap();
    assert_eq!(status, 431);
    let (status, ..) = caller.ask(request(&format!("/livez?{}", "x".repeat(9 * 1024)), &[])).await.unwrap();
    assert_eq!(status, 414);
    assert!(caller.is_served().await);
}

#[tokio::test]
async fn body_that_does_not_arrive_is_timed_out() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    let caller = served.connect().await;
    let post = Request::post("https://localhost/hooks/demo/door").header("content-type", "application/json").body(()).unwrap();
    let mut requests = caller.requests.clone().ready().await.unwrap();
    let begin = tokio::time::Instant::now();
    let (answer, mut body) = requests.send_request(post, false).unwrap();
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    assert_eq!(clock.pass_until(answer).await.unwrap().status(), 408);
    assert!(begin.elapsed() >= Limits::default().body_timeout, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn connection_of_a_caller_that_cancels_too_many_requests_is_closed() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    // It cancels each at once, or after the answer has begun.
    for waits in [false, true] {
        let mut caller = served.connect().await;
        let mut canceled = 0;
        let attack = async {
            loop {
                let mut requests = caller.requests.clone().ready().await?;
                let (answer, mut stream) = requests.send_request(served.stream_of_the_log(), true)?;
                let answer = if waits { Some(answer.await?) } else { None };
                // Otherwise the request would not even be sent.
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                stream.send_reset(Reason::CANCEL);
                drop(answer);
                canceled += 1;
                assert!(canceled < 10_000, "it may go on");
            }
        };
        let ended: Result<(), h2::Error> = tokio::time::timeout(PATIENCE, attack).await.unwrap();
        assert!(ended.is_err());
        assert!(!caller.is_served().await);
        clock.pass_until(caller.end()).await;
        assert!(served.connect().await.is_served().await, "others are served");
    }
}

#[tokio::test]
async fn response_that_its_caller_does_not_read_is_reset_and_others_continue() {
    let clock = HeldClock::new();
    // The node asks for a sign of life only after a longer time.
    let served = start_server(Limits { write_timeout: Duration::from_secs(5), ..Limits::default() }).await;
    for (path, window) in [("/api/v1/openapi.json", 1_000), ("/livez", 5)] {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let mut caller = served.connect_with(builder).await;
        let (status, _, mut body) = caller.begin(request(path, &[])).await.unwrap();
        assert_eq!(status, 200);
        let mut bytes = 0;
        let error = loop {
            match clock.pass_until(body.data()).await.expect("it does not end well") {
                Ok(data) => bytes += data.len(),
                Err(error) => break error,
            }
        };
        assert!(bytes <= window as usize && error.is_reset(), "{path}: {bytes} bytes, then {error}");
        let (status, ..) = caller.begin(request("/livez", &[])).await.unwrap();
        assert_eq!(status, 200, "the connection continues");
    }
}

#[tokio::test]
async fn answer_to_head_has_the_length_of_the_body_without_it() {
    let served = start_server(Limits::default()).await;
    let mut caller = served.connect().await;
    for path in ["/livez", "/api/v1/rules", "/nothing"] {
        let (status, headers, text) = caller.ask(request(path, &[])).await.unwrap();
        let head = Request::head(format!("https://localhost{path}")).body(()).unwrap();
        let (of_head, headers_of_head, none) = caller.ask(head).await.unwrap();
        assert_eq!((of_head, none.as_str()), (status, ""), "{path}");
        let length = |headers: &HeaderMap| headers["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        // The ids of the two requests have the same length.
        assert_eq!((length(&headers), length(&headers_of_head)), (text.len(), text.len()), "{path}");
    }
}

#[tokio::test]
async fn connection_over_the_limit_of_its_address_ends_after_its_answer() {
    let clock = HeldClock::new();
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let served = served_with_limits_per_address(limits, Queues::with(|_| 1_000_000_000)).await;
    let mut busy = served.connect().await;
    let (_, _, _following) = busy.begin(served.stream_of_the_log()).await.unwrap();
    let mut over = served.connect().await;
    let (status, _, text) = over.ask(request("/livez", &[])).await.unwrap();
    assert!(status == 429 && text.contains("too_many_connections"), "{text}");
    clock.pass_until(over.end()).await;
    assert!(busy.is_served().await);
}

#[tokio::test]
async fn address_has_at_most_half_of_the_requests_in_progress() {
    let queues = Queues::with(|name| if name == QueueName::Requests { 4 } else { 1_000_000_000 });
    let served = served_with_limits_per_address(Limits::default(), queues).await;
    let mut greedy = served.connect().await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        let post = Request::post("https://localhost/hooks/demo/door").header("content-type", "application/json").body(()).unwrap();
        begun.push(greedy.requests.clone().ready().await.unwrap().send_request(post, false).unwrap());
    }
    let refused = async {
        loop {
            let (status, _, text) = greedy.ask(request("/livez", &[])).await.unwrap();
            if status != StatusCode::OK {
                break (status, text);
            }
        }
    };
    let (status, text) = tokio::time::timeout(PATIENCE, refused).await.expect("both are in progress by then");
    assert!(status == 429 && text.contains("over_share"), "{text}");
    assert!(served.connect_from([127, 0, 0, 2]).await.is_served().await);
}

#[tokio::test]
async fn connection_without_a_request_in_progress_is_closed() {
    let clock = HeldClock::new();
    // Twice this is less than the time after which the node asks for a sign of life.
    let head_timeout = Duration::from_secs(5);
    let served = start_server(Limits { head_timeout, ..Limits::default() }).await;
    for is_served in [false, true] {
        let begin = tokio::time::Instant::now();
        let mut caller = served.connect().await;
        assert!(!is_served || caller.is_served().await);
        clock.pass_until(caller.end()).await;
        assert!(begin.elapsed() >= head_timeout, "{:?}", begin.elapsed());
    }
    let mut busy = served.connect().await;
    let (_, _, _following) = busy.begin(served.stream_of_the_log()).await.unwrap();
    clock.pass(head_timeout * 2).await;
    assert!(busy.is_served().await, "a stream is a request in progress");
}

#[tokio::test]
async fn stop_lets_requests_in_progress_end_and_closes_the_connection() {
    let served = start_server(Limits::default()).await;
    let mut caller = served.connect().await;
    let (_, _, following) = caller.begin(served.stream_of_the_log()).await.unwrap();
    let idle = served.connect().await;
    served.stop.send(()).unwrap();
    text_of(following).await.unwrap();
    assert_eq!(served.ended.await.unwrap(), ServerEnd { connections_cut: 0 });
    assert!(!caller.is_served().await);
    tokio::time::timeout(PATIENCE, caller.end()).await.expect("the node closes it");
    tokio::time::timeout(PATIENCE, idle.end()).await.expect("the node closes it");
}

#[tokio::test]
async fn caller_without_tls_gets_an_explanation_and_a_silent_one_is_closed() {
    let clock = HeldClock::new();
    let served = start_server(Limits::default()).await;
    for (sent, expected) in [("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", "\"code\":\"tls_required\""), ("", ""), ("\u{16}\u{3}\u{1}", "")] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        drop(clock.pass_until(stream.read_to_end(&mut heard)).await);
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains(expected) && heard.starts_with(if expected.is_empty() { "" } else { "HTTP/1.1 400 " }), "{heard}");
    }
}
