//! Actions: what can be run, with what it takes and gives, and what the engine may do when its fate is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ensue_expression::{Expression, Node, Template};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::{Concurrency, Misfit, Retry, Schema, Workflow};
use crate::executions::decide::millis;
use crate::executions::facts::{Pace, cut};
use crate::inquiries::question::Question;
use crate::names::{ActionRef, LabelName, TriggerRef, WorkerQueueName};
use crate::record::Digest;
use crate::time::parse_duration;

/// The most bytes that are shown of what is no duration.
const GIVEN_BYTES_MAX: usize = 80;

/// Something that can be run.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its ref.
    pub name: ActionRef,
    /// What it does.
    pub description: String,
    /// What it takes; nothing beyond it.
    pub parameters: Schema,
    /// What it gives, where its author says so.
    pub result: Option<Schema>,
    /// Named values, each computed from the parameters and the ones before it.
    pub local: Vec<(String, Expression)>,
    /// How it is run.
    pub run: Run,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How long all of it may take, where it is made of steps and its author says so.
    pub limit: Option<Duration>,
    /// How long an attempt may go on after it was asked to stop.
    pub grace: Duration,
    /// Says whether it may be tried again when it is unknown whether an attempt took effect.
    pub idempotent: bool,
    /// What to do then, where it may not.
    pub on_lost: OnLost,
    /// Whether and when what failed is tried again; never where nothing is said.
    pub retry: Option<Retry>,
    /// How many of its executions may be open at once; as many as are asked for where nothing is said.
    pub concurrency: Option<Concurrency>,
    /// −100 … 100; higher goes first.
    pub priority: i8,
    /// The queue in which its executions wait for a worker's slot.
    pub queue: WorkerQueueName,
    /// What its executions are labelled with, each worked out of its parameters: at most [`LABELS_MAX`](crate::executions::labels::LABELS_MAX).
    pub labels: BTreeMap<LabelName, Template>,
    /// Its pack's configuration: an object.
    pub config: Arc<Value>,
    /// The digest of its pack: where its files are.
    pub pack: Digest,
    /// Parameters that are kept under a name, some or all of them: whoever runs it by hand may give others over them.
    pub templates: BTreeMap<String, Map<String, Value>>,
}

impl Action {
    /// Says whether attempts with these parameters hold a worker's slot: what only gives its parameters back, sets a var, or does
    /// nothing for no time, does not; what is made of steps, or sleeps, or asks, has none. Fails where it is to sleep for what is no duration, or to ask what is no question, or to wait for an event, which steps do.
    pub fn pace(&self, params: Node<'_>) -> Result<Pace, Misfit> {
        let is_at_once = match self.run {
            Run::Builtin(Builtin::Echo | Builtin::SetVar) => true,
            Run::Builtin(Builtin::Noop) => params.get("seconds").and_then(Node::as_f64).unwrap_or(0.0) == 0.0,
            Run::Workflow(_) => return Ok(Pace::InSteps),
            Run::Builtin(Builtin::Sleep) => return sleep(params),
            Run::Builtin(Builtin::Inquiry) => return Question::parse(params).map(|_| Pace::Asks),
            Run::Builtin(Builtin::Wait) => return Err(wait_is_a_step()),
            Run::Builtin(Builtin::Emit) | Run::Process(_) | Run::Shell(_) | Run::Http(_) | Run::Emit { .. } => false,
        };
        Ok(if is_at_once { Pace::AtOnce } else { Pace::Worked })
    }
}

/// What it waits for is said by a step.
fn wait_is_a_step() -> Misfit {
    let message = "it waits only as a step of a workflow, for example `wait: { trigger: github.workflow_run }`".to_owned();
    Misfit { pointer: "/trigger".to_owned(), message }
}

fn sleep(params: Node<'_>) -> Result<Pace, Misfit> {
    let duration = params.get("duration");
    let parsed = duration.and_then(Node::as_str).and_then(|text| parse_duration(&text));
    parsed.map(|wait| Pace::Sleeps { millis: millis(wait) }).ok_or_else(|| {
        let given = cut(duration.map_or("nothing", Node::raw).to_owned(), GIVEN_BYTES_MAX);
        let message =
            format!("{given} is not a duration; write a number and a unit, such as `250ms`, `90s`, `10m` or `24h`, at most 8760h");
        Misfit { pointer: "/duration".to_owned(), message }
    })
}

/// What to do when it is unknown whether an attempt of an action that is not idempotent took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Ask a person: the execution is indeterminate until somebody settles it.
    #[default]
    Ask,
    /// Fail the execution.
    Fail,
    /// Try again, at the author's risk.
    Retry,
}

/// How an action is run: exactly one runner.
#[derive(Clone, Debug)]
pub enum Run {
    /// Starts a program.
    Process(ProcessCommand),
    /// Has `sh -eu` run a script.
    Shell(ShellScript),
    /// Makes one HTTP request.
    Http(Box<HttpRequest>),
    /// Puts an event into the log.
    Emit {
        /// The trigger of the event.
        trigger: TriggerRef,
        /// Its payload.
        payload: Template,
        /// The key under which the event is accepted once.
        dedupe: Option<Template>,
    },
    /// Is made of steps.
    Workflow(Arc<Workflow>),
    /// Is done by the node itself.
    Builtin(Builtin),
}

impl Run {
    /// Gives the runner's name, as packs write it.
    pub fn runner(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Shell(_) => "shell",
            Self::Http(_) => "http",
            Self::Emit { .. } => "emit",
            Self::Workflow(_) => "workflow",
            Self::Builtin(_) => "builtin",
        }
    }
}

/// A program to start.
#[derive(Clone, Debug)]
pub struct ProcessCommand {
    /// The program and its arguments: `./x` is a file beside the action's, a bare name is looked up in the operator's path.
    pub command: Vec<String>,
    /// The places of the arguments that name a file of the pack beside the action's.
    pub beside: BTreeSet<usize>,
    /// What it reads on its standard input; none means the parameters.
    pub input: Option<Template>,
    /// Its environment, beyond what each process gets: by name.
    pub env: Vec<(String, Template)>,
    /// Files of the attempt's own directory, each named to the program by a variable of this name.
    pub files: Vec<(String, Template)>,
}

/// A shell script to run.
#[derive(Clone, Debug)]
pub struct ShellScript {
    /// The text: a literal, or exactly one parameter that is declared as code.
    pub script: Template,
    /// Its environment, beyond what each process gets: either by name, or as one expression that gives an object.
    pub env: Template,
}

/// An HTTP request to make.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The URL: exactly one expression (then a whole URL), or a literal with percent-encoded interpolations.
    pub url: Template,
    /// The method; `GET` where none is given.
    pub method: Template,
    /// The headers: an object of texts.
    pub headers: Template,
    /// The query: an object of texts, appended to the URL's own.
    pub query: Template,
    /// What is sent.
    pub body: HttpBody,
}

/// What an HTTP request sends.
#[derive(Clone, Debug)]
pub enum HttpBody {
    /// Nothing.
    None,
    /// A value, as JSON; null sends nothing.
    Json(Template),
    /// A text; null sends nothing.
    Text(Template),
    /// Whichever of the two is not null; both at once are an error of that attempt.
    Either {
        /// A value, as JSON.
        json: Template,
        /// A text.
        text: Template,
    },
}

/// What the node itself can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Holds a worker's slot for `seconds`.
    Noop,
    /// Gives its parameters back.
    Echo,
    /// Waits for `duration`, without a worker.
    Sleep,
    /// Asks people, and waits for their answer.
    Inquiry,
    /// Waits for an event, as a step of a workflow.
    Wait,
    /// Puts an event of the trigger `trigger` with the payload `payload` into the log.
    Emit,
    /// Gives the var `name` the value `value`, or takes it away where that is null.
    SetVar,
}
