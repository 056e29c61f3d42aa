//! Requests as spans, by the stable OpenTelemetry conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>): requests that the node answers and
//! requests that actions send.

use ensue_api::ports::{AnsweredRequest, Spans};
use ensue_engine::time::Timestamp;
use ensue_engine::trace::Sampler;
use ensue_executor::{RequestSpans, SentRequest};

use super::span::{Kind, Span, Value};
use super::waiting_spans::WaitingSpans;

/// The methods that spans of answered requests name.
const KNOWN_METHODS: [&str; 4] = ["DELETE", "PATCH", "POST", "PUT"];
/// The method attribute for any other method.
const OTHER_METHOD: &str = "_OTHER";
/// The word for such a method in a span's name.
const OTHER_NAME: &str = "HTTP";
/// The port of a request that names none.
const HTTP_PORT: u16 = 80;
/// The default port of HTTP over TLS.
const HTTPS_PORT: u16 = 443;

impl Spans for WaitingSpans {
    fn sampler(&self) -> Sampler {
        self.sampler
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn note_answered(&self, request: AnsweredRequest) {
        self.push(of_answered(request, self.clock.now()));
    }
}

impl RequestSpans for WaitingSpans {
    fn note_request(&self, request: SentRequest) {
        self.push(of_sent(request));
    }
}

fn of_answered(request: AnsweredRequest, now: Timestamp) -> Span {
    let method = KNOWN_METHODS.into_iter().find(|known| *known == request.method);
    let mut attributes = vec![
        ("http.request.method", Value::Text(method.unwrap_or(OTHER_METHOD).to_owned())),
        ("url.scheme", Value::Text(request.scheme.to_owned())),
        ("url.path", Value::Text(request.path)),
        ("http.response.status_code", Value::Number(request.status.into())),
    ];
    let name = method.unwrap_or(OTHER_NAME);
    let name = request.route.as_ref().map_or_else(|| name.to_owned(), |route| format!("{name} {route}"));
    if method.is_none() {
        attributes.push(("http.request.method_original", Value::Text(request.method)));
    }
    attributes.extend(request.route.map(|route| ("http.route", Value::Text(route))));
    if let Some((host, port)) = request.server {
        attributes.push(("server.address", Value::Text(host)));
        attributes
            .push(("server.port", Value::Number(port.unwrap_or(if request.scheme == "https" { HTTPS_PORT } else { HTTP_PORT }).into())));
    }
    attributes.extend(request.client.map(|client| ("client.address", Value::Text(client.to_string()))));
    // A rejected request is an error of the caller, not of the node.
    let is_error = request.status >= 500;
    if is_error {
        attributes.push(("error.type", Value::Text(request.status.to_string())));
    }
    Span {
        trace: request.span.trace(),
        id: request.span.span(),
        parent: request.parent,
        name,
        kind: Kind::Server,
        from: request.from,
        // The clock may have been set back in the meantime.
        until: now.max(request.from),
        error: is_error.then(String::new),
        attributes,
    }
}

fn of_sent(request: SentRequest) -> Span {
    let mut attributes = vec![("http.request.method", Value::Text(request.method.to_owned())), ("url.full", Value::Text(request.url))];
    if let Some((host, port)) = request.server {
        attributes.push(("server.address", Value::Text(host)));
        attributes.push(("server.port", Value::Number(port.into())));
    }
    if request.redirects > 0 {
        attributes.push(("http.request.resend_count", Value::Number(request.redirects.into())));
    }
    attributes.extend(request.status.map(|status| ("http.response.status_code", Value::Number(status.into()))));
    let refused = request.status.filter(|status| *status >= 400).map(|status| status.to_string());
    let error = request.error.map(str::to_owned).or(refused);
    let is_error = error.is_some();
    attributes.extend(error.map(|error| ("error.type", Value::Text(error))));
    Span {
        trace: request.span.trace(),
        id: request.span.span(),
        parent: Some(request.parent),
        name: if request.method == OTHER_METHOD { OTHER_NAME.to_owned() } else { request.method.to_owned() },
        kind: Kind::Client,
        from: request.from,
        until: request.until,
        error: is_error.then(String::new),
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::trace::{SpanId, TraceParent};

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn trace() -> TraceParent {
        TRACE.parse().unwrap()
    }

    fn sample_answered() -> AnsweredRequest {
        AnsweredRequest {
            span: trace(),
            parent: None,
            method: "POST".to_owned(),
            route: Some("/hooks/{pack}/{sensor}".to_owned()),
            path: "/hooks/demo/door".to_owned(),
            server: Some(("ensue.example.test".to_owned(), None)),
            scheme: "http",
            client: Some([192, 0, 2, 7].into()),
            status: 202,
            from: Timestamp::from_micros(10),
        }
    }

    fn sample_sent() -> SentRequest {
        SentRequest {
            span: trace(),
            parent: SpanId::of_entropy([7; 8]),
            method: "GET",
            url: "https://a.example/x".to_owned(),
            server: Some(("a.example".to_owned(), 443)),
            status: Some(200),
            error: None,
            redirects: 0,
            from: Timestamp::from_micros(10),
            until: Timestamp::from_micros(20),
        }
    }

    fn attributes(span: &Span) -> Vec<String> {
        let written = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        };
        span.attributes.iter().map(|(key, value)| format!("{key}={}", written(value))).collect()
    }

    fn of(request: AnsweredRequest) -> Span {
        of_answered(request, Timestamp::from_micros(20))
    }

    #[test]
    fn answered_request_is_a_server_span_named_by_its_route() {
        let span = of(sample_answered());
        assert_eq!((span.name.as_str(), span.kind, span.error.is_none()), ("POST /hooks/{pack}/{sensor}", Kind::Server, true));
        let expected = [
            "http.request.method=POST",
            "url.scheme=http",
            "url.path=/hooks/demo/door",
            "http.response.status_code=202",
            "http.route=/hooks/{pack}/{sensor}",
            "server.address=ensue.example.test",
            "server.port=80",
            "client.address=192.0.2.7",
        ];
        assert_eq!(attributes(&span), expected);
    }

    #[test]
    fn request_span_without_route_or_known_method_has_a_low_cardinality_name() {
        let span = of(AnsweredRequest { route: None, method: "BREW".to_owned(), ..sample_answered() });
        assert_eq!(span.name, "HTTP");
        let attributes = attributes(&span);
        assert!(attributes.contains(&"http.request.method=_OTHER".to_owned()), "{attributes:?}");
        assert!(attributes.contains(&"http.request.method_original=BREW".to_owned()), "{attributes:?}");
    }

    #[test]
    fn answered_request_is_an_error_only_for_server_errors() {
        for (status, is_error) in [(202, false), (404, false), (429, false), (500, true), (503, true)] {
            let span = of(AnsweredRequest { status, ..sample_answered() });
            let has_type = attributes(&span).contains(&format!("error.type={status}"));
            assert_eq!((span.error.is_some(), has_type), (is_error, is_error), "{status}");
        }
    }

    #[test]
    fn sent_request_is_a_client_span_named_by_its_method() {
        let span = of_sent(sample_sent());
        assert_eq!((span.name.as_str(), span.kind, span.error.is_none()), ("GET", Kind::Client, true));
        let expected = [
            "http.request.method=GET",
            "url.full=https://a.example/x",
            "server.address=a.example",
            "server.port=443",
            "http.response.status_code=200",
        ];
        assert_eq!(attributes(&span), expected);
        assert!(attributes(&of_sent(SentRequest { redirects: 2, ..sample_sent() })).contains(&"http.request.resend_count=2".to_owned()));
    }

    #[test]
    fn sent_request_is_an_error_if_it_is_rejected_or_unanswered() {
        for (status, error, kind) in [
            (Some(404), None, Some("404")),
            (None, Some("network"), Some("network")),
            (Some(200), Some("timeout"), Some("timeout")),
            (Some(302), None, None),
        ] {
            let span = of_sent(SentRequest { status, error, ..sample_sent() });
            let found = attributes(&span).into_iter().find_map(|attribute| attribute.strip_prefix("error.type=").map(str::to_owned));
            assert_eq!((span.error.is_some(), found.as_deref()), (kind.is_some(), kind));
        }
        assert_eq!(of_sent(SentRequest { method: OTHER_METHOD, ..sample_sent() }).name, "HTTP");
    }
}
