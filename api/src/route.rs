//! A route: its method, its path, what it demands of its caller, and what callers are told of it.
//!
//! Which routes there are is `routes.rs`'s. What is public is the closed list [`Public`].

use axum::http::Method;

use crate::operation::{Content, Keying, Operation};
use crate::sse::EVENT_STREAM;

/// Where the API stands.
pub const BASE: &str = "/api/v1";
/// The path of the inquiries: each is read below it, by its id.
pub const INQUIRIES: &str = "/api/v1/inquiries";
/// The operation that lists inquiries.
pub(crate) const INQUIRY_LIST: &str = "inquiry_list";

/// What needs no token: nothing else ever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// Whether the process lives.
    Livez,
    /// The same, under a name that many expect.
    Health,
    /// Whether the node can serve.
    Readyz,
    /// The same, under a name that many expect.
    Ready,
    /// The webhook door: a delivery proves itself by its signature.
    Hook,
    /// Whether deliveries are wanted there: what is declared to be a webhook says that they are.
    HookConsent,
    /// The release.
    Status,
    /// The list of the pages about errors.
    ErrorPages,
    /// A page about an error.
    ErrorPage,
    /// The OpenAPI document as a page.
    Docs,
    /// The OpenAPI document.
    OpenApi,
}

impl Public {
    /// Lists all of it.
    pub const ALL: [Self; 11] = [
        Self::Livez,
        Self::Health,
        Self::Readyz,
        Self::Ready,
        Self::Hook,
        Self::HookConsent,
        Self::Status,
        Self::ErrorPages,
        Self::ErrorPage,
        Self::Docs,
        Self::OpenApi,
    ];

    /// Gives the method.
    pub fn method(self) -> Method {
        match self {
            Self::Hook => Method::POST,
            Self::HookConsent => Method::OPTIONS,
            Self::Livez
            | Self::Health
            | Self::Readyz
            | Self::Ready
            | Self::Status
            | Self::ErrorPages
            | Self::ErrorPage
            | Self::Docs
            | Self::OpenApi => Method::GET,
        }
    }

    /// Gives the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Health => "/health",
            Self::Readyz => "/readyz",
            Self::Ready => "/ready",
            Self::Hook | Self::HookConsent => "/hooks/{pack}/{sensor}",
            Self::Status => "/api/v1/public/status",
            Self::ErrorPages => "/docs/errors",
            Self::ErrorPage => "/docs/errors/{slug}",
            Self::Docs => "/docs",
            Self::OpenApi => "/api/v1/openapi.json",
        }
    }
}

/// A row of the table of routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// What it demands.
    pub demands: Demand,
    /// What callers are told of it.
    pub(crate) operation: Operation,
}

impl Route {
    /// Says whether requests heed an `Idempotency-Key`: deliveries have a key of their sender's.
    pub(crate) fn may_be_keyed(&self) -> bool {
        self.demands != Demand::Nothing && is_keyed(&self.method, &self.operation)
    }

    /// Says whether requests count to a rate of their caller, where one is set.
    pub(crate) fn is_counted(&self) -> bool {
        // What takes deliveries is the one public route by which anything is written.
        self.demands != Demand::Nothing || is_write(&self.method)
    }

    /// Says whether requests may demand something of what they change, and are refused where that is not looked at.
    pub(crate) fn looks_at_conditions(&self) -> bool {
        is_write(&self.method) && self.demands != Demand::Nothing
    }

    /// Says whether answers are coded as `Accept-Encoding` prefers, where they are long enough: what is read, whole and text.
    pub(crate) fn is_coded(&self) -> bool {
        let is_text = |content| match content {
            Content::Json(_) | Content::JsonForms(_) | Content::JsonOrText(..) => true,
            Content::Text(media) => media.iter().any(|media| *media != EVENT_STREAM),
            Content::Nothing | Content::File => false,
        };
        self.method == Method::GET && self.operation.gives.iter().flatten().any(|given| is_text(given.content))
    }

    /// Says whether answers have a tag of their bytes, and `If-None-Match` is heeded: what is read as JSON.
    pub(crate) fn is_tagged(&self) -> bool {
        let gives_json = |content| matches!(content, Content::Json(_) | Content::JsonForms(_) | Content::JsonOrText(..));
        let given = self.operation.gives.iter().flatten();
        let is_read = self.method == Method::GET && self.demands != Demand::Nothing;
        is_read && given.into_iter().any(|given| given.status == 200 && gives_json(given.content))
    }
}

/// What a route demands of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A permission.
    Permission {
        /// What it is about.
        noun: &'static str,
        /// What may be done with it.
        verb: &'static str,
    },
}

/// Returns the template of a path; none where no route has such a path.
pub(crate) fn template<'t>(table: &'t [Route], path: &str) -> Option<&'t str> {
    let is_open = |part: &str| part.starts_with('{');
    let fits = |template: &str| {
        let mut parts = path.split('/');
        let all =
            template.split('/').all(|wanted| parts.next().is_some_and(|part| part == wanted || (is_open(wanted) && !part.is_empty())));
        all && parts.next().is_none()
    };
    let fitting = table.iter().map(|route| route.path.as_str()).filter(|template| fits(template));
    // What is written out goes before what stands for anything, as in the router.
    fitting.min_by_key(|template| template.split('/').map(is_open).collect::<Vec<_>>())
}

/// Says whether requests of callers who are known are carried out once under their keys.
pub(crate) fn is_keyed(method: &Method, operation: &Operation) -> bool {
    *method == Method::POST && operation.keying == Keying::Heeded
}

/// Says whether a method is one by which something may be changed.
pub(crate) fn is_write(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::DELETE)
}
