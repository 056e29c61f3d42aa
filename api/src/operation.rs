//! What callers are told of a route: its name, its parameters, what it takes and gives, and what it refuses.
//!
//! The parameters are the closed list that a request is held to; the rest is held to what the API really answers by its tests.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::wire::WireList;

/// The most answers of one operation that went well.
const GIVEN_MAX: usize = 4;

/// The headers of an answer that says that something was written.
pub(crate) const WRITTEN: &[Header] = &[Header::Position];
/// Those of one that says that something was made.
pub(crate) const MADE: &[Header] = &[Header::Position, Header::Location];
/// Those of one that says that a value was set.
pub(crate) const SET: &[Header] = &[Header::Position, Header::Location, Header::ETag];

/// Writes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What callers are told of a route.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// Its name: `<noun>_<verb>`.
    pub(crate) id: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// The parameters of the query.
    pub(crate) query: &'static [&'static str],
    /// What becomes of others.
    pub(crate) strangers: Strangers,
    /// The headers that it heeds, besides those that every route does.
    pub(crate) heeds: &'static [Heeded],
    /// What must be seen before it is answered.
    pub(crate) sight: Sight,
    /// What becomes of a request's `Idempotency-Key`.
    pub(crate) keying: Keying,
    /// Which conditions of a write it heeds.
    pub(crate) conditional: Conditional,
    /// Whether the node must have memory for what comes in.
    pub(crate) admission: Admission,
    /// The body.
    pub(crate) takes: Takes,
    /// The answers that are no problem.
    pub(crate) gives: [Option<Given>; GIVEN_MAX],
    /// Problems that not every route of its kind has: the status and the code.
    pub(crate) refuses: &'static [(u16, &'static str)],
}

/// What becomes of parameters that an operation does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// They are refused, so that a mistake in one is not taken for its absence.
    Refused,
    /// They are passed over: probes and senders of deliveries add what is their own.
    PassedOver,
}

/// What a request may ask to be seen before it is answered, with the position of an earlier write in its `Ensue-Position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The views have come so far.
    OfViews,
    /// It reads no view: it waits for nothing.
    None,
}

/// Whether a request is carried out once under its `Idempotency-Key`, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keying {
    /// It is, where the operation is a `POST` of somebody who is known.
    Heeded,
    /// The key is passed over: nothing is recorded, so there is nothing that could be done twice.
    PassedOver,
}

/// Which conditions a write heeds. Others are refused, for whoever sends one wants nothing done where it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conditional {
    /// None: nothing that is read at its path is changed.
    Nothing,
    /// `If-Match`: it changes what is there.
    Change,
    /// `If-Match`, and `If-None-Match: *`: it makes what is not there.
    MakingOrChange,
}

/// Whether an operation brings in what the node must have memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is asked for before the body is read.
    Demanded,
    /// It is not: what is read, cancelled or set must go on being so where memory is short.
    None,
}

/// A header of a request that not every route heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heeded {
    /// How long to wait for the end.
    Prefer,
    /// Where a stream goes on.
    LastEventId,
    /// The part of a file.
    Range,
    /// For which file the part is meant.
    IfRange,
    /// What the caller has already.
    IfNoneMatch,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// None.
    Nothing,
    /// None that says anything: `{}`, or none.
    Empty,
    /// JSON, which may be left out where it has a default.
    Json {
        /// Its schema.
        schema: SchemaOf,
        /// One as callers send it.
        example: &'static str,
        /// Whether there must be one.
        presence: Presence,
    },
    /// Any JSON: what it is, the sender says.
    AnyJson {
        /// One as callers send it.
        example: &'static str,
    },
    /// JSON, or another form.
    JsonOr {
        /// The schema of the JSON.
        schema: SchemaOf,
        /// One as callers send it.
        example: &'static str,
        /// The media types of the other forms, and what each is.
        others: &'static [(&'static str, &'static str)],
    },
}

/// Whether a body must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
}

/// An answer that is no problem.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    /// Its status.
    pub(crate) status: u16,
    /// What it means.
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
    /// JSON under these media types, as the caller accepts it.
    JsonForms(&'static [(&'static str, SchemaOf)]),
    /// JSON, or text of these media types, as the caller accepts it.
    JsonOrText(SchemaOf, &'static [&'static str]),
    /// Text of these media types.
    Text(&'static [&'static str]),
    /// A file.
    File,
}

/// A header of an answer, besides those that every answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The position that shows what was written.
    Position,
    /// Where it is found.
    Location,
    /// The next page.
    Link,
    /// Which preference was heeded.
    PreferenceApplied,
    /// When to ask again.
    RetryAfter,
    /// The digest of what is answered, of the file, or of what a write has set.
    ETag,
    /// The part of a file that it is.
    ContentRange,
    /// The name to save a file under.
    ContentDisposition,
    /// The methods that the path knows.
    Allow,
    /// Who may send deliveries here.
    AllowedOrigin,
    /// How many deliveries a minute.
    AllowedRate,
}

impl Operation {
    /// Names an operation, and says what it does.
    pub(crate) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            query: &[],
            strangers: Strangers::Refused,
            heeds: &[],
            sight: Sight::None,
            keying: Keying::Heeded,
            conditional: Conditional::Nothing,
            admission: Admission::None,
            takes: Takes::Nothing,
            gives: [None; GIVEN_MAX],
            refuses: &[],
        }
    }

    /// Reads one thing.
    pub(crate) const fn shows<T: JsonSchema>(id: &'static str, summary: &'static str) -> Self {
        Self::new(id, summary).gives::<T>(200, "The event.", &[])
    }

    /// Reads a page of a list.
    pub(crate) const fn lists<T: JsonSchema>(id: &'static str, summary: &'static str, query: &'static [&'static str]) -> Self {
        Self::new(id, summary).asked(query).gives::<WireList<T>>(200, "A page of the list.", &[Header::Link])
    }

    /// Says which parameters there are.
    pub(crate) const fn asked(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    /// Passes over parameters that it does not know.
    pub(crate) const fn passes_strangers_over(self) -> Self {
        Self { strangers: Strangers::PassedOver, ..self }
    }

    /// Can be tried without being done.
    pub(crate) const fn can_be_tried(self) -> Self {
        self.asked(&["dry_run"]).gives_content(204, "A dry run: the request is valid, and nothing was changed.", Content::Nothing, &[])
    }

    /// Says which headers it heeds.
    pub(crate) const fn heeds(self, heeds: &'static [Heeded]) -> Self {
        Self { heeds, ..self }
    }

    /// Says that it reads views: who has seen a position is answered once they have come so far.
    pub(crate) const fn sees_views(self) -> Self {
        Self { sight: Sight::OfViews, ..self }
    }

    /// The same, which records nothing.
    pub(crate) const fn passes_keys_over(self) -> Self {
        Self { keying: Keying::PassedOver, ..self }
    }

    /// Changes what is read at its path, where that is as its caller demands.
    pub(crate) const fn heeds_conditions(self, conditional: Conditional) -> Self {
        Self { conditional, ..self }
    }

    /// Takes a body.
    pub(crate) const fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// Takes JSON.
    pub(crate) const fn takes_json<T: JsonSchema>(self, example: &'static str) -> Self {
        self.takes(Takes::Json { schema: schema_of::<T>, example, presence: Presence::Required })
    }

    /// Gives JSON.
    pub(crate) const fn gives<T: JsonSchema>(self, status: u16, means: &'static str, headers: &'static [Header]) -> Self {
        self.gives_content(status, means, Content::Json(schema_of::<T>), headers)
    }

    /// Gives something else than JSON.
    pub(crate) const fn gives_content(mut self, status: u16, means: &'static str, content: Content, headers: &'static [Header]) -> Self {
        let mut at = 0;
        while self.gives[at].is_some() {
            at += 1;
        }
        self.gives[at] = Some(Given { status, means, content, headers });
        self
    }

    /// Brings in what the node must have memory for.
    pub(crate) const fn demands_admission(self) -> Self {
        Self { admission: Admission::Demanded, ..self }
    }

    /// Says what it refuses besides what every route of its kind does.
    pub(crate) const fn refuses(self, refuses: &'static [(u16, &'static str)]) -> Self {
        Self { refuses, ..self }
    }

    /// Says whether it changes anything: an answer then names the position of it.
    pub(crate) fn is_write(&self) -> bool {
        self.gives.iter().flatten().any(|given| given.headers.contains(&Header::Position))
    }

    /// Gives it another name.
    pub(crate) const fn named(self, id: &'static str) -> Self {
        Self { id, ..self }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Writes the schema of a type, by its name.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
