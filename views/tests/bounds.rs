//! Tests that documents are bounded whatever the log holds, and that their columns match them.

use ensue_engine::catalog::OnFailure;
use ensue_engine::executions::artifacts::ARTIFACT_NAME_BYTES_MAX;
use ensue_engine::executions::facts::{
    AttemptFailed, AttemptReportedLate, AttemptStarted, ExecutionFailed, Failure, FailureKind, MESSAGE_BYTES_MAX,
};
use ensue_engine::executions::labels::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::ids::{AttemptId, Id, Role};
use ensue_engine::inquiries::facts::{Assignee, InquiryOpened, Verdict};
use ensue_engine::inquiries::question::{ASSIGNEE_BYTES_MAX, ASSIGNEES_MAX, TITLE_BYTES_MAX, VETO_BYTES_MAX};
use ensue_engine::names::{NAME_BYTES_MAX, RuleRef};
use ensue_engine::record::{Actor, Body, Digest, Record, StreamId};
use ensue_engine::rules::facts::RuleErred;
use ensue_engine::workflows::facts::{PartOf, PartRole};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::executions::ATTEMPTS_MAX;
use ensue_views::rules::ERRORS_MAX;
use ensue_views::view::{DOCUMENT_BYTES_MAX, Term};
use ensue_views::{
    Artifact, DeadLetter, Enforcement, Event, Execution, Inquiry, Key, Pack, ParkedReaction, RuleActivity, Token, Totals, View,
};
use proptest::prelude::*;

use crate::{fold, only};

/// Returns a text whose JSON form is six times as long.
fn worst(bytes: usize) -> String {
    "\u{1}".repeat(bytes)
}

fn longest_ref() -> String {
    format!("{}.{}", "p".repeat(NAME_BYTES_MAX), "n".repeat(NAME_BYTES_MAX))
}

#[test]
fn longest_execution_fits_its_row() {
    let mut story = Story::new();
    let event = story.event(&longest_ref(), "{}");
    let labels: Vec<_> = (0..LABELS_MAX).map(|n| (format!("l{n:0>63}"), "\"".repeat(LABEL_VALUE_BYTES_MAX))).collect();
    let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let execution = story.executed_with(&longest_ref(), event, &longest_ref(), &labels);
    let stream = StreamId::Execution(execution);
    let error = Failure::new(FailureKind::ParametersInvalid, worst(MESSAGE_BYTES_MAX)).with_detail(i64::MIN);
    let actor = || Actor::Token(worst(10_000));
    let body = || Some(Body::json("{}"));
    for number in 1..=ATTEMPTS_MAX as u32 + 1 {
        let attempt = AttemptId(Id::derive(story.log(), execution.0, Role::Attempt(number)));
        let started = AttemptStarted { number: u32::MAX, token: u64::MAX, worker: worst(2_000), lease_millis: u64::MAX };
        story.append_fact(stream.clone(), Some(attempt.0), actor(), None, started.into(), None);
        story.append_fact(
            stream.clone(),
            None,
            actor(),
            None,
            AttemptFailed { attempt, error: error.clone(), retry_after_millis: None, output_tail: None, ended_at: None }.into(),
            body(),
        );
        let late = AttemptReportedLate { attempt, error: Some(error.clone()) };
        story.append_fact(stream.clone(), None, actor(), None, late.into(), body());
    }
    story.append_fact(stream, None, actor(), None, ExecutionFailed { error, part_of: None, scope: None }.into(), None);
    assert_fits(&only::<Execution>(story.records()));
}

#[test]
fn longest_artifact_fits_its_row() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "garden.open_gate");
    let attempt = story.start(execution);
    story.gave_away(execution, attempt, &"\"".repeat(ARTIFACT_NAME_BYTES_MAX));
    assert_fits(&only::<Artifact>(story.records()));
}

fn longest_scope() -> ExecutionScope {
    let pack = "p".repeat(NAME_BYTES_MAX);
    let label = |number: u8| {
        let name = "l".repeat(NAME_BYTES_MAX - 1) + &number.to_string();
        (name.parse().unwrap(), "v".repeat(LABEL_VALUE_BYTES_MAX).parse().unwrap())
    };
    ExecutionScope { pack: pack.parse().unwrap(), action: format!("{pack}.{pack}").parse().unwrap(), labels: (0..4).map(label).collect() }
}

#[test]
fn longest_inquiry_fits_its_row() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let execution = story.execute("garden.drain", event, "core.inquiry");
    // A fact cannot hold more.
    let name = || "n".repeat(ASSIGNEE_BYTES_MAX);
    let opened = InquiryOpened {
        title: "t".repeat(TITLE_BYTES_MAX),
        assignees: vec![Assignee::Role(name()); ASSIGNEES_MAX],
        excluded: vec![name(); ASSIGNEES_MAX + 1],
        quorum: u32::MAX,
        veto: Some("v".repeat(VETO_BYTES_MAX)),
        expires_at: Some(NOON),
        digest: Digest::of(b"asked"),
        digest_required: true,
        part_of: Some(PartOf {
            workflow: execution,
            step: "s".repeat(NAME_BYTES_MAX).parse().unwrap(),
            item: Some(u32::MAX),
            on_failure: OnFailure::Fail,
            role: PartRole::UndoableStep,
        }),
        attempt: None,
        scope: Some(Box::new(longest_scope())),
    };
    let id = Id::derive(story.log(), execution.0, Role::Inquiry(1));
    story.append_fact(StreamId::Execution(execution), Some(id), Actor::Engine, None, opened.into(), None);
    for _ in 0..=ASSIGNEES_MAX + 1 {
        story.answer(execution, &worst(2_000), Verdict::Counts);
    }
    assert_fits(&only::<Inquiry>(story.records()));
}

#[test]
fn longest_rule_activity_fits_its_row() {
    let mut story = Story::new();
    let event = story.event("garden.rained", "{}");
    let rule: RuleRef = longest_ref().parse().unwrap();
    for number in 0..=ERRORS_MAX {
        let message = format!("{number}{}", worst(2_500));
        let error = Digest::of(message.as_bytes());
        let fact = RuleErred { rule: rule.clone(), rule_id: story.rule_id(&rule), event, error, message };
        story.append_fact(StreamId::Rule(rule.clone()), None, Actor::Engine, None, fact.into(), None);
    }
    assert_fits(&only::<RuleActivity>(story.records()));
}

#[track_caller]
fn assert_fits<V: View>(row: &V) {
    let bytes = serde_json::to_vec(row).unwrap().len();
    assert!(bytes <= DOCUMENT_BYTES_MAX, "{} takes {bytes} bytes", V::NAME);
}

/// Checks the invariants of every row of every view.
fn check<V: View + PartialEq + std::fmt::Debug>(records: &[Record]) {
    for (key, row) in fold::<V>(records) {
        let document = serde_json::to_vec(&row).unwrap();
        assert!(document.len() <= DOCUMENT_BYTES_MAX);
        assert_eq!(serde_json::from_slice::<V>(&document).unwrap(), row, "a document is read back as what it was");
        assert_eq!(row.columns().len(), V::NAME.columns().len(), "{}", V::NAME);
        let values = V::NAME.columns().iter().zip(row.columns());
        for (column, value) in values.filter_map(|(column, value)| Some((column, value?))) {
            let asked = match &value {
                Term::Texts(several) => several.clone(),
                Term::Id(_) | Term::Text(_) => vec![value.to_string()],
            };
            let is_found = |asked: &String| column.value(asked).is_some_and(|asked| value.is_found_by(&asked));
            assert!(asked.iter().all(is_found), "{column} is asked for as it is kept");
        }
        assert_eq!(V::NAME.key(&key).map(|term| term.to_string()), Some(key));
        let began = records.iter().find(|record| record.position == row.position()).unwrap();
        assert_eq!(row.began_at(), began.time, "a row begins when the record at its position was taken");
    }
}

proptest! {
    #[test]
    fn every_row_round_trips_and_is_found_by_its_columns(choices in proptest::collection::vec(any::<u8>(), 0..300)) {
        let story = Story::walk(&choices);
        let records = story.records();
        check::<Event>(records);
        check::<Enforcement>(records);
        check::<Execution>(records);
        check::<Artifact>(records);
        check::<Inquiry>(records);
        check::<RuleActivity>(records);
        check::<Pack>(records);
        check::<Key>(records);
        check::<Token>(records);
        check::<DeadLetter>(records);
        check::<ParkedReaction>(records);
        check::<Totals>(records);
    }
}
