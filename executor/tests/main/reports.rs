//! Reports: the log learns of each end, whatever it answers, and a stop leaves certain attempts to the next
//! start.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{Builtin, Run};
use ensue_engine::command::{Answer, Ask, Dedupe, ObservedEvent, Refusal, Report, ReportOutcome};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, FailureKind};
use ensue_engine::ids::EventId;
use ensue_engine::ports::OutputStream::Stdout;
use ensue_engine::ports::SubmitError;
use ensue_engine::record::{CatalogRevision, Digest, Position};
use ensue_engine::rules::judge::{EventView, Judgement};
use ensue_executor::begun_file::{BegunFile, Opener};
use ensue_executor::ports::{Emission, EmissionError, Observe};
use serde_json::{Value, json};

use crate::world::{NOON, Plan, WORKER, attempt, execution, failure, refuse_with, result, sh, template};

fn echo() -> Run {
    Run::Builtin(Builtin::Echo)
}

/// Accepts any event.
struct AnyTrigger;

impl Observe for AnyTrigger {
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError> {
        let Emission { trigger, payload, execution, dedupe, .. } = emission;
        let source = format!("execution/{execution}");
        let view =
            EventView { id: EventId(execution.0), trigger: &trigger.name, source: &source, time: NOON, payload: &payload, only: None };
        let dedupe = dedupe.map(|key| Dedupe::of_emission(&trigger.name, &key, Digest::of(payload.bytes())));
        Ok(ObservedEvent { dedupe, ..ObservedEvent::from_view(&view, Judgement::of_no_rule(CatalogRevision(1))) })
    }
}

#[tokio::test]
async fn immediate_action_is_reported_before_the_call_returns() {
    for (builtin, params, given) in
        [(Builtin::Echo, json!({ "message": 1 }), json!({ "message": 1 })), (Builtin::Noop, json!({ "seconds": 0 }), json!(null))]
    {
        let mut world = Plan::new(Run::Builtin(builtin)).begin();
        world.dispatch(1, params);
        let Ok(Ask::ReportAttempt(report)) = world.asked.try_recv() else { panic!("nothing was reported yet") };
        assert_eq!(result(&report), given);
        assert_eq!(world.executor.running(), 0);
    }
}

#[tokio::test]
async fn immediate_action_is_reported_even_if_its_parameters_are_in_the_log() {
    let mut world = Plan::new(echo()).bodies_in_the_log().begin();
    assert_eq!(result(&world.report_of(json!({ "a": 1 })).await), json!({ "a": 1 }));
}

#[tokio::test]
async fn noop_holds_its_slot_for_its_duration() {
    let mut world = Plan::new(Run::Builtin(Builtin::Noop)).time_in_hand().begin();
    world.dispatch(1, json!({ "seconds": 1.5 }));
    assert_eq!(world.executor.running(), 1);
    tokio::task::yield_now().await;
    world.clock.advance(Duration::from_millis(1500));
    assert_eq!(result(&world.report().await), json!(null));
    failure(&world.report_of(json!({ "seconds": -1 })).await, FailureKind::ParametersInvalid);
}

#[tokio::test]
async fn emitted_event_is_in_the_report_and_its_id_is_the_result() {
    let emit = Run::Emit { trigger: "test.done".parse().unwrap(), payload: template(json!({ "n": "${{ params.n }}" })), dedupe: None };
    let builtin = json!({ "trigger": "test.done", "payload": { "n": 1 }, "n": 1 });
    for run in [emit, Run::Builtin(Builtin::Emit)] {
        let mut world = Plan::new(run).observe(AnyTrigger).begin();
        let report = world.report_of(builtin.clone()).await;
        assert_eq!(result(&report), json!({ "event": execution(1) }));
        let Some(event) = &report.emitted else { panic!("one event") };
        assert_eq!((event.trigger.as_str(), event.payload.root().raw()), ("test.done", r#"{"n":1}"#));
        assert!(!world.begun_text().contains(&attempt(1).to_string()), "nothing outward happened");
    }
}

#[tokio::test]
async fn dedupe_key_of_an_emitted_event_is_computed_and_null_means_none() {
    let under = |key| Dedupe::of_emission(&"test.done".parse().unwrap(), key, Digest::of(b"{}")).key;
    let key_of = |report: Report| report.emitted.expect("an event is emitted").dedupe.map(|dedupe| dedupe.key);
    let emit =
        |dedupe: Value| Run::Emit { trigger: "test.done".parse().unwrap(), payload: template(json!({})), dedupe: Some(template(dedupe)) };
    for (dedupe, key) in [
        (json!("n-${{ params.n }}"), Some("n-7")),
        (json!("${{ params.n }}"), Some("7")),
        (json!(7), Some("7")),
        (json!("${{ null }}"), None),
    ] {
        let mut world = Plan::new(emit(dedupe)).observe(AnyTrigger).begin();
        let report = world.report_of(json!({ "n": 7 })).await;
        assert_eq!(key_of(report), key.map(under));
    }
    let report = Plan::new(emit(json!("${{ [1] }}"))).observe(AnyTrigger).begin().report_of(json!({})).await;
    failure(&report, FailureKind::Expression);
    let params = json!({ "trigger": "test.done", "payload": {}, "dedupe": "7" });
    let report = Plan::new(Run::Builtin(Builtin::Emit)).observe(AnyTrigger).begin().report_of(params).await;
    assert_eq!(key_of(report), Some(under("7")));
}

#[tokio::test]
async fn change_of_a_var_is_in_the_report() {
    let set_var = || Plan::new(Run::Builtin(Builtin::SetVar));
    let report = set_var().begin().report_of(json!({ "name": "sync.cursor", "value": { "page": 7 } })).await;
    let [change] = report.vars.as_slice() else { panic!("one change") };
    let value = change.value.as_ref().and_then(|value| value.content.clone()).unwrap();
    assert_eq!((change.name.as_str(), &value[..]), ("sync.cursor", &br#"{"page":7}"#[..]));
    for taken_away in [json!({ "name": "n" }), json!({ "name": "n", "value": null })] {
        assert_eq!(set_var().begin().report_of(taken_away).await.vars[0].value, None);
    }
    for wrong in [json!({ "name": "No name", "value": 1 }), json!({ "name": "n", "value": "a".repeat(17_000) })] {
        let report = set_var().begin().report_of(wrong).await;
        failure(&report, FailureKind::ParametersInvalid);
        assert!(report.vars.is_empty());
    }
}

#[tokio::test]
async fn var_over_the_log_s_limit_is_a_failure() {
    let many = Refusal::TooManyVars { name: "n".parse().unwrap(), max: 10_000 };
    let mut world = Plan::new(Run::Builtin(Builtin::SetVar)).answers(vec![refuse_with(many.clone()), refuse_with(many)]).begin();
    world.dispatch(1, json!({ "name": "n", "value": 1 }));
    // A report sent at once, and again by the slow path, is rejected each time.
    for _ in 0..2 {
        assert_eq!(world.report().await.outcome, ReportOutcome::Succeeded);
    }
    let report = world.report().await;
    failure(&report, FailureKind::ParametersInvalid);
}

#[tokio::test]
async fn vars_are_read_when_an_attempt_is_rendered() {
    let run = |n: &str| Run::Emit { trigger: "test.done".parse().unwrap(), payload: template(json!({ "n": n })), dedupe: None };
    for read in ["${{ vars['sync.cursor'].page }}", "${{ vars.size() + 6 }}"] {
        let mut world = Plan::new(run(read)).observe(AnyTrigger).begin();
        let report = world.report_of(json!({})).await;
        assert_eq!(report.emitted.unwrap().payload.root().raw(), r#"{"n":7}"#);
    }
    let report = Plan::new(run("${{ vars['nobody.set.it'] }}")).observe(AnyTrigger).begin().report_of(json!({})).await;
    failure(&report, FailureKind::Expression);
}

#[tokio::test]
async fn event_of_an_unknown_trigger_is_a_failure() {
    let mut world = Plan::new(Run::Builtin(Builtin::Emit)).begin();
    failure(&world.report_of(json!({ "trigger": "test.nothing", "payload": {} })).await, FailureKind::ParametersInvalid);
    failure(&world.report_of(json!({ "trigger": "nothing", "payload": {} })).await, FailureKind::ParametersInvalid);
}

#[tokio::test]
async fn event_never_contains_a_key() {
    let payload = template(json!({ "token": "${{ keys['test.token'] }}" }));
    let mut world = Plan::new(Run::Emit { trigger: "test.done".parse().unwrap(), payload, dedupe: None }).observe(AnyTrigger).begin();
    failure(&world.report_of(json!({})).await, FailureKind::Expression);
}

#[tokio::test]
async fn report_is_repeated_until_the_log_accepts_it() {
    let busy = || vec![Err(SubmitError::Busy), Err(SubmitError::StorageFull), Err(SubmitError::Unknown), Err(SubmitError::Busy)];
    let mut world = Plan::new(echo()).answers(busy()).begin();
    assert_eq!(result(&world.report_of(json!({ "a": 1 })).await), json!({ "a": 1 }));
    let mut world = Plan::new(sh("echo 1")).answers(busy()).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("1"));
}

#[tokio::test]
async fn result_rejected_by_the_log_is_reported_as_a_failure() {
    let mut world = Plan::new(sh("echo 1")).answers([refuse_with(Refusal::TooLarge("it is too large".into()))]).begin();
    world.report_of(json!({})).await;
    let report = world.report().await;
    assert_eq!(failure(&report, FailureKind::OutputLimit).message, "it is too large");
    assert_eq!(report.body, None);
}

#[tokio::test]
async fn report_that_the_log_does_not_keep_becomes_a_failure_with_the_reason() {
    let misfit = Refusal::PayloadMisfit { trigger: "test.done".parse().unwrap(), misfits: "/n: is missing".into() };
    for refusal in [
        Refusal::NoTrigger("test.done".parse().unwrap()),
        misfit,
        Refusal::KeyReused { position: Position(7) },
        Refusal::TooManyVars { name: "n".parse().unwrap(), max: 10_000 },
    ] {
        let mut world = Plan::new(sh("echo 1")).answers([refuse_with(refusal.clone())]).begin();
        world.report_of(json!({})).await;
        let report = world.report().await;
        assert_eq!(failure(&report, FailureKind::ParametersInvalid).message, refusal.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn report_that_is_delayed_for_long_is_repeated_once_a_second() {
    let mut world = Plan::new(echo()).answers((0..40).map(|_| Err(SubmitError::Busy))).begin();
    let begin = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(3_600), world.report_of(json!({}))).await.expect("it is repeated more than once an hour");
    // The first is at once, and the next begins at 10 ms: 10, 20, 40, ... 640, and then 32 times a second.
    let expected = Duration::from_millis(1_270 + 32_000);
    let took = begin.elapsed();
    assert!(expected <= took && took < expected + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn end_that_the_log_cannot_accept_is_reported_as_a_loss() {
    let mut world = Plan::new(sh("echo 1")).answers([refuse_with(Refusal::Bug("index out of bounds".into()))]).begin();
    world.report_of(json!({})).await;
    let Some(Ask::LoseAttempt { attempt: lost, evidence, .. }) = world.asked.recv().await else { panic!("no loss") };
    assert_eq!((lost, evidence), (attempt(1), Evidence::MayHaveBegun));
}

#[tokio::test]
async fn late_report_is_sent_once() {
    for answer in [refuse_with(Refusal::NotOpen(execution(1))), Ok(Answer::ReportedLate)] {
        let mut world = Plan::new(sh("echo 1")).answers([answer]).begin();
        world.report_of(json!({})).await;
        world.executor.stop(Duration::from_secs(60)).await;
        assert!(world.asked.try_recv().is_err());
    }
}

#[tokio::test]
async fn attempt_is_noted_before_it_begins_and_removed_once_its_end_is_logged() {
    let mut world = Plan::new(sh("echo ready; cat")).begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    assert!(world.begun_text().contains(&attempt(1).to_string()));
    world.report().await;
}

#[tokio::test]
async fn start_reports_each_open_attempt_as_lost_with_its_evidence() {
    let mut world = Plan::new(echo()).begin();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("begun");
    let (begun, _) = BegunFile::open(&path, Opener::now(WORKER), []).unwrap();
    begun.note(attempt(1)).unwrap();
    drop(begun);
    let another: Arc<str> = "another".into();
    let given = [(attempt(1), WORKER.into()), (attempt(2), WORKER.into()), (attempt(3), another.clone())];
    let (_, previous) = BegunFile::open(&path, Opener::now("new"), given).unwrap();
    let mut owed = [1, 2, 3].map(|number| world.dispatch(number, json!({})));
    owed[2].worker = another;
    for _ in 0..3 {
        world.report().await;
    }
    world.executor.take_over(owed.map(|dispatch| Effect::Dispatch(Box::new(dispatch))), &previous).await;
    let mut lost = Vec::new();
    for _ in 0..3 {
        let Some(Ask::LoseAttempt { attempt, evidence, .. }) = world.asked.recv().await else { panic!("no loss") };
        lost.push((attempt, evidence));
    }
    lost.sort_by_key(|(attempt, _)| *attempt);
    let may = Evidence::MayHaveBegun;
    assert_eq!(lost, [(attempt(1), may), (attempt(2), Evidence::NotBegun), (attempt(3), may)], "the third was given to another worker");
}

#[tokio::test]
async fn stop_of_an_unknown_attempt_is_answered_with_its_loss() {
    let mut world = Plan::new(echo()).begin();
    world.stop(5);
    let Some(Ask::LoseAttempt { attempt: lost, evidence, .. }) = world.asked.recv().await else { panic!("no loss") };
    assert_eq!((lost, evidence), (attempt(5), Evidence::NotBegun));
}

#[tokio::test]
async fn attempt_closed_in_the_log_is_ended_and_not_reported() {
    let mut world = Plan::new(sh("echo ready; sleep 1000")).begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    world.release(1);
    let stopped = world.executor.stop(Duration::from_secs(60)).await;
    assert!(stopped.ended.is_empty());
    assert!(world.asked.try_recv().is_err());
}

#[tokio::test]
async fn stop_lets_attempts_end_within_the_grace_period() {
    let mut world = Plan::new(sh("echo ready; while [ ! -e go ]; do sleep 0.01; done; echo done")).begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    let executor = world.executor.clone();
    let stopping = tokio::spawn(async move { executor.stop(Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    world.dispatch(2, json!({}));
    std::fs::write(world.folder.path().join("private").join(attempt(1).to_string()).join("go"), "").unwrap();
    assert_eq!(result(&world.report().await), json!("ready\ndone"));
    assert!(stopping.await.unwrap().ended.is_empty());
    assert!(world.asked.try_recv().is_err(), "what came after the stop was not begun");
}

#[tokio::test]
async fn attempt_still_running_after_the_stop_grace_is_ended_but_not_reported() {
    let mut world = Plan::new(sh("echo ready; sleep 1000")).begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    let stopped = world.executor.stop(Duration::ZERO).await;
    assert_eq!(stopped.ended, [attempt(1)]);
    assert!(world.asked.try_recv().is_err());
    assert!(!world.has_private_directories());
    let (_, previous) = BegunFile::open(world.folder.path().join("begun"), Opener::now("new"), [(attempt(1), WORKER.into())]).unwrap();
    assert_eq!(previous.evidence(attempt(1), WORKER), Evidence::MayHaveBegun);
}

#[tokio::test]
async fn attempt_without_an_action_or_its_parameters_fails() {
    let mut world = Plan::new(sh("echo 1")).begin();
    let mut dispatch = world.dispatch(1, json!({}));
    world.report().await;
    dispatch.attempt = attempt(2);
    dispatch.action = "test.gone".parse().unwrap();
    world.executor.carry_out(Effect::Dispatch(Box::new(dispatch.clone())));
    assert!(matches!(world.report().await.outcome, ReportOutcome::Failed(failure) if failure.message.contains("`test.gone`")));
    dispatch.attempt = attempt(3);
    dispatch.action = "test.act".parse().unwrap();
    dispatch.params.digest = ensue_engine::record::Digest::of(b"gone");
    world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
    failure(&world.report().await, FailureKind::ParametersInvalid);
}
