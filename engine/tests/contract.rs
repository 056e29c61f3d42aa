//! The contract of the log: every kind of fact that was ever released, in its stored form.
//!
//! `contract/<kind>.v<n>.json` holds one fact, byte for byte as it is written, and the chain's hash of a
//! fixed record around it. A file is never edited: a new schema of a kind is a new file, and all releases
//! must be able to read the old one. For a new kind or schema add its sample here and run
//! `cargo test -p ensue-engine -- --ignored write_missing_contract_files`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use ensue_engine::access::audit::facts::{AccessDenied, ConnectionTested, ExportMade, KeyUsed, LoginRefused};
use ensue_engine::access::facts::{
    CredentialChange, CredentialChanged, CredentialKind, GrantAdded, GrantRemoved, IdentityAbsentSet, IdentityAdded, IdentityDisabled,
    IdentityEnabled, IdentityErased, IdentityGroupsSet, IdentityKind, IdentityLinked, IdentityUnlinked, KeyRemoved, KeySet,
    LoginLinkMinted, RoleRemoved, RoleSet, SessionEnd, SessionEnded, SessionOpened, TokenAdded, TokenLimited, TokenRevoked, TokenRotated,
};
use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::access::keys::facts::{KeyExpiring, KeyExpirySet, KeyRevealed, KeyRotated, MasterKeyRotated};
use ensue_engine::access::principal::Principal;
use ensue_engine::access::subject::Subject;
use ensue_engine::catalog::facts::{PackInstalled, PackPermissionsSet, PackRemoved};
use ensue_engine::catalog::{Control, ItemFailure, LockConflict, Mode, OnFailure, OnLost};
use ensue_engine::dead_letters::facts::{DeadLetterDismissed, DeadLetterRetried};
use ensue_engine::events::facts::{DeliveredWith, DeliveryRefused, EventReceived, KeptMessage, MessageForm};
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::{
    ArtifactKept, AttemptEmitted, AttemptFailed, AttemptLost, AttemptProgressed, AttemptReportedLate, AttemptStarted, AttemptSucceeded,
    Evidence, ExecutionBecameIndeterminate, ExecutionCancelRequested, ExecutionCancelled, ExecutionFailed, ExecutionPaused,
    ExecutionRequested, ExecutionResumed, ExecutionSettled, ExecutionSucceeded, ExecutionTimedOut, ExplainedPart, Failure, FailureKind,
    GivenEvent, MessageRefused, Pace, Settlement, WantedLink,
};
use ensue_engine::executions::scope::ExecutionScope;
use ensue_engine::fact::Fact;
use ensue_engine::health::facts::{
    ClockAccepted, ClockStepped, LogRestored, NodeStarted, ReactionDeferred, ReactionDismissed, ReactionHeld, ReactionParked,
    ReactionResumed, ReactionRetried,
};
use ensue_engine::ids::{
    AttemptId, EnforcementId, EventId, ExecutionId, GrantId, Id, IdentityId, InquiryId, LinkId, LogId, RuleId, ScheduleId, SensorId,
    SessionId, TokenId,
};
use ensue_engine::inquiries::facts::{
    InquiryAnswered, InquiryDelegated, InquiryEscalated, InquiryNotificationFailed, InquiryNotified, InquiryOpened, InquiryReminded,
    InquiryWithdrawn, LinkMinted, LinkUsed, Occasion, Verdict,
};
use ensue_engine::locks::facts::{Claim, Lock, LockAcquired, LockAwaited, LockOwner};
use ensue_engine::names::{SensorRef, StepName};
use ensue_engine::record::{Actor, Body, BodyHandle, CatalogRevision, Cause, Chain, Digest, Epoch, Position, Record, Revision, StreamId};
use ensue_engine::rules::facts::{EnforcementMade, LoopStopped, Outcome, RuleErred, RuleErrorsCounted, RuleModeSet};
use ensue_engine::rules::flow::facts::{
    ControlKey, ControlledMatch, EnforcementHeldOn, EnforcementReleased, EnforcementSuperseded, FlowEndedBecause, Release, RuleFlowEnded,
    RuleKeyForgotten, SupersededBecause,
};
use ensue_engine::schedule::facts::{EndedBecause, ScheduleEnded, ScheduleMissed, ScheduleOwner, ScheduleSet};
use ensue_engine::schedule::plan::Misfire;
use ensue_engine::sensors::facts::{
    SensorAdvanced, SensorCursorSet, SensorEnded, SensorEndedBecause, SensorError, SensorErrorKind, SensorFailed, SensorMode,
    SensorModeSet, SensorPartFailed, SensorPartRecovered, SensorRestarted, SensorSet, SensorStarted, SensorTested,
};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::facts::{TimerFired, TimerKind, TimerSet};
use ensue_engine::vars::facts::{VarRemoved, VarSet};
use ensue_engine::workflows::facts::{
    BadEnd, PartOf, PartRole, Purpose, RerunFrom, RerunPlanned, SkippedBecause, StepChosen, StepEnded, StepExpanded, StepFailed,
    StepSkipped, StepTakenOver, TakenOverPart, UndoBegun, UndoFailed, WaitErred, WaitKey, WaitMatched, WaitOpened,
};
use ensue_test_support::NOON;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    fact: Box<RawValue>,
    chain: Chain,
}

fn id(number: u128) -> Id {
    Id::root(NOON, number)
}

/// One fact of every kind, with every field set.
fn samples() -> Vec<Fact> {
    let rule: ensue_engine::names::RuleRef = "release.ship_on_tag".parse().unwrap();
    let (rule_id, event, execution, attempt) = (RuleId(id(1)), EventId(id(2)), ExecutionId(id(3)), AttemptId(id(4)));
    let (enforcement, token, catalog) = (EnforcementId(id(5)), TokenId(id(6)), CatalogRevision(12));
    let (identity, grant, session, link) = (IdentityId(id(72)), GrantId(id(73)), SessionId(id(74)), LinkId(id(75)));
    let (schedule, owner) = (ScheduleId(id(7)), ScheduleOwner::Rule(rule.clone(), rule_id));
    let (sensor, feed): (_, SensorRef) = (SensorId(id(76)), "feed.items".parse().unwrap());
    let asked = InquiryId(Id::root(NOON, 11));
    let step: StepName = "deploy".parse().unwrap();
    let scope = Box::new(ExecutionScope {
        pack: "release".parse().unwrap(),
        action: "release.ship".parse().unwrap(),
        labels: [("site".parse().unwrap(), "eu".parse().unwrap())].into(),
    });
    let part_of = PartOf { workflow: execution, step: step.clone(), item: Some(3), on_failure: OnFailure::Continue, role: PartRole::Step };
    let lock = Lock { owner: LockOwner::Action("release.deploy".parse().unwrap()), key: Digest::of(b"text eu") };
    let error = Failure::new(FailureKind::ExitCode, "the program ended with 3 — \"no such file\"").with_detail(3);
    let refused = Failure::new(FailureKind::NotPermitted, "the pack `release` may not run `core.http`");
    let unmapped = Failure::new(FailureKind::Output, "`output` cannot be computed: there is no `id`");
    let part = |part: &str, value: &str| ExplainedPart { part: part.into(), value: value.into() };
    let untrue = Failure {
        explained: vec![part("params.load < 3", "false"), part("params.load", "7")],
        ..Failure::new(FailureKind::Assertion, "the site is busy")
    };
    let version = TriggerVersion::new(2).unwrap();
    let given = GivenEvent {
        trigger: "github.push".parse().unwrap(),
        version,
        source: "github.webhook".into(),
        occurred_at: NOON,
        payload: BodyHandle { digest: Digest::of(b"{}"), bytes: 2, at: Position(40) },
    };
    let wanted_link = WantedLink {
        inquiry: asked,
        r#for: "ana".into(),
        digest: Digest::of(b"question"),
        until: Some(NOON.plus_millis(60_000)),
        place: format!("https://ensue.example.test/ui/inbox/{asked}#link-{execution}"),
    };
    vec![
        EventReceived {
            trigger: "github.push".parse().unwrap(),
            version,
            source: "github.webhook".into(),
            sensor: Some("github.webhook".parse().unwrap()),
            rule: Some(rule.clone()),
            occurred_at: NOON,
            catalog,
            undecided: 1,
            matched: 2,
            erred: 1,
            again: vec![Position(40)],
            dedupe: Some(Digest::of(b"delivery")),
            internal_above: [InternalTrigger::ExecutionEnded].into(),
        }
        .into(),
        DeliveryRefused {
            sensor: "github.webhook".parse().unwrap(),
            trigger: Some("github.push".parse().unwrap()),
            reason: "/ref: is missing; it is a required string".into(),
            with: Some(DeliveredWith {
                headers: vec![("x-github-event".into(), "push".into())],
                query: vec![("team".into(), "garden".into())],
                method: Some("PUT".into()),
                path: vec![("room".into(), "shed".into())],
                message: Some(KeptMessage {
                    form: MessageForm::Bytes,
                    about: "{\"file\":{\"name\":\"a.json\"}}".into(),
                    key: Some("orders/7".into()),
                    time: Some(NOON),
                }),
            }),
        }
        .into(),
        EnforcementMade {
            rule: rule.clone(),
            rule_id,
            catalog,
            event,
            outcome: Outcome::Held { by: Control::Debounce, until: NOON.plus_millis(30_000) },
            flow: Some(ControlledMatch {
                flow: Digest::of(b"dedupe 600000, debounce 30000"),
                keys: [(Control::Dedupe, Some(NOON.plus_millis(600_000))), (Control::Debounce, None)]
                    .map(|(control, until)| (control, ControlKey { key: Digest::of(b"text main"), until }))
                    .into(),
                distinct: Some(Digest::of(b"text eu")),
                given: Some(given.clone()),
                internal_above: [InternalTrigger::InquiryOpened].into(),
            }),
        }
        .into(),
        RuleErred { rule: rule.clone(), rule_id, event, error: Digest::of(b"no such field"), message: "no such field".into() }.into(),
        RuleErrorsCounted { rule: rule.clone(), rule_id, event, error: Position(40), count: 17 }.into(),
        RuleModeSet { rule: rule.clone(), rule_id, mode: Mode::Shadow }.into(),
        LoopStopped { rule: rule.clone(), rule_id, event, depth: 17 }.into(),
        EnforcementHeldOn { rule: rule.clone(), rule_id, by: Control::Window, until: NOON }.into(),
        EnforcementReleased { rule: rule.clone(), rule_id, outcome: Release::Skipped { reason: "execution 7 is open".into() } }.into(),
        EnforcementSuperseded { rule: rule.clone(), rule_id, why: SupersededBecause::Newer, by: Some(enforcement) }.into(),
        RuleKeyForgotten { rule: rule.clone(), rule_id, control: Control::Dedupe, key: Digest::of(b"text main") }.into(),
        RuleFlowEnded { rule: rule.clone(), rule_id, why: FlowEndedBecause::Disabled }.into(),
        ExecutionRequested {
            action: "core.http".parse().unwrap(),
            catalog,
            rule: Some(rule),
            event: Some(event),
            enforcement: Some(enforcement),
            given: Some(Box::new(given)),
            part_of: Some(part_of.clone()),
            rerun_of: Some(execution),
            priority: -20,
            queue: "heavy".parse().unwrap(),
            labels: [("site", "eu"), ("team", "web")].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into(),
            scope: Some(scope.clone()),
            principal: Some(Principal::Pack("release".parse().unwrap())),
            given_labels: ["team".parse().unwrap()].into(),
            idempotent: true,
            on_lost: OnLost::Ask,
            timeout_millis: 60_000,
            grace_millis: 10_000,
            failures_max: Some(4),
            limit_millis: Some(3_600_000),
            start_at: Some(NOON),
            locks: vec![Claim { owner: lock.owner.clone(), key: lock.key, limit: 2, conflict: LockConflict::CancelRunning }],
            wait_millis: None,
            pace: Pace::AtOnce,
            internal_above: [InternalTrigger::ExecutionEnded, InternalTrigger::RuleErred].into(),
            link: Some(Box::new(wanted_link)),
        }
        .into(),
        AttemptStarted { number: 2, token: 9, worker: "local".into(), lease_millis: 30_000 }.into(),
        AttemptProgressed { attempt, index: 3, thousandths: Some(400) }.into(),
        AttemptEmitted { attempt, index: 4, event }.into(),
        ArtifactKept {
            attempt,
            index: 5,
            name: "Überblick \"2026\".pdf".parse().unwrap(),
            media_type: Some("application/pdf".parse().unwrap()),
            blob: Digest::of(b"artifact"),
            bytes: 81_920,
        }
        .into(),
        MessageRefused { attempt, index: 6, reason: "the file `out` is a link".into() }.into(),
        AttemptSucceeded { attempt, ended_at: Some(Timestamp::from_micros(1_774_699_200_123_456)) }.into(),
        AttemptFailed {
            attempt,
            error: unmapped.clone(),
            retry_after_millis: Some(30_000),
            output_tail: Some("deploy: no such file".into()),
            ended_at: Some(Timestamp::from_micros(1_774_699_200_123_456)),
        }
        .into(),
        AttemptLost { attempt, evidence: Evidence::MayHaveBegun, error: Some(error.clone()) }.into(),
        AttemptReportedLate { attempt, error: Some(unmapped.clone()) }.into(),
        ExecutionSucceeded { part_of: Some(part_of.clone()) }.into(),
        ExecutionFailed { error: unmapped.clone(), part_of: Some(part_of.clone()), scope: Some(scope.clone()) }.into(),
        ExecutionTimedOut { error: error.clone(), part_of: Some(part_of.clone()), scope: Some(scope.clone()) }.into(),
        ExecutionCancelRequested {}.into(),
        ExecutionPaused {}.into(),
        ExecutionResumed {}.into(),
        ExecutionCancelled { error: Some(error.clone()), part_of: Some(part_of.clone()), by: Some(event) }.into(),
        LockAwaited { lock: lock.clone(), limit: 2, behind: vec![execution] }.into(),
        LockAcquired { lock }.into(),
        ExecutionBecameIndeterminate {}.into(),
        ExecutionSettled { outcome: Settlement::Failed { error: "the page is not there".into() } }.into(),
        StepSkipped { step: step.clone(), because: SkippedBecause::Event }.into(),
        StepChosen { step: step.clone(), ended: vec!["build".parse().unwrap()], cancelled: vec!["check".parse().unwrap()] }.into(),
        StepFailed { step: step.clone(), item: Some(3), error: untrue, on_failure: OnFailure::Fail }.into(),
        StepExpanded { step: step.clone(), count: 12, item_failure: ItemFailure::StopsOthers, takes_over: true, fail_at: Some(2) }.into(),
        StepEnded { step: step.clone(), error: Some(refused.clone()), on_failure: OnFailure::CancelOthers, role: PartRole::Step }.into(),
        UndoBegun { count: 3, end: BadEnd::Failed { error } }.into(),
        UndoFailed { step: step.clone(), item: Some(3), error: refused }.into(),
        WaitOpened {
            step: step.clone(),
            trigger: "github.workflow_run".parse().unwrap(),
            key: Some(WaitKey {
                paths: vec![["event", "payload", "sha"].map(str::to_owned).into()],
                values: Digest::of(b"[\"text abc\"]"),
            }),
            purpose: Purpose::Cancels,
        }
        .into(),
        WaitMatched {
            step: step.clone(),
            execution: Some(execution),
            event,
            given: GivenEvent {
                trigger: "github.workflow_run".parse().unwrap(),
                version,
                source: "github.webhook".into(),
                occurred_at: NOON,
                payload: BodyHandle { digest: Digest::of(b"{}"), bytes: 2, at: Position(40) },
            },
            purpose: Purpose::Cancels,
        }
        .into(),
        WaitErred { step: step.clone(), event, message: "no such field".into(), purpose: Purpose::Cancels }.into(),
        RerunPlanned { of: execution, from: RerunFrom::Step(step.clone()), count: 3 }.into(),
        StepTakenOver {
            step,
            item: Some(3),
            taken: TakenOverPart {
                execution: Some(execution),
                action: Some("core.http".parse().unwrap()),
                is_repeated: true,
                question: Some(Digest::of(b"question")),
                result: Some(BodyHandle { digest: Digest::of(b"{}"), bytes: 2, at: Position(40) }),
            },
        }
        .into(),
        InquiryOpened {
            title: "Ship v1?".into(),
            assignees: vec!["role:release_managers".parse().unwrap(), "ana".parse().unwrap()],
            excluded: vec!["bob".into()],
            quorum: 2,
            veto: Some("answer.ship == false".into()),
            expires_at: Some(NOON),
            digest: Digest::of(b"asked"),
            digest_required: true,
            part_of: Some(part_of),
            attempt: Some(attempt),
            scope: Some(scope),
        }
        .into(),
        InquiryAnswered {
            inquiry: asked,
            by: "ana".into(),
            verdict: Verdict::Decides,
            digest: Some(Digest::of(b"asked")),
            on_behalf_of: Some(identity),
        }
        .into(),
        InquiryReminded { inquiry: asked, number: 2 }.into(),
        InquiryEscalated { inquiry: asked, number: 1, to: vec!["role:leads".parse().unwrap(), "bo".parse().unwrap()] }.into(),
        InquiryNotified { inquiry: asked, execution, of: Occasion::Escalated }.into(),
        InquiryNotificationFailed { inquiry: asked, of: Occasion::Reminded, error: unmapped }.into(),
        InquiryWithdrawn { inquiry: asked, by: Some(event) }.into(),
        InquiryDelegated { inquiry: asked, by: IdentityId(id(79)), to: IdentityId(id(79)) }.into(),
        LinkMinted { id: link, inquiry: asked, r#for: identity, until: NOON.plus_millis(60_000) }.into(),
        LinkUsed { id: link, inquiry: asked, r#for: identity, until: NOON.plus_millis(60_000) }.into(),
        TimerSet { kind: TimerKind::Retry, number: 2, due: NOON, schedule: Some(schedule) }.into(),
        TimerFired { kind: TimerKind::Timeout, number: 1, due: NOON, schedule: Some(schedule) }.into(),
        ScheduleSet { schedule, owner, plan: Digest::of(b"0 3 * * * in UTC"), words: "0 3 * * * in UTC".into() }.into(),
        ScheduleMissed { schedule, from: NOON, until: NOON.plus_millis(60_000), misfire: Misfire::FireOnce }.into(),
        ScheduleEnded { schedule, why: EndedBecause::Disabled }.into(),
        SensorSet { sensor: feed.clone(), id: sensor, source: "process".into(), identity: Digest::of(b"./watch.py") }.into(),
        SensorEnded { id: sensor, why: SensorEndedBecause::Changed }.into(),
        SensorModeSet { sensor: feed, mode: SensorMode::Disabled }.into(),
        SensorAdvanced {
            id: sensor,
            run: 3,
            cursor: None,
            change: serde_json::from_value(serde_json::json!({ "to": Digest::of(b"7"), "pieces": [[0, 520], "new \"text\"", [530, 41]] }))
                .ok(),
            read: 1,
            made: 1,
            repeated: 0,
            refused: 0,
            passed: 0,
            unkept: None,
        }
        .into(),
        SensorCursorSet { id: sensor, from: Some(Digest::of(b"{\"line\":7}")), cursor: Some("{\"line\":1}".into()) }.into(),
        SensorRestarted { id: sensor }.into(),
        SensorTested { id: sensor }.into(),
        SensorStarted { id: sensor, run: 3, release: "0.1.0".into() }.into(),
        SensorFailed {
            id: sensor,
            run: 3,
            error: SensorError::new(SensorErrorKind::Exited, "the program ended with 3"),
            failures: 4,
            retry_at: NOON.plus_millis(8_000),
        }
        .into(),
        SensorPartFailed { id: sensor, run: 3, part: "https://news.example/feed".into(), error: "the server answered 500".into() }.into(),
        SensorPartRecovered { id: sensor, run: 3, part: "https://news.example/feed".into() }.into(),
        PackInstalled { name: "release".parse().unwrap(), version: "1.4.0".into(), digest: Digest::of(b"release"), catalog }.into(),
        PackRemoved { name: "release".parse().unwrap(), catalog }.into(),
        PackPermissionsSet { name: "release".parse().unwrap(), permissions: Some(vec!["actions:execute on action=core.http".into()]) }
            .into(),
        VarSet { name: "sync.cursor".parse().unwrap(), execution: Some(execution) }.into(),
        VarRemoved { name: "sync.cursor".parse().unwrap(), execution: Some(execution) }.into(),
        KeySet { key: "release.deploy_token".parse().unwrap(), version: 3 }.into(),
        KeyRemoved { key: "release.deploy_token".parse().unwrap() }.into(),
        TokenAdded { id: token, name: "ana".into(), roles: vec!["admin".into(), "release_managers".into()] }.into(),
        TokenRevoked { id: token }.into(),
        TokenLimited {
            id: token,
            identity: Some(identity),
            scopes: Some(vec!["events:write on pack=shop".into()]),
            expires_at: Some(NOON.plus_millis(60_000)),
        }
        .into(),
        TokenRotated { id: token, successor: TokenId(id(71)), until: NOON.plus_millis(60_000) }.into(),
        IdentityAdded { id: identity, kind: IdentityKind::Service, by_issuer: Some("github".parse().unwrap()) }.into(),
        IdentityDisabled { id: identity }.into(),
        IdentityEnabled { id: identity }.into(),
        IdentityErased { id: identity }.into(),
        IdentityGroupsSet {
            id: identity,
            source: Some("corp".parse().unwrap()),
            said_at: Some(NOON),
            groups: vec!["corp:release".parse().unwrap(), "corp:Team A".parse().unwrap()],
        }
        .into(),
        IdentityLinked { id: identity, issuer: "corp".parse().unwrap() }.into(),
        IdentityUnlinked { id: identity, issuer: "corp".parse().unwrap() }.into(),
        IdentityAbsentSet {
            id: IdentityId(id(79)),
            from: Some(NOON),
            until: Some(NOON.plus_millis(60_000)),
            deputy: Some(IdentityId(id(79))),
        }
        .into(),
        RoleSet { name: "restarter".parse().unwrap(), permissions: vec!["executions:rerun".into()], declared: true }.into(),
        RoleRemoved { name: "restarter".parse().unwrap() }.into(),
        GrantAdded {
            id: grant,
            subject: Subject::Group("release".parse().unwrap()),
            role: "author".parse().unwrap(),
            on: Some("pack=release,action=release.*".parse().unwrap()),
            until: Some(NOON.plus_millis(60_000)),
            declared: true,
        }
        .into(),
        GrantRemoved { id: grant }.into(),
        SessionOpened {
            id: session,
            identity: Some(identity),
            way: "token".into(),
            credential: Some(token),
            only: Some(asked),
            link: Some(LinkId(id(84))),
            until: NOON.plus_millis(60_000),
        }
        .into(),
        SessionEnded { id: session, reason: SessionEnd::CredentialGone }.into(),
        CredentialChanged { identity, what: CredentialKind::Otp, how: CredentialChange::Reset }.into(),
        LoginLinkMinted { id: LinkId(id(84)), token, identity: Some(identity), until: NOON.plus_millis(86_400_000) }.into(),
        KeyRotated { key: "release.deploy_token".parse().unwrap(), version: 4, previous_until: Some(NOON.plus_millis(86_400_000)) }.into(),
        KeyExpirySet { key: "release.deploy_token".parse().unwrap(), version: 4, expires_at: NOON.plus_millis(86_400_000) }.into(),
        KeyExpiring { key: "release.deploy_token".parse().unwrap(), version: 4, expires_at: NOON.plus_millis(86_400_000) }.into(),
        KeyRevealed { key: "release.deploy_token".parse().unwrap(), version: 4 }.into(),
        MasterKeyRotated { from: MasterKeyId([1, 35, 69, 103, 137, 171, 205, 239]), to: MasterKeyId([7; 8]) }.into(),
        AccessDenied { permission: Some("keys:write".into()), count: 3, first: NOON, last: NOON.plus_millis(60_000) }.into(),
        LoginRefused { way: Some("password".into()), identity: Some(identity), count: 3, first: NOON, last: NOON.plus_millis(60_000) }
            .into(),
        KeyUsed {
            key: "release.deploy_token".parse().unwrap(),
            version: Some(4),
            action: "release.ship".parse().unwrap(),
            count: 3,
            first: NOON,
            last: NOON.plus_millis(3_600_000),
        }
        .into(),
        ExportMade {
            what: "audit".into(),
            filters: [("actor".to_owned(), format!("identity/{identity}"))].into(),
            rows: 2,
            digest: Digest::of(b"two rows"),
        }
        .into(),
        ConnectionTested { connection: "orders".parse().unwrap(), error: Some("auth".into()) }.into(),
        DeadLetterRetried { of: id(61), events: vec![EventId(id(62))] }.into(),
        DeadLetterDismissed { of: id(61) }.into(),
        NodeStarted { release: "0.1.0".into() }.into(),
        ClockStepped { from: NOON, to: Timestamp::from_micros(NOON.micros() + 90_000_001) }.into(),
        ClockAccepted {}.into(),
        LogRestored { known: Position(61), chain: Chain::default() }.into(),
        ReactionDeferred { of: Position(40), next: 499 }.into(),
        ReactionResumed { of: Position(40) }.into(),
        ReactionHeld { of: Position(40), next: 3, execution }.into(),
        ReactionParked { of: Position(40), next: 499, error: "index out of bounds".into() }.into(),
        ReactionRetried { of: Position(40) }.into(),
        ReactionDismissed { of: Position(40) }.into(),
    ]
}

/// The chain's hash of the fixed record with a fact of some schema.
fn chain_of(fact: &Fact, schema: u16, fact_json: Bytes) -> Chain {
    let record = Record {
        position: Position(7),
        log: LogId(id(1)),
        epoch: Epoch(3),
        batch: id(8),
        stream: StreamId::Log(LogId(id(1))),
        revision: Revision(5),
        schema,
        id: id(9),
        time: NOON,
        actor: Actor::Token("ana".into()),
        cause: Cause {
            parent: Some(id(10)),
            root: id(11),
            depth: 1,
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        },
        fact: fact.clone(),
        fact_json,
        body: Some(Body::json(&br#"{"ref":"refs/tags/v1.4.0"}"#[..])),
        chain: Chain::default(),
    };
    Chain::default().over(&record)
}

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "contract"].iter().collect()
}

fn file_name(kind: &str, schema: u16) -> String {
    format!("{kind}.v{schema}.json")
}

/// Every file of the contract: its name, its kind and schema, its text.
fn files() -> Vec<(String, String, u16, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (kind, schema) = name.strip_suffix(".json").and_then(|stem| stem.rsplit_once(".v")).expect("a file is `<kind>.v<n>.json`");
        files.push((name.clone(), kind.to_owned(), schema.parse().unwrap(), fs::read_to_string(path).unwrap()));
    }
    files.sort();
    files
}

fn golden_text(fact: &Fact) -> String {
    let json = fact.to_json().unwrap();
    let chain = chain_of(fact, fact.schema(), json.clone());
    format!("{{\"fact\":{},\"chain\":\"{chain}\"}}\n", std::str::from_utf8(&json).unwrap())
}

#[test]
fn every_kind_has_a_sample() {
    let sampled: Vec<(&str, u16)> = samples().iter().map(|fact| (fact.kind(), fact.schema())).collect();
    assert_eq!(sampled, Fact::KINDS);
}

#[test]
fn contract_files_match_the_kinds_and_schemas() {
    let expected = Fact::KINDS.iter().flat_map(|(kind, newest)| (1..=*newest).map(move |schema| file_name(kind, schema)));
    let mut expected: Vec<String> = expected.collect();
    expected.sort();
    assert_eq!(files().into_iter().map(|(name, ..)| name).collect::<Vec<_>>(), expected);
}

#[test]
fn released_facts_are_still_readable() {
    for (name, kind, schema, text) in files() {
        let file: ContractFile = serde_json::from_str(&text).unwrap();
        let json = file.fact.get().as_bytes().to_vec();
        let fact = Fact::parse(&kind, schema, &json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fact.kind(), kind, "{name}");
        assert_eq!(chain_of(&fact, schema, json.into()), file.chain, "{name}");
    }
}

#[test]
fn written_facts_match_the_contract_byte_for_byte() {
    let files: BTreeMap<String, String> = files().into_iter().map(|(name, _, _, text)| (name, text)).collect();
    for sample in samples() {
        let name = file_name(sample.kind(), sample.schema());
        assert_eq!(files.get(&name), Some(&golden_text(&sample)), "{name}");
    }
}

#[test]
fn fact_with_an_unknown_field_is_rejected() {
    for sample in samples() {
        let mut json: serde_json::Value = serde_json::from_slice(&sample.to_json().unwrap()).unwrap();
        json["surprise"] = true.into();
        assert!(Fact::parse(sample.kind(), sample.schema(), json.to_string().as_bytes()).is_err(), "{}", sample.kind());
    }
}

#[test]
fn failure_kind_has_the_same_name_in_the_log_and_in_output() {
    let mut kinds = 0;
    for text in [
        "parameters_invalid",
        "expression",
        "key_missing",
        "sandbox",
        "spawn",
        "exit_code",
        "signal",
        "timeout",
        "result_invalid",
        "output_limit",
        "network",
        "egress_denied",
        "redirect_invalid",
        "too_many_redirects",
        "answer_unreadable",
        "http_status",
        "memory",
        "lost",
        "child_failed",
        "undo_failed",
        "fail",
        "expired",
        "cancelled",
        "not_permitted",
        "assertion",
        "output",
        "smtp_status",
    ] {
        let kind: FailureKind = serde_json::from_value(text.into()).unwrap();
        assert_eq!(kind.as_str(), text);
        kinds += 1;
    }
    assert_eq!(kinds, FailureKind::ALL.len());
}

#[test]
#[ignore = "adds the files of new kinds and schemas to the contract; it never changes one"]
fn write_missing_contract_files() {
    for sample in samples() {
        let path = directory().join(file_name(sample.kind(), sample.schema()));
        if !path.exists() {
            fs::write(path, golden_text(&sample)).unwrap();
        }
    }
}
