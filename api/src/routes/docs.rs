//! The documentation with its pictures, for people and for programs that read text, and the OpenAPI document. Every problem's `type`
//! links to a page.

use std::io::Read as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use flate2::read::DeflateDecoder;

use super::Routes;
use crate::call::Call;
use crate::compression::Constant;
use crate::html::{HTML, policy_of, policy_with_script};
use crate::openapi::{self, page};
use crate::operation::{Content, Operation, schema_of};
use crate::problem::{NoSuchPath, Outcome};
use crate::query::{Query, bad};
use crate::route::Public;
use crate::shapes;
use serde_json::json;

const MARKDOWN: &str = "text/markdown";
const PNG: &str = "image/png";
const PAGES: Content = Content::Text(&[MARKDOWN, HTML]);

/// The parameter of a search.
#[derive(Query)]
struct DocsQuery {
    /// The words that a part of the documentation must have.
    #[query(schema = json!({ "type": "string", "maxLength": ensue_manual::QUERY_CHARS_MAX, "pattern": "^[^\\u0000]*$" }))]
    query: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.public(
        Public::Docs,
        contents,
        Operation::new("docs_get", "Returns the list of contents of the documentation")
            .gives_content(200, "The page.", PAGES, &[])
            .refuses(&[(406, "not_acceptable")]),
    );
    routes.public(
        Public::DocsSection,
        section,
        Operation::new("docs_section_get", "Returns the list of a section of the documentation, or a page outside of sections")
            .gives_content(200, "The page.", PAGES, &[])
            .refuses(&[(404, "no_such_path"), (406, "not_acceptable")]),
    );
    routes.public(
        Public::DocsPage,
        page_of_section,
        Operation::new("docs_page_get", "Returns a page of the documentation, such as that of an error, or a picture of a page")
            .gives_content(200, "The page, or the picture.", Content::Text(&[MARKDOWN, HTML, PNG]), &[])
            .refuses(&[(404, "no_such_path"), (406, "not_acceptable")]),
    );
    routes.public(
        Public::DocsSearch,
        search,
        Operation::new("docs_search", "Searches the documentation")
            .with_query(&[DocsQuery::PARAMETERS])
            .gives_content(200, "The page.", Content::Text(&[HTML]), &[])
            .refuses(&[(406, "not_acceptable")]),
    );
    routes.public(
        Public::OpenApiPage,
        reference,
        Operation::new("openapi_page_get", "Returns the OpenAPI document as a page")
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

/// Shows the list of contents.
pub(super) async fn contents(call: Call) -> Outcome {
    render_page(&call, ensue_manual::contents())
}

/// Shows the list of a section, or a page outside of sections.
pub(super) async fn section(call: Call) -> Outcome {
    let name = call.part("section");
    match ensue_manual::section(name) {
        Some(list) => render_page(&call, &list),
        None => render_page(&call, ensue_manual::page(name).ok_or(NoSuchPath)?),
    }
}

/// Shows a page of a section, or returns a picture.
pub(super) async fn page_of_section(call: Call) -> Outcome {
    if call.part("section") == ensue_manual::PICTURES {
        let picture = ensue_manual::picture(call.part("page")).ok_or(NoSuchPath)?;
        call.choose_media_type(&[PNG])?;
        let mut response = Response::new(Body::from(Bytes::from_static(picture)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PNG));
        return Ok(response);
    }
    let path = format!("{}/{}", call.part("section"), call.part("page"));
    render_page(&call, ensue_manual::page(&path).ok_or(NoSuchPath)?)
}

/// Shows what a search finds.
pub(super) async fn search(call: Call) -> Outcome {
    call.choose_media_type(&[HTML])?;
    let query = call.parameters::<DocsQuery>()?.query.unwrap_or_default();
    if query.chars().count() > ensue_manual::QUERY_CHARS_MAX {
        return Err(bad("query", format!("must have at most {} characters", ensue_manual::QUERY_CHARS_MAX)).into());
    }
    html(ensue_manual::search(&query))
}

/// Returns the OpenAPI document: the stored one, which a test keeps equal to the routes.
pub(super) async fn openapi(call: Call) -> Outcome {
    static DOCUMENT: LazyLock<Constant> = LazyLock::new(|| Constant::new(inflate(openapi::COMPRESSED)));
    Ok(DOCUMENT.answer(call.request(), "application/json"))
}

/// Shows the document as a page: the stored one, which a test keeps equal to the document.
pub(super) async fn reference(call: Call) -> Outcome {
    call.choose_media_type(&[HTML])?;
    static PAGE: LazyLock<Constant> = LazyLock::new(|| Constant::new(inflate(page::COMPRESSED)));
    let mut response = PAGE.answer(call.request(), "text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy_with_script(page::STYLE, page::SCRIPT)?);
    Ok(response)
}

/// Decompresses what the build compressed.
fn inflate(compressed: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    DeflateDecoder::new(compressed).read_to_end(&mut plain).expect("the build wrote these bytes");
    plain.into()
}

/// Returns a page as Markdown or, for a browser, as HTML.
fn render_page(call: &Call, page: &ensue_manual::Page) -> Outcome {
    if call.choose_media_type(&[MARKDOWN, HTML])? == HTML {
        return html(page.html());
    }
    let mut response = Response::new(Body::from(page.markdown().to_owned()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
    Ok(response)
}

fn html(text: String) -> Outcome {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy_of(ensue_manual::STYLE, "'self'", "'self'")?);
    Ok(response)
}
