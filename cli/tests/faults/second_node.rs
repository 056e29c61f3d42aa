//! A second process opens the data directory of a running node.

use std::collections::BTreeMap;
use std::path::Path;

use super::ledger::Patience;
use super::trial::{SentAgain, Trial};
use crate::support::{CommandOutput, files_below};

#[tokio::test(flavor = "multi_thread")]
async fn second_node_is_rejected_with_the_reason_and_changes_nothing() {
    let mut trial = Trial::new().await;
    let (node, senders) = trial.start(Patience::Ends);
    node.client().until("/executions?status=succeeded&limit=1", |page| page["items"] != serde_json::json!([])).await;
    senders.stop().await;
    let idle = |page: &serde_json::Value| page["items"].as_array().is_some_and(Vec::is_empty);
    node.client().until("/executions?status=queued&limit=1", idle).await;
    node.client().until("/executions?status=running&limit=1", idle).await;
    let before = node.client().get("/log/head").await;
    let master_keys = files_named("master.key", &trial.place.path().join("state"));
    let comers: [&[&str]; 4] = [
        &["serve", "--listen", "127.0.0.1:0", "--data", "data", "--packs", "packs"],
        &["log", "verify", "--data", "data"],
        &["views", "rebuild", "--data", "data"],
        &["tokens", "add", "second", "--role", "admin", "--data", "data"],
    ];
    for arguments in comers {
        let printed = CommandOutput::by(&mut trial.place.ensue(arguments));
        assert_eq!(printed.code, Some(6), "{arguments:?}: {printed:?}");
        let told = format!("is in use by process {}", node.pid());
        assert!(printed.stderr.contains(&told) && printed.stderr.contains("--server"), "{arguments:?}: {printed:?}");
    }
    assert_eq!(node.client().get("/log/head").await, before, "nothing was written");
    assert_eq!(files_named("master.key", &trial.place.path().join("state")), master_keys);
    // A killed node holds nothing: the next one starts at once.
    node.kill();
    trial.node_is_gone();
    let node = trial.place.start();
    trial.holds(node, SentAgain::All).await;
}

/// Finds files by their name, with their content.
fn files_named(name: &str, folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let named = files_below(folder).into_iter().filter(|path| path.file_name().is_some_and(|file| file == name));
    named.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}
