//! The disk cannot store data: `fdatasync` fails, as the kernel reports it after a write that the device
//! rejected.
//!
//! `strace` injects the failure into the running node; if it is not installed or may not be attached, the
//! test is skipped by name.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::ledger::{Outcome, Patience};
use super::rounds;
use super::trial::{SentAgain, Trial};
use crate::support::Node;
use crate::support::skipped::skipped;

const TEST: &str = "failed_log_sync_ends_the_node_and_the_next_start_is_consistent";

/// `strace` attached to a node: the `n`-th sync of the log from now on fails, and later ones do not.
struct FailingSync(Child);

impl FailingSync {
    fn attach(node: &Node, trial: &Trial, n: u64) -> Result<Self, String> {
        let data = std::fs::canonicalize(trial.place.data()).unwrap();
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={n}");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync", "-e", &inject, "-p", &node.pid().to_string()]);
        // A commit syncs this file. A sync of `log.sqlite` belongs to a checkpoint: if it fails, the
        // write-ahead log still has all data, and the checkpoint is retried.
        command.arg("-P").arg(data.join("log.sqlite-wal"));
        command.arg("-o").arg(trial.place.path().join("strace.log"));
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| format!("strace: {error}"))?;
        let mut said = String::new();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            if line.contains("attached") {
                // It continues to report each thread and would block the node if nobody read its output.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self(strace));
            }
            said.push_str(&line);
        }
        let _ = strace.wait();
        Err(said)
    }
}

impl Drop for FailingSync {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_log_sync_ends_the_node_and_the_next_start_is_consistent() {
    let mut trial = Trial::new().await;
    let least = rounds(4, 100);
    let (mut n, mut said_to_be_unknown) = (0, 0);
    // A sync may be for a batch without a delivery; then no caller waits for it.
    while n < least || said_to_be_unknown == 0 {
        n += 1;
        assert!(n <= 10 * least, "nobody was told that the outcome is unknown");
        let (node, senders) = trial.start(Patience::Ends);
        let failing = match FailingSync::attach(&node, &trial, n) {
            Ok(failing) => failing,
            Err(why) => {
                senders.stop().await;
                return skipped(TEST, &format!("a failing sync is not available: {why}"));
            }
        };
        trial.ledger.note(&format!("sync {n} fails"));
        let (code, said) = node.end();
        drop(failing);
        assert_eq!(code, Some(70), "{said}");
        assert!(said.contains("the log failed") && said.contains("hint: "), "{said}");
        let outcomes = senders.stop().await;
        said_to_be_unknown += outcomes.iter().filter(|outcome| **outcome == Outcome::SaidToBeUnknown).count();
        for outcome in outcomes {
            // No connection is cut: waiting callers learn that the outcome is unknown, and later ones that
            // nothing was done.
            assert!(!matches!(outcome, Outcome::Unanswered(_)), "{outcome:?}");
        }
        trial.node_is_gone();
    }
    let node = trial.place.start();
    trial.holds(node, SentAgain::All).await;
}
