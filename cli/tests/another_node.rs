//! A node that continues the log of another node, although its own `begun` file belongs to another log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{NodeFolder, PATIENCE};

/// What another machine gets of a log: not what its worker keeps for itself.
const LOG: [&str; 5] = ["log.sqlite", "log.sqlite-wal", "vault.sqlite", "vault.sqlite-wal", "packs"];

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        fs::read_dir(from).unwrap().flatten().for_each(|entry| copy(&entry.path(), &to.join(entry.file_name())));
    } else if from.exists() {
        fs::copy(from, to).unwrap();
    }
}

fn replace(from: &Path, to: &Path) {
    let removed = if to.is_dir() { fs::remove_dir_all(to) } else { fs::remove_file(to) };
    if let Err(error) = removed {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", to.display());
    }
    copy(from, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_on_a_copied_log_does_not_rerun_attempts() {
    let world = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = world.local_addr().unwrap();
    let place = || NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", &address.to_string());
    let (first, second) = (place(), place());
    first.write_pack_file("once/pack.yaml", "name: once\nversion: 1.0.0\ndescription: What is not to be done twice.\n");
    let action = format!("description: Is not to be done twice.\nrun: {{ http: {{ method: POST, url: 'http://{address}/' }} }}\n");
    first.write_pack_file("once/actions/send.yaml", &action);
    copy(&first.path().join("packs"), &second.path().join("packs"));
    // The second node has run before, with another log: it has a `begun` file, which is empty.
    assert_eq!(second.start().stop(), Some(0));

    let node = first.start();
    let id = node.client().execute("once.send", &json!({})).await;
    let begun = tokio::time::timeout(PATIENCE, world.accept()).await.unwrap().unwrap();
    // The node is stopped, and the programs that it began continue.
    node.signal(Signal::STOP);
    for file in LOG {
        replace(&first.data().join(file), &second.data().join(file));
    }
    for made_of_another_log in ["views.sqlite", "views.sqlite-wal", "checkpoints", "crash.json", "views-crash.json"] {
        replace(Path::new("/nowhere"), &second.data().join(made_of_another_log));
    }
    replace(&first.path().join("state"), &second.path().join("state"));

    let next = second.start();
    let client = next.client();
    let path = format!("/executions/{id}");
    tokio::select! {
        _ = client.until(&path, |shown| shown["status"] == "indeterminate") => {}
        _ = world.accept() => panic!("what the first node had begun was begun once more"),
    }
    let again = tokio::time::timeout(Duration::from_millis(200), world.accept()).await;
    assert!(again.is_err(), "what the first node had begun was begun once more");
    let records = client.records().await;
    let of_it = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let (started, lost) = (of_it("attempt.started"), of_it("attempt.lost"));
    assert_eq!((started.len(), lost.len()), (1, 1), "{records:#?}");
    assert_eq!(lost[0]["fact"]["evidence"], "may_have_begun");
    assert_ne!(lost[0]["actor"], format!("worker/{}", started[0]["fact"]["worker"].as_str().unwrap()), "it is another worker");
    drop((begun, next));
    node.kill();
}
