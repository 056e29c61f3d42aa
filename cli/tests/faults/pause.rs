//! The node is paused for longer than its leases: SIGSTOP, then SIGCONT.
//!
//! The test does not check whether attempts are lost by that, as they may be on a slow machine. It checks
//! that nothing counts twice.

use std::time::Duration;

use rustix::process::Signal;

use super::ledger::Patience;
use super::rounds;
use super::trial::{SentAgain, Trial};
use crate::support::{CommandOutput, NodeFolder};

const LEASE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn node_stopped_for_two_leases_counts_nothing_twice_and_keeps_its_lock() {
    let mut trial = Trial::at(NodeFolder::new().with_variable("ENSUE_LEASE", "1s")).await;
    let (node, senders) = trial.start(Patience::GoesOn);
    for _ in 0..rounds(2, 50) {
        // An attempt must be running when the node is paused.
        node.client().until("/executions?status=running&limit=1", |page| page["items"] != serde_json::json!([])).await;
        trial.ledger.note("SIGSTOP");
        node.signal(Signal::STOP);
        let other = CommandOutput::by(&mut trial.place.ensue(&["serve", "--listen", "127.0.0.1:0", "--data", "data", "--packs", "packs"]));
        assert_eq!(other.code, Some(6), "a stopped node keeps its directory: {other:?}");
        tokio::time::sleep(LEASE * 2).await;
        trial.ledger.note("SIGCONT");
        node.signal(Signal::CONT);
    }
    senders.stop().await;
    trial.holds(node, SentAgain::All).await;
}
