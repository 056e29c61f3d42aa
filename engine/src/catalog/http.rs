//! HTTP requests as actions and sensors describe them.

use ensue_derive::Names;
use ensue_expression::Template;

use crate::catalog::{TextDecoding, UsedConnection};

/// An HTTP request to make.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The connection whose server it goes to. Its `url` is then a path below the address of the connection.
    pub connection: Option<UsedConnection>,
    /// What it has instead if that connection is optional and has no value.
    pub without_connection: Option<Box<WithoutConnection>>,
    /// The URL: exactly one expression for the whole URL, or a literal with percent-encoded interpolations.
    pub url: Template,
    /// The method; `GET` by default.
    pub method: Template,
    /// The headers: an object of strings.
    pub headers: Template,
    /// The query: an object of strings, appended to the query of the URL.
    pub query: Template,
    /// The request body.
    pub body: HttpBody,
    /// The name of the [`AnswerForm`] that the answer has; without it, or if it is null, its content type decides.
    pub parse: Option<Template>,
    /// How the answer becomes text, if it is read as text or JSON.
    pub text_decoding: TextDecoding,
    /// How it is signed.
    pub signing: Option<RequestSigning>,
}

/// How a request is signed.
#[derive(Clone, Debug)]
pub struct RequestSigning {
    /// The scheme.
    pub scheme: SigningScheme,
    /// The key, as one expression.
    pub key: Template,
}

/// The schemes that sign a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum SigningScheme {
    /// Standard Webhooks: the id, the time and the body, with an HMAC.
    Standard,
}

/// What the body of an answer becomes in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum AnswerForm {
    /// The JSON value.
    Json,
    /// The text.
    Text,
    /// A text with the bytes in Base64.
    Base64,
    /// An object that names the artifact with the bytes.
    Artifact,
}

/// The body of an HTTP request.
#[derive(Clone, Debug)]
pub enum HttpBody {
    /// Nothing.
    None,
    /// A value, as JSON; null sends nothing.
    Json(Template),
    /// A text; null sends nothing.
    Text(Template),
    /// The fields of a form; an object with none sends nothing.
    Form(Template),
    /// Whichever of the two is not null. If both are set, the attempt fails.
    Either {
        /// A value, as JSON.
        json: Template,
        /// A text.
        text: Template,
    },
}

/// What a request has instead of a connection that has no value.
#[derive(Clone, Debug)]
pub struct WithoutConnection {
    /// The whole URL.
    pub url: Template,
    /// Further headers: an object of strings.
    pub headers: Template,
    /// Further fields of the body, which is then a JSON object.
    pub json: Option<Template>,
}

/// Whose address a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// That of its connection, or one below it.
    Connection,
    /// Its own.
    Own,
}

impl HttpRequest {
    /// Returns what the request has instead of a connection, if it goes to its own address.
    pub fn instead(&self, route: Route) -> Option<&WithoutConnection> {
        match route {
            Route::Connection => None,
            Route::Own => self.without_connection.as_deref(),
        }
    }

    /// Returns the URL, or the path below the connection.
    pub fn url(&self, route: Route) -> &Template {
        self.instead(route).map_or(&self.url, |instead| &instead.url)
    }

    /// Returns what is computed to send it. Of what it has instead of a connection, and of the path below one, that is only
    /// the one that is sent.
    pub fn templates(&self, route: Route) -> Vec<&Template> {
        let mut templates = vec![self.url(route), &self.method, &self.headers, &self.query];
        match &self.body {
            HttpBody::None => {}
            HttpBody::Json(template) | HttpBody::Text(template) | HttpBody::Form(template) => templates.push(template),
            HttpBody::Either { json, text } => templates.extend([json, text]),
        }
        templates.extend(&self.parse);
        templates.extend(self.signing.as_ref().map(|signing| &signing.key));
        if let Some(instead) = self.instead(route) {
            templates.push(&instead.headers);
            templates.extend(&instead.json);
        }
        templates
    }

    /// Returns everything that is computed on either route.
    pub fn all_templates(&self) -> Vec<&Template> {
        let mut templates = self.templates(Route::Own);
        if self.without_connection.is_some() {
            templates.push(&self.url);
        }
        templates
    }
}
