//! Locks on a running node: locked executions never overlap, and none stays waiting, even if the node is
//! killed.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

/// Its exit code reports whether another one runs at the same time. None passes before the gate is opened.
const ALONE: &str = "\
description: Does it alone.
parameters: { folder: string, region: string }
run:
  shell:
    script: mkdir \"$FOLDER/$REGION\" || exit 7; until [ -e \"$FOLDER/gate\" ]; do sleep 0.05; done; sleep 0.4; rmdir \"$FOLDER/$REGION\"
    env: { FOLDER: \"${{ params.folder }}\", REGION: \"${{ params.region }}\" }
concurrency: { key: params.region }
";

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "160"))
}

#[tokio::test]
async fn locked_executions_never_overlap_and_none_is_stuck_after_a_kill() {
    let place = NodeFolder::new();
    let folder = place.path().join("busy");
    std::fs::create_dir(&folder).unwrap();
    let place = place.with_variable("ENSUE_ACTIONS_WRITABLE", &folder.display().to_string());
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/alone.yaml", ALONE);
    let mut node = place.start();
    let mut all = Vec::new();
    for region in ["eu", "eu", "eu", "eu", "us"] {
        all.push(node.client().execute("release.alone", &json!({ "folder": folder, "region": region })).await);
    }
    let locks = node.client().get("/locks?action=release.alone").await;
    let counts: Vec<_> = locks["items"].as_array().unwrap().iter().map(|lock| (&lock["limit"], &lock["waiters"])).collect();
    assert!(counts.iter().any(|(limit, waiters)| **limit == json!(1) && waiters[0]["place"] == json!(1)), "{locks}");
    let listed = ensue(&place, &node, &["locks", "list"]);
    assert!(listed.stdout.contains("action release.alone"), "{}{}", listed.stdout, listed.stderr);
    let shown = ensue(&place, &node, &["executions", "show", &all[3]]);
    assert!(shown.stdout.contains("waits for the lock of action release.alone behind "), "{}{}", shown.stdout, shown.stderr);

    std::fs::write(folder.join("gate"), "").unwrap();
    for _ in 0..3 {
        node.kill();
        node = place.start();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    for id in &all {
        let path = format!("/executions/{id}");
        let is_over = |execution: &Value| execution["ended_at"] != Value::Null;
        let seen = node.client().until(&path, |execution| is_over(execution) || execution["status"] == "indeterminate").await;
        if seen["status"] == "indeterminate" {
            // The node was killed between its note that the attempt begins and the start of the program.
            node.client().post(&format!("{path}/settle"), &json!({ "outcome": "retry" })).await;
        }
        let ended = node.client().until(&path, is_over).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    let locks = node.client().get("/locks").await;
    assert_eq!(locks["items"], json!([]));
}
