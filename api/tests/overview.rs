//! What needs attention, searches, and the filters by which operators find what is stuck.

use serde_json::{Value, json};

use crate::reach::{deploy, token_with_grant};
use crate::support::TestApi;

async fn read(api: &TestApi, path: &str) -> Value {
    api.get(&format!("/api/v1{path}")).by("viewer").answer().await.expect(200).json()
}

async fn search(api: &TestApi, token: &str, q: &str) -> Vec<(String, String)> {
    let found = api.get(&format!("/api/v1/search?q={q}")).bearing(token).answer().await.expect(200).json();
    let item = |item: &Value| (item["kind"].as_str().unwrap().to_owned(), item["id"].as_str().unwrap().to_owned());
    found["items"].as_array().unwrap().iter().map(item).collect()
}

fn of_kind(found: &[(String, String)], kind: &str) -> Vec<String> {
    found.iter().filter(|(of, _)| of == kind).map(|(_, id)| id.clone()).collect()
}

#[tokio::test]
async fn overview_has_what_waits_for_people_and_what_is_stuck() {
    let api = TestApi::new();
    let inquiry = api.inquiry().await;
    let failed = deploy(&api, "eu").await;
    api.node.fail(&failed);
    let now = read(&api, "/now").await;
    assert_eq!(now["needs_person"]["dead_letters_open"], 1);
    assert_eq!((&now["needs_person"]["inquiries_mine"], &now["needs_person"]["inquiries_overdue"]), (&json!(0), &json!(1)));
    let stuck = now["stuck"].as_array().unwrap();
    assert_eq!((stuck.len(), &stuck[0]["inquiry"], &stuck[0]["waits_for"]["kind"]), (1, &json!(inquiry), &json!("answer")));
    assert_eq!((&now["open"]["waiting"], &now["open"]["running"]), (&json!(1), &json!(0)));
    assert_eq!(now["inquiries"][0]["id"], json!(inquiry), "{now:#}");
    assert_eq!((&now["locks"], &now["queues"], &now["next"], &now["workflows"]), (&json!([]), &json!([]), &json!([]), &json!([])));
    let counts = api.get("/api/v1/now/needs_person").by("viewer").answer().await.expect(200).json();
    assert_eq!(counts, now["needs_person"]);
    let of_admin = api.get("/api/v1/now").by("admin").answer().await.expect(200).json();
    assert_eq!(of_admin["needs_person"]["inquiries_mine"], 1);
}

#[tokio::test]
async fn overview_has_only_what_its_caller_sees() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    for id in [&eu, &us] {
        api.node.fail(id);
    }
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let now = api.get("/api/v1/now").bearing(&token).answer().await.expect(200).json();
    assert_eq!(now["needs_person"]["dead_letters_open"], 1);
    assert_eq!((&now["needs_person"]["parked_reactions"], &now["failing_rules"]), (&json!(null), &json!([])));
    let sender = token_with_grant(&api, "bo", "ingester", &json!({ "packs": ["demo"] })).await;
    let nothing = api.get("/api/v1/now").bearing(&sender).answer().await.expect(200).json();
    assert_eq!((&nothing["rates"]["events"], &nothing["rates"]["requested"]), (&json!(null), &json!(null)));
    assert_eq!((&nothing["stuck"], &nothing["open"], &nothing["failing_rules"]), (&json!(null), &json!(null), &json!(null)));
    for part in ["inquiries", "workflows", "locks", "queues", "next"] {
        assert_eq!(nothing[part], json!(null), "{part}");
    }
    for part in ["locks", "queues", "next"] {
        assert_eq!(now[part], json!(null), "{part} belong nowhere, so a caller with limits does not see them");
    }
    assert!(nothing["needs_person"].as_object().unwrap().values().all(Value::is_null), "{nothing:#}");
}

/// Reads counts of the hour in which the node of the tests works.
async fn series(api: &TestApi, token: &str, query: &str) -> Value {
    let path = format!("/api/v1/series?{query}&since=2026-03-28T11:30:00Z&until=2026-03-28T12:30:00Z");
    api.get(&path).bearing(token).answer().await.expect(200).json()
}

/// Returns the key and the sum of each series.
fn sums(series: &Value) -> Vec<(Option<String>, u64)> {
    let row = |row: &Value| {
        let counts = row["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap());
        assert_eq!(counts.clone().sum::<u64>(), row["total"], "{row}");
        (row["key"].as_str().map(str::to_owned), counts.sum())
    };
    series["rows"].as_array().unwrap().iter().map(row).collect()
}

fn with_keys(sums: &[(&str, u64)]) -> Vec<(Option<String>, u64)> {
    sums.iter().map(|(key, sum)| (Some((*key).to_owned()), *sum)).collect()
}

#[tokio::test]
async fn series_count_what_their_caller_sees() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    deploy(&api, "us").await;
    for id in [&eu, &us] {
        api.node.fail(id);
    }
    let all = token_with_grant(&api, "cy", "viewer", &json!(null)).await;
    let outcomes = series(&api, &all, "of=executions&by=outcome").await;
    assert_eq!(sums(&outcomes), with_keys(&[("requested", 3), ("failed", 2)]));
    assert_eq!((&outcomes["bucket_seconds"], outcomes["rows"][0]["counts"].as_array().unwrap().len()), (&json!(60), 60));
    let limited = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let outcomes = series(&api, &limited, "of=executions&by=outcome").await;
    assert_eq!(sums(&outcomes), with_keys(&[("failed", 1), ("requested", 1)]), "the end has the scope of the request");
    assert_eq!(sums(&series(&api, &limited, "of=events").await), [], "an event has no labels");
    let sender = token_with_grant(&api, "bo", "ingester", &json!(null)).await;
    for of in ["executions", "rule_errors"] {
        api.get(&format!("/api/v1/series?of={of}")).bearing(&sender).answer().await.expect_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn series_have_the_requested_names_and_buckets() {
    let api = TestApi::new();
    for name in ["ana", "bo", "cy"] {
        api.event(name).await;
    }
    api.post("/hooks/demo/door").json(&json!({ "kind": "hello", "name": "dan" })).answer().await.expect(202);
    let all = token_with_grant(&api, "cy", "viewer", &json!(null)).await;
    assert_eq!(sums(&series(&api, &all, "of=events").await), [(None, 4)]);
    assert_eq!(sums(&series(&api, &all, "of=events&by=trigger").await), with_keys(&[("demo.hello", 4)]));
    assert_eq!(sums(&series(&api, &all, "of=events&by=trigger&trigger=demo.other").await), []);
    assert_eq!(sums(&series(&api, &all, "of=deliveries&by=sensor").await), with_keys(&[("demo.door", 1)]));
    assert_eq!(sums(&series(&api, &all, "of=enforcements&by=outcome").await), with_keys(&[("executed", 2)]));
    assert_eq!(sums(&series(&api, &all, "of=rule_errors&by=rule&rule=demo.greet").await), []);
    let hours = series(&api, &all, "of=events&bucket=1h").await;
    assert_eq!((&hours["from"], &hours["until"]), (&json!("2026-03-28T11:00:00.000000Z"), &json!("2026-03-28T13:00:00.000000Z")));
    assert_eq!(hours["rows"][0]["counts"], json!([0, 4]));
    let wrong = [
        "",
        "?of=keys",
        "?of=events&by=rule",
        "?of=events&by=outcome,trigger",
        "?of=events&rule=demo.greet",
        "?of=events&since=2026-01-01T00:00:00Z",
        "?of=events&since=2026-03-28T12:00:00Z&until=2026-03-28T12:00:00Z",
    ];
    for query in wrong {
        api.get(&format!("/api/v1/series{query}")).bearing(&all).answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn search_finds_things_by_id_name_label_and_title() {
    let api = TestApi::new();
    let eu = deploy(&api, "eu").await;
    let event = api.event("ana").await;
    let inquiry = api.inquiry().await;
    let viewer = api.node.token_of("viewer");
    assert_eq!(of_kind(&search(&api, &viewer, &eu).await, "execution"), std::slice::from_ref(&eu));
    assert_eq!(of_kind(&search(&api, &viewer, &eu.replace('-', "")[..20]).await, "execution"), std::slice::from_ref(&eu));
    assert_eq!(of_kind(&search(&api, &viewer, &event.to_uppercase()).await, "event"), [event]);
    assert_eq!(of_kind(&search(&api, &viewer, "site%3Deu").await, "execution"), [eu]);
    assert_eq!(of_kind(&search(&api, &viewer, "GREET").await, "rule")[..1], ["demo.greet"]);
    let title = read(&api, &format!("/inquiries/{inquiry}")).await["title"].as_str().unwrap().to_lowercase();
    assert_eq!(of_kind(&search(&api, &viewer, &title.replace(' ', "%20").replace('?', "%3F")).await, "inquiry"), [inquiry]);
    assert_eq!(search(&api, &viewer, "nothing%20like%20that").await, []);
    for q in ["", "?q=a", "?q="] {
        api.get(&format!("/api/v1/search{q}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn search_finds_only_what_its_caller_sees() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    assert_eq!(of_kind(&search(&api, &token, &us).await, "execution"), [""; 0]);
    assert_eq!(of_kind(&search(&api, &token, &eu).await, "execution"), [eu]);
    assert_eq!(search(&api, &token, "greet").await, [], "a limit by labels covers no rule");
    let of_pack = token_with_grant(&api, "bo", "viewer", &json!({ "packs": ["core"] })).await;
    assert_eq!(search(&api, &of_pack, "greet").await, []);
    assert!(of_kind(&search(&api, &of_pack, "core.").await, "action").contains(&"core.echo".to_owned()));
}

#[tokio::test]
async fn lists_filter_by_what_an_execution_waits_for_and_what_became_of_events() {
    let api = TestApi::new();
    api.inquiry().await;
    deploy(&api, "eu").await;
    let count = async |path: &str| read(&api, path).await["items"].as_array().unwrap().len();
    assert_eq!(count("/executions?waits_for=answer").await, 1);
    assert_eq!(count("/executions?waits_for=lock").await, 0);
    assert_eq!(count("/executions?waits_for=answer&status=running").await, 0);
    api.event("ana").await;
    assert_eq!((count("/events?matched=any").await, count("/events?matched=none").await), (1, 0));
    assert_eq!(count("/enforcements?became=executed").await, 0);
    api.get("/api/v1/executions?waits_for=rain").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}
