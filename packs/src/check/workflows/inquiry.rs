//! Checks `inquiry` and the names that it can read, and turns it into the parameters of the library's action
//! for inquiries.

use std::time::Duration;

use ensue_engine::catalog::{self, Builtin, Extra, Schema};
use ensue_engine::inquiries::facts::Occasion;
use ensue_engine::inquiries::question::{ANSWER, REQUESTER};
use ensue_engine::names::ActionRef;
use ensue_engine::time::duration_text;
use ensue_expression::{MapType, Occurrence, Others, Template, ValueType};
use serde_json::{Value, json};

use super::step_ends::KnownEnd;
use super::{Holds, Reader, Steps, period_taker};
use crate::check::expression_findings::Taker;
use crate::check::parameters::{MappingCheck, with};
use crate::check::schemas::{ValueForm, type_of};
use crate::check::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::is_one_expression;
use crate::syntax::{self, Inquiry, Notify, Period, Remind};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

impl Steps<'_> {
    pub(super) fn inquiry(
        &mut self,
        place: usize,
        asked: &Inquiry,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::Task> {
        let answer = asked.answer.as_ref()?;
        let veto = match &asked.veto {
            Some(node) => Some(self.veto(node, answer, report)?),
            None => None,
        };
        self.look_into_answer(asked, answer, report);
        self.look_into_excluded(asked, report);
        let mut given = vec![("title", asked.title.clone())];
        given.extend(asked.text.clone().map(|text| ("text", text)));
        given.push(("answer", literal(&schema_json(answer), &asked.title)));
        given.push(("assignees", list(&asked.assignees, &asked.title)));
        given.extend(asked.quorum.map(|quorum| ("quorum", literal(&json!(quorum), &asked.title))));
        given.extend(veto.map(|veto| ("veto", literal(&json!(veto), &asked.title))));
        given.extend(asked.exclude.as_ref().map(|names| ("exclude", list(names, &asked.title))));
        given.extend(asked.digest.map(|digest| ("digest", literal(&json!(digest), &asked.title))));
        self.look_into_times(asked, report);
        given.extend(asked.expires.as_ref().map(|expires| ("expires", period(expires, &asked.title))));
        given.extend(asked.on_expire.clone().map(|answer| ("on_expire", mapping([(ANSWER, answer)], &asked.title))));
        given.extend(asked.remind.as_ref().map(|remind| ("remind", reminders(remind, &asked.title))));
        if !asked.escalate.is_empty() {
            let escalations = asked.escalate.iter().map(|escalation| {
                mapping([("after", period(&escalation.after, &asked.title)), ("to", list(&escalation.to, &asked.title))], &asked.title)
            });
            given.push(("escalate", list(&escalations.collect::<Vec<_>>(), &asked.title)));
        }
        let with = mapping(given, &asked.title);
        let reads = self.look(Reader::Step(place), scope, &with, Holds::Value, report);
        let scope = self.with_steps(scope.clone(), &reads, place, end);
        self.look_into_texts(asked, &scope, report)?;
        let action = catalog::INQUIRY.parse().expect("the name of a library's action is one");
        Some(catalog::Task::Action { action, with: scope.template(&with, report)? })
    }

    /// Compiles the veto to check it. The veto is stored with the inquiry as it was written.
    fn veto(&self, node: &Node, answer: &Schema, report: &mut Report) -> Option<String> {
        let answer = type_of(answer, ValueForm::Accepted, "the fields of the answer", None);
        let scope = Scope::new(self.file).with(ANSWER, answer);
        Some(scope.condition(node, "`veto`", report)?.source().to_owned())
    }

    /// Checks the answer that applies at expiry against the schema of answers.
    fn look_into_answer(&self, asked: &Inquiry, answer: &Schema, report: &mut Report) {
        if let Some(node) = &asked.on_expire {
            let (at, taker) = (node.span.clone(), "the answer".to_owned());
            MappingCheck { file: self.file, node: Some(node), at, taker, called: "field" }.check(answer, Extra::Refused, report);
        }
    }

    /// Reports excluded assignees that are not valid names.
    fn look_into_excluded(&self, asked: &Inquiry, report: &mut Report) {
        for name in asked.exclude.iter().flatten() {
            if let Content::Text { value, .. } = &name.content
                && value.starts_with("role:")
            {
                let message = format!("`{value}` is a role, but people can only be excluded one by one");
                report
                    .error(Code::InvalidValue, self.file, name.span.clone(), message)
                    .hint(format!("write `{REQUESTER}` for the person who requested the work; any other word is the name of a token"));
            }
        }
    }

    /// Compiles the notification of assignees. Returns `None` if it has an error, which is reported.
    pub(super) fn notify(
        &mut self,
        place: usize,
        (asked, notify): (&Inquiry, &Notify),
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::Notify> {
        let fields = MapType::new(Others::None)
            .with_wording("the fields of `inquiry`", None)
            .with("id", ValueType::text(), Occurrence::Always)
            .with("title", ValueType::text(), Occurrence::Always)
            .with("text", ValueType::text(), Occurrence::Always)
            .with("url", ValueType::text(), Occurrence::Always)
            .with("link", ValueType::text(), Occurrence::Always)
            .with("assignees", ValueType::list(ValueType::text()), Occurrence::Always)
            .with("expires_at", ValueType::text().or_null(), Occurrence::Always)
            .with("occasion", ValueType::one_of(Occasion::ALL.map(Occasion::as_str)), Occurrence::Always);
        let scope = scope.clone().with("inquiry", ValueType::map(fields));
        let scope = match &notify.with {
            Some(node) => {
                let reads = self.look(Reader::Step(place), &scope, node, Holds::Value, report);
                self.with_steps(scope, &reads, place, end)
            }
            None => scope,
        };
        let named = self.notify_actions[place].as_ref();
        if let Some((name, Some(action))) = named
            && let syntax::WrittenRun::Workflow(_)
            | syntax::WrittenRun::Builtin { which: Builtin::Sleep | Builtin::Inquiry | Builtin::Wait, .. } = &action.run
        {
            let message = format!("`{name}` consists of steps or waits, so it cannot notify people");
            report
                .error(Code::InvalidValue, self.file, notify.action.span.clone(), message)
                .hint("use an action that runs a program, a request or a script");
            return None;
        }
        let parameters = named.and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
        let with = with(self.file, &notify.action, notify.with.as_ref(), parameters, &scope, report)?;
        if let (Some(node), true) = (&notify.with, reads_link(&with)) {
            self.look_into_link(node, asked, named.and_then(|(name, action)| Some((name, (*action)?))), report);
        }
        Some(catalog::Notify { action: named?.0.clone(), with })
    }

    /// Reports a link where nobody would get one: it is for exactly one person, and only for what leaves the node.
    fn look_into_link(&self, with: &Node, asked: &Inquiry, named: Option<(&ActionRef, &syntax::Action)>, report: &mut Report) {
        let is_role = |node: &&Node| matches!(&node.content, Content::Text { value, .. } if value.starts_with("role:"));
        let role = asked.assignees.iter().find(is_role);
        let records =
            named.filter(|(_, action)| matches!(&action.run, syntax::WrittenRun::Builtin { .. } | syntax::WrittenRun::Emit { .. }));
        let message = match (role, asked.assignees.len(), records) {
            (Some(role), ..) => {
                let role = self.file.slice(&role.span);
                format!("`inquiry.link` lets one person answer, but `{role}` may be several people")
            }
            (None, 2.., _) => "`inquiry.link` lets one person answer, but the inquiry asks several".to_owned(),
            (None, _, Some((name, _))) => format!("`{name}` records what it is given, so it never gets `inquiry.link`"),
            (None, _, None) => return,
        };
        report.error(Code::InvalidValue, self.file, with.span.clone(), message).hint("use `inquiry.url`, at which people log in to answer");
    }

    /// Reports times that lie after the expiry.
    fn look_into_times(&self, asked: &Inquiry, report: &mut Report) {
        let Some(expires) = asked.expires.as_ref().and_then(Period::fixed_duration) else { return };
        let remind = asked.remind.iter().map(|remind| ("`remind`", &remind.every, &remind.at));
        let escalations = asked.escalate.iter().map(|escalation| ("this", &escalation.after, &escalation.at));
        let written = remind.chain(escalations).filter_map(|(what, after, at)| Some((what, after.fixed_duration()?, at)));
        for (what, after, at) in written.filter(|(_, after, _)| *after >= expires) {
            let (after, expires) = (duration_text(millis(after)), duration_text(millis(expires)));
            let message = format!("{what} comes after {after}, but the inquiry expires after {expires}");
            report.error(Code::InvalidValue, self.file, at.clone(), message).hint("shorten it, or let the inquiry expire later");
        }
    }

    /// Reports each text that would not be a text.
    fn look_into_texts(&self, asked: &Inquiry, scope: &Scope<'_>, report: &mut Report) -> Option<()> {
        let text = |name: &str| Taker { takes: ValueType::text(), name: format!("`{name}`") };
        let after = asked.escalate.iter().map(|escalation| ("`after`", Some(&escalation.after)));
        let periods = [("`expires`", asked.expires.as_ref()), ("`every`", asked.remind.as_ref().map(|remind| &remind.every))];
        for (name, period) in periods.into_iter().chain(after) {
            if let Some(Period::Computed(node)) = period {
                scope.template_for(node, Some(&period_taker(name)), report)?;
            }
        }
        scope.template_for(&asked.title, Some(&text("title")), report)?;
        if let Some(node) = &asked.text {
            scope.template_for(node, Some(&text("text")), report)?;
        }
        if let (Some(node), Some(answer)) = (&asked.on_expire, &asked.answer) {
            let takes = type_of(answer, ValueForm::Accepted, "the fields of the answer", None);
            scope.template_for(node, Some(&Taker { takes, name: "the answer".to_owned() }), report)?;
        }
        let escalated = asked.escalate.iter().flat_map(|escalation| &escalation.to);
        for (name, assignee) in asked.assignees.iter().map(|one| ("`assignees`", one)).chain(escalated.map(|one| ("`to`", one))) {
            // An expression may return several.
            let takes =
                if is_one_expression(assignee) { ValueType::text().or(ValueType::list(ValueType::text())) } else { ValueType::text() };
            scope.template_for(assignee, Some(&Taker { takes, name: name.to_owned() }), report)?;
        }
        Some(())
    }
}

/// Returns true if the parameters of a notification name the link.
fn reads_link(with: &Template) -> bool {
    with.reads().iter().any(|path| path.segments.starts_with(&["inquiry".to_owned(), "link".to_owned()]))
}

/// Returns the schema of an answer as JSON Schema; undeclared fields are not allowed.
fn schema_json(answer: &Schema) -> Value {
    let mut schema = answer.to_json();
    if let (Schema::Fields(_), Value::Object(schema)) = (answer, &mut schema) {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema
}

fn reminders(remind: &Remind, at: &Node) -> Node {
    let max = remind.max.map(|max| ("max", literal(&json!(max), at)));
    mapping(std::iter::once(("every", period(&remind.every, at))).chain(max), at)
}

/// Returns a duration as it is written, or the template that computes it.
fn period(period: &Period, at: &Node) -> Node {
    match period {
        Period::Fixed(duration) => literal(&json!(duration_text(millis(*duration))), at),
        Period::Computed(node) => node.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn list(items: &[Node], at: &Node) -> Node {
    Node { span: at.span.clone(), content: Content::List(items.to_vec()) }
}

fn mapping<'n>(entries: impl IntoIterator<Item = (&'n str, Node)>, at: &Node) -> Node {
    let entry = |(name, value): (&str, Node)| YamlEntry { key: WithSpan { value: name.to_owned(), span: at.span.clone() }, value };
    Node { span: at.span.clone(), content: Content::Map(entries.into_iter().map(entry).collect()) }
}

/// Returns a value as a literal node, in which nothing is computed.
fn literal(value: &Value, at: &Node) -> Node {
    let content = match value {
        Value::Null => Content::Null,
        Value::Bool(value) => Content::Bool(*value),
        Value::Number(number) => Content::Number(number.clone()),
        Value::String(text) => Content::text(text.replace("${{", "$${{")),
        Value::Array(items) => Content::List(items.iter().map(|item| literal(item, at)).collect()),
        Value::Object(fields) => return mapping(fields.iter().map(|(name, value)| (name.as_str(), literal(value, at))), at),
    };
    Node { span: at.span.clone(), content }
}
