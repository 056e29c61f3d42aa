//! An upgrade: another release takes over the attempts that the previous one left running, and back again.
//!
//! The other release is the same binary with another version written into it: the test shows that nothing
//! assumes that all processes have the same release. Different protocols are covered by the tests of
//! supervisors (`executor/tests`).

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::restart::is_recorded_once;
use crate::support::{Client, NodeFolder, Running, program_file};

const WAIT: &str = "\
description: Runs until it may end.
timeout: 5m
run:
  shell:
    script: |
      echo begun >> begun
      while [ ! -e go ]; do sleep 0.02; done
      cat begun
";

/// The binary's own release, and another one of the same length.
const OWN: &str = env!("CARGO_PKG_VERSION");

fn next() -> String {
    let mut next: Vec<u8> = OWN.bytes().collect();
    let last = next.last_mut().expect("a version has a last digit");
    *last = if *last == b'9' { b'8' } else { *last + 1 };
    String::from_utf8(next).unwrap()
}

/// Writes this binary as one of another release to a path.
fn install(release: &str, at: &Path) {
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_ensue")).unwrap();
    for at in 0..bytes.len() - OWN.len() {
        if bytes[at..].starts_with(OWN.as_bytes()) {
            bytes[at..at + OWN.len()].copy_from_slice(release.as_bytes());
        }
    }
    // A running file is replaced, not overwritten.
    let beside = at.with_extension("new");
    program_file::write(&beside, &bytes);
    std::fs::rename(beside, at).unwrap();
}

fn place() -> (NodeFolder, PathBuf) {
    let mut place = NodeFolder::new();
    place.write_pack_file("long/pack.yaml", "name: long\nversion: 1.0.0\ndescription: What takes long.\n");
    place.write_pack_file("long/actions/wait.yaml", WAIT);
    let binary = place.path().join("ensue");
    place.go_on_with(&binary);
    (place, binary)
}

async fn succeeded_once(client: &Client, id: &str) {
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["status"] != "running").await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("succeeded"), &json!("begun")), "{shown:#}");
    is_recorded_once(client, id).await;
}

async fn release(client: &Client) -> Value {
    client.get("/status").await["release"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn next_release_adopts_running_programs_and_a_downgrade_does_too() {
    let (place, binary) = place();
    let mut of = [OWN.to_owned(), next()];
    install(&of[0], &binary);
    let mut node = place.start();
    for _ in 0..2 {
        let client = node.client();
        assert_eq!(release(&client).await, of[0].as_str());
        let before = client.execute("long.wait", &json!({})).await;
        Running::one(&place).await;
        // The file is replaced while the node runs, as a package manager does; the node still starts its own
        // release.
        install(&of[1], &binary);
        let meanwhile = client.execute("long.wait", &json!({})).await;
        let programs = Running::all(&place, 2).await;
        assert_eq!(node.stop(), Some(0));
        node = place.start();
        let client = node.client();
        assert_eq!(release(&client).await, of[1].as_str());
        programs.iter().for_each(Running::let_go);
        for id in [before, meanwhile] {
            succeeded_once(&client, &id).await;
        }
        of.swap(0, 1);
    }
}
