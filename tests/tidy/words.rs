//! One word, one thing: the glossary's banned words are in no name, field, route, SQL or document.

use std::collections::{BTreeSet, HashMap};

use crate::{CRATES, demand_none, documents, files, read, rust_sources, section};

/// The banned words of docs/glossary.md: the closed list under "Never".
fn banned_words() -> Vec<String> {
    let text = read("docs/glossary.md");
    let lines = section(&text, "## Never").lines().filter_map(|line| line.strip_prefix("- `"));
    let words: Vec<String> = lines.filter_map(|line| line.split('`').next()).map(str::to_owned).collect();
    assert!(words.len() >= 10, "the list of banned words has {} entries; its shape has changed", words.len());
    words
}

/// Converts a name to `snake_case`, so that `TriggerInstance` and `trigger-instance` are `trigger_instance`
/// too.
pub(crate) fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() && !text.ends_with('_') && !text.ends_with(char::is_uppercase) {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text.replace('-', "_")
}

/// Returns true if a name contains a banned word as whole words: `event_type`, `the_event_types`, not
/// `prevent_typing`.
fn holds(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| {
        let after = name[at + word.len()..].trim_start_matches('s');
        (at == 0 || name[..at].ends_with('_')) && (after.is_empty() || after.starts_with('_'))
    })
}

/// The names of fields that vendors chose, with the beginnings of the paths that must use them.
const OF_VENDORS: &[(&str, &str)] =
    &[("packs/library/pagerduty/", "event_type"), ("packs/library/slack/", "event_type"), ("packs/tests/library_sensors.rs", "event_type")];

fn findings_in(path: &str, text: &str, banned: &[String]) -> Vec<String> {
    let is_theirs = |word: &String| OF_VENDORS.iter().any(|(beginning, name)| path.starts_with(beginning) && name == word);
    let banned: Vec<&String> = banned.iter().filter(|word| !is_theirs(word)).collect();
    // A name occurs many times in a file, and is looked at once.
    let mut words_of = HashMap::new();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let names = line.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-')).filter(|name| !name.is_empty());
        let mut found: BTreeSet<&String> = BTreeSet::new();
        for name in names {
            let words: &Vec<&String> = words_of.entry(name).or_insert_with(|| {
                let name = snake(name);
                banned.iter().copied().filter(|word| holds(&name, word)).collect()
            });
            found.extend(words.iter().copied());
        }
        findings.extend(found.into_iter().map(|word| format!("{path}:{}: `{word}`", number + 1)));
    }
    findings
}

#[test]
fn no_source_uses_a_banned_word() {
    let banned = banned_words();
    // This file names some of the words to show how they are found.
    let sources = rust_sources().into_iter().filter(|(path, _)| path != "tests/tidy/words.rs");
    let findings: Vec<String> = sources.flat_map(|(path, text)| findings_in(&path, &text, &banned)).collect();
    demand_none(&findings, "docs/glossary.md has the word to use instead:");
}

#[test]
fn no_pack_table_or_fixture_uses_a_banned_word() {
    let banned = banned_words();
    let mut texts = files("migrations", ".sql");
    texts.extend(files("examples", ".yaml"));
    for folder in CRATES {
        texts.extend(files(folder, ".yaml"));
        texts.extend(files(folder, ".snap"));
        texts.extend(files(folder, "1.json"));
    }
    assert!(texts.len() > 40, "{} files were found; they lie elsewhere", texts.len());
    let findings: Vec<String> = texts.iter().flat_map(|(path, text)| findings_in(path, text, &banned)).collect();
    demand_none(&findings, "docs/glossary.md has the word to use instead:");
}

#[test]
fn no_document_uses_a_banned_word() {
    let banned = banned_words();
    let mut texts = documents();
    // The glossary names the words in order to ban them.
    texts.retain(|(path, _)| path != "docs/glossary.md");
    let findings: Vec<String> = texts.iter().flat_map(|(path, text)| findings_in(path, text, &banned)).collect();
    demand_none(&findings, "docs/glossary.md has the word to use instead:");
}

#[test]
fn banned_word_is_found_in_every_spelling_and_nowhere_else() {
    let banned = vec!["event_type".to_owned(), "dlq".to_owned()];
    for bad in ["pub struct EventType;", "let event_types = 1;", "/event-type", "\"event_type\"", "DlqEntry", "the_dlq"] {
        assert_eq!(findings_in("x", bad, &banned).len(), 1, "{bad}");
    }
    for good in ["prevent_type", "event typed", "event_typed", "EventTyped", "event.type"] {
        assert_eq!(findings_in("x", good, &banned), Vec::<String>::new(), "{good}");
    }
}
