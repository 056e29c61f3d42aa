//! Actions: what can be run, their parameters and results, and what the engine may do if an attempt is lost.

use crate::catalog::OnLost;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ensue_expression::{Expression, Node, Template};
use serde_json::{Map, Value};

use crate::catalog::{Concurrency, ConnectionKind, HttpRequest, MailMessage, Misfit, Retry, Schema, UsedConnection, Workflow};
use crate::events::version::VersionedTrigger;
use crate::executions::facts::Pace;
use crate::inquiries::question::Question;
use crate::names::{ActionRef, LabelName, Names, WorkerQueueName};
use crate::record::Digest;
use crate::text::cut;
use crate::time::millis;
use crate::time::parse_duration;

/// The maximum number of bytes shown of an invalid duration.
const GIVEN_BYTES_MAX: usize = 80;

/// Something that can be run.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its ref.
    pub name: ActionRef,
    /// What it does.
    pub description: String,
    /// Its parameters; no others are accepted.
    pub parameters: Schema,
    /// The schema of its result, if its author declares one.
    pub result: Option<Schema>,
    /// How the result is computed from what the runner returned; without it, that is the result.
    pub output: Option<Template>,
    /// Named values, each computed from the parameters and the earlier values.
    pub local: Vec<(String, Expression)>,
    /// How it is run.
    pub run: Run,
    /// On whose rights its steps run, if it is a workflow.
    pub run_as: RunAs,
    /// Whether its program gets a token, with which it calls the API as its execution.
    pub has_token: bool,
    /// The timeout of an attempt.
    pub timeout: Duration,
    /// The time limit of the whole workflow, if its author sets one.
    pub limit: Option<Duration>,
    /// How long an attempt may keep running after it was asked to stop.
    pub grace: Duration,
    /// Whether the engine may retry it if it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do in that case if the engine may not retry it.
    pub on_lost: OnLost,
    /// Whether and when to retry after a failure; `None` means never.
    pub retry: Option<Retry>,
    /// How many of its executions may be open at once; `None` means no limit.
    pub concurrency: Option<Concurrency>,
    /// The priority, −100 … 100; higher goes first.
    pub priority: i8,
    /// The queue in which its executions wait for a worker's slot.
    pub queue: WorkerQueueName,
    /// The labels of its executions, each computed from the parameters: at most
    /// [`LABELS_MAX`](crate::executions::labels::LABELS_MAX).
    pub labels: BTreeMap<LabelName, Template>,
    /// The configuration of its pack: an object.
    pub config: Arc<Value>,
    /// The digest of its pack, which identifies the pack's files.
    pub pack: Digest,
    /// Named sets of some or all parameters. Anyone who runs the action by hand may override them.
    pub templates: BTreeMap<String, Map<String, Value>>,
}

/// The names with which the `output` of an action reads what its runner returned: those of an HTTP response, and
/// those of a program.
pub const RAW_FIELDS: [&str; 5] = ["status", "headers", "body", "stdout", "exit_code"];

impl Action {
    /// Returns whether attempts with these parameters occupy a worker's slot. An action that only returns its
    /// parameters, sets a var, or does nothing for no time occupies none. A workflow, a sleep and an inquiry
    /// have no attempts. Fails if the action should sleep for an invalid duration, ask an invalid question,
    /// or wait for an event, which only steps do.
    pub fn pace(&self, params: Node<'_>) -> Result<Pace, Misfit> {
        let is_at_once = match self.run {
            Run::Builtin(Builtin::Echo | Builtin::SetVar) => true,
            Run::Builtin(Builtin::Noop) => params.get("seconds").and_then(Node::as_f64).unwrap_or(0.0) == 0.0,
            Run::Workflow(_) => return Ok(Pace::InSteps),
            Run::Builtin(Builtin::Sleep) => return sleep(params),
            Run::Builtin(Builtin::Inquiry) => return Question::parse(params).map(|_| Pace::Asks),
            Run::Builtin(Builtin::Wait) => return Err(wait_is_a_step()),
            Run::Builtin(Builtin::Emit) | Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Mail(_) | Run::Emit { .. } => false,
        };
        Ok(if is_at_once { Pace::AtOnce } else { Pace::Worked })
    }
}

/// Only a step can say what to wait for.
fn wait_is_a_step() -> Misfit {
    let message = "it waits only as a step of a workflow, for example `wait: { trigger: github.workflow_run }`".to_owned();
    Misfit { pointer: "/trigger".to_owned(), message }
}

fn sleep(params: Node<'_>) -> Result<Pace, Misfit> {
    let duration = params.get("duration");
    let parsed = duration.and_then(Node::as_str).and_then(|text| parse_duration(&text));
    parsed.map(|wait| Pace::Sleeps { millis: millis(wait) }).ok_or_else(|| {
        let given = cut(duration.map_or("nothing", Node::raw).to_owned(), GIVEN_BYTES_MAX);
        let message = format!("{given} is not a duration; write numbers with units, such as `250ms`, `90s`, `1h30m` or `2d`, at most 365d");
        Misfit { pointer: "/duration".to_owned(), message }
    })
}

/// On whose rights the steps of a workflow run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Names)]
pub enum RunAs {
    /// On those of the pack that defines it.
    #[default]
    Pack,
    /// On those of the caller, as far as the pack may do the same.
    Caller,
}

/// How an action is run: exactly one runner.
#[derive(Clone, Debug)]
pub enum Run {
    /// Starts a program.
    Process(ProcessCommand),
    /// Runs a script with `sh -eu`.
    Shell(ShellScript),
    /// Makes one HTTP request.
    Http(Box<HttpRequest>),
    /// Sends one mail.
    Mail(Box<MailMessage>),
    /// Records an event.
    Emit {
        /// The trigger of the event, and the version of its payload.
        trigger: VersionedTrigger,
        /// Its payload.
        payload: Template,
        /// The key under which the event is accepted once.
        dedupe: Option<Template>,
    },
    /// Runs a workflow's steps.
    Workflow(Arc<Workflow>),
    /// Runs inside the node itself.
    Builtin(Builtin),
}

impl Run {
    /// Returns the connection that it uses or may use, with the kind that it needs.
    pub fn connection(&self) -> Option<(&UsedConnection, ConnectionKind)> {
        match self {
            Self::Http(request) => request.connection.as_ref().map(|used| (used, ConnectionKind::Http)),
            Self::Mail(message) => message.relay.connection().map(|used| (used, ConnectionKind::Smtp)),
            Self::Process(_) | Self::Shell(_) | Self::Emit { .. } | Self::Workflow(_) | Self::Builtin(_) => None,
        }
    }
}

impl Run {
    /// Returns the runner's name as packs spell it.
    pub fn runner(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Shell(_) => "shell",
            Self::Http(_) => "http",
            Self::Mail(_) => "mail",
            Self::Emit { .. } => "emit",
            Self::Workflow(_) => "workflow",
            Self::Builtin(_) => "builtin",
        }
    }
}

/// A program to start.
#[derive(Clone, Debug)]
pub struct ProcessCommand {
    /// The program and its arguments: `./x` is a file next to the action's, a bare name is looked up in the
    /// operator's path.
    pub command: Vec<String>,
    /// The indexes of the arguments that name a file of the pack next to the action's.
    pub beside: BTreeSet<usize>,
    /// Its standard input; `None` means the parameters.
    pub input: Option<Template>,
    /// Its environment, by name, in addition to the variables that every process gets.
    pub env: Vec<(String, Template)>,
    /// Files in the attempt's own directory. Each is passed to the program in a variable of this name.
    pub files: Vec<(String, Template)>,
}

/// A shell script to run.
#[derive(Clone, Debug)]
pub struct ShellScript {
    /// The text: a literal, or exactly one parameter that is declared as code.
    pub script: Template,
    /// Its environment, in addition to the variables that every process gets: either by name, or one
    /// expression that returns an object.
    pub env: Template,
}

/// The actions that the node runs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Occupies a worker's slot for `seconds`.
    Noop,
    /// Returns its parameters.
    Echo,
    /// Waits for `duration`, without a worker.
    Sleep,
    /// Asks people a question, and waits for their answer.
    Inquiry,
    /// Waits for an event, as a step of a workflow.
    Wait,
    /// Records an event of the trigger `trigger` with the payload `payload`.
    Emit,
    /// Sets the var `name` to `value`, or removes it if `value` is null.
    SetVar,
}

impl Builtin {
    /// Returns true if it has no effect outside its workflow, or one that is checked where it happens: every pack may run it.
    pub fn is_harmless(self) -> bool {
        match self {
            // The event that `emit` records is checked.
            Self::Noop | Self::Echo | Self::Sleep | Self::Inquiry | Self::Wait | Self::Emit => true,
            Self::SetVar => false,
        }
    }
}
