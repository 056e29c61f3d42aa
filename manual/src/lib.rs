//! The documentation of `docs`, embedded: as Markdown, as pages for a browser, and searched.
//!
//! A page of the manual runs no scripts, and loads nothing but the pictures that it shows: [`STYLE`] is its only style.

mod frame;
mod render;
mod search;

use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::DeflateDecoder;

pub use frame::STYLE;
pub use search::{QUERY_CHARS_MAX, QUERY_WORDS_MAX};

/// The path below which a node shows the manual.
pub const PREFIX: &str = "/docs";
/// The folder below [`PREFIX`] in which a node serves the pictures.
pub const PICTURES: &str = "pictures";
/// The page of `docs` that lists the others.
const CONTENTS: &str = "README";

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its path in `docs`, without the ending: `guides/first-steps`.
    path: String,
    /// Its text.
    markdown: String,
}

impl Page {
    /// Returns its path in `docs`, without the ending: `guides/first-steps`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the text.
    pub fn markdown(&self) -> &str {
        &self.markdown
    }

    /// Returns the title: the first heading.
    pub fn title(&self) -> &str {
        self.markdown.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or(&self.path)
    }

    /// Returns the page as an HTML document.
    pub fn html(&self) -> String {
        let rendered = render::render(self);
        frame::document(self.title(), self.section(), "", &frame::article(&rendered))
    }

    /// Returns the folder of the page; empty for those directly in `docs`.
    fn section(&self) -> &str {
        self.path.split_once('/').map_or("", |(section, _)| section)
    }

    /// Returns the address on a node.
    pub fn address(&self) -> String {
        if self.path == CONTENTS { PREFIX.to_owned() } else { format!("{PREFIX}/{}", self.path) }
    }
}

/// All pages, in the order of their paths.
static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pages.json.deflate"));
    let mut text = String::new();
    DeflateDecoder::new(packed).read_to_string(&mut text).expect("the build wrote these bytes");
    let pages: Vec<(String, String)> = serde_json::from_str(&text).expect("the build wrote this text");
    pages.into_iter().map(|(path, markdown)| Page { path, markdown }).collect()
});

/// The pictures that pages show, in the order of their names.
static SHOWN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pictures.rs"));

/// Returns a picture of a page, as PNG.
pub fn picture(name: &str) -> Option<&'static [u8]> {
    SHOWN.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// Returns the page that lists the others by what their readers want to do.
pub fn contents() -> &'static Page {
    page(CONTENTS).expect("`docs` has a README.md")
}

/// Returns the page of a path such as `guides/first-steps`.
pub fn page(path: &str) -> Option<&'static Page> {
    PAGES.binary_search_by(|page| page.path.as_str().cmp(path)).ok().map(|at| &PAGES[at])
}

/// Returns the pages of a folder of `docs`, in the order of their paths.
pub fn pages_of(section: &str) -> impl Iterator<Item = &'static Page> {
    PAGES.iter().filter(move |page| page.section() == section)
}

/// Returns a page that lists those of a folder of `docs`; `None` if there is no such folder.
pub fn section(name: &str) -> Option<Page> {
    let mut pages = pages_of(name).filter(|page| !page.section().is_empty()).peekable();
    pages.peek()?;
    let lines: String = pages.map(|page| format!("- [{}]({})\n", page.title(), page.address())).collect();
    Some(Page { path: format!("{name}/"), markdown: format!("# {}\n\n{lines}", frame::section_title(name)) })
}

/// Returns an HTML document with the parts of pages that have all words of a query, the best first.
pub fn search(query: &str) -> String {
    frame::document("Search", "", query, &search::results(query))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_document_is_a_page_with_a_title() {
        assert!(PAGES.len() > 200 && PAGES.is_sorted_by(|one, other| one.path < other.path));
        for page in PAGES.iter() {
            assert!(page.markdown.starts_with("# "), "{} begins with its title", page.path);
            assert!(!page.title().is_empty() && page.html().contains("</html>"), "{}", page.path);
        }
        assert_eq!(contents().address(), "/docs");
        assert_eq!(page("guides/first-steps").unwrap().address(), "/docs/guides/first-steps");
        assert!(page("guides/no-such-page").is_none() && section("no-such-section").is_none() && section("").is_none());
    }

    #[test]
    fn every_link_leads_to_a_page_and_a_heading_that_exist() {
        let anchors: BTreeMap<String, Vec<String>> =
            PAGES.iter().map(|page| (page.address(), render::render(page).parts.into_iter().map(|part| part.anchor).collect())).collect();
        let mut checked = 0;
        for page in PAGES.iter() {
            let html = render::render(page).html;
            for link in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if link.starts_with("https://")
                    || link.starts_with("http://")
                    || link.starts_with("/api/")
                    || link == "/docs/reference/openapi"
                {
                    continue;
                }
                let (address, anchor) = link.split_once('#').map_or((link, None), |(address, anchor)| (address, Some(anchor)));
                let address = if address.is_empty() { page.address() } else { address.to_owned() };
                let is_section = address.strip_prefix("/docs/").is_some_and(|name| section(name).is_some());
                let known = anchors.get(&address);
                assert!(known.is_some() || is_section, "{}: {link}", page.path);
                assert!(
                    anchor.is_none_or(|anchor| known.is_some_and(|known| known.iter().any(|one| one == anchor))),
                    "{}: {link}",
                    page.path
                );
                checked += 1;
            }
        }
        assert!(checked > 500, "{checked}");
    }

    #[test]
    fn every_picture_of_a_page_is_served_and_described() {
        let mut checked = 0;
        for page in PAGES.iter() {
            let html = render::render(page).html;
            for image in html.split("<img src=\"").skip(1) {
                let (address, rest) = image.split_once('"').unwrap();
                let bytes = address.strip_prefix("/docs/pictures/").and_then(picture);
                assert!(bytes.is_some_and(|bytes| bytes.starts_with(b"\x89PNG")), "{}: {address}", page.path);
                assert!(!rest.starts_with(" alt=\"\""), "{}: {address} says nothing to readers who do not see it", page.path);
                checked += 1;
            }
        }
        assert!(checked > 0 && section(PICTURES).is_none());
    }

    #[test]
    fn section_lists_its_pages() {
        let guides = section("guides").unwrap();
        assert!(guides.markdown().starts_with("# Guides\n\n- ["), "{}", guides.markdown());
        assert!(guides.markdown().contains("](/docs/guides/first-steps)"));
        assert!(guides.html().contains("href=\"/docs/guides/first-steps\""));
        let titles = ["rest-api", "pack-language"].map(|name| section(name).unwrap().markdown().lines().next().unwrap().to_owned());
        assert_eq!(titles, ["# REST API", "# Pack language"]);
    }
}
