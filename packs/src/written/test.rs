//! `tests/*.test.yaml`: cases of a pack, each with its input and the expected outcome.
//!
//! This module holds only the shapes. `check/tests.rs` reads cases and checks them against the packs.

use ensue_engine::executions::facts::FailureKind;

use crate::shape::{Between, Field, Form, Kind, Shape, optional, required};

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
const ATTEMPT_FAILURES: [&str; 15] = failures([
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
    FailureKind::HttpStatus,
    FailureKind::Memory,
    FailureKind::Lost,
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

const NAME: Field =
    required("it", "it: ships a version tag", Kind::Text(Form::Any), "What is to be so, in a sentence that goes on from “it”.");

const CONFIG: Field = optional(
    "config",
    Kind::Mapping { names: Form::OwnName, of: &Kind::Anything },
    "What the operator has set for the pack, over its defaults.",
);

static MOCKED: Kind = Kind::Nested(&MOCK);
static ENDED: Kind = Kind::ChoiceOrFields(&STEP_STATUSES, &EXPECTED_STEP);

const VARS: Field = optional(
    "vars",
    Kind::Mapping { names: Form::VarName, of: &Kind::Anything },
    "The values that vars have before, by their names; null where one has none, as where it is left out.",
);
const VARS_AFTER: Field = optional(
    "vars_after",
    Kind::Mapping { names: Form::VarName, of: &Kind::Anything },
    "The values that vars are to have in the end, by their names; null where one is to have none.",
);

const MOCKS: Field = optional(
    "mocks",
    Kind::Mapping { names: Form::Any, of: &MOCKED },
    "What steps come to, by name: nothing is really run. A step of a workflow within is `<step>.<step>`. A list has one for each item of \
     `for_each` or turn of `repeat`, else for each attempt; lists in it one level deeper.",
);

const RESULT: Field = optional("result", Kind::Value, "What it gives; of an object the fields that matter.");
const ERROR: Field = optional("error", Kind::Fields(&EXPECTED_ERROR), "Why it fails.");
const STEPS: Field = optional(
    "steps",
    Kind::Mapping { names: Form::Any, of: &ENDED },
    "How its steps end, by name: a status, or fields. A step of a workflow within is `<step>.<step>`.",
);
const EXACTLY: Field =
    optional("exactly", Kind::Boolean, "Whether objects have the fields that are written and no others. False where nothing is said.");

pub(crate) static EVENT_CASE: Shape = Shape {
    what: "a case",
    fields: &[
        NAME,
        CONFIG,
        VARS,
        required("given", "given: { event: { trigger: github.push, payload: {} } }", Kind::Fields(&GIVEN), "What comes."),
        MOCKS,
        VARS_AFTER,
        required(
            "expect",
            "expect: []",
            Kind::Listing(&ENFORCEMENT),
            "Every decision of the pack's rules, in any order; `[]` is none at all.",
        ),
    ],
    later: &[],
    between: &[],
};

pub(crate) static RUN_CASE: Shape = Shape {
    what: "a case",
    fields: &[
        NAME,
        CONFIG,
        VARS,
        required(RUNS, "run: { action: release.ship, with: { version: v1 } }", Kind::Fields(&RUN_WHAT), "What somebody asks for."),
        MOCKS,
        VARS_AFTER,
        required("expect", "expect: { status: succeeded }", Kind::Fields(&EXPECTED_END), "How it ends."),
    ],
    later: &[],
    between: &[],
};

pub(crate) static GIVEN: Shape = Shape {
    what: "`given`",
    fields: &[
        optional("event", Kind::Fields(&GIVEN_EVENT), "One event."),
        optional("events", Kind::List(&GIVEN_EVENT), "Several, one after the other."),
    ],
    later: &[("delivery", "what comes to a webhook")],
    between: &[Between::ExactlyOne],
};

pub(crate) static GIVEN_EVENT: Shape = Shape {
    what: "an event",
    fields: &[
        required("trigger", "trigger: github.push", Kind::Text(Form::Ref), "Its kind: the ref of a trigger."),
        optional(
            "payload",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "What it says, which must fit the trigger. `{}` where nothing is said.",
        ),
        optional("source", Kind::Text(Form::Any), "Who observed it, as rules read it in `event.source`. `test` where nothing is said."),
        optional("time", Kind::Text(Form::Any), "When it happened, `2026-03-28T12:00:00Z`, as rules read it in `event.time`."),
        optional(
            "after",
            Kind::Text(Form::Duration),
            "How long after the one before it comes, or after the beginning: `10m`. At once where nothing is said.",
        ),
    ],
    later: &[],
    between: &[],
};

pub(crate) static RUN_WHAT: Shape = Shape {
    what: "`run`",
    fields: &[
        required("action", "action: release.ship", Kind::Text(Form::Ref), "The ref of an action."),
        optional("with", Kind::Mapping { names: Form::Any, of: &Kind::Anything }, "Its parameters, by name, each taken as it is."),
    ],
    later: &[],
    between: &[],
};

pub(crate) static MOCK: Shape = Shape {
    what: "a mock",
    fields: &[
        optional("result", Kind::Value, "It succeeds and gives this, which must fit the action's `result`."),
        optional("error", Kind::Fields(&CASE_ERROR), "It fails."),
        optional("answer", Kind::Value, "Somebody who is asked gives this answer, which must fit what the inquiry asks for."),
        optional("by", Kind::Text(Form::Any), "Who answers: a name among those who are asked. Somebody who may, where nothing is said."),
        optional(
            "event",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "An event comes of the trigger that the step waits for, with this payload, of which only what matters need be there. The step's `when` must \
             hold for it.",
        ),
        optional("expired", Kind::True, "Nobody answers in time, or no event comes."),
    ],
    later: &[],
    between: &[
        Between::ExactlyOneOf(&["result", "error", "answer", "event", "expired"]),
        Between::OnlyBeside { field: "by", other: "answer" },
    ],
};

pub(crate) static CASE_ERROR: Shape = Shape {
    what: "`error`",
    fields: &[
        required("kind", "kind: exit_code", Kind::Choice(&ATTEMPT_FAILURES), "The kind of failure, as `retry.when` reads it."),
        optional("message", Kind::Text(Form::Any), "What is said of it."),
        optional(
            "detail",
            Kind::Integer { from: i64::MIN, to: i64::MAX },
            "The number that belongs to the kind: the exit code, the signal, the HTTP status.",
        ),
    ],
    later: &[],
    between: &[],
};

pub(crate) static EXPECTED_ERROR: Shape = Shape {
    what: "`error`",
    fields: &[
        optional("kind", Kind::Choice(&FAILURES), "The kind of failure."),
        optional("message", Kind::Text(Form::Any), "A part of what is said of it."),
        optional("detail", Kind::Integer { from: i64::MIN, to: i64::MAX }, "The number that belongs to the kind."),
    ],
    later: &[],
    between: &[],
};

const STEP_STATUS: Field = optional("status", Kind::Choice(&STEP_STATUSES), "How it ends.");
const RUN_WITH: Field = optional(
    "with",
    Kind::Mapping { names: Form::Any, of: &Kind::Anything },
    "The parameters that it is run with, or those of them that matter.",
);
const UNDONE: Field = optional(
    "undone",
    Kind::TextOrTexts(Form::Any),
    "The steps that are undone, in that order: a name, or a list of names. What undoes a step needs no mock: there is nothing to take back.",
);

pub(crate) static EXPECTED_END: Shape = Shape {
    what: "what is expected of a run",
    fields: &[optional("status", Kind::Choice(&STATUSES), "How it ends."), RESULT, ERROR, STEPS, UNDONE, EXACTLY],
    later: &[],
    between: &[],
};

pub(crate) static EXPECTED_STEP: Shape = Shape {
    what: "what is expected of a step",
    fields: &[
        STEP_STATUS,
        RUN_WITH,
        RESULT,
        ERROR,
        optional("attempts", Kind::Integer { from: 0, to: 1_000_000 }, "How many attempts there are, of all its items and turns together."),
        optional(
            "items",
            Kind::ListOfChoiceOrFields(&STEP_STATUSES, &EXPECTED_ITEM),
            "How each item of `for_each` or turn of `repeat` ends, in order: a status, or fields.",
        ),
        EXACTLY,
    ],
    later: &[],
    between: &[],
};

pub(crate) static EXPECTED_ITEM: Shape = Shape {
    what: "what is expected of an item",
    fields: &[
        STEP_STATUS,
        RUN_WITH,
        RESULT,
        ERROR,
        optional("attempts", Kind::Integer { from: 0, to: 1_000_000 }, "How many attempts there are."),
        EXACTLY,
    ],
    later: &[],
    between: &[],
};

pub(crate) static ENFORCEMENT: Shape = Shape {
    what: "what is expected of a rule",
    fields: &[
        required("rule", "rule: release.ship_on_tag", Kind::Text(Form::Ref), "The ref of a rule of the pack."),
        optional("action", Kind::Text(Form::Ref), "What it runs."),
        optional(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The parameters that it gives its action, or those of them that matter.",
        ),
        optional(
            "outcome",
            Kind::Choice(&ENFORCEMENT_OUTCOMES),
            "What becomes of the event: `executed` where nothing is said; `shadowed`, where the rule only watches; `rejected`, where the \
             action cannot be run so; `erred`, where its condition cannot be computed; `deduplicated`, `throttled`, `skipped` or `superseded` by the rule's \
             flow control. What that holds goes on as time passes: a case ends when nothing is held.",
        ),
        optional("status", Kind::Choice(&STATUSES), "How its execution ends. The case has `mocks` then, by the rule's name."),
        RESULT,
        ERROR,
        STEPS,
        UNDONE,
        EXACTLY,
    ],
    later: &[],
    between: &[],
};
