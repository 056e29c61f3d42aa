//! Invariants that hold for all requests in any order: random commands, followed by checks.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::access::principal::Principal;
use ensue_engine::effect::Effect;
use ensue_engine::engine::Engine;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::executions::facts::{ExecutionRequested, Pace};
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{AttemptId, ExecutionId, Id, TokenId};
use ensue_engine::locks::facts::Lock;
use ensue_engine::locks::state::Standing;
use ensue_engine::names::{PackName, RuleRef};
use ensue_engine::record::{Actor, Head, Record, StreamId, verify_link};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::note_start;
use crate::support::random::{World, gave_up, step, steps};

fn fold(records: &[Record]) -> Engine {
    let mut engine = Engine::new(records[0].log);
    records.iter().for_each(|record| engine.apply(record));
    engine.commit();
    engine
}

/// The sum of all effects: each running attempt, and whether it must stop.
fn sum(effects: &[Effect]) -> BTreeMap<AttemptId, (Effect, bool)> {
    let mut owed: BTreeMap<AttemptId, (Effect, bool)> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Dispatch(dispatch) => {
                assert!(owed.insert(dispatch.attempt, (effect.clone(), false)).is_none(), "an attempt was dispatched twice");
            }
            Effect::Stop { attempt, .. } => owed.get_mut(attempt).expect("what is stopped was dispatched").1 = true,
            Effect::Release { attempt, .. } => drop(owed.remove(attempt)),
            // The start of a node asks for the runs of sensors again.
            Effect::RunSensor(_) | Effect::StopSensor { .. } => {}
        }
    }
    owed
}

/// Checks by the records alone that nothing was requested whose principal could not request it at its position.
fn check_rights(records: &[Record]) -> Result<(), TestCaseError> {
    let mut permitted: BTreeMap<PackName, Vec<String>> = BTreeMap::new();
    let mut tokens: BTreeMap<TokenId, (String, bool)> = BTreeMap::new();
    let mut requested: BTreeMap<ExecutionId, (&ExecutionRequested, Option<Principal>)> = BTreeMap::new();
    for record in records {
        match &record.fact {
            Fact::PackPermissionsSet(fact) => {
                permitted.remove(&fact.name);
                permitted.extend(fact.permissions.clone().map(|list| (fact.name.clone(), list)));
            }
            Fact::TokenAdded(fact) => {
                let executes = fact.roles.iter().any(|role| ["admin", "operator", "author"].contains(&role.as_str()));
                tokens.insert(fact.id, (fact.name.clone(), executes));
            }
            Fact::TokenRevoked(fact) => drop(tokens.remove(&fact.id)),
            Fact::ExecutionRequested(fact) => {
                let StreamId::Execution(id) = record.stream else { continue };
                let principal = fact.principal(&record.actor);
                requested.insert(id, (fact, principal.clone()));
                let pack_may = |pack: &PackName, action: &str| {
                    let is_own = action.split('.').next() == Some(pack.as_str());
                    // No other permission of these tests is about actions, and it covers the only action of the other pack.
                    let has = permitted.get(pack).is_none_or(|list| list.iter().any(|one| one.starts_with("actions:execute")));
                    is_own || action == "core.wait" || has
                };
                let may = |principal: &Principal, action: &str| match principal {
                    Principal::Pack(pack) => pack_may(pack, action),
                    Principal::Token(name) => tokens.values().any(|(token, executes)| token == name && *executes),
                    Principal::Identity(_) => false,
                };
                let action = fact.action.as_str();
                let Some(principal) = principal.filter(|_| record.actor == Actor::Engine) else { continue };
                if let Some((workflow, caller)) = fact.part_of.as_ref().and_then(|part_of| requested.get(&part_of.workflow)) {
                    let pack =
                        workflow.rule.as_ref().filter(|_| workflow.given.is_some()).map_or_else(|| workflow.action.pack(), RuleRef::pack);
                    prop_assert!(pack_may(&pack, action), "{pack} ran {action} at {}", record.position);
                    let as_caller = workflow.action.as_str() == "demo.caller";
                    let expected = if as_caller { caller.clone() } else { Some(Principal::Pack(pack)) };
                    prop_assert_eq!(Some(&principal), expected.as_ref());
                    prop_assert!(!as_caller || may(&principal, action), "{principal} ran {action} at {}", record.position);
                } else {
                    prop_assert!(may(&principal, action), "{principal} ran {action} at {}", record.position);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_places(records: &[Record]) -> Result<(), TestCaseError> {
    let mut head = Head::default();
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for record in records {
        head = verify_link(head, record).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let last = revisions.entry(record.stream.to_string()).or_default();
        prop_assert_eq!(record.revision.0, *last + 1, "revision in {}", record.stream);
        *last += 1;
        prop_assert!(ids.insert(record.id), "the id {} was given twice", record.id);
        let parent = record.cause.parent;
        prop_assert!(parent.is_none_or(|parent| ids.contains(&parent)), "{record:?} comes before its cause");
    }
    Ok(())
}

/// Checks that each matching rule decided once: with an enforcement, or a stopped loop.
fn check_decisions(records: &[Record], parked: bool) -> Result<(), TestCaseError> {
    let mut decisions = BTreeSet::new();
    let mut by_event: BTreeMap<Id, u32> = BTreeMap::new();
    for record in records {
        let (rule, event) = match &record.fact {
            Fact::EnforcementMade(made) => (made.rule_id, made.event),
            Fact::LoopStopped(stopped) => (stopped.rule_id, stopped.event),
            _ => continue,
        };
        prop_assert!(decisions.insert((rule, event)), "a rule decided twice on one event");
        *by_event.entry(event.0).or_default() += 1;
    }
    for record in records {
        if let Fact::EventReceived(event) = &record.fact {
            let decided = by_event.get(&record.id).copied().unwrap_or(0);
            // A rule that reads vars is decided with their values at that moment: it may match.
            let most = event.matched + event.undecided;
            let is_right = (event.matched..=most).contains(&decided) || parked && decided < event.matched;
            prop_assert!(is_right, "{} of {} to {} decided", decided, event.matched, most);
        }
    }
    Ok(())
}

/// Checks that each error has its own record, is in a summary, or waits for the next summary.
fn check_errors(records: &[Record], engine: &Engine, parked: bool) -> Result<(), TestCaseError> {
    let (mut erred, mut undecided) = (0, 0);
    let mut reported = 0;
    let mut waiting = 0;
    for record in records {
        match &record.fact {
            Fact::EventReceived(event) => {
                erred += u64::from(event.erred);
                undecided += u64::from(event.undecided);
            }
            Fact::RuleErred(first) => {
                reported += 1;
                waiting += engine.rules().way(first.rule_id, first.error).map_or(0, |(_, way)| way.uncounted);
            }
            Fact::RuleErrorsCounted(counted) => reported += counted.count,
            _ => {}
        }
    }
    let is_right = (erred..=erred + undecided).contains(&(reported + waiting)) || parked && reported + waiting < erred;
    prop_assert!(is_right, "{reported} reported, {waiting} waiting, {erred} erred, {undecided} undecided");
    prop_assert_eq!(engine.rules().next_due().is_some(), waiting > 0, "what waits to be counted is due at a time");
    Ok(())
}

fn check_ends(records: &[Record]) -> Result<(), TestCaseError> {
    let mut ended = BTreeSet::new();
    let mut tokens = BTreeSet::new();
    for record in records {
        prop_assert!(!ended.contains(&record.stream), "{} continued after its end", record.stream);
        match &record.fact {
            Fact::ExecutionSucceeded(_) | Fact::ExecutionFailed(_) | Fact::ExecutionTimedOut(_) | Fact::ExecutionCancelled(_) => {
                ended.insert(record.stream.clone());
            }
            Fact::AttemptStarted(started) => {
                prop_assert!(tokens.last().is_none_or(|last| *last < started.token), "a token that is not larger than all before");
                tokens.insert(started.token);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that no lock exceeds its limit, that nothing waits for a free one once all reactions are handled,
/// and that the tables agree with the open executions.
fn check_locks(engine: &Engine, at_rest: bool) -> Result<(), TestCaseError> {
    let locks = engine.locks();
    let (mut holders, mut waiters): (BTreeMap<Lock, BTreeSet<ExecutionId>>, BTreeMap<Lock, BTreeSet<ExecutionId>>) = Default::default();
    let (mut holding, mut waiting) = (0, 0);
    for (id, claimant) in locks.claimants() {
        let execution = engine.executions().get(id);
        let Some(execution) = execution else { return Err(TestCaseError::fail(format!("{id} has ended, and has a claim"))) };
        prop_assert_eq!(claimant.awaits().is_some(), execution.phase == Phase::Blocked, "{} {:?}", id, claimant);
        for claim in claimant.claims.iter().take(claimant.held.len()) {
            holders.entry(claim.lock()).or_default().insert(*id);
            holding += 1;
        }
        waiting += usize::from(claimant.awaits().is_some());
        if let (Some(claim), Standing::Waiting { .. }) = (claimant.awaits(), claimant.standing) {
            waiters.entry(claim.lock()).or_default().insert(*id);
        }
    }
    prop_assert_eq!(locks.totals(), (holding, waiting));
    for lock in holders.keys().chain(waiters.keys()) {
        let (held, awaited) = (holders.get(lock).cloned().unwrap_or_default(), waiters.get(lock).cloned().unwrap_or_default());
        let limit = locks.limit(&lock.owner).unwrap() as usize;
        prop_assert_eq!(&locks.holders(lock).collect::<BTreeSet<_>>(), &held);
        prop_assert_eq!(&locks.waiters(lock).collect::<BTreeSet<_>>(), &awaited);
        prop_assert!(held.len() <= limit, "{} hold {lock:?}, {limit} may", held.len());
        prop_assert!(!at_rest || awaited.is_empty() || held.len() == limit, "{lock:?} is free, and {awaited:?} wait");
    }
    let blocked = engine.executions().iter().filter(|(_, execution)| execution.phase == Phase::Blocked).count();
    prop_assert_eq!(blocked, waiting);
    Ok(())
}

/// Checks that each key that a rule remembers has one age, and that each rule counts its keys.
fn check_flows(engine: &Engine) -> Result<(), TestCaseError> {
    let saved: serde_json::Value = serde_json::from_slice(&engine.save().json).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let rows = |table: &str| saved["flows"][table].as_array().map(Vec::len);
    prop_assert_eq!(rows("ages"), rows("keys"), "ages and keys");
    let counted: u32 = engine.flows().rules().flat_map(|(_, of)| of.keys.values()).sum();
    prop_assert_eq!(rows("keys"), Some(counted as usize), "keys and their count");
    Ok(())
}

/// Checks that each open execution is listed in the table of its phase, and in no other.
fn check_lists(engine: &Engine) -> Result<(), TestCaseError> {
    let saved: serde_json::Value = serde_json::from_slice(&engine.save().json).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let executions = &saved["executions"];
    let rows = |table: &serde_json::Value, column: usize| {
        let rows = table.as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| row[column].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let by_id = ["running", "at_once", "idle", "indeterminate"];
    let listed = by_id.iter().flat_map(|table| rows(&executions[*table], 0).into_iter().map(|id| (id, *table)));
    let waiting = [&executions["queues"]["waiting"], &executions["aside"]].into_iter().flat_map(|table| rows(table, 1));
    let mut listed: Vec<(String, &str)> = listed.chain(waiting.map(|id| (id, "waiting"))).collect();
    listed.sort_unstable();
    let expected = engine.executions().iter().filter_map(|(id, execution)| {
        let table = match (execution.phase, execution.pace) {
            (Phase::Queued, Pace::Worked) => "waiting",
            (Phase::Running(_) | Phase::Cancelling { .. }, Pace::Worked) => "running",
            (Phase::Running(_) | Phase::Cancelling { .. }, _) => "at_once",
            (Phase::Indeterminate { .. }, _) => "indeterminate",
            (Phase::Delayed | Phase::Asleep | Phase::Asking | Phase::Awaiting | Phase::Woken | Phase::InSteps { .. }, _) => "idle",
            (Phase::Queued | Phase::Blocked | Phase::Settled { .. } | Phase::Withdrawn(_) | Phase::Ending { .. }, _) => return None,
        };
        Some((id.to_string(), table))
    });
    let mut expected: Vec<(String, &str)> = expected.collect();
    expected.sort_unstable();
    prop_assert_eq!(listed, expected);
    Ok(())
}

/// Checks that each dead letter is open until it is handled, which happens to each at most once except by a
/// rerun.
fn check_dead_letters(records: &[Record], engine: &Engine) -> Result<(), TestCaseError> {
    let mut open = BTreeSet::new();
    for record in records {
        open.extend(gave_up(record));
        match &record.fact {
            Fact::ExecutionRequested(fact) => drop(fact.rerun_of.map(|of| open.remove(&of.0))),
            Fact::DeadLetterRetried(fact) => prop_assert!(open.remove(&fact.of), "{} was dealt with before", fact.of),
            Fact::DeadLetterDismissed(fact) => prop_assert!(open.remove(&fact.of), "{} was dealt with before", fact.of),
            _ => {}
        }
    }
    prop_assert_eq!(open.len(), engine.dead_letters().count());
    prop_assert!(open.iter().all(|letter| engine.dead_letters().is_open(*letter)));
    Ok(())
}

/// Checks that the queues agree with the open executions, and that nothing waits in a queue with a free slot
/// once all reactions are handled.
fn check_queues(world: &World, at_rest: bool) -> Result<(), TestCaseError> {
    let executions = world.site.engine().executions();
    let queues = executions.queues();
    let mut waiting_in_all = 0;
    for (queue, workers) in world.site.settings().worker_queues() {
        let of_queue = |id: &ExecutionId| executions.get(id).filter(|execution| execution.queue == *queue);
        let working = executions.at_work().filter(|(id, _)| of_queue(id).is_some()).count();
        prop_assert_eq!(queues.working_count(queue) as usize, working, "{}", queue);
        let waiting: Vec<ExecutionId> = queues.waiting(queue).map(|(_, id)| id).collect();
        prop_assert_eq!(queues.waiting_count(queue), waiting.len());
        for id in &waiting {
            prop_assert_eq!(of_queue(id).map(|execution| (execution.phase, execution.pace)), Some((Phase::Queued, Pace::Worked)));
        }
        let oldest = waiting.iter().min_by_key(|id| executions.get(id).map(|execution| execution.place.1));
        prop_assert_eq!(queues.oldest(queue), oldest.copied());
        let may_start = queues.may_start(queue, workers, world.site.settings());
        prop_assert!(!at_rest || waiting.is_empty() || may_start == 0, "{} wait in {queue}, and {may_start} may start", waiting.len());
        waiting_in_all += waiting.len();
    }
    prop_assert_eq!(executions.queued_count(), waiting_in_all);
    Ok(())
}

/// Checks that each of the engine's own events is emitted once, and causes no other such event unless a
/// person reruns its execution.
fn check_internal_events(records: &[Record]) -> Result<(), TestCaseError> {
    let by_id: BTreeMap<Id, &Record> = records.iter().map(|record| (record.id, record)).collect();
    let own = |record: &Record| if let Fact::EventReceived(event) = &record.fact { InternalTrigger::of(&event.trigger) } else { None };
    let is_rerun = |record: &Record| matches!(&record.fact, Fact::ExecutionRequested(fact) if fact.rerun_of.is_some());
    // The cause of an execution is the cause of its request: its other records may also follow from something
    // that only let it continue, such as an end that freed a slot.
    let request = |record: &Record| match record.stream {
        StreamId::Execution(execution) => by_id.get(&execution.0).copied(),
        _ => None,
    };
    let above = |record: &Record| request(record).unwrap_or(record).cause.parent.and_then(|parent| by_id.get(&parent).copied());
    let is_run_again = |record: &Record| request(record).is_some_and(is_rerun);
    let mut reported = BTreeSet::new();
    for record in records {
        let Some(trigger) = own(record) else { continue };
        prop_assert!(reported.insert((trigger, record.cause.parent)), "{} was reported twice", trigger.as_str());
        let mut at = above(record);
        while let Some(led) = at.filter(|led| !is_run_again(led)) {
            prop_assert!(own(led) != Some(trigger), "{} was reported with its own consequences", trigger.as_str());
            at = above(led);
        }
    }
    Ok(())
}

/// Random commands are only worth what they reach.
#[test]
fn random_commands_produce_every_kind_of_fact() {
    const RUNS: usize = 500;
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..RUNS {
        let mut world = World::new();
        for step in steps().new_tree(&mut runner).unwrap().current() {
            world.take(&step);
        }
        world.rest();
        let kinds: BTreeSet<&str> = world.site.records().iter().map(Record::kind).collect();
        kinds.into_iter().for_each(|kind| *reached.entry(kind).or_default() += 1);
    }
    let rare: Vec<_> =
        Fact::KINDS.iter().map(|(kind, _)| (*kind, reached.get(kind).copied().unwrap_or(0))).filter(|(_, runs)| *runs < 5).collect();
    assert_eq!(rare, Vec::new(), "kinds in fewer than 5 of {RUNS} runs");
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 100, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn invariants_hold_after_any_commands(steps in steps()) {
        let mut world = World::new();
        let mut was_parked = false;
        for step in &steps {
            world.take(step);
            was_parked |= world.site.engine().health().parked_reactions().next().is_some();
            prop_assert_eq!(sum(world.site.effects()), sum(&world.site.engine().owed_effects()));
            check_locks(world.site.engine(), false)?;
            check_queues(&world, false)?;
            check_lists(world.site.engine())?;
        }
        world.rest();
        was_parked |= world.site.engine().health().parked_reactions().next().is_some();
        let (records, engine) = (world.site.records(), world.site.engine());
        prop_assert_eq!(&fold(records), engine);
        check_places(records)?;
        check_decisions(records, was_parked)?;
        check_errors(records, engine, was_parked)?;
        check_ends(records)?;
        check_locks(engine, true)?;
        check_dead_letters(records, engine)?;
        check_internal_events(records)?;
        check_queues(&world, true)?;
        check_flows(engine)?;
        check_rights(records)?;
        prop_assert_eq!(sum(world.site.effects()), sum(&engine.owed_effects()));
    }

    #[test]
    fn restart_at_any_point_changes_nothing_that_follows(steps in steps(), at in any::<Index>()) {
        let [mut straight, mut restarted] = [World::new(), World::new()];
        let at = at.index(steps.len());
        for (number, step) in steps.iter().enumerate() {
            if number == at {
                restarted.site.restart();
            }
            straight.take(step);
            restarted.take(step);
        }
        straight.rest();
        restarted.rest();
        prop_assert_eq!(straight.site.engine(), restarted.site.engine());
        let reported = |world: &World| world.site.records().iter().map(|record| (record.id, record.fact.clone())).collect::<Vec<_>>();
        prop_assert_eq!(reported(&straight), reported(&restarted));
    }

    #[test]
    fn rolled_back_batch_leaves_the_committed_state(steps in steps(), undone in proptest::collection::vec(step(), 1..6)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        let (before, head) = (world.site.engine().clone(), world.site.head());
        for step in &undone {
            // Commands are created from the state of the batch: a command concerns what the previous one
            // changed.
            if let Some(command) = world.command(step) {
                let _ = world.site.offer(&command);
            }
        }
        world.site.undo();
        prop_assert_eq!(world.site.engine(), &before);
        prop_assert_eq!(world.site.engine().save(), before.save());
        world.site.when(note_start());
        prop_assert_eq!(&fold(world.site.records()), world.site.engine());
        prop_assert_eq!(world.site.records().iter().find(|record| record.position > head.position).map(|record| record.position), Some(head.position.next()));
        check_places(world.site.records())?;
    }
}
