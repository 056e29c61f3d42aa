//! Traces of long chains: page by page, and with the items of steps counted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::TestApi;

async fn trace(api: &TestApi, path: &str) -> Value {
    api.get(&format!("/api/v1/trace/{path}")).by("viewer").answer().await.expect(200).json()
}

fn ids(trace: &Value) -> Vec<&str> {
    trace["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

/// Runs the workflow of the small node up to its step with two items, and returns it with the items.
async fn wide(api: &TestApi) -> (String, Vec<String>) {
    let flow = api.post("/api/v1/actions/demo.flow/execute").by("admin").answer().await.expect(202).json();
    let flow = flow["id"].as_str().unwrap().to_owned();
    let steps = async || {
        let listed = api.get(&format!("/api/v1/executions?parent={flow}&sort=position")).by("viewer").answer().await.json();
        listed["items"].as_array().unwrap().clone()
    };
    api.node.succeed(steps().await[0]["id"].as_str().unwrap(), "{}");
    let items = steps().await.into_iter().filter(|step| step["step"] == "deploy");
    let items: Vec<String> = items.map(|step| step["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(items.len(), 2);
    (flow, items)
}

#[tokio::test]
async fn long_chain_is_read_page_by_page_to_its_end() {
    let api = TestApi::new();
    let first = api.execution().await;
    api.node.succeed(&first, "{}");
    for _ in 0..502 {
        api.post(&format!("/api/v1/executions/{first}/rerun")).by("admin").answer().await.expect(202);
    }
    let page = trace(&api, &first).await;
    assert_eq!((ids(&page).len(), &page["truncated"]), (500, &json!(true)));
    let next = page["next"].as_u64().unwrap();
    assert_eq!(page["nodes"][499]["position"], next);
    let last = trace(&api, &format!("{first}?after={next}")).await;
    assert_eq!((ids(&last).len(), &last["next"], &last["truncated"]), (3, &Value::Null, &json!(false)));
    assert_eq!(last["began_at"], page["began_at"], "times of all pages count from the same moment");
    let all: BTreeSet<&str> = ids(&page).into_iter().chain(ids(&last)).collect();
    assert_eq!(all.len(), 503, "no page repeats a thing of another");
}

#[tokio::test]
async fn thing_that_is_asked_for_is_on_the_first_page_however_long_the_chain_is() {
    let api = TestApi::new();
    let first = api.execution().await;
    api.node.succeed(&first, "{}");
    let mut last = String::new();
    for _ in 0..501 {
        let rerun = api.post(&format!("/api/v1/executions/{first}/rerun")).by("admin").answer().await.expect(202).json();
        last = rerun["id"].as_str().unwrap().to_owned();
    }
    let page = trace(&api, &last).await;
    assert_eq!(ids(&page).len(), 501);
    assert_eq!(ids(&page)[500], last);
}

#[tokio::test]
async fn items_of_a_step_are_counted_instead_of_shown() {
    let api = TestApi::new();
    let (flow, items) = wide(&api).await;
    let whole = trace(&api, &flow).await;
    assert_eq!(whole["folded"], json!([]));
    let folded = trace(&api, &format!("{flow}?fold=items")).await;
    let count = json!({ "parent": flow, "step": "deploy", "items": 2, "statuses": { "running": 2 }, "below": 0 });
    assert_eq!(folded["folded"], json!([count]));
    let shown: Vec<&str> = ids(&whole).into_iter().filter(|id| items.iter().all(|item| item != id)).collect();
    assert_eq!(ids(&folded), shown);
    api.get(&format!("/api/v1/trace/{flow}?fold=steps")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn item_that_is_asked_for_is_shown_beside_the_counted_ones() {
    let api = TestApi::new();
    let (_, items) = wide(&api).await;
    api.node.succeed(&items[1], "{}");
    let folded = trace(&api, &format!("{}?fold=items", items[0])).await;
    assert!(ids(&folded).contains(&items[0].as_str()), "{folded}");
    let fold = &folded["folded"][0];
    assert_eq!((&fold["items"], &fold["statuses"]), (&json!(1), &json!({ "succeeded": 1 })));
}
