//! The fake vendor of a pack: what another system answers, as far as the pack's cases need it.
//!
//! `check/fake.rs` reads it from `fake/server.yaml`. Nothing is answered here: that is the work of `ensue-rehearsal`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::JsonSchema;
use ensue_engine::names::KeyRef;
use ensue_expression::{Expression, Template};
use regex::Regex;

/// The most routes of a fake vendor.
pub const ROUTES_MAX: usize = 200;
/// The most answers of a route.
pub const ANSWERS_MAX: usize = 50;

/// A fake vendor.
#[derive(Clone, Debug)]
pub struct Fake {
    /// The path of its file as shown to users.
    pub file: String,
    /// The setting of the pack that holds the address of the vendor.
    pub setting: String,
    /// The values of the pack's keys that the vendor accepts.
    pub keys: BTreeMap<KeyRef, String>,
    /// How a connection to the vendor proves who sends a request, if cases can ask for one.
    pub auth: Option<FakeAuth>,
    /// The answer to a request without the right proof.
    pub unauthorized: FakeAnswer,
    /// The answer to a request that does not fit its route.
    pub invalid: FakeAnswer,
    /// The requests that it knows, in the order in which they are tried.
    pub routes: Vec<FakeRoute>,
}

/// How a connection to a fake vendor proves who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeAuth {
    /// The setting of the pack that names the connection.
    pub setting: String,
    /// The key of the pack in whose place the vendor accepts that of the connection.
    pub key: KeyRef,
    /// Where a request has it.
    pub proof: FakeProof,
}

/// Where a request over a connection has its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FakeProof {
    /// In `Authorization: Bearer`.
    Bearer,
    /// In a header.
    Header {
        /// Its name.
        name: String,
        /// The text before the value.
        prefix: String,
    },
    /// In a field of the JSON object that is the body.
    JsonField(String),
}

/// A request that a fake vendor knows.
#[derive(Clone, Debug)]
pub struct FakeRoute {
    /// The line where it begins, from 1.
    pub line: usize,
    /// Its method.
    pub method: String,
    /// The segments of its path.
    pub path: Vec<Segment>,
    /// The condition under which a request has the right proof of its sender; `None` if no proof is needed.
    pub authorized: Option<Expression>,
    /// The headers that a request must have, with the pattern of each.
    pub headers: Vec<(String, Regex)>,
    /// How the body is written.
    pub encoding: Encoding,
    /// The schema of the query.
    pub query: Option<Arc<dyn JsonSchema>>,
    /// The schema of the body. Without one, the request must have no body.
    pub body: Option<Arc<dyn JsonSchema>>,
    /// The answers. The first one whose condition holds is given.
    pub answers: Vec<FakeAnswer>,
}

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Text(String),
    /// Any text, under a name.
    Any(String),
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON.
    #[default]
    Json,
    /// As the fields of a form.
    Form,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct FakeAnswer {
    /// The condition; `None` if it is given whatever the request is.
    pub when: Option<Expression>,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body, as JSON.
    pub body: Option<Template>,
}
