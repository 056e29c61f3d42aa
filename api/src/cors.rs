//! Which pages of other sites may read answers in a browser (CORS): those of the listed origins, and without
//! credentials of the browser's own.

use std::fmt;
use std::str::FromStr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use thiserror::Error;

/// The methods that a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
/// The headers that a page may send.
const SENT: HeaderValue = HeaderValue::from_static(
    "accept, authorization, content-type, ensue-position, idempotency-key, if-match, if-none-match, last-event-id, prefer, range, \
     traceparent, tracestate, x-request-id",
);
/// The headers of an answer that a page may read.
const READ: HeaderValue = HeaderValue::from_static(
    "content-range, ensue-as-of, ensue-position, etag, location, preference-applied, ratelimit, ratelimit-policy, retry-after, traceparent, \
     x-request-id",
);
/// How many seconds a browser remembers what is allowed.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The origin of a page: a scheme, a host, and a port if it is not the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// An invalid origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the origin of a page like https://app.example.test, without a path and without `*`")]
pub struct OriginInvalid;

impl FromStr for Origin {
    type Err = OriginInvalid;

    fn from_str(text: &str) -> Result<Self, OriginInvalid> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(OriginInvalid)?;
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(OriginInvalid),
        };
        let url: Uri = text.parse().map_err(|_| OriginInvalid)?;
        let is_bare = url.authority().is_some_and(|given| given.as_str() == authority) && !authority.contains(['@', '*']);
        let has_valid_port = url.host() == Some(authority) || url.port_u16().is_some();
        if !is_bare || !has_valid_port || url.host().is_none_or(str::is_empty) {
            return Err(OriginInvalid);
        }
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        HeaderValue::try_from(format!("{scheme}://{authority}")).map(Self).map_err(|_| OriginInvalid)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// The origins whose pages may read answers; without any, CORS is off.
#[derive(Clone, Debug, Default)]
pub struct Cors(Vec<Origin>);

impl Cors {
    /// Allows pages of these origins.
    pub fn of(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Returns the answer to a browser that asks whether a page may send a request; `None` if the request is another.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let asks = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        self.allowed_origin(request.headers()).filter(|_| asks && is_for_pages(request.uri().path()))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answered = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ];
        response.headers_mut().extend(answered);
        Some(response)
    }

    /// Returns the CORS headers of the answer to a request.
    pub(crate) fn headers<B>(&self, request: &Request<B>) -> PageHeaders {
        if self.0.is_empty() || !is_for_pages(request.uri().path()) {
            return PageHeaders::Nothing;
        }
        PageHeaders::Of(self.allowed_origin(request.headers()).map(|Origin(origin)| origin.clone()))
    }

    fn allowed_origin(&self, headers: &HeaderMap) -> Option<&Origin> {
        let mut given = headers.get_all(header::ORIGIN).iter();
        let origin = given.next().filter(|_| given.next().is_none())?;
        self.0.iter().find(|Origin(allowed)| allowed == origin)
    }
}

/// The CORS headers of an answer.
pub(crate) enum PageHeaders {
    /// CORS is off.
    Nothing,
    /// The origin that is allowed; `None` if that of the request is not.
    Of(Option<HeaderValue>),
}

impl PageHeaders {
    /// Writes it to the headers of the answer.
    pub(crate) fn write_to(self, headers: &mut HeaderMap) {
        let Self::Of(allowed) = self else { return };
        // A cache must not return the answer for one origin to a page of another.
        headers.append(header::VARY, HeaderValue::from(header::ORIGIN));
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}

/// Deliveries come from servers.
fn is_for_pages(path: &str) -> bool {
    !path.starts_with("/hooks/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_written_as_browsers_write_it() {
        for (written, origin) in [
            ("https://App.example.test", "https://app.example.test"),
            ("https://app.example.test:443", "https://app.example.test"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(written.parse::<Origin>().unwrap().to_string(), origin);
        }
        let bad = ["*", "null", "", "https://", "app.example.test", "https://*.example.test", "https://a.test/", "https://a.test/x"];
        for text in bad.into_iter().chain(["https://ada@a.test", "file://x", "https://a.test?x", "https://a b", "https://a.test:x"]) {
            assert_eq!(text.parse::<Origin>(), Err(OriginInvalid), "{text}");
        }
    }

    fn ask_preflight(cors: &Cors, path: &str, origins: &[&str]) -> Option<String> {
        let mut request = Request::builder().method("OPTIONS").uri(path).header("access-control-request-method", "POST");
        for origin in origins {
            request = request.header("origin", *origin);
        }
        let request = request.body(()).unwrap();
        let mut response = cors.preflight(&request)?;
        cors.headers(&request).write_to(response.headers_mut());
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
        Some(response.headers()["access-control-allow-origin"].to_str().unwrap().to_owned())
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        let cors = Cors::of(vec!["https://ok.com".parse().unwrap()]);
        assert_eq!(ask_preflight(&cors, "/api/v1/events", &["https://ok.com"]).as_deref(), Some("https://ok.com"));
        for other in ["null", "https://evil.com", "https://ok.com.evil.com", "http://ok.com", "https://ok.com:8443", "https://OK.com", "*"]
        {
            assert_eq!(ask_preflight(&cors, "/api/v1/events", &[other]), None, "{other}");
        }
        assert_eq!(ask_preflight(&cors, "/api/v1/events", &["https://ok.com", "https://evil.com"]), None);
        assert_eq!(ask_preflight(&cors, "/hooks/demo/door", &["https://ok.com"]), None);
        assert_eq!(ask_preflight(&Cors::default(), "/api/v1/events", &["https://ok.com"]), None);
    }
}
