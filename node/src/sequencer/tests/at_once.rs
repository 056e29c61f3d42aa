//! Attempts that take no time: the batches that they end in.

use ensue_engine::catalog::Catalog;
use ensue_engine::command::{Report, ReportOutcome, RequestExecution};
use ensue_engine::effect::Effect;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::CatalogRevision;
use ensue_expression::Document;

use super::*;
use crate::sequencer::at_once::ENDED_MAX;
use crate::test_catalog::{catalog_with, installing};

const STEPS: usize = 200;

/// One catalog.
struct One(Arc<Catalog>);

impl Catalogs for One {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (revision == self.0.revision()).then(|| self.0.clone())
    }
}

/// How no-ops are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoopMode {
    /// Before the commit.
    AtOnce,
    /// Before the commit, with reports that the log refuses.
    Refused,
    /// After the commit.
    Later,
}

/// Runs no-ops.
struct Runs {
    handle: SequencerHandle,
    way: NoopMode,
}

impl CommitListener for Runs {
    fn on_commit(&mut self, _: &Arc<CommittedBatch>, _: Head) {}

    fn on_answered(&mut self, batch: &Arc<CommittedBatch>) {
        for effect in &batch.effects {
            let Effect::Dispatch(dispatch) = effect else { continue };
            self.handle.submit(report(dispatch), Box::new(|told| drop(told.unwrap())));
        }
    }

    fn at_once(&mut self, dispatch: &Dispatch, params: &Bytes) -> Option<Command> {
        assert!(params.starts_with(b"{"), "{params:?}");
        match self.way {
            NoopMode::AtOnce => Some(report(dispatch)),
            NoopMode::Refused => Some(report(&Dispatch { token: dispatch.token + 1, ..dispatch.clone() })),
            NoopMode::Later => None,
        }
    }
}

fn report(dispatch: &Dispatch) -> Command {
    let report = Report {
        execution: dispatch.execution,
        attempt: dispatch.attempt,
        token: dispatch.token,
        outcome: ReportOutcome::Succeeded,
        retry_after_millis: None,
        output_tail: None,
        body: None,
        emitted: None,
        vars: Vec::new(),
        ended_before: None,
    };
    Command { actor: Actor::Worker("local".to_owned()), trace: None, ask: Ask::ReportAttempt(report) }
}

/// A chain of no-ops, with a sequencer that the test drives.
struct Chain {
    world: World,
    sequencer: Sequencer,
    catalog: Arc<Catalog>,
}

impl Chain {
    fn new(way: NoopMode) -> Self {
        let steps: String = (0..STEPS)
            .map(|number| match number {
                0 => "      s0: { action: core.noop }\n".to_owned(),
                _ => format!("      s{number}: {{ action: core.noop, needs: [s{}] }}\n", number - 1),
            })
            .collect();
        let chain = format!("run:\n  workflow:\n    steps:\n{steps}");
        let catalog = Arc::new(catalog_with([("actions/chain.yaml", chain)]));
        let mut world = World::new();
        let log = world.log.take().unwrap();
        let parts = SequencerParts {
            engine: Engine::new(log.id()),
            head: Head::default(),
            log: Box::new(log),
            clock: world.clock.clone(),
            catalogs: Arc::new(One(catalog.clone())),
            settings: Settings::default(),
            rates: BTreeMap::new(),
            listener: Box::new(Runs { handle: world.handle.clone(), way }),
            space: Box::new(world.room.clone()),
            plain: crate::plain_body::plain,
            snapshots: untaken(world.folder.path()),
            crash_file: world.folder.path().join("crash.json"),
        };
        let mut sequencer = world.unstarted.take().unwrap().with(parts);
        let installed = world.submit(installing(&catalog));
        while sequencer.turn().unwrap() == Turn::Taken {}
        installed.recv().unwrap().unwrap();
        Self { world, sequencer, catalog }
    }

    fn request(&self) -> Receiver<Result<CommitReceipt, SubmitError>> {
        let action = self.catalog.actions().iter().find(|(name, _)| name.as_str() == "demo.chain").unwrap().1;
        self.world.submit(Ask::RequestExecution(RequestExecution {
            action: action.name.clone(),
            definition: action.clone(),
            catalog: self.catalog.revision(),
            body: Body::json("{}"),
            params: Document::parse(Bytes::from_static(b"{}")).unwrap(),
            start_at: None,
            labels: BTreeMap::new(),
            rerun: None,
        }))
    }

    /// Takes turns until nothing is left to do, and returns how many commits that took.
    fn run(&mut self) -> u64 {
        let before = self.world.faults.appends();
        while self.sequencer.turn().unwrap() == Turn::Taken {}
        self.world.faults.appends() - before
    }

    fn kinds(&self) -> Vec<&'static str> {
        let records = self.world.reader.read(Position(0), ReadLimit { records: usize::MAX, bytes: usize::MAX }).unwrap();
        records.iter().map(Record::kind).collect()
    }
}

#[test]
fn chain_of_no_ops_takes_few_commits_and_has_the_same_records() {
    let (mut later, mut at_once) = (Chain::new(NoopMode::Later), Chain::new(NoopMode::AtOnce));
    let told = [later.request(), at_once.request()];
    let commits = (later.run(), at_once.run());
    assert!(told.iter().all(|told| told.recv().unwrap().is_ok()));
    assert_eq!(commits, (STEPS as u64 + 1, STEPS.div_ceil(ENDED_MAX + 1) as u64));
    assert_eq!(at_once.kinds(), later.kinds());
    assert_eq!(at_once.kinds().last(), Some(&"execution.succeeded"));
    at_once.world.the_log_holds(later.kinds().len() as u64);
}

#[test]
fn caller_is_not_rejected_because_of_what_follows_from_its_command() {
    for fault in [AppendFault::Refused, AppendFault::Full] {
        let mut chain = Chain::new(NoopMode::AtOnce);
        let next = chain.world.faults.appends() + 1;
        chain.world.faults.fail_append_at(next, fault);
        let told = chain.request();
        chain.run();
        assert!(told.recv().unwrap().is_ok(), "{fault:?}");
        assert_eq!(chain.kinds().last(), Some(&"execution.succeeded"), "{fault:?}");
    }
}

#[test]
fn nothing_has_ended_if_the_batch_is_not_written() {
    let mut chain = Chain::new(NoopMode::AtOnce);
    let (next, before) = (chain.world.faults.appends() + 1, chain.kinds());
    chain.world.faults.fail_append_at(next, AppendFault::Full);
    chain.world.faults.fail_append_at(next + 1, AppendFault::Full);
    let told = chain.request();
    chain.run();
    assert!(matches!(told.recv().unwrap(), Err(SubmitError::StorageFull)));
    assert_eq!((chain.kinds(), chain.sequencer.engine().executions().open_work()), (before, 0));
}

#[test]
fn report_that_the_log_refuses_is_left_to_the_worker() {
    let mut chain = Chain::new(NoopMode::Refused);
    let told = chain.request();
    assert_eq!(chain.run(), STEPS as u64 + 1);
    assert!(told.recv().unwrap().is_ok());
    assert_eq!(chain.kinds().last(), Some(&"execution.succeeded"));
}
