//! Finds code that is valid but probably not meant: rules that never match, that are contained in
//! others or that trigger themselves, and unused names.
//!
//! It reports only proven findings, and only for packs without errors. A comment `# lint: allow <code>` in a
//! file silences a code there.

mod conditions;
mod containment;
mod loops;
mod unused;

use std::collections::BTreeMap;
use std::ops::Range;

use ensue_engine::names::{PackName, RuleRef};
use ensue_expression::Expression;

use crate::definitions::{CheckedRule, PackDefinitions};
use crate::diagnostics::{Code, Report, Severity};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::{self, Content, Node, Offsets, YamlEntry};

/// The prefix of a comment that silences codes in its file.
const ALLOW: &str = "lint: allow ";

/// Returns the findings of each pack.
pub(crate) fn findings(packs: &[PackDefinitions<'_>]) -> BTreeMap<PackName, Report> {
    let mut findings = Findings::default();
    let rules: Vec<RuleInPack<'_>> = packs.iter().flat_map(rules_of).collect();
    let never = conditions::look(packs, &rules, &mut findings);
    containment::look(packs, &rules, &never, &mut findings);
    loops::look(packs, &rules, &mut findings);
    for pack in packs.iter().filter(|pack| pack.is_reported) {
        unused::look(pack, &mut findings);
    }
    findings.reports
}

/// A rule as understood and as written.
#[derive(Clone, Copy)]
struct RuleInPack<'a> {
    pack: &'a PackDefinitions<'a>,
    checked: &'a CheckedRule,
    written: &'a syntax::Rule,
    file: &'a SourceText,
}

impl RuleInPack<'_> {
    fn name(&self) -> &RuleRef {
        &self.checked.name
    }
}

fn rules_of<'a>(pack: &'a PackDefinitions<'a>) -> impl Iterator<Item = RuleInPack<'a>> {
    pack.parts.rules.iter().filter_map(move |checked| {
        let defined = pack.pack.rules.get(checked.name.name())?;
        Some(RuleInPack { pack, checked, written: defined.body.as_ref()?, file: &defined.file })
    })
}

/// The findings, by pack.
#[derive(Default)]
struct Findings {
    reports: BTreeMap<PackName, Report>,
}

/// One finding.
struct LintFinding {
    severity: Severity,
    code: Code,
    span: Range<usize>,
    message: String,
    hint: String,
}

impl Findings {
    /// Reports a finding in a file of a pack, unless the file allows it.
    fn report(&mut self, pack: &PackName, file: &SourceText, finding: LintFinding) {
        if is_allowed(file, finding.code.slug()) {
            return;
        }
        let report = self.reports.entry(pack.clone()).or_default();
        let diagnostic = match finding.severity {
            Severity::Error => report.error(finding.code, file, finding.span, finding.message),
            Severity::Warning => report.warning(finding.code, file, finding.span, finding.message),
            Severity::Note => report.note(finding.code, file, finding.span, finding.message),
        };
        diagnostic.hint(finding.hint);
    }
}

fn is_allowed(file: &SourceText, slug: &str) -> bool {
    let comments = file.text().lines().filter_map(|line| line.trim_start().strip_prefix('#'));
    let mut allowed = comments.filter_map(|comment| comment.trim_start().strip_prefix(ALLOW));
    allowed.any(|codes| codes.split([',', ' ']).any(|code| code == slug))
}

/// Returns the place of a part of an expression.
fn locate_part(file: &SourceText, node: &Node, expression: &Expression, span: Range<usize>) -> Range<usize> {
    let Content::Text { value, style } = &node.content else { return first_line(&node.span, file) };
    let offset = value.find(expression.source()).unwrap_or(0);
    Offsets::align(value, file.slice(&node.span), *style, node.span.start).of(&(span.start + offset..span.end + offset))
}

/// Returns the place of a field's name, in the file of a definition that may hold several definitions.
fn place_of(file: &SourceText, several: &str, definition: &str, path: &[&str]) -> Range<usize> {
    let root = yaml::parse(file, &mut Report::default());
    let root = root.as_ref().and_then(|root| root.at(&format!("/{several}/{definition}")).or(Some(root)));
    root.and_then(|root| key_at(root, path)).unwrap_or(0..0)
}

fn key_at(node: &Node, path: &[&str]) -> Option<Range<usize>> {
    let (name, rest) = path.split_first()?;
    let Content::Map(entries) = &node.content else { return None };
    let entry: &YamlEntry = entries.iter().find(|entry| entry.key.value == *name)?;
    if rest.is_empty() { Some(entry.key.span.clone()) } else { key_at(&entry.value, rest) }
}
