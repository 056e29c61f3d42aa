//! Tests of inquiries: the assignees, the answers, and how each ended.

use ensue_engine::catalog::OnFailure;
use ensue_engine::executions::facts::{ExecutionSucceeded, ExecutionTimedOut, Failure, FailureKind};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, IdentityId, InquiryId};
use ensue_engine::inquiries::facts::{InquiryAnswered, InquiryDelegated, InquiryEscalated, InquiryReminded, InquiryWithdrawn, Verdict};
use ensue_engine::record::{Actor, StreamId};
use ensue_engine::timers::facts::{TimerFired, TimerKind};
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::inquiries::{COLUMNS, InquiryStatus, assignees_of, deputy};
use ensue_views::view::Term;
use ensue_views::{Column, Execution, Inquiry, View as _};

use crate::{fold, only};

fn asking(part_of: Option<PartOf>) -> (Story, ExecutionId) {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "core.inquiry");
    story.open_inquiry(execution, &["role:keepers", "ana"], part_of);
    (story, execution)
}

#[test]
fn inquiry_lists_its_assignees_and_is_found_by_each() {
    let (story, execution) = asking(None);
    let asked: Inquiry = only(story.records());
    assert_eq!((asked.status, asked.title.as_str(), asked.quorum, asked.execution), (InquiryStatus::Open, "Open the gate?", 2, execution));
    assert_eq!((asked.assignees.clone(), asked.excluded.clone()), (vec!["role:keepers".to_owned(), "ana".into()], vec!["eve".to_owned()]));
    assert!(asked.expires_at.is_some_and(|at| at > asked.opened_at));
    let at = COLUMNS.iter().position(|column| *column == Column::Assignee).unwrap();
    let found_by = |name: &str| asked.columns()[at].as_ref().unwrap().is_found_by(&Term::Text(name.into()));
    assert!(found_by("ana") && found_by("role:keepers") && !found_by("keepers") && !found_by("eve"));
    assert!(asked.asks("ana", &[]) && asked.asks("bo", &["keepers".into()]) && !asked.asks("bo", &["viewer".into()]));
    let shown: Execution = only(story.records());
    assert_eq!(shown.inquiry, Some(asked.id));
}

#[test]
fn name_of_a_token_is_distinguished_from_a_role() {
    assert_eq!(assignees_of("ana", &["keepers".into(), "viewer".into()]), ["ana", "role:keepers", "role:viewer"]);
}

#[test]
fn answers_are_in_order_and_the_last_required_one_decides() {
    let (mut story, execution) = asking(None);
    story.answer(execution, "ana", Verdict::Counts);
    let open: Inquiry = only(story.records());
    assert_eq!((open.status, open.decision().is_none(), open.ended_at), (InquiryStatus::Open, true, None));
    story.answer(execution, "bo", Verdict::Decides);
    let at = story.records().last().unwrap().time;
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, ExecutionSucceeded::default().into(), None);
    let decided: Inquiry = only(story.records());
    assert_eq!((decided.status, decided.ended_at), (InquiryStatus::Answered, Some(at)));
    let by: Vec<&str> = decided.answers.iter().map(|answer| answer.by.as_str()).collect();
    assert_eq!((by, decided.decision().map(|answer| answer.by.as_str())), (vec!["ana", "bo"], Some("bo")));
    assert!(decided.answers.iter().all(|answer| answer.answer.is_some()));
}

#[test]
fn inquiry_without_enough_answers_in_time_is_expired() {
    let (mut story, execution) = asking(None);
    story.answer(execution, "ana", Verdict::Counts);
    story.expire(execution);
    let expired: Inquiry = only(story.records());
    assert_eq!((expired.status, expired.ended_at.is_some(), expired.answers.len()), (InquiryStatus::Expired, true, 1));
}

#[test]
fn inquiry_of_a_timed_out_execution_is_expired() {
    let (mut story, execution) = asking(None);
    let error = Failure::new(FailureKind::Timeout, "it was not answered within 1h");
    story.append_fact(
        StreamId::Execution(execution),
        None,
        Actor::Engine,
        None,
        ExecutionTimedOut { error, part_of: None, scope: None }.into(),
        None,
    );
    assert_eq!(only::<Inquiry>(story.records()).status, InquiryStatus::Expired);
}

#[test]
fn cancel_ends_an_open_inquiry_and_does_not_change_a_closed_one() {
    let (mut story, execution) = asking(None);
    story.cancel(execution);
    assert_eq!(only::<Inquiry>(story.records()).status, InquiryStatus::Cancelled);
    let (mut story, execution) = asking(None);
    story.answer(execution, "ana", Verdict::Vetoes);
    story.cancel(execution);
    assert_eq!(only::<Inquiry>(story.records()).status, InquiryStatus::Answered);
}

#[test]
fn withdrawn_inquiry_stays_withdrawn() {
    let (mut story, execution) = asking(None);
    let inquiry = only::<Inquiry>(story.records()).id;
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, InquiryWithdrawn { inquiry, by: None }.into(), None);
    let at = story.records().last().unwrap().time;
    story.cancel(execution);
    let withdrawn: Inquiry = only(story.records());
    assert_eq!((withdrawn.status, withdrawn.ended_at), (InquiryStatus::Withdrawn, Some(at)));
}

#[test]
fn cancel_of_an_execution_without_an_inquiry_makes_no_row() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open");
    story.cancel(execution);
    assert!(fold::<Inquiry>(story.records()).is_empty());
}

fn append_fact(story: &mut Story, execution: ExecutionId, fact: impl Into<Fact>) {
    story.append_fact(StreamId::Execution(execution), None, Actor::Engine, None, fact.into(), None);
}

fn identity(number: u128) -> IdentityId {
    IdentityId(Id::root(NOON, number))
}

#[test]
fn newest_deputy_of_each_assignee_is_asked() {
    let (mut story, execution) = asking(None);
    let inquiry = only::<Inquiry>(story.records()).id;
    let delegates = |by, to| InquiryDelegated { inquiry, by: identity(by), to: identity(to) };
    for (by, to) in [(1, 7), (2, 8), (1, 9)] {
        append_fact(&mut story, execution, delegates(by, to));
    }
    let asked: Inquiry = only(story.records());
    let shown: Vec<_> = asked.delegations.iter().map(|delegation| (delegation.by, delegation.to)).collect();
    assert_eq!(shown, [(identity(2), identity(8)), (identity(1), identity(9))]);
    let everybody = ["role:keepers".to_owned(), "ana".to_owned(), deputy(identity(8)), deputy(identity(9))];
    assert_eq!(asked.asked_people(), everybody);
    let at = COLUMNS.iter().position(|column| *column == Column::Assignee).unwrap();
    let found_by = |name: String| asked.columns()[at].as_ref().unwrap().is_found_by(&Term::Text(name));
    assert!(everybody.into_iter().all(found_by) && !found_by(deputy(identity(7))), "the first deputy is not asked any longer");
    assert!(!asked.asks(&deputy(identity(8)), &[]), "a deputy does not count as an assignee");
}

#[test]
fn answer_of_a_deputy_counts_for_both() {
    let (mut story, execution) = asking(None);
    let inquiry = only::<Inquiry>(story.records()).id;
    let answered = |by: u128, on_behalf_of| InquiryAnswered {
        inquiry,
        by: identity(by).to_string(),
        verdict: Verdict::Counts,
        digest: None,
        on_behalf_of,
    };
    append_fact(&mut story, execution, answered(7, Some(identity(1))));
    let first = story.records().last().unwrap().time;
    append_fact(&mut story, execution, answered(2, None));
    let second = story.records().last().unwrap().time;
    let asked: Inquiry = only(story.records());
    let times = [7, 1, 2, 8].map(|number| asked.answered_at(&identity(number).to_string()));
    assert_eq!(times, [Some(first), Some(first), Some(second), None]);
    assert_eq!(asked.decision(), None);
}

#[test]
fn escalation_asks_others_as_well_and_nobody_twice() {
    let (mut story, execution) = asking(None);
    let inquiry = only::<Inquiry>(story.records()).id;
    for (number, to) in [(1, ["role:leads", "ana"]), (2, ["zoe", "role:leads"])] {
        let to = to.iter().map(|name| name.parse().unwrap()).collect();
        append_fact(&mut story, execution, InquiryEscalated { inquiry, number, to });
    }
    let asked: Inquiry = only(story.records());
    assert_eq!((asked.assignees, asked.escalations), (["role:keepers", "ana", "role:leads", "zoe"].map(str::to_owned).to_vec(), 2));
}

#[test]
fn open_inquiry_is_overdue_after_a_day_a_reminder_or_an_escalation() {
    const DAY_MILLIS: u64 = 24 * 3_600_000;
    type Act = fn(&mut Story, ExecutionId, InquiryId);
    let overdue = |act: Act, millis: u64| {
        let (mut story, execution) = asking(None);
        let inquiry = only::<Inquiry>(story.records()).id;
        act(&mut story, execution, inquiry);
        let asked: Inquiry = only(story.records());
        asked.is_overdue(asked.opened_at.plus_millis(millis))
    };
    let nothing: Act = |_, _, _| {};
    assert_eq!([0, DAY_MILLIS, DAY_MILLIS + 1].map(|millis| overdue(nothing, millis)), [false, false, true]);
    assert!(overdue(|story, execution, inquiry| append_fact(story, execution, InquiryReminded { inquiry, number: 1 }), 1));
    let escalates: Act = |story, execution, inquiry| {
        append_fact(story, execution, InquiryEscalated { inquiry, number: 1, to: vec!["zoe".parse().unwrap()] });
    };
    assert!(overdue(escalates, 1));
    let ended: Act = |story, execution, inquiry| {
        append_fact(story, execution, InquiryReminded { inquiry, number: 1 });
        story.cancel(execution);
    };
    assert!(!overdue(ended, 2 * DAY_MILLIS), "it has ended");
}

#[test]
fn inquiry_that_expired_after_a_cancel_is_cancelled_and_keeps_its_end() {
    let (mut story, execution) = asking(None);
    let fact = TimerFired { kind: TimerKind::Expiry, number: 1, due: story.now(), schedule: None };
    append_fact(&mut story, execution, fact);
    let at = story.records().last().map(|record| record.time);
    assert_eq!(only::<Inquiry>(story.records()).status, InquiryStatus::Expired);
    story.cancel(execution);
    let ended: Inquiry = only(story.records());
    assert_eq!((ended.status, ended.ended_at), (InquiryStatus::Cancelled, at));
}

#[test]
fn inquiry_of_a_step_names_its_workflow_and_is_found_by_it() {
    let (_, workflow) = asking(None);
    let part_of = PartOf { workflow, step: "approve".parse().unwrap(), item: Some(2), on_failure: OnFailure::Fail, role: PartRole::Step };
    let asked: Inquiry = only(asking(Some(part_of)).0.records());
    assert_eq!((asked.parent, asked.step.as_ref().map(|step| step.as_str()), asked.item), (Some(workflow), Some("approve"), Some(2)));
    let at = COLUMNS.iter().position(|column| *column == Column::Parent).unwrap();
    assert_eq!(asked.columns()[at], Some(workflow.into()));
}
