//! Plain English: the commonest phrases of the house's old dialect are in no document, comment or message.

use std::sync::LazyLock;

use regex::Regex;

use crate::{demand_none, documents, read, rust_sources};

/// A phrase, and what to write instead.
struct Phrase {
    pattern: &'static str,
    instead: &'static str,
}

const fn phrase(pattern: &'static str, instead: &'static str) -> Phrase {
    Phrase { pattern, instead }
}

const PHRASES: &[Phrase] = &[
    phrase(r"\banew\b", "again"),
    phrase(r"\bheed(s|ed|ing)?\b", "honor, support"),
    phrase(r"\bfor ever\b", "forever, permanently"),
    phrase(r"\bany more\b", "no longer"),
    phrase(r"\bin the place of\b", "instead of"),
    phrase(r"\bbugs? of ours\b", "an internal error"),
    phrase(r"\b(is|are|was|were|be) told([.,;:]|$| (of|about|again|with|by|in|as|apart|where|for)\b)", "is reported, receives"),
    phrase(r"\btells (of|the|how|what|whether|which|that)\b", "reports, states"),
    phrase(r"\bstands? in (it|the|a|an|one|no|this|that)\b", "is in, is listed in"),
    phrase(r"\bas it stands\b", "as it is"),
    phrase(r"\bcomes? to (its|their|an) end\b", "ends, finishes"),
    phrase(r"(^|[.:;] )Gives (the|what|how|each|all|its|which|whether|where|those)\b", "Returns"),
    phrase(r"(^|[.:;] )Says (whether|which|how|what|why|if)\b", "Returns true if, Returns, Reports"),
    phrase(r"(^|[.:;] )Who [a-z]+s [^?]*$", "the subject's name: callers, executions, workers"),
    phrase(r"\bwhat is over it\b", "requests over the limit"),
    phrase(r"\bput aside\b", "parked, deferred, moved"),
    phrase(r"\bwhereof\b|\bthereof\b|\bwhereupon\b", "of which, then"),
    phrase(r"\blets? go of\b", "releases"),
    phrase(r"\bbe had\b", "be available"),
];

static PATTERNS: LazyLock<Vec<(Regex, &'static Phrase)>> = LazyLock::new(|| {
    let compiled = |phrase: &'static Phrase| (Regex::new(phrase.pattern).expect("the patterns above are valid"), phrase);
    PHRASES.iter().map(compiled).collect()
});

/// Text in backticks is code, and code is not prose.
static TICKED: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").expect("the pattern is valid"));

fn findings_in(path: &str, number: usize, text: &str) -> impl Iterator<Item = String> {
    let text = TICKED.replace_all(text, "``").into_owned();
    let found: Vec<&Phrase> = PATTERNS.iter().filter(|(pattern, _)| pattern.is_match(&text)).map(|(_, phrase)| *phrase).collect();
    let path = path.to_owned();
    found.into_iter().map(move |phrase| format!("{path}:{number}: {}: write: {}", text.trim(), phrase.instead))
}

#[test]
fn documents_are_in_plain_english() {
    let mut findings = Vec::new();
    let mut texts = documents();
    texts.push(("CONTRIBUTING.md".to_owned(), read("CONTRIBUTING.md")));
    texts.push(("SECURITY.md".to_owned(), read("SECURITY.md")));
    for (path, text) in texts {
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_code ^= line.trim_start().starts_with("```");
            // The left column of the style card shows what not to write.
            let is_quotation = path == "CONTRIBUTING.md" && line.starts_with('|');
            if !is_code && !line.starts_with("    ") && !is_quotation {
                findings.extend(findings_in(&path, number, line.trim_start_matches(['-', '*', '#', '>', ' '])));
            }
        }
    }
    demand_none(&findings, "CONTRIBUTING.md has the rules of style:");
}

#[test]
fn comments_of_sources_are_in_plain_english() {
    let mut findings = Vec::new();
    for (path, text) in rust_sources().into_iter().filter(|(path, _)| path != "tests/tidy/phrases.rs") {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(comment) = line.trim_start().strip_prefix("//") {
                findings.extend(findings_in(&path, number, comment.trim_start_matches(['/', '!', ' '])));
            }
        }
    }
    demand_none(&findings, "CONTRIBUTING.md has the rules of style:");
}

#[test]
fn phrases_are_found_outside_of_code_only() {
    let found = |text: &str| findings_in("page.md", 1, text).count();
    assert_eq!(found("The index is made anew."), 1);
    assert_eq!(found("Gives the number of records."), 1);
    assert_eq!(found("Gives up after the last retry."), 0);
    assert_eq!(found("The step `anew` runs again."), 0);
    assert_eq!(found("Who may answer?"), 0);
}
