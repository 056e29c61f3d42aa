//! `actions/*.yaml`: something that can be run, with its parameters and its result.

use std::time::Duration;

use ensue_engine::catalog::{Builtin, Fields as SchemaFields, OnLost, RunAs, Schema};
use ensue_engine::names::{DEFAULT_QUEUE, HTTP_QUEUE, WorkerQueueName};

use super::concurrency::{CONCURRENCY, Concurrency, read_concurrency};
use super::http::{HTTP, Http, read_http};
use super::labels::{LABELS, Label, read_labels};
use super::local_names::{LOCAL, read_local, read_names};
use super::mail::{MAIL, Mail, read_mail};
use super::retry::{RETRY, Retry, read_retry};
use super::timing::{PRIORITY, read_priority, read_timeout};
use super::workflow::{self, WORKFLOW, Workflow};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, are_numbers_exact, quote_names, text, wrong_type};
use crate::schema::{self, report_bad_name};
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

const ON_LOST: [(&str, OnLost); 3] = [("ask", OnLost::Ask), ("fail", OnLost::Fail), ("retry", OnLost::Retry)];
const ON_LOST_WORDS: [&str; 3] = words(&ON_LOST);

const RUN_AS: [(&str, RunAs); 2] = [("pack", RunAs::Pack), ("caller", RunAs::Caller)];
const RUN_AS_WORDS: [&str; 2] = words(&RUN_AS);

const BUILTINS: [(&str, Builtin); 7] = [
    ("noop", Builtin::Noop),
    ("echo", Builtin::Echo),
    ("sleep", Builtin::Sleep),
    ("inquiry", Builtin::Inquiry),
    ("wait", Builtin::Wait),
    ("emit", Builtin::Emit),
    ("set_var", Builtin::SetVar),
];
const BUILTIN_WORDS: [&str; 7] = words(&BUILTINS);

pub(crate) static ACTION: Shape = Shape {
    what: "an action",
    fields: &[
        optional_field("description", Kind::Text(Form::Any), "What the action does, in a sentence."),
        optional_field(
            "parameters",
            Kind::Schema(Naming::Ours),
            "The action's parameters: names with their types. They are checked and completed before an execution exists, and read as \
             `params.<name>`. Without it, the action has no parameters.",
        ),
        optional_field(
            "result",
            Kind::Schema(Naming::Theirs),
            "The action's result: names with their types. The result must fit them. Without it, the action may return anything.",
        ),
        optional_field(
            "output",
            Kind::Value,
            "What the action returns, computed from what its runner returned: `status`, `headers` and `body` of `http`; `stdout` and \
             `exit_code` of `process` and `shell`. It must fit `result`, if that is declared. Without it, the action returns what its runner \
             returned.",
        ),
        LOCAL,
        required_field("run", "run:\n  shell:\n    script: make", Kind::Fields(&RUN), "How the action is run: exactly one runner."),
        optional_field(
            "timeout",
            Kind::Text(Form::SomeTime),
            "How long an attempt may take: `250ms`, `90s`, `10m`, `24h`. The default is 10 minutes, or 60 seconds for `http`. For a \
             `workflow`: how long all of it may take; by default, there is no limit.",
        ),
        optional_field(
            "grace",
            Kind::Text(Form::Duration),
            "How long a program may continue after it was asked to stop (SIGTERM), before it is killed (SIGKILL). The default is 10 \
                seconds.",
        ),
        optional_field(
            "idempotent",
            Kind::Boolean,
            "Whether it is safe to run the action twice. If so, it is retried if it is unknown whether an attempt took effect. The \
             default is false.",
        ),
        optional_field(
            "on_lost",
            Kind::Choice(&ON_LOST_WORDS),
            "What to do if it is unknown whether an attempt took effect, and the action is not `idempotent`: `ask` a person (default), \
             `fail`, or `retry`.",
        ),
        optional_field("retry", Kind::Fields(&RETRY), "Whether failed attempts are retried. By default, they are not."),
        CONCURRENCY,
        PRIORITY,
        optional_field(
            "queue",
            Kind::Text(Form::Name),
            "The queue in which its executions wait for a worker: one that `queues` in `ensue.yaml` defines. The default is `http` for actions that run `http` or `mail`, and `default` for all others.",
        ),
        optional_field(
            "run_as",
            Kind::Choice(&RUN_AS_WORDS),
            "On whose rights the steps of a `workflow` run: those of the `pack` (default), or those of the `caller`. For `caller`, both the \
             caller and the pack must be allowed to run each step.",
        ),
        optional_field(
            "token",
            Kind::Boolean,
            "Whether the program of `process` or `shell` gets a token, `ENSUE_TOKEN`, with which it calls the API at `ENSUE_URL` as its \
             execution. It may do what the `permissions` of `pack.yaml` list, run the actions of its pack, send its events, and see its \
             execution, as long as its attempt runs. The default is false.",
        ),
        optional_field(
            "mock",
            Kind::Value,
            "What the action returns in a test that has no other mock for it: a value that fits `result`, taken literally. The action \
                is not run there.",
        ),
        optional_field(
            "templates",
            Kind::Mapping { names: Form::OwnName, of: &Kind::Mapping { names: Form::Any, of: &Kind::Anything } },
            "Names with a mapping of parameters each, taken literally: `ensue run --template <name>`. Parameters that are given in \
             addition override them, and parameters that neither sets have their defaults.",
        ),
        LABELS,
    ],
    later: &[],
    between: &[
        FieldConstraint::NotWhereHas { field: "grace", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "idempotent", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "on_lost", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "retry", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "queue", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "mock", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "output", outer: "run", inner: "workflow" },
        FieldConstraint::NotWhereHas { field: "output", outer: "run", inner: "mail" },
        FieldConstraint::NotWhereHas { field: "output", outer: "run", inner: "emit" },
        FieldConstraint::NotWhereHas { field: "output", outer: "run", inner: "builtin" },
        FieldConstraint::OnlyWhereHas { field: "run_as", outer: "run", inner: "workflow" },
    ],
};

static RUN: Shape = Shape {
    what: "`run`",
    fields: &[
        optional_field(
            "process",
            Kind::Fields(&PROCESS),
            "Runs a program. It receives the parameters as JSON on standard input, and its standard output is the result.",
        ),
        optional_field(
            "shell",
            Kind::Fields(&SHELL),
            "Runs a script with `sh -eu`. Values reach it as environment variables, never as part of its text.",
        ),
        optional_field(
            "http",
            Kind::Fields(&HTTP),
            "Sends one request. Returns `{ status, headers, body }`; a response with status 400 or higher is a failure. It sends either \
                `json` or `body`, not both.",
        ),
        optional_field(
            "mail",
            Kind::Fields(&MAIL),
            "Sends one mail through an SMTP server. Returns `{ message_id, accepted, refused, response }`; it fails if the server accepts \
             no recipient.",
        ),
        optional_field("emit", Kind::Fields(&EMIT), "Puts an event into the log."),
        optional_field(
            "workflow",
            Kind::Fields(&WORKFLOW),
            "Runs steps, each an action of its own, in the order in which they need each other.",
        ),
        optional_field("builtin", Kind::Choice(&BUILTIN_WORDS), "Runs in the node itself. Only for the library pack `core`."),
    ],
    later: &[
        ("inquiry", "a question to people"),
        ("wait", "waiting for an event"),
        ("docker", "a container"),
        ("kubernetes", "a job on Kubernetes"),
        ("wasm", "a WebAssembly module"),
        ("grpc", "a call of gRPC"),
        ("mcp", "a tool of MCP"),
    ],
    between: &[FieldConstraint::ExactlyOne],
};

static PROCESS: Shape = Shape {
    what: "`process`",
    fields: &[
        required_field(
            "command",
            "command: [./deploy.py, --fast]",
            Kind::Texts { of: Form::Argument, least: 1 },
            "The program, then its arguments. `./x` is a file next to the action's file, also as an argument: `[python3, ./x.py]`. A \
             bare name is looked up in the node's PATH. It cannot contain `${{ }}`.",
        ),
        optional_field("input", Kind::Value, "The program's standard input, as JSON. The default is the parameters."),
        optional_field(
            "env",
            Kind::Mapping { names: Form::Variable, of: &Kind::Scalar },
            "Environment variables, by name. Other programs of the same user can see them, so pass a secret with `input` or `files` \
                instead.",
        ),
        optional_field(
            "files",
            Kind::Mapping { names: Form::Variable, of: &Kind::Value },
            "Values that the program finds in files that only it can read; each variable contains the path of one file.",
        ),
    ],
    ..Shape::BARE
};

static SHELL: Shape = Shape {
    what: "`shell`",
    fields: &[
        required_field(
            "script",
            "script: make release",
            Kind::Text(Form::Script),
            "The script. It cannot contain `${{ }}`: a value that is spliced into code can become a command. Pass values through `env`.",
        ),
        optional_field(
            "env",
            Kind::MappingOrExpression { names: Form::Variable, of: &Kind::Scalar },
            "Environment variables, by name, or one expression that returns them.",
        ),
    ],
    ..Shape::BARE
};

static EMIT: Shape = Shape {
    what: "`emit`",
    fields: &[
        required_field(
            "trigger",
            "trigger: release.tag_pushed",
            Kind::Text(Form::VersionedRef),
            "The trigger of the event, perhaps with a version: `shop.ordered@1`.",
        ),
        optional_field("payload", Kind::Value, "The event's payload, with `${{ … }}` for computed values. The default is `{}`."),
        optional_field(
            "dedupe",
            Kind::Value,
            "A key: a string or an integer, with `${{ … }}`. If several events of the trigger are emitted under the same key within 24 \
             hours, only the first goes into the log. Null means no key.",
        ),
    ],
    ..Shape::BARE
};

/// The default time limit of an attempt.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// The default time limit of an HTTP request.
const HTTP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The default time that an attempt has to end after it was asked to stop.
const GRACE_DEFAULT: Duration = Duration::from_secs(10);

pub(crate) struct Action {
    pub(crate) description: String,
    /// Its parameters; `None` if they have errors.
    pub(crate) parameters: Option<Schema>,
    /// Its declared result, if any.
    pub(crate) result: Option<Schema>,
    /// The place of that declaration.
    pub(crate) result_at: Option<Node>,
    /// How the result is computed from the runner's.
    pub(crate) output: Option<Node>,
    pub(crate) local: Vec<YamlEntry>,
    pub(crate) run: WrittenRun,
    pub(crate) timeout: Duration,
    /// The time limit of all steps together, if it is made of steps.
    pub(crate) limit: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) idempotent: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) retry: Option<Retry>,
    /// On whose rights its steps run.
    pub(crate) run_as: RunAs,
    /// Whether its program gets a token.
    pub(crate) has_token: bool,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) priority: i8,
    /// The queue in which its executions wait for a worker.
    pub(crate) queue: WorkerQueueName,
    /// Its result in tests that do not mock it.
    pub(crate) mock: Option<Node>,
    /// Parameters that are stored under a name.
    pub(crate) templates: Vec<YamlEntry>,
    /// The labels that its executions are found by.
    pub(crate) labels: Vec<Label>,
}

pub(crate) enum WrittenRun {
    Process { command: Vec<WithSpan<String>>, input: Option<Node>, env: Vec<YamlEntry>, files: Vec<YamlEntry> },
    Shell { script: Node, env: Environment },
    Http(Box<Http>),
    Mail(Box<Mail>),
    Emit { trigger: WithSpan<String>, payload: Option<Node>, dedupe: Option<Node> },
    Workflow(Workflow),
    Builtin { which: Builtin, at: std::ops::Range<usize> },
}

impl WrittenRun {
    /// Returns true if the action has no effect outside its workflow, or one that is checked where it happens. The engine
    /// decides this in `executions/rights.rs`.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Self::Builtin { which, .. } => which.is_harmless(),
            Self::Process { .. } | Self::Shell { .. } | Self::Http(_) | Self::Mail(_) | Self::Emit { .. } | Self::Workflow(_) => false,
        }
    }
}

/// The environment of a script.
pub(crate) enum Environment {
    None,
    /// By name, or as one expression that returns an object.
    Given(Node),
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Action> {
    let mut fields = FieldReader::open(node, &ACTION, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let parameters = match fields.take("parameters") {
        Some(entry) => schema::read(entry.value, Naming::Ours, file, report),
        None => Some(Schema::Fields(SchemaFields::default())),
    };
    let result_at = fields.take("result").map(|entry| entry.value);
    let result = result_at.clone().and_then(|node| schema::read(node, Naming::Theirs, file, report));
    let local = read_local(&mut fields, report);
    let run = fields.take_required("run", report);
    let run = run.and_then(|entry| read_run(entry, file, report));
    if let Some(WrittenRun::Workflow(_)) = &run {
        reject_attempt_fields(&mut fields, report);
    }
    let output_at = fields.key_of("output");
    let output = fields.take("output").map(|entry| entry.value);
    if output.is_some() && !matches!(run, None | Some(WrittenRun::Process { .. } | WrittenRun::Shell { .. } | WrittenRun::Http(_))) {
        report
            .error(
                Code::FieldOutOfPlace,
                file,
                output_at,
                "`output` maps what `process`, `shell` or `http` returned, but this action has none of them",
            )
            .hint("remove it; a workflow computes its result in `result`");
    }
    let timeout = read_timeout(&mut fields, report);
    let grace = fields.duration("grace", report).unwrap_or(GRACE_DEFAULT);
    let idempotent = fields.boolean("idempotent", report).unwrap_or(false);
    let on_lost = fields.choice("on_lost", &ON_LOST, report).unwrap_or_default();
    let retry = read_retry(&mut fields, report);
    let run_as_at = fields.key_of("run_as");
    let run_as = fields.choice("run_as", &RUN_AS, report);
    if run_as.is_some() && !matches!(run, None | Some(WrittenRun::Workflow(_))) {
        report
            .error(Code::FieldOutOfPlace, file, run_as_at, "`run_as` is for the steps of a workflow, but this action has none")
            .hint("remove it, or set it in the workflow that runs this action");
    }
    let token_at = fields.key_of("token");
    let has_token = fields.boolean("token", report);
    if has_token.is_some() && !matches!(run, None | Some(WrittenRun::Process { .. } | WrittenRun::Shell { .. })) {
        report
            .error(Code::FieldOutOfPlace, file, token_at, "`token` is for the program of `process` or `shell`, but this action starts none")
            .hint("remove it, or set it in the action that starts the program");
    }
    let concurrency = read_concurrency(&mut fields, report);
    let priority = read_priority(&mut fields, report).unwrap_or(0);
    let queue = read_queue(&mut fields, run.as_ref(), report);
    let mock = fields.take("mock").map(|entry| entry.value);
    let templates = read_names("templates", &mut fields, report);
    let labels = read_labels(&mut fields, report);
    let run = run?;
    let limit = timeout.filter(|_| matches!(run, WrittenRun::Workflow(_)));
    let timeout = timeout.unwrap_or(match run {
        WrittenRun::Http(_) => HTTP_TIMEOUT_DEFAULT,
        WrittenRun::Process { .. }
        | WrittenRun::Shell { .. }
        | WrittenRun::Mail(_)
        | WrittenRun::Emit { .. }
        | WrittenRun::Workflow(_)
        | WrittenRun::Builtin { .. } => TIMEOUT_DEFAULT,
    });
    Some(Action {
        description,
        parameters,
        result,
        result_at,
        output,
        local: local?,
        run,
        timeout,
        limit,
        grace,
        idempotent,
        on_lost,
        retry,
        run_as: run_as.unwrap_or_default(),
        has_token: has_token.unwrap_or(false),
        concurrency: concurrency?,
        priority,
        queue: queue?,
        mock,
        templates: templates?,
        labels,
    })
}

/// Takes the name of a queue; `None` if it is not valid.
fn read_queue(fields: &mut FieldReader<'_>, run: Option<&WrittenRun>, report: &mut Report) -> Option<WorkerQueueName> {
    let Some(written) = fields.text("queue", report) else {
        return Some(if let Some(WrittenRun::Http(_) | WrittenRun::Mail(_)) = run { HTTP_QUEUE.clone() } else { DEFAULT_QUEUE.clone() });
    };
    let name = written.value.parse().ok();
    if name.is_none() {
        report_bad_name(&written.value, &written.span, fields.file, report);
    }
    name
}

/// Reports attempt settings on an action that is made of steps, and removes them.
fn reject_attempt_fields(fields: &mut FieldReader<'_>, report: &mut Report) {
    const FAILED: &str = "is for failed attempts, but a workflow has no attempts: its steps do";
    const LOST: &str = "is for lost attempts, but a workflow has no attempts: its steps do";
    const STOPS: &str = "is for stopping a program, but a workflow starts none: its steps do";
    const MOCK: &str = "replaces an attempt, but a workflow has no attempts: its steps do";
    const WAITS: &str = "is where attempts wait for a worker, but a workflow has no attempts: its steps do";
    for (name, is) in [("queue", WAITS), ("grace", STOPS), ("idempotent", LOST), ("on_lost", LOST), ("retry", FAILED), ("mock", MOCK)] {
        let at = fields.key_of(name);
        if fields.take(name).is_some() {
            report.error(Code::FieldOutOfPlace, fields.file, at, format!("`{name}` {is}")).hint("set it in the actions that the steps run");
        }
    }
}

fn read_run(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<WrittenRun> {
    let key = entry.key.span;
    let is_empty = matches!(&entry.value.content, Content::Map(entries) if entries.is_empty());
    let mut fields = FieldReader::open(entry.value, &RUN, file, report)?;
    let mut runners: Vec<YamlEntry> = RUN.fields.iter().filter_map(|field| fields.take(field.name)).collect();
    if let [first, second, ..] = runners.as_slice() {
        let message = format!("`run` must have exactly one runner; `{}` and `{}` are two", first.key.value, second.key.value);
        report.error(Code::NotExactlyOne, file, second.key.span.clone(), message).hint("split it into two actions");
        return None;
    }
    if is_empty {
        report
            .error(Code::NotExactlyOne, file, key, "`run` needs a runner")
            .hint(format!("use one of {}, for example\nrun:\n  shell:\n    script: make", quote_names(&RUN.names())));
    }
    // An unknown or empty one has been reported.
    let runner = runners.pop()?;
    match runner.key.value.as_str() {
        "process" => read_process(runner.value, file, report),
        "shell" => read_shell(runner.value, file, report),
        "http" => read_http(runner.value, &HTTP, file, report).map(|http| WrittenRun::Http(Box::new(http))),
        "mail" => read_mail(runner.value, file, report).map(|mail| WrittenRun::Mail(Box::new(mail))),
        "emit" => read_emit(runner.value, file, report),
        "workflow" => workflow::read(runner.key.span, runner.value, file, report).map(WrittenRun::Workflow),
        _ => read_builtin(runner.value, file, report),
    }
}

fn read_process(node: Node, file: &SourceText, report: &mut Report) -> Option<WrittenRun> {
    let mut fields = FieldReader::open(node, &PROCESS, file, report)?;
    let command = read_command("./deploy.py", &mut fields, report);
    let input = fields.take("input").map(|entry| entry.value);
    let env = fields.variables("env", report);
    let file = fields.file;
    // A number alone becomes the text of its file; a list or a mapping becomes JSON.
    let is_text = |value: &Node| matches!(value.content, Content::Number(_));
    let files = fields.variables("files", report).filter(|files| {
        let inexact = files.iter().filter(|entry| is_text(&entry.value) && !are_numbers_exact(&entry.value, file, report));
        inexact.count() == 0
    });
    Some(WrittenRun::Process { command: command?, input, env: env?, files: files? })
}

/// Reads a program and its arguments; `example` is a program for the message about a wrong type.
pub(super) fn read_command(example: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<WithSpan<String>>> {
    let file = fields.file;
    let given = fields.take_required("command", report)?.value;
    match given.content {
        Content::List(items) if !items.is_empty() => {
            items.into_iter().map(|item| text(item, "an item of `command`", file, report)).collect::<Vec<_>>().into_iter().collect()
        }
        _ => {
            let wanted = format!("a list that begins with the program: `[{example}, --fast]`");
            wrong_type(&given, "`command`", &wanted, file, report);
            None
        }
    }
}

fn read_shell(node: Node, file: &SourceText, report: &mut Report) -> Option<WrittenRun> {
    let mut fields = FieldReader::open(node, &SHELL, file, report)?;
    let script = fields.take_required("script", report);
    let env = if fields.has("env") { Environment::Given(fields.mapping_or_expression("env", report)?) } else { Environment::None };
    let script = script?.value;
    if !matches!(script.content, Content::Text { .. }) {
        wrong_type(&script, "`script`", "a string", file, report);
        return None;
    }
    Some(WrittenRun::Shell { script, env })
}

fn read_emit(node: Node, file: &SourceText, report: &mut Report) -> Option<WrittenRun> {
    let mut fields = FieldReader::open(node, &EMIT, file, report)?;
    let entry = fields.take_required("trigger", report)?;
    let trigger = text(entry.value, "`trigger`", file, report)?;
    if fields.has_reported("payload") {
        return None;
    }
    let dedupe = fields.scalar("dedupe", report);
    Some(WrittenRun::Emit { trigger, payload: fields.take("payload").map(|entry| entry.value), dedupe })
}

fn read_builtin(node: Node, file: &SourceText, report: &mut Report) -> Option<WrittenRun> {
    let at = node.span.clone();
    let name = text(node, "`builtin`", file, report)?;
    let Some((_, which)) = BUILTINS.into_iter().find(|(word, _)| *word == name.value) else {
        report
            .error(Code::InvalidValue, file, at, format!("`{}` is not a built-in action", name.value))
            .hint(format!("use one of {}", quote_names(&BUILTIN_WORDS)));
        return None;
    };
    Some(WrittenRun::Builtin { which, at })
}
