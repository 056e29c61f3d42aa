//! Sensors: where events come from, and which events they create.

mod file;
mod identity;
mod poll;
mod process;
mod reading;

use std::sync::Arc;

use ensue_expression::{Expression, Template};
use serde_json::Value;

pub use file::{AfterFile, FILES_MAX, FileChange, FileContent, FileSource, FileStart};
pub use poll::{
    FirstPoll, PAGES_MAX, POLL_ITEMS_MAX, PollCursor, PollMemory, PollSource, PollTarget, PollTimes, PolledAction, REMEMBER_MAX,
    REMEMBER_MIN,
};
pub use process::{ProcessSource, Restart};
pub use reading::{Decode, OnPoison, POISON_MAX, PoisonLimit, Reading};

use super::verify::Verify;
use super::webhook::Webhook;
use crate::events::version::TriggerVersion;
use crate::names::{SensorRef, TriggerRef};
use crate::record::Digest;
use crate::schedule::plan::Plan;

/// Watches something outside and emits events.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// Its ref.
    pub name: SensorRef,
    /// Its purpose.
    pub description: String,
    /// What it watches.
    pub source: Source,
    /// The events that it can create; each one that matches creates an event.
    pub emits: Vec<Emit>,
    /// The configuration of its pack: an object.
    pub config: Arc<Value>,
}

impl Sensor {
    /// Returns a digest of everything that gives its cursor a meaning. If it changes, the cursor is of no use any
    /// longer, and the sensor starts like a new one. How often it reads, what it emits and which keys it uses are
    /// not part of it.
    pub fn identity(&self) -> Digest {
        identity::of(self)
    }
}

/// What a sensor watches.
#[derive(Clone, Debug)]
pub enum Source {
    /// Deliveries at `/hooks/<pack>/<sensor>`.
    Webhook(Arc<Webhook>),
    /// A schedule.
    Timer {
        /// When it is due.
        schedule: Arc<Plan>,
    },
    /// The lines of a program that the node runs.
    Process(Arc<ProcessSource>),
    /// The answers of a server that is asked, or the results of an action that is run, repeatedly.
    Poll(Arc<PollSource>),
    /// Files in a folder.
    File(Arc<FileSource>),
}

impl Source {
    /// Returns its name as packs spell it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Timer { .. } => "timer",
            Self::Process(_) => "process",
            Self::Poll(_) => "poll",
            Self::File(_) => "file",
        }
    }

    /// Returns true if the node itself has to fetch the messages, so that the sensor runs all the time.
    pub fn pulls(&self) -> bool {
        self.reading().is_some()
    }

    /// Returns how its messages are read, or `None` if the node fetches no messages for it.
    pub fn reading(&self) -> Option<&Reading> {
        match self {
            Self::Webhook(_) | Self::Timer { .. } => None,
            Self::Process(process) => Some(&process.reading),
            Self::Poll(poll) => Some(&poll.reading),
            Self::File(file) => Some(&file.reading),
        }
    }

    /// Returns how deliveries are verified, or `None` if the sensor takes no deliveries.
    pub fn webhook(&self) -> Option<&Verify> {
        self.endpoint().map(|webhook| &webhook.verify)
    }

    /// Returns the endpoint of the sensor, or `None` if it takes no deliveries.
    pub fn endpoint(&self) -> Option<&Webhook> {
        match self {
            Self::Webhook(webhook) => Some(webhook),
            Self::Timer { .. } | Self::Process(_) | Self::Poll(_) | Self::File(_) => None,
        }
    }

    /// Returns the endpoint of the sensor, to keep it.
    pub fn shared_endpoint(&self) -> Option<Arc<Webhook>> {
        match self {
            Self::Webhook(webhook) => Some(webhook.clone()),
            Self::Timer { .. } | Self::Process(_) | Self::Poll(_) | Self::File(_) => None,
        }
    }

    /// Returns true if a body that was accepted creates no event again, whatever its headers are: only the
    /// body is signed.
    pub fn drops_repeats(&self) -> bool {
        match self {
            Self::Webhook(webhook) => webhook.verify.signs_the_body() && webhook.repeats == Repeats::Drop,
            Self::Timer { .. } | Self::Process(_) | Self::Poll(_) | Self::File(_) => false,
        }
    }
}

/// What happens to a signed body that is delivered again within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// It gets the same answer as the first delivery, and creates no event.
    #[default]
    Drop,
    /// It creates events again, unless its key was seen.
    Allow,
}

/// The key under which an event is accepted once within 24 hours.
#[derive(Clone, Debug, Default)]
pub enum EmitKey {
    /// The id that the scheme of the webhook has for a delivery, if it has one; for other sources that of the source.
    #[default]
    Natural,
    /// None: each event is accepted.
    Nothing,
    /// The value of this expression.
    By(Expression),
}

impl EmitKey {
    /// Returns the expression, if the author wrote one.
    pub fn expression(&self) -> Option<&Expression> {
        match self {
            Self::Natural | Self::Nothing => None,
            Self::By(expression) => Some(expression),
        }
    }
}

/// An event that a delivery may create.
#[derive(Clone, Debug)]
pub struct Emit {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its condition; `None` means always.
    pub when: Option<Expression>,
    /// The key under which it is accepted once within 24 hours.
    pub dedupe: EmitKey,
    /// Its payload; `None` means the body of the delivery, byte for byte.
    pub payload: Option<Template>,
    /// The version that its payload has; `None` if it is the newest.
    pub version: Option<TriggerVersion>,
}
