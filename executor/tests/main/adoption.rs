//! How an attempt of an earlier node is reported, by what that node has left. The test decides what that is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ensue_engine::catalog::{Builtin, Run};
use ensue_engine::command::Ask;
use ensue_engine::effect::{Dispatch, Effect};
use ensue_engine::executions::facts::Evidence;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::OutputStream;
use ensue_executor::begun_file::{BegunFile, Opener, Previous};
use ensue_executor::programs::{AtEnd, AttemptRemains, FindError, Isolation, Order, Pending, Program, Programs, StartProgramError};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::world::{Plan, WORKER, World, attempt};

/// Starts no program, and notes which attempts were collected.
struct LeftBehind {
    left: Mutex<Vec<AttemptRemains>>,
    collected: watch::Sender<Vec<AttemptId>>,
}

impl Programs for LeftBehind {
    fn find(&self, program: &str, _: &Path, _: &OsString) -> Result<PathBuf, FindError> {
        Ok(program.into())
    }

    fn directory(&self, _: AttemptId) -> PathBuf {
        "/nowhere".into()
    }

    fn start(&self, _: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        panic!("no program is started here")
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        Box::pin(async { std::mem::take(&mut *self.left.lock().unwrap()) })
    }

    fn forget(&self, attempt: AttemptId) {
        self.collected.send_modify(|collected| collected.push(attempt));
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::GoOn
    }

    fn isolation(&self) -> &Isolation {
        Isolation::none()
    }
}

/// A node that starts after one that was killed, and what that one left.
struct NextNode {
    world: World,
    programs: Arc<LeftBehind>,
    previous: Previous,
}

impl NextNode {
    /// The file of begun attempts names the first attempt.
    fn finds(left: AttemptRemains) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("begun");
        let (begun, _) = BegunFile::open(&path, Opener::now(WORKER), []).unwrap();
        begun.note(attempt(1)).unwrap();
        drop(begun);
        let (_, previous) = BegunFile::open(&path, Opener::now("new"), [(attempt(1), WORKER.into())]).unwrap();
        let programs = Arc::new(LeftBehind { left: Mutex::new(vec![left]), collected: watch::Sender::default() });
        let world = Plan::new(Run::Builtin(Builtin::Echo)).programs(programs.clone()).begin();
        Self { world, programs, previous }
    }

    /// Takes the first attempt over, as the log has it after `change`. Returns the evidence that is reported.
    async fn takes_over(&mut self, change: impl FnOnce(&mut Dispatch)) -> Evidence {
        let mut dispatch = self.world.make_dispatch(1, json!({}));
        change(&mut dispatch);
        self.world.executor.take_over([Effect::Dispatch(Box::new(dispatch))], &self.previous).await;
        let Some(Ask::LoseAttempt { attempt: lost, evidence, .. }) = self.world.asked.recv().await else { panic!("no loss") };
        assert_eq!(lost, attempt(1));
        evidence
    }

    /// Waits until an attempt was collected.
    async fn collects(&self, number: u32) {
        self.programs.collected.subscribe().wait_for(|collected| collected.contains(&attempt(number))).await.unwrap();
    }
}

/// The proof that the program of an attempt was not started. Attempts have the token 7.
fn not_begun(number: u32, token: u64) -> AttemptRemains {
    AttemptRemains::NotBegun { attempt: attempt(number), token }
}

#[tokio::test]
async fn reservation_proves_that_an_attempt_has_not_begun_although_the_file_names_it() {
    assert_eq!(NextNode::finds(not_begun(1, 7)).takes_over(|_| {}).await, Evidence::NotBegun);
}

#[tokio::test]
async fn reservation_proves_nothing_about_another_token_worker_or_attempt() {
    let mut of_another_token = NextNode::finds(not_begun(1, 8));
    assert_eq!(of_another_token.takes_over(|_| {}).await, Evidence::MayHaveBegun);
    let mut of_another_worker = NextNode::finds(not_begun(1, 7));
    assert_eq!(of_another_worker.takes_over(|dispatch| dispatch.worker = "another".into()).await, Evidence::MayHaveBegun);
    let mut of_another_attempt = NextNode::finds(not_begun(2, 7));
    assert_eq!(of_another_attempt.takes_over(|_| {}).await, Evidence::MayHaveBegun);
    of_another_attempt.collects(2).await;
}

#[tokio::test]
async fn attempt_that_has_not_begun_is_known_to_have_printed_nothing() {
    let mut node = NextNode::finds(not_begun(1, 7));
    node.takes_over(|_| {}).await;
    node.collects(1).await;
    for stream in OutputStream::ALL {
        assert!(node.world.outputs.is_known_in_all(1, stream), "{stream:?}");
    }
    assert!(node.world.outputs.is_finished(1));
}
