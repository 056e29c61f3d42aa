//! The engine's own triggers: what is reported, to which rules, once, and never in a loop.

use ensue_engine::catalog::{Acts, Does, Mode, OnExpire, Since, Wait};
use ensue_engine::command::{Answer, Ask, Report, ReportOutcome, TurnLimits};
use ensue_engine::events::internal::{InternalTrigger, is_of_the_engine};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind, OUTPUT_TAIL_BYTES_MAX};
use ensue_engine::executions::state::Attempt;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::{Actor, Record, StreamId};
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::definitions::{expression, flow};
use crate::support::site::{report, report_attempt, report_emitting};
use crate::support::workflow::{awaits, does, fails};
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, fire_timers, set_mode, workers};

const TOLD: &[&str] =
    &["attempt.failed", "execution.failed", "event.received", "enforcement.made", "execution.requested", "attempt.started"];

fn pieces() -> Pieces {
    let internal = InternalTrigger::ALL.into_iter().fold(Pieces::default(), |pieces, internal| pieces.trigger(internal.as_str()));
    internal.trigger("demo.ping").action("demo.work").action("demo.alert").inquiry("core.inquiry")
}

/// A rule that runs `demo.alert` when an execution failed.
fn alerting() -> Pieces {
    pieces().rule("demo.alerts", "core.execution_ended", "event.payload.status == 'failed'", "demo.alert")
}

/// A rule that listens to one of the engine's own triggers.
fn hearing(internal: InternalTrigger) -> Pieces {
    pieces().rule("demo.hears", internal.as_str(), "", "demo.alert")
}

fn site(pieces: &Pieces) -> Site {
    let mut site = Site::with(pieces);
    site.set(workers(10));
    site
}

/// The events of a trigger, with their payloads.
fn events<'r>(records: &'r [Record], trigger: &str) -> Vec<(&'r Record, Value)> {
    let is_one = |record: &&Record| matches!(&record.fact, Fact::EventReceived(event) if event.trigger.as_str() == trigger);
    let payload = |record: &Record| serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
    records.iter().filter(is_one).map(|record| (record, payload(record))).collect()
}

#[track_caller]
fn the_event(outcome: &Outcome, internal: InternalTrigger) -> Value {
    let mut reported = events(outcome.records(), internal.as_str());
    assert_eq!(reported.len(), 1, "{}: {:?}", internal.as_str(), outcome.kinds());
    reported.remove(0).1
}

/// The execution that alerts.
#[track_caller]
fn alert(outcome: &Outcome) -> ExecutionId {
    let requested = outcome.records().iter().find(|record| record.kind() == "execution.requested").expect("somebody is notified");
    let StreamId::Execution(id) = requested.stream else { panic!("it is an execution's") };
    id
}

#[test]
fn end_of_an_execution_emits_an_event_caused_by_it() {
    let mut site = site(&alerting());
    let execution = site.run("demo.work");
    let outcome = site.fail(execution, FailureKind::Network).then(TOLD);
    let reported = the_event(&outcome, InternalTrigger::ExecutionEnded);
    assert_eq!(
        reported,
        json!({
            "execution": execution, "action": "demo.work", "status": "failed", "attempts": 1, "requested_by": "token/ana", "labels": {},
            "error": { "kind": "network", "message": "it did not work" },
        })
    );
    let [_, end, event, ..] = outcome.records() else { panic!("{:?}", outcome.kinds()) };
    assert_eq!(event.cause, end.cause.from_parent(end.id));
    assert_eq!(event.id, Id::derive(event.log, end.id, Role::Emit(0)));
    assert_eq!((&event.actor, event.cause.depth), (&Actor::Engine, 0));
    let Fact::EventReceived(fact) = &event.fact else { panic!("it is an event") };
    assert_eq!((fact.source.as_str(), fact.matched), (format!("execution/{execution}").as_str(), 1));
}

#[test]
fn event_of_a_failed_execution_has_the_end_of_its_output() {
    let mut site = site(&alerting());
    let execution = site.run("demo.work");
    let Attempt { id: attempt, token, .. } = site.attempt(execution);
    let outcome = ReportOutcome::Failed(Failure::new(FailureKind::ExitCode, "it ended with 1").with_detail(1));
    let output_tail = Some(format!("{}\nno such file", "\u{1b}".repeat(OUTPUT_TAIL_BYTES_MAX)));
    let (body, emitted, vars) = (None, None, Vec::new());
    let failed =
        Report { execution, attempt, token, outcome, retry_after_millis: None, output_tail, body, emitted, vars, ended_before: None };
    let outcome = site.when(report_attempt(failed)).then(TOLD);
    let error = the_event(&outcome, InternalTrigger::ExecutionEnded)["error"].take();
    let tail = error["output_tail"].as_str().unwrap();
    assert!(tail.ends_with("\u{1b}\nno such file"), "{tail:?}");
    assert!((OUTPUT_TAIL_BYTES_MAX - 6..=OUTPUT_TAIL_BYTES_MAX).contains(&(json!(tail).to_string().len() - 2)));
}

#[test]
fn each_kind_of_end_has_its_status() {
    let listening = hearing(InternalTrigger::ExecutionEnded).workflow("demo.waits", [fails("stop", "no")]);
    let mut site = site(&listening);
    let mut statuses = Vec::new();
    let execution = site.run("demo.work");
    statuses.push(the_event(&site.succeed(execution), InternalTrigger::ExecutionEnded)["status"].clone());
    let execution = site.run("demo.work");
    statuses.push(the_event(&site.fail(execution, FailureKind::Timeout), InternalTrigger::ExecutionEnded)["status"].clone());
    let execution = site.run("demo.work");
    site.when(cancel(execution));
    let cancelled = the_event(&site.fail(execution, FailureKind::Cancelled), InternalTrigger::ExecutionEnded);
    assert_eq!(cancelled["error"], json!(null));
    statuses.push(cancelled["status"].clone());
    let failed = the_event(&site.ask("demo.waits"), InternalTrigger::ExecutionEnded);
    assert_eq!((&failed["status"], &failed["error"]["kind"], &failed["attempts"]), (&json!("failed"), &json!("child_failed"), &json!(0)));
    assert_eq!(statuses, ["succeeded", "timed_out", "cancelled"]);
}

#[test]
fn end_event_names_the_rule_and_event_of_the_execution() {
    let pieces = alerting().rule("demo.works", "demo.ping", "", "demo.work");
    let mut site = site(&pieces);
    let came = site.receive("demo.ping", &json!({}));
    let execution = alert(&came);
    let reported = the_event(&site.fail(execution, FailureKind::Network), InternalTrigger::ExecutionEnded);
    assert_eq!((&reported["rule"], &reported["requested_by"]), (&json!("demo.works"), &json!("engine")));
    assert_eq!(reported["event"], json!(came.records()[0].id));
    assert_eq!(reported["enforcement"], json!(came.records()[1].id));
}

#[test]
fn no_event_is_emitted_without_a_listening_rule() {
    let mut unheard = site(&pieces());
    let execution = unheard.run("demo.work");
    unheard.fail(execution, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
    let mut site = site(&alerting());
    site.when(set_mode("demo.alerts", Mode::Disabled));
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
    site.when(set_mode("demo.alerts", Mode::Shadow));
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network).then(&["attempt.failed", "execution.failed", "event.received", "enforcement.made"]);
}

#[test]
fn listening_rule_that_does_not_match_has_no_further_effect() {
    let mut site = site(&alerting());
    let execution = site.run("demo.work");
    site.succeed(execution).then(&["attempt.succeeded", "execution.succeeded", "event.received"]);
}

#[test]
fn end_of_a_step_is_reported_only_with_its_workflow() {
    let pieces = alerting().workflow("demo.flow", [does("one", "demo.work"), does("two", "demo.work").needs(["one"])]);
    let mut site = site(&pieces);
    let workflow = site.run("demo.flow");
    let step = |site: &Site| site.engine().executions().iter().find(|(_, one)| one.part_of.is_some()).map(|(id, _)| *id).unwrap();
    let one = step(&site);
    let outcome = site.succeed(one);
    assert_eq!(events(outcome.records(), "core.execution_ended").len(), 0);
    let two = step(&site);
    let reported = the_event(&site.fail(two, FailureKind::Network), InternalTrigger::ExecutionEnded);
    assert_eq!((&reported["execution"], &reported["status"]), (&json!(workflow), &json!("failed")));
}

#[test]
fn end_of_a_reaction_to_an_end_is_not_reported() {
    let mut site = site(&hearing(InternalTrigger::ExecutionEnded));
    let execution = site.run("demo.work");
    let alert = alert(&site.fail(execution, FailureKind::Network));
    site.restart();
    site.fail(alert, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
}

#[test]
fn end_of_later_executions_in_that_chain_is_not_reported() {
    let pieces = hearing(InternalTrigger::ExecutionEnded).workflow("demo.flow", [does("one", "demo.work")]).rule(
        "demo.below",
        "demo.ping",
        "",
        "demo.flow",
    );
    let mut site = site(&pieces);
    let execution = site.run("demo.work");
    let alert = alert(&site.fail(execution, FailureKind::Network));
    let attempt = site.attempt(alert);
    let emitted = site.emitted_event(attempt.id, "demo.ping", &json!({}));
    site.when(report_emitting(alert, attempt, emitted));
    site.restart();
    let below: Vec<ExecutionId> = site.engine().executions().iter().map(|(id, _)| *id).collect();
    assert_eq!(below.len(), 2, "a workflow and its step");
    let step = below.into_iter().find(|id| site.has_attempt(*id)).unwrap();
    let outcome = site.fail(step, FailureKind::Network);
    assert_eq!(outcome.kinds().last(), Some(&"execution.failed"));
    assert_eq!(events(site.records(), "core.execution_ended").len(), 1);
}

#[test]
fn event_of_a_step_keeps_the_internal_triggers_above_its_workflow() {
    let pieces = pieces()
        .workflow("demo.flow", [does("one", "demo.work")])
        .rule("demo.hears", "core.execution_ended", "", "demo.flow")
        .rule("demo.below", "demo.ping", "", "demo.alert");
    let mut site = site(&pieces);
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network);
    let step = site.engine().executions().iter().find(|(_, one)| one.part_of.is_some()).map(|(id, _)| *id).expect("the step runs");
    site.emit(step, "demo.ping", &json!({}));
    site.restart();
    let open: Vec<ExecutionId> = site.engine().executions().iter().map(|(id, _)| *id).collect();
    let [alert] = open[..] else { panic!("only what the emitted event led to is open: {open:?}") };
    site.fail(alert, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
    assert_eq!(events(site.records(), "core.execution_ended").len(), 1);
}

#[test]
fn end_of_a_debounced_reaction_to_an_end_is_not_reported() {
    let pieces = pieces().rule_with("demo.hears", "core.execution_ended", "", "demo.alert", |rule| {
        rule.flow = flow([(Does::Debounce { quiet_millis: 500, most_millis: None, acts: Acts::OnLast }, "")]);
    });
    let mut site = site(&pieces);
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network);
    site.restart();
    let alert = alert(&site.after(500));
    site.fail(alert, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
}

#[test]
fn end_of_a_windowed_reaction_to_an_end_is_not_reported() {
    let pieces = pieces().rule_with("demo.hears", "core.execution_ended", "", "demo.alert", |rule| {
        rule.triggers.push("demo.ping".parse().unwrap());
        rule.flow = flow([(Does::Window { count: 2, within_millis: 60_000 }, "")]);
    });
    let mut site = site(&pieces);
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network);
    site.restart();
    let alert = alert(&site.receive("demo.ping", &json!({})));
    site.fail(alert, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
}

#[test]
fn rule_on_stopped_loops_is_not_suspended_for_the_loop() {
    let pieces = pieces()
        .rule("demo.again", "demo.ping", "", "demo.work")
        .rule("demo.errs", "demo.ping", "event.payload.n > 16 && event.payload.missing", "demo.work")
        .rule("demo.hears", "core.rule_erred", "", "demo.alert");
    let mut site = site(&pieces);
    site.receive("demo.ping", &json!({ "n": 0 }));
    let mut last = Vec::new();
    for n in 1..=DEPTH_MAX + 1 {
        let execution = site.engine().executions().iter().next().map(|(id, _)| *id).unwrap();
        last = site.emit(execution, "demo.ping", &json!({ "n": n })).kinds();
    }
    assert!(last.contains(&"loop.stopped"), "{last:?}");
    assert!(last.ends_with(&["enforcement.made", "execution.requested", "attempt.started"]), "{last:?}");
}

#[test]
fn end_of_an_execution_that_only_waited_for_a_slot_is_reported() {
    let mut site = site(&hearing(InternalTrigger::ExecutionEnded));
    site.set(workers(1));
    let first = site.run("demo.work");
    let alert = alert(&site.fail(first, FailureKind::Network));
    let second = site.run("demo.work");
    assert!(!site.has_attempt(second), "it waits for the slot");
    site.fail(alert, FailureKind::Network).then(&["attempt.failed", "execution.failed", "attempt.started"]);
    let reported = the_event(&site.fail(second, FailureKind::Network), InternalTrigger::ExecutionEnded);
    assert_eq!(reported["execution"], json!(second));
}

#[test]
fn end_of_a_rerun_by_a_person_is_reported() {
    let mut site = site(&hearing(InternalTrigger::ExecutionEnded));
    let execution = site.run("demo.work");
    let alert_of = alert(&site.fail(execution, FailureKind::Network));
    site.fail(alert_of, FailureKind::Network);
    let again = site.rerun_of(alert_of, ensue_engine::workflows::facts::RerunFrom::Start, None).unwrap();
    let Answer::Execution(again) = site.when(again).answer() else { panic!("it was asked for") };
    let reported = the_event(&site.fail(again, FailureKind::Network), InternalTrigger::ExecutionEnded);
    assert_eq!(reported["rerun_of"], json!(alert_of));
}

#[test]
fn end_event_is_emitted_once_despite_short_turns_and_restarts() {
    let mut site = site(&alerting());
    let execution = site.run("demo.work");
    let settings = site.settings().clone();
    site.set(ensue_engine::command::Settings { turn: TurnLimits { drafts: 1, bytes: 1, ..TurnLimits::default() }, ..settings.clone() });
    let failure = report(execution, site.attempt(execution), crate::support::site::failed_outcome(FailureKind::Network));
    site.turn(failure);
    for _ in 0..20 {
        site.restart();
        if site.serve().is_none() {
            break;
        }
    }
    site.set(settings);
    site.serve_all();
    assert_eq!(events(site.records(), "core.execution_ended").len(), 1);
    assert_eq!(site.records().iter().filter(|record| record.kind() == "enforcement.made").count(), 1);
}

#[test]
fn step_can_wait_for_an_own_trigger() {
    let when = Some(expression("event.payload.status == 'failed'"));
    let wait =
        Wait { trigger: InternalTrigger::ExecutionEnded.trigger(), when, since: Since::Start, expires: None, on_expire: OnExpire::Fail };
    let mut site = site(&pieces().awaiting("core.wait").workflow("demo.watch", [awaits("end", wait)]));
    let watch = site.run("demo.watch");
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network);
    assert_eq!(site.phase(watch), None, "it has ended with the event");
    let execution = site.run("demo.work");
    site.fail(execution, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
}

#[test]
fn indeterminate_attempt_emits_an_event() {
    let mut site = site(&hearing(InternalTrigger::AttemptIndeterminate));
    let execution = site.run("demo.work");
    let attempt = site.attempt(execution);
    let reported = the_event(&site.lose(execution, Evidence::MayHaveBegun), InternalTrigger::AttemptIndeterminate);
    assert_eq!((&reported["execution"], &reported["attempt"], &reported["number"]), (&json!(execution), &json!(attempt.id), &json!(1)));
    assert_eq!(reported["action"], json!("demo.work"));
}

fn question(more: &Value) -> Value {
    let mut question = json!({ "title": "Ship v1?", "answer": {}, "assignees": ["role:managers", "bo"], "expires": "1h" });
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

/// Opens an inquiry, and returns the outcome.
fn open_inquiry(site: &mut Site, more: &Value) -> (ExecutionId, Outcome) {
    let request = site.request_with("core.inquiry", &question(more), None);
    let outcome = site.when(request);
    let Answer::Execution(execution) = outcome.answer() else { panic!("it was asked for") };
    (execution, outcome)
}

#[test]
fn inquiry_emits_events_from_its_opening_to_its_end() {
    let all = [
        InternalTrigger::InquiryOpened,
        InternalTrigger::InquiryReminded,
        InternalTrigger::InquiryEscalated,
        InternalTrigger::InquiryEnded,
    ];
    let heard = |pieces: Pieces, internal: InternalTrigger| {
        pieces.rule(&format!("demo.{internal:?}").to_lowercase(), internal.as_str(), "false", "demo.alert")
    };
    let mut site = site(&all.into_iter().fold(pieces(), heard));
    let more = json!({ "remind": { "every": "10m", "max": 1 }, "escalate": [{ "after": "20m", "to": ["role:leads"] }] });
    let (execution, outcome) = open_inquiry(&mut site, &more);
    let opened = the_event(&outcome, InternalTrigger::InquiryOpened);
    let id = site.engine().inquiries().of(&execution).unwrap().0;
    assert_eq!(
        opened,
        json!({
            "inquiry": id, "title": "Ship v1?", "assignees": ["role:managers", "bo"], "expires_at": site.now().plus_millis(3_600_000),
            "execution": execution, "action": "core.inquiry", "requested_by": "token/ana", "labels": {},
        })
    );
    let reminded = the_event(&site.after(600_000), InternalTrigger::InquiryReminded);
    assert_eq!((&reminded["title"], &reminded["number"]), (&json!("Ship v1?"), &json!(1)));
    let escalated = the_event(&site.after(600_000), InternalTrigger::InquiryEscalated);
    assert_eq!((&escalated["to"], &escalated["number"]), (&json!(["role:leads"]), &json!(1)));
    let ended = the_event(&site.when(answer_inquiry(id, "bo", &json!({}), None)), InternalTrigger::InquiryEnded);
    assert_eq!((&ended["status"], &ended["by"], &ended["verdict"]), (&json!("answered"), &json!("bo"), &json!("decides")));
    assert_eq!(ended["assignees"], json!(["role:managers", "bo", "role:leads"]));
}

#[test]
fn unanswered_inquiry_ends_with_the_status_that_is_shown() {
    let mut site = site(&hearing(InternalTrigger::InquiryEnded));
    open_inquiry(&mut site, &json!({}));
    assert_eq!(the_event(&site.after(3_600_000), InternalTrigger::InquiryEnded)["status"], json!("expired"));
    open_inquiry(&mut site, &json!({ "on_expire": { "answer": {} } }));
    assert_eq!(the_event(&site.after(3_600_000), InternalTrigger::InquiryEnded)["status"], json!("expired"));
    let (execution, _) = open_inquiry(&mut site, &json!({}));
    assert_eq!(the_event(&site.when(cancel(execution)), InternalTrigger::InquiryEnded)["status"], json!("cancelled"));
    site.when(fire_timers());
    let execution = site.run("demo.work");
    site.lose(execution, Evidence::MayHaveBegun);
    let attempt = site.attempt(execution);
    let withdrawn = the_event(&site.when(report(execution, attempt, ReportOutcome::Succeeded)), InternalTrigger::InquiryEnded);
    assert_eq!((&withdrawn["status"], &withdrawn["attempt"]), (&json!("withdrawn"), &json!(attempt.id)));
}

#[test]
fn rule_error_event_is_emitted_once_and_not_for_rules_that_listen_to_it() {
    let pieces = pieces().rule("demo.sum", "demo.ping", "event.payload.n + 1 > 10", "demo.work").rule(
        "demo.hears",
        "core.rule_erred",
        "event.payload.nothing.there",
        "demo.alert",
    );
    let mut site = site(&pieces);
    let outcome = site.receive("demo.ping", &json!({ "n": "one" }));
    let outcome = outcome.then(&["event.received", "rule.erred", "event.received", "rule.erred"]);
    let reported = the_event(&outcome, InternalTrigger::RuleErred);
    let event = outcome.records()[0].id;
    assert_eq!((&reported["rule"], &reported["event"], &reported["trigger"]), (&json!("demo.sum"), &json!(event), &json!("demo.ping")));
    assert!(!reported["message"].as_str().unwrap().is_empty());
    site.receive("demo.ping", &json!({ "n": "one" })).then(&["event.received"]);
}

#[test]
fn expiring_key_emits_an_event_once() {
    let mut site = site(&hearing(InternalTrigger::KeyExpiring));
    let (key, expires_at) = ("demo.secret".parse().unwrap(), NOON.plus_millis(15 * 24 * 3_600_000));
    site.when(asked_by(ana(), Ask::SetKey { key, version: 1, expires_at: Some(expires_at) })).then(&["key.set", "key.expiry_set"]);
    let outcome = site.after(24 * 3_600_000);
    let outcome = outcome.then(&["key.expiring", "event.received", "enforcement.made", "execution.requested", "attempt.started"]);
    let reported = the_event(&outcome, InternalTrigger::KeyExpiring);
    assert_eq!(reported, json!({ "key": "demo.secret", "version": 1, "expires_at": expires_at }));
    site.after(10 * 24 * 3_600_000).then(&[]);
}

#[test]
fn internal_triggers_are_recognized_by_their_ref() {
    for internal in InternalTrigger::ALL {
        assert_eq!(InternalTrigger::of(&internal.trigger()), Some(internal));
        assert_eq!(serde_json::to_value(internal).unwrap(), json!(internal.as_str()));
        assert!(is_of_the_engine(&internal.trigger()));
    }
    assert!(is_of_the_engine(&"core.schedule".parse().unwrap()));
    assert!(!is_of_the_engine(&"demo.execution_ended".parse().unwrap()));
}
