//! The documents: error pages and slugs are the same list, links lead somewhere, the readers' first commands are there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{demand_none, files, read, root, rust_sources};

/// Every slug that an `Explain` of the house gives: the string literals of the bodies of `fn slug`.
fn slugs() -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    for (path, text) in rust_sources() {
        if path.starts_with("tests/") || path.contains("/tests") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        for body in code.split("fn slug(&self) -> &'static str {").skip(1) {
            let end = body.find("\n    }").unwrap_or(body.len());
            let literals = body[..end].split('"').skip(1).step_by(2);
            slugs.extend(literals.map(str::to_owned));
        }
    }
    slugs
}

#[test]
fn each_slug_has_a_page_and_each_page_a_slug() {
    let pages: BTreeSet<String> = files("docs/errors", ".md")
        .into_iter()
        .filter_map(|(path, _)| Path::new(&path).file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|name| name != "README")
        .collect();
    let slugs = slugs();
    let known_to_api: BTreeSet<String> = read("api/src/pages.rs").split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let mut findings: Vec<String> = slugs.difference(&pages).map(|slug| format!("docs/errors/{slug}.md is missing")).collect();
    let unused = pages.difference(&slugs).filter(|slug| !code_names(slug) && !known_to_api.contains(*slug));
    findings.extend(unused.map(|slug| format!("docs/errors/{slug}.md is for no error")));
    demand_none(&findings, "every error that a person can meet has a page, and every page an error:");
}

/// Says whether the API's own problems use the slug, which are not an `Explain` each.
fn code_names(slug: &str) -> bool {
    let quoted = format!("\"{slug}\"");
    files("api/src", ".rs").iter().any(|(_, text)| text.contains(&quoted))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    let mut documents = files("docs", ".md");
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        documents.push((name.to_owned(), read(name)));
    }
    for (path, text) in documents {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or(link);
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let from = root().join(&path);
            let folder = from.parent().unwrap_or(Path::new("."));
            if !folder.join(target).exists() {
                findings.push(format!("{path}: {target}"));
            }
        }
    }
    demand_none(&findings, "a link leads to a file that is there:");
}

#[test]
fn the_readme_opens_with_what_a_newcomer_types() {
    let readme = read("README.md");
    let head: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    assert!(head.contains("cargo run --release -- demo"), "README.md's first screen shows the demo");
    assert!(head.contains("cargo test --workspace"), "README.md's first screen shows the tests");
}

#[test]
fn the_architecture_names_a_test_for_each_invariant() {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Invariants").nth(1).expect("ARCHITECTURE.md has the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let sources: String = rust_sources().into_iter().map(|(_, text)| text).collect();
    let mut findings = Vec::new();
    let mut rows = 0;
    for line in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Invariant") && !line.starts_with("| ---")) {
        rows += 1;
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            findings.push(format!("no test is named: {line}"));
        }
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !sources.contains(&format!("fn {name}(")) && !sources.contains(&format!("{name}:")) {
                findings.push(format!("there is no test `{test}`"));
            }
        }
    }
    assert!(rows >= 8, "the table of invariants has {rows} rows; its shape has changed");
    demand_none(&findings, "an invariant has a test:");
}
