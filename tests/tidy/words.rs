//! One word, one thing: the glossary's banned words stand in no public name, field, route or SQL.

use std::collections::BTreeSet;

use crate::{CRATES, demand_none, files, read, rust_sources};

/// The banned words of docs/glossary.md: the closed list under "Never".
fn banned() -> Vec<String> {
    let text = read("docs/glossary.md");
    let section = text.split("## Never").nth(1).expect("docs/glossary.md has the list");
    let section = section.split("\n## ").next().unwrap_or(section);
    let words: Vec<String> =
        section.lines().filter_map(|line| line.strip_prefix("- `")).filter_map(|line| line.split('`').next()).map(str::to_owned).collect();
    assert!(words.len() >= 8, "the list of banned words has {} entries; its shape has changed", words.len());
    words
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            if !text.is_empty() {
                text.push('_');
            }
            text.extend(c.to_lowercase());
        } else {
            text.push(c);
        }
    }
    text
}

#[test]
fn no_public_name_uses_a_banned_word() {
    let banned = banned();
    let mut findings = Vec::new();
    for (path, text) in rust_sources() {
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let Some(declared) = trimmed.strip_prefix("pub ") else { continue };
            let names: BTreeSet<String> =
                declared.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(snake).collect();
            for word in banned.iter().filter(|word| names.iter().any(|name| name.contains(word.as_str()))) {
                findings.push(format!("{path}:{}: `{word}`", number + 1));
            }
        }
    }
    demand_none(&findings, "docs/glossary.md has the word to use instead:");
}

#[test]
fn no_yaml_sql_or_json_uses_a_banned_word() {
    let banned = banned();
    let mut findings = Vec::new();
    let mut texts = files("migrations", ".sql");
    for folder in CRATES {
        texts.extend(files(folder, ".yaml"));
    }
    for (path, text) in texts {
        for word in banned.iter().filter(|word| text.contains(word.as_str())) {
            findings.push(format!("{path}: `{word}`"));
        }
    }
    demand_none(&findings, "docs/glossary.md has the word to use instead:");
}
