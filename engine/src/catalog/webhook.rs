//! A webhook: who may deliver, in which form, and what the sender gets as a reply.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use ensue_derive::Names;
use ensue_expression::{Expression, Template};

use super::sensor::Repeats;
use super::verify::Verify;
use crate::names::RuleRef;

/// The longest time that a reply waits for a rule's execution, in milliseconds.
pub const REPLY_WAIT_MILLIS_MAX: u64 = 25_000;
/// The maximum size of the body of a delivery that an operator can allow, before and after it is decompressed, in bytes.
pub const DELIVERY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The maximum size of such a body on a node whose operator sets nothing.
pub const DELIVERY_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// The maximum size of a reply, in bytes.
pub const REPLY_BYTES_MAX: usize = 256 * 1024;
/// The maximum size of a reply to a sender that proved nothing, in bytes.
pub const UNPROVEN_REPLY_BYTES_MAX: usize = 1024;
/// The maximum number of items of `reply`.
pub const REPLIES_MAX: usize = 16;
/// The maximum number of parameters in the path of a webhook.
pub const PATH_PARTS_MAX: usize = 8;
/// The maximum number of headers that the author of a webhook names.
pub const KEPT_HEADERS_MAX: usize = 32;
/// The maximum number of further content types of a webhook.
pub const CONTENT_TYPES_MAX: usize = 32;
/// The maximum number of networks in `allow`.
pub const NETWORKS_MAX: usize = 256;

/// An endpoint for deliveries.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// How deliveries are verified.
    pub verify: Verify,
    /// What happens to repeats of a signed body.
    pub repeats: Repeats,
    /// The forms of bodies that are accepted.
    pub accepts: Vec<BodyForm>,
    /// Further content types, in lower case, and the forms that they are accepted as.
    pub types: BTreeMap<String, BodyForm>,
    /// How bodies become text.
    pub text_decoding: TextDecoding,
    /// Which text in the body holds the JSON that counts as the body; `None` for the body itself.
    pub decode: Option<Expression>,
    /// The methods of deliveries.
    pub methods: Vec<HookMethod>,
    /// The path below the sensor's name; empty if there is none.
    pub path: Vec<PathPart>,
    /// The networks from which deliveries are accepted, as `10.0.0.0/8`; all if it is empty.
    pub allow: Vec<String>,
    /// Headers that are kept with a delivery although no expression reads them, in lower case.
    pub headers: Vec<String>,
    /// How many deliveries are accepted in a period; `None` for the limit of the node.
    pub rate: Option<HookRate>,
    /// The longest body in bytes; `None` for the limit of the node.
    pub body_bytes_max: Option<u32>,
    /// What is replied before any event is created: the first that applies ends the delivery.
    pub replies: Vec<EarlyReply>,
    /// What is replied once a rule's execution has ended.
    pub waits: Option<Arc<WaitingReply>>,
}

impl Webhook {
    /// Returns a webhook that accepts JSON by POST, and replies with the ids of the events.
    pub fn of(verify: Verify, repeats: Repeats) -> Self {
        Self {
            verify,
            repeats,
            accepts: vec![BodyForm::Json],
            types: BTreeMap::new(),
            text_decoding: TextDecoding::default(),
            decode: None,
            methods: vec![HookMethod::Post],
            path: Vec::new(),
            allow: Vec::new(),
            headers: Vec::new(),
            rate: None,
            body_bytes_max: None,
            replies: Vec::new(),
            waits: None,
        }
    }
}

/// The form of a body, which its content type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum BodyForm {
    /// `application/json`, `text/json`, or a type that ends in `+json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// `text/*`, `application/xml`, or a type that ends in `+xml`.
    Text,
}

/// How bytes of other systems become text, as the author of a pack chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextDecoding {
    /// The charset of bytes that declare none, as a label of WHATWG's Encoding Standard; `None` for UTF-8.
    pub charset: Option<String>,
    /// What happens to what is not valid.
    pub invalid: Invalid,
}

/// What happens to what is not valid in bytes of other systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Invalid {
    /// It is an error that says where it is.
    #[default]
    Reject,
    /// Each part of a text that is not valid becomes U+FFFD, and of several fields of the same name in an object the last
    /// stays.
    Replace,
}

/// The method of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookMethod {
    /// `POST`.
    #[default]
    Post,
    /// `GET`.
    Get,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
}

impl HookMethod {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Post, Self::Get, Self::Put, Self::Delete];

    /// Returns its name in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Returns the method of a name in HTTP.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// A part of a path, between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// These characters.
    Text(String),
    /// Any characters, under this name.
    Parameter(String),
}

/// A number of deliveries in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookRate {
    /// The deliveries.
    pub deliveries: NonZeroU32,
    /// The period, in seconds.
    pub seconds: NonZeroU32,
}

/// A reply that ends a delivery before it creates events.
#[derive(Clone, Debug)]
pub struct EarlyReply {
    /// To which deliveries it is the reply; `None` for all.
    pub when: Option<Expression>,
    /// What the sender must have proven.
    pub proof: ReplyProof,
    /// The reply.
    pub reply: Reply,
}

/// What a sender must have proven to get a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyProof {
    /// That it is the sender.
    Demanded,
    /// Nothing: anybody gets it.
    NotDemanded,
}

/// What is sent as a reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status; `None` for that of its kind.
    pub status: Option<u16>,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, Template)>,
    /// The body: a text is sent as it is, anything else as JSON; `None` for no body.
    pub body: Option<Template>,
}

/// A reply that waits for the execution of a rule.
#[derive(Clone, Debug)]
pub struct WaitingReply {
    /// To which deliveries it is the reply; `None` for all.
    pub when: Option<Expression>,
    /// How long it waits, in milliseconds.
    pub wait_millis: u64,
    /// The rule; `None` for the first that requests an execution.
    pub rule: Option<RuleRef>,
    /// The reply if the execution succeeded.
    pub succeeded: Reply,
    /// The reply if the execution has not ended in time; `None` for the usual one.
    pub late: Option<Reply>,
    /// The reply if the execution failed; `None` for the usual one.
    pub failed: Option<Reply>,
    /// The reply if no event or no execution came of the delivery; `None` for the usual one.
    pub none: Option<Reply>,
}
