//! Pages for people: plain HTML that loads nothing, and runs no scripts except that of the OpenAPI document.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::call::Call;
pub(crate) use crate::openapi::page::escape_html;
use crate::problem::{Outcome, Problem};

/// The media type of pages.
pub(crate) const HTML: &str = "text/html";
/// How callers of the API authenticate.
const CHALLENGE: &str = "Bearer realm=\"ensue\"";
/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}\
button,input{font:inherit;padding:.4rem .8rem;margin:0 .5rem .5rem 0}dt{font-weight:bold}dd{margin:0 0 .5rem}";

/// Creates a page. `body` is HTML; `leads_to` is the origin outside of the node to which its form leads, if it does.
pub(crate) fn page(title: &str, body: &str, leads_to: Option<&str>) -> Outcome {
    let title = escape_html(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    );
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Browsers apply `form-action` to the redirects after a form as well.
    headers.insert(header::CONTENT_SECURITY_POLICY, policy_of(STYLE, &format!("'self' {}", leads_to.unwrap_or_default()), "'none'")?);
    // A browser that may send no referrer hides the origin of its forms, too.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

/// Returns a content security policy that allows a page its own style, forms that lead to these places, and images from those.
pub(crate) fn policy_of(style: &str, form_action: &str, img_src: &str) -> Result<HeaderValue, Problem> {
    let hash = STANDARD.encode(Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src {img_src}; form-action {}; base-uri 'none'; frame-ancestors 'none'",
        form_action.trim_end()
    );
    HeaderValue::from_str(&policy).map_err(|why| Problem::bug(&why))
}

/// Returns a policy that also allows a page one script of its own, which may call this node and nothing else.
pub(crate) fn policy_with_script(style: &str, script: &str) -> Result<HeaderValue, Problem> {
    let hash = STANDARD.encode(Sha256::digest(script));
    let policy = policy_of(style, "'none'", "'none'")?;
    let policy = policy.to_str().map_err(|why| Problem::bug(&why))?;
    HeaderValue::from_str(&format!("{policy}; script-src 'sha256-{hash}'; connect-src 'self'")).map_err(|why| Problem::bug(&why))
}

/// Shows a problem to a person, if the request comes from a browser. Programs get it as JSON.
pub(crate) fn for_people(call_accepts_html: bool, title: &str, again: &str, outcome: Outcome) -> Outcome {
    match outcome {
        Err(problem) if call_accepts_html && problem.status() != StatusCode::INTERNAL_SERVER_ERROR => {
            let detail = escape_html(problem.detail().unwrap_or_default());
            let hint = problem.hint().map(|hint| format!("<p>What to do: {}.</p>", escape_html(hint))).unwrap_or_default();
            let body = format!("<p>{detail}.</p>{hint}<p><a href=\"{}\">Start again</a></p>", escape_html(again));
            let mut response = page(title, &body, None)?;
            *response.status_mut() = problem.status();
            problem.write_headers(response.headers_mut(), CHALLENGE);
            Ok(response)
        }
        outcome => outcome,
    }
}

/// Returns true if a request asks for a page.
pub(crate) fn is_wanted(call: &Call) -> bool {
    call.headers().contains_key(header::ACCEPT)
        && call.choose_media_type(&["application/problem+json", HTML]).is_ok_and(|media| media == HTML)
}

/// Returns true if a request asks for a page before anything else, as browsers do.
pub(crate) fn is_preferred(headers: &axum::http::HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').next().is_some_and(|first| first.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(HTML)))
}

/// The fields of a form, by name.
pub(crate) struct HtmlForm(Vec<(String, String)>);

impl HtmlForm {
    /// Reads the body of a form that a page of this node sent.
    pub(crate) async fn read(call: &mut Call) -> Result<Self, Problem> {
        crate::cookies::demand_own_form(call.request())?;
        Self::of_anybody(call).await
    }

    /// Reads the body of a form that any sender may send. It must prove in the form itself who it is.
    pub(crate) async fn of_anybody(call: &mut Call) -> Result<Self, Problem> {
        let media = call.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let essence = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if !essence.eq_ignore_ascii_case(FORM.as_bytes()) {
            return Err(Problem::unsupported_media_type(&format!("`{}`", String::from_utf8_lossy(essence)), FORM));
        }
        let bytes = call.bytes().await?;
        let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let decoded = |text: &[u8]| crate::query::decode_component(&String::from_utf8_lossy(text)).unwrap_or_default();
        let field = |pair: &[u8]| {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decoded(&pair[..end]), decoded(pair.get(end + 1..).unwrap_or_default()))
        };
        Ok(Self(pairs.map(field).collect()))
    }

    /// Returns true if a field has several values.
    pub(crate) fn is_doubled(&self, name: &str) -> bool {
        self.0.iter().filter(|(known, _)| known == name).count() > 1
    }

    /// Returns the field of a name; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}
