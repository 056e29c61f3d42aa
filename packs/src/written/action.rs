//! `actions/*.yaml`: something that can be run, with what it takes and gives.

use std::time::Duration;

use ensue_engine::catalog::{Builtin, Fields as SchemaFields, OnLost, Schema};

use super::rule::{read_local, read_priority};
use crate::diagnostics::{Code, Report};
use crate::fields::{Fields, Shape, listed, text, wrong_type};
use crate::schema::{self, Naming};
use crate::source::SourceText;
use crate::yaml::{Content, Entry, Node, Spanned};

const ACTION: Shape = Shape {
    what: "an action",
    fields: &["description", "parameters", "result", "local", "run", "timeout", "grace", "idempotent", "on_lost", "priority"],
    later: &[
        ("retry", "trying again"),
        ("concurrency", "a limit on what runs at once"),
        ("queue", "queues of the operator's"),
        ("templates", "named sets of parameters"),
        ("labels", "labels for search and grants"),
        ("mock", "the answer in a dry run and in tests"),
    ],
};

const RUN: Shape = Shape {
    what: "`run`",
    fields: &["process", "shell", "http", "emit", "builtin"],
    later: &[
        ("workflow", "an action made of steps"),
        ("inquiry", "a question to people"),
        ("wait", "waiting for an event"),
        ("sleep", "a durable timer"),
        ("docker", "a container"),
        ("kubernetes", "a job on Kubernetes"),
        ("wasm", "a WebAssembly module"),
        ("grpc", "a call of gRPC"),
        ("mcp", "a tool of MCP"),
    ],
};

const PROCESS: Shape = Shape { what: "`process`", fields: &["command", "input", "env", "files"], later: &[] };
const SHELL: Shape = Shape { what: "`shell`", fields: &["script", "env"], later: &[] };
const HTTP: Shape = Shape { what: "`http`", fields: &["url", "method", "headers", "query", "json", "body"], later: &[] };
const EMIT: Shape = Shape { what: "`emit`", fields: &["trigger", "payload"], later: &[] };

/// How long an attempt may take where the action does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// How long a request may take where the action does not say.
const HTTP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// How long an attempt may go on after it was asked to stop.
const GRACE_DEFAULT: Duration = Duration::from_secs(10);

pub(crate) struct Action {
    pub(crate) description: String,
    /// What it takes; nothing where that has mistakes.
    pub(crate) parameters: Option<Schema>,
    /// What it gives, where it says so.
    pub(crate) result: Option<Schema>,
    pub(crate) local: Vec<Entry>,
    pub(crate) run: Run,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) idempotent: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) priority: i8,
}

pub(crate) enum Run {
    Process { command: Vec<Spanned<String>>, input: Option<Node>, env: Vec<Entry>, files: Vec<Entry> },
    Shell { script: Node, env: Environment },
    Http { url: Node, method: Option<Node>, headers: Option<Node>, query: Option<Node>, body: Body },
    Emit { trigger: Spanned<String>, payload: Option<Node> },
    Builtin { which: Builtin, at: std::ops::Range<usize> },
}

/// The environment of a script.
pub(crate) enum Environment {
    None,
    /// By name, or as one expression that gives an object.
    Given(Node),
}

/// What a request sends.
pub(crate) enum Body {
    None,
    Json(Node),
    Text(Node),
    /// Both, each one expression: which of them is there is known when it is computed.
    Either {
        json: Node,
        text: Node,
    },
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Action> {
    let mut fields = Fields::open(node, &ACTION, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let parameters = match fields.take("parameters") {
        Some(entry) => schema::read(entry.value, Naming::Ours, file, report),
        None => Some(Schema::Fields(SchemaFields::default())),
    };
    let result = fields.take("result").and_then(|entry| schema::read(entry.value, Naming::Theirs, file, report));
    let local = read_local(&mut fields, report);
    let run = fields.take_required("run", "run:\n  shell:\n    script: make", report);
    let run = run.and_then(|entry| read_run(entry, file, report));
    let timeout = read_timeout(&mut fields, report);
    let grace = fields.duration("grace", report).unwrap_or(GRACE_DEFAULT);
    let idempotent = fields.boolean("idempotent", report).unwrap_or(false);
    let choices = [("ask", OnLost::Ask), ("fail", OnLost::Fail), ("retry", OnLost::Retry)];
    let on_lost = fields.choice("on_lost", &choices, report).unwrap_or_default();
    let priority = read_priority(&mut fields, report).unwrap_or(0);
    let run = run?;
    let timeout = timeout.unwrap_or(match run {
        Run::Http { .. } => HTTP_TIMEOUT_DEFAULT,
        Run::Process { .. } | Run::Shell { .. } | Run::Emit { .. } | Run::Builtin { .. } => TIMEOUT_DEFAULT,
    });
    Some(Action { description, parameters, result, local: local?, run, timeout, grace, idempotent, on_lost, priority })
}

fn read_timeout(fields: &mut Fields<'_>, report: &mut Report) -> Option<Duration> {
    let at = fields.span_of("timeout");
    let timeout = fields.duration("timeout", report)?;
    if timeout.is_zero() {
        report.error(Code::InvalidDuration, fields.file, at, "`timeout` leaves no time at all").hint("for example `10m`");
    }
    Some(timeout)
}

fn read_run(entry: Entry, file: &SourceText, report: &mut Report) -> Option<Run> {
    let key = entry.key.span;
    let is_empty = matches!(&entry.value.content, Content::Map(entries) if entries.is_empty());
    let mut fields = Fields::open(entry.value, &RUN, file, report)?;
    let mut runners: Vec<Entry> = RUN.fields.iter().filter_map(|name| fields.take(name)).collect();
    if let [first, second, ..] = runners.as_slice() {
        let message = format!("`run` has exactly one runner; `{}` and `{}` are two", first.key.value, second.key.value);
        report.error(Code::NotExactlyOne, file, second.key.span.clone(), message).hint("make two actions of them");
        return None;
    }
    if is_empty {
        report
            .error(Code::NotExactlyOne, file, key, "`run` needs a runner")
            .hint(format!("it is one of {}, for example\nrun:\n  shell:\n    script: make", listed(RUN.fields)));
    }
    // One that is not known, or empty, has been told.
    let runner = runners.pop()?;
    match runner.key.value.as_str() {
        "process" => read_process(runner.value, file, report),
        "shell" => read_shell(runner.value, file, report),
        "http" => read_http(runner.value, file, report),
        "emit" => read_emit(runner.value, file, report),
        _ => read_builtin(runner.value, file, report),
    }
}

fn read_process(node: Node, file: &SourceText, report: &mut Report) -> Option<Run> {
    let mut fields = Fields::open(node, &PROCESS, file, report)?;
    let example = "command: [./deploy.py, --fast]";
    let was_given = fields.take_required("command", example, report)?;
    let command = match was_given.value.content {
        Content::List(items) if !items.is_empty() => {
            items.into_iter().map(|item| text(item, "an item of `command`", file, report)).collect::<Vec<_>>().into_iter().collect()
        }
        _ => {
            wrong_type(&was_given.value, "`command`", "a list, the program first: `[./deploy.py, --fast]`", file, report);
            None
        }
    };
    let input = fields.take("input").map(|entry| entry.value);
    let env = read_variables(&mut fields, "env", report);
    let files = read_variables(&mut fields, "files", report);
    Some(Run::Process { command: command?, input, env: env?, files: files? })
}

fn read_shell(node: Node, file: &SourceText, report: &mut Report) -> Option<Run> {
    let mut fields = Fields::open(node, &SHELL, file, report)?;
    let script = fields.take_required("script", "script: make release", report);
    let env = match fields.take("env") {
        None => Environment::None,
        Some(entry) => {
            if let Content::Map(entries) = &entry.value.content {
                check_variables(entries, file, report)?;
            } else if !matches!(entry.value.content, Content::Text { .. }) {
                wrong_type(&entry.value, "`env`", "a mapping of variables", file, report);
                return None;
            }
            Environment::Given(entry.value)
        }
    };
    let script = script?.value;
    if !matches!(script.content, Content::Text { .. }) {
        wrong_type(&script, "`script`", "a text", file, report);
        return None;
    }
    Some(Run::Shell { script, env })
}

fn read_http(node: Node, file: &SourceText, report: &mut Report) -> Option<Run> {
    let mut fields = Fields::open(node, &HTTP, file, report)?;
    let url = fields.take_required("url", "url: https://example.test/items", report);
    let mut part = |name: &str| fields.take(name).map(|entry| entry.value);
    let (method, headers, query) = (part("method"), part("headers"), part("query"));
    let body = match (fields.take("json"), fields.take("body")) {
        (Some(json), Some(body)) if is_open(&json.value) && is_open(&body.value) => Body::Either { json: json.value, text: body.value },
        (Some(_), Some(body)) => {
            report
                .error(Code::NotExactlyOne, file, body.key.span, "`body` and `json` are both what is sent")
                .hint("`json` sends a value as JSON, `body` a text as it is; keep one");
            return None;
        }
        (Some(json), None) => Body::Json(json.value),
        (None, Some(body)) => Body::Text(body.value),
        (None, None) => Body::None,
    };
    Some(Run::Http { url: url?.value, method, headers, query, body })
}

/// Says whether a value is exactly one expression, and so may turn out to be nothing.
fn is_open(node: &Node) -> bool {
    matches!(&node.content, Content::Text { value, .. } if value.starts_with("${{") && value.ends_with("}}"))
}

fn read_emit(node: Node, file: &SourceText, report: &mut Report) -> Option<Run> {
    let mut fields = Fields::open(node, &EMIT, file, report)?;
    let entry = fields.take_required("trigger", "trigger: release.tag_pushed", report)?;
    let trigger = text(entry.value, "`trigger`", file, report)?;
    Some(Run::Emit { trigger, payload: fields.take("payload").map(|entry| entry.value) })
}

fn read_builtin(node: Node, file: &SourceText, report: &mut Report) -> Option<Run> {
    let at = node.span.clone();
    let name = text(node, "`builtin`", file, report)?;
    let which = match name.value.as_str() {
        "noop" => Builtin::Noop,
        "echo" => Builtin::Echo,
        "emit" => Builtin::Emit,
        other => {
            report.error(Code::InvalidValue, file, at, format!("`{other}` is not built in")).hint("it is one of `noop`, `echo`, `emit`");
            return None;
        }
    };
    Some(Run::Builtin { which, at })
}

/// Takes a mapping of environment variables.
fn read_variables(fields: &mut Fields<'_>, name: &str, report: &mut Report) -> Option<Vec<Entry>> {
    let entries = fields.mapping(name, report).unwrap_or_default();
    check_variables(&entries, fields.file, report)?;
    Some(entries)
}

fn check_variables(entries: &[Entry], file: &SourceText, report: &mut Report) -> Option<()> {
    let mut is_fine = true;
    for entry in entries {
        let name = entry.key.value.as_str();
        let is_variable =
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_ours = name.starts_with("ENSUE_");
        if !is_variable || is_ours {
            is_fine = false;
            let message = if is_ours {
                format!("`{name}` is one of Ensue's own variables")
            } else {
                format!("`{name}` is not the name of a variable")
            };
            report
                .error(Code::InvalidName, file, entry.key.span.clone(), message)
                .hint("letters, digits and `_`, not beginning with a digit or with `ENSUE_`, for example `DEPLOY_REGION`");
        }
    }
    is_fine.then_some(())
}
