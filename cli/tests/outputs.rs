//! A program's output, followed over a restart of the node: nothing is lost or repeated.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, NodeFolder, Running};

const PACK: &str = "name: mill\nversion: 0.1.0\ndescription: A mill.\nrequires: { packs: { core: ^0.1 } }\n";
/// It prints for longer than the first node lives, because it waits in the middle of it, in pieces that do not match the chunks of a stream.
const GRIND: &str = "\
description: Grinds, and says so.
on_lost: fail
run:
  shell:
    script: |
      n=0
      while [ $n -lt 200 ]; do
        n=$((n + 1))
        [ $n -ne 100 ] || { echo begun > begun; while [ ! -e go ]; do sleep 0.02; done; }
        printf 'sack %s — gemahlen, and then' $n
        sleep 0.01
        echo ' some'
        echo \"warned $n\" >&2
      done
";

/// What was read of a stream: the texts of its two parts, and the place after them.
#[derive(Default)]
struct FollowedOutput {
    stdout: String,
    stderr: String,
    place: Option<String>,
    has_ended: bool,
}

impl FollowedOutput {
    /// Follows until `is_enough` returns true, or until the stream ends.
    async fn go_on(&mut self, client: &Client, path: &str, is_enough: impl Fn(&Self) -> bool) {
        let mut request = client.request(Method::GET, path).header("accept", "text/event-stream");
        if let Some(place) = &self.place {
            request = request.header("last-event-id", place);
        }
        let mut response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        let mut unread = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            unread.extend_from_slice(&chunk);
            while let Some(end) = unread.windows(2).position(|window| window == b"\n\n") {
                let frame = String::from_utf8(unread.drain(..end + 2).collect()).unwrap();
                self.take(&frame);
            }
            if is_enough(self) {
                return;
            }
        }
    }

    fn take(&mut self, frame: &str) {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
        self.has_ended |= field("event: ") == Some("end");
        let (Some(place), Some(data)) = (field("id: "), field("data: ")) else { return };
        self.place = Some(place.to_owned());
        let part: Value = serde_json::from_str(data).unwrap();
        let text = part["text"].as_str().unwrap();
        if part["stream"] == "stdout" { self.stdout.push_str(text) } else { self.stderr.push_str(text) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_output_survives_a_restart_of_the_node() {
    let place = NodeFolder::new();
    place.write_pack_file("mill/pack.yaml", PACK);
    place.write_pack_file("mill/actions/grind.yaml", GRIND);
    let node = place.start();
    let client = node.client();
    let begun = client.post("/actions/mill.grind/execute", &json!({})).await;
    let id = begun.body["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/executions/{id}/logs?follow=true");

    let mut followed = FollowedOutput::default();
    followed.go_on(&client, &path, |followed| followed.stdout.lines().count() > 20).await;
    assert!(!followed.has_ended, "the node goes away in the middle of it");
    let program = Running::one(&place).await;
    node.kill();
    program.let_go();

    let node = place.start();
    let client = node.client();
    followed.go_on(&client, &path, |followed| followed.has_ended).await;
    assert!(followed.has_ended);
    for (stream, followed) in [("stdout", &followed.stdout), ("stderr", &followed.stderr)] {
        let whole = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream={stream}")).header("accept", "text/plain");
        let whole = whole.send().await.unwrap().text().await.unwrap();
        assert_eq!(*followed, whole, "{stream}");
    }
    let parts = client.get(&format!("/executions/{id}/logs")).await;
    assert!(parts["items"].as_array().unwrap().iter().all(|part| part["state"] == "complete"), "{parts:#}");
}

/// Returns the file of an output in the data directory.
fn file_of_stdout(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    let parts = std::fs::read_dir(folder).ok()?.flatten();
    let files = parts.filter_map(|part| std::fs::read_dir(part.path()).ok()).flat_map(|files| files.flatten());
    files.map(|file| file.path()).find(|path| path.extension().is_some_and(|extension| extension == "stdout"))
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_output_is_an_error_in_every_form() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let ended = client.run("core.shell", &json!({ "script": "echo it is as it was" })).await;
    let id = ended["id"].as_str().unwrap();
    let file = file_of_stdout(&place.data().join("outputs")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3] ^= 1;
    for damage in ["a flipped bit", "a missing file"] {
        match damage {
            "a flipped bit" => std::fs::write(&file, &bytes).unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        for form in ["application/json", "text/plain"] {
            let asked = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream=stdout")).header("accept", form);
            let answer = asked.send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(status == 503 && body.contains("output-damaged"), "{damage} {form}: {status} {body}");
        }
    }
}
