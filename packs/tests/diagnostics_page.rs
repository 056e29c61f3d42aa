//! The page of the diagnostics: each example shows the real output, and each example has one error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::support::{demo, lint_packs, shown_alone};
use ensue_packs::{Code, PackSource};

/// Codes without an example, because a page cannot show their subject.
const WITHOUT_EXAMPLE: [Code; 8] = [
    Code::NotUtf8,
    Code::FileTooLarge,
    Code::TooManyPatterns,
    Code::VersionLowered,
    Code::NeedsBrokenPack,
    Code::ConfigInvalid,
    Code::UrlUnset,
    Code::MoreLeftOut,
];

/// The variable that makes the test rewrite the page's outputs.
const UPDATE: &str = "UPDATE_DOCS";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/diagnostics.md")
}

/// A section of the page: the text before its output, the output, and the text after it.
struct Section<'a> {
    slug: &'a str,
    before: String,
    output: Option<String>,
    after: String,
}

/// Splits the page at the headings of codes.
fn sections(text: &str) -> (String, Vec<Section<'_>>) {
    let mut parts = text.split("\n### `");
    let head = parts.next().unwrap_or_default().to_owned();
    let sections = parts.map(|part| {
        let (slug, rest) = part.split_once("`\n").expect("a heading ends in a backtick");
        match rest.split_once("\ngives\n\n") {
            None => Section { slug, before: rest.to_owned(), output: None, after: String::new() },
            Some((before, rest)) => {
                let is_code = |line: &&str| line.is_empty() || line.starts_with("    ");
                let output: Vec<&str> = rest.lines().take_while(is_code).collect();
                let after: Vec<&str> = rest.lines().skip(output.len()).collect();
                let output = output.iter().map(|line| line.strip_prefix("    ").unwrap_or("")).collect::<Vec<_>>().join("\n");
                Section { slug, before: before.to_owned(), output: Some(output.trim_end().to_owned()), after: after.join("\n") }
            }
        }
    });
    let sections = sections.collect();
    (head, sections)
}

/// The files of an example: a path in backticks with a colon, and the indented lines below it.
fn files(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut files = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(path) = line.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:")) else { continue };
        let block = lines[at + 2..].iter().take_while(|line| line.is_empty() || line.starts_with("    "));
        let text: Vec<&str> = block.map(|line| line.strip_prefix("    ").unwrap_or("")).collect();
        files.push((path.to_owned(), format!("{}\n", text.join("\n").trim_end())));
    }
    files
}

/// The packs of an example: the demo with the files that are shown, and others.
fn packs(files: &[(String, String)]) -> Vec<PackSource> {
    let mut by_pack: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::from([("demo", Vec::new())]);
    for (path, text) in files {
        let (pack, inside) = path.strip_prefix("packs/").and_then(|path| path.split_once('/')).expect("a path is of a pack");
        by_pack.entry(pack).or_default().push((inside, text));
    }
    let source = |(pack, files): (&str, Vec<(&str, &str)>)| match pack {
        "demo" => demo(&files),
        _ => {
            PackSource::of(format!("packs/{pack}"), files.into_iter().map(|(path, text)| (path, text.to_owned()))).expect("paths of a pack")
        }
    };
    by_pack.into_iter().rev().map(source).collect()
}

#[test]
fn each_example_of_the_diagnostics_page_shows_the_real_output() {
    let text = fs::read_to_string(page()).unwrap();
    let (head, sections) = sections(&text);
    let mut whole = head;
    let mut wrong = Vec::new();
    for section in &sections {
        let code = Code::of_slug(section.slug).unwrap_or_else(|| panic!("`{}` is no code", section.slug));
        whole.push_str(&format!("\n### `{}`\n{}", section.slug, section.before));
        let Some(output) = &section.output else { continue };
        let reported = shown_alone(&lint_packs(&packs(&files(&section.before))), code);
        let reported = reported.unwrap_or_else(|reported| panic!("the example of `{}` has not one mistake:\n{reported}", section.slug));
        if reported.trim_end() != output {
            wrong.push(format!("`{}` gives\n{reported}", section.slug));
        }
        let indented: Vec<String> =
            reported.trim_end().lines().map(|line| if line.is_empty() { String::new() } else { format!("    {line}") }).collect();
        whole.push_str(&format!("\ngives\n\n{}\n\n{}\n", indented.join("\n"), section.after.trim_end()));
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(page(), whole).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "set {UPDATE}=1 to rewrite the page:\n{}", wrong.join("\n"));
}

#[test]
fn each_code_has_an_example_unless_a_page_cannot_show_it() {
    let text = fs::read_to_string(page()).unwrap();
    let without = sections(&text).1.into_iter().filter(|section| section.output.is_none());
    let without: BTreeSet<Code> = without.filter_map(|section| Code::of_slug(section.slug)).collect();
    assert_eq!(without, BTreeSet::from(WITHOUT_EXAMPLE));
}
