//! Why a rehearsal cannot continue.

use ensue_engine::names::{ActionRef, TriggerRef};
use ensue_packs::cases::StepPath;
use thiserror::Error;

/// Why a rehearsal cannot continue. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Stuck {
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
    /// No mock defines what people answer.
    #[error("`{path}` asks people, and no mock says what they answer")]
    NoAnswer {
        /// The step.
        path: StepPath,
        /// An example of an answer in the requested shape, as JSON.
        like: String,
    },
    /// No mock defines which event comes.
    #[error("`{path}` waits for an event of `{trigger}`, and no mock says which one comes")]
    NoEvent {
        /// The step.
        path: StepPath,
        /// The trigger.
        trigger: String,
    },
    /// The mocked event does not match what the step waits for.
    #[error("the event of `{path}` is not the one that it waits for: its `when` does not hold")]
    EventUnfit {
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
    /// The answer is rejected.
    #[error("the answer to `{path}` is not taken: {why}")]
    AnswerRefused {
        /// The step.
        path: StepPath,
        /// The reason.
        why: String,
    },
    /// The mock says that it expires, but it never does.
    #[error("`{path}` has no `expires`, and waits for ever")]
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
    /// It does not end.
    #[error("it does not come to an end within {0} records")]
    Endless(usize),
    /// The core parked a reaction, which is an internal error.
    #[error("what follows could not be worked out: {0}")]
    PutAside(String),
    /// The catalog cannot be built, which is an internal error.
    #[error("the catalog cannot be built: {0}")]
    NoCatalog(String),
}

impl Stuck {
    /// Returns a suggestion, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMock { path, like, .. } => Some(format!("say what it comes to:\nmocks:\n  {path}: {{ result: {like} }}")),
            Self::NoAnswer { path, like } => Some(format!("say what is answered:\nmocks:\n  {path}: {{ answer: {like} }}")),
            Self::NoEvent { path, .. } => Some(format!("say what matters of its payload:\nmocks:\n  {path}: {{ event: {{ … }} }}")),
            Self::EventUnfit { path } => Some(format!("give the payload what the `when` of `{path}` asks for")),
            Self::MocksOver { path, .. } => {
                Some(format!("add one to the list, or write one mock for all of them:\nmocks:\n  {path}: {{ result: {{}} }}"))
            }
            Self::NeverExpires { .. } => Some("give the step an `expires`, or the mock an `answer` or an `event`".to_owned()),
            Self::PutAside(_) | Self::NoCatalog(_) => Some("this is a bug of ours: please report it with the pack".to_owned()),
            Self::AnswerRefused { .. } | Self::NoAction(_) | Self::NoTrigger(_) | Self::Refused(_) | Self::Endless(_) => None,
        }
    }
}
