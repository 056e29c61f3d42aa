//! Why a rehearsal cannot continue.

use ensue_engine::names::{ActionRef, SensorRef, TriggerRef};
use ensue_packs::cases::StepPath;
use thiserror::Error;

/// Why a rehearsal cannot continue. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// No mock defines the outcome of an attempt.
    #[error("`{path}` would run `{action}`, which has no mock here")]
    NoMock {
        /// The step.
        path: StepPath,
        /// The action that it runs.
        action: ActionRef,
        /// An example of the declared result, as JSON.
        like: String,
    },
    /// Nobody said what people answer.
    #[error("`{path}` asks people, and no mock provides their answer")]
    NoAnswer {
        /// The step.
        path: StepPath,
        /// An example of an answer in the requested shape, as JSON.
        like: String,
    },
    /// Nobody makes the events of messages.
    #[error("nothing here makes events of the messages of `{0}`")]
    NoMessages(SensorRef),
    /// Nobody said which event comes.
    #[error("`{path}` waits for an event of `{trigger}`, and no mock provides one")]
    NoEvent {
        /// The step.
        path: StepPath,
        /// The trigger.
        trigger: String,
    },
    /// The event that was to come is not the one that is waited for.
    #[error("the event of `{path}` is not the one that it waits for: its `when` is not true")]
    EventUnfit {
        /// The step.
        path: StepPath,
    },
    /// The event that was to cancel a step does not.
    #[error("the event does not cancel `{path}`: the `when` of its `cancel_when` is not true")]
    CancelUnfit {
        /// The step.
        path: StepPath,
    },
    /// There are fewer mocks than needed.
    #[error("the mocks of `{path}` are {has}, and this would be number {number}")]
    MocksOver {
        /// The step.
        path: StepPath,
        /// How many there are.
        has: usize,
        /// The number of the missing one, from 1.
        number: usize,
    },
    /// An answer cannot be given.
    #[error("the answer to `{path}` is rejected: {why}")]
    AnswerRefused {
        /// The step.
        path: StepPath,
        /// The reason.
        why: String,
    },
    /// It was to expire, and never does.
    #[error("`{path}` has no `expires`, so it waits forever")]
    NeverExpires {
        /// The step.
        path: StepPath,
    },
    /// There is no such action.
    #[error("there is no action `{0}`")]
    NoAction(ActionRef),
    /// There is no such trigger.
    #[error("there is no trigger `{0}`")]
    NoTrigger(TriggerRef),
    /// The core rejected a command.
    #[error("it is refused: {0}")]
    Refused(String),
    /// It never ends.
    #[error("it does not end within {0} records")]
    Endless(usize),
    /// The core put something aside: a bug.
    #[error("the next records could not be computed: {0}")]
    PutAside(String),
    /// The catalog cannot be built, which is an internal error.
    #[error("the catalog cannot be built: {0}")]
    NoCatalog(String),
}

impl RehearsalError {
    /// Returns a suggestion, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMock { path, like, .. } => Some(format!("add a mock with its result:\nmocks:\n  {path}: {{ result: {like} }}")),
            Self::NoAnswer { path, like } => Some(format!("add a mock with the answer:\nmocks:\n  {path}: {{ answer: {like} }}")),
            Self::NoEvent { path, .. } => {
                Some(format!("add a mock with the relevant parts of the payload:\nmocks:\n  {path}: {{ event: {{ … }} }}"))
            }
            Self::EventUnfit { path } => Some(format!("change the payload so that the `when` of `{path}` is true")),
            Self::CancelUnfit { path } => Some(format!("change the payload so that the `when` in `cancel_when` of `{path}` is true")),
            Self::MocksOver { path, .. } => {
                Some(format!("add one to the list, or write a single mock for all of them:\nmocks:\n  {path}: {{ result: {{}} }}"))
            }
            Self::NeverExpires { .. } => Some("add an `expires` to the step, or an `answer` or an `event` to the mock".to_owned()),
            Self::NoMessages(_) | Self::PutAside(_) | Self::NoCatalog(_) => Some("report this internal error with the pack".to_owned()),
            Self::AnswerRefused { .. } | Self::NoAction(_) | Self::NoTrigger(_) | Self::Refused(_) | Self::Endless(_) => None,
        }
    }
}
