//! Tests which deliveries a webhook accepts and which it rejects, case by case.

use ensue_engine::catalog::{
    BodyForm, CREDENTIAL_HEADERS, DELIVERY_BYTES_DEFAULT, EarlyReply, HmacAlgorithm, HmacVerify, Repeats, Reply, ReplyProof,
    SignatureEncoding, SignatureList, SignatureTime, SignedPart, Source, TOLERANCE_SECONDS, TimePlace, TimeUnit,
};
use ensue_engine::explain::{Explain as _, Fault};
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::ports::{Came, CameHow};
use ensue_expression::{Expression, Roots};
use proptest::prelude::{prop_assert_eq, proptest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use bytes::Bytes;

const OPENED: &str = r#"{"action":"opened","number":7,"tags":["a"]}"#;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

const URL: &str = "https://ensue.example.test/hooks/github/webhook";

fn receive_any(sensor: &Sensor, request: &HookRequest, keys: HookKeys<'_>) -> Result<ReceiveOutcome, HookRefusal> {
    super::receive(sensor, request, &Proving { keys, now: NOW, vouched: None })
}

fn receive(sensor: &Sensor, request: &HookRequest, keys: HookKeys<'_>) -> Result<Vec<EmittedEvent>, HookRefusal> {
    match receive_any(sensor, request, keys)? {
        ReceiveOutcome::Events { emitted, .. } => Ok(emitted),
        ReceiveOutcome::Reply(reply) => panic!("{reply:?}"),
    }
}

fn key() -> Secret {
    Secret::new(b"a secret that is long enough".to_vec())
}

fn current(key: &Secret) -> HookKeys<'_> {
    HookKeys { current: Some(key), previous: None }
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &Roots::new(["headers", "body", "query", "path", "method", "config"])).unwrap()
}

fn template(value: &serde_json::Value) -> Template {
    Template::compile(value, &Roots::new(["headers", "body", "query", "path", "method", "config"])).unwrap()
}

fn emit(trigger: &str) -> Emit {
    Emit { trigger: trigger.parse().unwrap(), when: None, dedupe: EmitKey::Nothing, payload: None, version: None }
}

fn proof_by(scheme: Scheme) -> Verify {
    Verify::Proof { scheme, key: "github.webhook_secret".parse().unwrap() }
}

fn github(emits: Vec<Emit>) -> Sensor {
    Sensor {
        name: "github.webhook".parse().unwrap(),
        description: String::new(),
        source: Source::Webhook(Arc::new(Webhook::of(proof_by(Scheme::Github), Repeats::Drop))),
        emits,
        config: Arc::new(json!({ "owner": "acme" })),
    }
}

fn open(emits: Vec<Emit>) -> Sensor {
    Sensor { source: Source::Webhook(Arc::new(Webhook::of(Verify::None, Repeats::Drop))), ..github(emits) }
}

fn request(headers: &[(&str, &str)], body: &str) -> HookRequest {
    HookRequest {
        sensor: "github.webhook".parse().unwrap(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        query: vec![("from".into(), "ci".into())],
        body: Bytes::copy_from_slice(body.as_bytes()),
        body_bytes_max: DELIVERY_BYTES_DEFAULT,
        method: HookMethod::Post,
        path: Vec::new(),
        url: format!("{URL}?from=ci"),
        connection: HookConnection::default(),
    }
}

fn delivery(body: &str) -> HookRequest {
    request(&[("content-type", "application/json"), ("x-github-event", "pull_request"), ("x-github-delivery", "d-1")], body)
}

fn sign_delivery(sensor: &Sensor, mut request: HookRequest) -> HookRequest {
    let scheme = sensor.source.webhook().and_then(Verify::scheme).unwrap();
    let unsigned = UnsignedDelivery { body: &request.body, id: "d-1", now: NOW, url: &request.url, method: request.method };
    request.headers.extend(signatures::sign(scheme, unsigned, Some(&key())).unwrap());
    request
}

#[test]
fn events_of_a_signed_delivery_share_its_exact_body() {
    let sensor = github(vec![emit("github.pull_request"), emit("github.event")]);
    let request = sign_delivery(&sensor, delivery(OPENED));
    let made = receive(&sensor, &request, current(&key())).unwrap();
    let triggers: Vec<_> = made.iter().map(|event| event.trigger.name.as_str()).collect();
    assert_eq!(triggers, ["github.pull_request", "github.event"]);
    assert_eq!(made[0].payload.bytes(), &request.body);
    assert_eq!(made[0].payload.bytes().as_ptr(), made[1].payload.bytes().as_ptr());
}

#[test]
fn composed_delivery_is_accepted_by_its_hook() {
    let sensor = github(vec![Emit {
        when: Some(expression(r#"headers["x-github-event"] == "pull_request""#)),
        dedupe: EmitKey::By(expression(r#"headers["x-github-delivery"]"#)),
        ..emit("github.pull_request")
    }]);
    let outgoing =
        Outgoing { event: "pull_request", delivery: "d-9", body: Bytes::from_static(OPENED.as_bytes()), now: NOW, url: URL, path: &[] };
    let request = compose(&sensor, &outgoing, Some(&key())).unwrap();
    let made = receive(&sensor, &request, current(&key())).unwrap();
    assert_eq!(made[0].dedupe.as_deref(), Some("d-9"));
    assert_eq!(compose(&sensor, &outgoing, None).unwrap_err(), SignatureRefusal::NoKey);
}

#[test]
fn sender_without_an_event_header_composes_none() {
    for (sensor, header) in [(github(vec![emit("github.push")]), "x-github-event"), (open(vec![emit("github.push")]), "x-event")] {
        let sent = |event| {
            let outgoing = Outgoing { event, delivery: "d-9", body: Bytes::from_static(OPENED.as_bytes()), now: NOW, url: URL, path: &[] };
            let request = compose(&sensor, &outgoing, Some(&key())).unwrap();
            request.headers.into_iter().find(|(name, _)| name == header).map(|(_, value)| value)
        };
        assert_eq!((sent("push").as_deref(), sent("")), (Some("push"), None), "{header}");
    }
}

#[test]
fn unverified_delivery_is_not_parsed() {
    // Not JSON, without a type, and with an emit that would err: the missing proof is still the reported
    // error.
    let sensor = github(vec![Emit { when: Some(expression("body.nothing")), ..emit("github.push") }]);
    let refusal = receive(&sensor, &request(&[], "<xml/>"), current(&key())).unwrap_err();
    assert!(matches!(refusal, HookRefusal::Unproven(SignatureRefusal::Missing { .. })), "{refusal}");
    assert_eq!((refusal.stage(), refusal.fault()), (Stage::Proof, Fault::Unauthenticated));
}

#[test]
fn value_before_a_rotation_verifies_deliveries_as_long_as_it_is_given() {
    let sensor = github(vec![emit("github.push")]);
    let (new, other) = (Secret::new(b"the value after the rotation".to_vec()), Secret::new(b"a value that was never set".to_vec()));
    let before = key();
    let request = sign_delivery(&sensor, delivery(OPENED));
    let receive_with = |current, previous| receive(&sensor, &request, HookKeys { current, previous });
    assert!(receive_with(Some(&new), Some(&before)).is_ok());
    for (current, previous) in [(Some(&new), None), (Some(&new), Some(&other))] {
        let refusal = receive_with(current, previous).unwrap_err();
        assert!(matches!(refusal, HookRefusal::Unproven(SignatureRefusal::Wrong { .. })), "{refusal}");
    }
    let refusal = receive_with(None, Some(&before)).unwrap_err();
    assert!(matches!(refusal, HookRefusal::Unusable { .. }), "a hook without a current value accepts nothing: {refusal}");
}

#[test]
fn hook_with_a_missing_or_short_key_accepts_nothing_and_says_why() {
    let sensor = github(vec![emit("github.push")]);
    for key in [None, Some(Secret::new(Vec::new())), Some(Secret::new(b"short".to_vec()))] {
        let refusal =
            receive(&sensor, &sign_delivery(&sensor, delivery(OPENED)), HookKeys { current: key.as_ref(), previous: None }).unwrap_err();
        assert!(matches!(refusal, HookRefusal::Unusable { .. }), "{refusal}");
        assert_eq!((refusal.fault(), refusal.slug()), (Fault::Unavailable, "hook-unusable"));
        assert!(refusal.hint().unwrap().contains("ensue keys set github.webhook_secret"));
    }
}

#[test]
fn only_json_is_accepted_by_default() {
    let sensor = open(vec![emit("github.push")]);
    let fits = [
        "",
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/vnd.api+json",
        "application/json;charset=\"utf-8\"",
        "text/json",
    ];
    for fit in fits {
        assert!(receive(&sensor, &request(&[("content-type", fit)], OPENED), HookKeys::default()).is_ok(), "{fit}");
    }
    let rows: &[&[(&str, &str)]] = &[
        &[("content-type", "multipart/form-data; boundary=x")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "text/xml")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/json; charset=utf-7")],
        &[("content-type", "application/json, text/xml")],
        &[("content-type", "application/json"), ("content-type", "text/xml")],
        &[("content-type", "application/json"), ("content-encoding", "compress")],
    ];
    for headers in rows {
        let refusal = receive(&sensor, &request(headers, OPENED), HookKeys::default()).unwrap_err();
        assert!(matches!(refusal, HookRefusal::WrongType { .. }), "{headers:?}: {refusal}");
    }
}

#[test]
fn body_that_is_not_strict_json_is_rejected_with_its_place() {
    let sensor = open(vec![emit("github.push")]);
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for body in ["{", "{}{}", "<a/>", r#"{"a":1,"a":2}"#, "\u{feff}{", &deep] {
        let refusal = receive(&sensor, &request(&[("content-type", "application/json")], body), HookKeys::default()).unwrap_err();
        assert!(matches!(refusal, HookRefusal::NotJson(_)), "{body:.40}: {refusal}");
        assert_eq!((refusal.stage(), refusal.fault()), (Stage::Content, Fault::Malformed));
    }
}

#[test]
fn body_that_looks_like_an_expression_is_plain_content() {
    let body = r#"{"files":{"f":{"filepath":"/etc/passwd"}},"_verified":true,"__meta":{},"x":"${{ config.owner }}"}"#;
    let sensor = open(vec![Emit { payload: Some(template(&json!({ "kept": "${{ body }}" }))), ..emit("github.push") }]);
    let made = receive(&sensor, &delivery(body), HookKeys::default()).unwrap();
    let kept = made[0].payload.root().get("kept").unwrap().to_value();
    assert_eq!(kept, serde_json::from_str::<serde_json::Value>(body).unwrap());
}

#[test]
fn each_matching_emit_creates_an_event_in_order() {
    let sensor = open(vec![
        Emit { when: Some(expression(r#"headers["x-github-event"] == "push""#)), ..emit("github.push") },
        Emit {
            when: Some(expression(r#"body.action == "opened" && query.from == "ci" && config.owner == "acme""#)),
            payload: Some(template(&json!({ "number": "${{ body.number }}" }))),
            ..emit("github.pull_request")
        },
        emit("github.event"),
    ]);
    let made = receive(&sensor, &delivery(OPENED), HookKeys::default()).unwrap();
    let seen: Vec<_> = made.iter().map(|event| (event.trigger.name.as_str(), event.payload.root().raw())).collect();
    assert_eq!(seen, [("github.pull_request", r#"{"number":7}"#), ("github.event", OPENED)]);
}

#[test]
fn delivery_without_a_matching_emit_creates_nothing_without_error() {
    let sensor = open(vec![Emit { when: Some(expression("body.number == 8")), ..emit("github.push") }]);
    assert!(receive(&sensor, &delivery(OPENED), HookKeys::default()).unwrap().is_empty());
}

#[test]
fn emit_that_errs_rejects_the_delivery_and_is_named() {
    let erring = |part| {
        let mut emit = emit("github.push");
        match part {
            EmitPart::When => emit.when = Some(expression("body.missing == 1")),
            EmitPart::Dedupe => emit.dedupe = EmitKey::By(expression("body.tags")),
            EmitPart::Payload => emit.payload = Some(template(&json!({ "x": "${{ body.missing }}" }))),
        }
        emit
    };
    for part in [EmitPart::When, EmitPart::Dedupe, EmitPart::Payload] {
        let sensor = open(vec![emit("github.event"), erring(part)]);
        let refusal = receive(&sensor, &delivery(OPENED), HookKeys::default()).unwrap_err();
        let HookRefusal::EmitErred { index: 1, part: told, .. } = &refusal else { panic!("{refusal}") };
        assert_eq!(*told, part);
        assert_eq!(refusal.trigger().unwrap().as_str(), "github.push");
        assert_eq!((refusal.stage(), refusal.fault()), (Stage::Content, Fault::Invalid));
    }
}

#[test]
fn condition_that_is_not_boolean_is_reported() {
    let sensor = open(vec![Emit { when: Some(expression("body.number")), ..emit("github.push") }]);
    let refusal = receive(&sensor, &delivery(OPENED), HookKeys::default()).unwrap_err();
    assert!(matches!(refusal, HookRefusal::EmitErred { part: EmitPart::When, .. }), "{refusal}");
}

#[test]
fn repeated_delivery_has_the_same_key() {
    let by_id = Emit { dedupe: EmitKey::By(expression(r#"headers["x-github-delivery"]"#)), ..emit("github.push") };
    let sensor = github(vec![by_id]);
    let request = sign_delivery(&sensor, delivery(OPENED));
    for _ in 0..3 {
        let made = receive(&sensor, &request, current(&key())).unwrap();
        assert_eq!(made[0].dedupe.as_deref(), Some("d-1"));
    }
}

/// GitHub does not sign its delivery id, so anybody with one signed delivery can send it again under another
/// id. A sensor that must prevent this uses the signature as its dedupe key.
#[test]
fn swapped_delivery_id_changes_a_key_by_id_but_not_a_key_by_signature() {
    let swapped = |sensor: &Sensor| {
        let mut request = sign_delivery(sensor, delivery(OPENED));
        request.headers[2].1 = "d-2".into();
        receive(sensor, &request, current(&key())).unwrap()[0].dedupe.clone()
    };
    let genuine = |sensor: &Sensor| receive(sensor, &sign_delivery(sensor, delivery(OPENED)), current(&key())).unwrap()[0].dedupe.clone();
    let key_of = |source: &str| github(vec![Emit { dedupe: EmitKey::By(expression(source)), ..emit("github.push") }]);
    let by_id = key_of(r#"headers["x-github-delivery"]"#);
    assert_ne!(swapped(&by_id), genuine(&by_id));
    let by_signature = key_of(r#"headers["x-hub-signature-256"]"#);
    assert_eq!(swapped(&by_signature), genuine(&by_signature));
    assert!(genuine(&by_signature).is_some());
}

#[test]
fn delivery_without_the_key_s_header_is_accepted_without_a_key() {
    for (source, headers) in [
        (r#"headers["x-github-delivery"]"#, vec![("content-type", "application/json")]),
        (r#"headers[?"x-github-delivery"]"#, vec![("content-type", "application/json")]),
        (r#"headers["x-github-delivery"]"#, vec![("content-type", "application/json"), ("x-github-delivery", "")]),
        ("null", vec![("content-type", "application/json")]),
    ] {
        let sensor = open(vec![Emit { dedupe: EmitKey::By(expression(source)), ..emit("github.push") }]);
        let made = receive(&sensor, &request(&headers, OPENED), HookKeys::default()).unwrap();
        assert_eq!(made[0].dedupe, None, "{source}");
    }
}

#[test]
fn key_may_be_an_integer_and_has_a_length_limit() {
    let keyed = |source: &str| open(vec![Emit { dedupe: EmitKey::By(expression(source)), ..emit("github.push") }]);
    let made = receive(&keyed("body.number"), &delivery(OPENED), HookKeys::default()).unwrap();
    assert_eq!(made[0].dedupe.as_deref(), Some("7"));
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(DEDUPE_BYTES_MAX + 1));
    let refusal = receive(&keyed("body.id"), &delivery(&long), HookKeys::default()).unwrap_err();
    assert!(matches!(refusal, HookRefusal::EmitErred { part: EmitPart::Dedupe, .. }), "{refusal}");
}

/// Returns the headers that the expressions of a sensor read of a delivery, as an object.
fn headers_read(verify: Verify, headers: &[(&str, &str)], keys: HookKeys<'_>) -> serde_json::Value {
    let all = Emit { payload: Some(template(&json!("${{ headers }}"))), ..emit("github.push") };
    let sensor = Sensor { source: Source::Webhook(Arc::new(Webhook::of(verify, Repeats::Drop))), ..github(vec![all]) };
    receive(&sensor, &request(headers, OPENED), keys).unwrap()[0].payload.root().to_value()
}

#[test]
fn expressions_read_every_header_but_credentials_and_the_proof() {
    let read = [
        "x-token",
        "x-event-token",
        "x-api-key",
        "x-author",
        "x-forwarded-for",
        "x-gitlab-token",
        "forwarded",
        "host",
        "i-twilio-idempotency-token",
        "stripe-account",
        "traceparent",
        "user-agent",
    ];
    let hidden = ["authorization", "cookie", "proxy-authorization"];
    let json = ("content-type", "application/json");
    let headers: Vec<_> = read.iter().chain(&hidden).map(|name| (*name, "v")).chain([json]).collect();
    let seen = headers_read(Verify::None, &headers, HookKeys::default());
    let names: BTreeSet<&str> = seen.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, read.into_iter().chain([json.0]).collect());
    let token = Secret::new(b"0123456789abcdef0123456789abcdef".to_vec());
    let by_token = Verify::Proof { scheme: Scheme::Header("x-shop".into()), key: "github.webhook_secret".parse().unwrap() };
    let headers = [json, ("x-shop", "0123456789abcdef0123456789abcdef"), ("x-shop-id", "7")];
    assert_eq!(headers_read(by_token, &headers, current(&token)), json!({ "content-type": "application/json", "x-shop-id": "7" }));
}

proptest! {
    #[test]
    fn any_header_is_read_as_it_came(names in proptest::collection::btree_set("[a-z][a-z0-9_-]{0,30}", 1..20), value in "[ -~]{0,40}") {
        let hidden = |name: &str| CREDENTIAL_HEADERS.contains(&name) || name == "content-type" || name == "content-encoding";
        let headers: Vec<_> = names.iter().filter(|name| !hidden(name)).map(|name| (name.as_str(), value.as_str())).collect();
        let seen = headers_read(Verify::None, &[&headers[..], &[("content-type", "application/json")]].concat(), HookKeys::default());
        for (name, value) in headers {
            prop_assert_eq!(&seen[name], value, "{}", name);
        }
    }
}

#[test]
fn headers_are_kept_that_an_expression_reads_or_the_author_names() {
    let names = ["x-token", "x-api-key", "x-shop-secret", "x-tag", "stripe-account", "cookie"];
    let headers: Vec<_> = names.iter().map(|name| (*name, "v")).chain([("content-type", "application/json")]).collect();
    let kept_by = |change: &dyn Fn(&mut Emit, &mut Webhook)| {
        let (mut emit, mut webhook) = (emit("github.push"), Webhook::of(Verify::None, Repeats::Drop));
        change(&mut emit, &mut webhook);
        let sensor = Sensor { source: Source::Webhook(Arc::new(webhook)), ..github(vec![emit]) };
        let kept = kept_parts(&sensor, &request(&headers, OPENED)).unwrap();
        kept.headers.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>()
    };
    let with = |more: &[&str]| more.iter().chain(&["content-type", "x-tag"]).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(kept_by(&|_, _| {}), with(&[]), "what describes a delivery is always kept");
    assert_eq!(kept_by(&|emit, _| emit.dedupe = EmitKey::By(expression("headers['x-token']"))), with(&["x-token"]));
    assert_eq!(kept_by(&|emit, _| emit.when = Some(expression("!('x-api-key' in headers)"))), with(&["x-api-key"]));
    assert_eq!(kept_by(&|_, webhook| webhook.decode = Some(expression("headers[?'x-token'].orValue('{}')"))), with(&["x-token"]));
    assert_eq!(kept_by(&|_, webhook| webhook.headers = vec!["stripe-account".into()]), with(&["stripe-account"]));
    let all = ["x-token", "x-api-key", "x-shop-secret", "stripe-account"];
    assert_eq!(kept_by(&|emit, _| emit.payload = Some(template(&json!("${{ headers }}")))), with(&all), "but never credentials");
}

#[test]
fn delivery_that_is_made_again_reads_the_same_headers() {
    let emits = vec![Emit { dedupe: EmitKey::By(expression("headers['x-event-token']")), ..emit("github.push") }];
    let sensor = open(emits);
    let request = request(&[("content-type", "application/json"), ("x-event-token", "e-1"), ("x-event-token", "e-2")], OPENED);
    let first = receive(&sensor, &request, HookKeys::default()).unwrap();
    let again = HookRequest { headers: kept_parts(&sensor, &request).unwrap().headers, ..request };
    assert_eq!(events_of(&sensor, &again).unwrap()[0].dedupe, first[0].dedupe);
    assert_eq!(first[0].dedupe.as_deref(), Some("e-1, e-2"));
}

#[test]
fn repeated_header_is_joined() {
    let sensor = open(vec![Emit { payload: Some(template(&json!("${{ headers['x-tag'] }}"))), ..emit("github.push") }]);
    let headers = [("content-type", "application/json"), ("x-tag", "a"), ("x-tag", "b")];
    let made = receive(&sensor, &request(&headers, OPENED), HookKeys::default()).unwrap();
    assert_eq!(made[0].payload.root().raw(), r#""a, b""#);
}

#[test]
fn expressions_of_one_delivery_share_a_budget() {
    let list = format!(r#"{{"list":[{}0]}}"#, "0,".repeat(9_999));
    let costly = Emit { when: Some(expression("body.list.all(x, x == 0)")), ..emit("github.push") };
    let few = open(vec![costly.clone()]);
    assert!(receive(&few, &delivery(&list), HookKeys::default()).is_ok());
    let many = open(vec![costly; 100]);
    let refusal = receive(&many, &delivery(&list), HookKeys::default()).unwrap_err();
    assert!(matches!(refusal, HookRefusal::TooManySteps { .. }), "{refusal}");
}

#[test]
fn conditions_of_replies_and_of_events_share_the_budget_of_a_delivery() {
    let request = delivery(&format!(r#"{{"list":[{}0]}}"#, "0,".repeat(9_999)));
    let costly = "!body.list.all(x, x == 0)";
    let outcome = |replies: usize, events: usize| {
        let reply = early(costly, ReplyProof::Demanded, &json!("never"));
        let emits = vec![Emit { when: Some(expression(costly)), ..emit("github.push") }; events];
        let sensor = Sensor { emits, ..replying(Verify::None, vec![reply; replies]) };
        receive(&sensor, &request, HookKeys::default())
    };
    let most = (1..100).take_while(|count| outcome(0, *count).is_ok()).last().unwrap();
    assert!(outcome(most, 0).unwrap().is_empty());
    for (replies, events) in [(1, most), (most, 1), (most + 1, 0), (0, most + 1)] {
        let refusal = outcome(replies, events).unwrap_err();
        assert!(matches!(refusal, HookRefusal::TooManySteps { .. }), "{replies} replies, {events} events: {refusal}");
    }
    assert!(outcome(most / 2, most - most / 2).is_ok());
}

#[test]
fn form_is_the_payload_as_json() {
    let hook = Webhook { accepts: vec![BodyForm::Form], ..Webhook::of(Verify::None, Repeats::Drop) };
    let sensor = Sensor { source: Source::Webhook(Arc::new(hook)), ..open(vec![emit("shop.order")]) };
    let made =
        receive(&sensor, &request(&[("content-type", "application/x-www-form-urlencoded")], "item=tea&count=2"), HookKeys::default());
    assert_eq!(made.unwrap()[0].payload.root().to_value(), json!({ "item": "tea", "count": "2" }));
}

#[test]
fn text_that_decode_returns_is_the_body_and_may_be_absent() {
    let accepts = vec![BodyForm::Form];
    let hook = Webhook { accepts, decode: Some(expression("body.payload")), ..Webhook::of(Verify::None, Repeats::Drop) };
    let sensor = Sensor { source: Source::Webhook(Arc::new(hook)), ..open(vec![emit("chat.pressed")]) };
    let payload_of = |body| {
        let made = receive(&sensor, &request(&[("content-type", "application/x-www-form-urlencoded")], body), HookKeys::default())?;
        Ok::<_, HookRefusal>(made[0].payload.root().to_value())
    };
    assert_eq!(payload_of("payload=%7B%22type%22%3A%22block_actions%22%7D").unwrap(), json!({ "type": "block_actions" }));
    assert_eq!(payload_of("command=%2Fdeploy").unwrap(), json!({ "command": "/deploy" }));
    assert_eq!(payload_of("payload=%7B").unwrap_err().slug(), "body-not-json");
}

#[test]
fn expressions_read_the_method_and_the_path() {
    let payload = template(&json!({ "room": "${{ path.room }}", "method": "${{ method }}" }));
    let sensor = open(vec![Emit { payload: Some(payload), ..emit("chat.said") }]);
    let request = HookRequest { method: HookMethod::Put, path: vec![("room".into(), "shed".into())], ..delivery("{}") };
    assert_eq!(receive(&sensor, &request, HookKeys::default()).unwrap()[0].payload.root().raw(), r#"{"method":"PUT","room":"shed"}"#);
    let kept = kept_parts(&sensor, &request).unwrap();
    assert_eq!((kept.method.as_deref(), kept.path.as_slice()), (Some("PUT"), &[("room".to_owned(), "shed".to_owned())][..]));
}

fn replying(verify: Verify, replies: Vec<EarlyReply>) -> Sensor {
    let hook = Webhook { replies, methods: HookMethod::ALL.to_vec(), ..Webhook::of(verify, Repeats::Drop) };
    Sensor { source: Source::Webhook(Arc::new(hook)), ..github(vec![emit("github.push")]) }
}

fn early(when: &str, proof: ReplyProof, body: &serde_json::Value) -> EarlyReply {
    let reply = Reply { status: None, headers: Vec::new(), body: Some(template(body)) };
    EarlyReply { when: Some(expression(when)), proof, reply }
}

fn reply_to(sensor: &Sensor, request: &HookRequest) -> Result<HookReply, HookRefusal> {
    match receive_any(sensor, request, current(&key()))? {
        ReceiveOutcome::Reply(reply) => Ok(reply),
        ReceiveOutcome::Events { .. } => panic!("it creates events"),
    }
}

fn media_type(reply: &HookReply) -> &str {
    &reply.headers.iter().find(|(name, _)| name == "content-type").unwrap().1
}

#[test]
fn reply_without_a_proof_is_plain_text_for_anybody() {
    let validation = early(r#""validationToken" in query"#, ReplyProof::NotDemanded, &json!("${{ query.validationToken }}"));
    let sensor = replying(proof_by(Scheme::Github), vec![validation]);
    let asked = HookRequest { query: vec![("validationToken".into(), "<b>1</b>".into())], ..request(&[], "") };
    let reply = reply_to(&sensor, &asked).unwrap();
    assert_eq!((reply.status, &reply.body[..], media_type(&reply)), (200, &b"<b>1</b>"[..], "text/plain; charset=utf-8"));
    let unproven = receive_any(&sensor, &delivery(OPENED), current(&key())).unwrap_err();
    assert!(matches!(unproven, HookRefusal::Unproven(_)), "{unproven}");
    let long = HookRequest { query: vec![("validationToken".into(), "x".repeat(1025))], ..request(&[], "") };
    let refusal = reply_to(&sensor, &long).unwrap_err();
    assert_eq!((refusal.slug(), refusal.stage()), ("sensor-erred", Stage::Proof));
}

#[test]
fn handshakes_by_query_are_answered_for_meta_and_dropbox() {
    let meta =
        early(r#"query[?"hub.mode"].orValue("") == "subscribe""#, ReplyProof::NotDemanded, &json!(r#"${{ query["hub.challenge"] }}"#));
    let sensor = replying(proof_by(Scheme::Meta), vec![meta]);
    let pairs = [("hub.mode", "subscribe"), ("hub.challenge", "1158201444")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let asked = HookRequest { method: HookMethod::Get, query: pairs.to_vec(), ..request(&[], "") };
    assert_eq!(reply_to(&sensor, &asked).unwrap().body, "1158201444");
    let dropbox = early(r#"method == "GET""#, ReplyProof::NotDemanded, &json!("${{ query.challenge }}"));
    let sensor = replying(proof_by(Scheme::Dropbox), vec![dropbox]);
    let asked = HookRequest { method: HookMethod::Get, query: vec![("challenge".into(), "abc".into())], ..request(&[], "") };
    assert_eq!(reply_to(&sensor, &asked).unwrap().body, "abc");
}

#[test]
fn reply_that_demands_a_proof_comes_only_after_it() {
    let ping = early(r#"body.action == "opened""#, ReplyProof::Demanded, &json!({ "number": "${{ body.number }}" }));
    let sensor = replying(proof_by(Scheme::Github), vec![ping]);
    let reply = reply_to(&sensor, &sign_delivery(&sensor, delivery(OPENED))).unwrap();
    assert_eq!((&reply.body[..], media_type(&reply)), (&br#"{"number":7}"#[..], "application/json"));
    assert!(matches!(receive_any(&sensor, &delivery(OPENED), current(&key())), Err(HookRefusal::Unproven(_))));
    let other = sign_delivery(&sensor, delivery(r#"{"action":"closed"}"#));
    assert_eq!(receive(&sensor, &other, current(&key())).unwrap().len(), 1);
}

#[test]
fn handshakes_of_slack_and_zoom_are_answered_to_a_proven_sender() {
    let slack = replying(proof_by(Scheme::Slack), Vec::new());
    let asked = delivery(r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#);
    let reply = reply_to(&slack, &sign_delivery(&slack, asked.clone())).unwrap();
    assert_eq!(&reply.body[..], br#"{"challenge":"3eZbrw1a"}"#);
    assert!(receive_any(&slack, &asked, current(&key())).is_err());
    let zoom = replying(proof_by(Scheme::Zoom), Vec::new());
    let asked = delivery(r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#);
    let reply: serde_json::Value = serde_json::from_slice(&reply_to(&zoom, &sign_delivery(&zoom, asked)).unwrap().body).unwrap();
    let expected = hex::encode(ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key().reveal()), b"qgg8vlvZRS6UYooatFL8Aw"));
    assert_eq!(reply, json!({ "plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected }));
}

#[test]
fn handshake_repeats_a_question_up_to_a_kibibyte() {
    let asked = |scheme: Scheme, bytes: usize| {
        let question = "q".repeat(bytes);
        let body = match scheme {
            Scheme::Slack => json!({ "type": "url_verification", "challenge": question }),
            _ => json!({ "event": "endpoint.url_validation", "payload": { "plainToken": question } }),
        };
        let sensor = replying(proof_by(scheme), Vec::new());
        receive_any(&sensor, &sign_delivery(&sensor, delivery(&body.to_string())), current(&key())).unwrap()
    };
    for scheme in [Scheme::Slack, Scheme::Zoom] {
        assert!(matches!(asked(scheme.clone(), 1_024), ReceiveOutcome::Reply(_)), "{scheme:?}");
        assert!(matches!(asked(scheme.clone(), 1_025), ReceiveOutcome::Events { .. }), "{scheme:?}");
    }
}

#[test]
fn ping_of_discord_is_answered_to_a_proven_sender() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = Secret::new(hex::encode(pair.public_key()).into_bytes());
    let discord = replying(proof_by(Scheme::Discord), Vec::new());
    let signed_by_discord = |body: &str| {
        let time = (NOW.micros() / 1_000_000).to_string();
        let signature = hex::encode(pair.sign(format!("{time}{body}").as_bytes()));
        request(&[("content-type", "application/json"), ("x-signature-timestamp", &time), ("x-signature-ed25519", &signature)], body)
    };
    let ReceiveOutcome::Reply(reply) = receive_any(&discord, &signed_by_discord(r#"{"type":1}"#), current(&public)).unwrap() else {
        panic!()
    };
    assert_eq!(&reply.body[..], br#"{"type":1}"#);
    let command = receive_any(&discord, &signed_by_discord(r#"{"type":2}"#), current(&public)).unwrap();
    assert!(matches!(command, ReceiveOutcome::Events { .. }));
}

#[test]
fn delivery_of_twilio_covers_the_address_and_is_no_repeat_of_another() {
    let sensor = replying(proof_by(Scheme::Twilio), Vec::new());
    let outgoing = Outgoing { event: "", delivery: "d-1", body: Bytes::from_static(b"{}"), now: NOW, url: URL, path: &[] };
    let composed = compose(&sensor, &outgoing, Some(&key())).unwrap();
    assert_eq!(receive(&sensor, &composed, current(&key())).unwrap().len(), 1);
    let elsewhere = HookRequest { url: composed.url.replace("webhook", "other"), ..composed.clone() };
    assert!(receive(&sensor, &elsewhere, current(&key())).is_err());
    assert_ne!(signed_content(&sensor, &elsewhere), signed_content(&sensor, &composed));
}

#[test]
fn delivery_that_is_composed_for_linear_has_the_time_in_its_body() {
    let sensor = replying(proof_by(Scheme::Linear), Vec::new());
    let composed = |body: &'static str| {
        let outgoing = Outgoing { event: "", delivery: "d-1", body: body.into(), now: NOW, url: URL, path: &[] };
        compose(&sensor, &outgoing, Some(&key()))
    };
    for (given, sent) in [
        (
            r#"{"action":"create","at":12345678901234567890.10}"#,
            r#"{"webhookTimestamp":1800000000000,"action":"create","at":12345678901234567890.10}"#,
        ),
        (r#"{ "webhookTimestamp": 1 }"#, r#"{"webhookTimestamp":1800000000000}"#),
    ] {
        let request = composed(given).unwrap();
        assert_eq!(request.body, sent);
        assert_eq!(receive(&sensor, &request, current(&key())).unwrap().len(), 1);
    }
    assert!(matches!(composed("[1]"), Err(SignatureRefusal::NotComposed { .. })));
}

/// Where a sender puts the id of a delivery.
#[derive(Clone, Copy)]
enum IdIn {
    Header(&'static str),
    Body(fn(&str) -> serde_json::Value),
    /// In a header that is signed, whose name begins with this text.
    Signed(&'static str),
    Nowhere,
}

/// Whether a scheme signs a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Signed,
    Unsigned,
}

/// Each scheme with a key, with what its sender gives a delivery, as `docs/reference/webhooks.md` lists it.
fn each_scheme() -> Vec<(Scheme, Time, IdIn)> {
    let described = |timestamp| {
        Scheme::Hmac(Arc::new(HmacVerify {
            header: "x-shop-signature".into(),
            algorithm: HmacAlgorithm::Sha256,
            encoding: SignatureEncoding::Hex,
            prefix: String::new(),
            parse: SignatureList::One,
            signed: [SignedPart::Timestamp, SignedPart::Body][usize::from(timestamp == Time::Unsigned)..].to_vec(),
            timestamp: (timestamp == Time::Signed)
                .then(|| SignatureTime { place: TimePlace::Header("x-shop-time".into()), unit: TimeUnit::Milliseconds }),
            id: None,
            tolerance_seconds: TOLERANCE_SECONDS,
        }))
    };
    use IdIn::{Body, Header, Nowhere};
    vec![
        (Scheme::Basic, Time::Unsigned, Nowhere),
        (Scheme::Bearer, Time::Unsigned, Nowhere),
        (Scheme::Bitbucket, Time::Unsigned, Header("x-request-uuid")),
        (Scheme::Discord, Time::Signed, Body(|id| json!({ "type": 2, "id": id }))),
        (Scheme::Dropbox, Time::Unsigned, Nowhere),
        (Scheme::Github, Time::Unsigned, Header("x-github-delivery")),
        (Scheme::Gitlab, Time::Unsigned, Header("idempotency-key")),
        (Scheme::Gitlab, Time::Unsigned, Header("x-gitlab-event-uuid")),
        (Scheme::Header("x-hook-token".into()), Time::Unsigned, Nowhere),
        (described(Time::Unsigned), Time::Unsigned, Nowhere),
        (described(Time::Signed), Time::Signed, Nowhere),
        (Scheme::Jira, Time::Unsigned, Header("x-atlassian-webhook-identifier")),
        (Scheme::Linear, Time::Signed, Header("linear-delivery")),
        (Scheme::Meta, Time::Unsigned, Nowhere),
        (Scheme::Pagerduty, Time::Unsigned, Body(|id| json!({ "event": { "id": id } }))),
        (Scheme::Sentry, Time::Unsigned, Header("request-id")),
        (Scheme::Shopify, Time::Unsigned, Header("x-shopify-webhook-id")),
        (Scheme::Slack, Time::Signed, Body(|id| json!({ "event_id": id }))),
        (Scheme::Slack, Time::Signed, Body(|id| json!({ "trigger_id": id }))),
        (Scheme::Standard, Time::Signed, IdIn::Signed("webhook-")),
        (Scheme::Standard, Time::Signed, IdIn::Signed("svix-")),
        (Scheme::Stripe, Time::Signed, Body(|id| json!({ "id": id }))),
        (Scheme::Twilio, Time::Unsigned, Header("i-twilio-idempotency-token")),
        (Scheme::Zoom, Time::Signed, Nowhere),
    ]
}

/// Returns the delivery that a scheme's sender makes at a time, and the key that its hook has.
fn sent_by(scheme: &Scheme, id_in: IdIn, id: Option<&str>, at: Timestamp) -> (HookRequest, Secret) {
    let mut body = match (id_in, id) {
        (IdIn::Body(with), Some(id)) => with(id),
        _ => json!({ "n": 1 }),
    };
    if *scheme == Scheme::Linear {
        body["webhookTimestamp"] = at.unix_millis().into();
    }
    let mut request = request(&[("content-type", "application/json")], &body.to_string());
    if let (IdIn::Header(name), Some(id)) = (id_in, id) {
        request.headers.push((name.to_owned(), id.to_owned()));
    }
    if *scheme == Scheme::Discord {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let time = (at.unix_millis() / 1_000).to_string();
        let signature = hex::encode(pair.sign(format!("{time}{body}").as_bytes()));
        request.headers.extend([("x-signature-timestamp".to_owned(), time), ("x-signature-ed25519".to_owned(), signature)]);
        return (request, Secret::new(hex::encode(pair.public_key()).into_bytes()));
    }
    if *scheme == Scheme::Twilio {
        let (name, hash) = signatures::twilio::body_hash(&request.body);
        request.url = format!("{URL}?{name}={hash}");
    }
    let key = if *scheme == Scheme::Standard { Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec()) } else { key() };
    let unsigned = UnsignedDelivery { body: &request.body, id: id.unwrap_or("d-0"), now: at, url: &request.url, method: request.method };
    let signed = signatures::sign(scheme, unsigned, Some(&key)).unwrap();
    let named = |name: String| if let IdIn::Signed(prefix) = id_in { name.replace("webhook-", prefix) } else { name };
    request.headers.extend(signed.into_iter().map(|(name, value)| (named(name), value)));
    (request, key)
}

/// Returns the hook of a scheme, whose only event has the key that the sender gives a delivery.
fn hook_of(scheme: &Scheme) -> Sensor {
    let source = Source::Webhook(Arc::new(Webhook::of(proof_by(scheme.clone()), Repeats::Drop)));
    Sensor { source, ..github(vec![Emit { dedupe: EmitKey::Natural, ..emit("github.push") }]) }
}

#[test]
fn delivery_that_is_replayed_an_hour_later_is_rejected_by_each_scheme_that_signs_a_time() {
    for (scheme, time, id_in) in each_scheme() {
        let (request, key) = sent_by(&scheme, id_in, Some("d-1"), NOW);
        let at = |now| super::receive(&hook_of(&scheme), &request, &Proving { keys: current(&key), now, vouched: None });
        assert!(matches!(at(NOW), Ok(ReceiveOutcome::Events { .. })), "{scheme:?}");
        let later = at(NOW.plus_millis(3_600_000));
        let is_rejected = matches!(later, Err(HookRefusal::Unproven(SignatureRefusal::OutOfTime { .. })));
        assert_eq!(is_rejected, time == Time::Signed, "{scheme:?}: {later:?}");
        assert!(is_rejected || later.is_ok(), "{scheme:?}: {later:?}");
    }
}

#[test]
fn repeat_has_the_key_of_the_first_delivery_wherever_its_sender_gives_one() {
    for (scheme, _, id_in) in each_scheme() {
        let key_of = |id: Option<&str>, now: Timestamp| {
            let (request, key) = sent_by(&scheme, id_in, id, now);
            let received = super::receive(&hook_of(&scheme), &request, &Proving { keys: current(&key), now, vouched: None });
            let Ok(ReceiveOutcome::Events { emitted, .. }) = received else { panic!("{scheme:?}: {received:?}") };
            emitted[0].dedupe.clone()
        };
        let expected = |id: &str| (!matches!(id_in, IdIn::Nowhere)).then(|| format!("{id}/0"));
        assert_eq!(key_of(Some("d-1"), NOW), expected("d-1"), "{scheme:?}");
        // A sender that repeats a delivery signs it again, at another time.
        assert_eq!(key_of(Some("d-1"), NOW.plus_millis(600_000)), expected("d-1"), "{scheme:?}");
        assert_eq!(key_of(Some("d-2"), NOW), expected("d-2"), "{scheme:?}");
        if !matches!(id_in, IdIn::Signed(_)) {
            assert_eq!(key_of(None, NOW), None, "{scheme:?}");
        }
        assert_eq!(scheme.has_natural_key(), !matches!(id_in, IdIn::Nowhere), "{scheme:?}");
    }
}

#[test]
fn of_two_ids_of_a_delivery_the_better_one_is_its_key_in_either_order() {
    let key_of =
        |scheme: &Scheme, request: &HookRequest, key: &Secret| receive(&hook_of(scheme), request, current(key)).unwrap()[0].dedupe.clone();
    for headers in
        [[("idempotency-key", "k-1"), ("x-gitlab-event-uuid", "u-1")], [("x-gitlab-event-uuid", "u-1"), ("idempotency-key", "k-1")]]
    {
        let (mut request, key) = sent_by(&Scheme::Gitlab, IdIn::Nowhere, None, NOW);
        request.headers.extend(headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(key_of(&Scheme::Gitlab, &request, &key).as_deref(), Some("k-1/0"), "{headers:?}");
    }
    for body in [|id: &str| json!({ "event_id": id, "trigger_id": "t-1" }), |id: &str| json!({ "trigger_id": "t-1", "event_id": id })] {
        let (request, key) = sent_by(&Scheme::Slack, IdIn::Body(body), Some("e-1"), NOW);
        assert_eq!(key_of(&Scheme::Slack, &request, &key).as_deref(), Some("e-1/0"));
    }
    // Anybody can add the other header to a delivery that they have seen.
    for (signed, other) in [("webhook-", "svix-id"), ("svix-", "webhook-id")] {
        for at in [0, 4] {
            let (mut request, key) = sent_by(&Scheme::Standard, IdIn::Signed(signed), Some("signed"), NOW);
            request.headers.insert(at, (other.to_owned(), "unsigned".to_owned()));
            assert_eq!(key_of(&Scheme::Standard, &request, &key).as_deref(), Some("signed/0"), "{signed}");
        }
    }
}

#[test]
fn id_of_a_delivery_is_its_key_up_to_the_limit_of_keys() {
    for (scheme, _, id_in) in each_scheme().into_iter().filter(|(scheme, ..)| scheme.has_natural_key()) {
        let key_of = |id: &str| {
            let (request, key) = sent_by(&scheme, id_in, Some(id), NOW);
            receive(&hook_of(&scheme), &request, current(&key)).unwrap()[0].dedupe.clone()
        };
        let longest = "x".repeat(DEDUPE_BYTES_MAX);
        assert_eq!(key_of(&longest), Some(format!("{longest}/0")), "{scheme:?}");
        assert_eq!(key_of(&format!("{longest}x")), None, "{scheme:?}");
        assert_eq!(key_of(""), None, "{scheme:?}");
    }
}

#[test]
fn events_of_one_delivery_have_keys_of_their_own() {
    let emits = vec![Emit { dedupe: EmitKey::Natural, ..emit("github.push") }; 2];
    let (request, key) = sent_by(&Scheme::Github, IdIn::Header("x-github-delivery"), Some("d-1"), NOW);
    let made = receive(&Sensor { emits, ..hook_of(&Scheme::Github) }, &request, current(&key)).unwrap();
    assert_eq!(made.iter().map(|event| event.dedupe.as_deref().unwrap()).collect::<Vec<_>>(), ["d-1/0", "d-1/1"]);
}

/// Returns another key for the hook of a scheme, in the form that the scheme wants.
fn unrelated_key(scheme: &Scheme, number: u8) -> Secret {
    let written = match scheme {
        Scheme::Standard => format!("whsec_{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [number; 24])),
        Scheme::Discord => hex::encode(Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap().public_key()),
        _ => format!("another value of the key: {number}"),
    };
    Secret::new(written.into_bytes())
}

#[test]
fn value_before_a_rotation_counts_for_each_scheme() {
    for (scheme, _, id_in) in each_scheme() {
        let (request, before) = sent_by(&scheme, id_in, Some("d-1"), NOW);
        let (new, never) = (unrelated_key(&scheme, 1), unrelated_key(&scheme, 2));
        let receive_with = |current, previous| receive(&hook_of(&scheme), &request, HookKeys { current: Some(current), previous });
        assert!(receive_with(&new, Some(&before)).is_ok(), "{scheme:?}");
        assert!(receive_with(&before, Some(&new)).is_ok(), "{scheme:?}: a sender may have the new value already");
        for previous in [None, Some(&never)] {
            let refusal = receive_with(&new, previous).unwrap_err();
            let is_refused = matches!(refusal, HookRefusal::Unproven(SignatureRefusal::Wrong { .. } | SignatureRefusal::WrongToken { .. }));
            assert!(is_refused, "{scheme:?}: {refusal}");
        }
    }
}

/// Returns a hook whose sender signs these parts.
fn signing(signed: &[SignedPart]) -> Sensor {
    let scheme = Scheme::Hmac(Arc::new(HmacVerify {
        header: "x-shop-proof".into(),
        algorithm: HmacAlgorithm::Sha256,
        encoding: SignatureEncoding::Hex,
        prefix: String::new(),
        parse: SignatureList::One,
        signed: signed.to_vec(),
        timestamp: None,
        id: signed.contains(&SignedPart::Id).then(|| "x-shop-id".into()),
        tolerance_seconds: TOLERANCE_SECONDS,
    }));
    replying(proof_by(scheme), Vec::new())
}

#[test]
fn deliveries_that_differ_in_one_signed_part_are_no_repeats_of_each_other() {
    use SignedPart::{Body, Id, Method, Path, Url};
    let delivered = |id: &str, url: &str, method: HookMethod, body: &str| HookRequest {
        method,
        url: url.to_owned(),
        ..request(&[("content-type", "application/json"), ("x-shop-id", id)], body)
    };
    let one = delivered("d-1", "https://a.test/b?c=1", HookMethod::Post, "{}");
    let others = [
        (Method, delivered("d-1", "https://a.test/b?c=1", HookMethod::Put, "{}")),
        (Url, delivered("d-1", "https://a.test/b?c=2", HookMethod::Post, "{}")),
        (Path, delivered("d-1", "https://a.test/d?c=1", HookMethod::Post, "{}")),
        (Id, delivered("d-2", "https://a.test/b?c=1", HookMethod::Post, "{}")),
    ];
    for parts in [vec![Method, Body], vec![Url, Body], vec![Path, Body], vec![Id, Body], vec![Method, Url, Id, Body]] {
        let sensor = signing(&parts);
        let content = |request: &HookRequest| signed_content(&sensor, request).unwrap();
        assert_eq!(
            content(&one),
            content(&HookRequest { headers: [one.headers.clone(), vec![("x-other".into(), "1".into())]].concat(), ..one.clone() })
        );
        assert_ne!(content(&one), content(&HookRequest { body: Bytes::from_static(b"[]"), ..one.clone() }), "{parts:?}");
        for (part, other) in &others {
            // The path is part of the URL.
            let is_signed = parts.contains(part) || (*part == Path && parts.contains(&Url)) || (*part == Url && parts.contains(&Path));
            assert_eq!(content(&one) != content(other), is_signed, "{part:?} among {parts:?}");
        }
    }
    assert_eq!(signed_content(&signing(&[Body]), &one), None, "the body says it all");
    // A text that moves from one part into the next one makes another delivery.
    let sensor = signing(&[Url, Id, Body]);
    let moved =
        [delivered("d-1", "https://a.test/b", HookMethod::Post, "{}"), delivered("-1", "https://a.test/bd", HookMethod::Post, "{}")];
    assert_ne!(signed_content(&sensor, &moved[0]), signed_content(&sensor, &moved[1]));
}

#[test]
fn query_is_kept_wherever_the_sensor_reads_it() {
    let reads = || expression("query.page");
    let emitting = |second: Emit| open(vec![emit("github.event"), second]);
    let decoding = Webhook { decode: Some(reads()), ..Webhook::of(Verify::None, Repeats::Drop) };
    let sensors = [
        emitting(Emit { when: Some(reads()), ..emit("github.push") }),
        emitting(Emit { dedupe: EmitKey::By(reads()), ..emit("github.push") }),
        emitting(Emit { payload: Some(template(&json!({ "page": "${{ query.page }}" }))), ..emit("github.push") }),
        Sensor { source: Source::Webhook(Arc::new(decoding)), ..open(vec![emit("github.push")]) },
    ];
    for sensor in &sensors {
        assert_eq!(kept_parts(sensor, &delivery(OPENED)).unwrap().query, [("from".to_owned(), "ci".to_owned())]);
    }
    assert!(kept_parts(&open(vec![emit("github.push")]), &delivery(OPENED)).unwrap().query.is_empty());
}

#[test]
fn proof_is_not_kept_whatever_its_header_is_and_the_id_is() {
    for (scheme, _, id_in) in each_scheme() {
        let (mut request, _) = sent_by(&scheme, id_in, Some("d-1"), NOW);
        let proof = signatures::header_of(&scheme, &request.headers);
        request.headers.push(("x-other".into(), "1".into()));
        let names: Vec<String> = kept_parts(&hook_of(&scheme), &request).unwrap().headers.into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&proof) && names.contains(&"x-other".to_owned()), "{scheme:?}: {names:?}");
        if let IdIn::Header(id) = id_in {
            assert!(names.iter().any(|name| name == id), "{scheme:?}: {names:?}");
        }
    }
    let by_another_name = signing(&[SignedPart::Body]);
    let request = sign_delivery(&by_another_name, request(&[("content-type", "application/json"), ("content-encoding", "gzip")], "{}"));
    let names: Vec<String> = shown_headers(&by_another_name, &request).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["content-type", "content-encoding"], "without the proof, but with what the body needs");
}

#[test]
fn headers_and_query_are_kept_up_to_their_limit() {
    let sensor = open(vec![emit("github.push")]);
    let kept_with =
        |bytes: usize| kept_parts(&sensor, &request(&[("content-type", "application/json"), ("x-long", &"x".repeat(bytes))], OPENED));
    let beside = serde_json::to_vec(&kept_with(0).unwrap()).unwrap().len();
    let most = kept_with(KEPT_BYTES_MAX - beside).unwrap();
    assert_eq!(serde_json::to_vec(&most).unwrap().len(), KEPT_BYTES_MAX);
    assert!(kept_with(KEPT_BYTES_MAX - beside + 1).is_none());
}

#[test]
fn delivery_whose_query_may_hold_a_secret_is_not_kept_by_a_sensor_that_reads_the_query() {
    let reading = |source: &str| open(vec![emit("github.event"), Emit { when: Some(expression(source)), ..emit("github.push") }]);
    let asked = |pairs: &[(&str, &str)]| HookRequest {
        query: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..delivery(OPENED)
    };
    let (reads, ignores) = (reading(r#""page" in query"#), reading("true"));
    for name in ["token", "Token", "TOKEN", "access_token", "X-Api-Key", "apiKey", "Secret", "sessionId", "Authorization", "PassWord"] {
        for pairs in [[(name, "x"), ("page", "1")], [("page", "1"), (name, "x")]] {
            let request = asked(&pairs);
            assert!(kept_parts(&reads, &request).is_none(), "{pairs:?}");
            assert!(kept_parts(&ignores, &request).unwrap().query.is_empty(), "{pairs:?}");
            assert_eq!(shown_query(&request), [("page".to_owned(), "1".to_owned())], "{pairs:?}");
        }
    }
    let harmless = asked(&[("page", "1"), ("sort", "up")]);
    assert_eq!(kept_parts(&reads, &harmless).unwrap().query, harmless.query);
    assert_eq!(shown_query(&harmless), harmless.query);
}

fn waiting_reply() -> WaitingReply {
    let text = |body: &serde_json::Value| Reply { status: None, headers: Vec::new(), body: Some(late_template(body)) };
    WaitingReply {
        when: None,
        wait_millis: 1_000,
        rule: None,
        succeeded: text(&json!("${{ result }}")),
        late: Some(text(&json!("Working on it: ${{ execution.url }}"))),
        failed: Some(Reply { status: Some(200), ..text(&json!("failed: ${{ error.kind }}")) }),
        none: None,
    }
}

fn late_template(value: &serde_json::Value) -> Template {
    Template::compile(value, &Roots::new(["result", "status", "event", "execution", "error", "config"])).unwrap()
}

#[test]
fn reply_that_waited_says_what_came_of_the_delivery() {
    let sensor = open(Vec::new());
    let came = |how, result: Option<&str>| {
        let came = Came {
            how,
            event: None,
            execution: Some((ExecutionId(Id::root(NOW, 1)), "https://ensue.example.test/ui/executions/x-1".into())),
            status: Some("succeeded"),
            result: result.map(|result| Document::parse(result.to_owned().into()).unwrap()),
            error_kind: Some("exit_code"),
        };
        let reply = replies::reply_to(&sensor, &waiting_reply(), &came).unwrap();
        reply.map(|reply| (reply.status, String::from_utf8(reply.body.to_vec()).unwrap()))
    };
    use CameHow::{Failed, Late, Nothing, Succeeded};
    assert_eq!(came(Succeeded, Some(r#"{"text":"done"}"#)), Some((200, r#"{"text":"done"}"#.into())));
    assert_eq!(came(Late, None), Some((202, "Working on it: https://ensue.example.test/ui/executions/x-1".into())));
    assert_eq!(came(Failed, None), Some((200, "failed: exit_code".into())));
    assert_eq!(came(Nothing, None), None);
}

#[test]
fn header_of_a_reply_with_a_line_break_is_rejected() {
    let header = ("x-answer".to_owned(), template(&json!("${{ body.text }}")));
    let reply = Reply { status: Some(201), headers: vec![header], body: None };
    let sensor = replying(Verify::None, vec![EarlyReply { when: None, proof: ReplyProof::Demanded, reply }]);
    let sent = reply_to(&sensor, &delivery(r#"{"text":"fine"}"#)).unwrap();
    assert_eq!((sent.status, sent.headers), (201, vec![("x-answer".to_owned(), "fine".to_owned())]));
    assert_eq!(reply_to(&sensor, &delivery(r#"{"text":"a\r\nb: c"}"#)).unwrap_err().slug(), "sensor-erred");
}

#[test]
fn reply_is_within_the_limits_of_its_headers_and_its_body() {
    use ensue_engine::catalog::{REPLY_BYTES_MAX, UNPROVEN_REPLY_BYTES_MAX};
    let sensor = |proof, header: Option<&str>, body: Option<&str>| {
        let headers = header.map(|source| ("x-answer".to_owned(), template(&json!(source)))).into_iter().collect();
        let reply = Reply { status: None, headers, body: body.map(|source| template(&json!(source))) };
        replying(Verify::None, vec![EarlyReply { when: None, proof, reply }])
    };
    let in_header = sensor(ReplyProof::Demanded, Some("${{ body.text }}"), None);
    let in_body = sensor(ReplyProof::Demanded, None, Some("${{ body.text }}"));
    let unproven = sensor(ReplyProof::NotDemanded, None, Some("${{ query.text }}"));
    for (sensor, most, stage) in
        [(in_header, 1_024, Stage::Content), (in_body, REPLY_BYTES_MAX, Stage::Content), (unproven, UNPROVEN_REPLY_BYTES_MAX, Stage::Proof)]
    {
        let reply = |bytes: usize| {
            let text = "x".repeat(bytes);
            let request = delivery(&json!({ "text": text }).to_string());
            reply_to(&sensor, &HookRequest { query: vec![("text".into(), text)], ..request })
        };
        assert_eq!(reply(most).unwrap().status, 200, "{most}");
        let refusal = reply(most + 1).unwrap_err();
        assert_eq!((refusal.slug(), refusal.stage()), ("sensor-erred", stage), "{most}: {refusal}");
    }
}
