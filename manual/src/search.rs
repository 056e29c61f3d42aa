//! Search: the parts of pages that have all words of a query.

use std::sync::LazyLock;

use crate::frame::escape_html;
use crate::{PAGES, PREFIX, Page, render};

/// The maximum length of a query.
pub const QUERY_CHARS_MAX: usize = 200;
/// The maximum number of words of a query; further words are ignored.
pub const QUERY_WORDS_MAX: usize = 8;
/// The maximum number of results.
const RESULTS_MAX: usize = 30;
/// The number of characters of a part's text in a result.
const SNIPPET_CHARS: usize = 200;

/// A part of a page, prepared to be searched.
struct SearchEntry {
    address: String,
    title: String,
    heading: String,
    text: String,
    /// What the part is called, in lower case: for the whole page, its title and its path.
    named: String,
    /// The title of the page that the part is in, in lower case.
    within: String,
    /// The text in lower case.
    lower: String,
    /// What the part is worth compared with others that fit as well.
    weight: usize,
}

/// Returns the results of a query as HTML.
pub(crate) fn results(query: &str) -> String {
    static ENTRIES: LazyLock<Vec<SearchEntry>> = LazyLock::new(|| PAGES.iter().flat_map(entries_of).collect());
    let words = words_of(query);
    if words.is_empty() {
        return "<h1>Search</h1><p>Write what you look for: a word, a command, a field, or the code of an error.</p>".to_owned();
    }
    let found = best(&ENTRIES, &words);
    let heading = match found.len() {
        0 => format!("Nothing has all of these words: {}", escape_html(&words.join(", "))),
        RESULTS_MAX => format!("The best {RESULTS_MAX} results for {}", escape_html(query)),
        1 => format!("One result for {}", escape_html(query)),
        count => format!("{count} results for {}", escape_html(query)),
    };
    let items: String = found.into_iter().map(|entry| render_result(entry, &words)).collect();
    format!("<h1>{heading}</h1><ol class=\"results\">{items}</ol>")
}

/// Returns the words of a query in lower case.
fn words_of(query: &str) -> Vec<String> {
    let mut words: Vec<String> = query.split_whitespace().map(str::to_lowercase).take(QUERY_WORDS_MAX).collect();
    words.dedup();
    words
}

fn entries_of(page: &'static Page) -> impl Iterator<Item = SearchEntry> {
    let weight = match page.section() {
        "guides" | "reference" | "rest-api" | "pack-language" => 4,
        "" | "concepts" => 3,
        "errors" => 2,
        _ => 1,
    };
    let parts = render::parts_of(&page.markdown).into_iter();
    parts.map(move |part| {
        let is_page = part.level == 1;
        let address = if is_page { page.address() } else { format!("{}#{}", page.address(), part.anchor) };
        // The path has the names of commands and the codes that the title describes in words.
        let named = if is_page { format!("{} {} {}", page.title(), page.path, page.path.replace('-', "_")) } else { part.heading.clone() };
        let (named, within, lower) = (named.to_lowercase(), page.title().to_lowercase(), part.text.to_lowercase());
        let heading = if is_page { String::new() } else { part.heading };
        SearchEntry { address, title: page.title().to_owned(), heading, text: part.text, named, within, lower, weight }
    })
}

/// Returns the entries that have all words, the best first.
fn best<'a>(entries: &'a [SearchEntry], words: &[String]) -> Vec<&'a SearchEntry> {
    let scored = entries.iter().filter_map(|entry| score(entry, words).map(|score| (score, entry)));
    let mut found: Vec<(usize, &SearchEntry)> = scored.collect();
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, entry)| entry).take(RESULTS_MAX).collect()
}

/// Returns how well an entry fits; `None` if a word is missing.
fn score(entry: &SearchEntry, words: &[String]) -> Option<usize> {
    let phrase = words.join(" ");
    let mut score = 0;
    for word in words {
        let (is_named, is_within) = (entry.named.contains(word.as_str()), entry.within.contains(word.as_str()));
        let count = entry.lower.matches(word.as_str()).take(5).count();
        if !is_named && !is_within && count == 0 {
            return None;
        }
        score += 20 * usize::from(is_named) + 5 * usize::from(is_within) + count;
    }
    if words.len() > 1 {
        score += 20 * usize::from(entry.named.contains(&phrase)) + 10 * usize::from(entry.lower.contains(&phrase));
    }
    // The page of an error's code is what its reader looks for.
    let is_exact = entry.address.strip_prefix(PREFIX).is_some_and(|path| path.rsplit('/').next() == Some(&phrase.replace('_', "-")));
    Some(score * entry.weight + 1_000 * usize::from(is_exact))
}

fn render_result(entry: &SearchEntry, words: &[String]) -> String {
    let place = if entry.heading.is_empty() { String::new() } else { format!(" › {}", escape_html(&entry.heading)) };
    let snippet = mark_words(&snippet(entry, words), words);
    format!("<li><a href=\"{}\">{}{place}</a><p>{snippet}</p></li>", escape_html(&entry.address), escape_html(&entry.title))
}

/// Returns the text around the first word that the part has.
fn snippet(entry: &SearchEntry, words: &[String]) -> String {
    let at = words.iter().filter_map(|word| entry.lower.find(word.as_str())).min().unwrap_or_default();
    // Lower case can have another length, so the place is counted in characters.
    let before = entry.lower[..at].chars().count().saturating_sub(SNIPPET_CHARS / 4);
    let text: String = entry.text.chars().skip(before).take(SNIPPET_CHARS).collect();
    let is_whole = before + SNIPPET_CHARS >= entry.text.chars().count();
    format!("{}{}{}", if before == 0 { "" } else { "…" }, text.trim(), if is_whole { "" } else { "…" })
}

/// Escapes a text and marks the words in it.
fn mark_words(text: &str, words: &[String]) -> String {
    let lower = text.to_lowercase();
    if lower.len() != text.len() {
        return escape_html(text);
    }
    let mut html = String::new();
    let mut at = 0;
    while at < text.len() {
        let next = words.iter().filter_map(|word| lower[at..].find(word.as_str()).map(|found| (found, word.len()))).min();
        let Some((found, length)) =
            next.filter(|(found, length)| text.is_char_boundary(at + found) && text.is_char_boundary(at + found + length))
        else {
            break;
        };
        html.push_str(&escape_html(&text[at..at + found]));
        html.push_str(&format!("<mark>{}</mark>", escape_html(&text[at + found..at + found + length])));
        at += found + length;
    }
    html.push_str(&escape_html(&text[at..]));
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search_html(query: &str) -> String {
        results(query)
    }

    fn first(query: &str) -> String {
        search_html(query).split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
    }

    #[test]
    fn code_of_an_error_finds_its_page_first() {
        assert_eq!(first("approval_stale"), "/docs/errors/approval-stale");
        assert_eq!(first("token-expired"), "/docs/errors/token-expired");
    }

    #[test]
    fn words_find_the_part_of_a_page_that_has_all_of_them() {
        assert_eq!(first("first steps"), "/docs/guides/first-steps");
        assert!(search_html("cron expression").contains("/docs/reference/schedules"));
        assert!(search_html("backtest no_such_word_anywhere").contains("Nothing has all of these words"));
    }

    #[test]
    fn query_is_shown_as_text() {
        for query in ["<script>alert(1)</script>", "\"><img src=x>", "&amp; İ ẞ <b>"] {
            let html = search_html(query);
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
        }
        assert!(search_html("  ").contains("Write what you look for"));
    }

    #[test]
    fn found_words_are_marked_in_escaped_text() {
        let words = ["a<b".to_owned(), "xy".to_owned()];
        assert_eq!(mark_words("Is A<b? XY & xY", &words), "Is <mark>A&lt;b</mark>? <mark>XY</mark> &amp; <mark>xY</mark>");
        assert_eq!(mark_words("İXY", &words), "İXY");
    }
}
