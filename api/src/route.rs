//! A route: its method, its path, the permission it requires, and its documentation.
//!
//! The table of routes is in `routes.rs`. The routes that need no token are the closed list [`Public`].

use axum::http::Method;

use crate::operation::{Content, Keying, Operation, WaitsFor};

/// The base path of the API.
pub const BASE: &str = "/api/v1";
/// The path of the inquiries; each one is at its id below it.
pub const INQUIRIES: &str = "/api/v1/inquiries";

/// The routes that need no token; every other route needs one. The files of the page need no token either. They are not routes:
/// `page.rs` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// Whether the process is alive.
    Livez,
    /// The same, under another common name.
    Health,
    /// Whether the node can serve.
    Readyz,
    /// The same, under another common name.
    Ready,
    /// The webhook endpoint: a delivery is authenticated by its signature.
    Hook,
    /// Whether deliveries are accepted there: senders of CloudEvents webhooks ask this first.
    HookConsent,
    /// The release.
    Status,
    /// The list of contents of the documentation.
    Docs,
    /// A page directly in `docs`, or the list of a section.
    DocsSection,
    /// A page of a section.
    DocsPage,
    /// The search in the documentation.
    DocsSearch,
    /// The OpenAPI document as an HTML page.
    OpenApiPage,
    /// The OpenAPI document.
    OpenApi,
    /// Opens a session of a browser.
    OpenSession,
    /// Opens a session of a program.
    Login,
    /// Exchanges a refresh token.
    Refresh,
    /// The keys that verify access tokens.
    PublicKeys,
    /// Sends a browser to an issuer.
    StartLogin,
    /// An issuer sends a browser back.
    FinishLogin,
    /// An issuer reports that a person has logged out there.
    IssuerLogout,
    /// Asks a person whether a terminal may act for them.
    ConsentPage,
    /// What the person answers.
    Consent,
    /// A terminal asks for a login that a person approves elsewhere.
    BeginDevice,
    /// The terminal asks whether somebody has approved it.
    PollDevice,
    /// The page where people type the code of a terminal.
    DevicePage,
    /// What they type there.
    DeviceForm,
    /// Sets a password with a code.
    ResetPassword,
    /// Opens the session of a link to an inquiry.
    OpenLink,
}

impl Public {
    /// All public routes.
    pub const ALL: [Self; 28] = [
        Self::Livez,
        Self::Health,
        Self::Readyz,
        Self::Ready,
        Self::Hook,
        Self::HookConsent,
        Self::Status,
        Self::Docs,
        Self::DocsSection,
        Self::DocsPage,
        Self::DocsSearch,
        Self::OpenApiPage,
        Self::OpenApi,
        Self::OpenSession,
        Self::Login,
        Self::Refresh,
        Self::PublicKeys,
        Self::StartLogin,
        Self::FinishLogin,
        Self::IssuerLogout,
        Self::ConsentPage,
        Self::Consent,
        Self::BeginDevice,
        Self::PollDevice,
        Self::DevicePage,
        Self::DeviceForm,
        Self::ResetPassword,
        Self::OpenLink,
    ];

    /// Returns the method.
    pub fn method(self) -> Method {
        match self {
            Self::Hook
            | Self::OpenSession
            | Self::Login
            | Self::Refresh
            | Self::Consent
            | Self::BeginDevice
            | Self::PollDevice
            | Self::DeviceForm
            | Self::ResetPassword
            | Self::IssuerLogout
            | Self::OpenLink => Method::POST,
            Self::HookConsent => Method::OPTIONS,
            Self::Livez
            | Self::Health
            | Self::Readyz
            | Self::Ready
            | Self::Status
            | Self::Docs
            | Self::DocsSection
            | Self::DocsPage
            | Self::DocsSearch
            | Self::OpenApiPage
            | Self::OpenApi
            | Self::PublicKeys
            | Self::StartLogin
            | Self::FinishLogin
            | Self::ConsentPage
            | Self::DevicePage => Method::GET,
        }
    }

    /// Returns the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Health => "/health",
            Self::Readyz => "/readyz",
            Self::Ready => "/ready",
            Self::Hook | Self::HookConsent => "/hooks/{pack}/{sensor}",
            Self::Status => "/api/v1/public/status",
            Self::Docs => "/docs",
            Self::DocsSection => "/docs/{section}",
            Self::DocsPage => "/docs/{section}/{page}",
            Self::DocsSearch => "/docs/search",
            Self::OpenApiPage => "/docs/reference/openapi",
            Self::OpenApi => "/api/v1/openapi.json",
            Self::OpenSession => "/api/v1/sessions",
            Self::Login => "/api/v1/auth/login",
            Self::Refresh => "/api/v1/auth/refresh",
            Self::PublicKeys => "/api/v1/auth/jwks",
            Self::StartLogin => "/api/v1/auth/oidc/start",
            Self::FinishLogin => "/api/v1/auth/oidc/callback/{issuer}",
            Self::IssuerLogout => "/api/v1/auth/oidc/logout/{issuer}",
            Self::ConsentPage | Self::Consent => "/auth/terminal",
            Self::BeginDevice => "/api/v1/auth/device",
            Self::PollDevice => "/api/v1/auth/device/token",
            Self::DevicePage | Self::DeviceForm => "/auth/device",
            Self::ResetPassword => "/api/v1/auth/reset",
            Self::OpenLink => "/api/v1/inquiries/links/open",
        }
    }

    /// Reports whether it answers requests of this method at this path.
    pub(crate) fn answers(self, method: &Method, path: &str) -> bool {
        self.method() == method && fits(self.path(), path)
    }
}

/// A row of the table of routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The permission that the route requires.
    pub demands: Demand,
    /// The documentation for callers.
    pub(crate) operation: Operation,
}

impl Route {
    /// Reports whether requests can have an `Idempotency-Key`. Deliveries have a key of their sender's
    /// instead.
    pub(crate) fn may_be_keyed(&self) -> bool {
        self.demands != Demand::Nothing && is_keyed(&self.method, &self.operation)
    }

    /// Reports whether requests can have conditions on the resource that they change; if not, conditions are
    /// rejected unchecked.
    pub(crate) fn looks_at_conditions(&self) -> bool {
        is_write(&self.method) && self.demands != Demand::Nothing
    }

    /// Reports whether answers are compressed as `Accept-Encoding` asks, if they are long enough: complete
    /// text answers of reads.
    pub(crate) fn is_coded(&self) -> bool {
        let is_text = |content| match content {
            Content::Json(_) | Content::JsonForms(_) | Content::JsonTextOrEvents { .. } | Content::JsonOrText { .. } | Content::Text(_) => {
                true
            }
            Content::Nothing | Content::Events(_) | Content::File => false,
        };
        self.method == Method::GET && self.operation.gives.iter().flatten().any(|given| is_text(given.content))
    }

    /// Reports whether answers have the position of the views.
    pub(crate) fn shows_views(&self) -> bool {
        shows_views(&self.method, &self.operation)
    }

    /// Reports whether answers have a tag of their bytes and `If-None-Match` is honored: reads that return
    /// JSON.
    pub(crate) fn is_tagged(&self) -> bool {
        self.method == Method::GET && self.demands != Demand::Nothing && gives_json(&self.operation)
    }
}

/// The permission that a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A valid token, whatever it allows.
    Token,
    /// A permission.
    Permission {
        /// The kind of resource.
        noun: &'static str,
        /// The operation on it.
        verb: &'static str,
        /// Both: `<noun>:<verb>`.
        name: &'static str,
    },
}

/// Returns the template of a path; `None` if no route has such a path.
pub(crate) fn template<'t>(table: &'t [Route], path: &str) -> Option<&'t str> {
    let fitting = table.iter().map(|route| route.path.as_str()).filter(|template| fits(template, path));
    // Literal segments take precedence over parameters, as in the router.
    fitting.min_by_key(|template| template.split('/').map(is_open).collect::<Vec<_>>())
}

fn is_open(part: &str) -> bool {
    part.starts_with('{')
}

/// Reports whether a path has the form of a template.
fn fits(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let all = template.split('/').all(|wanted| parts.next().is_some_and(|part| part == wanted || (is_open(wanted) && !part.is_empty())));
    all && parts.next().is_none()
}

/// Reports whether authenticated requests are carried out once under their keys.
pub(crate) fn is_keyed(method: &Method, operation: &Operation) -> bool {
    *method == Method::POST && operation.keying == Keying::Honored
}

/// Reports whether answers are JSON, and have the position of the views.
pub(crate) fn shows_views(method: &Method, operation: &Operation) -> bool {
    *method == Method::GET && operation.waits_for != WaitsFor::Nothing && gives_json(operation)
}

fn gives_json(operation: &Operation) -> bool {
    let is_json = |content| {
        matches!(content, Content::Json(_) | Content::JsonForms(_) | Content::JsonTextOrEvents { .. } | Content::JsonOrText { .. })
    };
    operation.gives.iter().flatten().any(|given| given.status == 200 && is_json(given.content))
}

/// Reports whether a method can change something.
pub(crate) fn is_write(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::DELETE)
}
