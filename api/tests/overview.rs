//! What needs attention, searches, and the filters by which operators find what is stuck.

use serde_json::{Value, json};

use crate::reach::{deployed, granted};
use crate::support::TestApi;

async fn read(api: &TestApi, path: &str) -> Value {
    api.get(&format!("/api/v1{path}")).by("viewer").answer().await.expect(200).json()
}

async fn found(api: &TestApi, token: &str, q: &str) -> Vec<(String, String)> {
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
    let failed = deployed(&api, "eu").await;
    api.node.fail(&failed);
    let now = read(&api, "/now").await;
    assert_eq!(now["needs_person"]["dead_letters_open"], 1);
    assert_eq!((&now["needs_person"]["inquiries_mine"], &now["needs_person"]["inquiries_overdue"]), (&json!(0), &json!(1)));
    let stuck = now["stuck"].as_array().unwrap();
    assert_eq!((stuck.len(), &stuck[0]["inquiry"], &stuck[0]["waits_for"]["kind"]), (1, &json!(inquiry), &json!("answer")));
    assert_eq!((&now["open"]["waiting"], &now["open"]["running"]), (&json!(1), &json!(0)));
    let of_admin = api.get("/api/v1/now").by("admin").answer().await.expect(200).json();
    assert_eq!(of_admin["needs_person"]["inquiries_mine"], 1);
}

#[tokio::test]
async fn overview_has_only_what_its_caller_sees() {
    let api = TestApi::new();
    let (eu, us) = (deployed(&api, "eu").await, deployed(&api, "us").await);
    for id in [&eu, &us] {
        api.node.fail(id);
    }
    let token = granted(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let now = api.get("/api/v1/now").bearing(&token).answer().await.expect(200).json();
    assert_eq!(now["needs_person"]["dead_letters_open"], 1);
    assert_eq!((&now["needs_person"]["parked_reactions"], &now["failing_rules"]), (&json!(null), &json!([])));
    let sender = granted(&api, "bo", "ingester", &json!({ "packs": ["demo"] })).await;
    let nothing = api.get("/api/v1/now").bearing(&sender).answer().await.expect(200).json();
    assert_eq!((&nothing["stuck"], &nothing["open"], &nothing["failing_rules"]), (&json!(null), &json!(null), &json!(null)));
    assert!(nothing["needs_person"].as_object().unwrap().values().all(Value::is_null), "{nothing:#}");
}

#[tokio::test]
async fn search_finds_things_by_id_name_label_and_title() {
    let api = TestApi::new();
    let eu = deployed(&api, "eu").await;
    let event = api.event("ana").await;
    let inquiry = api.inquiry().await;
    let viewer = api.node.token_of("viewer");
    assert_eq!(of_kind(&found(&api, &viewer, &eu).await, "execution"), std::slice::from_ref(&eu));
    assert_eq!(of_kind(&found(&api, &viewer, &eu.replace('-', "")[..20]).await, "execution"), std::slice::from_ref(&eu));
    assert_eq!(of_kind(&found(&api, &viewer, &event.to_uppercase()).await, "event"), [event]);
    assert_eq!(of_kind(&found(&api, &viewer, "site%3Deu").await, "execution"), [eu]);
    assert_eq!(of_kind(&found(&api, &viewer, "GREET").await, "rule")[..1], ["demo.greet"]);
    let title = read(&api, &format!("/inquiries/{inquiry}")).await["title"].as_str().unwrap().to_lowercase();
    assert_eq!(of_kind(&found(&api, &viewer, &title.replace(' ', "%20").replace('?', "%3F")).await, "inquiry"), [inquiry]);
    assert_eq!(found(&api, &viewer, "nothing%20like%20that").await, []);
    for q in ["", "?q=a", "?q="] {
        api.get(&format!("/api/v1/search{q}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn search_finds_only_what_its_caller_sees() {
    let api = TestApi::new();
    let (eu, us) = (deployed(&api, "eu").await, deployed(&api, "us").await);
    let token = granted(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    assert_eq!(of_kind(&found(&api, &token, &us).await, "execution"), [""; 0]);
    assert_eq!(of_kind(&found(&api, &token, &eu).await, "execution"), [eu]);
    assert_eq!(found(&api, &token, "greet").await, [], "a limit by labels covers no rule");
    let of_pack = granted(&api, "bo", "viewer", &json!({ "packs": ["core"] })).await;
    assert_eq!(found(&api, &of_pack, "greet").await, []);
    assert!(of_kind(&found(&api, &of_pack, "core.").await, "action").contains(&"core.echo".to_owned()));
}

#[tokio::test]
async fn lists_filter_by_what_an_execution_waits_for_and_what_became_of_events() {
    let api = TestApi::new();
    api.inquiry().await;
    deployed(&api, "eu").await;
    let count = async |path: &str| read(&api, path).await["items"].as_array().unwrap().len();
    assert_eq!(count("/executions?waits_for=answer").await, 1);
    assert_eq!(count("/executions?waits_for=lock").await, 0);
    assert_eq!(count("/executions?waits_for=answer&status=running").await, 0);
    api.event("ana").await;
    assert_eq!((count("/events?matched=any").await, count("/events?matched=none").await), (1, 0));
    assert_eq!(count("/enforcements?became=executed").await, 0);
    api.get("/api/v1/executions?waits_for=rain").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}
