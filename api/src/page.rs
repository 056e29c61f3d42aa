//! Serves the page: the files of the release that a browser loads, the same for every caller.
//!
//! The page is not part of the REST API. It reads and changes everything through the API's routes.

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use ensue_page::{FILES, File, LINK, SHELL};

use crate::compression::Constant;
use crate::html;
use crate::problem::{NoSuchPath, Outcome, Problem};
use crate::route::INQUIRIES;
use crate::settings::PageServing;
use crate::tags;

/// The paths of the page begin with this. Requests for them need no token: the files hold nothing of the node.
pub(crate) const PREFIX: &str = "/ui/";
/// The path at which a browser opens a link to an inquiry. The code follows as the fragment, which no server gets.
pub const ANSWER_PATH: &str = "/ui/answer";
/// Where the node sends browsers that ask for nothing in particular.
const START: &str = "/";
/// The folder of the files, each under the hash of them all: a file refers to the others of its own release.
const ASSETS: &str = "/ui/assets/";
/// The number of hexadecimal digits of the hash.
const HASH_DIGITS: usize = 16;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What the page may load, and from where: only from this node. Scripts cannot write HTML, except through the policy of Svelte,
/// and start a worker only through our own.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; \
     manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types svelte-trusted-html ensue-worker",
);
/// Browsers ask each time whether the shell has changed.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
/// A file never changes under its address.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Returns the path under which people read inquiries, each at its id: on the page if there is one, otherwise in the API.
pub fn inquiries_path(serving: PageServing) -> &'static str {
    match serving {
        PageServing::On => "/ui/inbox",
        PageServing::Off => INQUIRIES,
    }
}

/// The page as it is served.
pub(crate) struct Page {
    hash: String,
    shell: Constant,
    tag: String,
    files: Vec<(&'static File, Constant)>,
}

impl Page {
    /// Returns the page of this release.
    pub(crate) fn instance() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        for file in FILES {
            hasher.update(file.name.as_bytes()).update(&[0]).update(&(file.bytes.len() as u64).to_le_bytes()).update(file.bytes);
        }
        let hash = hasher.finalize().to_hex()[..HASH_DIGITS].to_owned();
        let shell = FILES.iter().find(|file| file.name == SHELL).map_or("", |file| std::str::from_utf8(file.bytes).unwrap_or_default());
        let shell = shell.replace(LINK, &format!("\"{ASSETS}{hash}/"));
        let files = FILES.iter().filter(|file| file.name != SHELL).map(|file| (file, Constant::new(Bytes::from_static(file.bytes))));
        Self { tag: tags::tag_of(shell.as_bytes()), shell: Constant::new(Bytes::from(shell)), files: files.collect(), hash }
    }

    /// Answers a request for the page; `None` if the request is for something else.
    pub(crate) fn answer(&self, asked: &Parts) -> Option<Outcome> {
        let path = asked.uri.path();
        if path == START && matches!(asked.method, Method::GET | Method::HEAD) && html::is_preferred(&asked.headers) {
            return Some(Ok(leading_to(PREFIX)));
        }
        let rest = if path == PREFIX.trim_end_matches('/') { None } else { Some(path.strip_prefix(PREFIX)?) };
        if !matches!(asked.method, Method::GET | Method::HEAD) {
            let mut response = Problem::method_not_allowed(&asked.method).into_response();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
            return Some(Ok(response));
        }
        let Some(rest) = rest else { return Some(Ok(leading_to(PREFIX))) };
        let answer = match rest.strip_prefix("assets/") {
            Some(asset) => self.file(asset, asked),
            None => Ok(self.shell(asked)),
        };
        Some(answer.map(with_policy))
    }

    /// Every other address of the page leads to the shell, which shows the screen of the address.
    fn shell(&self, asked: &Parts) -> Response<Body> {
        let known = asked.headers.get_all(header::IF_NONE_MATCH);
        let mut response = if tags::known_as(known.iter(), &self.tag).is_some() {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            self.shell.answer(asked, "text/html; charset=utf-8")
        };
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response.headers_mut().insert(header::CACHE_CONTROL, ASK_EACH_TIME);
        response
    }

    fn file(&self, asset: &str, asked: &Parts) -> Outcome {
        let name = asset.strip_prefix(&self.hash).and_then(|rest| rest.strip_prefix('/')).ok_or(NoSuchPath)?;
        let (file, content) = self.files.iter().find(|(file, _)| file.name == name).ok_or(NoSuchPath)?;
        let mut response = content.answer(asked, file.media_type());
        response.headers_mut().insert(header::CACHE_CONTROL, FOREVER);
        Ok(response)
    }
}

/// Adds the policy. A worker has the policy of its own file, so that every file has it.
fn with_policy(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response.headers_mut().insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn leading_to(path: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(path));
    response
}
