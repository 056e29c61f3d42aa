//! Artifacts: listed, served as attachments, in ranges, and removed; and the progress of attempts.

use ensue_api::{QueueName, Queues};
use ensue_engine::command::MessageContent;
use ensue_engine::ports::OutputStream;
use ensue_engine::record::{Body, Digest};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::support::TestApi;

/// Creates an execution with one artifact. Returns the execution's path, and the path of the file.
async fn given_away(api: &TestApi, name: &str, media_type: Option<&str>, content: &[u8]) -> (String, String) {
    let id = api.execution().await;
    api.node.give_away(&id, 0, name, media_type, content);
    let path = format!("/api/v1/executions/{id}/artifacts");
    let listed = api.get(&path).by("viewer").answer().await.expect(200).json();
    let artifact = listed["items"][0]["id"].as_str().unwrap().to_owned();
    (path.clone(), format!("{path}/{artifact}"))
}

#[tokio::test]
async fn artifacts_are_listed_with_their_metadata() {
    let api = TestApi::new();
    let (path, _) = given_away(&api, "report.csv", Some("text/csv"), b"a,b\n").await;
    let listed = api.get(&path).by("viewer").answer().await.expect(200).json();
    let item = &listed["items"][0];
    assert_eq!((&item["name"], &item["media_type"], &item["bytes"]), (&json!("report.csv"), &json!("text/csv"), &json!(4)));
    assert_eq!((&item["attempt"], &item["state"], &listed["next"]), (&json!(1), &json!("kept"), &json!(null)));
    let id = api.execution().await;
    let of_another = api.get(&format!("/api/v1/executions/{id}/artifacts")).by("viewer").answer().await.expect(200).json();
    assert_eq!(of_another["items"], json!([]));
}

#[tokio::test]
async fn artifact_is_always_served_as_an_attachment() {
    let api = TestApi::new();
    let page = b"<script>alert(1)</script>";
    let (_, file) = given_away(&api, "a\"; filename=x.exe", Some("text/html"), page).await;
    let answer = api.get(&file).by("viewer").answer().await.expect(200);
    assert_eq!(answer.text.as_bytes(), page);
    let expected = "attachment; filename=\"a__ filename_x.exe\"; filename*=UTF-8''a%22%3B%20filename%3Dx.exe";
    assert_eq!(answer.header("content-disposition"), Some(expected));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.starts_with("sandbox;")));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), (Some("text/html"), Some("25")));
}

#[tokio::test]
async fn artifact_without_a_media_type_is_served_as_bytes() {
    let api = TestApi::new();
    let (_, file) = given_away(&api, "page.svg", None, b"<svg/>").await;
    let answer = api.get(&file).by("viewer").answer().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn artifact_is_served_in_ranges_and_not_again_if_unchanged() {
    let api = TestApi::new();
    let (_, file) = given_away(&api, "digits", None, b"0123456789").await;
    let part = api.get(&file).by("viewer").with("range", "bytes=3-6").answer().await.expect(206);
    assert_eq!((part.text.as_str(), part.header("content-range")), ("3456", Some("bytes 3-6/10")));
    let tag = part.header("etag").unwrap().to_owned();
    let known = api.get(&file).by("viewer").with("if-none-match", &tag).answer().await.expect(304);
    assert_eq!(known.text, "");
    let beyond = api.get(&file).by("viewer").with("range", "bytes=10-").answer().await;
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    beyond.expect_problem(416, "range_not_satisfiable");
    let other = api.get(&file).by("viewer").with("range", "bytes=0-1").with("if-range", "\"other\"").answer().await.expect(200);
    assert_eq!(other.text, "0123456789");
}

#[tokio::test]
async fn damaged_blob_breaks_off_the_answer_for_every_form_of_full_range() {
    let api = TestApi::new();
    let (_, file) = given_away(&api, "digits", None, b"0123456789").await;
    api.node.blobs.damage(&Digest::of(b"0123456789"), "012345678x");
    for range in ["bytes=0-", "bytes=0-9", "bytes=-10"] {
        let sent = api.get(&file).by("viewer").with("range", range).response().await;
        assert!(sent.into_body().collect().await.is_err(), "{range}");
    }
    assert!(api.get(&file).by("viewer").response().await.into_body().collect().await.is_err());
}

#[tokio::test]
async fn artifact_of_the_wrong_length_is_not_served_in_ranges() {
    let api = TestApi::new();
    let (_, file) = given_away(&api, "digits", None, b"0123456789").await;
    api.node.blobs.damage(&Digest::of(b"0123456789"), "01234");
    for range in ["bytes=0-1", "bytes=7-", "bytes=0-"] {
        api.get(&file).by("viewer").with("range", range).answer().await.expect_problem(503, "artifact_unavailable");
    }
}

#[tokio::test]
async fn request_over_the_limit_of_files_gets_busy() {
    let queues = Queues::with(|name| if name == QueueName::LiveOutputs { 0 } else { 1_000_000_000 });
    let api = TestApi::with_queues(queues);
    let (_, file) = given_away(&api, "digits", None, b"0123456789").await;
    let refused = api.get(&file).by("viewer").answer().await.expect_problem(503, "busy");
    assert_eq!(refused["detail"], "too many files and outputs are being sent");
}

#[tokio::test]
async fn removed_artifact_is_gone() {
    let api = TestApi::new();
    let id = api.execution().await;
    let blob = api.node.give_away(&id, 0, "old.csv", None, b"old");
    let path = format!("/api/v1/executions/{id}/artifacts");
    api.node.blobs.throw_away(&blob);
    let listed = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert_eq!(listed["items"][0]["state"], "removed");
    let file = format!("{path}/{}", listed["items"][0]["id"].as_str().unwrap());
    api.get(&file).by("viewer").answer().await.expect_problem(410, "artifact_removed");
}

#[tokio::test]
async fn artifact_is_found_only_by_id_within_its_execution() {
    let api = TestApi::new();
    let (path, file) = given_away(&api, "mine.csv", None, b"mine").await;
    let other = api.execution().await;
    let artifact = file.rsplit('/').next().unwrap();
    for unknown in [
        format!("/api/v1/executions/{other}/artifacts/{artifact}"),
        format!("{path}/mine.csv"),
        format!("{path}/..%2F..%2Fetc%2Fpasswd"),
        format!("{path}/{other}"),
    ] {
        api.get(&unknown).by("viewer").answer().await.expect_problem(404, "not_found");
    }
    api.get(&file).answer().await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn progress_is_shown_with_its_text() {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = format!("/api/v1/executions/{id}");
    assert_eq!(api.get(&path).by("viewer").answer().await.json()["progress"], json!(null));
    let body = Some(Body::json(r#"{"message":"copying"}"#));
    api.node.say(&id, 0, MessageContent::Progress { thousandths: Some(400), body });
    let shown = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["progress"]["done"], &shown["progress"]["message"]), (&json!(0.4), &json!("copying")));
    let listed = api.get("/api/v1/executions").by("viewer").answer().await.expect(200).json();
    assert_eq!(listed["items"][0]["progress"]["done"], json!(0.4));
    let timeline = api.get(&format!("{path}/timeline")).by("viewer").answer().await.expect(200).json();
    assert_eq!(timeline["items"].as_array().unwrap().last().unwrap()["what"], "the attempt reported that it is 40.0 % done");
}

#[tokio::test]
async fn output_of_a_silent_attempt_is_complete_once_it_has_ended() {
    let api = TestApi::new();
    let id = api.execution().await;
    let path = format!("/api/v1/executions/{id}/logs");
    let states = |answer: serde_json::Value| [0, 1].map(|at| answer["items"][at]["state"].clone());
    assert_eq!(states(api.get(&path).by("viewer").answer().await.expect(200).json()), ["open", "open"]);
    api.node.succeed(&id, "{}");
    assert_eq!(states(api.get(&path).by("viewer").answer().await.expect(200).json()), ["complete", "complete"]);
}

#[tokio::test]
async fn removed_output_is_reported_in_every_format() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, "old\n");
    api.node.succeed(&id, "{}");
    api.node.remove_output(&id);
    let path = format!("/api/v1/executions/{id}/logs");
    let parts = api.get(&path).by("viewer").answer().await.expect(200).json();
    assert_eq!((&parts["items"][0]["state"], &parts["items"][0]["text"]), (&json!("removed"), &json!("")));
    let text = api.get(&format!("{path}?stream=stdout")).by("viewer").with("accept", "text/plain").answer().await;
    text.expect_problem(410, "output_removed");
    let followed = api.get(&format!("{path}?follow=true&stream=stdout")).by("viewer").answer().await.expect(200);
    assert_eq!(followed.text.matches("\"state\":\"removed\"").count(), 1, "{}", followed.text);
    assert!(followed.text.contains("event: end"), "{}", followed.text);
}

#[tokio::test]
async fn output_resumes_at_any_offset_without_duplicates() {
    const TEXT: &str = "a bc — déf\nghi\n";
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.print(&id, OutputStream::Stdout, TEXT);
    api.node.succeed(&id, "{}");
    let path = format!("/api/v1/executions/{id}/logs?stream=stdout&follow=true");
    for (offset, _) in TEXT.char_indices().chain([(TEXT.len(), ' ')]) {
        let resumed = api.get(&path).by("viewer").with("last-event-id", &format!("1.stdout.{offset}")).answer().await.expect(200);
        let texts = resumed.text.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|data| {
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            data["text"].as_str().map(str::to_owned)
        });
        assert_eq!(texts.collect::<String>(), TEXT[offset..], "from {offset}");
    }
}
