//! `inquiry` against what can be read where it is asked: it becomes the parameters of the library's action for it.

use ensue_engine::catalog::{self, Extra, Schema};
use ensue_engine::inquiries::question::{ANSWER, REQUESTER};
use ensue_engine::time::duration_text;
use ensue_expression::ValueType;
use serde_json::{Value, json};

use super::ends::End;
use super::{Holds, Reader, Steps};
use crate::check::inferred::Taker;
use crate::check::parameters::Given;
use crate::check::schemas::{Form, type_of};
use crate::check::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::is_one_expression;
use crate::written::Inquiry;
use crate::yaml::{Content, Entry, Node, Spanned};

impl Steps<'_> {
    pub(super) fn inquiry(
        &mut self,
        place: usize,
        asked: &Inquiry,
        scope: &Scope<'_>,
        end: End,
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
        let expires = asked.expires.map(|expires| duration_text(u64::try_from(expires.as_millis()).unwrap_or(u64::MAX)));
        given.extend(expires.map(|expires| ("expires", literal(&json!(expires), &asked.title))));
        given.extend(asked.on_expire.clone().map(|answer| ("on_expire", mapping([(ANSWER, answer)], &asked.title))));
        let with = mapping(given, &asked.title);
        let reads = self.look(Reader::Step(place), scope, &with, Holds::Value, report);
        let scope = self.with_steps(scope.clone(), &reads, place, end);
        self.look_into_texts(asked, &scope, report)?;
        let action = catalog::INQUIRY.parse().expect("the name of a library's action is one");
        Some(catalog::Task::Action { action, with: scope.template(&with, report)? })
    }

    /// Compiles the veto, to know that it can be; it is kept as it was written, with the question.
    fn veto(&self, node: &Node, answer: &Schema, report: &mut Report) -> Option<String> {
        let answer = type_of(answer, Form::Accepted, "the fields of the answer", None);
        let scope = Scope::new(self.file).with(ANSWER, answer);
        Some(scope.condition(node, "`veto`", report)?.source().to_owned())
    }

    /// Holds the answer that stands at expiry against what an answer has to look like.
    fn look_into_answer(&self, asked: &Inquiry, answer: &Schema, report: &mut Report) {
        if let Some(node) = &asked.on_expire {
            let (at, taker) = (node.span.clone(), "the answer".to_owned());
            Given { file: self.file, node: Some(node), at, taker, called: "field" }.check(answer, Extra::Refused, report);
        }
    }

    /// Says where who is excluded is no name.
    fn look_into_excluded(&self, asked: &Inquiry, report: &mut Report) {
        for name in asked.exclude.iter().flatten() {
            if let Content::Text { value, .. } = &name.content
                && value.starts_with("role:")
            {
                let message = format!("`{value}` is a role, and people are excluded one by one");
                report
                    .error(Code::InvalidValue, self.file, name.span.clone(), message)
                    .hint(format!("`{REQUESTER}` is who asked for the work; any other word is the name of a token"));
            }
        }
    }

    /// Says of each text where it would be none.
    fn look_into_texts(&self, asked: &Inquiry, scope: &Scope<'_>, report: &mut Report) -> Option<()> {
        let text = |name: &str| Taker { takes: ValueType::text(), name: format!("`{name}`") };
        scope.template_for(&asked.title, Some(&text("title")), report)?;
        if let Some(node) = &asked.text {
            scope.template_for(node, Some(&text("text")), report)?;
        }
        if let (Some(node), Some(answer)) = (&asked.on_expire, &asked.answer) {
            let takes = type_of(answer, Form::Accepted, "the fields of the answer", None);
            scope.template_for(node, Some(&Taker { takes, name: "the answer".to_owned() }), report)?;
        }
        for assignee in &asked.assignees {
            // One that is an expression may give several.
            let takes =
                if is_one_expression(assignee) { ValueType::text().or(ValueType::list(ValueType::text())) } else { ValueType::text() };
            scope.template_for(assignee, Some(&Taker { takes, name: "`assignees`".to_owned() }), report)?;
        }
        Some(())
    }
}

/// Gives what an answer has to look like as JSON Schema; a field that is not named is no part of one.
fn schema_json(answer: &Schema) -> Value {
    let mut schema = answer.to_json();
    if let (Schema::Fields(_), Value::Object(schema)) = (answer, &mut schema) {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema
}

fn list(items: &[Node], at: &Node) -> Node {
    Node { span: at.span.clone(), content: Content::List(items.to_vec()) }
}

fn mapping<'n>(entries: impl IntoIterator<Item = (&'n str, Node)>, at: &Node) -> Node {
    let entry = |(name, value): (&str, Node)| Entry { key: Spanned { value: name.to_owned(), span: at.span.clone() }, value };
    Node { span: at.span.clone(), content: Content::Map(entries.into_iter().map(entry).collect()) }
}

/// Gives a value as what is written of it, in which nothing is computed.
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
