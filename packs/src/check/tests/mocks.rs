//! Checks mocks: the step of each exists and can have the mocked outcome.

use std::collections::BTreeMap;

use ensue_engine::catalog::Extra;
use ensue_engine::executions::facts::{Failure, FailureKind};

use super::Reading;
use super::path::{FoundStep, Leads, Root};
use crate::cases::{Mock, Mocks, StepPath};
use crate::check::runner_results::Gives;
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, wrong_type};
use crate::syntax::{CASE_ERROR, MOCK};
use crate::yaml::{Content, Node, YamlEntry};

/// The mocks of a case, if it has any.
pub(super) type Read = Option<BTreeMap<StepPath, Mocks>>;

impl<'a> Reading<'_, 'a> {
    pub(super) fn mocks(&self, entry: Option<YamlEntry>, root: &Root<'a>, report: &mut Report) -> Option<Read> {
        let Some(entry) = entry else { return Some(None) };
        let Content::Map(entries) = entry.value.content else {
            wrong_type(&entry.value, "`mocks`", "a mapping of the names of steps to mocks", self.file, report);
            return None;
        };
        let mut mocks = BTreeMap::new();
        for YamlEntry { key, value } in entries {
            let found = self.find_mock_target(&key, root, report);
            if let Some(found) = &found
                && !self.takes_mocks(found, &key.span, report)
            {
                continue;
            }
            let read = self.several(value, found.as_ref(), 0, report);
            mocks.extend(found.zip(read).map(|(found, mocks)| (found.path, mocks)));
        }
        Some(Some(mocks))
    }

    /// Returns true if something can be mocked at all; reports it if not.
    fn takes_mocks(&self, found: &FoundStep<'_>, at: &std::ops::Range<usize>, report: &mut Report) -> bool {
        let name = &found.path;
        let (message, hint) = match found.leads {
            Leads::Action(_) | Leads::Inquiry(_) | Leads::Wait | Leads::Unknown => return true,
            Leads::Sleep if found.is_cancellable => return true,
            Leads::Workflow(workflow) => {
                let first = workflow.steps.first().map_or("<step>", |step| step.name.value.as_str());
                (
                    format!("`{name}` runs a workflow, which cannot be mocked as a whole"),
                    format!("mock its steps, for example `{name}.{first}`"),
                )
            }
            Leads::Sleep => {
                (format!("`{name}` sleeps and needs no mock: the clock of a test advances at once"), "remove the mock".to_owned())
            }
            Leads::Fail => (format!("`{name}` fails by itself and needs no mock"), "remove the mock".to_owned()),
            Leads::Assert => (
                format!("`{name}` asserts a condition, which a test really evaluates"),
                "remove the mock, and mock the steps that the condition reads".to_owned(),
            ),
        };
        report.error(Code::MockUnfit, self.file, at.clone(), message).hint(hint);
        false
    }

    fn several(&self, node: Node, found: Option<&FoundStep<'_>>, depth: usize, report: &mut Report) -> Option<Mocks> {
        let span = first_line(&node.span, self.file);
        match node.content {
            Content::List(items) if items.is_empty() => {
                let empty = Node { span: node.span, content: Content::List(items) };
                wrong_type(&empty, "mocks", "a mock or a list of at least one", self.file, report);
                None
            }
            Content::List(items) => {
                if let Some(found) = found
                    && depth > found.levels
                {
                    let message = format!("the list nests too deeply for `{}`", found.path);
                    let hint = match found.levels {
                        0 => "write a list with one mock for each attempt: the step runs once",
                        _ => {
                            "write a list with one mock for each item of `for_each` or turn of `repeat`, or with a list for each that \
                                has one mock for each attempt"
                        }
                    };
                    report.error(Code::MockUnfit, self.file, span, message).hint(hint);
                    return None;
                }
                let each: Vec<_> = items.into_iter().map(|item| self.several(item, found, depth + 1, report)).collect();
                each.into_iter().collect::<Option<_>>().map(Mocks::Each)
            }
            content => self.one(Node { span: node.span, content }, found, report).map(Mocks::One),
        }
    }

    fn one(&self, node: Node, found: Option<&FoundStep<'_>>, report: &mut Report) -> Option<Mock> {
        let span = first_line(&node.span, self.file);
        // An unknown or empty one has been reported.
        let is_told = |entry: &YamlEntry| MOCK.field(&entry.key.value).is_none() || matches!(entry.value.content, Content::Null);
        let has_reported = matches!(&node.content, Content::Map(entries) if entries.iter().any(is_told));
        let mut fields = FieldReader::open(node, &MOCK, self.file, report)?;
        let (has_by, by_at) = (fields.has("by"), fields.key_of("by"));
        let by = fields.text("by", report).map(|by| by.value);
        let mut kinds: Vec<YamlEntry> =
            ["result", "raw", "error", "answer", "event", "cancelled_by", "expired"].iter().filter_map(|name| fields.take(name)).collect();
        if let [first, second, ..] = kinds.as_slice() {
            let message = format!("a mock must have exactly one outcome; `{}` and `{}` are two", first.key.value, second.key.value);
            report.error(Code::NotExactlyOne, self.file, second.key.span.clone(), message);
            return None;
        }
        let Some(YamlEntry { key, value }) = kinds.pop() else {
            if !has_reported {
                report
                    .error(Code::NotExactlyOne, self.file, span, "a mock needs an outcome")
                    .hint("write `{ result: … }` or `{ error: { kind: exit_code } }`; for an inquiry `{ answer: … }`, for a wait `{ event: … }`, for either `{ expired: true }`");
            }
            return None;
        };
        if has_by && key.value != "answer" {
            report.error(Code::FieldOutOfPlace, self.file, by_at, "`by` says who answers, but there is no `answer`").hint("remove it");
            return None;
        }
        let mock = match key.value.as_str() {
            "result" => Mock::Result(value.to_value()),
            "raw" if matches!(value.content, Content::Map(_)) => Mock::Raw(value.to_value()),
            "raw" => {
                wrong_type(&value, "`raw`", "a mapping of what the runner returns", self.file, report);
                return None;
            }
            "error" => Mock::Error(self.error(value.clone(), report)?),
            "answer" => Mock::Answer { answer: value.to_value(), by },
            "event" if matches!(value.content, Content::Map(_)) => Mock::Event(value.to_value()),
            "event" => {
                wrong_type(&value, "`event`", "a mapping with the payload", self.file, report);
                return None;
            }
            "cancelled_by" if matches!(value.content, Content::Map(_)) => Mock::CancelledBy(value.to_value()),
            "cancelled_by" => {
                wrong_type(&value, "`cancelled_by`", "a mapping with the payload", self.file, report);
                return None;
            }
            _ if matches!(value.content, Content::Bool(true)) => Mock::Expired,
            _ => {
                wrong_type(&value, "`expired`", "`true` if it is given", self.file, report);
                return None;
            }
        };
        if let Some(found) = found {
            self.suits(&mock, &YamlEntry { key, value }, found, report);
        }
        Some(mock)
    }

    fn error(&self, node: Node, report: &mut Report) -> Option<Failure> {
        let mut fields = FieldReader::open(node, &CASE_ERROR, self.file, report)?;
        if !fields.has("kind") {
            fields.take_required("kind", report);
        }
        let kinds = FailureKind::ALL.map(|kind| (kind.as_str(), kind));
        let known = super::expected::words_of(&CASE_ERROR, "kind");
        let kinds: Vec<(&'static str, FailureKind)> = kinds.into_iter().filter(|(name, _)| known.contains(name)).collect();
        let kind = fields.choice("kind", &kinds, report);
        let message = fields.text("message", report).map_or_else(|| "mocked failure".to_owned(), |message| message.value);
        let detail = fields.integer("detail", report);
        Some(Failure { detail, ..Failure::new(kind?, message) })
    }

    /// Reports a mock whose outcome is impossible for the mocked step.
    fn suits(&self, mock: &Mock, YamlEntry { key, value }: &YamlEntry, found: &FoundStep<'_>, report: &mut Report) {
        let name = &found.path;
        match (found.leads, mock) {
            (Leads::Unknown, _) => {}
            (_, Mock::CancelledBy(_)) if found.is_cancellable => {}
            (_, Mock::CancelledBy(_)) => {
                report
                    .error(Code::MockUnfit, self.file, key.span.clone(), format!("no event cancels `{name}`: it has no `cancel_when`"))
                    .hint("add `cancel_when` to the step, or write another outcome");
            }
            (Leads::Sleep, _) => {
                report
                    .error(Code::MockUnfit, self.file, key.span.clone(), format!("`{name}` sleeps, and only an event ends it earlier"))
                    .hint("write `{ cancelled_by: … }`, or remove the mock: the clock of a test advances at once");
            }
            (Leads::Action(action), Mock::Result(_)) => {
                if let Some(schema) = &action.result {
                    self.fits(value, &format!("the result of the action of `{name}`"), schema, Extra::Allowed, report);
                }
                if let Some(gives) = Gives::of(&action.run).filter(|_| action.output.is_none()) {
                    gives.check_mock(value, self.file, report);
                }
            }
            (Leads::Action(action), Mock::Raw(_)) if action.output.is_some() => {
                if let Some(gives) = Gives::of(&action.run) {
                    gives.check_mock(value, self.file, report);
                }
            }
            (Leads::Action(_), Mock::Raw(_)) => {
                report
                    .error(
                        Code::MockUnfit,
                        self.file,
                        key.span.clone(),
                        format!("the action of `{name}` has no `output` that maps what its runner returns"),
                    )
                    .hint("write `{ result: … }`");
            }
            (Leads::Inquiry(Some(schema)), Mock::Answer { .. }) => {
                self.fits(value, &format!("the answer that `{name}` asks for"), schema, Extra::Refused, report);
            }
            (Leads::Action(_), Mock::Error(_))
            | (Leads::Inquiry(_), Mock::Answer { .. } | Mock::Expired)
            | (Leads::Wait, Mock::Event(_) | Mock::Expired) => {}
            (Leads::Action(_), Mock::Answer { .. } | Mock::Event(_) | Mock::Expired) => {
                report
                    .error(
                        Code::MockUnfit,
                        self.file,
                        key.span.clone(),
                        format!("`{name}` runs an action and does not wait for an answer or an event"),
                    )
                    .hint("write `{ result: … }` or `{ error: { kind: exit_code } }`");
            }
            (Leads::Wait, Mock::Result(_) | Mock::Raw(_) | Mock::Error(_) | Mock::Answer { .. }) => {
                report
                    .error(Code::MockUnfit, self.file, key.span.clone(), format!("`{name}` waits for an event"))
                    .hint("write `{ event: … }` with the fields of the payload that matter, or `{ expired: true }`");
            }
            (Leads::Inquiry(_), Mock::Result(_) | Mock::Raw(_) | Mock::Error(_) | Mock::Event(_)) => {
                report
                    .error(Code::MockUnfit, self.file, key.span.clone(), format!("`{name}` asks people and ends with their answer"))
                    .hint("write `{ answer: … }` or `{ expired: true }`");
            }
            (Leads::Workflow(_) | Leads::Fail | Leads::Assert, _) => {}
        }
    }
}
