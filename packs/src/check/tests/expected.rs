//! Checks the expectations of a case: its rules and steps exist, and their parameters fit.

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::names::{ActionRef, RuleRef};
use ensue_expression::nearest;
use serde_json::Value;

use super::Reading;
use super::path::{Leads, Root};
use crate::cases::{
    Closeness, ExpectedEnd, ExpectedEnforcement, ExpectedError, ExpectedItem, ExpectedOutcome, ExpectedStep, Status, StepPath,
};
use crate::check::refs::{action_named, own_rule};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, quote_names, text, wrong_type};
use crate::shape::{Kind, Shape};
use crate::syntax::{
    ENFORCEMENT, ENFORCEMENT_OUTCOMES, EXPECTED_END, EXPECTED_ERROR, EXPECTED_ITEM, EXPECTED_STEP, STATUSES, STEP_STATUSES,
};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

/// The hints about a rule that a case expects something of.
const OF_THE_TEST: &str = "name a rule of the test's own pack";
const NO_RULE: &str = "name a rule of the test's own pack; this pack has none, so write `expect: []`";

/// The outcomes in the order of their names.
const OUTCOMES: [ExpectedOutcome; 8] = [
    ExpectedOutcome::Executed,
    ExpectedOutcome::Shadowed,
    ExpectedOutcome::Rejected,
    ExpectedOutcome::Erred,
    ExpectedOutcome::Deduplicated,
    ExpectedOutcome::Throttled,
    ExpectedOutcome::Skipped,
    ExpectedOutcome::Superseded,
];

impl<'a> Reading<'_, 'a> {
    pub(super) fn enforcements(&mut self, entry: YamlEntry, is_run: bool, report: &mut Report) -> Option<Vec<ExpectedEnforcement>> {
        let Content::List(items) = entry.value.content else {
            let message = "a list of what the rules decide (`[]` if nothing should match)";
            wrong_type(&entry.value, "`expect`", message, self.file, report);
            return None;
        };
        let all: Vec<_> = items.into_iter().map(|item| self.enforcement(item, is_run, report)).collect();
        all.into_iter().collect()
    }

    fn enforcement(&mut self, node: Node, is_run: bool, report: &mut Report) -> Option<ExpectedEnforcement> {
        let line = self.line(&node.span);
        let mut fields = FieldReader::open(node, &ENFORCEMENT, self.file, report)?;
        if !fields.has("rule") {
            fields.take_required("rule", report);
        }
        let rule =
            fields.text("rule", report).and_then(|written| own_rule(self.checking, self.file, &written, (OF_THE_TEST, NO_RULE), report));
        let root = match &rule {
            Some(rule) => {
                let defined = self.checking.pack.rules.get(rule.name());
                Root::rule(self.checking.world, rule.name(), defined.and_then(|defined| defined.body.as_ref()))
            }
            None => Root::Unknown,
        };
        let action = match fields.text("action", report) {
            Some(written) => Some(self.run_by(&written, rule.as_ref(), report)?),
            None => None,
        };
        let with = self.values(&mut fields, "with", &root, report);
        let outcomes: Vec<_> = ENFORCEMENT_OUTCOMES.into_iter().zip(OUTCOMES).collect();
        let outcome = fields.choice("outcome", &outcomes, report).unwrap_or_default();
        let ends_at = ["status", "result", "steps", "undone"].into_iter().find(|name| fields.has(name)).map(|name| fields.key_of(name));
        let end = self.end(&mut fields, line, &root, report);
        if let Some(at) = ends_at.filter(|_| !is_run) {
            report
                .error(
                    Code::MockUnfit,
                    self.file,
                    at,
                    "this is known only when the execution has ended, and without `mocks` there is no execution",
                )
                .hint("mock its steps under the rule's name; or, if each action has a `mock` of its own, write\nmocks: {}");
        }
        Some(ExpectedEnforcement { line, rule: rule?, action, with, outcome, end: end? })
    }

    /// Finds the action that a rule runs; a rule made of steps runs itself.
    fn run_by(&mut self, written: &WithSpan<String>, rule: Option<&RuleRef>, report: &mut Report) -> Option<ActionRef> {
        if rule.is_some_and(|rule| rule.as_str() == written.value) {
            return written.value.parse().ok();
        }
        action_named(self.checking, self.file, written, "case", report).map(|(action, _)| action)
    }

    pub(super) fn expected_end(&mut self, entry: YamlEntry, root: &Root<'a>, report: &mut Report) -> Option<ExpectedEnd> {
        let line = self.line(&entry.key.span);
        let mut fields = FieldReader::open(entry.value, &EXPECTED_END, self.file, report)?;
        self.end(&mut fields, line, root, report)
    }

    fn end(&mut self, fields: &mut FieldReader<'_>, line: usize, root: &Root<'a>, report: &mut Report) -> Option<ExpectedEnd> {
        let status = status(fields, &STATUSES, report);
        let result = fields.take("result").map(|entry| entry.value.to_value());
        let error = self.expected_error(fields, report);
        let closeness = closeness(fields, report);
        let steps = fields.mapping("steps", report).unwrap_or_default();
        let steps: Vec<_> = steps.into_iter().map(|entry| self.expected_step(entry, root, report)).collect();
        let steps = steps.into_iter().collect::<Option<_>>()?;
        let undone = if fields.has("undone") {
            let hint = ("the name of a step", "remove the line if the test should not check this");
            let names = fields.text_or_texts("undone", hint, report)?;
            let names = names.into_iter().map(|name| {
                let written = text(name, "an item of `undone`", self.file, report)?;
                Some(self.step(&written, root, report)?.path)
            });
            Some(names.collect::<Option<Vec<StepPath>>>()?)
        } else {
            None
        };
        Some(ExpectedEnd { line, status, result, error, steps, undone, closeness })
    }

    fn expected_step(&self, YamlEntry { key, value }: YamlEntry, root: &Root<'a>, report: &mut Report) -> Option<ExpectedStep> {
        let line = self.line(&key.span);
        let found = self.step(&key, root, report);
        let leads = found.as_ref().map_or(Leads::Unknown, |found| found.leads);
        if let Some(is) = self.word(&value, line, report) {
            return Some(ExpectedStep { line, path: found?.path, is: is?, items: None });
        }
        let mut fields = FieldReader::open(value, &EXPECTED_STEP, self.file, report)?;
        let items = match fields.take("items") {
            Some(YamlEntry { value: Node { content: Content::List(items), .. }, .. }) => {
                let items: Vec<_> = items.into_iter().map(|item| self.expected_item(item, leads, report)).collect();
                Some(items.into_iter().collect::<Option<_>>()?)
            }
            Some(entry) => {
                wrong_type(&entry.value, "`items`", "a list of statuses or expectations", self.file, report);
                return None;
            }
            None => None,
        };
        let is = self.item_fields(&mut fields, line, leads, report);
        Some(ExpectedStep { line, path: found?.path, is, items })
    }

    fn expected_item(&self, node: Node, leads: Leads<'a>, report: &mut Report) -> Option<ExpectedItem> {
        let line = self.line(&node.span);
        if let Some(is) = self.word(&node, line, report) {
            return is;
        }
        let mut fields = FieldReader::open(node, &EXPECTED_ITEM, self.file, report)?;
        Some(self.item_fields(&mut fields, line, leads, report))
    }

    /// Reads a bare status; returns `None` if the node is more than that.
    fn word(&self, node: &Node, line: usize, report: &mut Report) -> Option<Option<ExpectedItem>> {
        let Content::Text { value, .. } = &node.content else { return None };
        let status = Status::from_name(value);
        if status.is_none() {
            report
                .error(Code::InvalidValue, self.file, node.span.clone(), format!("a step cannot end as `{value}`"))
                .did_you_mean(nearest(value, STEP_STATUSES))
                .hint(format!("use one of {}", quote_names(&STEP_STATUSES)));
        }
        Some(status.map(|status| ExpectedItem { line, status: Some(status), ..ExpectedItem::default() }))
    }

    fn item_fields(&self, fields: &mut FieldReader<'_>, line: usize, leads: Leads<'a>, report: &mut Report) -> ExpectedItem {
        let root = Root::Action { name: String::new(), leads };
        ExpectedItem {
            line,
            status: status(fields, &STEP_STATUSES, report),
            with: self.values(fields, "with", &root, report),
            result: fields.take("result").map(|entry| entry.value.to_value()),
            error: self.expected_error(fields, report),
            attempts: fields.integer("attempts", report).and_then(|attempts| u32::try_from(attempts).ok()),
            closeness: closeness(fields, report),
        }
    }

    /// Reads parameters whose names the action declares.
    fn values(&self, fields: &mut FieldReader<'_>, name: &str, root: &Root<'a>, report: &mut Report) -> Option<Value> {
        let YamlEntry { value: node, .. } = fields.take(name)?;
        if !matches!(node.content, Content::Map(_)) {
            wrong_type(&node, &format!("`{name}`"), "a mapping of parameters", self.file, report);
            return None;
        }
        if let Root::Action { leads: Leads::Action(action), .. } = root
            && let Some(parameters) = action.parameters.as_ref().and_then(|schema| schema.fields())
        {
            self.report_unknown_names(&node, "the action", parameters, report);
        }
        Some(node.to_value())
    }

    fn expected_error(&self, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<ExpectedError> {
        let entry = fields.take("error")?;
        let mut fields = FieldReader::open(entry.value, &EXPECTED_ERROR, self.file, report)?;
        let kinds = FailureKind::ALL.map(|kind| (kind.as_str(), kind));
        Some(ExpectedError {
            kind: fields.choice("kind", &kinds, report),
            message: fields.text("message", report).map(|message| message.value),
            detail: fields.integer("detail", report),
        })
    }
}

fn status(fields: &mut FieldReader<'_>, words: &[&'static str], report: &mut Report) -> Option<Status> {
    let statuses: Vec<(&'static str, Status)> = words.iter().filter_map(|word| Some((*word, Status::from_name(word)?))).collect();
    fields.choice("status", &statuses, report)
}

pub(super) fn closeness(fields: &mut FieldReader<'_>, report: &mut Report) -> Closeness {
    if fields.boolean("exactly", report).unwrap_or(false) { Closeness::Equals } else { Closeness::Contains }
}

/// Returns the words that a field may hold.
pub(super) fn words_of(shape: &Shape, field: &str) -> &'static [&'static str] {
    match shape.field(field).map(|field| &field.kind) {
        Some(Kind::Choice(words)) => words,
        _ => &[],
    }
}
