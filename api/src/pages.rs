//! The titles of the error pages: the first line of each document in `docs/errors`.
//!
//! An error's slug names its page.

include!(concat!(env!("OUT_DIR"), "/error_titles.rs"));

/// The path of the pages.
pub(crate) const PREFIX: &str = "/docs/errors";

/// Returns the title of a slug's page.
pub(crate) fn title(slug: &'static str) -> &'static str {
    TITLES.binary_search_by(|(known, _)| (*known).cmp(slug)).map_or(slug, |at| TITLES[at].1)
}

/// Returns the slugs that have a page.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    TITLES.iter().map(|(slug, _)| *slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_title_what_happened_why_and_what_to_do() {
        assert!(!TITLES.is_empty());
        for (slug, title) in TITLES {
            let page = ensue_manual::page(&format!("errors/{slug}")).unwrap();
            assert_eq!(page.title(), *title);
            for part in ["## What happened", "## Why", "## What to do"] {
                assert!(page.markdown().contains(part), "{slug} has a part `{part}`");
            }
        }
    }

    #[test]
    fn title_is_found_by_its_slug() {
        assert!(slugs().all(|slug| title(slug) != slug));
        assert_eq!(title("no-such-slug"), "no-such-slug");
    }
}
