//! Why a delivery makes no events.

use ensue_content::JsonBodyError;
use ensue_engine::explain::Explain;
use ensue_engine::names::{KeyRef, SensorRef, TriggerRef};
use thiserror::Error;

use crate::limits::{DELIVERY_STEPS_MAX, FILE_BYTES_MAX};
use crate::signatures::{KEY_BYTES_MIN, SignatureRefusal};

/// Why a delivery makes no events. A delivery makes all its events or none.
#[derive(Clone, Debug, Error, Explain)]
#[non_exhaustive]
pub enum HookRefusal {
    /// The hook cannot tell who delivers, so it takes nothing.
    #[error("the hook `{sensor}` accepts no deliveries: {why}")]
    #[explain(slug = "hook-unusable", fault = Unavailable, hint = unusable_hint(key.as_ref(), why))]
    Unusable {
        /// The sensor.
        sensor: SensorRef,
        /// Its key.
        key: Option<KeyRef>,
        /// The problem with the key.
        why: SignatureRefusal,
    },
    /// The delivery does not prove who sent it.
    #[error("the delivery is not verified: {0}")]
    #[explain(slug = "signature-refused", fault = Unauthenticated,
        hint = "have the sender sign the raw body with the hook's secret; compare the secret at the sender with the one set here")]
    Unproven(SignatureRefusal),
    /// The body is not said to have an accepted form.
    #[error("the delivery is {given}, but this hook accepts {accepted}")]
    #[explain(slug = "unsupported-media-type", fault = Malformed,
        hint = "change the webhook's content type at the sender, or list the form in the hook's `accept`, or the type in its `types`")]
    WrongType {
        /// The declared type.
        given: String,
        /// The accepted types.
        accepted: String,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    #[explain(slug = "body-not-json", fault = Malformed,
        hint = "send one JSON value in UTF-8 or with its charset in `Content-Type`, with at most 128 levels and no duplicate keys in an \
                object; `invalid: replace` of the hook accepts invalid characters and duplicate keys")]
    NotJson(JsonBodyError),
    /// The body does not have the form that its sender declares.
    #[error("the body is not {form}: {why}")]
    #[explain(slug = "body-unreadable", fault = Malformed, hint = "send the body in the form and the charset that its `Content-Type` names; `invalid: replace` of the hook accepts invalid characters")]
    Unreadable {
        /// The declared form.
        form: &'static str,
        /// The error.
        why: String,
    },
    /// The body is too large when it is decompressed.
    #[error("the body is larger than {bytes_max} bytes when it is decompressed")]
    #[explain(slug = "body-too-large", fault = TooLarge, hint = "send less in one delivery")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A file in the body is too large.
    #[error("the file in the field `{field}` is larger than {FILE_BYTES_MAX} bytes")]
    #[explain(slug = "body-too-large", fault = TooLarge, hint = "have the sender store the file, and deliver its address")]
    FileTooLarge {
        /// The field.
        field: String,
    },
    /// The text that `decode` returns is not JSON.
    #[error("the text that `decode` of the sensor `{sensor}` returns is not JSON: {why}")]
    #[explain(slug = "body-not-json", fault = Malformed, hint = "compare `decode` with what the sender sends")]
    NotDecoded {
        /// The sensor.
        sensor: SensorRef,
        /// The error.
        why: String,
    },
    /// An expression of the sensor erred on this delivery.
    #[error("`{part}` of `emits[{index}]` (`{trigger}`) of the sensor `{sensor}` failed: {why}")]
    #[explain(slug = "sensor-erred", fault = Invalid,
        hint = "fix the sensor's expression, or read fields that may be absent with `.?field.orValue(…)`")]
    EmitErred {
        /// The sensor.
        sensor: SensorRef,
        /// The index of the emit, from 0.
        index: usize,
        /// The trigger.
        trigger: TriggerRef,
        /// The field of the emit.
        part: EmitPart,
        /// The error.
        why: String,
    },
    /// An expression of the webhook itself erred on this delivery.
    #[error("`{part}` of the webhook of the sensor `{sensor}` failed: {why}")]
    #[explain(slug = "sensor-erred", fault = Invalid,
        hint = "fix the sensor's expression, or read fields that may be absent with `.?field.orValue(…)`")]
    HookErred {
        /// The sensor.
        sensor: SensorRef,
        /// The field of the webhook.
        part: String,
        /// How far the delivery came.
        stage: Stage,
        /// The error.
        why: String,
    },
    /// The sensor's expressions took too many steps together.
    #[error("the expressions of the sensor `{sensor}` take more than {DELIVERY_STEPS_MAX} steps on this delivery")]
    #[explain(slug = "sensor-erred", fault = Invalid, hint = "shorten the lists that the sensor's expressions loop over")]
    TooManySteps {
        /// The sensor.
        sensor: SensorRef,
        /// How far the delivery came.
        stage: Stage,
    },
}

/// A field of an emit that holds an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitPart {
    /// Its condition.
    When,
    /// Its dedupe key.
    Dedupe,
    /// Its payload.
    Payload,
}

impl std::fmt::Display for EmitPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::When => "when",
            Self::Dedupe => "dedupe",
            Self::Payload => "payload",
        })
    }
}

/// How far a delivery came before it was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The sender was not proven, so the content may be anybody's.
    Proof,
    /// The delivery passed the hook's check, so its content is the sender's and worth keeping.
    Content,
}

impl HookRefusal {
    /// Returns how far the delivery came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Unusable { .. } | Self::Unproven(_) => Stage::Proof,
            Self::HookErred { stage, .. } | Self::TooManySteps { stage, .. } => *stage,
            Self::WrongType { .. }
            | Self::NotJson(_)
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::FileTooLarge { .. }
            | Self::NotDecoded { .. }
            | Self::EmitErred { .. } => Stage::Content,
        }
    }

    /// Returns the trigger whose event could not be made, if the error concerns a single trigger.
    pub fn trigger(&self) -> Option<&TriggerRef> {
        match self {
            Self::EmitErred { trigger, .. } => Some(trigger),
            Self::Unusable { .. }
            | Self::Unproven(_)
            | Self::WrongType { .. }
            | Self::NotJson(_)
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::FileTooLarge { .. }
            | Self::NotDecoded { .. }
            | Self::HookErred { .. }
            | Self::TooManySteps { .. } => None,
        }
    }
}

fn unusable_hint(key: Option<&KeyRef>, why: &SignatureRefusal) -> String {
    match why {
        SignatureRefusal::CannotAsk { .. } => {
            "have the sender send it again; check that the node reaches the server, and `egress.allow` for a private address".to_owned()
        }
        _ => key_hint(key),
    }
}

fn key_hint(key: Option<&KeyRef>) -> String {
    match key {
        Some(key) => format!("set the secret that the sender signs with, at least {KEY_BYTES_MIN} bytes: `ensue keys set {key}`"),
        None => "name a key in the sensor's `verify`".to_owned(),
    }
}

/// Cuts a text of a sender to what an error repeats.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}
