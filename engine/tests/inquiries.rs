//! Inquiries: who may answer, which answer counts, and what happens to the execution that asked.

use std::collections::BTreeSet;

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{Answer, Ask, Command, NewGrant, NewLink, NewSession, OpenedLink, Refusal};
use ensue_engine::executions::facts::{ExecutionRequested, FailureKind};
use ensue_engine::executions::state::Phase;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, InquiryId, LinkId, SessionId};
use ensue_engine::inquiries::facts::{InquiryOpened, Verdict};
use ensue_engine::record::{Actor, AttemptOf, CredentialId, Digest};
use ensue_engine::time::Timestamp;
use ensue_expression::{Roots, Template};
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::workflow::does;
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, fire_timers, workers};

const HOUR_MILLIS: u64 = 3_600_000;

fn question(more: &Value) -> Value {
    let mut question = json!({
        "title": "Ship v1?",
        "answer": { "type": "object", "properties": { "ship": { "type": "boolean" } }, "required": ["ship"] },
        "assignees": ["role:managers", "bo"],
    });
    for (name, value) in more.as_object().unwrap() {
        question[name] = value.clone();
    }
    question
}

fn pieces() -> Pieces {
    Pieces::default().action("demo.say").inquiry("core.inquiry")
}

/// A site with an open inquiry that has these additional settings.
fn asking(more: &Value) -> (Site, ExecutionId) {
    let mut site = Site::with(&pieces());
    site.set(workers(10));
    let request = site.request_with("core.inquiry", &question(more), None);
    let Answer::Execution(execution) = site.when(request).answer() else { panic!("it was asked for") };
    (site, execution)
}

fn inquiry(site: &Site, execution: ExecutionId) -> InquiryId {
    site.engine().inquiries().of(&execution).expect("it asks").0
}

fn opened_inquiry(outcome: &Outcome) -> InquiryOpened {
    let opened = outcome.facts().find_map(|fact| if let Fact::InquiryOpened(fact) = fact { Some(fact.clone()) } else { None });
    opened.expect("an inquiry was opened")
}

/// Answers as a person with a name and roles.
fn answers(site: &mut Site, execution: ExecutionId, who: &str, answer: &Value) -> Outcome {
    let inquiry = inquiry(site, execution);
    answers_to(site, inquiry, who, answer, None)
}

fn answers_to(site: &mut Site, inquiry: InquiryId, who: &str, answer: &Value, digest: Option<Digest>) -> Outcome {
    site.when(answer_inquiry(inquiry, who, answer, digest))
}

fn result(outcome: &Outcome) -> Value {
    let end = outcome.records().iter().find(|record| record.kind() == "execution.succeeded").expect("it succeeded");
    serde_json::from_slice(end.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

#[track_caller]
fn why(outcome: &Outcome) -> (FailureKind, String) {
    let failed = outcome.facts().find_map(|fact| if let Fact::ExecutionFailed(end) = fact { Some(end.error.clone()) } else { None });
    let failed = failed.expect("it failed");
    (failed.kind, failed.message)
}

#[test]
fn first_answer_of_an_assignee_is_the_execution_s_result() {
    for who in ["bo", "ana managers", "cy viewer managers"] {
        let (mut site, execution) = asking(&json!({}));
        assert_eq!((site.phase(execution), site.engine().executions().open_work()), (Some(Phase::Asking), 0));
        let outcome = answers(&mut site, execution, who, &json!({ "ship": true }));
        let result = result(&outcome.then(&["inquiry.answered", "execution.succeeded"]));
        let by = who.split(' ').next().unwrap();
        let answer = json!({ "ship": true });
        let at = NOON.to_string();
        assert_eq!(result, json!({ "answer": answer, "answers": [{ "by": by, "at": at, "verdict": "decides", "answer": answer }] }));
        assert_eq!((site.phase(execution), site.engine().inquiries().count()), (None, 0));
    }
}

#[test]
fn cancel_of_an_inquiry_that_was_answered_while_paused_is_refused() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    site.when(asked_by(ana(), Ask::PauseExecution { execution }));
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "reaction.held"]);
    site.when(asked_by(ana(), Ask::CancelInquiry(id))).then_refused(&Refusal::InquiryClosed(id));
    let outcome = site.when(asked_by(ana(), Ask::ResumeExecution { execution }));
    assert_eq!(result(&outcome)["answer"], json!({ "ship": true }));
}

#[test]
fn only_assignees_may_answer_and_a_name_is_not_a_role() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    for who in ["ana", "managers", "ana bo", "ana admin", "role:managers"] {
        let name = who.split(' ').next().unwrap().to_owned();
        answers(&mut site, execution, who, &json!({ "ship": true })).then_refused(&Refusal::NotAsked { inquiry: id, name });
    }
}

#[test]
fn first_of_two_answers_counts_and_the_second_is_rejected() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded"]);
    answers_to(&mut site, id, "ana managers", &json!({ "ship": false }), None).then_refused(&Refusal::InquiryClosed(id));
}

#[test]
fn quorum_needs_distinct_people_and_the_last_answer_decides() {
    let (mut site, execution) = asking(&json!({ "quorum": 2 }));
    let id = inquiry(&site, execution);
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered"]);
    let again = Refusal::AnsweredBefore { inquiry: id, at: NOON };
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then_refused(&again);
    let outcome = answers(&mut site, execution, "ana managers", &json!({ "ship": false }));
    let result = result(&outcome.then(&["inquiry.answered", "execution.succeeded"]));
    assert_eq!(result["answer"], json!({ "ship": false }));
    let reported: Vec<_> = result["answers"].as_array().unwrap().iter().map(|one| (one["by"].clone(), one["verdict"].clone())).collect();
    assert_eq!(reported, [(json!("bo"), json!("counts")), (json!("ana"), json!("decides"))]);
}

#[test]
fn veto_decides_alone() {
    let (mut site, execution) = asking(&json!({ "quorum": 3, "veto": "answer.ship == false" }));
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered"]);
    let outcome = answers(&mut site, execution, "ana managers", &json!({ "ship": false }));
    let Some(Fact::InquiryAnswered(answered)) = outcome.facts().next() else { panic!("it was taken") };
    assert_eq!(answered.verdict, Verdict::Vetoes);
    assert_eq!(result(&outcome.then(&["inquiry.answered", "execution.succeeded"]))["answer"], json!({ "ship": false }));
}

#[test]
fn veto_that_errs_on_an_answer_rejects_it() {
    let (mut site, execution) = asking(&json!({ "veto": "answer.sure == false" }));
    let outcome = answers(&mut site, execution, "bo", &json!({ "ship": true }));
    assert!(matches!(outcome.result(), Err(Refusal::VetoErred { why, .. }) if why.contains("sure")), "{outcome:?}");
    assert_eq!(site.phase(execution), Some(Phase::Asking));
}

#[test]
fn requester_of_the_outermost_workflow_can_be_excluded() {
    let pieces = pieces();
    let given = json!({ "title": "Ship?", "answer": {}, "assignees": ["ana", "bo"], "exclude": ["requester"] });
    let pieces = pieces.workflow("demo.inner", [does("ask", "core.inquiry").with(&given)]);
    let mut site = Site::with(&pieces.workflow("demo.outer", [does("inner", "demo.inner").with(&json!({}))]));
    let outcome = site.ask("demo.outer");
    assert_eq!(opened_inquiry(&outcome).excluded, ["ana"]);
    let (execution, _) = site.engine().executions().iter().find(|(_, one)| one.phase == Phase::Asking).unwrap();
    let execution = *execution;
    let (id, name) = (inquiry(&site, execution), "ana".to_owned());
    answers(&mut site, execution, "ana", &json!(1)).then_refused(&Refusal::MayNotAnswer { inquiry: id, name });
    answers(&mut site, execution, "bo", &json!(1));
    assert_eq!(site.phase(execution), None);
}

#[test]
fn inquiry_caused_by_an_event_has_no_requester() {
    let pieces = pieces().trigger("demo.ping").rule_with("demo.asks", "demo.ping", "", "core.inquiry", |rule| {
        let given = question(&json!({ "assignees": ["ana"], "exclude": ["requester"] }));
        rule.with = Template::compile(&given, &Roots::default()).unwrap();
    });
    let mut site = Site::with(&pieces);
    assert_eq!(opened_inquiry(&site.receive("demo.ping", &json!({}))).excluded, [""; 0]);
}

#[test]
fn inquiry_without_enough_possible_answers_fails_at_once() {
    for more in [
        json!({ "assignees": ["ana"], "exclude": ["requester"] }),
        json!({ "assignees": ["bo", "cy"], "exclude": ["cy"], "quorum": 2 }),
        json!({ "assignees": ["bo", "bo"], "quorum": 2 }),
    ] {
        let mut site = Site::with(&pieces());
        let request = site.request_with("core.inquiry", &question(&more), None);
        let outcome = site.when(request).then(&["execution.requested", "execution.failed"]);
        assert_eq!(why(&outcome).0, FailureKind::ParametersInvalid);
    }
}

#[test]
fn expired_inquiry_without_a_default_answer_fails() {
    let (mut site, execution) = asking(&json!({ "expires": "1h", "quorum": 2 }));
    answers(&mut site, execution, "bo", &json!({ "ship": true }));
    let id = inquiry(&site, execution);
    site.after(HOUR_MILLIS - 1).then(&[]);
    let outcome = site.after(1).then(&["timer.fired", "execution.failed"]);
    assert_eq!(why(&outcome), (FailureKind::Expired, "1 of 2 people answered within 1h".to_owned()));
    answers_to(&mut site, id, "ana managers", &json!({ "ship": true }), None).then_refused(&Refusal::InquiryClosed(id));
}

#[test]
fn expired_inquiry_uses_its_default_answer() {
    let (mut site, _) = asking(&json!({ "expires": "1h", "on_expire": { "answer": { "ship": false } } }));
    let outcome = site.after(HOUR_MILLIS);
    assert_eq!(result(&outcome.then(&["timer.fired", "execution.succeeded"])), json!({ "answer": { "ship": false }, "answers": [] }));
}

#[test]
fn answer_in_time_removes_the_timer() {
    let (mut site, execution) = asking(&json!({ "expires": "1h" }));
    answers(&mut site, execution, "bo", &json!({ "ship": true }));
    assert_eq!(site.engine().timers().pending(), 0);
    site.after(2 * HOUR_MILLIS).then(&[]);
}

#[test]
fn earlier_of_inquiry_expiry_and_step_timeout_wins() {
    let given = question(&json!({ "expires": "1h", "on_expire": { "answer": { "ship": false } } }));
    let flow = pieces().workflow("demo.flow", [does("ask", "core.inquiry").with(&given).timeout(2 * 3_600)]);
    let mut site = Site::with(&flow);
    site.ask("demo.flow");
    // A node that was down fires both in one turn.
    site.after(24 * HOUR_MILLIS).then(&["timer.fired", "timer.fired", "execution.succeeded", "execution.succeeded"]);
}

#[test]
fn cancel_closes_the_inquiry() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    site.when(cancel(execution)).then(&["execution.cancel_requested", "execution.cancelled"]);
    answers_to(&mut site, id, "bo", &json!({ "ship": true }), None).then_refused(&Refusal::InquiryClosed(id));
}

#[test]
fn reminders_stop_at_the_maximum_or_with_a_decision() {
    let reminded_twice = || {
        let (mut site, execution) = asking(&json!({ "remind": { "every": "1h", "max": 3 } }));
        for _ in 0..2 {
            site.after(HOUR_MILLIS - 1).then(&[]);
            site.after(1).then(&["timer.fired", "inquiry.reminded", "timer.set"]);
        }
        (site, execution)
    };
    let (mut site, _) = reminded_twice();
    site.after(HOUR_MILLIS).then(&["timer.fired", "inquiry.reminded"]);
    assert_eq!(site.engine().timers().pending(), 0);
    site.after(10 * HOUR_MILLIS).then(&[]);
    let (mut site, execution) = reminded_twice();
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded"]);
    site.after(10 * HOUR_MILLIS).then(&[]);
}

#[test]
fn escalation_adds_assignees_who_may_answer_from_then_on() {
    let (mut site, execution) =
        asking(&json!({ "escalate": [{ "after": "8h", "to": ["role:leads"] }, { "after": "1h", "to": ["cy", "bo"] }] }));
    let id = inquiry(&site, execution);
    let not_asked = |name: &str| Refusal::NotAsked { inquiry: id, name: name.to_owned() };
    answers(&mut site, execution, "cy", &json!({ "ship": true })).then_refused(&not_asked("cy"));
    let outcome = site.after(HOUR_MILLIS).then(&["timer.fired", "inquiry.escalated"]);
    let reported: Vec<_> =
        outcome.facts().filter_map(|fact| if let Fact::InquiryEscalated(fact) = fact { Some(fact) } else { None }).collect();
    assert_eq!(
        (reported[0].number, reported[0].to.iter().map(ToString::to_string).collect::<Vec<_>>()),
        (2, vec!["cy".into(), "bo".to_owned()])
    );
    answers(&mut site, execution, "dee leads", &json!({ "ship": true })).then_refused(&not_asked("dee"));
    site.after(7 * HOUR_MILLIS).then(&["timer.fired", "inquiry.escalated"]);
    answers(&mut site, execution, "dee leads", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded"]);
    let (mut site, execution) = asking(&json!({ "escalate": [{ "after": "1h", "to": ["cy"] }] }));
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded"]);
    site.after(HOUR_MILLIS).then(&[]);
}

/// A workflow with an inquiry that notifies its assignees through `demo.say`.
fn notifying_site(more: &Value, with: &Value) -> Site {
    let steps = [does("ask", "core.inquiry").with(&question(more)).notifies("demo.say", with), does("after", "demo.say").needs(["ask"])];
    let mut site = Site::with(&pieces().workflow("demo.flow", steps));
    site.set(workers(10));
    site
}

#[test]
fn each_notification_is_its_own_execution() {
    let more = json!({ "remind": { "every": "1h", "max": 1 }, "escalate": [{ "after": "2h", "to": ["role:leads"] }], "expires": "3h" });
    let text =
        "${{ inquiry.occasion }}: ${{ inquiry.title }} ${{ inquiry.assignees.join(',') }} until ${{ inquiry.expires_at }} ${{ params.v }}";
    let mut site = notifying_site(&more, &json!({ "text": text, "url": "${{ inquiry.url }}" }));
    let request = site.request_with("demo.flow", &json!({ "v": 1 }), None);
    let first = site.when(request);
    let id = InquiryId(first.records().iter().find(|record| record.kind() == "inquiry.opened").unwrap().id);
    let reported = |outcome: &Outcome, occasion: &str, assignees: &str| {
        let notified = outcome.facts().find_map(|fact| if let Fact::InquiryNotified(fact) = fact { Some(fact.clone()) } else { None });
        let notified = notified.expect("people are notified");
        assert_eq!((notified.inquiry, notified.of.as_str()), (id, occasion));
        let request = outcome.records().iter().find(|record| record.id == notified.execution.0).expect("it was asked for");
        let params: Value = serde_json::from_slice(request.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
        let until = NOON.plus_millis(3 * HOUR_MILLIS);
        let url = format!("http://127.0.0.1:3678/api/v1/inquiries/{id}");
        assert_eq!(params, json!({ "text": format!("{occasion}: Ship v1? {assignees} until {until} 1"), "url": url }));
        notified.execution
    };
    let opened = reported(&first, "opened", "role:managers,bo");
    let reminded =
        site.after(HOUR_MILLIS).then(&["timer.fired", "inquiry.reminded", "inquiry.notified", "execution.requested", "attempt.started"]);
    assert_ne!(reported(&reminded, "reminded", "role:managers,bo"), opened);
    reported(&site.after(HOUR_MILLIS), "escalated", "role:managers,bo,role:leads");
    // The notification neither delays the workflow nor ends with it.
    let (ask, _) = site.engine().executions().iter().find(|(_, one)| one.phase == Phase::Asking).unwrap();
    let ask = *ask;
    answers(&mut site, ask, "bo", &json!({ "ship": true })).then(&[
        "inquiry.answered",
        "execution.succeeded",
        "execution.requested",
        "attempt.started",
    ]);
    assert!(site.phase(opened).is_some());
}

/// Returns the request of the notification in an outcome, with its parameters.
fn notification(outcome: &Outcome) -> (ExecutionRequested, Value) {
    let notified = outcome.facts().find_map(|fact| if let Fact::InquiryNotified(fact) = fact { Some(fact.clone()) } else { None });
    let notified = notified.expect("people are notified");
    let request = outcome.records().iter().find(|record| record.id == notified.execution.0).expect("it was asked for");
    let Fact::ExecutionRequested(fact) = &request.fact else { panic!("{:?}", request.fact) };
    (fact.clone(), serde_json::from_slice(request.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap())
}

#[test]
fn notification_has_a_place_for_a_link_if_it_reads_one_and_the_inquiry_asks_one_person() {
    let with = json!({ "text": "Answer at ${{ inquiry.link }}." });
    let one = json!({ "assignees": ["ana"], "remind": { "every": "1h", "max": 1 }, "escalate": [{ "after": "2h", "to": ["bo"] }] });
    let mut site = notifying_site(&one, &with);
    let request = site.request_with("demo.flow", &json!({ "v": 1 }), None);
    let first = site.when(request);
    let id = InquiryId(first.records().iter().find(|record| record.kind() == "inquiry.opened").unwrap().id);
    let url = format!("http://127.0.0.1:3678/api/v1/inquiries/{id}");
    let mut places = BTreeSet::new();
    for outcome in [first, site.after(HOUR_MILLIS)] {
        let (fact, params) = notification(&outcome);
        let link = fact.link.expect("it has a place for a link");
        assert_eq!((link.inquiry, link.r#for.as_str(), params), (id, "ana", json!({ "text": format!("Answer at {}.", link.place) })));
        assert!(link.place.starts_with(&format!("{url}#link-")), "{}", link.place);
        places.insert(link.place);
    }
    assert_eq!(places.len(), 2, "each notification has its own place");
    // From here on it asks two people.
    let (fact, params) = notification(&site.after(HOUR_MILLIS));
    assert_eq!((fact.link, params), (None, json!({ "text": format!("Answer at {url}.") })));

    for (assignees, text) in [(json!(["role:leads"]), "${{ inquiry.link }}"), (json!(["ana"]), "${{ inquiry.url }}")] {
        let mut site = notifying_site(&json!({ "assignees": assignees }), &json!({ "text": text }));
        let request = site.request_with("demo.flow", &json!({ "v": 1 }), None);
        let (fact, _) = notification(&site.when(request));
        assert_eq!(fact.link, None, "{assignees} {text}");
    }
}

#[test]
fn failed_notification_does_not_close_the_inquiry() {
    for (action, with, why) in [
        ("demo.say", json!({ "text": "${{ params.none }}" }), FailureKind::Expression),
        ("demo.none", json!({}), FailureKind::ParametersInvalid),
        ("demo.other", json!({}), FailureKind::ParametersInvalid),
    ] {
        let steps = [does("ask", "core.inquiry").with(&question(&json!({}))).notifies(action, &with)];
        let pieces = pieces().workflow("demo.other", [does("one", "demo.say")]);
        let mut site = Site::with(&pieces.workflow("demo.flow", steps));
        let outcome = site.ask("demo.flow");
        let outcome = outcome.then(&["execution.requested", "execution.requested", "inquiry.opened", "inquiry.notification_failed"]);
        let failed =
            outcome.facts().find_map(|fact| if let Fact::InquiryNotificationFailed(fact) = fact { Some(fact.error.kind) } else { None });
        assert_eq!(failed, Some(why));
        let (ask, _) = site.engine().executions().iter().find(|(_, one)| one.phase == Phase::Asking).unwrap();
        let ask = *ask;
        answers(&mut site, ask, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded", "execution.succeeded"]);
    }
}

#[test]
fn digest_binds_an_answer_to_its_question() {
    let mut site = Site::with(&pieces());
    let mut digests = Vec::new();
    for more in
        [json!({}), json!({ "text": "All tests passed." }), json!({ "title": "Ship v2?" }), json!({ "answer": { "type": "object" } })]
    {
        let request = site.request_with("core.inquiry", &question(&more), None);
        let outcome = site.when(request);
        let Answer::Execution(execution) = outcome.answer() else { panic!("it was asked for") };
        digests.push((opened_inquiry(&outcome).digest, inquiry(&site, execution)));
    }
    let all: std::collections::BTreeSet<_> = digests.iter().map(|(digest, _)| digest.to_string()).collect();
    assert_eq!(all.len(), 4, "{digests:?}");
    let ((digest, id), (other, _)) = (digests[0], digests[1]);
    let stale = Refusal::ApprovalStale { inquiry: id, digest };
    answers_to(&mut site, id, "bo", &json!({ "ship": true }), Some(other)).then_refused(&stale);
    answers_to(&mut site, id, "bo", &json!({ "ship": true }), Some(digest)).then(&["inquiry.answered", "execution.succeeded"]);
}

#[test]
fn answer_without_a_required_digest_is_rejected() {
    let (mut site, execution) = asking(&json!({ "digest": "required" }));
    let id = inquiry(&site, execution);
    let digest = site.engine().inquiries().get(&id).unwrap().digest;
    let missing = Refusal::DigestMissing { inquiry: id, digest };
    answers_to(&mut site, id, "bo", &json!({ "ship": true }), None).then_refused(&missing);
    let stale = Refusal::ApprovalStale { inquiry: id, digest };
    answers_to(&mut site, id, "bo", &json!({ "ship": true }), Some(Digest::of(b"other"))).then_refused(&stale);
    let outcome = answers_to(&mut site, id, "bo", &json!({ "ship": true }), Some(digest));
    let Some(Fact::InquiryAnswered(answered)) = outcome.facts().next() else { panic!("it was taken") };
    assert_eq!(answered.digest, Some(digest));
}

#[test]
fn digest_is_optional_by_default() {
    for more in [json!({}), json!({ "digest": "optional" })] {
        let (mut site, execution) = asking(&more);
        let outcome = answers(&mut site, execution, "bo", &json!({ "ship": true }));
        let Some(Fact::InquiryAnswered(answered)) = outcome.facts().next() else { panic!("it was taken") };
        assert_eq!(answered.digest, None);
    }
}

#[test]
fn inquiry_digest_covers_the_documented_canonical_json() {
    let given = json!({ "title": "Ship?", "text": "Now.", "answer": { "type": "object", "a": 1.0 }, "assignees": ["bo"] });
    let flow = [does("ask", "core.inquiry").with(&given), does("b", "demo.say").needs(["ask"]), does("a", "demo.say").needs(["ask"])];
    let mut site = Site::with(&pieces().workflow("demo.flow", flow));
    let request = site.request_with("demo.flow", &json!({ "version": "v1", "count": 2 }), None);
    let canonical = r#"{"answer":{"a":1,"type":"object"},"catalog":1,"params":{"count":2,"version":"v1"},"text":"Now.","then":["b","a"],"title":"Ship?"}"#;
    assert_eq!(opened_inquiry(&site.when(request)).digest, Digest::of(canonical.as_bytes()));
}

#[test]
fn inquiry_digest_covers_the_workflow_s_parameters_and_dependent_steps() {
    let given = question(&json!({}));
    let asked = |then: &str, params: &Value| {
        let flow = [does("ask", "core.inquiry").with(&given), does(then, "demo.say").needs(["ask"])];
        let mut site = Site::with(&pieces().workflow("demo.flow", flow));
        let request = site.request_with("demo.flow", params, None);
        opened_inquiry(&site.when(request)).digest
    };
    let first = asked("ship", &json!({ "version": "v1" }));
    assert_eq!(first, asked("ship", &json!({ "version": "v1" })));
    assert_ne!(first, asked("ship", &json!({ "version": "v2" })));
    assert_ne!(first, asked("destroy", &json!({ "version": "v1" })));
}

#[test]
fn later_steps_read_the_answer_while_others_run() {
    let given = question(&json!({ "expires": "1h", "on_expire": { "answer": { "ship": false } } }));
    let steps = || {
        [
            does("ask", "core.inquiry").with(&given),
            does("beside", "demo.say"),
            does("ship", "demo.say").needs(["ask"]).starts_if("steps.ask.answer.ship && size(steps.ask.answers) == 1"),
        ]
    };
    let mut site = Site::with(&pieces().workflow("demo.flow", steps()));
    site.set(workers(10));
    let outcome = site.ask("demo.flow");
    outcome.then(&["execution.requested", "execution.requested", "inquiry.opened", "timer.set", "execution.requested", "attempt.started"]);
    let (ask, _) = site.engine().executions().iter().find(|(_, one)| one.phase == Phase::Asking).unwrap();
    let ask = *ask;
    answers(&mut site, ask, "bo", &json!({ "ship": true })).then(&[
        "inquiry.answered",
        "execution.succeeded",
        "execution.requested",
        "attempt.started",
    ]);
    let mut site = Site::with(&pieces().workflow("demo.flow", steps()));
    site.set(workers(10));
    site.ask("demo.flow");
    site.after(HOUR_MILLIS).then(&["timer.fired", "execution.succeeded", "step.skipped"]);
}

#[test]
fn invalid_inquiry_is_rejected_or_fails_its_step() {
    for (more, wrong) in [
        (json!({ "title": " " }), "/title"),
        (json!({ "title": "Ship\nit?" }), "/title"),
        (json!({ "assignees": ["bo\"b"] }), "/assignees/0"),
        (json!({ "veto": format!("answer == '{}'", "x".repeat(600)) }), "/veto"),
        (json!({ "assignees": [] }), "/assignees"),
        (json!({ "assignees": [1] }), "/assignees"),
        (json!({ "assignees": ["role:"] }), "/assignees/0"),
        (json!({ "exclude": ["role:managers"] }), "/exclude"),
        (json!({ "quorum": 0 }), "/quorum"),
        (json!({ "veto": "answer ==" }), "/veto"),
        (json!({ "veto": "params.x" }), "/veto"),
        (json!({ "expires": "soon" }), "/expires"),
        (json!({ "expires": "0s" }), "/expires"),
        (json!({ "on_expire": { "answer": 1 } }), "/on_expire"),
        (json!({ "expires": "1h", "on_expire": {} }), "/on_expire"),
        (json!({ "remind": {} }), "/remind"),
        (json!({ "remind": { "every": "0s" } }), "/remind/every"),
        (json!({ "remind": { "every": "1h", "max": 101 } }), "/remind/max"),
        (json!({ "escalate": [{ "after": "1h" }] }), "/escalate/0/to"),
        (json!({ "escalate": [{ "after": "soon", "to": "cy" }] }), "/escalate/0/after"),
        (json!({ "escalate": [{ "to": "cy" }] }), "/escalate/0"),
        (json!({ "escalate": [{ "after": "1h", "to": (0..49).map(|n| format!("p{n}")).collect::<Vec<_>>() }] }), "/escalate"),
    ] {
        let mut site = Site::with(&pieces());
        let request = site.request_with("core.inquiry", &question(&more), None);
        let outcome = site.when(request);
        let Err(Refusal::ParametersMisfit { misfits, .. }) = outcome.result() else { panic!("{more} was taken") };
        assert!(misfits.starts_with(&format!("{wrong}: ")), "{misfits}");
        let flow = pieces().workflow("demo.flow", [does("ask", "core.inquiry").with(&question(&more))]);
        let mut site = Site::with(&flow);
        site.ask("demo.flow").then(&["execution.requested", "step.failed", "execution.failed"]);
    }
}

#[test]
fn inquiry_of_the_maximum_length_is_opened() {
    let names = |role: &str| (0..50).map(|number| format!("{role}{number:02}{}", "x".repeat(93 - role.len()))).collect::<Vec<_>>();
    let veto = format!("answer == '{}'", "\\n".repeat(245));
    let more =
        json!({ "title": "\"".repeat(500), "assignees": names("role:"), "exclude": names("name_"), "veto": veto, "expires": "8760h" });
    let (site, execution) = asking(&more);
    assert_eq!(site.engine().inquiries().of(&execution).map(|(_, inquiry)| inquiry.excluded.len()), Some(50));
}

#[test]
fn assignee_expression_may_return_a_list() {
    let (site, execution) = asking(&json!({ "assignees": ["bo", ["ana", "role:x"], "bo"] }));
    let (_, inquiry) = site.engine().inquiries().of(&execution).unwrap();
    assert_eq!(inquiry.assignees.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bo", "ana", "role:x"]);
    let (site, execution) = asking(&json!({ "assignees": "bo" }));
    assert_eq!(site.engine().inquiries().of(&execution).unwrap().1.assignees.len(), 1);
}

#[test]
fn inquiry_with_a_start_time_opens_then() {
    let mut site = Site::with(&pieces());
    let at = Timestamp::from_micros(NOON.micros() + 3_600_000_000);
    let request = site.request_with("core.inquiry", &question(&json!({ "expires": "1h" })), Some(at));
    site.when(request).then(&["execution.requested", "timer.set"]);
    let outcome = site.after(HOUR_MILLIS).then(&["timer.fired", "inquiry.opened", "timer.set"]);
    assert_eq!(opened_inquiry(&outcome).expires_at, Some(Timestamp::from_micros(at.micros() + 3_600_000_000)));
    site.when(fire_timers()).then(&[]);
}

fn person() -> IdentityId {
    IdentityId(Id::root(NOON, 9_001))
}

/// A link for the person to an inquiry.
fn link_to(inquiry: InquiryId, name: &str) -> Ask {
    let id = LinkId(Id::root(NOON, 9_002));
    Ask::MintLink(NewLink { id, inquiry, identity: person(), name: name.to_owned(), until: NOON.plus_millis(HOUR_MILLIS) })
}

/// The session that a link opens.
fn opened_by_link(inquiry: InquiryId, digest: Digest, number: u128) -> Command {
    let session = NewSession {
        id: SessionId(Id::root(NOON, number)),
        identity: Some(person()),
        way: "link".into(),
        credential: None,
        only: Some(inquiry),
        link: Some(OpenedLink::OfInquiry { id: LinkId(Id::root(NOON, 9_002)), digest }),
        until: NOON.plus_millis(HOUR_MILLIS),
        in_place_of: None,
    };
    asked_by(Actor::Operator, Ask::OpenSession(session))
}

fn add_person(site: &mut Site, role: &str) {
    site.when(asked_by(Actor::Operator, Ask::AddIdentity { id: person(), kind: IdentityKind::Person, groups: Vec::new() }));
    let subject = Subject::Identity(person());
    let grant = NewGrant { id: GrantId(Id::root(NOON, 9_003)), subject, role: role.parse().unwrap(), on: None, until: None };
    site.when(asked_by(Actor::Operator, Ask::AddGrant(grant)));
}

#[test]
fn link_is_for_a_person_who_may_answer_and_only_while_the_inquiry_is_open() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    add_person(&mut site, "viewer");
    let not_asked = |name: &str| Refusal::NotAsked { inquiry: id, name: name.to_owned() };
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then_refused(&not_asked("bo"));

    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    add_person(&mut site, "approver");
    site.when(asked_by(Actor::Operator, link_to(id, "cy"))).then_refused(&not_asked("cy"));
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then(&["link.minted"]);
    let digest = site.engine().inquiries().get(&id).unwrap().digest;
    let stale = Refusal::ApprovalStale { inquiry: id, digest };
    site.when(opened_by_link(id, Digest::of(b"another question"), 9_010)).then_refused(&stale);
    site.when(opened_by_link(id, digest, 9_010)).then(&["session.opened", "link.used"]);
    answers(&mut site, execution, "bo", &json!({ "ship": true })).then(&["inquiry.answered", "execution.succeeded"]);
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then_refused(&Refusal::InquiryClosed(id));
    site.when(opened_by_link(id, digest, 9_011)).then_refused(&Refusal::InquiryClosed(id));
}

#[test]
fn nobody_who_is_excluded_gets_a_link() {
    let link = |more: &Value, name: &str| {
        let (mut site, execution) = asking(more);
        let id = inquiry(&site, execution);
        add_person(&mut site, "approver");
        (site.when(asked_by(Actor::Operator, link_to(id, name))).result().clone().map(drop), id)
    };
    let itself = person().to_string();
    for (more, name) in [
        (json!({ "exclude": ["bo"] }), "bo"),
        (json!({ "exclude": ["cy", "bo"] }), "bo"),
        (json!({ "exclude": [itself] }), "bo"),
        (json!({ "assignees": ["role:approver"], "exclude": ["bo"] }), "bo"),
        (json!({ "assignees": [itself], "exclude": ["bo"] }), "bo"),
        // The token `ana` requested it.
        (json!({ "assignees": ["ana", "bo"], "exclude": ["requester"] }), "ana"),
    ] {
        let (refused, inquiry) = link(&more, name);
        assert_eq!(refused, Err(Refusal::MayNotAnswer { inquiry, name: name.to_owned() }), "{more}");
    }
    for (more, name) in [
        (json!({ "exclude": ["cy"] }), "bo"),
        (json!({ "assignees": ["role:approver"], "exclude": ["cy", "b"] }), "bo"),
        (json!({ "assignees": ["ana", "bo"], "exclude": ["requester"] }), "bo"),
    ] {
        assert_eq!(link(&more, name).0, Ok(()), "{more}");
    }
}

#[test]
fn person_who_answered_gets_no_further_link() {
    let (mut site, execution) = asking(&json!({ "quorum": 2 }));
    let id = inquiry(&site, execution);
    add_person(&mut site, "approver");
    answers(&mut site, execution, "cy managers", &json!({ "ship": true })).then(&["inquiry.answered"]);
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then(&["link.minted"]);
    let at = site.now();
    let by = person().to_string();
    answers(&mut site, execution, &format!("{by} managers"), &json!({ "ship": true }));
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then_refused(&Refusal::InquiryClosed(id));
    let (mut site, execution) = asking(&json!({ "quorum": 2 }));
    let id = inquiry(&site, execution);
    add_person(&mut site, "approver");
    answers(&mut site, execution, &format!("{by} managers"), &json!({ "ship": true })).then(&["inquiry.answered"]);
    site.when(asked_by(Actor::Operator, link_to(id, "bo"))).then_refused(&Refusal::AnsweredBefore { inquiry: id, at });
}

#[test]
fn link_of_another_needs_the_right_to_answer() {
    let (mut site, execution) = asking(&json!({}));
    let id = inquiry(&site, execution);
    add_person(&mut site, "approver");
    let by = Actor::Identity { id: person(), by: CredentialId::Session(SessionId(Id::root(NOON, 9_099))) };
    assert!(matches!(site.when(asked_by(by, link_to(id, "bo"))).result(), Err(Refusal::BeyondOwnRights(_))));
}

#[test]
fn running_notification_creates_the_link_of_its_person_and_no_other() {
    let mut site = notifying_site(&json!({ "assignees": ["bo"] }), &json!({ "text": "${{ inquiry.link }}" }));
    add_person(&mut site, "approver");
    let request = site.request_with("demo.flow", &json!({ "v": 1 }), None);
    let outcome = site.when(request);
    let id = notification(&outcome).0.link.expect("it has a place for a link").inquiry;
    let notified = outcome.facts().find_map(|fact| if let Fact::InquiryNotified(fact) = fact { Some(fact.execution) } else { None });
    let notified = notified.expect("people are notified");
    let by = |execution: ExecutionId| Actor::Execution(AttemptOf { execution, number: 1 });
    let beyond = Refusal::BeyondOwnRights("inquiries:answer".to_owned());
    site.when(asked_by(by(notified), link_to(id, "bo"))).then(&["link.minted"]);
    site.when(asked_by(by(notified), link_to(id, "cy"))).then_refused(&beyond);
    let other = site.run("demo.say");
    site.when(asked_by(by(other), link_to(id, "bo"))).then_refused(&beyond);
    let attempt = site.attempt(notified).id;
    site.succeed(notified);
    site.when(asked_by(by(notified), link_to(id, "bo"))).then_refused(&Refusal::NotRunning(attempt));
}
