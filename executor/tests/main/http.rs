//! HTTP requests: what is sent, which addresses are allowed, and how the answer is handled.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{HookMethod, HttpBody, HttpRequest, RequestSigning, Run, Scheme, SigningScheme};
use ensue_engine::command::Report;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::{OutputStream, Secret};
use ensue_engine::time::Timestamp;
use ensue_executor::EgressPolicy;
use ensue_sensors::SignatureRefusal;
use ensue_sensors::signatures::{ReceivedDelivery, check};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Server, answer, json_answer};
use crate::world::{NOON, Plan, SECRET, TRACE, attempt, body, execution, failure, get, result, template};

fn run(request: HttpRequest) -> Run {
    Run::Http(Box::new(request))
}

async fn ok_server() -> Server {
    Server::start(|_| json_answer("200 OK", r#"{"n": 1.0}"#)).await
}

/// Makes one request with the server's address allowed.
async fn report_of(server: &Server, request: HttpRequest, params: Value) -> Report {
    Plan::new(run(request)).allow(server.address).begin().report_of(params).await
}

#[tokio::test]
async fn answer_is_status_headers_and_body() {
    let server = ok_server().await;
    let report = report_of(&server, get(&server.url("/x")), json!({})).await;
    let expected =
        json!({ "status": 200, "headers": { "content-length": "10", "content-type": "application/json" }, "body": { "n": 1.0 } });
    assert_eq!(result(&report), expected);
    assert_eq!(server.requests()[0].line(), "GET /x HTTP/1.1");
}

#[tokio::test]
async fn result_is_computed_from_the_answer_which_is_kept_as_output() {
    let server = ok_server().await;
    let mapped = |output: Value| {
        let plan = Plan::new(run(get(&server.url("/")))).allow(server.address);
        plan.action(run(get(&server.url("/"))), |action| action.output = Some(template(output)))
    };
    let mut world = mapped(json!({ "n": "${{ body.n }}", "status": "${{ status }}" })).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!({ "n": 1.0, "status": 200 }));
    let kept: Value = serde_json::from_slice(&world.outputs.stream_head(1, OutputStream::Stdout).0).unwrap();
    assert_eq!((&kept["status"], &kept["body"]), (&json!(200), &json!({ "n": 1.0 })));

    let report = mapped(json!("${{ body.missing }}")).begin().report_of(json!({})).await;
    assert!(failure(&report, FailureKind::Output).message.contains("missing"));
    assert_eq!(body(&report)["body"], json!({ "n": 1.0 }), "the answer is kept");
}

#[tokio::test]
async fn key_in_a_server_s_answer_is_masked() {
    use base64::Engine as _;

    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{SECRET}"));
    let bodies = [
        ("application/json", format!(r#"{{"headers":{{"authorization":"Bearer {SECRET}"}}}}"#)),
        ("text/plain", format!("you sent {SECRET} and {basic}")),
    ];
    for (kind, sent) in bodies {
        for status in ["200 OK", "401 Unauthorized"] {
            let (kind, sent) = (kind.to_owned(), sent.clone());
            let server = Server::start(move |_| answer(status, &[("content-type", &kind), (&format!("x-{SECRET}"), SECRET)], &sent)).await;
            let headers = template(json!({ "authorization": "Bearer ${{ keys['test.token'] }}" }));
            let report = report_of(&server, HttpRequest { headers, ..get(&server.url("/")) }, json!({})).await;
            let shown = body(&report).to_string();
            assert!(shown.contains("[redacted test.token]") && !shown.contains(SECRET) && !shown.contains(&basic), "{shown}");
            assert_eq!(body(&report)["headers"]["x-[redacted test.token]"], "[redacted test.token]", "{shown}");
        }
    }
}

#[tokio::test]
async fn truncated_message_does_not_show_part_of_a_key() {
    let request = HttpRequest { method: template(json!("${{ keys['test.token'] + ' and much more' }}")), ..get("http://127.0.0.1:9/") };
    let report = Plan::new(run(request)).begin().report_of(json!({})).await;
    let message = &failure(&report, FailureKind::ParametersInvalid).message;
    assert!(!message.contains(&SECRET[..4]), "{message}");
    let request = HttpRequest { method: template(json!("${{ keys['test.token'] + ' !' }}")), ..get("http://127.0.0.1:9/") };
    let report = Plan::new(run(request)).begin().report_of(json!({})).await;
    let message = &failure(&report, FailureKind::ParametersInvalid).message;
    assert!(message.contains("`[redacted test.token] !`"), "{message}");
}

#[tokio::test]
async fn request_has_the_execution_s_key_and_trace_unless_declared() {
    let server = ok_server().await;
    report_of(&server, get(&server.url("/")), json!({})).await;
    let headers = template(json!({ "Idempotency-Key": "mine", "X-Number": 3, "X-None": null }));
    report_of(&server, HttpRequest { headers, ..get(&server.url("/")) }, json!({})).await;
    let asked = server.requests();
    assert_eq!(asked[0].header("idempotency-key"), Some(execution(1).to_string().as_str()));
    assert_eq!(asked[0].header("traceparent"), Some(TRACE));
    assert!(asked[0].header("user-agent").is_some_and(|agent| agent.starts_with("ensue/")));
    assert_eq!(
        (asked[1].header("idempotency-key"), asked[1].header("x-number"), asked[1].header("x-none")),
        (Some("mine"), Some("3"), None)
    );
}

#[tokio::test]
async fn request_body_is_json_or_text_and_never_both() {
    let server = ok_server().await;
    let post = |json: Value, text: Value| HttpRequest {
        connection: None,
        without_connection: None,
        method: template(json!("post")),
        body: HttpBody::Either { json: template(json), text: template(text) },
        ..get(&server.url("/"))
    };
    report_of(&server, post(json!({ "region": "${{ params.region }}" }), json!(null)), json!({ "region": "eu" })).await;
    report_of(&server, post(json!(null), json!("hi ${{ params.region }}")), json!({ "region": "eu" })).await;
    report_of(&server, post(json!(null), json!(null)), json!({})).await;
    let both = report_of(&server, post(json!(1), json!("1")), json!({})).await;
    failure(&both, FailureKind::ParametersInvalid);
    let asked = server.requests();
    assert_eq!(asked.len(), 3);
    assert_eq!((asked[0].body.as_str(), asked[0].header("content-type")), (r#"{"region":"eu"}"#, Some("application/json")));
    assert_eq!((asked[1].body.as_str(), asked[1].header("content-type")), ("hi eu", Some("text/plain; charset=utf-8")));
    assert_eq!((asked[2].line(), asked[2].body.as_str()), ("POST / HTTP/1.1", ""));
}

#[tokio::test]
async fn value_in_a_url_is_encoded_for_its_part() {
    let server = ok_server().await;
    let url = server.url("/repos/${{ params.repo }}/tags?name=${{ params.tag }}");
    let query = template(json!({ "page": 2, "labels": ["a b", "c&d"], "none": null }));
    let params = json!({ "repo": "acme/site?x=1#y z", "tag": "a&admin=1" });
    report_of(&server, HttpRequest { query, ..get(&url) }, params).await;
    let expected = "GET /repos/acme/site%3Fx%3D1%23y%20z/tags?name=a%26admin%3D1&labels=a+b&labels=c%26d&page=2 HTTP/1.1";
    assert_eq!(server.requests()[0].line(), expected);
}

#[tokio::test]
async fn url_that_leaves_its_path_or_host_is_rejected() {
    let server = ok_server().await;
    let report = report_of(&server, get(&server.url("/repos/${{ params.repo }}")), json!({ "repo": "../admin" })).await;
    failure(&report, FailureKind::ParametersInvalid);
    let report = report_of(&server, get("http://${{ params.host }}/"), json!({ "host": server.address.to_string() })).await;
    failure(&report, FailureKind::Expression);
    let report = report_of(&server, get("http://${{ params.user }}@x/"), json!({ "user": "a" })).await;
    failure(&report, FailureKind::Expression);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn whole_url_may_be_one_expression() {
    let server = ok_server().await;
    let report = report_of(&server, get("${{ params.url }}"), json!({ "url": server.url("/a/../b?q=1#f") })).await;
    assert_eq!(result(&report)["status"], 200);
    assert_eq!(server.requests()[0].line(), "GET /b?q=1 HTTP/1.1");
}

#[tokio::test]
async fn server_error_is_a_failure_that_keeps_the_answer() {
    for (line, status) in [("404 Not Found", 404), ("503 Service Unavailable", 503)] {
        let server = Server::start(move |_| json_answer(line, r#"{"why":"x"}"#)).await;
        let report = report_of(&server, get(&server.url("/")), json!({})).await;
        let failure = failure(&report, FailureKind::HttpStatus);
        assert_eq!(failure.detail, Some(status));
        assert!(failure.message.ends_with(&format!("answered {line}")), "{}", failure.message);
        assert_eq!(body(&report)["body"], json!({ "why": "x" }));
    }
}

#[tokio::test]
async fn retry_after_of_an_error_is_reported() {
    let date = ("date", "Sun, 06 Nov 1994 08:00:00 GMT");
    for (value, millis) in [("2", Some(2_000)), ("Sun, 06 Nov 1994 08:01:30 GMT", Some(90_000)), ("soon", None)] {
        let server = Server::start(move |_| answer("429 Too Many Requests", &[("retry-after", value), date], "")).await;
        let report = report_of(&server, get(&server.url("/")), json!({})).await;
        failure(&report, FailureKind::HttpStatus);
        assert_eq!(report.retry_after_millis, millis, "{value}");
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let server = ok_server().await;
    let mut world = Plan::new(run(get(&server.url("/")))).allow(server.address).begin();
    for number in 1..=5 {
        world.dispatch(number, json!({}));
        world.report().await;
    }
    assert!(server.requests().iter().all(|asked| asked.connection == 0));
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn request_is_noted_as_begun_before_it_is_sent() {
    let folder = Arc::new(std::sync::Mutex::new(None::<std::path::PathBuf>));
    let begun = folder.clone();
    let server = Server::start(move |_| {
        let path = begun.lock().unwrap().clone().unwrap();
        json_answer("200 OK", &json!(std::fs::read_to_string(path).unwrap()).to_string())
    })
    .await;
    let mut world = Plan::new(run(get(&server.url("/")))).allow(server.address).begin();
    *folder.lock().unwrap() = Some(world.folder.path().join("begun"));
    let report = world.report_of(json!({})).await;
    assert!(result(&report)["body"].as_str().unwrap().contains(&attempt(1).to_string()));
}

#[tokio::test]
async fn denied_destinations_are_not_reached_and_look_alike() {
    let server = ok_server().await;
    let closed = "http://127.0.0.1:9/";
    for url in [
        server.url("/").as_str(),
        closed,
        "http://[::1]:80/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://127.1:80/",
    ] {
        let mut world = Plan::new(run(get(url))).begin();
        let report = world.report_of(json!({})).await;
        let failure = failure(&report, FailureKind::EgressDenied);
        assert!(
            failure.message.ends_with("is not an allowed destination; an operator can allow it under `egress.allow`"),
            "{}",
            failure.message
        );
        assert!(!world.begun_text().contains(&attempt(1).to_string()), "nothing began");
    }
    for url in ["file:///etc/passwd", "gopher://127.0.0.1/", "http://user:pw@example.com/"] {
        let mut world = Plan::new(run(get("${{ params.url }}"))).begin();
        failure(&world.report_of(json!({ "url": url })).await, FailureKind::ParametersInvalid);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn name_is_allowed_by_its_addresses() {
    let server = ok_server().await;
    let port = server.address.port();
    let allow = vec![format!("127.0.0.1:{port}").parse().unwrap(), format!("[::1]:{port}").parse().unwrap()];
    let mut world = Plan::new(run(get(&format!("http://localhost:{port}/")))).egress(EgressPolicy::allowing(allow)).begin();
    assert_eq!(result(&world.report_of(json!({})).await)["status"], 200);
}

#[tokio::test]
async fn redirects_are_followed_and_each_is_checked() {
    let inner = ok_server().await;
    let elsewhere = inner.url("/secret");
    let server = Server::start(move |asked| match asked.line().split(' ').nth(1) {
        Some("/a") => answer("302 Found", &[("location", "/b")], ""),
        Some("/b") => json_answer("200 OK", "{}"),
        Some("/in") => answer("307 Temporary Redirect", &[("location", &elsewhere)], ""),
        Some("/file") => answer("302 Found", &[("location", "file:///etc/passwd")], ""),
        _ => answer("302 Found", &[("location", "/round")], ""),
    })
    .await;
    assert_eq!(result(&report_of(&server, get(&server.url("/a")), json!({})).await)["status"], 200);
    for (path, kind) in
        [("/in", FailureKind::EgressDenied), ("/file", FailureKind::RedirectInvalid), ("/round", FailureKind::TooManyRedirects)]
    {
        let report = report_of(&server, get(&server.url(path)), json!({})).await;
        let message = &failure(&report, kind).message;
        assert_eq!(message.contains("egress.allow"), kind == FailureKind::EgressDenied, "{message}");
    }
    assert_eq!(server.requests().iter().filter(|asked| asked.line().contains("/round")).count(), 6, "five redirects are followed");
    assert!(inner.requests().is_empty());
}

#[tokio::test]
async fn redirect_in_raw_utf_8_is_followed() {
    let server = Server::start(|asked| match asked.line().split(' ').nth(1) {
        Some("/") => answer("302 Found", &[("location", "/ö")], ""),
        _ => json_answer("200 OK", "{}"),
    })
    .await;
    assert_eq!(result(&report_of(&server, get(&server.url("/")), json!({})).await)["status"], 200);
    assert_eq!(server.requests()[1].line(), "GET /%C3%B6 HTTP/1.1");
}

#[tokio::test]
async fn unreachable_or_interrupted_server_is_a_network_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut world = Plan::new(run(get(&format!("http://{address}/?token=t0k3n")))).allow(address).begin();
    let report = world.report_of(json!({})).await;
    let failed = failure(&report, FailureKind::Network);
    assert!(failed.message.contains(&address.to_string()) && !failed.message.contains("t0k3n"), "{}", failed.message);

    let server = Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf".to_vec()).await;
    failure(&report_of(&server, get(&server.url("/")), json!({})).await, FailureKind::Network);
}

#[tokio::test]
async fn server_without_tls_is_a_network_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let mut world = Plan::new(run(get(&format!("https://{address}/")))).allow(address).begin();
    failure(&world.report_of(json!({})).await, FailureKind::Network);
}

/// Runs the test of a plain request again, in a process whose environment names a proxy that does not exist.
#[test]
fn proxy_from_the_environment_is_not_used() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "http::answer_is_status_headers_and_body"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, "http://127.0.0.1:9/");
    }
    let ended = again.output().unwrap();
    assert!(ended.status.success() && String::from_utf8_lossy(&ended.stdout).contains("1 passed"));
}

#[tokio::test]
async fn cancel_aborts_a_request() {
    let server = Server::start(|_| Vec::new()).await;
    let mut world = Plan::new(run(get(&server.url("/")))).allow(server.address).begin();
    world.dispatch(1, json!({}));
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    world.stop(1);
    failure(&world.report().await, FailureKind::Cancelled);
}

#[tokio::test]
async fn oversized_answer_is_truncated() {
    let large = "x".repeat(11 << 20);
    let server = Server::start(move |_| answer("200 OK", &[("content-type", "text/plain")], &large)).await;
    let report = report_of(&server, get(&server.url("/")), json!({})).await;
    failure(&report, FailureKind::OutputLimit);
    assert_eq!(body(&report)["status"], 200);
}

#[tokio::test]
async fn endless_headers_are_cut_off() {
    let server = Server::start(|_| {
        let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
        text.extend((0..100_000).map(|number| format!("x-{number}: {number}\r\n")));
        text.into_bytes()
    })
    .await;
    failure(&report_of(&server, get(&server.url("/")), json!({})).await, FailureKind::Network);
}

#[tokio::test]
async fn missing_answer_times_out() {
    let server = Server::start(|_| Vec::new()).await;
    let mut world = Plan::new(run(get(&server.url("/")))).allow(server.address).time_in_hand().begin();
    world.dispatch(1, json!({}));
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(Duration::from_secs(60));
    let report = world.report().await;
    assert!(failure(&report, FailureKind::Timeout).message.contains("60 seconds"));
}

#[tokio::test]
async fn key_reaches_the_server_and_no_record() {
    let server = Server::start(|_| answer("401 Unauthorized", &[], "")).await;
    let request = HttpRequest {
        headers: template(json!({ "Authorization": "Bearer ${{ keys['test.token'] }}" })),
        ..get(&format!("{}${{{{ keys['test.token'] }}}}", server.url("/")))
    };
    let report = report_of(&server, request, json!({})).await;
    let failure = failure(&report, FailureKind::HttpStatus);
    assert_eq!(failure.message, "the server answered 401 Unauthorized");
    assert!(!format!("{report:?}").contains(SECRET));
    let asked = server.requests();
    assert_eq!(asked[0].header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(asked[0].line(), format!("GET /{SECRET} HTTP/1.1"));
}

#[tokio::test]
async fn line_break_in_a_header_is_rejected() {
    let server = ok_server().await;
    let request = HttpRequest { headers: template(json!({ "X-Name": "${{ params.name }}" })), ..get(&server.url("/")) };
    let report = report_of(&server, request, json!({ "name": "a\r\nHost: x" })).await;
    failure(&report, FailureKind::ParametersInvalid);
    let request = HttpRequest { method: template(json!("${{ params.method }}")), ..get(&server.url("/")) };
    let report = report_of(&server, request, json!({ "method": "GET / HTTP/1.1\r\n" })).await;
    failure(&report, FailureKind::ParametersInvalid);
    assert!(server.requests().is_empty());
}

/// A key in the form of Standard Webhooks.
const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn signed_request(url: &str, key: Value) -> HttpRequest {
    let signing = Some(RequestSigning { scheme: SigningScheme::Standard, key: template(key) });
    HttpRequest { method: template(json!("POST")), body: HttpBody::Json(template(json!({ "order": 17 }))), signing, ..get(url) }
}

fn signature_of(request: &crate::server::ReceivedRequest) -> Result<(), SignatureRefusal> {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Vec<(String, String)> =
        names.into_iter().filter_map(|name| Some((name.to_owned(), request.header(name)?.to_owned()))).collect();
    let seconds: i64 = request.header("webhook-timestamp").map_or(0, |seconds| seconds.parse().unwrap());
    let delivered = ReceivedDelivery { headers: &headers, body: request.body.as_bytes(), url: "", method: HookMethod::Post };
    let key = Secret::new(SIGNING_KEY.as_bytes().to_vec());
    check(&Scheme::Standard, delivered, Some(&key), Timestamp::from_micros(seconds * 1_000_000))
}

#[tokio::test]
async fn signed_request_is_verified_by_the_scheme_of_a_webhook() {
    let server = ok_server().await;
    let report = report_of(&server, signed_request(&server.url("/"), json!(SIGNING_KEY)), json!({})).await;
    assert_eq!(result(&report)["status"], 200);
    let asked = server.requests();
    assert_eq!(signature_of(&asked[0]), Ok(()));
    assert_eq!(asked[0].header("webhook-id"), Some(execution(1).to_string().as_str()));
    let now = NOON.unix_millis() / 1_000;
    let at: u64 = asked[0].header("webhook-timestamp").unwrap().parse().unwrap();
    assert!(at.abs_diff(now) <= 60, "{at} is the time of the attempt, about {now}");
}

#[tokio::test]
async fn declared_id_of_a_message_is_signed() {
    let server = ok_server().await;
    let headers = template(json!({ "Webhook-Id": "order-17" }));
    let request = HttpRequest { headers, ..signed_request(&server.url("/"), json!(SIGNING_KEY)) };
    report_of(&server, request, json!({})).await;
    let asked = server.requests();
    assert_eq!((signature_of(&asked[0]), asked[0].header("webhook-id")), (Ok(()), Some("order-17")));
}

#[tokio::test]
async fn request_whose_key_cannot_sign_is_not_sent_and_shows_no_key() {
    let server = ok_server().await;
    for (key, why) in [
        (json!("${{ keys['test.token'] }}"), "its key has 13 bytes, but must have at least 16"),
        (json!("${{ keys['test.token'] + keys['test.token'] }}"), "its key is not `whsec_` and base64"),
        (json!("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "its key is a public key (`whpk_`), which cannot sign"),
        (json!("${{ null }}"), "its key has 0 bytes, but must have at least 16"),
    ] {
        let report = report_of(&server, signed_request(&server.url("/"), key), json!({})).await;
        let message = &failure(&report, FailureKind::ParametersInvalid).message;
        assert_eq!(*message, format!("the request cannot be signed: {why}"));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn redirect_that_drops_the_body_drops_the_signature() {
    let server = Server::start(|asked| match asked.line() {
        "POST / HTTP/1.1" => answer("303 See Other", &[("location", "/after")], ""),
        _ => json_answer("200 OK", "{}"),
    })
    .await;
    report_of(&server, signed_request(&server.url("/"), json!(SIGNING_KEY)), json!({})).await;
    let asked = server.requests();
    assert_eq!((asked.len(), asked[1].line()), (2, "GET /after HTTP/1.1"));
    assert_eq!((asked[1].header("webhook-id"), asked[1].header("webhook-signature")), (None, None));
}
