//! Inquiries: who may see and answer them, which answers are accepted, and what happens to late ones.

use serde_json::{Value, json};

use crate::support::TestApi;

const MANAGERS: &str = "release_managers";

fn question() -> Value {
    json!({
        "title": "Ship v1?",
        "text": "It was tested.",
        "answer": {
            "type": "object",
            "required": ["ship"],
            "additionalProperties": false,
            "properties": { "ship": { "type": "boolean" }, "note": { "type": "string" } },
        },
        "assignees": ["role:release_managers", "ana.operator"],
        "digest": "optional",
    })
}

/// Opens an inquiry, and returns it as it is listed.
async fn open_inquiry(api: &TestApi, params: &Value) -> Value {
    let run = api.post("/api/v1/actions/core.inquiry/execute").by("admin").json(&json!({ "params": params })).answer().await.expect(202);
    let run = run.json();
    assert_eq!(run["status"], "waiting");
    let path = format!("/api/v1/inquiries?execution={}", run["id"].as_str().unwrap());
    let listed = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert_eq!(listed["items"][0]["id"], run["inquiry"]);
    listed["items"][0].clone()
}

fn path(inquiry: &Value, rest: &str) -> String {
    format!("/api/v1/inquiries/{}{rest}", inquiry["id"].as_str().unwrap())
}

fn yes() -> Value {
    json!({ "answer": { "ship": true } })
}

async fn titles(api: &TestApi, role: &str, query: &str) -> Vec<String> {
    let listed = api.get(&format!("/api/v1/inquiries{query}")).by(role).answer().await.expect(200).json();
    listed["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn inquiry_is_shown_with_all_its_fields() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    assert_eq!((&inquiry["status"], &inquiry["quorum"], inquiry.get("answer_schema")), (&json!("open"), &json!(1), None));
    let shown = api.get(&path(&inquiry, "")).by("viewer").answer().await.expect(200).json();
    assert_eq!(
        (&shown["title"], &shown["text"], &shown["answer"], &shown["veto"]),
        (&json!("Ship v1?"), &json!("It was tested."), &json!(null), &json!(null))
    );
    assert_eq!(shown["answer_schema"], question()["answer"]);
    assert_eq!(shown["url"], format!("https://ensue.example.test/ui/inbox/{}", inquiry["id"].as_str().unwrap()));
    let execution = api.get(&format!("/api/v1/executions/{}", inquiry["execution"].as_str().unwrap())).by("viewer").answer().await.json();
    assert_eq!((&execution["inquiry"], &execution["status"]), (&inquiry["id"], &json!("waiting")));
}

#[tokio::test]
async fn reading_an_inquiry_does_not_answer_it() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let before = api.node.head_position();
    let url = inquiry["url"].as_str().unwrap().strip_prefix("https://ensue.example.test").unwrap();
    for url in [url.to_owned(), format!("{url}?answer=true")] {
        api.get(&url).by(MANAGERS).answer().await;
    }
    api.get(&path(&inquiry, "/respond")).by(MANAGERS).answer().await.expect_problem(405, "method_not_allowed");
    assert_eq!(api.node.head_position(), before);
}

#[tokio::test]
async fn answer_ends_the_execution_and_is_shown_in_the_inquiry() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let given = json!({ "answer": { "ship": true, "note": "go" }, "digest": inquiry["digest"] });
    let answered = api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&given).answer().await.expect(200);
    assert!(answered.header("ensue-position").is_some());
    assert_eq!(answered.json()["status"], "answered");
    let shown = api.get(&path(&inquiry, "")).by(MANAGERS).answer().await.expect(200).json();
    assert_eq!(shown["answer"], given["answer"]);
    let answer = &shown["answers"][0];
    assert_eq!(
        (&answer["by"], &answer["verdict"], &answer["answer"]),
        (&json!("ana.release_managers"), &json!("decides"), &given["answer"])
    );
    assert_eq!(shown["ended_at"], answer["at"]);
    let execution = api.get(&format!("/api/v1/executions/{}", inquiry["execution"].as_str().unwrap())).by("viewer").answer().await.json();
    assert_eq!((&execution["status"], &execution["result"]["answer"]), (&json!("succeeded"), &given["answer"]));
}

#[tokio::test]
async fn custom_role_sees_only_its_own_inquiries() {
    let api = TestApi::new();
    let mine = open_inquiry(&api, &question()).await;
    let others = open_inquiry(&api, &json!({ "title": "Hire Bo?", "answer": { "type": "object" }, "assignees": ["role:leads"] })).await;
    for query in ["", "?mine=true", "?mine=false", "?status=open"] {
        assert_eq!(titles(&api, MANAGERS, query).await, ["Ship v1?"], "{query}");
    }
    for query in ["?assignee=role:leads", "?status=answered"] {
        assert!(titles(&api, MANAGERS, query).await.is_empty(), "{query}");
    }
    assert_eq!(titles(&api, "viewer", "").await, ["Hire Bo?", "Ship v1?"]);
    assert_eq!(titles(&api, "viewer", "?assignee=role%3Aleads").await, ["Hire Bo?"]);
    assert!(titles(&api, "viewer", "?mine=true").await.is_empty());
    assert_eq!(titles(&api, "operator", "?mine=true").await, ["Ship v1?"]);
    let there = api.get(&path(&others, "")).by(MANAGERS).answer().await.expect_problem(404, "not_found");
    let id = others["id"].as_str().unwrap();
    let nothing = "01980000-0000-7000-8000-0000000000ff";
    let not_there = api.get(&format!("/api/v1/inquiries/{nothing}")).by(MANAGERS).answer().await.expect_problem(404, "not_found");
    assert_eq!(there["detail"].as_str().unwrap().replace(id, nothing), not_there["detail"].as_str().unwrap());
    let respond = |tag: Option<&str>| {
        let asked = api.post(&path(&others, "/respond")).by(MANAGERS).json(&yes());
        tag.into_iter().fold(asked, |asked, tag| asked.with("if-match", tag)).answer()
    };
    respond(None).await.expect_problem(404, "not_found");
    let told = respond(Some("*")).await.expect_problem(412, "precondition_failed");
    assert!(told["detail"].as_str().unwrap().ends_with("but there is none"), "{told:#}");
    for inquiry in [&mine, &others] {
        api.post(&path(inquiry, "/cancel")).by(MANAGERS).answer().await.expect_problem(403, "forbidden");
    }
    let execution = mine["execution"].as_str().unwrap();
    api.get(&format!("/api/v1/executions/{execution}")).by(MANAGERS).answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn nobody_can_answer_for_others_whatever_their_role() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let respond = async |role: &str| api.post(&path(&inquiry, "/respond")).by(role).json(&yes()).answer().await;
    respond("admin").await.expect_problem(403, "inquiry_not_asked");
    respond("viewer").await.expect_problem(403, "forbidden");
    respond("author").await.expect_problem(403, "forbidden");
    let excluding = open_inquiry(
        &api,
        &json!({ "title": "?", "answer": {}, "assignees": ["ana.admin", "ana.operator"], "exclude": ["requester"], "digest": "optional" }),
    )
    .await;
    assert_eq!(excluding["excluded"], json!(["ana.admin"]));
    let answered = api.post(&path(&excluding, "/respond")).by("admin").json(&yes()).answer().await;
    answered.expect_problem(403, "inquiry_not_asked");
    respond("operator").await.expect(200);
}

#[tokio::test]
async fn answer_errors_name_each_field() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let before = api.node.head_position();
    let respond = async |body: Value| api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&body).answer().await;
    let faults = respond(json!({ "answer": { "ship": "yes", "note": 3, "extra": 1 } })).await.expect_problem(422, "answer_invalid");
    let mut places: Vec<&str> = faults["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(places, ["/answer", "/answer/note", "/answer/ship"]);
    for wrong in [json!({ "answer": {} }), json!({ "answer": null }), json!({ "answer": [true] })] {
        respond(wrong).await.expect_problem(422, "answer_invalid");
    }
    for no_answer in [json!({}), json!({ "answer": {}, "by": "bo" }), json!({ "answer": {}, "digest": "new" })] {
        respond(no_answer).await.expect_problem(422, "body_invalid");
    }
    assert_eq!(api.node.head_position(), before);
}

#[tokio::test]
async fn answer_without_a_digest_is_rejected_unless_the_digest_is_optional() {
    let api = TestApi::new();
    let mut params = question();
    params.as_object_mut().unwrap().remove("digest");
    let inquiry = open_inquiry(&api, &params).await;
    assert_eq!(inquiry["digest_required"], true);
    let before = api.node.head_position();
    let told = api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&yes()).answer().await.expect_problem(428, "digest_required");
    assert!(told["detail"].as_str().unwrap().contains(inquiry["digest"].as_str().unwrap()), "{told:#}");
    assert_eq!(api.node.head_position(), before);
    let given = json!({ "answer": { "ship": true }, "digest": inquiry["digest"] });
    let answered = api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&given).answer().await.expect(200).json();
    assert_eq!(answered["answers"][0]["digest"], inquiry["digest"]);
    let optional = open_inquiry(&api, &question()).await;
    assert_eq!(optional["digest_required"], false);
    let answered = api.post(&path(&optional, "/respond")).by(MANAGERS).json(&yes()).answer().await.expect(200).json();
    assert_eq!(answered["answers"][0]["digest"], json!(null));
}

#[tokio::test]
async fn schema_with_multiplying_references_is_rejected_on_request() {
    let api = TestApi::new();
    let part = |at: usize| {
        let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
        (format!("a{at}"), json!({ "allOf": [next, next] }))
    };
    let mut parts: serde_json::Map<String, Value> = (0..40).map(part).collect();
    parts.insert("a40".into(), json!({ "type": "object" }));
    let mut params = question();
    params["answer"] = json!({ "$defs": parts, "$ref": "#/$defs/a0" });
    let told = api.post("/api/v1/actions/core.inquiry/execute").by("author").json(&json!({ "params": params })).answer().await;
    let told = told.expect_problem(422, "parameters_invalid");
    assert_eq!(told["errors"][0]["pointer"], "/answer");
    assert!(told["errors"][0]["message"].as_str().unwrap().contains("too complex"), "{told:#}");
}

#[tokio::test]
async fn answer_with_another_digest_is_stale() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let stale = json!({ "answer": { "ship": true }, "digest": "0".repeat(64) });
    let told = api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&stale).answer().await.expect_problem(409, "approval_stale");
    assert!(told["detail"].as_str().unwrap().contains(inquiry["digest"].as_str().unwrap()), "{told:#}");
}

#[tokio::test]
async fn late_answer_gets_who_answered_and_when() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let respond = async |role: &str, body: &Value| api.post(&path(&inquiry, "/respond")).by(role).json(body).answer().await;
    let at = respond(MANAGERS, &yes()).await.expect(200).json()["answers"][0]["at"].as_str().unwrap().to_owned();
    for body in [yes(), json!({ "answer": 7 })] {
        let told = respond("operator", &body).await.expect_problem(409, "inquiry_closed");
        let told = told["detail"].as_str().unwrap().to_owned();
        assert!(told.ends_with(&format!("it was answered by `ana.release_managers` at {at}")), "{told}");
    }
    api.post(&path(&inquiry, "/cancel")).by("operator").answer().await.expect_problem(409, "inquiry_closed");
}

#[tokio::test(start_paused = true)]
async fn late_answer_gets_that_even_if_the_views_lag() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    api.node.hold_views();
    let respond = async |role: &str| api.post(&path(&inquiry, "/respond")).by(role).json(&yes()).answer().await;
    assert_eq!(respond(MANAGERS).await.expect(200).json()["status"], "answered");
    let told = respond("operator").await.expect_problem(409, "inquiry_closed");
    assert!(told["detail"].as_str().unwrap().contains("`ana.release_managers` at "), "{told:#}");
}

#[tokio::test]
async fn quorum_counts_distinct_people() {
    let api = TestApi::new();
    let mut question = question();
    question["quorum"] = json!(2);
    let inquiry = open_inquiry(&api, &question).await;
    let respond = async |role: &str| api.post(&path(&inquiry, "/respond")).by(role).json(&yes()).answer().await;
    assert_eq!(respond(MANAGERS).await.expect(200).json()["status"], "open");
    respond(MANAGERS).await.expect_problem(409, "inquiry_answered_before");
    let decided = respond("operator").await.expect(200).json();
    let verdicts: Vec<&Value> = decided["answers"].as_array().unwrap().iter().map(|answer| &answer["verdict"]).collect();
    assert_eq!((&decided["status"], verdicts), (&json!("answered"), vec![&json!("counts"), &json!("decides")]));
    let told = respond(MANAGERS).await.expect_problem(409, "inquiry_closed");
    assert!(
        told["detail"].as_str().unwrap().contains("`ana.release_managers` at ")
            && told["detail"].as_str().unwrap().contains("`ana.operator` at ")
    );
}

#[tokio::test]
async fn cancelled_inquiry_accepts_no_answer() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let cancelled = api.post(&path(&inquiry, "/cancel")).by("operator").answer().await.expect(202).json();
    assert_eq!((&cancelled["status"], cancelled["ended_at"].is_string()), (&json!("cancelled"), true));
    let told = api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&yes()).answer().await.expect_problem(409, "inquiry_closed");
    assert!(told["detail"].as_str().unwrap().contains("it was cancelled at "), "{told:#}");
    let again = open_inquiry(&api, &question()).await;
    let execution = again["execution"].as_str().unwrap();
    api.post(&format!("/api/v1/executions/{execution}/cancel")).by("operator").answer().await.expect(202);
    assert_eq!(titles(&api, "viewer", "?status=cancelled").await.len(), 2);
}

#[tokio::test]
async fn dry_run_of_an_answer_reports_its_effect_and_records_nothing() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let before = api.node.head_position();
    let respond = async |body: &Value| api.post(&path(&inquiry, "/respond?dry_run=true")).by(MANAGERS).json(body).answer().await;
    respond(&yes()).await.expect(204);
    respond(&json!({ "answer": {} })).await.expect_problem(422, "answer_invalid");
    api.post(&path(&inquiry, "/cancel?dry_run=true")).by("admin").answer().await.expect(204);
    assert_eq!(api.node.head_position(), before);
    api.post(&path(&inquiry, "/cancel")).by("admin").answer().await.expect(202);
    respond(&yes()).await.expect_problem(409, "inquiry_closed");
}

#[tokio::test]
async fn repeated_answer_with_the_same_key_counts_once_with_the_same_response() {
    let api = TestApi::new();
    let mut question = question();
    question["quorum"] = json!(2);
    let inquiry = open_inquiry(&api, &question).await;
    let respond = async || api.post(&path(&inquiry, "/respond")).by(MANAGERS).with("idempotency-key", "one").json(&yes()).answer().await;
    let first = respond().await.expect(200).text;
    api.post(&path(&inquiry, "/respond")).by("operator").json(&yes()).answer().await.expect(200);
    assert_eq!(respond().await.expect(200).text, first);
}

#[tokio::test]
async fn conditional_answer_requires_an_unchanged_inquiry() {
    let api = TestApi::new();
    let mut question = question();
    question["quorum"] = json!(2);
    let inquiry = open_inquiry(&api, &question).await;
    let read = api.get(&path(&inquiry, "")).by(MANAGERS).answer().await.expect(200);
    let tag = read.header("etag").unwrap().to_owned();
    api.get(&path(&inquiry, "")).by(MANAGERS).with("if-none-match", &tag).answer().await.expect(304);
    let respond = async |role: &str| api.post(&path(&inquiry, "/respond")).by(role).with("if-match", &tag).json(&yes()).answer().await;
    respond("operator").await.expect(200);
    respond(MANAGERS).await.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn inquiries_are_listed_page_by_page() {
    let api = TestApi::new();
    for _ in 0..3 {
        open_inquiry(&api, &question()).await;
    }
    let first = api.get("/api/v1/inquiries?mine=true&limit=2").by(MANAGERS).answer().await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/inquiries?mine=true&limit=2&cursor={next}")).by(MANAGERS).answer().await.expect(200).json();
    assert_eq!((first["items"].as_array().unwrap().len(), second["items"].as_array().unwrap().len()), (2, 1));
    api.get(&format!("/api/v1/inquiries?mine=true&limit=2&cursor={next}"))
        .by("operator")
        .answer()
        .await
        .expect_problem(400, "cursor_invalid");
    api.get("/api/v1/inquiries?status=waiting").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn inquiry_with_an_invalid_answer_schema_is_rejected() {
    let api = TestApi::new();
    let params = json!({ "title": "?", "answer": { "type": 5 }, "assignees": ["role:release_managers"] });
    let ask = api.post("/api/v1/actions/core.inquiry/execute").by("admin").json(&json!({ "params": params }));
    let told = ask.answer().await.expect_problem(422, "parameters_invalid");
    assert_eq!(told["errors"][0]["pointer"], "/answer/type", "{told:#}");
}

#[tokio::test]
async fn inquiry_says_whether_its_reader_may_answer_and_why_not() {
    let api = TestApi::new();
    let mut question = question();
    question["quorum"] = json!(2);
    let inquiry = open_inquiry(&api, &question).await;
    let read = async |role: &str| api.get(&path(&inquiry, "")).by(role).answer().await.expect(200).json();
    let reason = |shown: &Value| (shown["may_answer"].clone(), shown["may_not_answer"]["code"].clone(), shown["answered_by_me"].clone());
    assert_eq!(reason(&read("operator").await), (json!(true), json!(null), json!(false)));
    assert_eq!(reason(&read("admin").await), (json!(false), json!("inquiry_not_asked"), json!(false)));
    assert_eq!(reason(&read("viewer").await), (json!(false), json!("forbidden"), json!(false)));
    api.post(&path(&inquiry, "/respond")).by("operator").json(&yes()).answer().await.expect(200);
    let answered = read("operator").await;
    assert_eq!(reason(&answered), (json!(false), json!("inquiry_answered_before"), json!(true)));
    assert_eq!((&answered["counted"], &read(MANAGERS).await["may_answer"]), (&json!(1), &json!(true)));
    api.post(&path(&inquiry, "/respond")).by(MANAGERS).json(&yes()).answer().await.expect(200);
    let listed = api.get("/api/v1/inquiries").by("operator").answer().await.expect(200).json();
    assert_eq!(reason(&listed["items"][0]), (json!(false), json!("inquiry_closed"), json!(true)));
}

#[tokio::test]
async fn list_shows_the_beginning_of_a_long_question() {
    let api = TestApi::new();
    let mut question = question();
    question["text"] = json!("ä".repeat(281));
    let listed = open_inquiry(&api, &question).await;
    assert_eq!(listed["text"], json!(format!("{}…", "ä".repeat(280))));
    question["text"] = json!("ä".repeat(280));
    assert_eq!(open_inquiry(&api, &question).await["text"], question["text"]);
}

#[tokio::test]
async fn overdue_inquiries_are_open_for_more_than_a_day() {
    let api = TestApi::new();
    open_inquiry(&api, &question()).await;
    // The inquiries of this node are from March, and its callers from today.
    assert_eq!(titles(&api, "viewer", "?overdue=true").await.len(), 1);
    assert_eq!(titles(&api, "viewer", "?overdue=false").await.len(), 0);
    let open = api.get("/api/v1/inquiries?overdue=true").by("operator").answer().await.expect(200).json();
    api.post(&path(&open["items"][0], "/respond")).by("operator").json(&yes()).answer().await.expect(200);
    assert_eq!(titles(&api, "viewer", "?overdue=true").await.len(), 0);
    assert_eq!(titles(&api, "viewer", "?overdue=true&status=answered").await.len(), 0);
    api.get("/api/v1/inquiries?overdue=yes").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn what_led_to_an_inquiry_is_shown_only_to_those_who_see_the_inquiry() {
    let api = TestApi::new();
    let inquiry = open_inquiry(&api, &question()).await;
    let why = api.get(&path(&inquiry, "/why")).by(MANAGERS).answer().await.expect(200).json();
    assert_eq!(why["chain"].as_array().unwrap().len(), 1);
    assert_eq!((&why["chain"][0]["kind"], &why["chain"][0]["id"]), (&json!("question"), &inquiry["execution"]));
    let mut other = question();
    other["assignees"] = json!(["ana.operator"]);
    let other = open_inquiry(&api, &other).await;
    api.get(&path(&other, "/why")).by(MANAGERS).answer().await.expect_problem(404, "not_found");
    api.get(&path(&other, "/why")).by("viewer").answer().await.expect(200);
}
