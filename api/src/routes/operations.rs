//! What each route takes and gives, for the table beside: callers read it as the OpenAPI document.

use crate::cloudevents;
use crate::metrics::Form;
use crate::openapi::shapes;
use crate::operation::{Conditional, Content, Header, Heeded, Operation, Presence, Takes, schema_of};
use crate::wire::WireList;
use crate::wire::actions::{WireAction, WireExecute};
use crate::wire::artifacts::WireArtifact;
use crate::wire::backfill::{WireBackfill, WireMadeUpFor};
use crate::wire::backtests::{WireBacktest, WireToBacktest};
use crate::wire::bulk::WireChanged;
use crate::wire::enforcements::WireEnforcement;
use crate::wire::events::{WireEvent, WireGivenEvents, WireTakenOrList};
use crate::wire::executions::{WireAttempt, WireExecution, WireOutcome, WireOutputs, WireRerun};
use crate::wire::health::{WireClockAccepted, WireDecided, WireParkedReaction};
use crate::wire::hooks::{WireHook, WireSend, WireTaken};
use crate::wire::inquiries::{WireGivenResponse, WireInquiry};
use crate::wire::keys::{WireKey, WireKeyValue, WireSetKey};
use crate::wire::letters::{WireDeadLetter, WireDealtWith};
use crate::wire::locks::WireLock;
use crate::wire::node::{WireAlive, WireDoctor, WireJob, WirePublicStatus, WireReadiness, WireStatus};
use crate::wire::packs::WirePack;
use crate::wire::queues::WireQueue;
use crate::wire::replays::{WireReplayed, WireToReplay};
use crate::wire::rules::{WireRule, WireRuleMode};
use crate::wire::sensors::WireSensor;
use crate::wire::timers::WireTimer;
use crate::wire::tokens::{WireAskedToken, WireNewToken, WireToken};
use crate::wire::traces::WireTrace;
use crate::wire::triggers::WireTrigger;
use crate::wire::vars::{WireSetVar, WireVar, WireVarValue};
use crate::wire::verdicts::{WireExplain, WireExplained, WireVerdict};

/// The parameter of what can be tried without being done.
const DRY: &[&str] = &["dry_run"];
const WOULD_BE: &str = "A dry run: the request is valid, and nothing was changed.";
const WRITTEN: &[Header] = &[Header::Position];
const MADE: &[Header] = &[Header::Position, Header::Location];
const SET: &[Header] = &[Header::Position, Header::Location, Header::ETag];

pub(super) const EVENT_SEND: Operation = Operation::new("event_send", "Sends one event or a list of events, all or none")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::JsonOr {
        schema: schema_of::<WireGivenEvents>,
        example: r#"{"trigger": "demo.hello", "payload": {"name": "ana"}, "dedupe": "order-17"}"#,
        others: &[
            (cloudevents::STRUCTURED, "a CloudEvent (`CloudEvent`), whose `type` is the trigger"),
            (cloudevents::BATCH, "a list of at most 1,000 CloudEvents"),
        ],
    })
    .gives::<WireTakenOrList>(202, "The events are on the disk.", MADE)
    .gives::<WireTakenOrList>(200, "All events are duplicates, each with its first event; or the list is empty.", MADE)
    .refuses(&[
        (409, "dedupe_key_reused"),
        (413, "too_many_events"),
        (422, "cloudevent_invalid"),
        (422, "payload_invalid"),
        (422, "trigger_not_found"),
        (422, "trigger_of_the_engine"),
    ])
    .demands_admission();
pub(super) const EVENT_CONSENT: Operation = consented("event_consent", "Reports whether deliveries from a sender are allowed here");
pub(super) const HOOK_CONSENT: Operation = consented("delivery_consent", "Reports whether deliveries from a sender are allowed here")
    .passes_strangers_over()
    .refuses(&[(404, "not_found")]);

const fn consented(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary).gives_content(
        200,
        "Deliveries are allowed, if an origin asked.",
        Content::Nothing,
        &[Header::Allow, Header::AllowedOrigin, Header::AllowedRate],
    )
}
pub(super) const EVENT_LIST: Operation = Operation::lists::<WireEvent>(
    "event_list",
    "Lists events, newest first",
    &["trigger", "source", "correlation", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const EVENT_GET: Operation = Operation::new("event_get", "Returns an event with its payload, or as a CloudEvent")
    .gives_content(
        200,
        "The event.",
        Content::JsonForms(&[("application/json", schema_of::<WireEvent>), (cloudevents::STRUCTURED, schema_of::<shapes::CloudEvent>)]),
        &[],
    )
    .refuses(&[(406, "not_acceptable")])
    .sees_views();
pub(super) const EVENT_RULES: Operation = Operation::lists::<WireVerdict>(
    "event_explain",
    "Explains the verdict of each rule of its trigger on an event",
    &["definitions", "limit", "cursor"],
)
.refuses(FORGOTTEN)
.sees_views();
const FORGOTTEN: &[(u16, &str)] = &[(409, "catalog_gone"), (409, "payload_erased")];

pub(super) const ENFORCEMENT_LIST: Operation = Operation::lists::<WireEnforcement>(
    "enforcement_list",
    "Lists enforcements, newest first",
    &["rule", "event", "outcome", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const ENFORCEMENT_GET: Operation =
    Operation::shows::<WireEnforcement>("enforcement_get", "Returns an enforcement with its rendered parameters").sees_views();

pub(super) const EXECUTION_LIST: Operation = Operation::lists::<WireExecution>(
    "execution_list",
    "Lists executions, newest first",
    &["status", "action", "rule", "label", "correlation", "parent", "rerun_of", "error_kind", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
/// What says which executions many are, how they are read, and, for a rerun alone, whether those that were rerun count again.
const MANY_AGAIN: &[&str] = &[
    "status",
    "action",
    "rule",
    "label",
    "correlation",
    "parent",
    "rerun_of",
    "error_kind",
    "since",
    "until",
    "limit",
    "cursor",
    "dry_run",
    "again",
];
const MANY: &[&str] = MANY_AGAIN.split_at(MANY_AGAIN.len() - 1).0;

const fn changes_many(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .asked(MANY)
        .gives::<WireList<WireChanged>>(200, "The outcome for each item of a page.", &[Header::Link])
        .sees_views()
}

pub(super) const EXECUTIONS_CANCEL: Operation =
    changes_many("executions_cancel", "Requests that executions be cancelled: those of a page of a list").takes(Takes::Empty);
pub(super) const EXECUTIONS_PAUSE: Operation =
    changes_many("executions_pause", "Pauses executions: nothing of them starts until they are resumed").takes(Takes::Empty);
pub(super) const EXECUTIONS_RESUME: Operation = changes_many("executions_resume", "Resumes paused executions").takes(Takes::Empty);
pub(super) const EXECUTIONS_RERUN: Operation = changes_many("executions_rerun", "Reruns executions that have ended")
    .asked(MANY_AGAIN)
    .takes(Takes::Json { schema: schema_of::<WireRerun>, example: r#"{"from": "failed"}"#, presence: Presence::Optional })
    .demands_admission();
pub(super) const EXECUTION_GET: Operation =
    Operation::shows::<WireExecution>("execution_get", "Returns an execution with its parameters and its result").sees_views();
pub(super) const EXECUTION_ATTEMPTS: Operation =
    Operation::lists::<WireAttempt>("attempt_list", "Lists an execution's last attempts, oldest first", PAGE).sees_views();
pub(super) const EXECUTION_TIMELINE: Operation =
    Operation::lists::<shapes::TimelineEntry>("execution_timeline", "Lists an execution's records, oldest first", PAGE).sees_views();
pub(super) const EXECUTION_LOGS: Operation = Operation::new("execution_logs", "Returns or follows the output of an execution")
    .heeds(&[Heeded::LastEventId])
    .asked(&["attempt", "stream", "offset", "follow"])
    .gives_content(
        200,
        "A part of the output, all of one stream, or both streams as they are printed.",
        Content::JsonOrText(schema_of::<WireOutputs>, &["text/plain", "text/event-stream"]),
        &[],
    )
    .refuses(&[(406, "not_acceptable"), (410, "output_removed"), (503, "output_damaged"), (503, "output_unavailable")])
    .sees_views();
pub(super) const EXECUTION_STREAM: Operation =
    streamed("execution_stream", "Streams an execution's records as they are written, until it has ended")
        .gives_content(204, "The execution has ended, and `Last-Event-ID` is its last record.", Content::Nothing, &[])
        .sees_views();
pub(super) const ARTIFACT_LIST: Operation = Operation::lists::<WireArtifact>(
    "artifact_list",
    "Lists the files that an execution's attempts created as artifacts, newest first",
    SORTED,
)
.sees_views();
pub(super) const ARTIFACT_GET: Operation = Operation::new("artifact_get", "Returns a file, or a part of it")
    .heeds(&[Heeded::Range, Heeded::IfRange, Heeded::IfNoneMatch])
    .gives_content(200, "The file.", Content::File, &[Header::ETag, Header::ContentDisposition])
    .gives_content(206, "A part of the file.", Content::File, &[Header::ETag, Header::ContentDisposition, Header::ContentRange])
    .gives_content(304, "The caller has the current version.", Content::Nothing, &[Header::ETag, Header::ContentDisposition])
    .refuses(&[(410, "artifact_removed"), (416, "range_not_satisfiable"), (503, "artifact_unavailable")])
    .sees_views();
pub(super) const EXECUTION_CANCEL: Operation =
    Operation::new("execution_cancel", "Requests that an execution and everything that it runs be cancelled")
        .asked(DRY)
        .gives_content(204, WOULD_BE, Content::Nothing, &[])
        .takes(Takes::Empty)
        .gives::<WireExecution>(202, "The cancellation was requested.", WRITTEN)
        .refuses(&[(409, "execution_not_open")])
        .heeds_conditions(Conditional::Change)
        .sees_views();
pub(super) const EXECUTION_PAUSE: Operation =
    Operation::new("execution_pause", "Pauses an execution: nothing of it starts until it is resumed")
        .asked(DRY)
        .gives_content(204, WOULD_BE, Content::Nothing, &[])
        .takes(Takes::Empty)
        .gives::<WireExecution>(200, "The execution is paused.", WRITTEN)
        .refuses(&[(409, "execution_not_open"), (409, "execution_ending")])
        .heeds_conditions(Conditional::Change)
        .sees_views();
pub(super) const EXECUTION_RESUME: Operation = Operation::new("execution_resume", "Resumes a paused execution")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireExecution>(200, "The execution is resumed.", WRITTEN)
    .refuses(&[(409, "execution_not_open"), (409, "execution_not_paused")])
    .heeds_conditions(Conditional::Change)
    .sees_views();
pub(super) const EXECUTION_RERUN: Operation = Operation::new("execution_rerun", "Reruns an execution that has ended")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .heeds(&[Heeded::Prefer])
    .takes(Takes::Json { schema: schema_of::<WireRerun>, example: r#"{"from": "failed"}"#, presence: Presence::Optional })
    .gives::<WireExecution>(202, "The rerun was requested.", &[Header::Position, Header::Location, Header::PreferenceApplied])
    .gives::<WireExecution>(
        200,
        "The rerun ended within the time that the caller preferred to wait.",
        &[Header::Position, Header::Location, Header::PreferenceApplied],
    )
    .refuses(&[(409, "rerun_refused"), (422, "parameters_invalid")])
    .demands_admission();
pub(super) const EXECUTION_REPLAY: Operation =
    Operation::new("execution_replay", "Reports which recorded executions would take another course, and where they would first differ")
        .passes_keys_over()
        .takes_json::<WireToReplay>(r#"{"last": 100, "action": "demo.greet"}"#)
        .gives::<WireReplayed>(200, "The result of the replay.", &[])
        .refuses(&[(404, "not_found"), (422, "replay_refused"), (422, "takes_too_long"), (429, "over_share")]);
pub(super) const EXECUTION_SETTLE: Operation = Operation::new("execution_settle", "Settles an execution whose outcome is unknown")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes_json::<WireOutcome>(r#"{"outcome": "succeeded", "result": {"sent": true}}"#)
    .gives::<WireExecution>(200, "The execution is settled.", WRITTEN)
    .refuses(&[(409, "execution_not_indeterminate"), (409, "execution_not_open")])
    .heeds_conditions(Conditional::Change)
    .sees_views();

pub(super) const INQUIRY_LIST: Operation = Operation::lists::<WireInquiry>(
    super::INQUIRY_LIST,
    "Lists inquiries, newest first; a caller that may only see its own inquiries gets those",
    &["status", "mine", "execution", "parent", "assignee", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const INQUIRY_GET: Operation =
    Operation::shows::<WireInquiry>("inquiry_get", "Returns an inquiry with its question and answers").sees_views();
pub(super) const INQUIRY_RESPOND: Operation = Operation::new("inquiry_respond", "Answers an inquiry")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes_json::<WireGivenResponse>(
        r#"{"answer": {"ship": true}, "digest": "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f53"}"#,
    )
    .gives::<WireInquiry>(200, "The answer was recorded.", WRITTEN)
    .refuses(&[
        (403, "inquiry_not_asked"),
        (409, "approval_stale"),
        (409, "inquiry_answered_before"),
        (409, "inquiry_closed"),
        (409, "payload_erased"),
        (422, "answer_invalid"),
        (428, "digest_required"),
    ])
    .heeds_conditions(Conditional::Change)
    .sees_views();
pub(super) const INQUIRY_CANCEL: Operation = Operation::new("inquiry_cancel", "Cancels an inquiry: the execution that asks is cancelled")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireInquiry>(202, "The cancellation was requested.", WRITTEN)
    .refuses(&[(409, "inquiry_closed")])
    .heeds_conditions(Conditional::Change)
    .sees_views();

pub(super) const TRACE_GET: Operation =
    Operation::shows::<WireTrace>("trace_get", "Returns the causal graph around an event, an enforcement or an execution").sees_views();

const PAGE: &[&str] = &["limit", "cursor"];
const SORTED: &[&str] = &["sort", "limit", "cursor"];
const OF_PACK: &[&str] = &["pack", "limit", "cursor"];

pub(super) const PACK_LIST: Operation =
    Operation::lists::<WirePack>("pack_list", "Lists packs, including those that were rejected", PAGE).sees_views();
pub(super) const PACK_GET: Operation = Operation::shows::<WirePack>("pack_get", "Returns a pack with its findings").sees_views();
pub(super) const ACTION_LIST: Operation = Operation::lists::<WireAction>("action_list", "Lists actions", OF_PACK);
pub(super) const ACTION_GET: Operation = Operation::shows::<WireAction>("action_get", "Returns an action with its parameters");
pub(super) const ACTION_EXECUTE: Operation = Operation::new("action_execute", "Runs an action")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .heeds(&[Heeded::Prefer])
    .takes(Takes::Json { schema: schema_of::<WireExecute>, example: r#"{"params": {"message": "hi"}}"#, presence: Presence::Optional })
    .gives::<WireExecution>(202, "The execution was requested.", &[Header::Position, Header::Location, Header::PreferenceApplied])
    .gives::<WireExecution>(
        200,
        "The execution ended within the time that the caller preferred to wait.",
        &[Header::Position, Header::Location, Header::PreferenceApplied],
    )
    .refuses(&[(422, "parameters_invalid"), (422, "labels_invalid")])
    .demands_admission();
pub(super) const TRIGGER_LIST: Operation = Operation::lists::<WireTrigger>("trigger_list", "Lists triggers", OF_PACK);
pub(super) const TRIGGER_GET: Operation =
    Operation::shows::<WireTrigger>("trigger_get", "Returns a trigger with the schema of its payload");
pub(super) const SENSOR_LIST: Operation = Operation::lists::<WireSensor>("sensor_list", "Lists sensors", OF_PACK).sees_views();
pub(super) const SENSOR_GET: Operation = Operation::shows::<WireSensor>("sensor_get", "Returns a sensor").sees_views();
pub(super) const TIMER_LIST: Operation = Operation::lists::<WireTimer>(
    "timer_list",
    "Lists the timers of the schedules of rules and sensors, last set first",
    &["rule", "sensor", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const LOCK_LIST: Operation = Operation::lists::<WireLock>(
    "lock_list",
    "Lists the locks that are held or awaited, by the rules and actions that they belong to",
    &["action", "rule", "limit", "cursor"],
)
.sees_views();
pub(super) const QUEUE_LIST: Operation =
    Operation::lists::<WireQueue>("queue_list", "Lists the queues in which executions wait for a worker, by name", &["limit", "cursor"])
        .sees_views();
pub(super) const RULE_LIST: Operation =
    Operation::lists::<WireRule>("rule_list", "Lists rules with their recent activity", &["pack", "trigger", "action", "limit", "cursor"])
        .sees_views();
pub(super) const RULE_GET: Operation = Operation::shows::<WireRule>("rule_get", "Returns a rule with its recent activity").sees_views();
pub(super) const RULE_EXPLAIN: Operation = Operation::new("rule_explain", "Explains the verdict of a rule on an event")
    .asked(&["definitions"])
    .passes_keys_over()
    .takes_json::<WireExplain>(r#"{"event": {"trigger": "demo.hello", "payload": {"name": "ana"}}}"#)
    .gives::<WireExplained>(200, "The verdict with its explanation.", &[])
    .refuses(&[
        (404, "rule_not_there_then"),
        (409, "catalog_gone"),
        (409, "payload_erased"),
        (422, "payload_invalid"),
        (422, "trigger_differs"),
        (422, "trigger_not_found"),
    ])
    .sees_views();
pub(super) const RULE_BACKFILL: Operation =
    Operation::new("rule_backfill", "Runs a scheduled rule for the times in a past range that did not fire")
        .asked(DRY)
        .takes_json::<WireBackfill>(r#"{"since": "2026-03-01T00:00:00Z", "until": "2026-03-08T00:00:00Z"}"#)
        .gives::<WireList<WireMadeUpFor>>(200, "Each time with its event; events that existed before are not created again.", &[])
        .refuses(&[(409, "backfill_refused"), (422, "backfill_refused")])
        .demands_admission();
pub(super) const RULE_BACKTEST: Operation =
    Operation::new("rule_backtest", "Compares what a rule would have done with past events to what happened")
        .passes_keys_over()
        .takes_json::<WireToBacktest>(r#"{"rule": "demo.greet", "since": "2026-01-01T00:00:00Z"}"#)
        .gives::<WireBacktest>(200, "The result of the backtest.", &[])
        .refuses(&[(404, "not_found"), (422, "rule_invalid"), (422, "takes_too_long"), (429, "over_share")]);
pub(super) const RULE_ENABLE: Operation = mode("rule_enable", "Enables a rule, which also ends a suspension");
pub(super) const RULE_DISABLE: Operation = mode("rule_disable", "Disables a rule");
pub(super) const RULE_SHADOW: Operation = mode("rule_shadow", "Puts a rule in shadow mode: its matches are recorded but not acted on");

const fn mode(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .asked(DRY)
        .gives_content(204, WOULD_BE, Content::Nothing, &[])
        .takes(Takes::Empty)
        .gives::<WireRuleMode>(200, "The mode is set.", WRITTEN)
        .heeds_conditions(Conditional::Change)
}

pub(super) const HOOK_RECEIVE: Operation = Operation::new("delivery_receive", "Receives a delivery at a webhook")
    .passes_strangers_over()
    .takes(Takes::AnyJson { example: r#"{"ref": "refs/heads/main"}"# })
    .gives::<WireTaken<'static>>(202, "The events are on the disk.", WRITTEN)
    .gives::<WireTaken<'static>>(200, "A duplicate, with the first events; or the delivery created no event.", WRITTEN)
    .refuses(HOOK_REFUSES)
    .demands_admission();
const HOOK_REFUSES: &[(u16, &str)] = &[
    (401, "signature_refused"),
    (404, "not_found"),
    (404, "hook_not_found"),
    (422, "sensor_erred"),
    (422, "payload_invalid"),
    (422, "trigger_not_found"),
    (503, "hook_unusable"),
];
pub(super) const HOOK_LIST: Operation = Operation::lists::<WireHook>("hook_list", "Lists webhooks with their newest deliveries", PAGE);
pub(super) const HOOK_GET: Operation = Operation::shows::<WireHook>("hook_get", "Returns a webhook with its last deliveries");
pub(super) const HOOK_SEND: Operation = Operation::new("delivery_send", "Signs a delivery as its sender would, and receives it")
    .takes_json::<WireSend>(r#"{"event": "push", "body": {"ref": "refs/heads/main"}}"#)
    .gives::<WireTaken<'static>>(202, "The events are on the disk.", WRITTEN)
    .gives::<WireTaken<'static>>(200, "A duplicate, with the first events; or the delivery created no event.", WRITTEN)
    .refuses(HOOK_REFUSES);

pub(super) const KEY_LIST: Operation =
    Operation::lists::<WireKey>("key_list", "Lists the keys that are set, without their values", SORTED).sees_views();
pub(super) const KEY_GET: Operation = Operation::shows::<WireKey>("key_get", "Returns when a key was set, and by whom").sees_views();
pub(super) const KEY_SET: Operation = Operation::new("key_set", "Sets a key")
    .takes(Takes::JsonOr {
        schema: schema_of::<WireKeyValue>,
        example: r#"{"value": "a new value"}"#,
        others: &[("application/octet-stream", "the bytes of the value"), ("text/plain", "the text of the value")],
    })
    .gives::<WireSetKey>(201, "The key was set for the first time.", SET)
    .gives::<WireSetKey>(200, "The value of the key was replaced.", SET)
    .refuses(&[(409, "key_version_old"), (413, "key_value_invalid"), (422, "key_value_invalid"), (503, "vault_unavailable")])
    .heeds_conditions(Conditional::MakingOrChange);
pub(super) const KEY_REMOVE: Operation = Operation::new("key_remove", "Removes a key")
    .gives_content(204, "The key was removed.", Content::Nothing, WRITTEN)
    .heeds_conditions(Conditional::Change);
pub(super) const VAR_LIST: Operation =
    Operation::lists::<WireVar>("var_list", "Lists the vars that have a value, with their values", SORTED).sees_views();
pub(super) const VAR_GET: Operation =
    Operation::shows::<WireVar>("var_get", "Returns a var with its value, when it was set, and by whom").sees_views();
pub(super) const VAR_SET: Operation = Operation::new("var_set", "Sets a var")
    .takes_json::<WireVarValue>(r#"{"value": {"page": 7}}"#)
    .gives::<WireSetVar>(201, "The var had no value before.", SET)
    .gives::<WireSetVar>(200, "The value of the var was replaced.", SET)
    .refuses(&[(409, "too_many_vars"), (413, "too_large_to_record"), (422, "var_invalid")])
    .heeds_conditions(Conditional::MakingOrChange);
pub(super) const VAR_REMOVE: Operation = Operation::new("var_remove", "Removes the value of a var")
    .gives_content(204, "The var no longer has a value.", Content::Nothing, WRITTEN)
    .heeds_conditions(Conditional::Change);
pub(super) const TOKEN_LIST: Operation =
    Operation::lists::<WireToken>("token_list", "Lists tokens, without their secrets", &["name", "sort", "limit", "cursor"]).sees_views();
pub(super) const TOKEN_GET: Operation =
    Operation::shows::<WireToken>("token_get", "Returns a valid token, without its secret").sees_views();
pub(super) const TOKEN_ADD: Operation = Operation::new("token_add", "Creates a token, and shows its secret once")
    .takes_json::<WireAskedToken>(r#"{"name": "ana", "roles": ["viewer"]}"#)
    .gives::<WireNewToken<'static>>(201, "The token is valid.", MADE)
    .refuses(&[(409, "token_name_taken"), (422, "token_name_invalid"), (422, "token_roles_invalid")]);
pub(super) const TOKEN_REVOKE: Operation = Operation::new("token_revoke", "Revokes a token")
    .gives_content(204, "The token is revoked.", Content::Nothing, WRITTEN)
    .refuses(&[(409, "last_admin")])
    .heeds_conditions(Conditional::Change);

pub(super) const LOG_LIST: Operation =
    Operation::lists::<shapes::Record>("record_list", "Lists records, oldest first", &["after", "bodies", "limit", "cursor"]);
pub(super) const LOG_HEAD: Operation =
    Operation::shows::<shapes::Head>("log_head", "Returns the newest position and the chain's hash at it");
pub(super) const LOG_STREAM: Operation = streamed("record_stream", "Streams the log's records as they are written");
pub(super) const LOG_GET: Operation = Operation::shows::<shapes::Record>("record_get", "Returns a record");
pub(super) const LOG_VERIFICATION: Operation =
    Operation::shows::<WireJob>("verification_get", "Returns the status of the last check of the log's chain");
pub(super) const LOG_VERIFY: Operation = job("log_verify", "Starts a check of the log's chain");
pub(super) const VIEWS_REBUILDING: Operation =
    Operation::shows::<WireJob>("rebuilding_get", "Returns the status of the last rebuild of the views");
pub(super) const VIEWS_REBUILD: Operation = job("views_rebuild", "Starts to rebuild the views while the live ones stay in use");

const fn streamed(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .asked(&["after", "named"])
        .heeds(&[Heeded::LastEventId])
        .gives_content(200, "Server-sent events, until the caller or the node ends them.", Content::Text(&["text/event-stream"]), &[])
        .gives_content(101, "The same as messages of a WebSocket, if the request asks for one.", Content::Nothing, &[])
        .refuses(&[(400, "websocket_invalid"), (403, "origin_refused"), (406, "not_acceptable"), (429, "over_share")])
}

const fn job(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .passes_keys_over()
        .takes(Takes::Empty)
        .gives::<WireJob>(202, "The job is in progress.", &[Header::Location])
        .refuses(&[(502, "machine_unusable")])
}

pub(super) const PARKED_LIST: Operation = Operation::lists::<WireParkedReaction>(
    "parked_reaction_list",
    "Lists the parked reactions, newest first",
    &["since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const PARKED_GET: Operation =
    Operation::shows::<WireParkedReaction>("parked_reaction_get", "Returns a parked reaction").sees_views();
pub(super) const PARKED_RETRY: Operation = Operation::new("parked_reaction_retry", "Retries a parked reaction")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireDecided>(202, "The reaction is being retried.", WRITTEN)
    .heeds_conditions(Conditional::Change);
pub(super) const PARKED_DISMISS: Operation = Operation::new("parked_reaction_dismiss", "Dismisses a parked reaction permanently")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireDecided>(200, "The reaction is dismissed.", WRITTEN)
    .heeds_conditions(Conditional::Change);
pub(super) const CLOCK_ACCEPT: Operation =
    Operation::new("clock_accept", "Accepts the clock after it stepped far forward: due timers no longer wait")
        .asked(DRY)
        .gives_content(204, WOULD_BE, Content::Nothing, &[])
        .takes(Takes::Empty)
        .gives::<WireClockAccepted>(200, "Timers no longer wait for a step of the clock.", WRITTEN);
pub(super) const DEAD_LETTER_LIST: Operation = Operation::lists::<WireDeadLetter>(
    "dead_letter_list",
    "Lists dead letters, newest first: deliveries from proven senders that were rejected, and executions that failed permanently",
    &["status", "sensor", "action", "rule", "since", "until", "sort", "limit", "cursor"],
)
.sees_views();
pub(super) const DEAD_LETTER_GET: Operation =
    Operation::shows::<WireDeadLetter>("dead_letter_get", "Returns a dead letter with its delivery").sees_views();

pub(super) const NODE_STATUS: Operation =
    Operation::shows::<WireStatus>("node_status", "Returns the status of the node and figures about its log").sees_views();
pub(super) const NODE_DOCTOR: Operation =
    Operation::shows::<WireDoctor>("node_doctor", "Reports problems of the installation, and how to fix them");
pub(super) const NODE_METRICS: Operation = Operation::new("metrics_get", "Returns the metrics in the format of Prometheus")
    .gives_content(200, "The metrics.", Content::Text(Form::MEDIA_TYPES), &[])
    .refuses(&[(406, "not_acceptable")]);
pub(super) const NODE_LIVEZ: Operation =
    Operation::shows::<WireAlive>("livez_get", "Reports that the process is alive").passes_strangers_over();
pub(super) const NODE_HEALTH: Operation = NODE_LIVEZ.named("health_get");
pub(super) const NODE_READYZ: Operation =
    Operation::shows::<WireReadiness>("readyz_get", "Reports whether the node can serve, with each of its dependencies")
        .gives::<WireReadiness>(503, "The node cannot serve now.", &[Header::RetryAfter])
        .passes_strangers_over();
pub(super) const NODE_READY: Operation = NODE_READYZ.named("ready_get");
pub(super) const NODE_PUBLIC_STATUS: Operation =
    Operation::shows::<WirePublicStatus<'static>>("release_get", "Returns public information: the release and the API's version");
const PAGES: Content = Content::Text(&["text/markdown", "text/html"]);
pub(super) const ERROR_LIST: Operation =
    Operation::new("error_list", "Lists the error pages").gives_content(200, "The list.", PAGES, &[]).refuses(&[(406, "not_acceptable")]);
pub(super) const ERROR_GET: Operation = Operation::new("error_get", "Returns an error page")
    .gives_content(200, "The page.", PAGES, &[])
    .refuses(&[(404, "no_such_path"), (406, "not_acceptable")]);
pub(super) const DOCS_GET: Operation = Operation::new("docs_get", "Returns the OpenAPI document as a page")
    .gives_content(200, "The page.", Content::Text(&["text/html"]), &[])
    .refuses(&[(406, "not_acceptable")]);
pub(super) const OPENAPI_GET: Operation = Operation::new("openapi_get", "Returns this document").gives_content(
    200,
    "The document.",
    Content::Json(schema_of::<shapes::Document>),
    &[],
);
pub(super) const DEAD_LETTER_RETRY: Operation = Operation::new("dead_letter_retry", "Retries a dead letter")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireDealtWith>(202, "The execution is run again, or the new events of the delivery are on the disk.", WRITTEN)
    .refuses(&[
        (404, "hook_not_found"),
        (409, "dead_letter_not_open"),
        (409, "dead_letter_not_kept"),
        (409, "rerun_refused"),
        (422, "parameters_invalid"),
        (422, "payload_invalid"),
        (422, "sensor_erred"),
        (422, "trigger_not_found"),
    ])
    .heeds_conditions(Conditional::Change)
    .demands_admission();
pub(super) const DEAD_LETTER_DISMISS: Operation = Operation::new("dead_letter_dismiss", "Dismisses a dead letter")
    .asked(DRY)
    .gives_content(204, WOULD_BE, Content::Nothing, &[])
    .takes(Takes::Empty)
    .gives::<WireDealtWith>(200, "The dead letter is dismissed.", WRITTEN)
    .refuses(&[(409, "dead_letter_not_open")])
    .heeds_conditions(Conditional::Change);
const LETTERS: &[&str] = &["sensor", "action", "rule", "since", "until", "sort", "limit", "cursor", "dry_run"];

const fn deals_with_many(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .asked(LETTERS)
        .takes(Takes::Empty)
        .gives::<WireList<WireDealtWith>>(200, "The outcome for each item of a page.", &[Header::Link])
        .sees_views()
}

pub(super) const DEAD_LETTERS_RETRY: Operation =
    deals_with_many("dead_letters_retry", "Retries dead letters: the open ones of a page of a list").demands_admission();
pub(super) const DEAD_LETTERS_DISMISS: Operation =
    deals_with_many("dead_letters_dismiss", "Dismisses dead letters: the open ones of a page of a list");
