//! Versions of triggers: brings a payload of an older version to the newest, step by step.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_expression::{Budget, Document, Scope, Value};
use thiserror::Error;

use crate::catalog::{Catalog, Extra, Misfit, Trigger};
use crate::events::version::TriggerVersion;
use crate::explain::Explain;
use crate::names::TriggerRef;
use crate::text::{cut, describe};

/// The maximum number of steps that all upcasts of one payload may take together.
pub const UPCAST_STEPS_MAX: u64 = 100_000;
/// The maximum length of a reason in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Why a payload has no newest form.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[explain(slug = "trigger-version-unknown", fault = Invalid)]
pub enum NoNewest {
    /// The trigger has no such version.
    #[error("the trigger `{trigger}` has no version {version}; {}", existing(*newest))]
    #[explain(hint = "name one of these versions, or none for the newest; `ensue triggers show {trigger}` shows it")]
    Unknown {
        /// The trigger.
        trigger: TriggerRef,
        /// The version of the payload.
        version: TriggerVersion,
        /// The newest version of the trigger.
        newest: TriggerVersion,
    },
    /// The upcast of a version fails.
    #[error("the payload of version {version} of `{trigger}` cannot be upcast: `upcasts` of version {from} fails: {why}")]
    #[explain(slug = "payload-invalid", hint = "compare the payload with what `upcasts` of `{trigger}` reads")]
    Fails {
        /// The trigger.
        trigger: TriggerRef,
        /// The version of the payload.
        version: TriggerVersion,
        /// The version that the failing step starts from.
        from: TriggerVersion,
        /// The reason.
        why: String,
    },
}

fn existing(newest: TriggerVersion) -> String {
    match newest.number() {
        1 => "it has only version 1".to_owned(),
        2 => "it has the versions 1 and 2".to_owned(),
        newest => format!("it has the versions 1 to {newest}"),
    }
}

/// Why a trigger does not accept a payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// It has no newest form.
    #[error(transparent)]
    NoNewest(#[from] NoNewest),
    /// Its newest form does not fit the schema.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Misfits(Vec<Misfit>),
}

/// A payload that a trigger accepts.
#[derive(Clone, Debug)]
pub struct AcceptedPayload {
    /// The version that it came in.
    pub version: TriggerVersion,
    /// The payload in the newest version, as rules see it.
    pub newest: Document,
}

impl Trigger {
    /// Checks a payload as it came: brings a copy to the newest version, and checks that against the schema. Without a
    /// version, it is of the newest.
    ///
    /// # Errors
    /// If the trigger has no such version, an upcast fails, or the result does not fit.
    pub fn accept(&self, version: Option<TriggerVersion>, payload: &Document) -> Result<AcceptedPayload, NotAccepted> {
        let version = version.unwrap_or(self.version);
        let newest = self.newest(version, payload)?;
        let misfits = self.payload.misfits(newest.root(), Extra::Allowed);
        if misfits.is_empty() { Ok(AcceptedPayload { version, newest }) } else { Err(NotAccepted::Misfits(misfits)) }
    }

    /// Returns a payload of a version in the form of the newest.
    ///
    /// # Errors
    /// If the trigger has no such version, or an upcast fails.
    pub fn newest(&self, version: TriggerVersion, payload: &Document) -> Result<Document, NoNewest> {
        if version > self.version {
            return Err(NoNewest::Unknown { trigger: self.name.clone(), version, newest: self.version });
        }
        let mut budget = Budget::steps(UPCAST_STEPS_MAX);
        let mut payload = payload.clone();
        for (from, upcast) in (1..).zip(&self.upcasts).skip(version.number() as usize - 1) {
            let scope = Scope::new().with("payload", Value::from(payload.root()));
            let rendered = catch_unwind(AssertUnwindSafe(|| upcast.render_document(&scope, &mut budget)));
            let why = match rendered {
                Ok(Ok(next)) => {
                    payload = next;
                    continue;
                }
                Ok(Err(error)) => cut(describe(&error), REASON_BYTES_MAX),
                Err(_) => "the evaluation stopped at an internal error".to_owned(),
            };
            let from = TriggerVersion::new(from).unwrap_or_default();
            return Err(NoNewest::Fails { trigger: self.name.clone(), version, from, why });
        }
        Ok(payload)
    }
}

impl Catalog {
    /// Returns a stored payload of a version in the form in which this catalog judges it. A trigger that the catalog does
    /// not have has only the first version.
    ///
    /// # Errors
    /// If the catalog does not know the version, or an upcast fails.
    pub fn newest(&self, trigger: &TriggerRef, version: TriggerVersion, payload: &Document) -> Result<Document, NoNewest> {
        match self.triggers().get(trigger) {
            Some(known) => known.newest(version, payload),
            None if version.is_first() => Ok(payload.clone()),
            None => Err(NoNewest::Unknown { trigger: trigger.clone(), version, newest: TriggerVersion::FIRST }),
        }
    }

    /// Returns a stored payload as steps of this catalog read it. Steps may have begun before a version existed: they read
    /// a payload of a newer version as it came.
    ///
    /// # Errors
    /// If an upcast fails.
    pub fn as_read(&self, trigger: &TriggerRef, version: TriggerVersion, payload: &Document) -> Result<Document, NoNewest> {
        match self.newest(trigger, version, payload) {
            Err(NoNewest::Unknown { .. }) => Ok(payload.clone()),
            newest => newest,
        }
    }
}
