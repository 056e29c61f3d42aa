//! Traces from a collector's point of view: one trace covers a request and all its effects, even over a
//! restart, and nothing waits for a collector.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, NodeFolder, Running, free_port, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// The caller's span.
const CALLER: &str = "b7ad6b7169203331";

/// A server that records requests: a collector at `/v1/traces`, and the target of requests everywhere else.
#[derive(Clone)]
struct StandIn {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
    /// The headers of each request with spans.
    exports: Arc<Mutex<Vec<HeaderMap>>>,
    /// The attributes of the resource of the spans.
    resource: Arc<Mutex<Value>>,
    /// The `traceparent` of each other request, followed by a space and its `tracestate` if it has one.
    traced: Arc<Mutex<Vec<String>>>,
    /// The answers to the next spans, instead of accepting them.
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

impl StandIn {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let noted = Self {
            address: listener.local_addr().unwrap(),
            spans: Arc::default(),
            exports: Arc::default(),
            resource: Arc::default(),
            traced: Arc::default(),
            answers: Arc::default(),
        };
        let stand_in = noted.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stand_in = stand_in.clone();
                let service = service_fn(move |request| {
                    let stand_in = stand_in.clone();
                    async move { Ok::<_, Infallible>(stand_in.answer(request).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        noted
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.uri.path() == "/v1/traces" {
            assert_eq!(parts.headers["content-type"], "application/json");
            let export: Value = serde_json::from_slice(&body).unwrap();
            let resource = &export["resourceSpans"][0];
            *self.resource.lock().unwrap_or_else(PoisonError::into_inner) = attributes(&resource["resource"]);
            self.exports.lock().unwrap_or_else(PoisonError::into_inner).push(parts.headers);
            let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
            if let Some((status, answer)) = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return Response::builder().status(status).body(Full::from(answer)).unwrap();
            }
            self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans.iter().cloned());
        } else {
            let given = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
            let trace: Vec<&str> = given("traceparent").into_iter().chain(given("tracestate")).collect();
            self.traced.lock().unwrap_or_else(PoisonError::into_inner).push(trace.join(" "));
            match parts.uri.path() {
                "/moved" => return Response::builder().status(302).header("location", "/target").body(Full::default()).unwrap(),
                "/broken" => return Response::builder().status(503).body(Full::default()).unwrap(),
                _ => {}
            }
        }
        Response::builder().header("content-type", "application/json").body(Full::from("{}")).unwrap()
    }

    /// Waits for so many spans, and returns them by name.
    async fn spans(&self, many: usize) -> BTreeMap<String, Value> {
        let spans = until("so many spans", async || {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if spans.len() >= many { Ok(spans) } else { Err(format!("not {many}: {spans:#?}")) }
        })
        .await;
        assert_eq!(spans.len(), many, "{spans:#?}");
        spans.into_iter().map(|span| (span["name"].as_str().unwrap().to_owned(), span)).collect()
    }

    /// The attributes of the resource of the last spans.
    fn resource(&self) -> Value {
        self.resource.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn trace_headers(&self) -> Vec<String> {
        self.traced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates a place whose nodes send their traces here, and whose actions may send requests here.
    fn place(&self) -> NodeFolder {
        self.place_of_actions().with_variable("ENSUE_TRACES_ENDPOINT", &format!("http://{}", self.address))
    }

    /// Creates a place whose actions may send requests here.
    fn place_of_actions(&self) -> NodeFolder {
        let place = NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", &self.address.to_string());
        place.write_pack_file(
            "trail/pack.yaml",
            "name: trail\nversion: 1.0.0\ndescription: A trail.\nrequires: { packs: { core: ^0.1 } }\n",
        );
        place.write_pack_file("trail/triggers/begun.yaml", "description: It was begun.\npayload:\n  word: string\n");
        place.write_pack_file(
            "trail/rules/child.yaml",
            "description: Has a program say where it is.\ntrigger: trail.begun\naction: core.shell\nwith:\n  script: printf %s \"$TRACEPARENT${TRACESTATE:+ $TRACESTATE}\"\n",
        );
        place.write_pack_file(
            "trail/rules/out.yaml",
            &format!(
                "description: Asks a server.\ntrigger: trail.begun\naction: core.http\nwith:\n  url: http://{}/target\n",
                self.address
            ),
        );
        place
    }
}

/// The attributes of a span or of a resource, by name.
fn attributes(of: &Value) -> Value {
    let value = |value: &Value| value.as_object().unwrap().values().next().unwrap().clone();
    let named = |attribute: &Value| (attribute["key"].as_str().unwrap().to_owned(), value(&attribute["value"]));
    of["attributes"].as_array().unwrap().iter().map(named).collect()
}

/// The output of the program of the only execution of an action.
async fn await_output(client: &Client, action: &str) -> String {
    let page =
        client.until(&format!("/executions?action={action}&status=succeeded"), |page| page["items"].as_array().unwrap().len() == 1).await;
    let id = page["items"][0]["id"].as_str().unwrap();
    let request = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream=stdout")).header("accept", "text/plain");
    request.send().await.unwrap().text().await.unwrap()
}

async fn begin(client: &Client, traceparent: &str) {
    let event = json!({ "trigger": "trail.begun", "payload": { "word": "go" } });
    let sent = client.request(Method::POST, "/api/v1/events").header("traceparent", traceparent).json(&event).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    assert_eq!(sent.headers()["traceparent"], traceparent);
}

#[tokio::test]
async fn one_trace_covers_a_request_its_effects_programs_and_outgoing_requests() {
    let stand_in = StandIn::start().await;
    let place = stand_in.place();
    let node = place.start();
    let client = node.client();
    begin(&client, &format!("00-{TRACE}-{CALLER}-01")).await;
    let spans = stand_in.spans(9).await;
    assert!(spans.values().all(|span| span["traceId"] == TRACE), "{spans:#?}");
    assert_eq!(stand_in.resource()["service.name"], "ensue");
    let parent_of = |name: &str| spans[name]["parentSpanId"].as_str().unwrap_or_default();
    let id_of = |name: &str| spans[name]["spanId"].as_str().unwrap();
    assert_eq!(parent_of("POST /api/v1/events"), CALLER);
    assert_eq!(parent_of("event trail.begun"), id_of("POST /api/v1/events"));
    for (rule, action) in [("child", "core.shell"), ("out", "core.http")] {
        let [enforcement, execution, attempt] =
            [format!("enforcement trail.{rule}"), format!("execution {action}"), format!("attempt {action}")];
        assert_eq!(parent_of(&enforcement), id_of("event trail.begun"));
        assert_eq!(parent_of(&execution), id_of(&enforcement));
        assert_eq!(parent_of(&attempt), id_of(&execution));
    }
    let under = |attempt: &str| format!("00-{TRACE}-{}-01", id_of(attempt));
    assert_eq!(await_output(&client, "core.shell").await, under("attempt core.shell"));
    assert_eq!(parent_of("GET"), id_of("attempt core.http"));
    assert_eq!(stand_in.trace_headers(), [under("GET")]);
    // The request and the records use the same clock, the node's.
    let time = |name: &str, end: &str| spans[name][end].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("POST /api/v1/events", "startTimeUnixNano") <= time("event trail.begun", "startTimeUnixNano"));
    assert!(time("attempt core.shell", "endTimeUnixNano") <= time("execution core.shell", "endTimeUnixNano"));
    node.stop_well();
}

#[tokio::test]
async fn request_spans_follow_the_http_conventions() {
    let stand_in = StandIn::start().await;
    let place = stand_in.place();
    let rule = |name: &str, path: &str| {
        let (description, url) = ("description: Asks a server.", format!("http://{}{path}", stand_in.address));
        let with = format!("with:\n  url: {url}\n  query: {{ api_key: s3cret, page: 2 }}");
        place.write_pack_file(
            &format!("trail/rules/{name}.yaml"),
            &format!("{description}\ntrigger: trail.begun\nwhen: event.payload.word == '{name}'\naction: core.http\n{with}\n"),
        );
    };
    rule("moved", "/moved");
    rule("broken", "/broken");
    place.write_pack_file("trail/rules/child.yaml", "description: Nothing.\ntrigger: trail.begun\nwhen: false\naction: core.noop\n");
    place.write_pack_file("trail/rules/out.yaml", "description: Nothing.\ntrigger: trail.begun\nwhen: false\naction: core.noop\n");
    let node = place.start();
    let client = node.client();
    let send = async |word: &str| {
        let event = json!({ "trigger": "trail.begun", "payload": { "word": word } });
        assert_eq!(client.post("/events", &event).await.status, 202);
    };
    send("moved").await;
    // The rule's enforcement, its execution, its attempt, and its two requests; the later one is stored under
    // the name.
    let spans = stand_in.spans(7).await;
    let (host, port) = (stand_in.address.ip().to_string(), stand_in.address.port().to_string());
    let server = &spans["POST /api/v1/events"];
    let at: SocketAddr = node.url().trim_start_matches("http://").parse().unwrap();
    assert_eq!((&server["kind"], &server["status"]), (&json!(2), &Value::Null));
    let expected = json!({
        "http.request.method": "POST",
        "http.route": "/api/v1/events",
        "url.scheme": "http",
        "url.path": "/api/v1/events",
        "http.response.status_code": "202",
        "server.address": at.ip().to_string(),
        "server.port": at.port().to_string(),
        "client.address": "127.0.0.1",
    });
    assert_eq!(attributes(server), expected);
    let sent = &spans["GET"];
    assert_eq!((&sent["kind"], &sent["status"], &sent["parentSpanId"]), (&json!(3), &Value::Null, &spans["attempt core.http"]["spanId"]));
    let expected = json!({
        "http.request.method": "GET",
        "url.full": format!("http://{host}:{port}/target"),
        "http.request.resend_count": "1",
        "http.response.status_code": "200",
        "server.address": host,
        "server.port": port,
    });
    assert_eq!(attributes(sent), expected);
    let traced = stand_in.trace_headers();
    assert!(traced.len() == 2 && traced[0] != traced[1] && traced[1].contains(sent["spanId"].as_str().unwrap()), "{traced:?}");

    stand_in.spans.lock().unwrap().clear();
    send("broken").await;
    let spans = stand_in.spans(6).await;
    let sent = &spans["GET"];
    let told = attributes(sent);
    assert_eq!(
        (&sent["status"]["code"], &told["http.response.status_code"], &told["error.type"]),
        (&json!(2), &json!("503"), &json!("503"))
    );
    assert_eq!(told["url.full"], format!("http://{host}:{port}/broken?api_key=REDACTED&page=2"));
    node.stop_well();
}

#[tokio::test]
async fn tracestate_is_passed_to_programs_and_requests_even_after_a_restart() {
    let stand_in = StandIn::start().await;
    let place = stand_in.place();
    let node = place.start();
    let client = node.client();
    let event = json!({ "trigger": "trail.begun", "payload": { "word": "go" } });
    let request = client.request(Method::POST, "/api/v1/events").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let sent = request.header("tracestate", "rojo=00f067aa0ba902b7").header("tracestate", "congo=t61").json(&event).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    let spans = stand_in.spans(9).await;
    let id_of = |name: &str| spans[name]["spanId"].as_str().unwrap();
    let state = "rojo=00f067aa0ba902b7,congo=t61";
    assert_eq!(stand_in.trace_headers(), [format!("00-{TRACE}-{}-01 {state}", id_of("GET"))]);
    assert_eq!(await_output(&client, "core.shell").await, format!("00-{TRACE}-{}-01 {state}", id_of("attempt core.shell")));
    node.stop_well();

    let node = place.start();
    let records = node.client().records().await;
    let of_executions = records.iter().filter(|record| record["stream"].as_str().is_some_and(|stream| stream.starts_with("execution/")));
    let traces: Vec<&str> = of_executions.map(|record| record["cause"]["trace"].as_str().unwrap()).collect();
    assert!(!traces.is_empty() && traces.iter().all(|trace| trace.contains(TRACE) && trace.ends_with(state)), "{traces:?}");
    node.stop_well();
}

#[tokio::test]
async fn opentelemetry_variables_rank_below_ensue_s_settings() {
    let stand_in = StandIn::start().await;
    let place = NodeFolder::new()
        .with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", stand_in.address))
        .with_variable("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
        .with_variable("OTEL_SERVICE_NAME", "release-bot")
        .with_variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .with_variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .with_variable("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let node = place.start();
    let client = node.client();
    // Only a caller that records its trace gets a span here.
    assert_eq!(client.post("/log/verify", &json!({})).await.status, 202);
    let request = client.request(Method::POST, "/api/v1/log/verify").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    assert_eq!(request.json(&json!({})).send().await.unwrap().status(), 202);
    assert_eq!(stand_in.spans(1).await["POST /api/v1/log/verify"]["traceId"], TRACE);
    let resource = stand_in.resource();
    assert_eq!((&resource["service.name"], &resource["deployment.environment.name"]), (&json!("release-bot"), &json!("test")));
    assert!(stand_in.exports.lock().unwrap().iter().all(|headers| headers["authorization"] == "Bearer s3cret"));
    let said = node.stop_well();
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL is ignored") && !said.contains("s3cret"), "{said}");

    let node = place.with_variable("OTEL_SDK_DISABLED", "true").start();
    assert_eq!(node.client().post("/log/verify", &json!({})).await.status, 202);
    node.stop_well();
    assert_eq!(stand_in.spans(1).await.len(), 1, "nothing more came");
}

#[tokio::test]
async fn unrecorded_trace_is_propagated_and_not_exported() {
    let stand_in = StandIn::start().await;
    let place = stand_in.place();
    let node = place.start();
    let unrecorded = format!("00-{TRACE}-{CALLER}-00");
    begin(&node.client(), &unrecorded).await;
    assert_eq!(await_output(&node.client(), "core.shell").await, unrecorded);
    let taken = node.client().post("/events", &json!({ "trigger": "trail.begun", "payload": { "word": "again" } })).await;
    assert_eq!(taken.status, 202);
    let spans = stand_in.spans(9).await;
    assert!(spans.values().all(|span| span["traceId"] != TRACE), "{spans:#?}");
    assert_eq!(spans["POST /api/v1/events"]["parentSpanId"], Value::Null, "the trace begins with it");
    node.stop_well();
}

#[tokio::test]
async fn spans_begun_before_a_kill_are_exported_completely_by_the_next_node() {
    let stand_in = StandIn::start().await;
    let place = stand_in.place();
    let node = place.start();
    let client = node.client();
    let script = "echo begun > begun; while [ ! -e go ]; do sleep 0.02; done";
    let id = client.execute("core.shell", &json!({ "script": script })).await;
    let program = Running::one(&place).await;
    let told = stand_in.spans(1).await;
    node.kill();
    let node = place.start();
    program.let_go();
    let ended = node.client().until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    // Three in all: the request to the first node, and the attempt and the execution of the second.
    let spans = stand_in.spans(3).await;
    assert_eq!(spans["execution core.shell"]["parentSpanId"], told["POST /api/v1/actions/{ref}/execute"]["spanId"]);
    assert_eq!(spans["attempt core.shell"]["parentSpanId"], spans["execution core.shell"]["spanId"]);
    node.stop_well();
}

/// Waits until so many spans were sent, and so many dropped.
async fn await_span_counts(client: &Client, sent: u64, dropped: u64) {
    let line = |outcome: &str, many: u64| format!("ensue_spans_total{{outcome=\"{outcome}\"}} {many}\n");
    let lines = [line("sent", sent), line("dropped", dropped)];
    client.until_metrics(&lines.concat(), |metrics| lines.iter().all(|line| metrics.contains(line))).await;
}

#[tokio::test]
async fn spans_are_retried_if_useful_and_rejected_ones_dropped_with_one_warning() {
    let stand_in = StandIn::start().await;
    let answers: [(u16, &str); 4] =
        [(503, ""), (200, r#"{"partialSuccess":{"rejectedSpans":"1"}}"#), (200, r#"{"partialSuccess":{"rejectedSpans":"1"}}"#), (400, "")];
    stand_in.answers.lock().unwrap().extend(answers);
    let node = NodeFolder::new().with_variable("ENSUE_TRACES_ENDPOINT", &format!("http://{}", stand_in.address));
    let node = node.start();
    let client = node.client();
    // Each is one span, that of the request, because no sensor or rule uses the event.
    for (sent, dropped) in [(0, 1), (0, 2), (0, 3), (1, 3)] {
        assert_eq!(client.post("/log/verify", &json!({})).await.status, 202);
        await_span_counts(&client, sent, dropped).await;
    }
    assert_eq!(stand_in.spans(1).await.len(), 1);
    let said = node.stop_well();
    assert_eq!(said.matches("spans of traces are dropped").count(), 1, "{said}");
}

#[tokio::test]
async fn node_without_its_collector_continues_and_counts_dropped_spans() {
    let place = NodeFolder::new().with_variable("ENSUE_TRACES_ENDPOINT", &format!("http://127.0.0.1:{}", free_port()));
    let node = place.start();
    let client = node.client();
    let taken = client.post("/events", &json!({ "trigger": "examples.hello", "payload": { "name": "Ada" } })).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    client.until("/executions?status=succeeded", |page| !page["items"].as_array().unwrap().is_empty()).await;
    await_span_counts(&client, 0, 5).await;
    let said = node.stop_well();
    assert_eq!(said.matches("spans of traces are dropped").count(), 1, "{said}");
}

#[test]
fn invalid_collector_address_is_rejected_at_the_start() {
    for (wrong, why) in [
        ("localhost:4318", "http://127.0.0.1:4318"),
        ("grpc://127.0.0.1:4317", "http://127.0.0.1:4318"),
        ("http://ada:s3cret@127.0.0.1:4318", "contains credentials"),
    ] {
        let Err(said) = NodeFolder::new().with_variable("ENSUE_TRACES_ENDPOINT", wrong).try_start() else { panic!("`{wrong}` was taken") };
        assert!(said.contains("ENSUE_TRACES_ENDPOINT") && said.contains(why) && !said.contains("s3cret"), "{said}");
    }
}
