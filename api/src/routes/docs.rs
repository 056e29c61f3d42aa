//! The documentation of the API: the OpenAPI document, the same as a page, and the error pages, to which every
//! problem's `type` links.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

use bytes::Bytes;

use super::Routes;
use crate::call::Call;
use crate::coding::Constant;
use crate::openapi::{self, page};
use crate::operation::{Content, Operation, schema_of};
use crate::pages;
use crate::problem::{NoSuchPath, Outcome, Problem};
use crate::route::Public;
use crate::shapes;

const MARKDOWN: &str = "text/markdown";
const HTML: &str = "text/html";
/// An error page.
const PAGES: Content = Content::Text(&[MARKDOWN, HTML]);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.public(
        Public::ErrorPages,
        index,
        Operation::new("error_list", "Lists the error pages")
            .gives_content(200, "The list.", PAGES, &[])
            .refuses(&[(406, "not_acceptable")]),
    );
    routes.public(
        Public::ErrorPage,
        error,
        Operation::new("error_get", "Returns an error page")
            .gives_content(200, "The page.", PAGES, &[])
            .refuses(&[(404, "no_such_path"), (406, "not_acceptable")]),
    );
    routes.public(
        Public::Docs,
        reference,
        Operation::new("docs_get", "Returns the OpenAPI document as a page")
            .gives_content(200, "The page.", Content::Text(&[HTML]), &[])
            .refuses(&[(406, "not_acceptable")]),
    );
    routes.public(
        Public::OpenApi,
        openapi,
        Operation::new("openapi_get", "Returns this document").gives_content(
            200,
            "The document.",
            Content::Json(schema_of::<shapes::Document>),
            &[],
        ),
    );
}

/// Lists the pages.
pub(super) async fn index(call: Call) -> Outcome {
    let mut text = String::from("# Errors\n\n");
    for slug in pages::slugs() {
        text.push_str(&format!("- {}: {}/{slug}\n", pages::title(slug), pages::PREFIX));
    }
    shown(&call, "Errors", &text)
}

/// Shows a page.
pub(super) async fn error(call: Call) -> Outcome {
    let slug = pages::slugs().find(|slug| *slug == call.part("slug")).ok_or(NoSuchPath)?;
    let text = pages::page(slug).ok_or(NoSuchPath)?;
    shown(&call, pages::title(slug), text)
}

/// Returns the OpenAPI document: the stored one, which a test keeps equal to the routes.
pub(super) async fn openapi(call: Call) -> Outcome {
    static DOCUMENT: Constant = Constant::new(Bytes::from_static(openapi::KEPT.as_bytes()));
    Ok(DOCUMENT.answer(call.request(), "application/json"))
}

/// Shows the document as a page: the stored one, which a test keeps equal to the document.
pub(super) async fn reference(call: Call) -> Outcome {
    call.accepted(&[HTML])?;
    static PAGE: Constant = Constant::new(Bytes::from_static(page::KEPT.as_bytes()));
    let mut response = PAGE.answer(call.request(), "text/html; charset=utf-8");
    let policy = HeaderValue::from_str(&page::policy()).map_err(|why| Problem::bug(&why))?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Returns Markdown unchanged or, for a browser, as text on a page.
fn shown(call: &Call, title: &str, text: &str) -> Outcome {
    let media = call.accepted(&[MARKDOWN, HTML])?;
    let (content_type, body) = if media == HTML {
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{}</title><pre>{}</pre></html>",
            page::escaped(title),
            page::escaped(text)
        );
        ("text/html; charset=utf-8", page)
    } else {
        ("text/markdown; charset=utf-8", text.to_owned())
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}
