//! Executions: run, watched, settled.

use std::time::Duration;

use ensue_api::{QueueName, Queues};
use ensue_engine::ports::OutputStream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::TestApi;

/// Longer than any request takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until an execution runs, and returns its id.
async fn running(api: &TestApi) -> String {
    let looks = async {
        loop {
            let list = api.get("/api/v1/executions?status=running").by("viewer").answer().await.json();
            if let Some(id) = list["items"][0]["id"].as_str() {
                break id.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.unwrap()
}

#[tokio::test]
async fn manual_run_checks_the_parameters() {
    let api = TestApi::new();
    let run = |action: &str| api.post(&format!("/api/v1/actions/{action}/execute")).by("author");
    let started = run("core.echo").json(&json!({ "params": { "message": "hi" } })).answer().await.expect(202);
    let execution = started.json();
    assert_eq!((&execution["status"], &execution["actor"]), (&json!("running"), &json!("token/ana.author")));
    assert_eq!(execution["params"], json!({ "message": "hi" }));
    let id = execution["id"].as_str().unwrap();
    assert_eq!(started.header("location"), Some(format!("/api/v1/executions/{id}").as_str()));
    let misfit = run("core.noop").json(&json!({ "params": { "seconds": "many", "colour": "red" } })).answer().await;
    let misfit = misfit.expect_problem(422, "parameters_invalid");
    let pointers: Vec<_> = misfit["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/seconds", "/colour"]);
    run("core.nothing").answer().await.expect_problem(404, "not_found");
    run("core.noop").answer().await.expect(202);
}

#[tokio::test(start_paused = true)]
async fn accepted_execution_is_returned_even_if_the_views_lag() {
    let api = TestApi::new();
    api.node.hold_views();
    for wait in [None, Some("wait=3")] {
        let run = api.post("/api/v1/actions/core.echo/execute").by("author").json(&json!({ "params": { "message": "hi" } }));
        let run = wait.into_iter().fold(run, |run, wait| run.with("prefer", wait));
        let taken = run.answer().await.expect(202);
        let execution = taken.json();
        assert_eq!((&execution["status"], &execution["params"]), (&json!("running"), &json!({ "message": "hi" })));
        assert!(taken.header("ensue-position").is_some());
    }
    assert_eq!(api.node.kinds().iter().filter(|kind| **kind == "execution.requested").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn wait_for_the_end_is_over_in_time_even_if_the_views_lag() {
    let api = TestApi::new();
    api.node.hold_views();
    let begin = tokio::time::Instant::now();
    let run = api.post("/api/v1/actions/core.echo/execute").by("author").with("prefer", "wait=1");
    run.json(&json!({ "params": { "message": "hi" } })).answer().await.expect(202);
    assert_eq!(begin.elapsed().as_secs(), 1, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn waiting_caller_gets_the_ended_execution() {
    let api = TestApi::new();
    let waiting = api.post("/api/v1/actions/core.echo/execute").by("author").with("prefer", "wait=30");
    let waiting = waiting.json(&json!({ "params": { "message": "hi" } })).answer();
    let ending = async {
        api.node.succeed(&running(&api).await, r#"{"message":"hi"}"#);
    };
    let (answer, ()) = tokio::join!(waiting, ending);
    let answer = answer.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!((&answer.json()["status"], &answer.json()["result"]), (&json!("succeeded"), &json!({ "message": "hi" })));
}

#[tokio::test(start_paused = true)]
async fn waiting_caller_is_answered_as_soon_as_the_execution_ends() {
    let api = TestApi::new();
    let begin = tokio::time::Instant::now();
    let waiting = api.post("/api/v1/actions/core.echo/execute").by("author").with("prefer", "wait=30");
    let waiting = waiting.json(&json!({ "params": { "message": "hi" } })).answer();
    let ending = async {
        let execution = running(&api).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        api.node.succeed(&execution, r#"{"message":"hi"}"#);
    };
    let (answer, ()) = tokio::join!(waiting, ending);
    answer.expect(200);
    assert!(begin.elapsed().as_millis() < 100, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_for_lagging_views_hurries_their_follower() {
    let api = TestApi::new();
    let hurries = || api.node.hurries.load(std::sync::atomic::Ordering::Relaxed);
    api.post("/api/v1/actions/core.noop/execute").by("author").answer().await.expect(202);
    assert_eq!(hurries(), 0, "they had reached it");
    api.node.hold_views();
    api.post("/api/v1/actions/core.noop/execute").by("author").answer().await.expect(202);
    assert_eq!(hurries(), 1);
}

#[tokio::test]
async fn waiting_for_the_end_holds_no_request_memory() {
    let queues = Queues::with(|_| 1_000_000_000);
    let bodies = queues.of(QueueName::RequestBytes).clone();
    let api = TestApi::with_queues(queues);
    let waiting = api.post("/api/v1/actions/core.echo/execute").by("author").with("prefer", "wait=30");
    let waiting = waiting.json(&json!({ "params": { "message": "hi" } })).answer();
    let ending = async {
        let execution = running(&api).await;
        // A waiting request has made progress by the time another request is answered.
        running(&api).await;
        let held = bodies.depth();
        api.node.succeed(&execution, r#"{"message":"hi"}"#);
        held
    };
    let (answer, held) = tokio::join!(waiting, ending);
    answer.expect(200);
    assert_eq!(held, 0);
}

#[tokio::test(start_paused = true)]
async fn expired_wait_returns_the_current_status() {
    let api = TestApi::new();
    let waiting = api.post("/api/v1/actions/core.echo/execute").by("author").with("prefer", "wait=3").answer().await.expect(202);
    assert_eq!(waiting.json()["status"], "running");
}

#[tokio::test]
async fn execution_is_shown_with_its_attempts_and_its_timeline() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.succeed(&id, r#"{"big":12345678901234567890.5}"#);
    let path = format!("/api/v1/executions/{id}");
    let shown = api.get(&path).by("viewer").answer().await.expect(200);
    assert!(shown.text.contains(r#""result":{"big":12345678901234567890.5}"#), "numbers come out as they went in: {}", shown.text);
    let attempts = api.get(&format!("{path}/attempts")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&attempts["items"][0]["number"], &attempts["items"][0]["status"]), (&json!(1), &json!("succeeded")));
    let first = api.get(&format!("{path}/timeline?limit=2")).by("viewer").answer().await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let rest = api.get(&format!("{path}/timeline?cursor={next}")).by("viewer").answer().await.expect(200).json();
    let kinds: Vec<_> =
        [&first, &rest].iter().flat_map(|page| page["items"].as_array().unwrap()).map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["execution.requested", "attempt.started", "attempt.succeeded", "execution.succeeded"]);
    for part in ["", "/attempts", "/timeline", "/logs"] {
        let path = format!("/api/v1/executions/01980000-0000-7000-8000-0000000000ff{part}");
        api.get(&path).by("viewer").answer().await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn timeline_is_complete_however_large_its_records_are() {
    // More than a page is read from.
    const RESULT_BYTES: usize = 5 * 1024 * 1024;
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.succeed(&id, format!(r#"{{"text":"{}"}}"#, "x".repeat(RESULT_BYTES)));
    let (mut kinds, mut next) = (Vec::new(), Some(format!("/api/v1/executions/{id}/timeline")));
    while let Some(path) = next {
        let page = api.get(&path).by("viewer").answer().await.expect(200).json();
        kinds.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()));
        next = page["next"].as_str().map(|cursor| format!("/api/v1/executions/{id}/timeline?cursor={cursor}"));
    }
    // The reaction to so large a result is owed to the next turn.
    assert_eq!(kinds, ["execution.requested", "attempt.started", "attempt.succeeded"]);
}

#[tokio::test]
async fn execution_is_cancelled_once() {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = format!("/api/v1/executions/{id}/cancel");
    let cancelled = api.post(&path).by("operator").answer().await.expect(202);
    assert_eq!(cancelled.json()["status"], "cancelling");
    api.post(&path).by("operator").json(&json!({ "undo": "skip" })).answer().await.expect_problem(422, "body_invalid");
    api.node.succeed(&id, "{}");
    api.post(&path).by("operator").answer().await.expect_problem(409, "execution_not_open");
    let nothing = "/api/v1/executions/01980000-0000-7000-8000-0000000000ff/cancel";
    api.post(nothing).by("operator").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn person_settles_an_indeterminate_execution() {
    let api = TestApi::new();
    let run = api.post("/api/v1/actions/core.shell/execute").by("admin").json(&json!({ "params": { "script": "true" } }));
    let id = run.answer().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/executions/{id}/settle");
    let settle = |body: serde_json::Value| api.post(&path).by("operator").json(&body).answer();
    settle(json!({ "outcome": "succeeded" })).await.expect_problem(409, "execution_not_indeterminate");
    api.node.lose(&id);
    settle(json!({ "outcome": "maybe" })).await.expect_problem(422, "body_invalid");
    settle(json!({ "outcome": "failed" })).await.expect_problem(422, "body_invalid");
    let settled = settle(json!({ "outcome": "succeeded", "result": { "done": true } })).await.expect(200).json();
    assert_eq!((&settled["status"], &settled["settled"]["by"]), (&json!("succeeded"), &json!("token/ana.operator")));
}

#[tokio::test]
async fn output_is_returned_in_parts_and_in_plain_text() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, "one\ntwo\n");
    api.node.print(&id, OutputStream::Stderr, "warn\n");
    let path = format!("/api/v1/executions/{id}/logs");
    let both = api.get(&path).by("viewer").answer().await.expect(200).json();
    let streams: Vec<_> = both["items"].as_array().unwrap().iter().map(|part| (part["stream"].clone(), part["text"].clone())).collect();
    assert_eq!(streams, [(json!("stdout"), json!("one\ntwo\n")), (json!("stderr"), json!("warn\n"))]);
    let rest = api.get(&format!("{path}?stream=stdout&offset=4")).by("viewer").answer().await.expect(200).json();
    assert_eq!(
        (&rest["items"][0]["text"], &rest["items"][0]["next"], &rest["items"][0]["state"]),
        (&json!("two\n"), &json!(8), &json!("open"))
    );
    let text = api.get(&format!("{path}?stream=stdout")).by("viewer").with("accept", "text/plain").answer().await.expect(200);
    assert_eq!((text.text.as_str(), text.header("content-type")), ("one\ntwo\n", Some("text/plain; charset=utf-8")));
    let end = api.get(&format!("{path}?tail=4")).by("viewer").answer().await.expect(200).json();
    let parts: Vec<_> = end["items"].as_array().unwrap().iter().map(|part| (part["offset"].clone(), part["text"].clone())).collect();
    assert_eq!(parts, [(json!(4), json!("two\n")), (json!(1), json!("arn\n"))]);
    let text = api.get(&format!("{path}?stream=stdout&tail=100")).by("viewer").with("accept", "text/plain").answer().await.expect(200);
    assert_eq!(text.text, "one\ntwo\n");
    for refused in ["stream=stdout&tail=4&offset=1", "stream=stdout&tail=4&follow=true", "tail=-1"] {
        api.get(&format!("{path}?{refused}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
    api.get(&path).by("viewer").with("accept", "text/plain").answer().await.expect_problem(400, "bad_parameter");
    api.get(&format!("{path}?offset=4")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    api.get(&format!("{path}?attempt=7")).by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn failed_program_is_shown_with_the_end_of_its_standard_error() {
    let api = TestApi::new();
    let id = api.execution().await;
    let lines: Vec<String> = (1..=500).map(|line| format!("line {line} of many\n")).collect();
    api.node.print(&id, OutputStream::Stdout, "out\n");
    api.node.print(&id, OutputStream::Stderr, &lines.concat());
    api.node.fail(&id);
    let path = format!("/api/v1/executions/{id}");
    let shown = api.get(&path).by("viewer").answer().await.expect(200).json();
    let attempts = api.get(&format!("{path}/attempts")).by("viewer").answer().await.expect(200).json();
    for error in [&shown["error"], &attempts["items"][0]["error"]] {
        assert_eq!(
            (&error["kind"], error["output_tail"].as_str()),
            (&json!("exit_code"), Some(lines[480..].concat().trim_end())),
            "{error}"
        );
    }
    let listed = api.get("/api/v1/executions").by("viewer").answer().await.expect(200).json();
    assert!(listed["items"][0]["error"].is_object() && listed["items"][0]["error"].get("output_tail").is_none(), "{listed}");
    api.node.remove_output(&id);
    let shown = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert!(shown["error"].is_object() && shown["error"].get("output_tail").is_none(), "{shown}");
}

#[tokio::test]
async fn output_removed_while_it_is_sent_breaks_off() {
    let api = TestApi::new();
    let id = api.execution().await;
    // More than is buffered for a caller that reads slowly.
    api.node.print(&id, OutputStream::Stdout, &"a".repeat(1024 * 1024));
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout");
    let mut sent = api.get(&path).by("viewer").with("accept", "text/plain").response().await.into_body();
    sent.frame().await.unwrap().unwrap();
    api.node.remove_output(&id);
    assert!(sent.collect().await.is_err(), "a part must not be taken for the whole");
}

#[tokio::test(start_paused = true)]
async fn followed_output_streams_to_the_end_and_resumes_after_last_event_id() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, "one\n");
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout&follow=true");
    let printing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.node.print(&id, OutputStream::Stdout, "two\n");
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.node.succeed(&id, "{}");
    };
    let (followed, ()) = tokio::join!(api.get(&path).by("viewer").answer(), printing);
    let followed = followed.expect(200);
    assert_eq!(followed.header("content-type"), Some("text/event-stream"));
    let ids: Vec<_> = followed.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1.stdout.4", "1.stdout.8"]);
    assert!(followed.text.ends_with("event: end\ndata: {\"status\":\"succeeded\"}\n\n"), "{}", followed.text);
    let resumed = api.get(&path).by("viewer").with("last-event-id", "1.stdout.4").answer().await.expect(200);
    let texts: Vec<_> = resumed.text.lines().filter(|line| line.contains("\"text\"")).collect();
    assert!(texts.len() == 1 && texts[0].contains("two"), "{}", resumed.text);
    api.get(&path).by("viewer").with("last-event-id", "1.stderr.4").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn both_streams_are_followed_and_resumed_together() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, "out\n");
    api.node.print(&id, OutputStream::Stderr, "warn\n");
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/logs?follow=true");
    let followed = api.get(&path).by("viewer").answer().await.expect(200);
    let ids: Vec<_> = followed.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1.stdout.4.stderr.0", "1.stdout.4.stderr.5"]);
    let resumed = api.get(&path).by("viewer").with("last-event-id", ids[0]).answer().await.expect(200);
    assert!(resumed.text.contains("warn") && !resumed.text.contains("\"stdout\",\"offset\":0"), "{}", resumed.text);
}

#[tokio::test]
async fn follower_gets_a_marker_for_truncated_output() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, "out\n");
    api.node.cut_output(&id, OutputStream::Stdout, 7);
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout&follow=true");
    let followed = api.get(&path).by("viewer").answer().await.expect(200);
    assert_eq!(followed.text.matches("\"bytes_dropped\":7").count(), 1, "{}", followed.text);
}

#[tokio::test(start_paused = true)]
async fn revoked_token_ends_a_followed_output() {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout&follow=true");
    let began = tokio::time::Instant::now();
    let revoking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.node.revoke("viewer");
    };
    let (followed, ()) = tokio::join!(api.get(&path).by("viewer").answer(), revoking);
    assert!(!followed.expect(200).text.contains("event: end"));
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

/// Lets an execution print every tenth of a second, so that there is always more to send, until its follower
/// is done.
async fn followed_while_it_prints(api: &TestApi, then: impl FnOnce()) -> Duration {
    let id = api.execution().await;
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout&follow=true");
    let following = async {
        assert!(!api.get(&path).by("viewer").answer().await.expect(200).text.contains("event: end"));
    };
    let chattering = async {
        loop {
            api.node.print(&id, OutputStream::Stdout, "more\n");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        then();
        std::future::pending::<()>().await;
    };
    let began = tokio::time::Instant::now();
    tokio::select! {
        () = following => began.elapsed(),
        () = chattering => unreachable!("printing never ends"),
        () = ending => unreachable!("it stays pending"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("following it never ends"),
    }
}

#[tokio::test(start_paused = true)]
async fn revoked_token_ends_a_followed_output_however_much_is_printed() {
    let api = TestApi::new();
    let took = followed_while_it_prints(&api, || api.node.revoke("viewer")).await;
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_followed_output_of_a_busy_program() {
    let api = TestApi::new();
    let took = followed_while_it_prints(&api, || api.front.stop()).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn template_supplies_the_parameters_that_the_caller_omits() {
    let api = TestApi::new();
    let execute = |body: Value| api.post("/api/v1/actions/demo.greet/execute").by("operator").json(&body);
    let run = execute(json!({ "template": "formal" })).answer().await.expect(202).json();
    assert_eq!(run["params"], json!({ "name": "Dr. Ana", "times": 1 }));
    let run = execute(json!({ "template": "formal", "params": { "times": 2 } })).answer().await.expect(202).json();
    assert_eq!(run["params"], json!({ "name": "Dr. Ana", "times": 2 }));
    let refused = execute(json!({ "template": "casual" })).answer().await.expect_problem(422, "parameters_invalid");
    assert_eq!(refused["errors"][0]["pointer"], "/template");
    assert_eq!(refused["errors"][0]["message"], "is not one of the action's templates, which are `formal`");
}

#[tokio::test]
async fn queue_shows_running_and_waiting_executions() {
    let api = TestApi::new();
    let mut ids = Vec::new();
    for _ in 0..10 {
        let run = api.post("/api/v1/actions/core.noop/execute").by("author").json(&json!({ "params": { "seconds": 60 } }));
        ids.push(run.answer().await.expect(202).json()["id"].clone());
    }
    let listed = api.get("/api/v1/queues").by("viewer").answer().await.expect(200).json();
    let queue = &listed["items"][0];
    assert_eq!((&queue["name"], &queue["is_configured"], &queue["workers"]), (&json!("default"), &json!(true), &json!(8)));
    assert_eq!((&queue["busy_count"], &queue["waiting_count"]), (&json!(8), &json!(2)));
    assert_eq!((&queue["rate"], &queue["next_start_at"]), (&json!({ "limit": 50, "per_seconds": 1.5 }), &Value::Null));
    let of = |list: &str| queue[list].as_array().unwrap().iter().map(|one| one["execution"].clone()).collect::<Vec<_>>();
    assert_eq!((of("busy"), of("waiting")), (ids[..8].to_vec(), ids[8..].to_vec()));
    let waits = api.get(&format!("/api/v1/executions/{}", ids[8].as_str().unwrap())).by("viewer").answer().await.expect(200).json();
    assert_eq!((&queue["waiting_since"], &queue["waiting"][0]["since"]), (&waits["queued_at"], &waits["queued_at"]));
    assert_eq!((&waits["queue"], &queue["waiting"][0]["action"]), (&json!("default"), &json!("core.noop")));
    let runs = api.get(&format!("/api/v1/executions/{}", ids[0].as_str().unwrap())).by("viewer").answer().await.expect(200).json();
    assert_eq!((&runs["queue"], &runs["queued_at"]), (&json!("default"), &Value::Null));
}

#[tokio::test]
async fn executions_are_found_by_action_labels_and_by_given_labels() {
    let api = TestApi::new();
    let execute = |body: Value| api.post("/api/v1/actions/demo.deploy/execute").by("operator").json(&body);
    let run = async |site: &str, labels: Value| {
        let run = execute(json!({ "params": { "site": site }, "labels": labels })).answer().await.expect(202).json();
        run["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (run("eu", json!({ "ticket": "OPS-7" })).await, run("us", json!({ "ticket": "OPS-7" })).await);
    let three = run("eu", json!({})).await;
    let shown = api.get(&format!("/api/v1/executions/{one}")).by("viewer").answer().await.expect(200).json();
    assert_eq!(shown["labels"], json!({ "site": "eu", "team": "web", "ticket": "OPS-7" }));
    let action = api.get("/api/v1/actions/demo.deploy").by("viewer").answer().await.expect(200).json();
    assert_eq!(action["labels"], json!(["site", "team"]));
    let listed = async |query: &str| {
        let page = api.get(&format!("/api/v1/executions?{query}")).by("viewer").answer().await.expect(200).json();
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("label=site%3Deu").await, [three.clone(), one.clone()], "the newest first");
    assert_eq!(listed("label=ticket=OPS-7").await, [two, one.clone()]);
    assert_eq!(listed("label=site=eu&label=ticket=OPS-7").await, [one]);
    assert_eq!(listed("label=site=eu&action=core.echo").await, Vec::<String>::new());
    assert_eq!(listed("label=site=mars").await, Vec::<String>::new());
    let first = api.get("/api/v1/executions?label=site=eu&label=team=web&limit=1").by("viewer").answer().await.expect(200).json();
    let next = format!("/api/v1/executions?label=team=web&label=site=eu&limit=1&cursor={}", first["next"].as_str().unwrap());
    let second = api.get(&next).by("viewer").answer().await.expect(200).json();
    assert_ne!(first["items"][0]["id"], second["items"][0]["id"]);
    let cancelled = api.post("/api/v1/executions/cancel?label=site=eu").by("operator").answer().await.expect(200).json();
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 2);
    assert_eq!(cancelled["items"][0]["execution"], json!(three));
}

#[tokio::test]
async fn invalid_or_reserved_label_is_rejected() {
    let api = TestApi::new();
    let execute = |labels: Value| {
        let body = json!({ "params": { "site": "eu" }, "labels": labels });
        api.post("/api/v1/actions/demo.deploy/execute").by("operator").json(&body)
    };
    let refused = execute(json!({ "site": "us" })).answer().await.expect_problem(422, "labels_invalid");
    assert_eq!(refused["detail"], "`site` is already a label of `demo.deploy`, which sets its value");
    for labels in [json!({ "Site": "us" }), json!({ "wave": 1 }), json!({ "wave": "" }), json!({ "wave": "a\nb" }), json!(["site"])] {
        execute(labels).answer().await.expect_problem(422, "body_invalid");
    }
    let many: serde_json::Map<String, Value> = (0..15).map(|n| (format!("l{n}"), json!("x"))).collect();
    execute(Value::Object(many)).answer().await.expect_problem(422, "labels_invalid");
    let empty = api.post("/api/v1/actions/demo.deploy/execute").by("operator").json(&json!({ "params": { "site": "" } }));
    empty.answer().await.expect_problem(422, "parameters_invalid");
    for query in ["label=site", "label==eu", "label=site=", "label=Site=eu", "label=site=a%0Ab"] {
        api.get(&format!("/api/v1/executions?{query}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
    let many = ["label=a=b"; 17].join("&");
    api.get(&format!("/api/v1/executions?{many}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn executions_are_counted_in_groups() {
    let api = TestApi::new();
    let (one, two) = (api.execution().await, api.execution().await);
    api.execution().await;
    api.node.succeed(&one, "{}");
    api.node.fail(&two);
    let count = async |query: &str| api.get(&format!("/api/v1/counts?of=executions{query}")).by("viewer").answer().await.expect(200).json();
    let by_status = count("&by=status").await;
    let group = |status: &str| json!({ "by": { "status": status }, "count": 1 });
    assert_eq!(by_status["items"], json!([group("failed"), group("running"), group("succeeded")]));
    assert_eq!((&by_status["total"], &by_status["groups_count"], &by_status["is_exact"]), (&json!(3), &json!(3), &json!(true)));
    let ended = count("&by=action,status&status=failed,succeeded").await;
    let action = api.get(&format!("/api/v1/executions/{one}")).by("viewer").answer().await.json()["action"].clone();
    assert_eq!(ended["items"][0], json!({ "by": { "action": action, "status": "failed" }, "count": 1 }));
    assert_eq!(count("&status=cancelled").await["total"], json!(0));
    assert_eq!(count(&format!("&id={one},{two}")).await["items"], json!([{ "by": {}, "count": 2 }]));
    for refused in ["", "?of=secrets", "?of=executions&by=label", "?of=executions&status=gone"] {
        api.get(&format!("/api/v1/counts{refused}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
    api.get("/api/v1/counts?of=executions").answer().await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn executions_are_found_by_their_attempts_and_whether_they_are_steps() {
    let api = TestApi::new();
    let flow = api.post("/api/v1/actions/demo.flow/execute").by("author").answer().await.expect(202).json()["id"].clone();
    let listed = async |query: &str| {
        let list = api.get(&format!("/api/v1/executions?{query}")).by("viewer").answer().await.expect(200).json();
        list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("is_root=true").await, std::slice::from_ref(&flow));
    let steps = listed("is_root=false").await;
    assert!(!steps.is_empty() && !steps.contains(&flow));
    assert_eq!(listed("attempts_min=1").await, steps, "a workflow has no attempts");
    assert!(listed("attempts_min=2").await.is_empty());
    api.get("/api/v1/executions?attempts_min=many").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn execution_shows_what_it_waits_for() {
    let api = TestApi::new();
    let shown = async |id: &str| api.get(&format!("/api/v1/executions/{id}")).by("viewer").answer().await.expect(200).json();
    let running = api.execution().await;
    assert_eq!(shown(&running).await["waits_for"], Value::Null);
    api.post(&format!("/api/v1/executions/{running}/pause")).by("operator").answer().await.expect(200);
    let paused = shown(&running).await;
    assert_eq!((&paused["waits_for"]["kind"], &paused["waits_for"]["frees_it"]), (&json!("resume"), &json!("execution_resume")));
    assert_eq!(paused["waits_for"]["since"], paused["paused_at"]);
    let flow = api.post("/api/v1/actions/demo.flow/execute").by("author").answer().await.expect(202).json();
    let flow = shown(flow["id"].as_str().unwrap()).await;
    assert_eq!((&flow["waits_for"]["kind"], &flow["waits_for"]["since"]), (&json!("steps"), &flow["started_at"]));
    let inquiry = api.inquiry().await;
    let asks = api.get(&format!("/api/v1/inquiries/{inquiry}")).by("admin").answer().await.json();
    let asks = shown(asks["execution"].as_str().unwrap()).await;
    assert_eq!((&asks["waits_for"]["kind"], &asks["waits_for"]["of"]), (&json!("answer"), &json!(inquiry)));
    let lost = shown(&api.indeterminate().await).await;
    assert_eq!((&lost["waits_for"]["kind"], &lost["waits_for"]["frees_it"]), (&json!("settling"), &json!("execution_settle")));
    let later = json!({ "params": { "message": "hi" }, "start_at": "2026-03-29T09:00:00Z" });
    let later = api.post("/api/v1/actions/core.echo/execute").by("author").json(&later).answer().await.expect(202).json();
    let delayed = shown(later["id"].as_str().unwrap()).await;
    assert_eq!((&delayed["waits_for"]["kind"], &delayed["waits_for"]["until"]), (&json!("time"), &json!("2026-03-29T09:00:00.000000Z")));
}

async fn request_many(api: &TestApi, list: &Value) -> Value {
    api.post("/api/v1/executions").by("admin").json(list).answer().await.expect(200).json()["items"].take()
}

#[tokio::test]
async fn each_execution_of_a_list_is_requested_or_refused_on_its_own() {
    let api = TestApi::new();
    let echo = json!({ "action": "core.echo", "params": { "message": "hi" } });
    let unfit = json!({ "action": "core.echo", "params": { "colour": 1 } });
    let unknown = json!({ "action": "core.nothing" });
    let items = request_many(&api, &json!([echo, unfit, unknown, echo])).await;
    let codes: Vec<Option<&str>> = items.as_array().unwrap().iter().map(|item| item["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("parameters_invalid"), Some("not_found"), None]);
    assert_eq!(items[1]["error"]["errors"][0]["pointer"], "/colour");
    assert!(items[1]["execution"].is_null() && items[1]["position"].is_null());
    assert_ne!(items[0]["execution"], items[3]["execution"]);
    for item in [&items[0], &items[3]] {
        let path = format!("/api/v1/executions/{}", item["execution"].as_str().unwrap());
        assert_eq!(api.get(&path).by("viewer").answer().await.expect(200).json()["action"], "core.echo");
    }
    assert_eq!(request_many(&api, &json!([])).await, json!([]));
}

#[tokio::test]
async fn list_of_executions_sent_again_under_its_key_requests_only_what_was_refused() {
    let api = TestApi::new();
    let send = async |list: Value| {
        let sent = api.post("/api/v1/executions").by("admin").with("idempotency-key", "1").json(&list).answer().await;
        sent.expect(200).json()["items"].take()
    };
    let echo = |message: &str| json!({ "action": "core.echo", "params": { "message": message } });
    let first = send(json!([echo("a"), { "action": "core.nothing" }])).await;
    let again = send(json!([echo("a"), echo("b")])).await;
    assert_eq!(again[0], first[0]);
    assert!(first[1]["error"].is_object() && again[1]["execution"].is_string(), "{again}");
    let other = send(json!([echo("c")])).await;
    assert_eq!(other[0]["error"]["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn invalid_list_of_executions_requests_nothing() {
    let api = TestApi::new();
    let post = |body: &Value| api.post("/api/v1/executions").by("admin").json(body).answer();
    let echo = json!({ "action": "core.echo", "params": { "message": "hi" } });
    api.post("/api/v1/executions").by("viewer").json(&json!([echo])).answer().await.expect_problem(403, "forbidden");
    let before = api.node.head_position();
    post(&echo).await.expect_problem(422, "body_invalid");
    let problem = post(&json!([echo, { "action": "core.echo", "colour": 1 }])).await.expect_problem(422, "body_invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/1/colour");
    post(&Value::from(vec![echo.clone(); 1_001])).await.expect_problem(413, "too_many_executions");
    let tried = api.post("/api/v1/executions?dry_run=true").by("admin").json(&json!([echo, { "action": "core.nothing" }]));
    let tried = tried.answer().await.expect(200).json();
    assert_eq!((&tried["items"][0]["error"], &tried["items"][1]["error"]["code"]), (&Value::Null, &json!("not_found")));
    assert_eq!(api.node.head_position(), before);
}
