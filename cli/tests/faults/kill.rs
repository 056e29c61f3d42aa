//! The node is killed with SIGKILL at random moments, restarted, and compared with the ledger.
//!
//! A kill proves nothing about the disk's own cache (it survives); it proves that no answer, fact or attempt
//! depends on the process surviving.

use std::time::Duration;

use super::ledger::Patience;
use super::trial::{SentAgain, Trial};
use super::{Random, rounds, seed};

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_lose_duplicate_and_guess_nothing() {
    let kills = rounds(6, 1_000);
    let seed = seed();
    eprintln!("torture: {kills} kills; again with ENSUE_FAULTS_SEED={seed}");
    let mut trial = Trial::new().await;
    let mut random = Random(seed);
    for _ in 0..kills {
        let (node, senders) = trial.start(Patience::Ends);
        // The random lifetime of the node; nothing waits for anything.
        tokio::time::sleep(Duration::from_millis(20 + random.below(280))).await;
        trial.ledger.note("SIGKILL");
        node.kill();
        senders.stop().await;
        trial.node_is_gone();
    }
    let node = trial.place.start();
    trial.holds(node, SentAgain::All).await;
}
