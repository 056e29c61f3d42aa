//! CloudEvents in the wire forms of the specification.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApi, TestRequest};

const EVENTS: &str = "/api/v1/events";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An event of a trigger that requires a name.
fn hello(id: &str, name: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/greetings", "type": "demo.hello", "data": { "name": name } })
}

fn post<'a>(api: &'a TestApi, media: &str, body: &Value) -> TestRequest<'a> {
    api.post(EVENTS).by("admin").with("content-type", media).body(body.to_string())
}

async fn post_structured(api: &TestApi, event: &Value) -> Answer {
    post(api, STRUCTURED, event).answer().await
}

fn binary<'a>(api: &'a TestApi, headers: &[(&str, &str)]) -> TestRequest<'a> {
    headers.iter().fold(api.post(EVENTS).by("admin"), |asked, (name, value)| asked.with(name, value))
}

/// Returns an accepted event once it can be read.
async fn read_event(api: &TestApi, taken: &Answer, accept: &str) -> Value {
    let path = format!("{EVENTS}/{}", taken.json()["id"].as_str().unwrap());
    let position = taken.header("ensue-position").unwrap();
    let shown = api.get(&path).by("viewer").with("accept", accept).with("ensue-position", position).answer().await.expect(200);
    assert_eq!(shown.header("content-type"), Some(accept));
    shown.json()
}

#[tokio::test]
async fn event_s_type_names_its_trigger() {
    let api = TestApi::new();
    let mut sent = hello("17", "ana");
    sent["time"] = "2018-04-05T19:31:00+02:00".into();
    sent["subject"] = "vip".into();
    let taken = post_structured(&api, &sent).await.expect(202);
    assert_eq!(taken.header("location"), Some(format!("{EVENTS}/{}", taken.json()["id"].as_str().unwrap()).as_str()));
    let event = read_event(&api, &taken, "application/json").await;
    assert_eq!((&event["trigger"], &event["source"]), (&json!("demo.hello"), &json!("/greetings")));
    assert_eq!(event["time"], "2018-04-05T17:31:00.000000Z", "when it happened, by its sender");
    assert_ne!(event["received_at"], event["time"]);
    assert_eq!(event["payload"]["name"], "ana");
    assert_eq!(event["payload"]["cloudevent"]["subject"], "vip");
    assert_eq!(event["matched"], 1, "rules read its data as they read any payload");
}

#[tokio::test]
async fn event_is_the_same_in_each_form_and_accepted_once() {
    let api = TestApi::new();
    let first = post_structured(&api, &hello("17", "ana")).await.expect(202).json();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "17"),
        ("ce-source", "/greetings"),
        ("ce-type", "demo.hello"),
        ("content-type", "application/json"),
    ];
    let again = binary(&api, &headers).body(r#"{"name":"ana"}"#).answer().await.expect(200);
    assert_eq!(again.json(), first);
    let again = post(&api, BATCH, &json!([hello("17", "ana")])).answer().await.expect(200);
    let mut repeat = first.clone();
    repeat["repeat"] = true.into();
    assert_eq!(again.json(), json!({ "items": [repeat] }));
    // An id belongs to its source, and both to their caller; other differences are ignored.
    assert_eq!(post_structured(&api, &hello("17", "bo")).await.expect(200).json(), first);
    let mut other = hello("17", "ana");
    other["source"] = "/greetings/".into();
    post_structured(&api, &other).await.expect(202);
    let by_author = api.post(EVENTS).by("author").with("content-type", STRUCTURED).body(hello("17", "ana").to_string());
    by_author.answer().await.expect(202);
}

#[tokio::test]
async fn binary_event_keeps_its_header_values() {
    let api = TestApi::new();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext"),
        ("ce-type", "demo.anything"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-comexampleothervalue", "5"),
        ("content-type", "application/vnd.apache.thrift.binary"),
    ];
    let taken = binary(&api, &headers).body(&b"\x00\xff"[..]).answer().await.expect(202);
    let expected = json!({
        "specversion": "1.0",
        "id": "1234-1234-1234",
        "source": "/mycontext",
        "type": "demo.anything",
        "subject": "Euro € 😀",
        "comexampleothervalue": "5",
        "datacontenttype": "application/vnd.apache.thrift.binary",
        "data_base64": "AP8=",
    });
    assert_eq!(read_event(&api, &taken, STRUCTURED).await, expected);
    assert_eq!(read_event(&api, &taken, "application/json").await["payload"], json!({ "cloudevent": expected }));
}

#[tokio::test]
async fn event_is_returned_as_it_was_sent() {
    let api = TestApi::new();
    // The examples of the JSON format, with a type that is a trigger here.
    let with = |number: usize, more: Value| {
        let mut event = json!({
            "specversion": "1.0",
            "type": "demo.anything",
            "source": "/mycontext",
            "id": format!("{number}-1234-1234"),
            "time": "2018-04-05T17:31:00Z",
            "comexampleextension1": "value",
            "comexampleothervalue": 5,
            "comexampleflag": true,
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let data = [
        json!({ "datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AP8=" }),
        json!({ "datacontenttype": "application/xml", "data": "<much wow=\"xml\"/>" }),
        json!({ "datacontenttype": "application/json", "data": { "appinfoA": "abc", "appinfoB": 123, "appinfoC": true } }),
        json!({ "dataschema": "https://example.test/schema#1", "data": "I'm just a string" }),
        json!({ "data": null }),
        json!({ "data": {} }),
        json!({ "data": [{ "data": 1 }] }),
        json!({ "data": { "data": { "cloudevent": "deeper is free" }, "a\"b": 0.5 } }),
        json!({ "traceparent": "not one" }),
    ];
    for (number, more) in data.into_iter().enumerate() {
        let sent = with(number, more);
        let taken = post_structured(&api, &sent).await.expect(202);
        assert_eq!(read_event(&api, &taken, STRUCTURED).await, sent);
    }
}

#[tokio::test]
async fn any_event_can_be_read_as_a_cloudevent() {
    let api = TestApi::new();
    let given = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
    let taken = api.post(EVENTS).by("admin").json(&given).answer().await.expect(202);
    let event = read_event(&api, &taken, "application/json").await;
    let expected = json!({
        "specversion": "1.0",
        "id": event["id"],
        "source": "api",
        "type": "demo.hello",
        "time": event["time"],
        "datacontenttype": "application/json",
        "data": { "name": "ana" },
    });
    assert_eq!(read_event(&api, &taken, STRUCTURED).await, expected);
    // A payload that only looks like an event's attributes has no effect.
    for source in ["/shop", "api"] {
        let mut claimed = hello("17", "ana");
        (claimed["source"], claimed["type"]) = (source.into(), "demo.anything".into());
        let lying = json!({ "trigger": "demo.anything", "payload": { "cloudevent": claimed } });
        let taken = api.post(EVENTS).by("admin").json(&lying).answer().await.expect(202);
        let told = read_event(&api, &taken, STRUCTURED).await;
        assert_eq!((&told["id"], &told["source"]), (&taken.json()["id"], &json!("api")));
    }
    let path = format!("{EVENTS}/{}", taken.json()["id"].as_str().unwrap());
    api.get(&path).by("viewer").with("accept", "application/xml").answer().await.expect_problem(406, "not_acceptable");
}

#[tokio::test]
async fn trace_of_an_event_is_stored_in_its_record() {
    let api = TestApi::new();
    let mut traced = hello("1", "ana");
    traced["traceparent"] = TRACE.into();
    traced["tracestate"] = "rojo=1".into();
    let items = post(&api, BATCH, &json!([traced, hello("2", "bo")])).answer().await.expect(202);
    let trace_of = async |index: usize| {
        let path = format!("/api/v1/log/{}", items.json()["items"][index]["position"]);
        api.get(&path).by("viewer").answer().await.expect(200).json()["cause"]["trace"].as_str().unwrap().to_owned()
    };
    assert_eq!(trace_of(0).await, format!("{TRACE} rojo=1"));
    assert_eq!(Some(trace_of(1).await.as_str()), items.header("traceparent"), "without one it is the request's");
}

#[tokio::test]
async fn event_errors_are_reported_with_their_pointer() {
    let api = TestApi::new();
    let position = api.node.head_position();
    let pointers = |problem: &Value| -> Vec<String> {
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let bare = post_structured(&api, &json!({ "specversion": "0.3", "Type": 1 })).await.expect_problem(422, "cloudevent_invalid");
    assert_eq!(pointers(&bare), ["/Type", "/specversion", "/id", "/source", "/type"].map(str::to_owned));
    let unfit = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "demo.hello", "data": { "name": 1 } });
    let misfit = post_structured(&api, &unfit).await.expect_problem(422, "payload_invalid");
    assert_eq!(pointers(&misfit), ["/data/name"]);
    for unknown in ["demo.nothing", "com.example.order.created", "x"] {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": unknown });
        let problem = post_structured(&api, &event).await.expect_problem(422, "trigger_not_found");
        assert_eq!(pointers(&problem), ["/type"]);
        assert!(problem["detail"].as_str().unwrap().contains(unknown), "{problem}");
    }
    let many: serde_json::Map<String, Value> = (0..1_000).map(|number| (format!("A{number}"), json!(0))).collect();
    let many = post_structured(&api, &many.into()).await.expect_problem(422, "cloudevent_invalid");
    assert_eq!(pointers(&many).len(), 20, "the number of reported errors is limited");
    let list = json!(vec![json!({ "A": 0, "B": [1] }); 30]);
    let list = post(&api, BATCH, &list).answer().await.expect_problem(422, "cloudevent_invalid");
    assert_eq!(pointers(&list).len(), 100);
    for ours in ["api", "engine", "demo.gate", "execution/01980000-0000-7000-8000-0000000000ff"] {
        let event = json!({ "specversion": "1.0", "id": "1", "source": ours, "type": "demo.anything" });
        assert_eq!(pointers(&post_structured(&api, &event).await.expect_problem(422, "cloudevent_invalid")), ["/source"]);
    }
    for (own, hint) in [("core.execution_ended", "have the rule listen to both"), ("core.schedule", "run the action itself")] {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": own });
        let problem = post_structured(&api, &event).await.expect_problem(422, "trigger_of_the_engine");
        assert_eq!(pointers(&problem), ["/type"]);
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{problem}");
    }
    assert_eq!(api.node.head_position(), position, "nothing was accepted");
}

#[tokio::test]
async fn unsupported_media_type_error_lists_the_supported_ones() {
    let api = TestApi::new();
    for media in ["application/cloudevents+avro", "application/cloudevents-batch+xml", "application/cloudevents", "text/plain"] {
        let problem = post(&api, media, &hello("1", "ana")).answer().await.expect_problem(415, "unsupported_media_type");
        assert!(problem["detail"].as_str().unwrap().contains("application/cloudevents-batch+json"), "{problem}");
    }
    post(&api, STRUCTURED, &json!([hello("1", "ana")])).answer().await.expect_problem(422, "body_invalid");
    post(&api, BATCH, &hello("1", "ana")).answer().await.expect_problem(422, "body_invalid");
    let doubled = r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"demo.anything"}"#;
    let twice = api.post(EVENTS).by("admin").with("content-type", STRUCTURED).body(doubled);
    twice.answer().await.expect_problem(400, "body_not_json");
    let squeezed = binary(&api, &[("ce-id", "1"), ("content-encoding", "gzip")]).answer();
    squeezed.await.expect_problem(415, "unsupported_media_type");
    let half = binary(&api, &[("ce-id", "1"), ("content-type", "application/json")]).body("{}").answer();
    half.await.expect_problem(422, "cloudevent_invalid");
    api.post(EVENTS).by("viewer").with("content-type", STRUCTURED).body("{}").answer().await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn webhook_handshake_allows_the_sender() {
    let api = TestApi::new();
    let origin = "eventemitter.example.com";
    for path in [EVENTS, "/hooks/demo/door"] {
        let asked = api.ask(Method::OPTIONS, path).by("author").with("webhook-request-origin", origin).with("webhook-request-rate", "120");
        let granted = asked.answer().await.expect(200);
        assert_eq!(granted.header("webhook-allowed-origin"), Some(origin));
        assert_eq!(granted.header("webhook-allowed-rate"), Some("*"));
        assert!(granted.header("allow").unwrap().split(", ").any(|method| method == "POST"));
        let plain = api.ask(Method::OPTIONS, path).by("author").answer().await.expect(200);
        assert_eq!(plain.header("webhook-allowed-origin"), None, "a sender that requests no permission gets none");
    }
    let asking = |path: &str| api.ask(Method::OPTIONS, path).with("webhook-request-origin", origin);
    asking(EVENTS).answer().await.expect_problem(401, "unauthenticated");
    asking(EVENTS).by("viewer").answer().await.expect_problem(403, "forbidden");
    asking("/hooks/demo/nothing").answer().await.expect_problem(404, "not_found");
}
