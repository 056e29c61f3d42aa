//! The documentation of a route: its name, its parameters, its request and response bodies, and its problems.
//!
//! Requests are checked against its closed list of parameters. Tests check the rest against the API's real
//! answers.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::query::{Parameter, ParameterGroups, Query};
use crate::wire::WireList;

/// The maximum number of successful answers of one operation.
const GIVEN_MAX: usize = 4;

/// The headers of an answer that reports a write.
pub(crate) const WRITTEN: &[Header] = &[Header::Position];
/// The headers of an answer that reports a created resource.
pub(crate) const MADE: &[Header] = &[Header::Position, Header::Location];
/// The headers of an answer that reports a value that was set.
pub(crate) const SET: &[Header] = &[Header::Position, Header::Location, Header::ETag];

/// A function that generates the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The documentation of a route.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// Its name: `<noun>_<verb>`.
    pub(crate) id: &'static str,
    /// A summary in one line.
    pub(crate) summary: &'static str,
    /// The query parameters, in groups that are read together.
    pub(crate) query: ParameterGroups,
    /// How unknown query parameters are handled.
    pub(crate) strangers: Strangers,
    /// The headers that it honors, in addition to those that every route honors.
    pub(crate) honors: &'static [HonoredHeader],
    /// What must be visible in the views before it is answered.
    pub(crate) waits_for: WaitsFor,
    /// Whether callers share its answers.
    pub(crate) sharing: Sharing,
    /// How a request's `Idempotency-Key` is handled.
    pub(crate) keying: Keying,
    /// The conditions that it honors on a write.
    pub(crate) conditional: Conditional,
    /// Whether the node needs free memory for the input.
    pub(crate) admission: Admission,
    /// Whether it serves sessions that are for one inquiry.
    pub(crate) links: LinkSessions,
    /// The body.
    pub(crate) takes: Takes,
    /// The successful answers.
    pub(crate) gives: [Option<SuccessAnswer>; GIVEN_MAX],
    /// Problems that not every route of its kind has: the status and the code.
    pub(crate) refuses: &'static [(u16, &'static str)],
}

/// The parameter of an operation that can be tried.
#[derive(Query)]
pub(crate) struct DryRunQuery {
    /// Whether to check everything and do nothing.
    pub(crate) dry_run: bool,
}

/// The callers that get the answer to a request of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Nobody.
    Nobody,
    /// Callers with the same rights.
    ByRights,
}

/// How an operation handles unknown parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// They are rejected, so that a misspelled parameter is not treated as absent.
    Refused,
    /// They are ignored: probes and senders of deliveries add their own.
    PassedOver,
}

/// What a request can require to be visible before it is answered, with the position of an earlier write in
/// its `Ensue-Position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// The views have reached that position.
    Views,
    /// It reads no view, so it does not wait.
    Nothing,
    /// It reads no view, so it does not wait. Its answer has the position of the views, from which a stream of
    /// changes can continue.
    NothingAtPosition,
}

/// Whether a request is carried out once under its `Idempotency-Key`, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keying {
    /// It is, if the operation is a `POST` by an authenticated caller.
    Honored,
    /// The key is ignored: nothing is recorded, so nothing could be done twice; or each repeat must be recorded.
    PassedOver,
}

/// Which conditions a write honors. Others are rejected, because a caller that sends one wants nothing done
/// if it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conditional {
    /// None: the write changes nothing that can be read at its path.
    Nothing,
    /// `If-Match`: the write changes an existing resource.
    Change,
    /// `If-Match`, and `If-None-Match: *`: the write creates or changes a resource.
    MakingOrChange,
}

/// Whether an operation brings in data that the node needs memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Free memory is required before the body is read.
    Demanded,
    /// It is not: reading, cancelling and setting must keep working when memory is short.
    None,
}

/// Whether an operation serves the session of a link, which is for one inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkSessions {
    /// It does, for that inquiry.
    Served,
    /// It does not.
    Refused,
}

/// A request header that not every route honors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HonoredHeader {
    /// How long to wait for the end.
    Prefer,
    /// Not to wait for the end.
    PreferAsync,
    /// Where a stream continues.
    LastEventId,
    /// The part of a file.
    Range,
    /// The file that the range is meant for.
    IfRange,
    /// The version that the caller already has.
    IfNoneMatch,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// None.
    Nothing,
    /// No content: `{}`, or no body.
    Empty,
    /// JSON, which can be left out if it has a default.
    Json {
        /// Its schema.
        schema: SchemaOf,
        /// An example, as callers send it.
        example: &'static str,
        /// Whether a body is required.
        presence: BodyPresence,
    },
    /// Any JSON; the sender chooses its form.
    AnyJson {
        /// An example, as callers send it.
        example: &'static str,
    },
    /// JSON, or another format.
    JsonOr {
        /// The schema of the JSON.
        schema: SchemaOf,
        /// An example, as callers send it.
        example: &'static str,
        /// The media types of the other formats, each with a description.
        others: &'static [(&'static str, &'static str)],
    },
}

/// Whether a body is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPresence {
    /// It is required.
    Required,
    /// It may be left out.
    Optional,
}

/// A successful answer.
#[derive(Clone, Copy)]
pub(crate) struct SuccessAnswer {
    /// Its status.
    pub(crate) status: u16,
    /// Its meaning.
    pub(crate) means: &'static str,
    /// Its body.
    pub(crate) content: Content,
    /// Its headers.
    pub(crate) headers: &'static [Header],
}

/// The body of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// None.
    Nothing,
    /// JSON.
    Json(SchemaOf),
    /// JSON under these media types, chosen by the caller's `Accept`.
    JsonForms(&'static [(&'static str, SchemaOf)]),
    /// JSON, plain text, or Server-Sent Events with JSON data, chosen by the caller's `Accept`.
    JsonTextOrEvents {
        /// The schema of the JSON.
        json: SchemaOf,
        /// The schema of the data of an event.
        data: SchemaOf,
    },
    /// JSON, or text of other media types, chosen by the caller's `Accept`.
    JsonOrText {
        /// The schema of the JSON.
        json: SchemaOf,
        /// The other media types.
        text: &'static [&'static str],
    },
    /// Text of these media types.
    Text(&'static [&'static str]),
    /// Server-Sent Events, whose data is JSON.
    Events(SchemaOf),
    /// A file.
    File,
}

/// A response header, in addition to those that every answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The position at which the write is visible.
    Position,
    /// The earlier position that the answer is about.
    AsOf,
    /// The path of the resource.
    Location,
    /// The next page.
    Link,
    /// The preference that was honored.
    PreferenceApplied,
    /// When to retry.
    RetryAfter,
    /// The digest of the answer, of the file, or of the value that a write has set.
    ETag,
    /// The range of the file that is returned.
    ContentRange,
    /// The name to save a file under.
    ContentDisposition,
    /// The methods that the path supports.
    Allow,
    /// The sender that may send deliveries here.
    AllowedOrigin,
    /// How many deliveries are allowed per minute.
    AllowedRate,
}

impl Operation {
    /// Creates an operation with a name and a summary.
    pub(crate) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            query: &[],
            strangers: Strangers::Refused,
            honors: &[],
            waits_for: WaitsFor::Nothing,
            sharing: Sharing::Nobody,
            keying: Keying::Honored,
            conditional: Conditional::Nothing,
            admission: Admission::None,
            links: LinkSessions::Refused,
            takes: Takes::Nothing,
            gives: [None; GIVEN_MAX],
            refuses: &[],
        }
    }

    /// Creates an operation that reads one resource.
    pub(crate) const fn shows<T: JsonSchema>(id: &'static str, summary: &'static str) -> Self {
        Self::new(id, summary).gives::<T>(200, "The event.", &[])
    }

    /// Creates an operation that reads a page of a list.
    pub(crate) const fn lists<T: JsonSchema>(id: &'static str, summary: &'static str, query: ParameterGroups) -> Self {
        Self::new(id, summary).with_query(query).gives::<WireList<T>>(200, "A page of the list.", &[Header::Link])
    }

    /// Sets the query parameters.
    pub(crate) const fn with_query(self, query: ParameterGroups) -> Self {
        Self { query, ..self }
    }

    /// Ignores unknown query parameters.
    pub(crate) const fn passes_strangers_over(self) -> Self {
        Self { strangers: Strangers::PassedOver, ..self }
    }

    /// Supports dry runs.
    pub(crate) const fn can_be_tried(self) -> Self {
        self.with_query(&[DryRunQuery::PARAMETERS]).gives_content(
            204,
            "A dry run: the request is valid, and nothing was changed.",
            Content::Nothing,
            &[],
        )
    }

    /// Sets the headers that it honors.
    pub(crate) const fn honors(self, honors: &'static [HonoredHeader]) -> Self {
        Self { honors, ..self }
    }

    /// Marks it as reading views: a caller that has seen a position is answered once the views have reached
    /// it.
    pub(crate) const fn sees_views(self) -> Self {
        Self { waits_for: WaitsFor::Views, ..self }
    }

    /// Adds the position of the views to the answer, although it reads none.
    pub(crate) const fn has_position(self) -> Self {
        Self { waits_for: WaitsFor::NothingAtPosition, ..self }
    }

    /// Gives an answer to all callers with the same rights who ask at about the same time. Nothing in it may depend on the caller
    /// beside the rights, except a cursor, and nothing on what the views do not have.
    pub(crate) const fn is_shared(self) -> Self {
        Self { sharing: Sharing::ByRights, ..self }
    }

    /// Ignores `Idempotency-Key`, because the operation records nothing, or each repeat of it.
    pub(crate) const fn passes_keys_over(self) -> Self {
        Self { keying: Keying::PassedOver, ..self }
    }

    /// Honors conditions on the resource at its path, which the operation changes.
    pub(crate) const fn honors_conditions(self, conditional: Conditional) -> Self {
        Self { conditional, ..self }
    }

    /// Sets the request body.
    pub(crate) const fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// Sets a JSON request body.
    pub(crate) const fn takes_json<T: JsonSchema>(self, example: &'static str) -> Self {
        self.takes(Takes::Json { schema: schema_of::<T>, example, presence: BodyPresence::Required })
    }

    /// Adds a JSON answer.
    pub(crate) const fn gives<T: JsonSchema>(self, status: u16, means: &'static str, headers: &'static [Header]) -> Self {
        self.gives_content(status, means, Content::Json(schema_of::<T>), headers)
    }

    /// Adds an answer that is not JSON.
    pub(crate) const fn gives_content(mut self, status: u16, means: &'static str, content: Content, headers: &'static [Header]) -> Self {
        let mut at = 0;
        while self.gives[at].is_some() {
            at += 1;
        }
        self.gives[at] = Some(SuccessAnswer { status, means, content, headers });
        self
    }

    /// Serves sessions that are for one inquiry.
    pub(crate) const fn serves_links(self) -> Self {
        Self { links: LinkSessions::Served, ..self }
    }

    /// Requires free memory for the input.
    pub(crate) const fn demands_admission(self) -> Self {
        Self { admission: Admission::Demanded, ..self }
    }

    /// Sets the problems in addition to those that every route of its kind has.
    pub(crate) const fn refuses(self, refuses: &'static [(u16, &'static str)]) -> Self {
        Self { refuses, ..self }
    }

    /// Reports whether it changes anything: the answer then names the position of the change.
    pub(crate) fn is_write(&self) -> bool {
        self.gives.iter().flatten().any(|given| given.headers.contains(&Header::Position))
    }

    /// Reports whether it has these query parameters.
    pub(crate) fn has_query(&self, parameters: &[Parameter]) -> bool {
        let has = |name: &str| self.query.iter().copied().flatten().any(|own| own.name == name);
        parameters.iter().all(|parameter| has(parameter.name))
    }

    /// Renames it.
    pub(crate) const fn with_id(self, id: &'static str) -> Self {
        Self { id, ..self }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Generates the schema of a type, as a reference by its name.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
