//! `ETag` and `If-None-Match`: a caller that already has an answer gets 304.

use serde_json::json;

use crate::support::TestApi;

#[tokio::test]
async fn unchanged_answer_gets_304_until_it_changes() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let run = api.post("/api/v1/actions/core.echo/execute").by("admin").json(&json!({ "params": { "message": "hi" } }));
    let execution = run.answer().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    for path in [
        format!("/api/v1/events/{event}"),
        format!("/api/v1/events/{event}/rules"),
        "/api/v1/events?limit=1".to_owned(),
        format!("/api/v1/executions/{execution}"),
        "/api/v1/rules/demo.greet".to_owned(),
        "/api/v1/packs/demo".to_owned(),
        "/api/v1/log/1".to_owned(),
        "/api/v1/tokens".to_owned(),
    ] {
        let first = api.get(&path).by("admin").answer().await.expect(200);
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_owned();
        assert_eq!(first.header("cache-control"), Some("private, no-cache"), "{path}");
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: a weak tag says less: {tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = api.get(&path).by("admin").with("if-none-match", &known).answer().await;
            assert_eq!((again.status.as_u16(), again.text.as_str(), again.header("etag")), (304, "", Some(tag.as_str())), "{path} {known}");
        }
        let other = api.get(&path).by("admin").with("if-none-match", "\"other\"").answer().await.expect(200);
        assert_eq!((other.header("etag"), &other.text), (Some(tag.as_str()), &first.text), "{path}");
    }
    let shown = format!("/api/v1/executions/{execution}");
    let tag = async || api.get(&shown).by("admin").answer().await.expect(200).header("etag").unwrap().to_owned();
    let before = tag().await;
    api.node.succeed(&execution, "{}");
    assert_ne!(tag().await, before);
    api.get(&shown).by("admin").with("if-none-match", &before).answer().await.expect(200);
}

#[tokio::test]
async fn each_media_type_has_its_own_etag_and_only_reads_have_one() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let path = format!("/api/v1/events/{event}");
    let tag = async |media: &str| {
        let answer = api.get(&path).by("viewer").with("accept", media).answer().await.expect(200);
        answer.header("etag").unwrap().to_owned()
    };
    assert_ne!(tag("application/json").await, tag("application/cloudevents+json").await);
    // A caller without permission does not learn whether its guess is right.
    let foreign = api.get(&path).with("if-none-match", "*").answer().await;
    foreign.expect_problem(401, "unauthenticated");
    api.get("/api/v1/events/01980000-0000-7000-8000-0000000000ff")
        .by("viewer")
        .with("if-none-match", "*")
        .answer()
        .await
        .expect_problem(404, "not_found");
    let sent = api.post("/api/v1/events").by("admin");
    let sent = sent.json(&json!({ "trigger": "demo.hello", "payload": { "name": "ana" } })).answer().await.expect(202);
    assert_eq!(sent.header("etag"), None);
}
