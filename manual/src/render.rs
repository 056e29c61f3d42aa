//! Markdown to HTML: headings get anchors, and links between documents become addresses on the node.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use crate::{CONTENTS, PICTURES, PREFIX, Page};

/// A page as HTML.
pub(crate) struct RenderedPage {
    /// The content, without a frame.
    pub(crate) html: String,
    /// The parts that its headings begin. The first is the page's own.
    pub(crate) parts: Vec<PageSection>,
}

/// What a heading begins.
#[derive(Debug, Default)]
pub(crate) struct PageSection {
    pub(crate) level: usize,
    /// The id of the heading.
    pub(crate) anchor: String,
    pub(crate) heading: String,
    /// The plain text up to the next heading.
    pub(crate) text: String,
}

/// Opens a region that scrolls sideways, also by keyboard.
const WIDE: &str = "<div class=\"wide\" role=\"region\" aria-label=\"Wide content\" tabindex=\"0\">";

/// Renders a page.
pub(crate) fn render(page: &Page) -> RenderedPage {
    let parts = parts_of(&page.markdown);
    let mut anchors = parts.iter().map(|part| part.anchor.clone());
    let mut has_target = Vec::new();
    let mut events = Vec::new();
    for event in parser(&page.markdown) {
        match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let id = anchors.next().map(CowStr::from);
                events.push(Event::Start(Tag::Heading { level, id, classes, attrs }));
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let target = target_of(page, &dest_url);
                has_target.push(target.is_some());
                if let Some(target) = target {
                    events.push(Event::Start(Tag::Link { link_type, dest_url: target.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if has_target.pop() == Some(true) {
                    events.push(event);
                }
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                let name = dest_url.rsplit('/').next().unwrap_or_default();
                let dest_url = format!("{PREFIX}/{PICTURES}/{name}").into();
                events.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            Event::Start(Tag::Table(_) | Tag::CodeBlock(_)) => events.extend([Event::Html(WIDE.into()), event]),
            Event::End(TagEnd::Table | TagEnd::CodeBlock) => events.extend([event, Event::Html("</div>\n".into())]),
            // The documents contain no HTML: what looks like it is shown as it is written.
            Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
            event => events.push(event),
        }
    }
    let mut html = String::new();
    html::push_html(&mut html, events.into_iter());
    RenderedPage { html, parts }
}

fn parser(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// Returns the parts of a text.
pub(crate) fn parts_of(markdown: &str) -> Vec<PageSection> {
    let mut parts = Vec::new();
    let mut part = PageSection::default();
    let mut is_heading = false;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for event in parser(markdown) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let begun = PageSection { level: level_of(level), ..PageSection::default() };
                parts.push(std::mem::replace(&mut part, begun));
                is_heading = true;
            }
            Event::End(TagEnd::Heading(_)) => {
                part.anchor = unique(anchor_of(&part.heading), &mut seen);
                is_heading = false;
            }
            Event::Text(text) | Event::Code(text) => {
                if is_heading { &mut part.heading } else { &mut part.text }.push_str(&text);
            }
            Event::SoftBreak | Event::HardBreak | Event::End(_) if !is_heading && !part.text.ends_with(' ') => part.text.push(' '),
            _ => {}
        }
    }
    parts.push(part);
    // Nothing precedes the first heading of a document.
    parts.retain(|part| !part.anchor.is_empty());
    parts
}

fn level_of(level: HeadingLevel) -> usize {
    level as usize
}

/// Returns the anchor of a heading, as code hosts do: the letters in lower case, hyphens for spaces.
fn anchor_of(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Adds a number to an anchor that the page has already.
fn unique(anchor: String, seen: &mut BTreeMap<String, usize>) -> String {
    let count = seen.entry(anchor.clone()).or_default();
    *count += 1;
    if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
}

/// Returns the address of a link on the node; `None` if it leads to a file that is not part of the manual.
fn target_of(page: &Page, link: &str) -> Option<String> {
    if link.starts_with('#') || link.starts_with('/') || link.starts_with("https://") || link.starts_with("http://") {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').map_or((link, ""), |(file, anchor)| (file, anchor));
    let mut folders: Vec<&str> = page.path.split('/').collect();
    folders.pop();
    for part in file.split('/') {
        match part {
            ".." => drop(folders.pop()?),
            "." | "" => {}
            part => folders.push(part),
        }
    }
    let path = folders.join("/");
    let address = match path.as_str() {
        "reference/openapi.json" => "/api/v1/openapi.json".to_owned(),
        "reference/openapi.html" => format!("{PREFIX}/reference/openapi"),
        _ => match path.strip_suffix(".md") {
            Some(CONTENTS) => PREFIX.to_owned(),
            Some(stem) => format!("{PREFIX}/{}", crate::page(stem)?.path),
            None => format!("{PREFIX}/{}", crate::section(&path).map(|_| path.as_str())?),
        },
    };
    Some(if anchor.is_empty() { address } else { format!("{address}#{anchor}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render_markdown(path: &str, markdown: &str) -> RenderedPage {
        render(&Page { path: path.to_owned(), markdown: markdown.to_owned() })
    }

    #[test]
    fn links_between_documents_become_addresses_and_others_become_text() {
        let html = render_markdown(
            "guides/x",
            "# X\n[a](first-steps.md#y) [b](../glossary.md) [c](../../examples/README.md) [d](#x) [e](../README.md) \
             [f](../reference/openapi.json) [g](../errors)",
        )
        .html;
        for link in ["/docs/guides/first-steps#y", "/docs/glossary", "#x", "/docs", "/api/v1/openapi.json", "/docs/errors"] {
            assert!(html.contains(&format!("<a href=\"{link}\">")), "{link}: {html}");
        }
        assert!(html.contains(" c ") && !html.contains("examples"), "{html}");
    }

    #[test]
    fn headings_have_unique_anchors() {
        let parts = render_markdown("x", "# Keys & vars\n\n## The `when` of a rule\na\n## Same\nb *c*\n## Same\nd").parts;
        let anchors: Vec<_> = parts.iter().map(|part| (part.level, part.anchor.as_str(), part.text.trim())).collect();
        assert_eq!(anchors, [(1, "keys--vars", ""), (2, "the-when-of-a-rule", "a"), (2, "same", "b c"), (2, "same-1", "d")]);
    }

    #[test]
    fn html_in_a_document_is_text() {
        let html = render_markdown("x", "# X\n\n<script>alert(1)</script> and <img src=x onerror=y>\n\n<b>\n").html;
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
    }
}
