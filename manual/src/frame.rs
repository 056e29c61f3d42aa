//! The frame around every page: where it belongs, a search field, and a style of its own.

use crate::render::RenderedPage;
use crate::{PAGES, PREFIX};

/// The style of all pages. They contain it, so that a page is one file.
pub const STYLE: &str = include_str!("style.css");

/// The folders that readers look for, in the order of the menu.
const SECTIONS: [&str; 6] = ["guides", "concepts", "reference", "errors", "decisions", "contributing"];
/// A page with at least this many parts has a list of them.
const LISTED_PARTS_MIN: usize = 4;

/// Returns a complete HTML document.
pub(crate) fn document(title: &str, section: &str, query: &str, body: &str) -> String {
    let current = |name: &str| if name == section { " aria-current=\"true\"" } else { "" };
    let menu: String =
        SECTIONS.iter().map(|name| format!("<a href=\"{PREFIX}/{name}\"{}>{}</a>", current(name), section_title(name))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{} · Ensue</title><style>{STYLE}</style></head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the text</a>\n\
         <header><a class=\"home\" href=\"{PREFIX}\">Ensue</a><nav aria-label=\"Sections\">{menu}\
         <a href=\"{PREFIX}/reference/openapi\">REST API</a></nav>\
         <form action=\"{PREFIX}/search\" role=\"search\"><input type=\"search\" name=\"query\" value=\"{}\" aria-label=\"Search the \
         documentation\" placeholder=\"Search\" maxlength=\"{}\"><button>Search</button></form></header>\n<div class=\"columns\">{}\
         <main id=\"main\">\n{body}</main></div>\n<footer>Ensue {}</footer>\n</body>\n</html>\n",
        escape_html(title),
        escape_html(query),
        crate::QUERY_CHARS_MAX,
        siblings(section),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Returns the content of a page with a list of its parts.
pub(crate) fn article(rendered: &RenderedPage) -> String {
    let parts: Vec<_> = rendered.parts.iter().filter(|part| part.level == 2).collect();
    if parts.len() < LISTED_PARTS_MIN {
        return rendered.html.clone();
    }
    let items: String =
        parts.iter().map(|part| format!("<li><a href=\"#{}\">{}</a></li>", part.anchor, escape_html(&part.heading))).collect();
    let list = format!("<nav class=\"parts\" aria-label=\"On this page\"><ul>{items}</ul></nav>\n");
    match rendered.html.split_once("</h1>\n") {
        Some((title, rest)) => format!("{title}</h1>\n{list}{rest}"),
        None => list + &rendered.html,
    }
}

/// Returns links to the pages of a section; none for the errors, of which there are too many.
fn siblings(section: &str) -> String {
    if section.is_empty() || section == "errors" {
        return String::new();
    }
    let pages = PAGES.iter().filter(|page| page.section() == section);
    let items: String = pages.map(|page| format!("<li><a href=\"{}\">{}</a></li>", page.address(), escape_html(page.title()))).collect();
    format!("<nav class=\"siblings\" aria-label=\"{}\"><ul>{items}</ul></nav>", section_title(section))
}

/// Returns the title of a section: the name of its folder in words, with a capital letter.
pub(crate) fn section_title(name: &str) -> String {
    if name == "rest-api" {
        return "REST API".to_owned();
    }
    let words = name.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Escapes a text for HTML, also within a quoted attribute.
pub(crate) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
