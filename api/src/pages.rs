//! The pages of `docs/errors`, embedded: what happened, why, and what to do.
//!
//! An error's slug names its page.

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// The path of the pages.
pub(crate) const PREFIX: &str = "/docs/errors";

/// Returns the page of a slug.
pub(crate) fn page(slug: &str) -> Option<&'static str> {
    PAGES.binary_search_by(|(known, _)| (*known).cmp(slug)).ok().map(|at| PAGES[at].1)
}

/// Returns the title of a slug's page: its first line.
pub(crate) fn title(slug: &'static str) -> &'static str {
    page(slug).and_then(|page| page.lines().next()).and_then(|line| line.strip_prefix("# ")).unwrap_or(slug)
}

/// Returns the slugs that have a page.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(slug, _)| *slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_title_what_happened_why_and_what_to_do() {
        assert!(!PAGES.is_empty());
        for (slug, page) in PAGES {
            assert!(page.starts_with("# "), "{slug} begins with its title");
            for part in ["## What happened", "## Why", "## What to do"] {
                assert!(page.contains(part), "{slug} has a part `{part}`");
            }
        }
    }

    #[test]
    fn page_is_found_by_its_slug() {
        for slug in slugs() {
            assert!(page(slug).is_some(), "{slug}");
        }
        assert!(page("no-such-slug").is_none());
    }
}
