//! Random commands: what may happen to a log, in any order, including every refusal.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::access::audit::facts::{AccessDenied, ConnectionTested, ExportMade, KeyUsed, LoginRefused};
use ensue_engine::access::facts::{CredentialChange, CredentialKind, IdentityKind, SessionEnd};
use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::state::Standing;
use ensue_engine::access::subject::Subject;
use ensue_engine::catalog::{
    Acts, Backoff, Does, Excess, Jitter, LockConflict, Mode, OnExpire, OnLost, Period, Rest, Retry, RetryAfter, RunAs, Since, Wait,
};
use ensue_engine::command::{
    Admission, AdmittedIdentity, Ask, ChangedCredential, Command, Conflict, DeniedRequests, IssuerGroups, KeyRotation, MessageContent,
    NewAbsence, NewDelegation, NewGrant, NewLink, NewLoginLink, NewSession, NewToken, OpenedLink, PackChange, PartState, RefusedDelivery,
    RefusedLogin, ReportOutcome, RetriedDelivery, RotatedToken, SensorBatch, SensorParts, Settings, UsedKey,
};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::events::internal::InternalTrigger;
use ensue_engine::executions::facts::{Evidence, FailureKind, Pace, Settlement};
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, GrantId, Id, IdentityId, InquiryId, LinkId, Role, SessionId, TokenId};
use ensue_engine::names::{RoleName, SensorRef, WorkerQueueName};
use ensue_engine::record::{Actor, AttemptOf, Body, Digest, Position, Record, StreamId};
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_engine::rules::state::ERROR_SUMMARY_MILLIS;
use ensue_engine::sensors::cursor::{Cursor, NewCursor};
use ensue_engine::sensors::facts::{SensorError, SensorErrorKind, SensorFailed, SensorMode};
use ensue_engine::time::Timestamp;
use ensue_engine::workflows::facts::RerunFrom;
use ensue_test_support::NOON;
use ensue_test_support::spec::CatalogsHealth;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::support::definitions::{concurrency, cron, every, flow, template};
use crate::support::site::{
    artifact, failed_outcome, install_demo, progress, receive_events, remove_var, report, report_changing, report_emitting, set_var,
    take_message,
};
use crate::support::workflow::{awaits, does, expression, fails};
use crate::support::{
    Pieces, Site, accept_clock, ana, answer_inquiry, asked_by, cancel, dismiss, fire_timers, lose, note_restore, note_start, permit_at,
    retry, set_mode, settle,
};

/// The pulling sensor.
const FEED: &str = "demo.feed";
const ACTIONS: [&str; 17] = [
    "demo.ask",
    "demo.back",
    "demo.broken",
    "demo.echo",
    "demo.fail",
    "demo.flow",
    "demo.question",
    "demo.retry",
    "demo.sleep",
    "demo.urgent",
    "demo.half",
    "demo.turns",
    "demo.newest",
    "demo.alone",
    "demo.reads",
    "demo.far",
    "demo.caller",
];
/// The key expression for payloads.
const KEY: &str = "string(event.payload.?n.orValue(0))";
/// How many keys a rule's flow control may remember.
const KEYS_MAX: usize = 2;
/// The queue besides the default one.
const HEAVY: &str = "heavy";
/// The people who answer, with their roles.
const PEOPLE: [&str; 4] = ["bo managers operator", "ana", "cy managers", "di viewer"];
const HOUR_MICROS: i64 = 3_600_000_000;
const RULES: [&str; 11] = [
    "demo.again",
    "demo.errs",
    "demo.one",
    "demo.wide",
    "demo.hourly",
    "demo.daily",
    "demo.paced",
    "demo.once",
    "demo.single",
    "demo.watch",
    "demo.reaches",
];

/// What the pack may do with other packs.
const PERMISSIONS: &[Option<&[&str]>] =
    &[None, Some(&[]), Some(&["actions:execute on action=other.work"]), Some(&["events:write", "actions:execute on pack=oth*"])];
/// The name of the token of the caller, among the others.
const CALLER: u8 = 2;

/// One thing that happens to a log.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Receive(Vec<(Payload, Option<u8>)>),
    Request(usize),
    Succeed(Index),
    Emit(Index, Payload),
    Fail(Index, FailureKind),
    /// A running attempt sends a message, perhaps a repeated one.
    Say(Index, u32, What),
    /// A report on any attempt that ever existed, perhaps with another token.
    ReportAny(Index, Token),
    Lose(Index, Evidence),
    Cancel(Index),
    /// A person answers an inquiry: allowed to, or not, or for the second time.
    Answer(Index, usize),
    Settle(Index, Settlement),
    /// An execution that a caller requested is rerun once it has ended.
    Rerun(Index, Again),
    Pause(Index),
    /// A paused execution is resumed.
    Resume(Index),
    SetMode(usize, Mode),
    /// The pack is installed again; the edges may keep using the previous one.
    Install(Edges),
    /// The sensor reads something else now, or what it read before.
    Refeed(u8),
    /// Something about the pulling sensor.
    Sensor(SensorStep),
    /// Another pack, on which nothing depends, is installed or removed.
    Extra(Presence),
    /// The pack may do this with other packs; without a list, everything.
    Permit(Option<&'static [&'static str]>),
    /// A sensor could not create an event from a delivery.
    Refuse,
    /// Retries a dead letter, perhaps for the second time.
    RetryDeadLetter(Index, Payload),
    DismissDeadLetter(Index),
    /// The wall clock moved by so many microseconds.
    MoveClock(i64),
    /// Due timers fire.
    FireTimers,
    /// So many more attempts of the other queue may start, and waiting ones do.
    Allow(u64),
    /// A person accepts the clock.
    AcceptClock,
    /// The log was restored, and so many of its records are missing.
    NoteRestore(u64),
    /// An action is requested, to start so many milliseconds later.
    RequestLater(usize, u64),
    /// A running execution emits the event that caused it, again and again.
    GoRound,
    SetVar(Option<u8>),
    /// A running execution sets or removes a var.
    ChangeVar(Index, Option<u8>),
    /// A key is set, and its value expires after so many milliseconds.
    SetKey(u32, Option<u64>),
    /// A key is rotated with an overlap of so many milliseconds; if it is not set, it is set.
    RotateKey(u64),
    /// Requests and logins were rejected, and a list was exported.
    NoteAudit(u64),
    /// The value of a key is shown: the current one, or the one before it.
    RevealKey(u32),
    /// The values are sealed under the master key of this number.
    RotateMaster(u8),
    RemoveKey,
    AddToken(u8, Vec<String>),
    RevokeToken(u8),
    /// A change of identities, roles or grants.
    Access(AccessStep, u8),
    Start(u32),
    Wait(u64),
    /// The catalogs become unreadable, or readable again.
    Catalogs(CatalogsHealth),
    Retry(Index),
    Dismiss(Index),
}

/// What happens to a pulling sensor.
#[derive(Clone, Debug)]
pub(crate) enum SensorStep {
    /// A run reads this far, from the cursor or from elsewhere.
    Read(u8, Token),
    Start,
    Fail(u32),
    /// A part of what it reads fails, or works.
    Part(u8, PartState),
    Set(SensorMode),
    Rewind(Option<u8>),
    Skip(u8),
    Restart,
    Test,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload {
    Nothing,
    One,
    Text,
    /// A very large number of rules match it.
    Wide,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Progress,
    Event(Payload),
    Artifact,
    Unusable,
}

/// Where a rerun starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    All,
    Failed,
    Step(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Right,
    Wrong,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Presence {
    Installed,
    Removed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Edges {
    Follow,
    StayBehind,
}

impl Payload {
    fn json(self) -> Value {
        match self {
            Self::Nothing => json!({}),
            Self::One => json!({ "n": 1 }),
            Self::Text => json!({ "n": "one" }),
            Self::Wide => json!({ "n": 2 }),
        }
    }
}

/// The definitions of the sites of random commands.
pub(crate) fn pieces() -> &'static Pieces {
    static PIECES: LazyLock<Pieces> = LazyLock::new(many_pieces);
    &PIECES
}

/// The same definitions, with a sensor that reads something else for each number.
fn pieces_with_feed(number: u8) -> Pieces {
    pieces().clone().process(FEED, "demo.ping", &format!("./feed{number}"))
}

fn many_pieces() -> Pieces {
    let mut pieces = Pieces::default()
        .trigger("demo.ping")
        .trigger("core.schedule")
        .process(FEED, "demo.ping", "./feed0")
        .action("demo.ask")
        .action_at_once("demo.echo")
        .action_with("demo.fail", |action| action.on_lost = OnLost::Fail)
        .action_with("demo.retry", |action| {
            action.on_lost = OnLost::Retry;
            action.retry = Some(again(3));
        })
        .sleep("demo.sleep")
        .inquiry("demo.question")
        .awaiting("core.wait")
        .action_with("demo.urgent", |action| {
            action.priority = 10;
            action.idempotent = true;
        })
        .workflow(
            "demo.flow",
            [
                does("first", "demo.echo").undone_by("demo.urgent", &json!({})),
                does("each", "demo.ask")
                    .needs(["first"])
                    .over("[1, 2, 3]")
                    .parallel(2)
                    .undone_by("demo.retry", &json!({ "of": "${{ item }}" })),
                does("beside", "demo.urgent").tolerate_failure().undone_by("demo.echo", &json!({ "of": "${{ result.nothing }}" })),
                does("missing", "demo.echo").starts_if("steps.first.result.nothing").needs(["first"]).tolerate_failure(),
                does("wait", "demo.sleep").with(&json!({ "duration": "2s" })),
                does("slow", "demo.retry").timeout(90).tolerate_failure(),
                does("ask", "demo.question")
                    .with(&question(1, "2s"))
                    .notifies("demo.echo", &json!({ "of": "${{ inquiry.occasion }}" }))
                    .tolerate_failure(),
                does("never", "demo.echo").starts_if("false"),
                awaits("one", sample_wait("event.payload.n == 1", Since::Start)).tolerate_failure(),
                awaits("any", sample_wait("event.payload.n > 0", Since::Start)).tolerate_failure(),
                awaits("late", sample_wait("event.payload.n > 0", Since::Step)).needs(["first"]).tolerate_failure(),
                does("after", "demo.echo").starts_if("always()").needs(["each", "beside", "never", "wait"]),
            ],
        )
        .workflow(
            "demo.broken",
            [
                does("none", "demo.ask").over("[]"),
                does("ask", "demo.question").with(&question(1, "2s")).notifies("demo.none", &json!({})).tolerate_failure(),
                fails("stop", "no"),
                does("mend", "demo.echo").needs(["stop"]).starts_if("failed()"),
                does("inside", "demo.flow").needs(["stop"]).starts_if("always()"),
            ],
        )
        .workflow(
            "demo.back",
            [
                does("one", "demo.sleep").with(&json!({ "duration": "1ms" })).undone_by("demo.urgent", &json!({})),
                does("two", "demo.sleep")
                    .with(&json!({ "duration": "1ms" }))
                    .undone_by("demo.echo", &json!({ "of": "${{ result.nothing.more }}" })),
                fails("stop", "no").needs(["one", "two"]),
            ],
        )
        .action_with("demo.turns", |action| {
            action.concurrency = concurrency(2, "", LockConflict::Queue);
            action.queue = HEAVY.parse().unwrap();
            action.labels = [("site".parse().unwrap(), template(&json!("eu-${{ size(params) }}")))].into();
        })
        .action_with("demo.newest", |action| action.concurrency = concurrency(1, "", LockConflict::CancelRunning))
        .workflow(
            "demo.alone",
            [
                does("one", "demo.turns").over("[1, 2, 3]").tolerate_failure(),
                does("two", "demo.newest").needs(["one"]).tolerate_failure(),
                does("nap", "demo.sleep").with(&json!({ "duration": "2s" })),
            ],
        )
        .change_action("demo.alone", |action| action.concurrency = concurrency(1, "", LockConflict::Skip))
        .workflow(
            "demo.reads",
            [
                does("one", "demo.ask").with(&json!({ "of": "${{ vars.n }}" })).tolerate_failure(),
                does("each", "demo.echo").over("[vars.n, 2]").starts_if("vars[?'n'].orValue(0) < 2").tolerate_failure(),
                awaits("wait", sample_wait("event.payload.n == vars.n", Since::Start)).tolerate_failure(),
            ],
        )
        .action("other.work")
        .workflow(
            "demo.far",
            [
                does("one", "other.work").tolerate_failure(),
                does("each", "other.work").over("[1, 2]").tolerate_failure(),
                does("ask", "demo.question").with(&question(1, "2s")).notifies("other.work", &json!({})).tolerate_failure(),
                does("back", "demo.echo").undone_by("other.work", &json!({})),
                fails("stop", "no").needs(["one", "back"]),
            ],
        )
        .workflow("demo.caller", [does("own", "demo.urgent"), does("far", "other.work").needs(["own"])])
        .change_action("demo.caller", |action| action.run_as = RunAs::Caller)
        .workflow("demo.nothing", [does("never", "demo.echo").starts_if("false")])
        .workflow(
            "demo.half",
            [
                does("done", "demo.nothing"),
                does("soon", "demo.nothing").needs_any(1, ["done", "stop"], Rest::GoesOn),
                fails("stop", "no").needs(["done"]),
            ],
        )
        .rule("demo.again", "demo.ping", "event.payload.?n.orValue(0) == 1", "demo.ask")
        .rule("demo.errs", "demo.ping", "event.payload.n > 0", "demo.echo")
        .rule_with("demo.one", "demo.ping", "event.payload.n == 1", "demo.urgent", |rule| rule.mode = Mode::Shadow);
    pieces = pieces.scheduled_rule(RULES[4], "demo.echo", every(3_600_000)).scheduled_rule(
        RULES[5],
        "demo.echo",
        cron("0 3 * * *", "Europe/Berlin"),
    );
    pieces = pieces
        .rule_with(RULES[6], "demo.ping", "", "demo.echo", |rule| {
            let excess = Excess::Delay;
            rule.flow = flow([
                (Does::Throttle { limit: 2, per_millis: 2_000, excess }, KEY),
                (Does::Debounce { quiet_millis: 500, most_millis: None, acts: Acts::OnLast }, KEY),
                (Does::Window { count: 2, within_millis: 4_000 }, ""),
                (Does::Missing { for_millis: 1_500 }, KEY),
            ]);
            rule.with = template(&json!({ "of": "${{ events[0].id }}" }));
        })
        .rule_with(RULES[7], "demo.ping", "", "demo.echo", |rule| {
            let excess = Excess::Drop;
            rule.flow = flow([
                (Does::Dedupe { within_millis: 60_000 }, KEY),
                (Does::Throttle { limit: 3, per_millis: 60_000, excess }, ""),
                (Does::Debounce { quiet_millis: 2_000, most_millis: Some(5_000), acts: Acts::OnAll }, "event.payload.n"),
            ]);
        });
    pieces = pieces.rule_with(RULES[8], "demo.ping", "event.payload.?n.orValue(0) == 1", "demo.turns", |rule| {
        rule.flow = flow([(Does::Concurrency { limit: 1, conflict: LockConflict::Skip }, KEY)]);
    });
    pieces = pieces.rule_with(RULES[9], "demo.ping", "event.payload.?n.orValue(0) != vars.n", "demo.ask", |rule| {
        rule.flow = flow([(Does::Debounce { quiet_millis: 500, most_millis: None, acts: Acts::OnLast }, "vars.n")]);
        rule.with = template(&json!({ "of": "${{ vars.n }}" }));
    });
    pieces = pieces.rule(RULES[10], "demo.ping", "event.payload.?n.orValue(0) == 1", "other.work");
    pieces = InternalTrigger::ALL.into_iter().fold(pieces, |pieces, own| pieces.trigger(own.as_str()));
    pieces = pieces.rule_with("demo.hears", "demo.ping", "event.payload.?status.orValue('') == 'failed'", "demo.echo", |rule| {
        rule.triggers = InternalTrigger::ALL.map(InternalTrigger::trigger).into();
    });
    // A few of these events exceed one turn: their reactions are owed.
    for rule in 0..160 {
        let name = if rule == 0 { RULES[3].to_owned() } else { format!("demo.wide{rule:03}") };
        pieces = pieces.rule_with(&name, "demo.ping", "event.payload.n == 2", "demo.fail", |rule| rule.mode = Mode::Shadow);
    }
    pieces
}

/// Parameters that are valid for each of the actions.
fn params() -> Value {
    let mut params = question(2, "10m");
    params["duration"] = json!("10m");
    params
}

fn sample_wait(when: &str, since: Since) -> Wait {
    Wait {
        trigger: "demo.ping".parse().unwrap(),
        when: Some(expression(when)),
        since,
        expires: Some(Period::Fixed(Duration::from_secs(2))),
        on_expire: OnExpire::Fail,
    }
}

fn question(quorum: u32, expires: &str) -> Value {
    json!({
        "title": "Ship?", "answer": {}, "assignees": ["ana", "role:managers"], "quorum": quorum, "expires": expires,
        "veto": "!answer.ship", "on_expire": { "answer": { "ship": true } },
        "remind": { "every": "1ms", "max": 2 }, "escalate": [{ "after": "1ms", "to": "role:viewer" }],
    })
}

/// Retried after two seconds.
pub(crate) fn again(attempts: u32) -> Retry {
    let delay = Duration::from_secs(2);
    Retry {
        attempts,
        backoff: Backoff::Constant,
        delay,
        delay_max: delay,
        jitter: Jitter::None,
        retry_after: RetryAfter::Respected,
        when: None,
    }
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let payload = || prop_oneof![2 => Just(Payload::Nothing), 6 => Just(Payload::One), 2 => Just(Payload::Text), 1 => Just(Payload::Wide)];
    let event = (payload(), proptest::option::weighted(0.4, 0..4u8));
    let kind = proptest::sample::select(&[FailureKind::ExitCode, FailureKind::Timeout, FailureKind::Cancelled][..]);
    let what =
        prop_oneof![2 => Just(What::Progress), 2 => payload().prop_map(What::Event), 1 => Just(What::Artifact), 1 => Just(What::Unusable)];
    let evidence = || proptest::sample::select(&[Evidence::NotBegun, Evidence::MayHaveBegun][..]);
    let settlement = prop_oneof![Just(Settlement::Succeeded), Just(Settlement::Failed { error: "no".to_owned() }), Just(Settlement::Retry)];
    let again = proptest::sample::select(&[Again::All, Again::Failed, Again::Failed, Again::Step("each"), Again::Step("two")][..]);
    let roles = proptest::collection::vec(proptest::sample::select(&["admin", "viewer"][..]).prop_map(str::to_owned), 0..2);
    prop_oneof![
        6 => proptest::collection::vec(event, 1..8).prop_map(Step::Receive),
        2 => Just(Step::Receive(vec![(Payload::Wide, None); 8])),
        3 => (0..ACTIONS.len()).prop_map(Step::Request),
        1 => Just(Step::Request(1)),
        1 => Just(Step::Request(10)),
        2 => (11..14usize).prop_map(Step::Request),
        1 => Just(Step::Request(6)),
        5 => any::<Index>().prop_map(Step::Succeed),
        4 => (any::<Index>(), payload()).prop_map(|(which, payload)| Step::Emit(which, payload)),
        4 => (any::<Index>(), kind).prop_map(|(which, kind)| Step::Fail(which, kind)),
        4 => (any::<Index>(), 1..20u32, what).prop_map(|(which, index, what)| Step::Say(which, index, what)),
        2 => (any::<Index>(), proptest::sample::select(&[Token::Right, Token::Wrong][..])).prop_map(|(which, token)| Step::ReportAny(which, token)),
        6 => (any::<Index>(), evidence()).prop_map(|(which, evidence)| Step::Lose(which, evidence)),
        3 => any::<Index>().prop_map(Step::Cancel),
        4 => (any::<Index>(), 0..PEOPLE.len()).prop_map(|(which, who)| Step::Answer(which, who)),
        4 => (any::<Index>(), settlement).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        4 => any::<Index>().prop_map(Step::Pause),
        3 => any::<Index>().prop_map(Step::Resume),
        5 => (any::<Index>(), again).prop_map(|(which, again)| Step::Rerun(which, again)),
        2 => (0..RULES.len(), proptest::sample::select(&[Mode::Enabled, Mode::Disabled, Mode::Shadow][..])).prop_map(|(rule, mode)| Step::SetMode(rule, mode)),
        1 => proptest::sample::select(&[Edges::Follow, Edges::StayBehind][..]).prop_map(Step::Install),
        1 => (0..2u8).prop_map(Step::Refeed),
        6 => sensor_step().prop_map(Step::Sensor),
        4 => proptest::sample::select(&[Presence::Installed, Presence::Removed][..]).prop_map(Step::Extra),
        3 => proptest::sample::select(PERMISSIONS).prop_map(Step::Permit),
        2 => Just(Step::Refuse),
        3 => (any::<Index>(), payload()).prop_map(|(which, payload)| Step::RetryDeadLetter(which, payload)),
        2 => any::<Index>().prop_map(Step::DismissDeadLetter),
        2 => proptest::sample::select(&[-HOUR_MICROS * 24, -90_000_000, 90_000_000, HOUR_MICROS * 2][..]).prop_map(Step::MoveClock),
        8 => Just(Step::FireTimers),
        3 => (0..3u64).prop_map(Step::Allow),
        4 => Just(Step::AcceptClock),
        1 => (1..1_000u64).prop_map(Step::NoteRestore),
        1 => (0..ACTIONS.len(), proptest::sample::select(&[1, 100_000, 4_000_000][..])).prop_map(|(action, millis)| Step::RequestLater(action, millis)),
        4 => Just(Step::GoRound),
        3 => proptest::option::weighted(0.7, 0..3u8).prop_map(Step::SetVar),
        2 => (any::<Index>(), proptest::option::weighted(0.7, 0..3u8)).prop_map(|(which, value)| Step::ChangeVar(which, value)),
        4 => key_step(),
        1 => Just(Step::RemoveKey),
        1 => (1..9u64).prop_map(Step::NoteAudit),
        3 => (0..3u8, roles).prop_map(|(name, roles)| Step::AddToken(name, roles)),
        4 => (0..3u8).prop_map(Step::RevokeToken),
        20 => (proptest::sample::select(AccessStep::ALL), 0..2u8).prop_map(|(step, number)| Step::Access(step, number)),
        1 => (0..4u32).prop_map(Step::Start),
        3 => proptest::sample::select(&[1, 2_000, ERROR_SUMMARY_MILLIS, 24 * 60 * 60 * 1000][..]).prop_map(Step::Wait),
        2 => proptest::sample::select(&[CatalogsHealth::Whole, CatalogsHealth::Whole, CatalogsHealth::Broken][..]).prop_map(Step::Catalogs),
        6 => any::<Index>().prop_map(Step::Retry),
        6 => any::<Index>().prop_map(Step::Dismiss),
    ]
}

fn sensor_step() -> impl Strategy<Value = SensorStep> {
    let token = proptest::sample::select(&[Token::Right, Token::Right, Token::Wrong][..]);
    let mode = proptest::sample::select(&[SensorMode::Enabled, SensorMode::Disabled][..]);
    let part = prop_oneof![Just(PartState::Running), Just(PartState::Failing { error: "it is away".to_owned() })];
    prop_oneof![
        3 => (any::<u8>(), token).prop_map(|(to, token)| SensorStep::Read(to, token)),
        2 => Just(SensorStep::Start),
        3 => (1..9u32).prop_map(SensorStep::Fail),
        4 => (0..2u8, part).prop_map(|(part, state)| SensorStep::Part(part, state)),
        2 => mode.prop_map(SensorStep::Set),
        1 => proptest::option::of(any::<u8>()).prop_map(SensorStep::Rewind),
        1 => any::<u8>().prop_map(SensorStep::Skip),
        1 => Just(SensorStep::Restart),
        1 => Just(SensorStep::Test),
    ]
}

/// A change of identities, roles or grants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccessStep {
    AddIdentity,
    Admit,
    Link,
    Unlink,
    SetGroups,
    Disable,
    Enable,
    Erase,
    SetRole,
    RemoveRole,
    AddGrant,
    RemoveGrant,
    LimitToken,
    RotateToken,
    OpenSession,
    EndSession,
    ChangePassword,
    MintLink,
    MintLoginLink,
    OpenLink,
    SetAbsence,
    Delegate,
}

impl AccessStep {
    /// All of them; those that need others before them are there more than once.
    const ALL: &[Self] = &[
        Self::AddIdentity,
        Self::AddIdentity,
        Self::Admit,
        Self::Link,
        Self::Link,
        Self::Unlink,
        Self::Unlink,
        Self::SetGroups,
        Self::Disable,
        Self::Disable,
        Self::Disable,
        Self::Enable,
        Self::Enable,
        Self::Enable,
        Self::Enable,
        Self::Erase,
        Self::SetRole,
        Self::SetRole,
        Self::RemoveRole,
        Self::RemoveRole,
        Self::RemoveRole,
        Self::AddGrant,
        Self::RemoveGrant,
        Self::LimitToken,
        Self::RotateToken,
        Self::OpenSession,
        Self::OpenSession,
        Self::EndSession,
        Self::ChangePassword,
        Self::MintLink,
        Self::MintLink,
        Self::MintLink,
        Self::MintLink,
        Self::MintLoginLink,
        Self::MintLoginLink,
        Self::OpenLink,
        Self::OpenLink,
        Self::SetAbsence,
        Self::Delegate,
        Self::Delegate,
        Self::Delegate,
        Self::Delegate,
        Self::Delegate,
        Self::Delegate,
    ];
}

impl World {
    /// Returns a command that changes access: of the newest identity, role or grant.
    fn access(&self, step: AccessStep, number: u8) -> Command {
        let access = self.site.engine().access();
        let fresh = Id::root(NOON, 20_000 + u128::from(number) + self.site.head().position.0 as u128 * 10);
        let known = access.identities().last().map_or(IdentityId(fresh), |(id, _)| *id);
        let standing = |now| access.identities().find(|(_, identity)| identity.standing == now).map_or(known, |(id, _)| *id);
        let role: RoleName = "restarter".parse().unwrap();
        let named = NewToken::with_roles(TokenId(fresh), number.to_string(), vec!["viewer".into()]);
        let session = access.sessions().last().map_or(SessionId(fresh), |(id, _)| *id);
        let engine = self.site.engine();
        let asking = engine.executions().iter().find_map(|(id, _)| engine.inquiries().of(id));
        let inquiry = asking.map_or(InquiryId(fresh), |(id, _)| id);
        let ask = match step {
            AccessStep::OpenSession => Ask::OpenSession(NewSession {
                id: SessionId(fresh),
                identity: Some(standing(Standing::Enabled)),
                way: "password".into(),
                credential: access.tokens().next().map(|(id, _)| *id).filter(|_| number == 0),
                only: None,
                link: None,
                until: NOON.plus_millis(4_000_000_000),
                in_place_of: None,
            }),
            AccessStep::ChangePassword => Ask::ChangeCredential(ChangedCredential {
                identity: standing(Standing::Enabled),
                what: CredentialKind::Password,
                how: if number == 0 { CredentialChange::Set } else { CredentialChange::Reset },
                kept: None,
            }),
            AccessStep::MintLink => Ask::MintLink(NewLink {
                id: LinkId(fresh),
                inquiry,
                identity: standing(Standing::Enabled),
                name: "ana".into(),
                until: NOON.plus_millis(4_000_000_000),
            }),
            AccessStep::MintLoginLink => {
                let known = access.tokens().next().map(|(id, token)| (*id, token.name.clone()));
                let (token, name) = known.unwrap_or_else(|| (TokenId(fresh), number.to_string()));
                Ask::MintLoginLink(NewLoginLink { id: LinkId(fresh), token, name, until: NOON.plus_millis(4_000_000_000) })
            }
            AccessStep::SetAbsence => {
                Ask::SetAbsence(NewAbsence { id: known, from: None, until: Some(NOON.plus_millis(4_000_000_000)), deputy: None })
            }
            AccessStep::Delegate => Ask::DelegateInquiry(NewDelegation {
                inquiry,
                by: Id::root(NOON, 19_000).to_string(),
                name: Some("ana".into()),
                roles: Vec::new(),
                to: known,
                to_name: "bo".into(),
            }),
            AccessStep::OpenLink => Ask::OpenSession(NewSession {
                id: SessionId(fresh),
                identity: Some(standing(Standing::Enabled)),
                way: "link".into(),
                credential: None,
                only: Some(inquiry),
                link: Some(OpenedLink::OfInquiry {
                    id: LinkId(fresh),
                    digest: asking.map_or(Digest::of(b"none"), |(_, inquiry)| inquiry.digest),
                }),
                until: NOON.plus_millis(4_000_000_000),
                in_place_of: None,
            }),
            AccessStep::EndSession => Ask::EndSessions { sessions: vec![session], reason: SessionEnd::Logout },
            AccessStep::AddIdentity => Ask::AddIdentity { id: IdentityId(fresh), kind: IdentityKind::Person, groups: Vec::new() },
            AccessStep::Admit => Ask::AdmitIdentity(AdmittedIdentity {
                id: IdentityId(fresh),
                issuer: "corp".parse().unwrap(),
                admission: Admission::New(IdentityKind::Person),
                groups: Some(IssuerGroups { groups: vec!["corp:release".parse().unwrap()], said_at: NOON }),
            }),
            AccessStep::Link => Ask::LinkIdentity { id: known, issuer: "cluster".parse().unwrap() },
            AccessStep::Unlink => {
                let linked = access.identities().find(|(_, identity)| !identity.issuers.is_empty());
                let issuer = linked.map_or("cluster".parse().unwrap(), |(_, identity)| identity.issuers[0].issuer.clone());
                Ask::UnlinkIdentity { id: linked.map_or(known, |(id, _)| *id), issuer }
            }
            AccessStep::SetGroups => Ask::SetIdentityGroups { id: known, groups: vec!["release".parse().unwrap()] },
            AccessStep::Disable => Ask::SetIdentityStanding { id: standing(Standing::Enabled), standing: Standing::Disabled },
            AccessStep::Enable => Ask::SetIdentityStanding { id: standing(Standing::Disabled), standing: Standing::Enabled },
            AccessStep::Erase => Ask::EraseIdentity(known),
            AccessStep::SetRole => Ask::SetRole { name: role, permissions: vec![Permission::ExecutionsRerun] },
            AccessStep::RemoveRole => Ask::RemoveRole(role),
            AccessStep::AddGrant => Ask::AddGrant(NewGrant {
                id: GrantId(fresh),
                subject: Subject::Everyone,
                role: "viewer".parse().unwrap(),
                on: None,
                until: None,
            }),
            AccessStep::RemoveGrant => Ask::RemoveGrant(access.grants().last().map_or(GrantId(fresh), |(id, _)| *id)),
            AccessStep::LimitToken => Ask::AddToken(NewToken { expires_at: Some(NOON.plus_millis(4_000_000)), ..named }),
            AccessStep::RotateToken => {
                Ask::RotateToken(RotatedToken { name: number.to_string(), successor: TokenId(fresh), until: NOON.plus_millis(5_000) })
            }
        };
        asked_by(Actor::Operator, ask)
    }
}

/// A change of a key, or that its value is shown.
fn key_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9u32, proptest::option::weighted(0.5, 1..100_000u64)).prop_map(|(version, millis)| Step::SetKey(version, millis)),
        proptest::sample::select(&[0, 5_000][..]).prop_map(Step::RotateKey),
        (0..2u32).prop_map(Step::RevealKey),
        (1..4u8).prop_map(Step::RotateMaster),
    ]
}

/// The id of a dead letter that a record creates: a delivery, or an execution outside of any workflow.
pub(crate) fn gave_up(record: &Record) -> Option<Id> {
    let part_of = match &record.fact {
        Fact::DeliveryRefused(_) => return Some(record.id),
        Fact::ExecutionFailed(fact) => &fact.part_of,
        Fact::ExecutionTimedOut(fact) => &fact.part_of,
        _ => return None,
    };
    let StreamId::Execution(id) = record.stream else { return None };
    part_of.is_none().then_some(id.0)
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..80)
}

/// Half as many workers for the other queue.
fn settings(workers: u32) -> Settings {
    let queues = [(HEAVY.parse().unwrap(), workers.div_ceil(2))].into();
    Settings { workers, queues, open_work_max: 400, flow_keys_max: KEYS_MAX, ..Settings::default() }
}

/// A site, and all attempts that it ever had.
pub(crate) struct World {
    pub(crate) site: Site,
    attempts: Vec<(ExecutionId, Attempt)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut site = Site::with(pieces());
        site.set(settings(2));
        // Somebody may answer, so that there can be links to inquiries.
        let id = IdentityId(Id::root(NOON, 19_000));
        site.when(asked_by(Actor::Operator, Ask::AddIdentity { id, kind: IdentityKind::Person, groups: Vec::new() }));
        let grant = NewGrant {
            id: GrantId(Id::root(NOON, 19_001)),
            subject: Subject::Everyone,
            role: "approver".parse().unwrap(),
            on: None,
            until: None,
        };
        site.when(asked_by(Actor::Operator, Ask::AddGrant(grant)));
        Self { site, attempts: Vec::new() }
    }

    /// Creates the command of a step. Returns `None` if there is nothing for it to act on, or if it is not a
    /// command of the log.
    pub(crate) fn command(&mut self, step: &Step) -> Option<Command> {
        let open: Vec<ExecutionId> = self.site.engine().executions().iter().map(|(id, _)| *id).collect();
        let parked: Vec<Position> = self.site.engine().health().parked_reactions().map(|(of, _)| *of).collect();
        let pick = |which: &Index| (!open.is_empty()).then(|| *which.get(&open));
        let pick_attempt = |site: &Site, which: &Index| {
            let tried: Vec<_> = open.iter().filter(|id| site.has_attempt(**id)).collect();
            (!tried.is_empty()).then(|| **which.get(&tried)).map(|id| (id, site.attempt(id)))
        };
        let pick_parked = |which: &Index| if parked.is_empty() { Position(1) } else { *which.get(&parked) };
        Some(match step {
            Step::Receive(events) => {
                let site = &mut self.site;
                let observe = |(payload, key): &(Payload, Option<u8>)| match key {
                    Some(key) => site.keyed_event("demo.ping", &payload.json(), &key.to_string(), Conflict::IsRepeat),
                    None => site.event("demo.ping", &payload.json()),
                };
                receive_events(events.iter().map(observe).collect())
            }
            Step::Request(action) => self.site.request_with(ACTIONS[*action], &params(), None),
            Step::Answer(which, who) => {
                let engine = self.site.engine();
                let asking: Vec<_> = open.iter().filter_map(|id| engine.inquiries().of(id)).collect();
                let (id, inquiry) = (!asking.is_empty()).then(|| *which.get(&asking))?;
                let answer = match inquiry.attempt {
                    Some(_) => json!({ "outcome": "failed", "error": "gone" }),
                    None => json!({ "ship": *who > 0 }),
                };
                answer_inquiry(id, PEOPLE[*who], &answer, None)
            }
            Step::Succeed(which) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                report(execution, attempt, ReportOutcome::Succeeded)
            }
            Step::Emit(which, payload) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                let event = self.site.emitted_event(attempt.id, "demo.ping", &payload.json());
                report_emitting(execution, attempt, event)
            }
            Step::Fail(which, kind) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                report(execution, attempt, failed_outcome(*kind))
            }
            Step::Say(which, index, what) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                match what {
                    What::Progress => progress(execution, attempt, *index),
                    What::Event(payload) => {
                        // Index 0 belongs to the event that comes with a report.
                        let id = EventId(Id::derive(self.site.engine().log(), attempt.id.0, Role::Emit(*index)));
                        let event = self.site.observed_event(id, "demo.ping", &payload.json());
                        take_message(execution, attempt, *index, MessageContent::Event(Box::new(event)))
                    }
                    What::Unusable => {
                        take_message(execution, attempt, *index, MessageContent::Unusable { reason: "it is not JSON".to_owned() })
                    }
                    What::Artifact => take_message(execution, attempt, *index, artifact("report.csv")),
                }
            }
            Step::ReportAny(which, token) => {
                // Mostly a lost one whose execution continues.
                let given_up = |(id, attempt): &&(ExecutionId, Attempt)| {
                    let open = self.site.engine().executions().get(id);
                    open.is_some_and(
                        |open| !matches!(open.phase, Phase::Running(now) | Phase::Cancelling { attempt: now, .. } if now.id == attempt.id),
                    )
                };
                let any = || (!self.attempts.is_empty()).then(|| which.get(&self.attempts));
                let (execution, attempt) = *self.attempts.iter().find(given_up).or_else(any)?;
                let token = match token {
                    Token::Right => attempt.token,
                    Token::Wrong => attempt.token + 1,
                };
                report(execution, Attempt { token, ..attempt }, failed_outcome(FailureKind::Signal))
            }
            Step::Lose(which, evidence) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                lose((execution, attempt.id), *evidence)
            }
            Step::Cancel(which) => cancel(pick(which)?),
            Step::Settle(which, outcome) => {
                let asks = |id: &&ExecutionId| matches!(self.site.phase(**id), Some(Phase::Indeterminate { .. } | Phase::Settled { .. }));
                settle(open.iter().find(asks).copied().or_else(|| pick(which))?, outcome.clone())
            }
            Step::Pause(which) => asked_by(ana(), Ask::PauseExecution { execution: pick(which)? }),
            Step::Resume(which) => {
                let paused: Vec<_> = open.iter().copied().filter(|id| self.site.engine().executions().is_paused(id)).collect();
                asked_by(ana(), Ask::ResumeExecution { execution: if paused.is_empty() { pick(which)? } else { *which.get(&paused) } })
            }
            Step::Rerun(which, again) => {
                let is_flow = |record: &&Record| {
                    let asked = if let Fact::ExecutionRequested(asked) = &record.fact { Some(asked) } else { None };
                    asked.is_some_and(|asked| asked.part_of.is_none() && asked.pace == Pace::InSteps)
                };
                let flows: Vec<&Record> = self.site.records().iter().filter(is_flow).collect();
                let ended = |record: &&&Record| self.site.engine().executions().get(&ExecutionId(record.id)).is_none();
                let of = ExecutionId(flows.iter().rev().find(ended).or_else(|| (!flows.is_empty()).then(|| which.get(&flows)))?.id);
                let from = match again {
                    Again::All => RerunFrom::Start,
                    Again::Failed => RerunFrom::Failed,
                    Again::Step(step) => RerunFrom::Step(step.parse().unwrap()),
                };
                self.site.rerun_of(of, from, None)?
            }
            Step::SetMode(rule, mode) => set_mode(RULES[*rule], *mode),
            Step::Install(edges) => {
                let base = self.site.engine().catalog_revision();
                self.site.build(pieces().build(base.next()));
                if let Edges::Follow = edges {
                    self.site.judge_by(pieces(), base.next());
                }
                install_demo(base)
            }
            Step::Refeed(number) => {
                let base = self.site.engine().catalog_revision();
                self.site.build(pieces_with_feed(*number).build(base.next()));
                install_demo(base)
            }
            Step::Sensor(step) => return self.of_sensor(step.clone()),
            Step::Extra(presence) => {
                let base = self.site.engine().catalog_revision();
                self.site.build(pieces().build(base.next()));
                let name = "extra".parse().unwrap();
                let (version, digest, manifest) = ("1.0.0".to_owned(), Digest::of(b"extra"), Body::json(&b"{}"[..]));
                let change = match presence {
                    Presence::Installed => PackChange::Install { name, version, digest, manifest },
                    Presence::Removed => PackChange::Remove { name },
                };
                asked_by(ana(), Ask::ChangePacks { base, changes: vec![change] })
            }
            Step::Permit(permissions) => permit_at(self.site.engine().catalog_revision(), "demo", *permissions),
            Step::Refuse => {
                let (sensor, body) = ("demo.hook".parse().unwrap(), Body::raw(&b"?"[..]));
                let letter =
                    RefusedDelivery { sensor, trigger: None, reason: "not JSON".to_owned(), body, with: Some(DeliveredWith::default()) };
                asked_by(ana(), Ask::KeepDelivery(letter))
            }
            Step::RetryDeadLetter(which, payload) => {
                let refused: Vec<&Record> =
                    self.site.records().iter().filter(|record| matches!(record.fact, Fact::DeliveryRefused(_))).collect();
                let letter = (!refused.is_empty()).then(|| *which.get(&refused))?;
                let (of, cause) = (letter.id, letter.cause.from_parent(letter.id));
                let events = vec![self.site.event("demo.ping", &payload.json())];
                asked_by(ana(), Ask::RetryDelivery(RetriedDelivery { of, cause, events }))
            }
            Step::DismissDeadLetter(which) => {
                let letters: Vec<Id> = self.site.records().iter().filter_map(gave_up).collect();
                asked_by(ana(), Ask::DismissDeadLetter { of: (!letters.is_empty()).then(|| *which.get(&letters))? })
            }
            Step::MoveClock(micros) => {
                let from = self.site.now();
                let to = Timestamp::from_micros(from.micros() + micros);
                self.site.step_clock(to);
                asked_by(Actor::Engine, Ask::NoteClockStep { from, to })
            }
            Step::FireTimers => fire_timers(),
            Step::Allow(more) => {
                let heavy: WorkerQueueName = HEAVY.parse().unwrap();
                let count = self.site.engine().executions().queues().starts(&heavy).count;
                let settings = Settings { starts_max: [(heavy, count + more)].into(), ..self.site.settings().clone() };
                self.site.set(settings);
                asked_by(Actor::Engine, Ask::StartQueued)
            }
            Step::AcceptClock => accept_clock(),
            Step::NoteRestore(missing) => note_restore(Position(self.site.records().len() as u64 + missing)),
            Step::RequestLater(action, millis) => {
                let at = self.site.now().plus_millis(*millis);
                self.site.request_with(ACTIONS[*action], &params(), Some(at))
            }
            Step::GoRound => {
                let runs = |id: &&ExecutionId| self.site.has_attempt(**id);
                let emits =
                    |id: &&ExecutionId| self.site.engine().executions().get(id).is_some_and(|open| open.action.as_str() == "demo.ask");
                let execution = *open.iter().filter(runs).find(emits)?;
                let attempt = self.site.attempt(execution);
                let event = self.site.emitted_event(attempt.id, "demo.ping", &Payload::One.json());
                report_emitting(execution, attempt, event)
            }
            Step::SetVar(Some(value)) => set_var("n", &json!(value)),
            Step::SetVar(None) => remove_var("n"),
            Step::ChangeVar(which, value) => {
                let (execution, attempt) = pick_attempt(&self.site, which)?;
                report_changing(execution, attempt, &[("n", json!(value))])
            }
            Step::SetKey(version, expires_in) => {
                let expires_at = expires_in.map(|millis| self.site.now().plus_millis(millis));
                asked_by(ana(), Ask::SetKey { key: "demo.secret".parse().unwrap(), version: *version, expires_at })
            }
            Step::RotateKey(overlap_millis) => {
                let key = "demo.secret".parse().unwrap();
                let versions = self.site.engine().access().key(&key).unwrap_or_default();
                let (version, overlap_millis) = (versions.newest + 1, *overlap_millis);
                asked_by(
                    ana(),
                    match versions.current {
                        None => Ask::SetKey { key, version, expires_at: None },
                        Some(_) => Ask::RotateKey(KeyRotation { key, version, overlap_millis, expires_at: None }),
                    },
                )
            }
            Step::RevealKey(before) => {
                let key = "demo.secret".parse().unwrap();
                let current = self.site.engine().access().key(&key).and_then(|versions| versions.current).unwrap_or_default();
                asked_by(ana(), Ask::RevealKey { key, version: current.saturating_sub(*before) })
            }
            Step::RotateMaster(number) => {
                let from = self.site.engine().access().all_keys().master().unwrap_or(MasterKeyId([0; 8]));
                asked_by(ana(), Ask::NoteMasterKey { from, to: MasterKeyId([*number; 8]) })
            }
            Step::NoteAudit(count) => {
                let (first, last) = (self.site.now(), self.site.now());
                match count % 5 {
                    0 => {
                        let fact = AccessDenied { permission: Some("keys:write".into()), count: *count, first, last };
                        asked_by(Actor::Engine, Ask::NoteDenied(vec![DeniedRequests { caller: ana(), fact }]))
                    }
                    2 => {
                        let (key, action) = ("demo.secret".parse().unwrap(), "demo.own".parse().unwrap());
                        let fact = KeyUsed { key, version: Some(1), action, count: *count, first, last };
                        let by = AttemptOf { execution: ExecutionId(Id::root(NOON, 77)), number: 1 };
                        asked_by(Actor::Engine, Ask::NoteKeyUses(vec![UsedKey { by, fact }]))
                    }
                    1 => {
                        let fact = LoginRefused { way: Some("token".into()), identity: None, count: *count, first, last };
                        let origin = Some(Body::json(Bytes::from_static(br#"{"address":"203.0.113.7"}"#)));
                        asked_by(Actor::Engine, Ask::NoteRefusedLogins(vec![RefusedLogin { fact, origin }]))
                    }
                    3 => {
                        let test = ConnectionTested { connection: "orders".parse().unwrap(), error: Some("auth".into()) };
                        asked_by(ana(), Ask::NoteConnectionTest(test))
                    }
                    _ => {
                        let digest = Digest::of(b"rows");
                        asked_by(ana(), Ask::NoteExport(ExportMade { what: "audit".into(), filters: [].into(), rows: *count, digest }))
                    }
                }
            }
            Step::RemoveKey => asked_by(ana(), Ask::RemoveKey { key: "demo.secret".parse().unwrap() }),
            Step::AddToken(name, roles) => {
                let id = TokenId(Id::root(NOON, 10_000 + u128::from(*name) + self.site.head().position.0 as u128 * 10));
                asked_by(Actor::Operator, Ask::AddToken(NewToken::with_roles(id, token_name(*name), roles.clone())))
            }
            Step::RevokeToken(name) => asked_by(ana(), Ask::RevokeToken { name: token_name(*name) }),
            Step::Access(step, number) => self.access(*step, *number),
            Step::Start(workers) => {
                self.site.set(settings(*workers));
                note_start()
            }
            Step::Wait(millis) => {
                self.site.later(*millis);
                return None;
            }
            Step::Catalogs(health) => {
                self.site.set_catalogs(*health);
                return None;
            }
            Step::Retry(which) => retry(pick_parked(which)),
            Step::Dismiss(which) => dismiss(pick_parked(which)),
        })
    }

    /// Creates a command about the pulling sensor. Returns `None` if it does not exist.
    fn of_sensor(&mut self, step: SensorStep) -> Option<Command> {
        let feed: SensorRef = FEED.parse().unwrap();
        let (id, pulling) = self.site.engine().sensors().of(&feed).map(|(id, pulling)| (id, pulling.clone()))?;
        // Most cursors are long enough that the log has changes of them.
        let text = |number: u8| match number % 4 {
            0 => number.to_string(),
            _ => format!(r#"{{"line":{number},"known":"{}"}}"#, "x".repeat(600)),
        };
        let cursor = |number: u8| Cursor::of_json(text(number)).unwrap();
        let ask = match step {
            SensorStep::Read(to, token) => {
                let known = pulling.cursor.map(|cursor| cursor.short().expect("each is short").unwrap());
                let after = known.as_ref().map(Cursor::digest).filter(|_| matches!(token, Token::Right));
                let events = vec![self.site.event("demo.ping", &Payload::One.json())];
                let batch = SensorBatch {
                    sensor: id,
                    run: pulling.run,
                    read: 1,
                    events,
                    refused: Vec::new(),
                    unkept: 0,
                    passed: 0,
                    after,
                    cursor: Some(NewCursor::after(known.as_ref(), cursor(to))),
                };
                return Some(asked_by(Actor::Sensor(feed), Ask::TakeSensorBatch(batch)));
            }
            SensorStep::Start => Ask::NoteSensorStarted { sensor: id, run: pulling.run, release: "0.1.0".to_owned() },
            SensorStep::Fail(failures) => {
                let error = SensorError::new(SensorErrorKind::Exited, "it ended");
                Ask::NoteSensorFailed(SensorFailed { id, run: pulling.run, error, failures, retry_at: self.site.now() })
            }
            SensorStep::Part(part, state) => {
                // The other part works.
                let parts = BTreeMap::from([(part.to_string(), state), ((1 - part).to_string(), PartState::Running)]);
                Ask::NoteSensorParts(SensorParts { sensor: id, run: pulling.run, parts })
            }
            SensorStep::Set(mode) => Ask::SetSensorMode { sensor: feed, mode },
            SensorStep::Rewind(to) => Ask::SetSensorCursor { sensor: feed, cursor: to.map(cursor) },
            SensorStep::Skip(to) => {
                Ask::SkipSensor { sensor: feed, after: pulling.cursor.map(|cursor| cursor.digest()), cursor: cursor(to) }
            }
            SensorStep::Restart => Ask::RestartSensor { sensor: feed },
            SensorStep::Test => Ask::NoteSensorTest { sensor: feed },
        };
        Some(asked_by(ana(), ask))
    }

    /// Takes the step's own turn, and handles one owed reaction.
    pub(crate) fn take(&mut self, step: &Step) {
        let times = if matches!(step, Step::GoRound) { DEPTH_MAX + 2 } else { 1 };
        for _ in 0..times {
            if let Some(command) = self.command(step) {
                self.site.turn(command);
            }
            self.site.serve();
            self.note_attempts();
        }
    }

    /// Handles everything that is owed.
    pub(crate) fn rest(&mut self) {
        self.site.serve_all();
        // Nothing stays paused: executions are resumed, starting with the outermost.
        loop {
            let is_paused = |id: &&ExecutionId| self.site.engine().executions().is_paused(id);
            let Some(execution) = self.site.engine().executions().iter().map(|(id, _)| id).find(is_paused).copied() else { break };
            self.site.when(asked_by(ana(), Ask::ResumeExecution { execution }));
            self.site.serve_all();
        }
        assert_eq!(self.site.engine().health().held_count(), 0, "something is held up, and nothing is paused");
    }

    fn note_attempts(&mut self) {
        for (id, execution) in self.site.engine().executions().iter() {
            let Some(attempt) = execution.phase.attempt() else { continue };
            if !self.attempts.iter().any(|(_, known)| known.id == attempt.id) {
                self.attempts.push((*id, attempt));
            }
        }
    }
}

fn token_name(number: u8) -> String {
    if number == CALLER { "ana".to_owned() } else { number.to_string() }
}
