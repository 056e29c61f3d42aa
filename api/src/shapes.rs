//! The JSON forms of the core's own types, for the OpenAPI document, because the core does not know schemas.
//!
//! Each replaces the type of its name, in a field's `schemars(with = …)`.

use std::borrow::Cow;

use ensue_engine::access::permission::Permission;
use ensue_engine::catalog;
use ensue_engine::executions::facts;
use ensue_engine::fact::Fact;
use ensue_engine::inquiries::facts::Occasion;
use ensue_engine::ports;
use ensue_engine::rules::flow::facts as flow;
use ensue_engine::schedule::plan;
use ensue_packs::Severity;
use ensue_views::{enforcements, executions, inquiries};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sizes::ROLES_MAX;

macro_rules! shapes {
    ($($name:ident = $json:expr;)*) => {
        $(
            #[doc = concat!("Stands for `", stringify!($name), "`.")]
            pub(crate) enum $name {}

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $json
                }
            }
        )*
    };
}

shapes! {
    Id = id("An id.");
    EventId = id("The id of an event.");
    EnforcementId = id("The id of an enforcement.");
    ExecutionId = id("The id of an execution.");
    AttemptId = id("The id of an attempt.");
    ArtifactId = id("The id of an artifact.");
    InquiryId = id("The id of an inquiry.");
    RuleId = id("The id of a rule.");
    ScheduleId = id("The id of a schedule of a rule or a sensor.");
    TokenId = id("The id of a token.");
    IdentityId = id("The id of an identity.");
    GrantId = id("The id of a grant.");
    SessionId = id("The id of a session.");
    RoleName = name("The name of a role.", "viewer");
    TierName = name("The name of a tier.", "free");
    GroupName = json_schema!({
        "type": "string",
        "pattern": "^([a-z][a-z0-9_]{0,63}|[a-z][a-z0-9_-]{0,31}:[^\\s\\x00-\\x1f\\x7f-\\x9f]([^\\x00-\\x1f\\x7f-\\x9f]{0,198}[^\\s\\x00-\\x1f\\x7f-\\x9f])?)$",
        "description": "The name of a group of identities; a group that an issuer names has its prefix.",
        "examples": ["release"],
    });
    IssuerName = json_schema!({
        "type": "string",
        "pattern": "^[a-z][a-z0-9_-]{0,31}$",
        "description": "The name of an issuer in `login.issuers`.",
        "examples": ["corp"],
    });
    GrantSubject = json_schema!({
        "type": "string",
        "pattern": SUBJECT,
        "description": "A subject of a grant: `identity:<name>`, `group:<name>` or `everyone`.",
        "examples": ["group:release"],
    });
    Period = json_schema!({
        "type": "string",
        "pattern": "^0{0,3}[1-9][0-9]{0,2}(h|d)$|^0{0,3}[1-9][0-9]{0,4}(ms|s|m)$",
        "description": "A period of at most ten years: a number and `ms`, `s`, `m`, `h` or `d`.",
        "examples": ["90d"],
    });
    PermissionName = words("A permission.", &Permission::ALL.iter().map(|permission| permission.name()).collect::<Vec<_>>());
    ScopeText = json_schema!({
        "type": "string",
        "pattern": "^[a-z_]+:[a-z]+( on .+)?$",
        "description": "A permission, perhaps with a limit.",
        "examples": ["events:write on pack=shop"],
    });
    PatternText = json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9_.]{1,64}[*]?$",
        "description": "A name, or its beginning with `*` at the end.",
        "examples": ["release"],
    });
    LogId = id("The id of a log.");
    PackName = name("The name of a pack.", "core");
    WorkerQueueName = name("The name of a queue in which executions wait for a worker.", "default");
    LabelName = name("The name of a label.", "site");
    Labels = json_schema!({
        "type": "object",
        "maxProperties": 16,
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]{0,63}$" },
        "additionalProperties": { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,256}$" },
        "description": "Labels by name; a value has at most 256 bytes.",
        "examples": [{ "site": "eu" }],
    });
    ActionRef = reference("The name of an action, with its pack.", "core.echo");
    TriggerRef = reference("The name of a trigger, with its pack.", "github.push");
    VersionedTrigger = json_schema!({
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]{0,63}[.][a-z][a-z0-9_]{0,63}(@[1-9][0-9]{0,9})?$",
        "description": "The name of a trigger, with its pack and perhaps a version of its payload: without one, the newest.",
        "examples": ["shop.ordered@1"],
    });
    SensorRef = reference("The name of a sensor, with its pack.", "github.webhook");
    RuleRef = reference("The name of a rule, with its pack.", "demo.greet");
    StepName = name("The name of a step of a workflow.", "build");
    KeyRef = reference("The name of a key.", "github.webhook_secret");
    ConnectionName = name("The name of a connection.", "orders");
    VarName = json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9_][a-z0-9_.-]{0,127}$",
        "description": "The name of a var.",
        "examples": ["sync.cursor"],
    });
    ArtifactName = text("The name of a file.", "report.txt");
    MediaType = text("The media type of a file, as its program reported it.", "text/plain");
    TokenName = json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9_.-]{1,64}$",
        "description": "The name of a token or an identity.",
        "examples": ["ana"],
    });
    Digest = hash("A BLAKE3 digest.");
    Chain = hash("The hash of the log's chain at a position.");
    Timestamp = json_schema!({
        "type": "string",
        "format": "date-time",
        "description": "A time: RFC 3339 in UTC, with microseconds.",
        "examples": ["2026-03-28T12:00:00.000000Z"],
    });
    Position = number("A position in the log; the first record has 1.");
    CatalogRevision = number("A revision of what is installed.");
    Epoch = number("The number of times that the log was opened for writing.");
    Status = words("The status of an execution.", &executions::Status::ALL.map(executions::Status::as_str));
    OutcomeName = words("The outcome of a rule's match.", &enforcements::OutcomeName::ALL.map(enforcements::OutcomeName::as_str));
    ReleasedName = words(
        "The outcome of an enforcement after it was held.",
        &enforcements::ReleasedName::ALL.map(enforcements::ReleasedName::as_str),
    );
    SupersededBecause = words(
        "Why a held enforcement is not acted on: a newer match with its key arrived, its event is acted on with others, its window did \
         not become full in time, its rule held too many, or its rule was changed, removed or disabled.",
        &flow::SupersededBecause::ALL.map(flow::SupersededBecause::as_str),
    );
    Control = words("A flow control of a rule.", &catalog::Control::ALL.map(catalog::Control::as_str));
    InquiryStatus = words(
        "The status of an inquiry: it waits for answers, it was decided, it expired, or the execution that asked was cancelled.",
        &inquiries::InquiryStatus::ALL.map(inquiries::InquiryStatus::as_str),
    );
    AnswerVerdict = words("The effect of an answer: more people must answer, it decides, or it decides alone because the inquiry's `veto` applies to it.", VERDICTS);
    NotificationOccasion = words(
        "Why the assignees are notified: the inquiry was opened, it is still open, or others are now asked as well.",
        &Occasion::ALL.map(Occasion::as_str),
    );
    AttemptStatus = words("The status of an attempt.", ATTEMPT_STATUSES);
    SettledAs = words("How a person settled an execution.", SETTLED_AS);
    FailureKind = words("Why something failed.", &facts::FailureKind::ALL.map(facts::FailureKind::as_str));
    SkippedBecause = words(
        "Why a step does not start: its condition does not hold, a step that it needs did not succeed, the workflow is failing, the workflow was cancelled, or the event of its `cancel_when` came.",
        SKIPPED_BECAUSE,
    );
    Evidence = words("The evidence about a lost attempt.", EVIDENCES);
    OutputStream = words("A stream of an attempt's output.", &ports::OutputStream::ALL.map(ports::OutputStream::as_str));
    Mode = words("Whether a rule's matches are acted on.", MODES);
    Misfire = words(
        "How times at which no node was running are handled: the newest fires for all of them, none fires, or each one fires.",
        &plan::Misfire::ALL.map(plan::Misfire::as_str),
    );
    OnLost = words("How an execution is handled if it is unknown whether it took effect.", ON_LOST);
    Head = object("The newest position of the log.", &json!({ "position": natural(), "chain": hash("The chain's hash at that position; 32 zero bytes in an empty log.") }));
    TimelineEntry = object(
        "A record of an execution, described for people.",
        &json!({
            "position": natural(),
            "time": { "type": "string", "format": "date-time" },
            "kind": { "type": "string", "description": "The kind of the fact." },
            "what": { "type": "string", "description": "What happened." },
            "actor": { "type": "string", "description": "The actor that caused it." },
        }),
    );
    CloudEvent = json_schema!({
        "type": "object",
        "description": "A CloudEvent 1.0 in JSON. Besides the listed attributes, it may have attributes of its own: strings, whole numbers, true or false.",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "Unique within its source." },
            "source": { "type": "string", "format": "uri-reference", "minLength": 1, "maxLength": 1024 },
            "type": { "type": "string", "minLength": 1, "description": "The ref of its trigger." },
            "time": { "type": ["string", "null"], "format": "date-time" },
            "subject": { "type": ["string", "null"], "minLength": 1 },
            "datacontenttype": { "type": ["string", "null"], "minLength": 1 },
            "dataschema": { "type": ["string", "null"], "format": "uri", "minLength": 1 },
            "data": { "description": "The data of the event." },
            "data_base64": { "type": ["string", "null"], "contentEncoding": "base64", "description": "The data of the event, if it is bytes." },
        },
        // A pattern describes the types of extension attributes, because in many languages
        // `additionalProperties` binds the named members as well.
        "patternProperties": { OWN_ATTRIBUTE: { "type": ["string", "integer", "boolean", "null"] } },
        "additionalProperties": true,
    });
    BodyEncoding = words("How the body is stored.", &["raw", "json", "json+zstd", "json+zstd-d1"]);
    FactKind = json_schema!({
        "type": "string",
        "description": "The kind of a fact. The examples are all kinds of this release; later releases add others.",
        "examples": Fact::KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
    });
    ProblemCode = text("The kind of problem, in a word.", "not_found");
    Params = json_schema!({
        "type": "object",
        "description": "Parameters by name.",
        "additionalProperties": true,
        "examples": [{ "site": "eu" }],
    });
    FindingSeverity = words("The severity of a finding. A pack with errors is rejected.", &Severity::ALL.map(Severity::as_str));
    ConditionShape = words("How the value of a part follows from its own parts; `whole` has no relevant parts.", CONDITION_SHAPES);
    ConditionOutcome = words("The value of a part; `unknown` if it would take too long to compute.", CONDITION_OUTCOMES);
    Document = json_schema!({ "type": "object", "description": "An OpenAPI document." });
    Roles = json_schema!({
        "type": "array",
        "items": { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$" },
        "maxItems": ROLES_MAX,
        "description": "Roles; duplicates count once.",
    });
}

/// The pattern of a subject of a grant.
pub(crate) const SUBJECT: &str = "^(everyone|group:([a-z][a-z0-9_]{0,63}:)?[a-z][a-z0-9_]{0,63}|identity:[a-z0-9_.-]{1,64})$";

/// A range of bytes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSpan {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Every name except those that the schema of a CloudEvent defines itself.
const OWN_ATTRIBUTE: &str = "^(?!(specversion|id|source|type|time|subject|datacontenttype|dataschema|data|data_base64)$)";

/// A record of the log.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Record {
    position: Position,
    log: LogId,
    epoch: Epoch,
    batch: Id,
    stream: String,
    revision: u64,
    kind: FactKind,
    schema: u64,
    id: Id,
    time: Timestamp,
    actor: String,
    cause: RecordCause,
    /// What happened; its form depends on the kind.
    fact: Value,
    body: Option<RecordBody>,
    chain: Chain,
    /// The body as JSON, or its text; null if there is no body, or it was erased. Only with `bodies=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
}

/// The cause of a record.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct RecordCause {
    parent: Option<Id>,
    root: Id,
    depth: u64,
    trace: Option<String>,
}

/// The body that is stored with a fact.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct RecordBody {
    /// The digest of its decoded bytes.
    digest: Digest,
    bytes: u64,
    encoding: BodyEncoding,
    key: Option<String>,
}

/// A finding of `ensue check` in a pack.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct PackFinding {
    severity: FindingSeverity,
    /// The stable name of the problem.
    code: String,
    pack: Option<PackName>,
    /// The file, by its path in the pack.
    file: String,
    /// The line, from 1; the column counts the same way.
    line: u64,
    column: u64,
    end_line: u64,
    end_column: u64,
    /// The place in the file.
    span: WireSpan,
    message: String,
    hint: Option<String>,
    /// The replacement for the span, if exactly that fixes the problem.
    suggestion: Option<String>,
    /// The page that describes the diagnostic.
    page: String,
}

/// A part of a condition, without the parts below it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionPart {
    /// The part as it is written, shortened if it is long.
    source: String,
    span: WireSpan,
    outcome: ConditionOutcome,
    /// The value in a few words, or the error's message; null if the value is true, false or unknown.
    value: Option<String>,
    /// What it compared or looked at, in a few words.
    note: Option<String>,
    /// Only for a part that failed with an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConditionError")]
    error: Option<ConditionError>,
}

/// A part of a condition with the parts below it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionTree {
    #[serde(flatten)]
    part: ConditionPart,
    shape: ConditionShape,
    /// False in a branch that was not taken: the outcome is then hypothetical.
    reached: bool,
    /// The fields that it reads.
    readings: Vec<ConditionReading>,
    /// The parts below, in the order of the source.
    parts: Vec<ConditionTree>,
    /// Only for `all`, `exists` and `exists_one`: the elements that they iterated over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConditionElements")]
    elements: Option<ConditionElements>,
}

/// Why a part failed.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionError {
    kind: String,
    message: String,
    span: WireSpan,
    hint: Option<String>,
}

/// A field that a part reads.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionReading {
    /// `event.payload.action`.
    path: String,
    /// Its value in a few words, or `nothing`.
    value: String,
}

/// The elements that a macro iterated over.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionElements {
    count: u64,
    /// The first of the elements that decided.
    decided: Vec<ConditionElement>,
}

/// An element that decided a macro.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionElement {
    /// Its index in a list, or its key in a map.
    at: String,
    /// Its value in a few words.
    value: String,
    part: ConditionTree,
}

/// A way to flip a condition: all of these parts must change.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionFlip {
    to: bool,
    turns: Vec<ConditionTurn>,
    /// The parts that would decide together with these, and need not change.
    already: Vec<ConditionPart>,
}

/// A part that must change.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ConditionTurn {
    part: ConditionPart,
    to: bool,
}

const CONDITION_SHAPES: &[&str] = &["whole", "all", "any", "not", "choice"];
const CONDITION_OUTCOMES: &[&str] = &["true", "false", "value", "error", "unknown"];
const ATTEMPT_STATUSES: &[&str] = &["running", "succeeded", "failed", "timed_out", "cancelled", "lost"];
const VERDICTS: &[&str] = &["counts", "decides", "vetoes"];
const SETTLED_AS: &[&str] = &["succeeded", "failed", "retry"];
const SKIPPED_BECAUSE: &[&str] = &["condition", "needs", "failing", "cancelled", "event"];
const EVIDENCES: &[&str] = &["not_begun", "may_have_begun"];
const MODES: &[&str] = &["enabled", "disabled", "shadow"];
const ON_LOST: &[&str] = &["ask", "fail", "retry"];

fn id(description: &str) -> Schema {
    json_schema!({ "type": "string", "format": "uuid", "description": description })
}

fn text(description: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "description": description, "examples": [example] })
}

fn name(description: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$", "description": description, "examples": [example] })
}

fn reference(description: &str, example: &str) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]{0,63}[.][a-z][a-z0-9_]{0,63}$",
        "description": description,
        "examples": [example],
    })
}

fn hash(description: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$", "description": description })
}

fn number(description: &str) -> Schema {
    json_schema!({ "type": "integer", "format": "uint64", "minimum": 0, "description": description })
}

fn natural() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// Returns the schema of an object whose fields are always present.
fn object(description: &str, properties: &Value) -> Schema {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
    json_schema!({ "type": "object", "description": description, "required": required, "properties": properties })
}

fn words(description: &str, words: &[&str]) -> Schema {
    json_schema!({ "type": "string", "enum": words, "description": description })
}

#[cfg(test)]
mod tests {
    use ensue_engine::{catalog, workflows};
    use serde::de::DeserializeOwned;

    use super::*;

    fn each_is_one<T: DeserializeOwned>(words: &[&str]) {
        for word in words {
            assert!(serde_json::from_value::<T>((*word).into()).is_ok(), "{word}");
        }
        // Serde lists all known names if it gets another one, so none is missing here.
        let known = serde_json::from_value::<T>("no such word".into()).err().unwrap().to_string();
        assert_eq!(known.matches('`').count(), 2 * (words.len() + 1), "{known}");
    }

    #[test]
    fn enums_match_those_of_the_core() {
        each_is_one::<executions::AttemptStatus>(ATTEMPT_STATUSES);
        each_is_one::<executions::SettledAs>(SETTLED_AS);
        each_is_one::<ensue_engine::inquiries::facts::Verdict>(VERDICTS);
        each_is_one::<workflows::facts::SkippedBecause>(SKIPPED_BECAUSE);
        each_is_one::<facts::Evidence>(EVIDENCES);
        each_is_one::<facts::FailureKind>(&facts::FailureKind::ALL.map(facts::FailureKind::as_str));
        each_is_one::<catalog::Mode>(MODES);
        each_is_one::<catalog::OnLost>(ON_LOST);
        each_is_one::<plan::Misfire>(&plan::Misfire::ALL.map(plan::Misfire::as_str));
    }
}
