//! A node that other machines reach: who sent a request, how much one address may send, and whose pages may use it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use reqwest::{Method, Response, StatusCode};

use crate::support::{Client, NodeFolder, PATIENCE, skipped};

async fn alive(client: &Client, header: (&str, &str)) -> Response {
    client.anonymous(Method::GET, "/livez").header(header.0, header.1).send().await.unwrap()
}

#[tokio::test]
async fn trusted_proxy_reports_its_clients_and_each_has_its_own_limit() {
    let place = NodeFolder::new()
        .with_variable("ENSUE_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")
        .with_variable("ENSUE_RATE_LIMITS_ANONYMOUS", "2/1h")
        .with_variable("ENSUE_LOG", "ensue_api=debug");
    let node = place.start();
    let client = node.client();
    let reported = ("x-forwarded-for", "127.0.0.1, 192.0.2.7, 10.0.0.2");
    for _ in 0..2 {
        assert_eq!(alive(&client, reported).await.status(), StatusCode::OK);
    }
    let refused = alive(&client, reported).await;
    assert_eq!(refused.headers()["retry-after"], "1800");
    assert_eq!(
        (refused.status(), &refused.headers()["ratelimit"]),
        (StatusCode::TOO_MANY_REQUESTS, &"\"anonymous\";r=0;t=3600".parse().unwrap())
    );
    assert_eq!(alive(&client, ("x-forwarded-for", "192.0.2.8")).await.status(), StatusCode::OK);
    let with_token = client.request(Method::GET, "/api/v1/rules").header(reported.0, reported.1).send().await.unwrap();
    assert_eq!(with_token.status(), StatusCode::OK, "a valid token is not limited");
    let said = node.stop_well();
    for client in ["client=192.0.2.7", "client=192.0.2.8"] {
        assert!(said.contains(client), "{said}");
    }
}

#[tokio::test]
async fn reported_addresses_are_ignored_without_a_trusted_proxy() {
    let place = NodeFolder::new().with_variable("ENSUE_RATE_LIMITS_ANONYMOUS", "1/1h").with_variable("ENSUE_LOG", "ensue_api=debug");
    let node = place.start();
    for _ in 0..3 {
        let answer = alive(&node.client(), ("x-forwarded-for", "192.0.2.7")).await;
        assert_eq!(answer.status(), StatusCode::OK, "callers on the node's own machine have no limit");
        assert!(!answer.headers().contains_key("ratelimit"));
    }
    let said = node.stop_well();
    assert!(said.contains("client=127.0.0.1") && !said.contains("192.0.2.7"), "{said}");
}

#[tokio::test]
async fn pages_of_listed_origins_may_use_the_api() {
    let node = NodeFolder::new().with_variable("ENSUE_CORS_ORIGINS", "https://ok.com,http://localhost:5173").start();
    let client = node.client();
    let asked = async |origin: &str| {
        let request = client.anonymous(Method::OPTIONS, "/api/v1/events").header("origin", origin);
        request.header("access-control-request-method", "POST").send().await.unwrap()
    };
    let allowed = asked("http://localhost:5173").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "http://localhost:5173");
    for origin in ["null", "https://evil.com", "https://ok.com.evil.com", "http://ok.com"] {
        assert!(!asked(origin).await.headers().keys().any(|name| name.as_str().starts_with("access-control-")), "{origin}");
    }
    assert_eq!(node.stop(), Some(0));
    let said = NodeFolder::new().with_variable("ENSUE_CORS_ORIGINS", "*").try_start().err().unwrap();
    assert!(said.contains("ENSUE_CORS_ORIGINS has `*`, but must be origins like https://app.example.test"), "{said}");
}

/// Returns an address of this machine that is not a loopback address.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // This only chooses a route; nothing is sent.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

#[test]
fn address_has_a_maximum_of_connections_with_requests_in_progress() {
    const NAME: &str = "address_has_a_maximum_of_connections_with_requests_in_progress";
    let Some(own) = own_address() else { return skipped::skipped(NAME, "the machine has only loopback addresses") };
    let place = NodeFolder::new().listening_on("0.0.0.0:0").with_variable("ENSUE_LIMITS_CONNECTIONS_PER_ADDRESS", "2");
    let node = place.start();
    let port = node.url().rsplit(':').next().unwrap().parse().unwrap();
    let connect = |to: IpAddr| {
        let stream = TcpStream::connect(SocketAddr::new(to, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let begin = |to: IpAddr| {
        let mut stream = connect(to);
        let head = "GET /api/v1/log/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ";
        stream.write_all(format!("{head}{}\r\n\r\n", crate::support::ADMIN_TOKEN).as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (String::from_utf8_lossy(&status).into_owned(), stream)
    };
    let _open = [begin(own), begin(own)].map(|(status, stream)| {
        assert_eq!(status, "HTTP/1.1 200");
        stream
    });
    let (status, mut refused) = begin(own);
    let mut rest = String::new();
    refused.read_to_string(&mut rest).unwrap();
    assert_eq!(status, "HTTP/1.1 429");
    assert!(rest.contains("too_many_connections") && rest.contains("retry-after: 1"), "{rest}");
    assert_eq!(begin([127, 0, 0, 1].into()).0, "HTTP/1.1 200", "callers on the node's own machine have no limit");
    assert_eq!(node.stop(), Some(0));
}
