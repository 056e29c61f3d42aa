//! `tests/*.test.yaml`: cases of a pack, each with its input and the expected outcome.
//!
//! This module holds only the shapes. `check/tests.rs` reads cases and checks them against the packs.

use ensue_engine::executions::facts::FailureKind;

use crate::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, required_field};

/// The field that distinguishes a case of an action from one of events.
pub(crate) const RUNS: &str = "run";

/// How an execution can end.
pub(crate) const STATUSES: [&str; 5] = ["succeeded", "failed", "timed_out", "cancelled", "indeterminate"];
/// How a step can end.
pub(crate) const STEP_STATUSES: [&str; 6] = ["succeeded", "failed", "timed_out", "cancelled", "skipped", "indeterminate"];
/// The outcomes of an event at a rule that does not ignore it.
pub(crate) const ENFORCEMENT_OUTCOMES: [&str; 8] =
    ["executed", "shadowed", "rejected", "erred", "deduplicated", "throttled", "skipped", "superseded"];

/// The names of the kinds of failure that an attempt can end with.
const ATTEMPT_FAILURES: [&str; 20] = failures([
    FailureKind::ParametersInvalid,
    FailureKind::Expression,
    FailureKind::KeyMissing,
    FailureKind::Sandbox,
    FailureKind::Spawn,
    FailureKind::ExitCode,
    FailureKind::Signal,
    FailureKind::Timeout,
    FailureKind::ResultInvalid,
    FailureKind::OutputLimit,
    FailureKind::Network,
    FailureKind::EgressDenied,
    FailureKind::RedirectInvalid,
    FailureKind::TooManyRedirects,
    FailureKind::AnswerUnreadable,
    FailureKind::HttpStatus,
    FailureKind::SmtpStatus,
    FailureKind::Memory,
    FailureKind::Lost,
    FailureKind::Output,
]);

/// The names of the kinds of failure that an execution or a step can end with.
const FAILURES: [&str; FailureKind::ALL.len()] = failures(FailureKind::ALL);

const fn failures<const N: usize>(kinds: [FailureKind; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = kinds[index].as_str();
        index += 1;
    }
    names
}

const NAME: ShapeField =
    required_field("it", "it: ships a version tag", Kind::Text(Form::Any), "What should be true, in a sentence that continues from “it”.");

const CONFIG: ShapeField = optional_field(
    "config",
    Kind::Mapping { names: Form::OwnName, of: &Kind::Anything },
    "What the operator has set for the pack, overriding its defaults.",
);

const REAL: ShapeField = optional_field(
    "real",
    Kind::True,
    "The case runs only with `ensue pack test --real`, in which actions that run `http` send their requests to the fake vendor of the \
     pack (`fake/server.yaml`). It has no `mocks`.",
);
/// The kind of a field that holds values of keys.
pub(crate) const SENT_KEYS: Kind = Kind::Mapping { names: Form::KeyName, of: &Kind::Text(Form::Any) };
const KEYS: ShapeField =
    optional_field("keys", SENT_KEYS, "In a `real` case, the values of keys that differ from those that the fake vendor accepts, by name.");
const CONNECTION: ShapeField = optional_field(
    "connection",
    Kind::True,
    "In a `real` case, the setting of the pack that names a connection has one to the fake vendor, with credentials of its own. The pack \
     has no keys but those in `keys`, and the vendor accepts none of them.",
);
const BETWEEN: &[FieldConstraint] = &[
    FieldConstraint::NotBoth("real", "mocks"),
    FieldConstraint::OnlyBeside { field: "keys", other: "real" },
    FieldConstraint::OnlyBeside { field: "connection", other: "real" },
];

static MOCKED: Kind = Kind::Nested(&MOCK);
static ENDED: Kind = Kind::ChoiceOrFields(&STEP_STATUSES, &EXPECTED_STEP);

const VARS: ShapeField = optional_field(
    "vars",
    Kind::Mapping { names: Form::VarName, of: &Kind::Anything },
    "The values that vars have at the start, by name; null for a var without a value, which is the same as leaving it out.",
);
const VARS_AFTER: ShapeField = optional_field(
    "vars_after",
    Kind::Mapping { names: Form::VarName, of: &Kind::Anything },
    "The values that vars must have at the end, by name; null for a var that must have none.",
);

const MOCKS: ShapeField = optional_field(
    "mocks",
    Kind::Mapping { names: Form::Any, of: &MOCKED },
    "The outcomes of steps, by name: nothing is really run. A step of a nested workflow is `<step>.<step>`. A list has one mock for \
     each item of `for_each` or turn of `repeat`, otherwise for each attempt; lists in it are one level deeper.",
);

const RESULT: ShapeField = optional_field("result", Kind::Value, "What it returns; for an object, the fields that matter.");
const ERROR: ShapeField = optional_field("error", Kind::Fields(&EXPECTED_ERROR), "Why it fails.");
const STEPS: ShapeField = optional_field(
    "steps",
    Kind::Mapping { names: Form::Any, of: &ENDED },
    "How its steps end, by name: a status, or fields. A step of a nested workflow is `<step>.<step>`.",
);
const EXACTLY: ShapeField = optional_field(
    "exactly",
    Kind::Boolean,
    "Whether objects must have exactly the fields that are written, and no others. The default is false.",
);

pub(crate) static EVENT_CASE: Shape = Shape {
    what: "a case",
    fields: &[
        NAME,
        REAL,
        KEYS,
        CONNECTION,
        CONFIG,
        VARS,
        required_field("given", "given: { event: { trigger: github.push, payload: {} } }", Kind::Fields(&GIVEN), "What comes."),
        MOCKS,
        VARS_AFTER,
        required_field(
            "expect",
            "expect: []",
            Kind::Listing(&ENFORCEMENT),
            "Every decision of the pack's rules, in any order; `[]` means that there are none.",
        ),
    ],
    between: BETWEEN,
    ..Shape::BARE
};

pub(crate) static RUN_CASE: Shape = Shape {
    what: "a case",
    fields: &[
        NAME,
        REAL,
        KEYS,
        CONNECTION,
        CONFIG,
        VARS,
        required_field(RUNS, "run: { action: release.ship, with: { version: v1 } }", Kind::Fields(&RUN_WHAT), "What somebody requests."),
        MOCKS,
        VARS_AFTER,
        required_field("expect", "expect: { status: succeeded }", Kind::Fields(&EXPECTED_END), "How it ends."),
    ],
    between: BETWEEN,
    ..Shape::BARE
};

pub(crate) static GIVEN: Shape = Shape {
    what: "`given`",
    fields: &[
        optional_field("event", Kind::Fields(&GIVEN_EVENT), "One event."),
        optional_field("events", Kind::List(&GIVEN_EVENT), "Several events, one after the other."),
        optional_field("message", Kind::Fields(&GIVEN_MESSAGE), "One message of a sensor that reads a source."),
        optional_field("messages", Kind::List(&GIVEN_MESSAGE), "Several messages of sensors, one after the other."),
    ],
    later: &[("delivery", "a delivery to a webhook")],
    between: &[FieldConstraint::ExactlyOne],
};

pub(crate) static GIVEN_EVENT: Shape = Shape {
    what: "an event",
    fields: &[
        required_field(
            "trigger",
            "trigger: github.push",
            Kind::Text(Form::VersionedRef),
            "Its kind: the ref of a trigger, perhaps with a version of the payload: `shop.ordered@1`.",
        ),
        optional_field(
            "payload",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "Its payload, which must fit the trigger. The default is `{}`.",
        ),
        optional_field("source", Kind::Text(Form::Any), "Who observed it, as rules read it in `event.source`. The default is `test`."),
        optional_field("time", Kind::Text(Form::Any), "When it happened, `2026-03-28T12:00:00Z`, as rules read it in `event.time`."),
        optional_field(
            "after",
            Kind::Text(Form::Duration),
            "How long it comes after the previous event, or after the start: `10m`. By default, it comes at once.",
        ),
    ],
    ..Shape::BARE
};

pub(crate) static GIVEN_MESSAGE: Shape = Shape {
    what: "a message",
    fields: &[
        required_field("sensor", "sensor: feed.items", Kind::Text(Form::Ref), "The ref of a sensor of the pack that reads a source."),
        optional_field("body", Kind::Value, "Its content, as a value: what `line`, `item` or `file.body` reads. A file may have none."),
        optional_field(
            "about",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "What else the source knows: `file`, `index` or `page`, by name.",
        ),
        optional_field("time", Kind::Text(Form::Any), "When it happened, `2026-03-28T12:00:00Z`, if the source says so."),
        optional_field(
            "after",
            Kind::Text(Form::Duration),
            "How long it comes after the previous message, or after the start: `10m`. By default, it comes at once.",
        ),
        optional_field(
            "events",
            Kind::Listing(&EXPECTED_EVENT),
            "The events that it makes, in order; `[]` means that no `emits` matches it.",
        ),
        optional_field("refused", Kind::Text(Form::Any), "A part of the reason why it is refused. Then it makes no event."),
    ],
    between: &[FieldConstraint::NotBoth("events", "refused")],
    ..Shape::BARE
};

pub(crate) static EXPECTED_EVENT: Shape = Shape {
    what: "the expectation for an event",
    fields: &[
        required_field(
            "trigger",
            "trigger: feed.item",
            Kind::Text(Form::VersionedRef),
            "The ref of its trigger, with the version that the sensor names, if it does.",
        ),
        optional_field("payload", Kind::Value, "Its payload; for an object, the fields that matter."),
        optional_field("dedupe", Kind::Text(Form::Any), "The key under which it is accepted once."),
        EXACTLY,
    ],
    ..Shape::BARE
};

pub(crate) static RUN_WHAT: Shape = Shape {
    what: "`run`",
    fields: &[
        required_field("action", "action: release.ship", Kind::Text(Form::Ref), "The ref of an action."),
        optional_field("with", Kind::Mapping { names: Form::Any, of: &Kind::Anything }, "Its parameters, by name, each taken literally."),
    ],
    ..Shape::BARE
};

pub(crate) static MOCK: Shape = Shape {
    what: "a mock",
    fields: &[
        optional_field("result", Kind::Value, "It succeeds and returns this, which must fit the action's `result`."),
        optional_field(
            "raw",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "Its runner returns this, for example `{ status: 200, body: { id: 7 } }`, and the action's `output` computes the result.",
        ),
        optional_field("error", Kind::Fields(&CASE_ERROR), "It fails."),
        optional_field("answer", Kind::Value, "The answer of the person who is asked. It must match the inquiry's `answer`."),
        optional_field("by", Kind::Text(Form::Any), "Who answers: a name among those who are asked. By default, somebody who may answer."),
        optional_field(
            "event",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "An event comes, of the trigger that the step waits for, with this payload, which needs only the fields that matter. The \
             step's `when` must be true for it.",
        ),
        optional_field(
            "cancelled_by",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The event of `cancel_when` comes while the step waits, with this payload, which needs only the fields that matter.",
        ),
        optional_field("expired", Kind::True, "Nobody answers in time, or no event comes."),
    ],
    later: &[],
    between: &[
        FieldConstraint::ExactlyOneOf(&["result", "raw", "error", "answer", "event", "cancelled_by", "expired"]),
        FieldConstraint::OnlyBeside { field: "by", other: "answer" },
    ],
};

pub(crate) static CASE_ERROR: Shape = Shape {
    what: "`error`",
    fields: &[
        required_field("kind", "kind: exit_code", Kind::Choice(&ATTEMPT_FAILURES), "The kind of failure, as `retry.when` reads it."),
        optional_field("message", Kind::Text(Form::Any), "Its message."),
        optional_field(
            "detail",
            Kind::Integer { from: i64::MIN, to: i64::MAX },
            "The number that belongs to the kind: the exit code, the signal, the HTTP status.",
        ),
    ],
    ..Shape::BARE
};

pub(crate) static EXPECTED_ERROR: Shape = Shape {
    what: "`error`",
    fields: &[
        optional_field("kind", Kind::Choice(&FAILURES), "The kind of failure."),
        optional_field("message", Kind::Text(Form::Any), "A part of its message."),
        optional_field("detail", Kind::Integer { from: i64::MIN, to: i64::MAX }, "The number that belongs to the kind."),
    ],
    ..Shape::BARE
};

const STEP_STATUS: ShapeField = optional_field("status", Kind::Choice(&STEP_STATUSES), "How it ends.");
const RUN_WITH: ShapeField = optional_field(
    "with",
    Kind::Mapping { names: Form::Any, of: &Kind::Anything },
    "The parameters that it is run with, or only the ones that matter.",
);
const UNDONE: ShapeField = optional_field(
    "undone",
    Kind::TextOrTexts(Form::Any),
    "The steps that are undone, in that order: a name, or a list of names. The action that undoes a step needs no mock: there is \
        nothing to reverse.",
);

pub(crate) static EXPECTED_END: Shape = Shape {
    what: "the expectation for a run",
    fields: &[optional_field("status", Kind::Choice(&STATUSES), "How it ends."), RESULT, ERROR, STEPS, UNDONE, EXACTLY],
    ..Shape::BARE
};

pub(crate) static EXPECTED_STEP: Shape = Shape {
    what: "the expectation for a step",
    fields: &[
        STEP_STATUS,
        RUN_WITH,
        RESULT,
        ERROR,
        optional_field(
            "attempts",
            Kind::Integer { from: 0, to: 1_000_000 },
            "How many attempts there are, for all its items and turns together.",
        ),
        optional_field(
            "items",
            Kind::ListOfChoiceOrFields(&STEP_STATUSES, &EXPECTED_ITEM),
            "How each item of `for_each` or turn of `repeat` ends, in order: a status, or fields.",
        ),
        EXACTLY,
    ],
    ..Shape::BARE
};

pub(crate) static EXPECTED_ITEM: Shape = Shape {
    what: "the expectation for an item",
    fields: &[
        STEP_STATUS,
        RUN_WITH,
        RESULT,
        ERROR,
        optional_field("attempts", Kind::Integer { from: 0, to: 1_000_000 }, "How many attempts there are."),
        EXACTLY,
    ],
    ..Shape::BARE
};

pub(crate) static ENFORCEMENT: Shape = Shape {
    what: "the expectation for a rule",
    fields: &[
        required_field("rule", "rule: release.ship_on_tag", Kind::Text(Form::Ref), "The ref of a rule of the pack."),
        optional_field("action", Kind::Text(Form::Ref), "What it runs."),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The parameters that it passes to its action, or only the ones that matter.",
        ),
        optional_field(
            "outcome",
            Kind::Choice(&ENFORCEMENT_OUTCOMES),
            "What happens to the event: `executed` (default); `shadowed`, if the rule is only in shadow mode; `rejected`, if the action \
             cannot be run this way; `erred`, if the condition cannot be computed; `deduplicated`, `throttled`, `skipped` or \
             `superseded` by the rule's flow control. Held matches continue as time passes: a case ends when nothing is held.",
        ),
        optional_field("status", Kind::Choice(&STATUSES), "How its execution ends. The case then needs `mocks`, by the rule's name."),
        RESULT,
        ERROR,
        STEPS,
        UNDONE,
        EXACTLY,
    ],
    ..Shape::BARE
};
