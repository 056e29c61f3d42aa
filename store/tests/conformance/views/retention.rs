//! Removing what ended long ago: rows that belong together are removed together, rows that something waits
//! for stay, and the rest is as if nothing had been removed.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_engine::dead_letters::facts::DeadLetterDismissed;
use ensue_engine::executions::facts::{ExecutionCancelled, ExecutionRequested, ExecutionSucceeded, Failure, FailureKind, Pace};
use ensue_engine::health::facts::{ClockStepped, ReactionParked, ReactionRetried};
use ensue_engine::ids::{ExecutionId, Id};
use ensue_engine::record::{Actor, Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_test_support::story::Story;
use ensue_test_support::{NOON, single};
use ensue_views::store::Order;
use ensue_views::view_retention::{ENDED_AT_ONCE, ROWS_AT_ONCE, RemovalCounts, Round, ViewRetention, Walk};
use ensue_views::{Artifact, DeadLetter, Execution, Inquiry, ListQuery, ParkedReaction, Projector, Row, RowReach, ViewName};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Subject, on_every_view_store};

on_every_view_store! {
    expired_execution_is_removed_with_its_own_rows_and_no_others
    nothing_is_removed_without_a_configured_age
    open_dead_letter_keeps_its_execution_until_it_is_handled
    parked_reaction_keeps_the_executions_that_were_open_then
    rerun_execution_stays_as_long_as_its_rerun
    workflow_is_removed_as_a_unit_once_the_outermost_one_expired
    large_workflow_is_removed_in_rounds_outermost_first
    clock_step_removes_nothing_early
    late_record_does_not_restore_a_removed_execution
    list_continues_after_a_removed_row
    round_is_bounded_and_a_walk_removes_everything_due
    kept_executions_do_not_hide_removable_ones
    walk_leaves_the_fold_of_the_log_without_expired_rows
}

const HOUR: Duration = Duration::from_secs(3_600);

fn keeping(age: Duration) -> ViewRetention {
    ViewRetention { executions: Some(age) }
}

/// An execution of one attempt that has succeeded.
fn add_succeeded(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.gave_away(execution, attempt, "gate.csv");
    story.succeed(execution, attempt);
    execution
}

fn add_failed(story: &mut Story) -> ExecutionId {
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.fail(execution, attempt, Failure::new(FailureKind::ExitCode, "it stuck"));
    execution
}

/// An execution with this number and without a rule, made of steps, which may itself be a step.
fn add_request(story: &mut Story, number: u128, pace: Pace, part_of: Option<ExecutionId>) -> ExecutionId {
    add_request_or_rerun(story, number, (pace, part_of), None)
}

/// The same, which may be a rerun.
fn add_request_or_rerun(
    story: &mut Story,
    number: u128,
    (pace, part_of): (Pace, Option<ExecutionId>),
    rerun_of: Option<ExecutionId>,
) -> ExecutionId {
    let id = ExecutionId(Id::root(NOON, 1_000_000 + number));
    let fact = ExecutionRequested { part_of: part_of.map(part), rerun_of, pace, ..single::execution_request("garden.tend") };
    story.append_fact(StreamId::Execution(id), Some(id.0), Actor::Engine, None, fact.into(), None);
    id
}

fn part(workflow: ExecutionId) -> PartOf {
    PartOf { workflow, step: "weed".parse().unwrap(), item: None, on_failure: Default::default(), role: PartRole::Step }
}

fn add_end(story: &mut Story, execution: ExecutionId, part_of: Option<ExecutionId>) {
    let fact = ExecutionSucceeded { part_of: part_of.map(part) };
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, fact.into(), None);
}

/// Advances the time, recorded by one more event.
fn later(story: &mut Story, time: Duration) {
    story.later(u64::try_from(time.as_millis()).unwrap());
    story.event("garden.knocked", "{}");
}

fn fold(subject: &mut Subject, story: &Story) {
    Projector::new().advance(&mut *subject.store, story.records()).unwrap();
}

/// Walks once, and returns the number of rounds.
fn walk(subject: &mut Subject, retention: ViewRetention) -> usize {
    let mut walk = Walk::default();
    let mut rounds = 1;
    while walk.round(&mut *subject.store, retention, Duration::ZERO).unwrap() == Round::More {
        rounds += 1;
    }
    rounds
}

fn keys(subject: &Subject, view: ViewName) -> BTreeSet<String> {
    subject.dump().into_iter().filter(|(of, _)| *of == view).map(|(_, row)| row.key).collect()
}

fn executions(subject: &Subject) -> BTreeSet<String> {
    keys(subject, ViewName::Executions)
}

fn set(ids: &[ExecutionId]) -> BTreeSet<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn expired_execution_is_removed_with_its_own_rows_and_no_others(subject: &mut Subject) {
    let mut story = Story::new();
    let old = add_succeeded(&mut story);
    later(&mut story, HOUR);
    let young = add_succeeded(&mut story);
    let event = story.event("garden.rained", "{}");
    let open = story.execute("garden.greet", event, "garden.speak");
    fold(subject, &story);
    let before: Vec<(ViewName, Row)> = subject.dump();
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[young, open]));
    let gone: Vec<ViewName> = {
        let after = subject.dump();
        before.iter().filter(|row| !after.contains(row)).map(|(view, _)| *view).collect()
    };
    assert_eq!(gone, [ViewName::Enforcements, ViewName::Executions, ViewName::Artifacts]);
    assert_eq!(subject.reader.get(ViewName::Executions, &old.to_string()).unwrap(), None);
    assert_eq!(
        (subject.store.removal_counts(), subject.reader.removal_counts().unwrap()),
        (RemovalCounts { executions: 1, rows: 3 }, subject.store.removal_counts())
    );
    subject.store.clear().unwrap();
    assert_eq!((subject.store.removal_counts(), subject.store.elapsed().micros()), (RemovalCounts::default(), 0));
    assert_eq!(subject.store.ended_executions(i64::MAX, None, 10).unwrap(), []);
}

fn rerun_execution_stays_as_long_as_its_rerun(subject: &mut Subject) {
    let mut story = Story::new();
    let first = add_request(&mut story, 1, Pace::Worked, None);
    add_end(&mut story, first, None);
    later(&mut story, HOUR * 2);
    let again = add_request_or_rerun(&mut story, 2, (Pace::Worked, None), Some(first));
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[first, again]));
    add_end(&mut story, again, None);
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[first]));
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[]));
}

fn nothing_is_removed_without_a_configured_age(subject: &mut Subject) {
    let mut story = Story::new();
    add_succeeded(&mut story);
    later(&mut story, HOUR * 100_000);
    fold(subject, &story);
    let before = subject.dump();
    assert_eq!(walk(subject, ViewRetention::default()), 1);
    assert_eq!(subject.dump(), before);
}

fn open_dead_letter_keeps_its_execution_until_it_is_handled(subject: &mut Subject) {
    let mut story = Story::new();
    let failed = add_failed(&mut story);
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!((executions(subject), keys(subject, ViewName::DeadLetters)), (set(&[failed]), set(&[failed])));
    let dismissed = DeadLetterDismissed { of: failed.0 };
    story.append_fact(StreamId::Log(story.log()), None, Actor::Token("ana".into()), None, dismissed.into(), None);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!((executions(subject), keys(subject, ViewName::DeadLetters)), (set(&[]), set(&[])));
}

fn parked_reaction_keeps_the_executions_that_were_open_then(subject: &mut Subject) {
    let mut story = Story::new();
    let before = add_succeeded(&mut story);
    let event = story.event("garden.rained", "{}");
    let during = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(during);
    let of = Position(story.records().len() as u64);
    let parked = ReactionParked { of, next: 0, error: "it stumbled".into() };
    story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, parked.into(), None);
    story.succeed(during, attempt);
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    assert_eq!(keys(subject, ViewName::ParkedReactions).len(), 1);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[during]), "and not {before}");
    story.append_fact(StreamId::Log(story.log()), None, Actor::Token("ana".into()), None, ReactionRetried { of }.into(), None);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[]));
}

fn workflow_is_removed_as_a_unit_once_the_outermost_one_expired(subject: &mut Subject) {
    let mut story = Story::new();
    let outermost = add_request(&mut story, 1, Pace::InSteps, None);
    let inner = add_request(&mut story, 2, Pace::InSteps, Some(outermost));
    let innermost = add_request(&mut story, 3, Pace::Worked, Some(inner));
    let inquiry = add_request(&mut story, 4, Pace::Asks, Some(outermost));
    story.open_inquiry(inquiry, &["ana"], Some(part(outermost)));
    let cancelled = ExecutionCancelled { error: None, part_of: Some(part(outermost)), by: None };
    story.append_fact(StreamId::Execution(inquiry), None, Actor::Engine, None, cancelled.into(), None);
    add_end(&mut story, innermost, Some(inner));
    add_end(&mut story, inner, Some(outermost));
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    let all = set(&[outermost, inner, innermost, inquiry]);
    assert_eq!(executions(subject), all, "the outermost is open");
    add_end(&mut story, outermost, None);
    later(&mut story, HOUR / 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), all, "it has ended not long ago");
    later(&mut story, HOUR / 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!((executions(subject), keys(subject, ViewName::Inquiries)), (set(&[]), set(&[])));
    assert_eq!(subject.store.removal_counts(), RemovalCounts { executions: 4, rows: 5 });
}

fn large_workflow_is_removed_in_rounds_outermost_first(subject: &mut Subject) {
    let parts = 2 * ROWS_AT_ONCE + ROWS_AT_ONCE / 2;
    let mut story = Story::new();
    let outermost = add_request(&mut story, 1, Pace::InSteps, None);
    let inner = add_request(&mut story, 2, Pace::InSteps, Some(outermost));
    let parts: Vec<ExecutionId> = (0..parts as u128).map(|number| add_request(&mut story, 3 + number, Pace::AtOnce, Some(inner))).collect();
    for part in &parts {
        add_end(&mut story, *part, Some(inner));
    }
    add_end(&mut story, inner, Some(outermost));
    add_end(&mut story, outermost, None);
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    let mut sizes = Vec::new();
    let mut before = executions(subject).len();
    // Each round belongs to a walk of its own, as after a kill.
    while before > 0 {
        Walk::default().round(&mut *subject.store, keeping(HOUR), Duration::ZERO).unwrap();
        let left = executions(subject);
        assert!(!left.contains(&outermost.to_string()), "nobody sees a part of it");
        assert!(left.is_empty() || left.contains(&inner.to_string()), "what others are found by goes after them");
        sizes.push(before - left.len());
        before = left.len();
    }
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= ROWS_AT_ONCE), "{sizes:?}");
    assert_eq!(subject.store.ended_executions(i64::MAX, None, 10).unwrap(), []);
}

fn clock_step_removes_nothing_early(subject: &mut Subject) {
    let mut story = Story::new();
    let execution = add_succeeded(&mut story);
    let year = HOUR * 24 * 365;
    let year = i64::try_from(year.as_micros()).unwrap();
    for by in [year, -year / 2] {
        let from = story.now();
        story.go_on_at(Timestamp::from_micros(from.micros() + by));
        let step = ClockStepped { from, to: story.now() };
        story.append_fact(StreamId::Log(story.log()), None, Actor::Engine, None, step.into(), None);
        later(&mut story, HOUR / 4);
        fold(subject, &story);
        walk(subject, keeping(HOUR));
        assert_eq!(executions(subject), set(&[execution]));
    }
    later(&mut story, HOUR / 2);
    fold(subject, &story);
    walk(subject, keeping(HOUR));
    assert_eq!(executions(subject), set(&[]));
}

fn late_record_does_not_restore_a_removed_execution(subject: &mut Subject) {
    let mut story = Story::new();
    let execution = add_succeeded(&mut story);
    later(&mut story, HOUR * 2);
    let mut projector = Projector::new();
    projector.advance(&mut *subject.store, story.records()).unwrap();
    walk(subject, keeping(HOUR));
    let before = subject.dump().len();
    story.cancel(execution);
    story.expire(execution);
    let dismissed = DeadLetterDismissed { of: execution.0 };
    story.append_fact(StreamId::Log(story.log()), None, Actor::Token("ana".into()), None, dismissed.into(), None);
    projector.advance(&mut *subject.store, story.records()).unwrap();
    assert_eq!(executions(subject), set(&[]));
    // An end that failed always creates a dead letter, and the audit has a row of the dismissal.
    assert!(subject.dump().len() <= before + 2);
}

fn list_continues_after_a_removed_row(subject: &mut Subject) {
    let mut story = Story::new();
    let all: Vec<ExecutionId> = (0..4).map(|_| add_succeeded(&mut story)).collect();
    later(&mut story, HOUR);
    let young = add_succeeded(&mut story);
    fold(subject, &story);
    let first = ListQuery { order: Order::OldestFirst, limit: 2, ..ListQuery::newest(ViewName::Executions, RowReach::Everything) };
    let seen = subject.reader.list(&first).unwrap();
    assert_eq!(seen.iter().map(|row| row.key.clone()).collect::<BTreeSet<_>>(), set(&all[..2]));
    walk(subject, keeping(HOUR));
    let next = ListQuery { after: Some(seen[1].position), ..first };
    assert_eq!(subject.reader.list(&next).unwrap().iter().map(|row| row.key.clone()).collect::<BTreeSet<_>>(), set(&[young]));
}

fn round_is_bounded_and_a_walk_removes_everything_due(subject: &mut Subject) {
    let mut story = Story::new();
    for _ in 0..ROWS_AT_ONCE / 2 {
        add_succeeded(&mut story);
    }
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    let mut walk = Walk::default();
    let mut rounds = 0;
    loop {
        let before = subject.store.removal_counts().rows;
        let round = walk.round(&mut *subject.store, keeping(HOUR), Duration::ZERO).unwrap();
        assert!(subject.store.removal_counts().rows - before <= ROWS_AT_ONCE as u64);
        rounds += 1;
        if round == Round::Over {
            break;
        }
    }
    assert_eq!((rounds, executions(subject)), (2, set(&[])));
}

fn kept_executions_do_not_hide_removable_ones(subject: &mut Subject) {
    let mut story = Story::new();
    let kept: Vec<ExecutionId> = (0..=ENDED_AT_ONCE).map(|_| add_failed(&mut story)).collect();
    add_succeeded(&mut story);
    later(&mut story, HOUR * 2);
    fold(subject, &story);
    assert_eq!(walk(subject, keeping(HOUR)), 2);
    assert_eq!(executions(subject), set(&kept));
    assert_eq!(walk(subject, keeping(HOUR)), 2, "nothing more goes");
}

/// Computes which rows of a whole fold are left after a walk, in the plainest way: by looking through all of
/// them.
fn rows_left(all: &[(ViewName, Row)], now_micros: i64, age: Duration) -> Vec<(ViewName, Row)> {
    fn read<V: ensue_views::View>(all: &[(ViewName, Row)]) -> Vec<V> {
        all.iter().filter(|(view, _)| *view == V::NAME).map(|(_, row)| row.read().unwrap()).collect()
    }
    assert!(read::<ParkedReaction>(all).is_empty(), "a story has none");
    let open: BTreeSet<Id> = read::<DeadLetter>(all).iter().filter(|letter| letter.settled.is_none()).map(|letter| letter.id).collect();
    let until = now_micros - i64::try_from(age.as_micros()).unwrap();
    let is_due = |execution: &Execution| execution.ended_at.is_some_and(|ended| ended.micros() <= until) && !open.contains(&execution.id.0);
    let due: Vec<Execution> = read::<Execution>(all).into_iter().filter(is_due).collect();
    let ids: BTreeSet<ExecutionId> = due.iter().map(|execution| execution.id).collect();
    let mut gone: BTreeSet<(ViewName, String)> = BTreeSet::new();
    for execution in &due {
        gone.insert((ViewName::Executions, execution.id.to_string()));
        gone.insert((ViewName::DeadLetters, execution.id.to_string()));
        gone.extend(execution.enforcement.map(|enforcement| (ViewName::Enforcements, enforcement.to_string())));
    }
    let artifacts = read::<Artifact>(all).into_iter().filter(|one| ids.contains(&one.execution));
    gone.extend(artifacts.map(|one| (ViewName::Artifacts, one.id.to_string())));
    let inquiries = read::<Inquiry>(all).into_iter().filter(|one| ids.contains(&one.execution));
    gone.extend(inquiries.map(|one| (ViewName::Inquiries, one.id.to_string())));
    all.iter().filter(|(view, row)| !gone.contains(&(*view, row.key.clone()))).cloned().collect()
}

/// Whenever walks happen and whenever the follower starts again, the result is the same.
fn walk_leaves_the_fold_of_the_log_without_expired_rows(subject: &mut Subject) {
    let mut runner = TestRunner::new(Config { cases: 32, ..Config::with_source_file(file!()) });
    let story = proptest::collection::vec(any::<u8>(), 0..400);
    let batches = proptest::collection::vec((1..40usize, any::<bool>(), any::<bool>()), 1..60);
    let subject = std::cell::RefCell::new(subject);
    runner
        .run(&(story, batches, 0..60u64), |(choices, batches, seconds)| {
            let subject = &mut *subject.borrow_mut();
            subject.store.clear().unwrap();
            let age = Duration::from_secs(seconds);
            let story = Story::walk(&choices);
            let (mut projector, mut between) = (Projector::new(), Walk::default());
            let mut rest = story.records();
            for (size, starts_anew, walks) in batches.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                if *starts_anew {
                    (projector, between) = (Projector::new(), Walk::default());
                }
                let (batch, after) = rest.split_at(rest.len().min(*size));
                projector.advance(&mut *subject.store, batch).unwrap();
                rest = after;
                if *walks {
                    between.round(&mut *subject.store, keeping(age), Duration::ZERO).unwrap();
                }
            }
            walk(subject, keeping(age));
            let mut whole = Subject::in_memory();
            let Some(last) = story.records().last() else { return Ok(()) };
            fold(&mut whole, &story);
            prop_assert_eq!(subject.dump(), rows_left(&whole.dump(), last.time.micros(), age));
            Ok(())
        })
        .unwrap();
}
