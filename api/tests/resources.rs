//! Events, rules, traces, keys, tokens, the log and the node.

use axum::http::Method;
use serde_json::{Value, json};

use crate::reach::token_with_grant;
use crate::support::TestApi;

#[tokio::test]
async fn event_with_a_dedupe_key_counts_once_per_caller() {
    let api = TestApi::new();
    let send = |role: &'static str, name: &'static str| {
        let given = json!({ "trigger": "demo.hello", "payload": { "name": name }, "dedupe": "k-1" });
        api.post("/api/v1/events").by(role).json(&given).answer()
    };
    let first = send("admin", "cy").await.expect(202);
    assert_eq!(first.header("location"), Some(format!("/api/v1/events/{}", first.json()["id"].as_str().unwrap()).as_str()));
    assert_eq!(send("admin", "cy").await.expect(200).json(), first.json());
    send("admin", "di").await.expect_problem(409, "dedupe_key_reused");
    // Another caller's key of the same name is a different key.
    assert_ne!(send("author", "cy").await.expect(202).json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn invalid_event_is_reported_with_the_pointer() {
    let api = TestApi::new();
    let send = |given: Value| api.post("/api/v1/events").by("admin").json(&given).answer();
    let misfit = send(json!({ "trigger": "demo.hello", "payload": { "name": 1 } })).await.expect_problem(422, "payload_invalid");
    assert_eq!(misfit["errors"][0]["pointer"], "/payload/name");
    let unknown = send(json!({ "trigger": "demo.nothing", "payload": {} })).await.expect_problem(422, "trigger_not_found");
    assert_eq!(unknown["errors"][0]["pointer"], "/trigger");
    send(json!({ "trigger": "Demo", "payload": {} })).await.expect_problem(422, "body_invalid");
    send(json!({ "trigger": "demo.hello", "payload": { "name": "x" }, "dedupe": "" })).await.expect_problem(422, "body_invalid");
    send(json!({ "trigger": "demo.hello" })).await.expect_problem(422, "body_invalid");
}

#[tokio::test]
async fn event_lists_matching_rules_and_why_others_did_not_match() {
    let api = TestApi::new();
    let id = api.event("ana").await;
    let rules = api.get(&format!("/api/v1/events/{id}/rules")).by("viewer").answer().await.expect(200).json();
    let of = |name: &str| rules["items"].as_array().unwrap().iter().find(|rule| rule["rule"] == name).unwrap().clone();
    assert_eq!((&of("demo.greet")["verdict"], &of("demo.greet")["outcome"]), (&json!("matched"), &json!("executed")));
    assert!(of("demo.greet")["execution"].is_string());
    assert_eq!((&of("demo.part")["verdict"], &of("demo.part")["enforcement"]), (&json!("not_matched"), &json!(null)));
    let why = of("demo.part")["why"][0].as_str().unwrap().to_owned();
    assert!(why.contains("event.payload.name == \"bo\"") && why.contains("ana"), "{why}");
}

/// Requests the explanation of a rule for an event.
async fn request_explanation(api: &TestApi, path: &str, event: Value) -> crate::support::Answer {
    api.post(&format!("/api/v1/rules/{path}")).by("viewer").json(&json!({ "event": event })).answer().await
}

#[tokio::test]
async fn rule_explains_its_decision_on_a_stored_event() {
    let api = TestApi::new();
    let id = api.event("ana").await;
    let matched = request_explanation(&api, "demo.greet/explain", json!(id)).await.expect(200).json();
    assert_eq!(
        (&matched["verdict"], &matched["outcome"], &matched["definitions"]),
        (&json!("matched"), &json!("executed"), &json!("then"))
    );
    assert_eq!(matched["plan"], json!({ "action": "core.echo", "params": { "message": "Hello ana" }, "rejected": null }));
    assert_eq!(matched["flips"][0]["to"], false);
    let not = request_explanation(&api, "demo.part/explain?definitions=now", json!(id)).await.expect(200).json();
    assert_eq!((&not["verdict"], &not["plan"], &not["enforcement"]), (&json!("not_matched"), &json!(null), &json!(null)));
    assert_eq!(not["decisive"][0]["source"], "event.payload.name == \"bo\"");
    assert_eq!(not["decisive"][0]["note"], "event.payload.name = \"ana\"");
    assert_eq!(not["explanation"]["parts"][0]["span"], json!({ "start": 0, "end": 18 }));
}

#[tokio::test]
async fn rule_explains_its_decision_on_an_event_that_was_never_sent() {
    let api = TestApi::new();
    let position = api.node.head_position();
    let given = |name: Value| json!({ "trigger": "demo.hello", "payload": { "name": name } });
    let told = request_explanation(&api, "demo.greet/explain", given(json!("ana"))).await.expect(200).json();
    assert_eq!((&told["verdict"], &told["event"], &told["definitions"]), (&json!("matched"), &json!(null), &json!("now")));
    assert_eq!(api.node.head_position(), position, "nothing is recorded");
    let misfit = request_explanation(&api, "demo.greet/explain", given(json!(1))).await.expect_problem(422, "payload_invalid");
    assert_eq!(misfit["errors"][0]["pointer"], "/event/payload/name");
}

#[tokio::test]
async fn changed_file_of_a_rule_explains_its_decision() {
    let api = TestApi::new();
    let id = api.event("bo").await;
    let file = |when: &str| {
        let text = format!("description: Greet.\ntrigger: demo.hello\nwhen: {when}\naction: core.echo\nwith: {{ message: changed }}\n");
        json!({ "path": "rules/greet.yaml", "text": text })
    };
    let ask = async |role: &str, path: &str, event: Value, when: &str| {
        let asked = json!({ "event": event, "file": file(when) });
        api.post(&format!("/api/v1/rules/demo.greet/{path}")).by(role).json(&asked).answer().await
    };
    let installed = request_explanation(&api, "demo.greet/explain", json!(id)).await.expect(200).json();
    assert_eq!(installed["verdict"], "not_matched");
    let is_short = "event.payload.name.size() < 3";
    let changed = ask("author", "explain", json!(id), is_short).await.expect(200).json();
    assert_eq!((&changed["verdict"], &changed["definitions"]), (&json!("matched"), &json!("now")));
    assert_eq!(changed["plan"]["params"]["message"], "changed");
    let hello = |name: &str| json!({ "trigger": "demo.hello", "payload": { "name": name } });
    let given = ask("author", "explain", hello("ana"), is_short).await.expect(200).json();
    assert_eq!((&given["verdict"], &given["decisive"][0]["source"]), (&json!("not_matched"), &json!(is_short)));
    ask("author", "explain?definitions=then", json!(id), is_short).await.expect_problem(400, "bad_parameter");
    for event in [json!(id), hello("ana")] {
        ask("viewer", "explain", event, is_short).await.expect_problem(403, "forbidden");
    }
    let of_another_pack = token_with_grant(&api, "dee", "author", &json!({ "packs": ["core"] })).await;
    let asked = json!({ "event": hello("ana"), "file": file(is_short) });
    let refused = api.post("/api/v1/rules/demo.greet/explain").bearing(&of_another_pack).json(&asked).answer().await;
    refused.expect_problem(404, "not_found");
}

#[tokio::test]
async fn changed_file_reads_vars_only_if_its_caller_may() {
    let api = TestApi::new();
    let text = "description: Greet.\ntrigger: demo.hello\nwhen: vars[?\"x\"].orValue(\"\") == event.payload.name\naction: core.noop\n";
    let event = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
    let asked = json!({ "event": event, "file": { "path": "rules/greet.yaml", "text": text } });
    let ask = async |token: &str| api.post("/api/v1/rules/demo.greet/explain").bearing(token).json(&asked).answer().await;
    let may = token_with_grant(&api, "cy", "author", &json!(null)).await;
    assert_eq!(ask(&may).await.expect(200).json()["verdict"], "not_matched");
    let limited = token_with_grant(&api, "ana", "author", &json!({ "packs": ["demo"] })).await;
    ask(&limited).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn judgements_of_a_rule_say_which_parts_decided() {
    let api = TestApi::new();
    let mut ids = Vec::new();
    for name in ["ana", "bo", "cy", "dan"] {
        ids.push(api.event(name).await);
    }
    let read =
        async |query: &str| api.get(&format!("/api/v1/rules/demo.greet/judgements{query}")).by("viewer").answer().await.expect(200).json();
    let all = read("").await;
    let shown: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| (item["event"].clone(), item["verdict"].clone())).collect();
    let expected = [(3, "not_matched"), (2, "not_matched"), (1, "not_matched"), (0, "matched")];
    assert_eq!(shown, expected.map(|(at, verdict)| (json!(ids[at]), json!(verdict))));
    assert_eq!((&all["examined"], &all["unreadable"], &all["next"]), (&json!(4), &json!(0), &json!(null)));
    let part = "event.payload.name == \"ana\"";
    assert_eq!(all["groups"][0], json!({ "verdict": "not_matched", "decisive": [part], "count": 3, "last_event": ids[3] }));
    assert!(all["items"][0]["why"][0].as_str().unwrap().contains("dan"), "{all:#}");
    // Each page continues after the events that were examined for the page before.
    let (mut query, mut found) = ("?verdict=not_matched&limit=1".to_owned(), Vec::new());
    for _ in 0..5 {
        let page = read(&query).await;
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["event"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?verdict=not_matched&limit=1&cursor={next}");
    }
    assert_eq!(found, [&ids[3], &ids[2], &ids[1]].map(|id| json!(id)));
    assert_eq!(read("?verdict=erred").await["items"], json!([]));
    api.get("/api/v1/rules/demo.greet/judgements?verdict=lost").by("viewer").answer().await.expect_problem(400, "bad_parameter");
    api.get("/api/v1/rules/demo.nothing/judgements").by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn judgements_have_only_events_that_their_caller_sees() {
    let api = TestApi::new();
    api.event("ana").await;
    let outside = token_with_grant(&api, "ana", "viewer", &json!({ "packs": ["examples"] })).await;
    api.get("/api/v1/rules/demo.greet/judgements").bearing(&outside).answer().await.expect_problem(404, "not_found");
    let inside = token_with_grant(&api, "bo", "viewer", &json!({ "packs": ["demo"] })).await;
    let seen = api.get("/api/v1/rules/demo.greet/judgements").bearing(&inside).answer().await.expect(200).json();
    assert_eq!(seen["examined"], 1);
    let foreign = "/api/v1/rules/examples.celebrate_merge/judgements";
    let merged = api.get(foreign).bearing(&outside).answer().await.expect(200).json();
    assert_eq!(merged["examined"], 0, "the events of the trigger belong to another pack");
}

#[tokio::test]
async fn impossible_explanation_is_rejected_with_the_reason() {
    let api = TestApi::new();
    let id = api.event("ana").await;
    let hello = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
    request_explanation(&api, "demo.nothing/explain", hello.clone()).await.expect_problem(404, "not_found");
    request_explanation(&api, "demo.nothing/explain", json!(id)).await.expect_problem(404, "not_found");
    request_explanation(&api, "demo.greet/explain", json!("01980000-0000-7000-8000-0000000000ff")).await.expect_problem(404, "not_found");
    request_explanation(&api, "demo.greet/explain", json!("no id")).await.expect_problem(404, "not_found");
    request_explanation(&api, "demo.greet/explain", json!({ "trigger": "demo.nothing", "payload": {} }))
        .await
        .expect_problem(422, "trigger_not_found");
    request_explanation(&api, "demo.greet/explain", json!(7)).await.expect_problem(422, "body_invalid");
    let unknown = json!({ "trigger": "demo.hello", "payload": {}, "colour": "red" });
    let unknown = request_explanation(&api, "demo.greet/explain", unknown).await.expect_problem(422, "body_invalid");
    assert_eq!(unknown["errors"][0]["pointer"], "/event/colour");
    request_explanation(&api, "demo.greet/explain?definitions=then", hello.clone()).await.expect_problem(400, "bad_parameter");
    request_explanation(&api, "demo.greet/explain?definitions=soon", hello).await.expect_problem(400, "bad_parameter");
    let other = request_explanation(&api, "examples.celebrate_merge/explain", json!(id)).await.expect_problem(422, "trigger_differs");
    assert!(other["detail"].as_str().unwrap().contains("`demo.hello`"), "{other}");
}

#[tokio::test]
async fn trace_is_the_same_from_each_of_its_members() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let enforcements = api.get(&format!("/api/v1/enforcements?event={event}")).by("viewer").answer().await.expect(200).json();
    let enforcement = enforcements["items"][0]["id"].as_str().unwrap();
    let execution = enforcements["items"][0]["execution"].as_str().unwrap();
    api.node.succeed(execution, "{}");
    let mut seen = Vec::new();
    for id in [event.as_str(), enforcement, execution] {
        let mut trace = api.get(&format!("/api/v1/trace/{id}")).by("viewer").answer().await.expect(200).json();
        assert_eq!(trace["asked"].as_str(), Some(id));
        trace["asked"] = Value::Null;
        seen.push(trace);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
    let nodes = seen[0]["nodes"].as_array().unwrap();
    let kinds: Vec<_> = nodes.iter().map(|node| node["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event", "enforcement", "execution"]);
    assert_eq!((&nodes[0]["parent"], &nodes[1]["parent"], &nodes[2]["parent"]), (&json!(null), &json!(event), &json!(enforcement)));
    assert_eq!(nodes[0]["micros"], 0);
    assert!(nodes[2]["ended_micros"].as_i64().unwrap() > 0);
    assert_eq!(nodes[0]["not_matched"][0]["rule"], "demo.part");
    api.get("/api/v1/trace/01980000-0000-7000-8000-0000000000ff").by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn enforcement_shows_the_inputs_of_its_execution() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let list = api.get(&format!("/api/v1/enforcements?event={event}&outcome=executed")).by("viewer").answer().await.expect(200).json();
    let id = list["items"][0]["id"].as_str().unwrap();
    let shown = api.get(&format!("/api/v1/enforcements/{id}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["rule"], &shown["inputs"]), (&json!("demo.greet"), &json!({ "message": "Hello ana" })));
}

#[tokio::test]
async fn rule_shows_its_activity_and_obeys_its_mode() {
    let api = TestApi::new();
    api.event("ana").await;
    let rule = || async { api.get("/api/v1/rules/demo.greet").by("viewer").answer().await.expect(200).json() };
    assert_eq!(rule().await["matched"], matches(1, 0));
    let set = |mode: &'static str| api.post(&format!("/api/v1/rules/demo.greet/{mode}")).by("author").answer();
    assert_eq!(set("shadow").await.expect(200).json(), json!({ "ref": "demo.greet", "mode": "shadow" }));
    api.event("ana").await;
    assert_eq!(
        (&rule().await["matched"]["shadowed"], &rule().await["mode"], &rule().await["declared_mode"]),
        (&json!(1), &json!("shadow"), &json!("enabled"))
    );
    set("disable").await.expect(200);
    api.event("ana").await;
    assert_eq!(rule().await["matched"], matches(1, 1));
    set("enable").await.expect(200);
    api.post("/api/v1/rules/demo.nothing/enable").by("author").answer().await.expect_problem(404, "not_found");
    for text in ["first", "second"] {
        let long = json!({ "trigger": "demo.long", "payload": { "text": text } });
        api.post("/api/v1/events").by("admin").json(&long).answer().await.expect(202);
    }
    let alone = api.get("/api/v1/rules/demo.repeat").by("viewer").answer().await.expect(200).json();
    assert_eq!((&alone["matched"]["executed"], &alone["matched"]["skipped"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn installed_definitions_are_listed_in_order_and_filtered() {
    let api = TestApi::new();
    let list = |path: &'static str| async move { (path, TestApi::new().get(path).by("viewer").answer().await.expect(200).json()) };
    let names = |value: &Value, field: &str| {
        value["items"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (_, rules) = list("/api/v1/rules?pack=demo").await;
    assert_eq!(names(&rules, "ref"), ["demo.greet", "demo.part", "demo.repeat", "demo.ship"]);
    let (_, rules) = list("/api/v1/rules?pack=demo&action=core.echo").await;
    assert_eq!(names(&rules, "ref"), ["demo.greet", "demo.repeat"]);
    let (_, sensors) = list("/api/v1/sensors?pack=demo").await;
    assert_eq!(names(&sensors, "ref"), ["demo.door", "demo.gate", "demo.seal", "demo.watch"]);
    let (_, packs) = list("/api/v1/packs").await;
    assert!(names(&packs, "name").contains(&"demo".to_owned()), "{packs}");
    let trigger = api.get("/api/v1/triggers/demo.hello").by("viewer").answer().await.expect(200).json();
    assert_eq!((&trigger["payload"]["required"], &trigger["rules"]), (&json!(["name"]), &json!(["demo.greet", "demo.part"])));
    let action = api.get("/api/v1/actions/core.noop").by("viewer").answer().await.expect(200).json();
    assert_eq!(action["parameters"]["properties"]["seconds"]["default"], 0);
    let pack = api.get("/api/v1/packs/demo").by("viewer").answer().await.expect(200).json();
    assert_eq!((&pack["version"], &pack["status"], &pack["keys"]), (&json!("1.0.0"), &json!("installed"), &json!(["demo.secret"])));
    let first = api.get("/api/v1/actions?pack=core&limit=2").by("viewer").answer().await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/actions?pack=core&limit=2&cursor={next}")).by("viewer").answer().await.expect(200).json();
    assert!(names(&first, "ref")[1] < names(&second, "ref")[0]);
}

#[tokio::test]
async fn key_is_set_and_never_shown() {
    let api = TestApi::new();
    let put = || api.ask(Method::PUT, "/api/v1/keys/demo.secret").by("operator");
    let raw = put().with("content-type", "application/octet-stream").body(" s3cret, long enough\n").answer().await.expect(201);
    assert_eq!(raw.json(), json!({ "ref": "demo.secret", "version": 1 }));
    assert_eq!(put().json(&json!({ "value": "s3cret, long enough" })).answer().await.expect(200).json()["version"], 2);
    put().json(&json!({ "value": "" })).answer().await.expect_problem(422, "key_value_invalid");
    // The hook `demo.gate` would not accept it.
    put().json(&json!({ "value": "s3cret" })).answer().await.expect_problem(422, "key_value_invalid");
    put().with("content-type", "text/plain").body("x".repeat(70_000)).answer().await.expect_problem(413, "key_value_invalid");
    put().body("s3cret").answer().await.expect_problem(415, "unsupported_media_type");
    for body in
        [r#"{"value":"s3cret","extra":1}"#, r#""s3cret""#, r#"{"s3cret":1}"#, r#"{"value":{"s3cret":1}}"#, r#"{"value":["s3cret"]}"#]
    {
        let refused = put().with("content-type", "application/json").body(body).answer().await.expect_problem(422, "body_invalid");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
    let doubled = put().with("content-type", "application/json").body(r#"{"s3cret":1,"s3cret":1}"#);
    let refused = doubled.answer().await.expect_problem(400, "body_not_json");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");
    for path in ["/api/v1/keys", "/api/v1/keys/demo.secret"] {
        let shown = api.get(path).by("operator").answer().await.expect(200);
        assert!(shown.text.contains("demo.secret") && !shown.text.contains("s3cret"), "{}", shown.text);
    }
    let remove = || api.ask(Method::DELETE, "/api/v1/keys/demo.secret").by("operator").answer();
    assert!(remove().await.expect(204).header("ensue-position").is_some());
    remove().await.expect_problem(404, "not_found");
    api.get("/api/v1/keys/demo.secret").by("operator").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn key_is_rotated_with_an_overlap_and_an_expiry() {
    let api = TestApi::new();
    let rotate = |body: Value| api.post("/api/v1/keys/demo.secret/rotate").by("operator").json(&body).answer();
    rotate(json!({ "value": "a new secret value", "overlap": "24h" })).await.expect_problem(404, "not_found");
    let put = |body: Value| api.ask(Method::PUT, "/api/v1/keys/demo.secret").by("operator").json(&body).answer();
    put(json!({ "value": "s3cret, long enough", "expires_at": "soon" })).await.expect_problem(422, "key_lifetime_invalid");
    put(json!({ "value": "s3cret, long enough", "expires_at": "2001-01-01T00:00:00Z" })).await.expect_problem(422, "key_lifetime_invalid");
    put(json!({ "value": "s3cret, long enough", "expires_at": "2999-01-01T00:00:00Z" })).await.expect(201);
    let shown = api.get("/api/v1/keys/demo.secret").by("operator").answer().await.expect(200).json();
    assert_eq!(shown["expires_at"], "2999-01-01T00:00:00.000000Z");

    for (body, code) in [
        (json!({ "overlap": "24h" }), "key_value_invalid"),
        (json!({ "value": "a new secret value", "generate": { "bytes": 32 }, "overlap": "24h" }), "key_value_invalid"),
        (json!({ "value": "short", "overlap": "24h" }), "key_value_invalid"),
        (json!({ "generate": { "bytes": 15 }, "overlap": "24h" }), "key_value_invalid"),
        (json!({ "generate": { "bytes": 1025 }, "overlap": "24h" }), "key_value_invalid"),
        (json!({ "generate": { "bytes": 32 }, "overlap": "-1h" }), "key_lifetime_invalid"),
        (json!({ "generate": { "bytes": 32 }, "overlap": "721h" }), "key_lifetime_invalid"),
        (json!({ "generate": { "bytes": 32 } }), "body_invalid"),
    ] {
        rotate(body).await.expect_problem(422, code);
    }
    let rotated = rotate(json!({ "generate": { "bytes": 32 }, "overlap": "720h" })).await.expect(200).json();
    let version = rotated["version"].clone();
    let versions = api.get("/api/v1/keys/demo.secret/versions").by("operator").answer().await.expect(200).json();
    let told: Vec<_> = versions["items"].as_array().unwrap().iter().map(|one| (&one["version"], one["status"].as_str().unwrap())).collect();
    assert_eq!(told[0], (&version, "current"));
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    assert!(versions["items"][1]["accepted_until"].is_string(), "{versions}");

    let tag = api.get("/api/v1/keys/demo.secret").by("operator").answer().await.expect(200).header("etag").unwrap().to_owned();
    let conditional = || {
        let body = json!({ "generate": { "bytes": 16 }, "overlap": "0s" });
        api.post("/api/v1/keys/demo.secret/rotate").by("operator").with("if-match", &tag).json(&body).answer()
    };
    conditional().await.expect(200);
    conditional().await.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn value_is_revealed_to_an_admin_after_it_was_recorded() {
    let api = TestApi::new();
    let reveal = |role: &'static str| api.post("/api/v1/keys/demo.code/reveal").by(role);
    reveal("admin").answer().await.expect_problem(404, "not_found");
    let put = |body: &'static [u8]| {
        api.ask(Method::PUT, "/api/v1/keys/demo.code").by("operator").with("content-type", "application/octet-stream").body(body).answer()
    };
    put(b"first").await.expect(201);
    put(b"\xff\xfe").await.expect(200);
    reveal("operator").answer().await.expect_problem(403, "forbidden");
    assert!(!api.node.kinds().contains(&"key.revealed"));
    let shown = reveal("admin").answer().await.expect(200);
    assert_eq!(shown.json(), json!({ "ref": "demo.code", "version": 2, "value": "//4=", "encoding": "base64" }));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(api.node.kinds().last(), Some(&"key.revealed"));
    reveal("admin").json(&json!({ "version": 1 })).answer().await.expect_problem(404, "not_found");
    put(b"text").await.expect(200);
    let shown = reveal("admin").json(&json!({ "version": 3 })).answer().await.expect(200).json();
    assert_eq!((&shown["value"], &shown["encoding"]), (&json!("text"), &json!("text")));
}

#[tokio::test]
async fn token_secret_is_shown_once() {
    let api = TestApi::new();
    let add = |body: Value| api.post("/api/v1/tokens").by("admin").json(&body).answer();
    let made = add(json!({ "name": "bo", "roles": ["viewer", "release_managers"] })).await.expect(201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("ens_"));
    let listed = api.get("/api/v1/tokens?name=bo").by("admin").answer().await.expect(200);
    assert_eq!(listed.json()["items"][0]["roles"], json!(["release_managers", "viewer"]));
    assert!(!listed.text.contains(token.rsplit('_').next().unwrap()));
    add(json!({ "name": "bo", "roles": ["viewer"] })).await.expect_problem(409, "token_name_taken");
    for bad in [json!([]), json!(["Admin "]), json!(vec!["viewer"; 17])] {
        add(json!({ "name": "cy", "roles": bad })).await.expect_problem(422, "body_invalid");
    }
    api.post("/api/v1/tokens")
        .by("operator")
        .json(&json!({ "name": "cy", "roles": ["admin"] }))
        .answer()
        .await
        .expect_problem(403, "forbidden");
    let revoke = |name: &str| api.ask(Method::DELETE, &format!("/api/v1/tokens/{name}")).by("admin").answer();
    revoke("bo").await.expect(204);
    revoke("bo").await.expect_problem(404, "not_found");
    revoke("ana.admin").await.expect_problem(409, "last_admin");
    let left = api.get("/api/v1/tokens?name=bo").by("admin").answer().await.expect(200).json();
    assert_eq!(left["items"], json!([]));
}

#[tokio::test]
async fn log_is_readable_record_by_record() {
    let api = TestApi::new();
    api.event("ana").await;
    let head = api.get("/api/v1/log/head").by("viewer").answer().await.expect(200).json();
    assert_eq!(head["position"], api.node.head_position());
    let mut positions = Vec::new();
    let mut path = "/api/v1/log?after=3&limit=4".to_owned();
    loop {
        let page = api.get(&path).by("viewer").answer().await.expect(200).json();
        positions.extend(page["items"].as_array().unwrap().iter().map(|record| record["position"].as_u64().unwrap()));
        match page["next"].as_str() {
            None => break,
            Some(cursor) => path = format!("/api/v1/log?after=3&limit=4&cursor={cursor}"),
        }
    }
    assert_eq!(positions, (4..=api.node.head_position()).collect::<Vec<_>>());
    let record = api.get("/api/v1/log/1").by("viewer").answer().await.expect(200).json();
    assert_eq!((&record["kind"], &record["position"]), (&json!("pack.installed"), &json!(1)));
    for nothing in ["0", "99999", "-1", "x", "18446744073709551616"] {
        api.get(&format!("/api/v1/log/{nothing}")).by("viewer").answer().await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn node_reports_its_status_and_runs_background_jobs() {
    let api = TestApi::new();
    api.event("ana").await;
    let status = api.get("/api/v1/status").by("viewer").answer().await.expect(200).json();
    assert_eq!((&status["position"], &status["views_position"]), (&json!(api.node.head_position()), &json!(api.node.head_position())));
    assert_eq!((&status["totals"]["events"], &status["totals"]["executions_open"]), (&json!(1), &json!(1)));
    let doctor = api.get("/api/v1/doctor").by("viewer").answer().await.expect(200).json();
    assert_eq!((&doctor["verdict"], &doctor["findings"][0]["check"]), (&json!("warning"), &json!("hooks")));
    let settings = api.get("/api/v1/settings").by("operator").answer().await.expect(200).json();
    let workers = json!({ "name": "workers", "value": 8, "source": "file", "place": "/etc/ensue.yaml:3" });
    assert_eq!(settings["items"], json!([workers]));
    api.get("/api/v1/settings").by("viewer").answer().await.expect_problem(403, "forbidden");
    let begun = api.post("/api/v1/log/verify").by("operator").answer().await.expect(202);
    assert_eq!((begun.header("location"), &begun.json()["status"]), (Some("/api/v1/log/verify"), &json!("running")));
    assert_eq!(api.get("/api/v1/log/verify").by("viewer").answer().await.expect(200).json()["status"], "succeeded");
    api.post("/api/v1/views/rebuild").by("viewer").answer().await.expect_problem(403, "forbidden");
    api.get("/api/v1/views/rebuild").by("viewer").answer().await.expect_problem(404, "not_found");
    let status = api.get("/api/v1/status").by("viewer").answer().await.expect(200).json();
    assert_eq!((&status["jobs"]["log_verify"]["status"], &status["jobs"]["views_rebuild"]), (&json!("succeeded"), &json!(null)));
}

#[tokio::test]
async fn parked_reaction_is_listed_and_retried_or_dismissed_once() {
    let api = TestApi::new();
    let id = api.event("ana").await;
    let of = api.get(&format!("/api/v1/events/{id}")).by("viewer").answer().await.expect(200).json()["position"].as_u64().unwrap();
    api.node.park(of);
    let list = api.get("/api/v1/parked_reactions").by("viewer").answer().await.expect(200).json();
    assert_eq!(
        (&list["items"][0]["of"], &list["items"][0]["error"], list["items"].as_array().unwrap().len()),
        (&json!(of), &json!("it broke"), 1)
    );
    let path = format!("/api/v1/parked_reactions/{of}");
    assert_eq!(api.get(&path).by("viewer").answer().await.expect(200).json(), list["items"][0]);
    let retry = || api.post(&format!("{path}/retry")).by("operator").answer();
    assert_eq!(retry().await.expect(202).json(), json!({ "of": of, "decided": "retry" }));
    assert_eq!(api.node.kinds().last(), Some(&"reaction.retried"));
    retry().await.expect_problem(404, "not_found");
    api.get(&path).by("viewer").answer().await.expect_problem(404, "not_found");
    api.node.park(of);
    assert_eq!(api.post(&format!("{path}/dismiss")).by("operator").answer().await.expect(200).json()["decided"], "dismiss");
    assert_eq!(api.node.kinds().last(), Some(&"reaction.dismissed"));
    api.get("/api/v1/parked_reactions/x").by("viewer").answer().await.expect_problem(404, "not_found");
}

/// Counts of matches without any rejection or flow control.
fn matches(executed: u64, shadowed: u64) -> Value {
    let others = json!({ "rejected": 0, "held": 0, "superseded": 0, "deduplicated": 0, "throttled": 0, "skipped": 0 });
    let mut all = json!({ "executed": executed, "shadowed": shadowed });
    all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    all
}

#[tokio::test]
async fn files_of_a_pack_are_listed_and_shown() {
    let api = TestApi::new();
    let read = async |path: &str| api.get(&format!("/api/v1/packs/demo/files{path}")).by("viewer").answer().await;
    let listed = read("?limit=200").await.expect(200).json();
    let paths: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"rules/greet.yaml") && paths.is_sorted(), "{paths:?}");
    let shown = read("/rules%2Fgreet.yaml").await.expect(200).json();
    assert!(shown["text"].as_str().unwrap().starts_with("description: Greet Ana."), "{shown:#}");
    let text = shown["text"].as_str().unwrap();
    assert_eq!(shown["bytes"].as_u64().unwrap() as usize, text.len());
    let units: Vec<u16> = text.encode_utf16().collect();
    let class_of = |wanted: &str| {
        let part = |token: &Value| {
            let at = |place: usize| token[place].as_u64().unwrap() as usize;
            String::from_utf16(&units[at(0)..at(0) + at(1)]).unwrap()
        };
        shown["tokens"].as_array().unwrap().iter().find(|token| part(token) == wanted).map(|token| token[2].clone())
    };
    for (part, class) in
        [("trigger", "key"), ("demo.hello", "string"), ("==", "operator"), ("${{", "expression"), ("payload", "identifier")]
    {
        assert_eq!(class_of(part), Some(json!(class)), "{part} in {shown:#}");
    }
    assert_eq!(shown["defines"], json!([{ "ref": "demo.greet", "kind": "rule", "line": 1 }]));
    let rule = api.get("/api/v1/rules/demo.greet").by("viewer").answer().await.expect(200).json();
    assert_eq!((&rule["file"], &rule["line"]), (&json!("rules/greet.yaml"), &json!(1)));
    let action = api.get("/api/v1/actions/demo.greet").by("viewer").answer().await.expect(200).json();
    assert_eq!((&action["file"], &action["line"]), (&json!("actions/greet.yaml"), &json!(1)));
    assert_eq!(read("/rules%2Fgreet.yaml?revision=1").await.expect(200).json(), shown);
    read("/rules%2Fgreet.yaml?revision=0").await.expect_problem(410, "catalog_gone");
    for revision in ["2", "first"] {
        read(&format!("/rules%2Fgreet.yaml?revision={revision}")).await.expect_problem(400, "bad_parameter");
    }
    for path in ["/rules%2Fnone.yaml", "/..%2F..%2Fetc%2Fpasswd", "/rules"] {
        read(path).await.expect_problem(404, "not_found");
    }
    api.get("/api/v1/packs/none/files").by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn pack_is_checked_with_other_files_and_nothing_is_installed() {
    let api = TestApi::new();
    let check_by = async |role: &str, files: serde_json::Value| {
        api.post("/api/v1/packs/demo/check").by(role).json(&json!({ "files": files })).answer().await
    };
    let check = async |files: serde_json::Value| check_by("author", files).await;
    check_by("viewer", json!({})).await.expect_problem(403, "forbidden");
    let before = api.node.head_position();
    let same = check(json!({})).await.expect(200).json();
    assert_eq!(same["is_good"], true, "{same:#}");
    let wrong =
        json!({ "rules/greet.yaml": "description: Greets.\ntrigger: demo.hello\nwhen: event.payload.nam == 1\naction: core.noop\n" });
    let told = check(wrong).await.expect(200).json();
    assert_eq!(told["is_good"], false, "{told:#}");
    assert_eq!(told["tokens"]["rules/greet.yaml"][0], json!([0, 11, "key"]));
    let finding = &told["findings"][0];
    assert!(finding["file"].as_str().unwrap().ends_with("rules/greet.yaml") && finding["line"] == 3, "{finding:#}");
    let gone = check(json!({ "pack.yaml": null })).await.expect(200).json();
    assert_eq!(gone["is_good"], false);
    check(json!({ "../outside.yaml": "x" })).await.expect_problem(422, "pack_unreadable");
    assert_eq!(api.node.head_position(), before);
    assert_eq!(check(json!({})).await.expect(200).json(), same);
}

#[tokio::test]
async fn checks_of_packs_by_one_caller_run_one_after_the_other_and_do_not_delay_others() {
    let api = TestApi::new();
    let check = async |role: &str, pack: &str| {
        api.post(&format!("/api/v1/packs/{pack}/check")).by(role).json(&json!({ "files": {} })).answer().await.expect(200)
    };
    api.node.hold_sources();
    let until_two_began = async {
        while api.node.source_reads().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let began: Vec<String> = api.node.source_reads().iter().map(ToString::to_string).collect();
        assert!(began.contains(&"demo".to_owned()) && began.contains(&"core".to_owned()), "one check of each caller: {began:?}");
        api.node.release_sources();
    };
    let all = async { tokio::join!(check("author", "demo"), check("author", "demo"), check("admin", "core"), until_two_began) };
    tokio::time::timeout(std::time::Duration::from_secs(60), all).await.expect("a check of another caller waits for none of these");
}
