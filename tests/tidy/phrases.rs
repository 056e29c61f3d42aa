//! Plain English: the commonest phrases of the house's old dialect are in no document, comment, message or name.

use std::sync::LazyLock;

use regex::Regex;

use crate::prose::{self, Prose};
use crate::{demand_none, files, rust_sources, test_names};

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
    phrase(r"\bbugs? (strikes?|struck)\b", "a bug occurs"),
    // A program may be told to stop, a caller that it may not; variants may be told apart.
    phrase(r"\btold([^ a-z_]|$| ([^tai]|t[^oh]|a[^p]|i[^t]))", "is reported, receives, is notified"),
    phrase(r"\btells (of|the|how|what|whether|which|that)\b", "reports, states"),
    // A sign may stand for something, and code may stand by.
    phrase(r"\b(stands?|stood)([^ a-z_-]|$| ([^fbi]|f[^o]|b[^y]|i[^n]|in [^f]))", "is in, is listed in, is stopped"),
    phrase(r"\bcomes? to (its|their|an) end\b", "ends, finishes"),
    phrase(r"\b(goes|going|went) on\b", "continues"),
    phrase(r"\bpass(es|ed|ing) over\b", "skips"),
    phrase(r"\b(is|are|was|were|be) taken in\b", "is accepted"),
    phrase(r"(^|[.:;] )Gives (the|what|how|each|all|its|which|whether|where|those)\b", "Returns"),
    phrase(r"(^|[.:;] )Says (whether|which|how|what|why|if)\b", "Returns true if, Returns, Reports"),
    phrase(r"((^|[.:;] )Who|^who) [a-z]+s [^?.]*([.;]|$)", "the subject's name: callers, executions, workers"),
    phrase(r"\b[Ww]hat (is|was|are|were) (over|there|held|owed|damaged|asked|told)\b", "the noun: requests over the limit"),
    phrase(r"\b[Ww]hat (is|was|are|were) left([^ ]|$| ([^o]|o[^u]))", "the rest, the remains"),
    phrase(
        r"(^|[^e]|[^r]e|[^e]re) (is|are|was|were) no (valid|event|list|folder|file|text|number|JSON|link|id|time|operator|key|name|word)\b",
        "is not a …, is invalid",
    ),
    phrase(r"\b(that|which) (is|are|was|were) none([^ ]|$| ([^o]|o[^f]))", "an invalid …"),
    phrase(r"\bput aside\b", "parked, deferred, moved"),
    phrase(r"\bwhereof\b|\bthereof\b|\bwhereupon\b|\botherwise than\b", "of which, then, differs from"),
    phrase(r"\blets? go\b", "releases"),
    phrase(r"\bbe had\b", "be available"),
    phrase(r"\bwould have it\b", "requires"),
    phrase(r"\bseldom\b", "rarely"),
];

static PATTERNS: LazyLock<Vec<(Regex, &'static Phrase)>> = LazyLock::new(|| {
    let compiled =
        |phrase: &'static Phrase| (Regex::new(&format!("(?m){}", phrase.pattern)).expect("the patterns above are valid"), phrase);
    PHRASES.iter().map(compiled).collect()
});

/// Text in backticks is code, and code is not prose. The same holds for expressions and the fields of messages.
static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`[^`]*`|\$\{\{[^}]*\}\}|\{[^{}\s]*\}").expect("the pattern is valid"));

fn findings_in(path: &str, number: usize, text: &str) -> Vec<String> {
    let prose = CODE.replace_all(text, "``");
    let found = PATTERNS.iter().filter(|(pattern, _)| pattern.is_match(&prose)).map(|(_, phrase)| *phrase);
    found.map(|phrase| format!("{path}:{number}: {}: write: {}", text.trim(), phrase.instead)).collect()
}

#[track_caller]
fn demand_plain(texts: impl IntoIterator<Item = (String, Prose)>) {
    let texts: Vec<(String, Prose)> = texts.into_iter().collect();
    assert!(texts.len() > 1_000, "{} texts were found; the files are elsewhere", texts.len());
    let findings: Vec<String> = texts.into_iter().flat_map(|(path, prose)| findings_in(&path, prose.line, &prose.text)).collect();
    demand_none(&findings, "CONTRIBUTING.md has the rules of style:");
}

/// Returns the prose of files with their paths.
fn each(files: Vec<(String, String)>, prose: fn(&str) -> Vec<Prose>) -> impl Iterator<Item = (String, Prose)> {
    files.into_iter().flat_map(move |(path, text)| prose(&text).into_iter().map(move |prose| (path.clone(), prose)))
}

#[test]
fn documents_are_in_plain_english() {
    let texts = each(files("", ".md"), prose::of_document);
    // The left column of the style card shows what not to write.
    demand_plain(texts.filter(|(path, prose)| path != "CONTRIBUTING.md" || !prose.text.starts_with('|')));
}

#[test]
fn comments_and_texts_of_sources_are_in_plain_english() {
    let mut sources = rust_sources();
    sources.extend(files("fuzz/fuzz_targets", ".rs"));
    // This file shows what not to write.
    sources.retain(|(path, _)| path != "tests/tidy/phrases.rs");
    demand_plain(each(sources, prose::of_source));
}

#[test]
fn other_files_are_in_plain_english() {
    let lines = prose::of_other_files();
    assert!(lines.len() > 5_000, "{} lines were found; the files are elsewhere", lines.len());
    demand_plain(lines);
}

#[test]
fn names_of_tests_are_in_plain_english() {
    let findings: Vec<String> = test_names().iter().flat_map(|name| findings_in(name, 1, &name.replace('_', " "))).collect();
    demand_none(&findings, "CONTRIBUTING.md has the rules of style:");
}

#[test]
fn phrases_are_found_outside_of_code_only() {
    let found = |text: &str| findings_in("page.md", 1, text).len();
    for bad in [
        "The index is made anew.",
        "Gives the number of records.",
        "it is told",
        "told of the end",
        "a node that stands still",
        "who waits is answered",
        "what is over the limit is rejected",
        "{value} is no number",
        "a pattern that is none",
        "what is left of it",
    ] {
        assert_eq!(found(bad), 1, "{bad}");
    }
    for good in [
        "Gives up after the last retry.",
        "The step `anew` runs again.",
        "Who may answer?",
        "{told}",
        "it is told to stop",
        "`$${{` stands for itself",
        "there is no event",
        "what is left out",
        "a word that is none of the choices",
    ] {
        assert_eq!(found(good), 0, "{good}");
    }
}
