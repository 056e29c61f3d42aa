//! The documents: links are valid, the files and commands that they name exist, and the first screen is what
//! a newcomer types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{CRATES, code_of, demand_none, documents, files, read, root, running_sources};

/// Documents that may name future commands.
const OF_THE_FUTURE: &[&str] = &["docs/roadmap.md"];

/// The first parts of words that look like paths of this repository: other paths in documents are the
/// readers' own.
fn beginnings() -> Vec<String> {
    let crates =
        CRATES.iter().flat_map(|folder| ["src", "tests", "examples", "tidy", "library"].map(|inside| format!("{folder}/{inside}/")));
    crates.chain(["docs/", "migrations/", ".ci/", ".cargo/"].map(str::to_owned)).collect()
}

#[test]
fn links_between_documents_are_valid() {
    let mut findings = Vec::new();
    let mut all = documents();
    all.extend(files("packs/library", ".md"));
    for (path, text) in all {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, anchor) = link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
            let folder = root().join(&path).parent().map(Path::to_owned).unwrap_or_default();
            let file = if target.is_empty() { root().join(&path) } else { folder.join(target) };
            if !file.exists() {
                findings.push(format!("{path}: {target}"));
            } else if let Some(anchor) = anchor
                && !std::fs::read_to_string(&file).unwrap_or_default().lines().any(|line| anchor_of(line).as_deref() == Some(anchor))
            {
                findings.push(format!("{path}: {target} has no heading #{anchor}"));
            }
        }
    }
    demand_none(&findings, "a link leads to a file that is there:");
}

/// The most columns of a line of prose.
const PROSE_COLUMNS: usize = 100;

#[test]
fn prose_fits_into_a_hundred_columns() {
    let mut findings = Vec::new();
    for (path, text) in files("", ".md") {
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_code ^= line.trim_start().starts_with("```");
            let is_prose = !is_code && !line.starts_with("    ") && !line.trim_start().starts_with('|');
            if is_prose && without_targets(line).chars().count() > PROSE_COLUMNS {
                findings.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    demand_none(&findings, &format!("break lines of prose after {PROSE_COLUMNS} columns at most:"));
}

/// Returns a line without the targets of its links, which have no place for a line break.
fn without_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| line + part.split_once(')').map_or(part, |(_, rest)| rest))
}

/// The anchor of a heading.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

#[test]
fn files_named_in_documents_exist() {
    let beginnings = beginnings();
    let mut named: Vec<(String, String)> = Vec::new();
    for (path, text) in documents() {
        let code = code_of(&text).join(" ");
        named.extend(words(&code).map(|word| (path.clone(), word.to_owned())));
    }
    for (path, text) in running_sources() {
        named.extend(words(&text).filter(|word| word.starts_with("docs/")).map(|word| (path.clone(), word.to_owned())));
    }
    let mut findings = BTreeSet::new();
    for (path, word) in named {
        let word = word.trim_end_matches(['.', ':', '/']);
        let is_ours = beginnings.iter().any(|beginning| word.starts_with(beginning.as_str()) && word.len() > beginning.len());
        // A path `docs/errors/…` without an extension is an address on a running node.
        let is_address = word.starts_with("docs/errors/") && !word.ends_with(".md");
        if is_ours && !is_address && !root().join(word).exists() {
            findings.insert(format!("{path}: {word}"));
        }
    }
    demand_none(&findings.into_iter().collect::<Vec<_>>(), "a document names files that are there:");
}

/// The words of a text that could be paths; words with a placeholder are left out.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '<' | '*' | '{' | '…' | '$');
    text.split(move |c: char| !is_part(c))
        .filter(|word| word.contains('/') && !word.contains(['<', '*', '{', '…', '$']) && !word.contains("//"))
}

/// A command of the command line: its subcommands, and the source text that contains its flags.
struct Command {
    verbs: Vec<String>,
    text: String,
}

/// The command-line spelling of a variant: `DeadLetters` is `dead-letters`.
fn kebab(variant: &str) -> String {
    let parts = variant.chars().enumerate().map(|(at, c)| if at > 0 && c.is_uppercase() { format!("-{c}") } else { c.to_string() });
    parts.collect::<String>().to_lowercase()
}

/// The commands by name, read from the sources of the command line: each variant of `Command` names the file
/// that has it.
fn commands() -> BTreeMap<String, Command> {
    let main = read("cli/src/commands.rs");
    let common: String = [main.clone(), read("cli/src/output.rs"), read("cli/src/commands/at_rest.rs")].concat();
    let mut commands = BTreeMap::new();
    for (name, place) in main.lines().filter_map(|line| line.strip_prefix("    ")?.split_once('(')) {
        let Some((file, _)) = place.split_once("::").filter(|_| name.starts_with(|c: char| c.is_uppercase())) else { continue };
        // Large commands have several files, in a folder of the command's name.
        let folder = format!("cli/src/commands/{file}");
        let parts: String =
            if root().join(&folder).is_dir() { files(&folder, ".rs").into_iter().map(|(_, text)| text).collect() } else { String::new() };
        // What `ensue bench` takes is the matter of the crate that measures.
        let elsewhere = if file == "bench" {
            ["bench/src/arguments.rs", "bench/src/arguments/sensor.rs", "bench/src/arguments/workflow.rs"].map(read).concat()
        } else {
            String::new()
        };
        let text = read(&format!("cli/src/commands/{file}.rs")) + &parts + &elsewhere;
        let variants = |of: &str| -> Vec<String> {
            let bodies = text.split(of).skip(1).map(|rest| rest.split("\n}").next().unwrap_or_default());
            let lines = bodies.flat_map(str::lines).filter_map(|line| line.strip_prefix("    "));
            let variants = lines.filter(|line| line.starts_with(|c: char| c.is_uppercase()));
            variants.map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()).collect()
        };
        let mut verbs = variants("Subcommand)]");
        if !verbs.is_empty() {
            // Values that a command accepts instead of a verb.
            verbs.extend(variants("ValueEnum)]"));
        }
        commands.insert(kebab(name), Command { verbs, text: format!("{text}{common}") });
    }
    for name in ["help", "version"] {
        commands.insert(name.to_owned(), Command { verbs: Vec::new(), text: common.clone() });
    }
    assert!(commands.contains_key("serve") && commands["log"].verbs.contains(&"verify".to_owned()), "the commands are written otherwise");
    commands
}

#[test]
fn commands_named_in_documents_exist() {
    let commands = commands();
    let mut findings = BTreeSet::new();
    let mut of_the_future = BTreeSet::new();
    for (path, text) in documents() {
        for line in code_of(&text) {
            let line = line.split(" #").next().unwrap_or_default();
            let begins = line.match_indices("ensue ").filter(|(at, _)| is_word_begin(line, *at));
            for rest in begins.map(|(at, found)| &line[at + found.len()..]) {
                let rest = rest.split([';', '|', '&']).next().unwrap_or_default();
                let Some(wrong) = wrong(&commands, rest) else { continue };
                if OF_THE_FUTURE.contains(&path.as_str()) {
                    of_the_future.insert(path.clone());
                } else {
                    findings.insert(format!("{path}: ensue {}: {wrong}", rest.trim()));
                }
            }
        }
    }
    for path in OF_THE_FUTURE.iter().filter(|path| !of_the_future.contains(**path)) {
        findings.insert(format!("{path} no longer names a future command: remove its exemption"));
    }
    demand_none(&findings.into_iter().collect::<Vec<_>>(), "a document names only existing commands (docs/roadmap.md lists others):");
}

/// Returns the unknown part of a command line; a line that does not begin with a command is ignored.
fn wrong(commands: &BTreeMap<String, Command>, line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_name =
        |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let name = words.next().filter(is_name)?;
    let Some(command) = commands.get(name) else { return Some(format!("there is no command `{name}`")) };
    let verb = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
    if let Some(verb) = verb
        && !command.verbs.is_empty()
        && !command.verbs.iter().any(|known| known == verb)
    {
        return Some(format!("there is no `{verb}`"));
    }
    let flags = line.split_whitespace().filter_map(|word| word.strip_prefix("--")).map(|flag| flag.split('=').next().unwrap_or_default());
    let is_known = |flag: &str| {
        let field = format!(" {}:", flag.replace('-', "_"));
        matches!(flag, "" | "help" | "version") || command.text.contains(&field) || command.text.contains(&format!("\"{flag}\""))
    };
    let missing = { flags }.find(|flag| !is_known(flag));
    missing.map(|flag| format!("there is no flag `--{flag}`"))
}

fn is_word_begin(line: &str, at: usize) -> bool {
    !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
}

#[test]
fn readme_starts_with_what_a_newcomer_types() {
    let readme = read("README.md");
    let head: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    assert!(head.contains("cargo run --release -- demo"), "README.md's first screen shows the demo");
    assert!(head.contains("cargo test --workspace"), "README.md's first screen shows the tests");
    let rule = read("packs/library/examples/rules/celebrate_merge.yaml");
    // The line for editors is not for readers.
    let (_, rule) = rule.split_once('\n').expect("the rule has lines");
    assert!(head.contains(rule.trim_end()), "README.md shows the library's rule `examples.celebrate_merge` as it is");
}

#[test]
fn each_document_is_in_the_list_of_documents() {
    let list = read("docs/README.md");
    let mut findings = Vec::new();
    for (path, _) in files("docs", ".md") {
        let inside = path.trim_start_matches("docs/");
        // The pages about errors are found by their slugs.
        if inside != "README.md" && !inside.starts_with("errors/") && !list.contains(&format!("]({inside})")) {
            findings.push(path);
        }
    }
    demand_none(&findings, "docs/README.md leads to each document:");
}
