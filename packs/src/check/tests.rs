//! Checks the cases of a pack's tests against the packs: the definitions they name exist, and their values
//! fit.
//!
//! The shapes are in `written/test.rs`. Whether the expectations of a case hold is found out when it is run.

mod expected;
mod mocks;
mod path;

use std::ops::Range;
use std::time::Duration;

use ensue_engine::catalog::{Extra, Fields as SchemaFields, Presence, Schema};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::{ActionRef, SensorRef, VarName};
use ensue_expression::Document;
use serde_json::{Map, Value};

use super::Checking;
use super::fake::sent_keys;
use super::parameters::{MappingCheck, has_expression};
use super::refs::action_named;
use super::versions::{Sender, trigger_sent};
use crate::cases::{
    Case, CaseBackend, CaseInput as CaseGiven, ExpectedEvent, ExpectedMade, ExpectedVar, FakeCredentials, GivenEvent, GivenMessage, Subject,
};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, wrong_type};
use crate::source::SourceText;
use crate::syntax::{AUTH, EVENT_CASE, EXPECTED_EVENT, GIVEN, GIVEN_EVENT, GIVEN_MESSAGE, RUN_CASE, RUN_WHAT, RUNS, SensorSource};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};
use path::Root;

/// The source of an event if a case does not set one.
const SOURCE: &str = "test";

/// Reads the cases of a pack and checks them against it. Returns those without errors.
pub(super) fn cases(checking: &mut Checking<'_>, report: &mut Report) -> Vec<Case> {
    let pack = checking.pack;
    let mut cases = Vec::new();
    for (file, node) in &pack.tests {
        match &node.content {
            Content::List(items) if !items.is_empty() => {
                for item in items {
                    cases.extend(Reading { checking: &mut *checking, file }.case(item.clone(), report));
                }
            }
            Content::Poisoned => {}
            Content::List(_) | Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::Map(_) => {
                let span = first_line(&node.span, file);
                report
                    .error(Code::WrongType, file, span, format!("a test file must be a list of at least one case, not {}", node.what()))
                    .hint("for example\n- it: ships a version tag\n  run: { action: release.ship, with: { version: v1 } }\n  expect: { status: succeeded }");
            }
        }
    }
    cases
}

/// A test file that is being read.
struct Reading<'c, 'a> {
    checking: &'c mut Checking<'a>,
    file: &'a SourceText,
}

impl<'a> Reading<'_, 'a> {
    fn case(&mut self, node: Node, report: &mut Report) -> Option<Case> {
        let line = self.line(&node.span);
        let is_run = matches!(&node.content, Content::Map(entries) if entries.iter().any(|entry| entry.key.value == RUNS));
        let mut fields = FieldReader::open(node, if is_run { &RUN_CASE } else { &EVENT_CASE }, self.file, report)?;
        let name = self.name(&mut fields, report);
        let config = self.config(&mut fields, report);
        let vars = self.vars(&mut fields, "vars", report);
        let after = self.vars(&mut fields, "vars_after", report);
        let against = self.against(&mut fields, report);
        let mocks = fields.take("mocks");
        let (subject, mocks) = if is_run {
            self.run(&mut fields, mocks, report)
        } else {
            self.events(&mut fields, mocks, matches!(against, Some(CaseBackend::Fake { .. })), report)
        };
        let vars = vars?.into_iter().map(|var| (var.name, var.value)).collect();
        let (name, against, config, subject) = (name?, against?, config?, subject?);
        Some(Case { file: self.file.path().to_owned(), line, name, against, config, vars, subject, mocks: mocks?, vars_after: after? })
    }

    fn name(&self, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<String> {
        if !fields.has("it") {
            fields.take_required("it", report);
            return None;
        }
        fields.text("it", report).map(|name| name.value)
    }

    /// Reads whether the case runs against the fake vendor, and with which keys.
    fn against(&self, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<CaseBackend> {
        let Some(real) = fields.take("real") else {
            if let Some(keys) = fields.take("keys") {
                let message = "`keys` is only for a case that is `real`: no other case sends keys";
                report.error(Code::FieldOutOfPlace, self.file, keys.key.span, message).hint("remove it, or add `real: true`");
                return None;
            }
            if let Some(connection) = fields.take("connection") {
                let message = "`connection` is only for a case that is `real`: no other case sends requests";
                report.error(Code::FieldOutOfPlace, self.file, connection.key.span, message).hint("remove it, or add `real: true`");
                return None;
            }
            return Some(CaseBackend::Mocks);
        };
        if !matches!(real.value.content, Content::Bool(true)) {
            wrong_type(&real.value, "`real`", "true, or left out", self.file, report);
            return None;
        }
        if fields.has("mocks") {
            let message = "a case that is `real` cannot have `mocks`: its requests go to the fake vendor of the pack";
            report.error(Code::FieldOutOfPlace, self.file, fields.key_of("mocks"), message).hint("remove one of the two");
            return None;
        }
        if self.checking.pack.fake.is_none() {
            let message = "a case that is `real` needs the fake vendor of the pack, which has no `fake/server.yaml`";
            report
                .error(Code::MissingField, self.file, real.key.span, message)
                .hint("for example\nroutes:\n  - request: GET /items\n    answers: [{ body: [] }]");
            return None;
        }
        let keys = fields.take("keys").map(|entry| sent_keys(self.checking, self.file, entry, report));
        let over = fields.take("connection").map_or(Some(FakeCredentials::Keys), |entry| self.over_connection(&entry, report));
        Some(CaseBackend::Fake { keys: keys.unwrap_or_else(|| Some(Default::default()))?, over: over? })
    }

    /// Checks that the fake vendor says how a connection to it proves who sends a request.
    fn over_connection(&self, entry: &YamlEntry, report: &mut Report) -> Option<FakeCredentials> {
        if !matches!(entry.value.content, Content::Bool(true)) {
            wrong_type(&entry.value, "`connection`", "true, or left out", self.file, report);
            return None;
        }
        let fake = self.checking.pack.fake.as_ref();
        let has_auth =
            fake.is_some_and(|(_, node)| matches!(&node.content, Content::Map(entries) if entries.iter().any(|one| one.key.value == AUTH)));
        if !has_auth {
            report
                .error(Code::MissingField, self.file, entry.key.span.clone(), "a case with `connection` needs `auth` in `fake/server.yaml`")
                .hint("for example `auth: { bearer: { key: token } }`, as a connection of `ensue.yaml` has it");
            return None;
        }
        Some(FakeCredentials::Connection)
    }

    /// Reads the values of vars; null for a var without a value.
    fn vars(&mut self, fields: &mut FieldReader<'_>, field: &str, report: &mut Report) -> Option<Vec<ExpectedVar>> {
        let Some(YamlEntry { value: node, .. }) = fields.take(field) else { return Some(Vec::new()) };
        let Content::Map(entries) = &node.content else {
            wrong_type(&node, &format!("`{field}`"), "a mapping of the names of vars to values", self.file, report);
            return None;
        };
        let mut vars = Some(Vec::new());
        for YamlEntry { key, value } in entries {
            let line = self.line(&key.span);
            let name: Option<VarName> = match key.value.parse() {
                Ok(name) => Some(name),
                Err(error) => {
                    report.error(Code::InvalidName, self.file, key.span.clone(), error.to_string());
                    None
                }
            };
            let given = value.to_value();
            match (&mut vars, name) {
                // It has no value before.
                (Some(_), Some(_)) if given.is_null() && field == "vars" => {}
                (Some(list), Some(name)) => list.push(ExpectedVar { line, name, value: given }),
                (_, _) => vars = None,
            }
        }
        vars
    }

    /// Reads the operator's settings. Together with the pack's defaults they must include every required
    /// setting.
    fn config(&mut self, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Map<String, Value>> {
        let at = if fields.has("config") { fields.key_of("config") } else { fields.start.clone() };
        let node = fields.take("config").map(|entry| entry.value);
        if let Some(node) = &node
            && !matches!(node.content, Content::Map(_))
        {
            wrong_type(node, "`config`", "a mapping of settings", self.file, report);
            return None;
        }
        let schema = self.checking.pack.manifest.config.as_ref();
        if let Some(schema) = schema {
            let taker = format!("the configuration of the pack `{}`", self.checking.pack.name);
            self.check_literals(node.as_ref(), at, (taker, "setting"), schema, Extra::Refused, report);
        }
        match node.map(|node| node.to_value()) {
            Some(Value::Object(config)) => Some(config),
            _ => Some(Map::new()),
        }
    }

    fn run(
        &mut self,
        fields: &mut FieldReader<'_>,
        mocks: Option<YamlEntry>,
        report: &mut Report,
    ) -> (Option<Subject>, Option<mocks::Read>) {
        let run = fields.take_required(RUNS, report).and_then(|entry| self.run_what(entry, report));
        let root = match &run {
            Some((action, _)) => Root::action(self.checking.world, action),
            None => Root::Unknown,
        };
        let mocks = self.mocks(mocks, &root, report);
        let expect = fields.take_required("expect", report).and_then(|entry| self.expected_end(entry, &root, report));
        let subject = run.zip(expect).map(|((action, with), expect)| Subject::Run { action, with, expect });
        (subject, mocks)
    }

    fn run_what(&mut self, entry: YamlEntry, report: &mut Report) -> Option<(ActionRef, Value)> {
        let mut fields = FieldReader::open(entry.value, &RUN_WHAT, self.file, report)?;
        if !fields.has("action") {
            fields.take_required("action", report);
            return None;
        }
        let written = fields.text("action", report)?;
        let with = fields.take("with").map(|entry| entry.value);
        let (action, definition) = action_named(self.checking, self.file, &written, "case", report)?;
        if let Some(node) = &with
            && !matches!(node.content, Content::Map(_))
        {
            wrong_type(node, "`with`", "a mapping of parameters", self.file, report);
            return None;
        }
        if let Some(parameters) = definition.and_then(|action| action.parameters.as_ref()) {
            let taker = format!("the action `{action}`");
            self.check_literals(with.as_ref(), written.span, (taker, "parameter"), parameters, Extra::Refused, report);
        }
        Some((action, object(with)))
    }

    fn events(
        &mut self,
        fields: &mut FieldReader<'_>,
        mocks: Option<YamlEntry>,
        is_real: bool,
        report: &mut Report,
    ) -> (Option<Subject>, Option<mocks::Read>) {
        let given = fields.take_required("given", report).and_then(|entry| self.given_things(entry, report));
        let is_run = mocks.is_some() || is_real;
        let mocks = self.mocks(mocks, &Root::Rules(self.checking.pack), report);
        let expect = fields.take_required("expect", report).and_then(|entry| self.enforcements(entry, is_run, report));
        (given.zip(expect).map(|(given, expect)| Subject::Events { given, expect }), mocks)
    }

    fn given_things(&mut self, entry: YamlEntry, report: &mut Report) -> Option<Vec<CaseGiven>> {
        const NAMES: [&str; 4] = ["event", "events", "message", "messages"];
        let key = entry.key.span;
        let mut fields = FieldReader::open(entry.value, &GIVEN, self.file, report)?;
        let mut there: Vec<(&str, YamlEntry)> = NAMES.into_iter().filter_map(|name| Some((name, fields.take(name)?))).collect();
        if let [(first, _), (second, entry), ..] = there.as_slice() {
            report
                .error(
                    Code::NotExactlyOne,
                    self.file,
                    entry.key.span.clone(),
                    format!("`given` must have either `{first}` or `{second}`, not both"),
                )
                .hint("write all events under `events`, and all messages under `messages`");
            return None;
        }
        let Some((name, entry)) = there.pop() else {
            if !NAMES.iter().any(|name| fields.has_reported(name)) {
                report
                    .error(Code::NotExactlyOne, self.file, key, "`given` has neither `event` nor `events`, and no `message`")
                    .hint("for example\ngiven: { event: { trigger: github.push, payload: {} } }");
            }
            return None;
        };
        let nodes = match (name, entry.value) {
            ("event" | "message", node) => vec![node],
            (_, Node { content: Content::List(items), .. }) if !items.is_empty() => items,
            (_, node) => {
                let one = name.strip_suffix('s').unwrap_or(name);
                wrong_type(&node, &format!("`{name}`"), &format!("a list of at least one {one}"), self.file, report);
                return None;
            }
        };
        let is_event = name.starts_with("event");
        let read = nodes.into_iter().map(|node| {
            if is_event { self.event(node, report).map(CaseGiven::Event) } else { self.message(node, report).map(CaseGiven::Message) }
        });
        read.collect::<Vec<_>>().into_iter().collect()
    }

    fn message(&mut self, node: Node, report: &mut Report) -> Option<GivenMessage> {
        let line = self.line(&node.span);
        let mut fields = FieldReader::open(node, &GIVEN_MESSAGE, self.file, report)?;
        if !fields.has("sensor") {
            fields.take_required("sensor", report);
        }
        let sensor = fields.text("sensor", report).and_then(|written| self.pulling(&written, report));
        let body = fields.take("body").map(|entry| entry.value.to_value());
        let about = fields.take("about").map(|entry| entry.value);
        let time = match fields.text("time", report) {
            Some(time) => Some(self.time(&time, report)?),
            None => None,
        };
        let after = if fields.has("after") { fields.duration("after", report)? } else { Duration::ZERO };
        let after_millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let (events, refused) = (fields.take("events"), fields.text("refused", report));
        if let Some(second) = events.as_ref().filter(|_| refused.is_some()) {
            let message = "a message that is `refused` makes no `events`";
            report.error(Code::FieldOutOfPlace, self.file, second.key.span.clone(), message).hint("remove one of the two");
            return None;
        }
        let expect = match (events, refused) {
            (Some(events), _) => Some(ExpectedMade::Events(self.expected_events(events, report)?)),
            (None, Some(reason)) => Some(ExpectedMade::Refused(reason.value)),
            (None, None) => None,
        };
        let about = match about {
            None => serde_json::Map::new(),
            Some(node) if matches!(node.content, Content::Map(_)) => node.to_value().as_object().cloned().unwrap_or_default(),
            Some(node) => {
                wrong_type(&node, "`about`", "a mapping", self.file, report);
                return None;
            }
        };
        Some(GivenMessage { line, sensor: sensor?, body, about, time, after_millis, expect })
    }

    /// Finds a sensor of the pack that reads a source.
    fn pulling(&self, written: &WithSpan<String>, report: &mut Report) -> Option<SensorRef> {
        let own: Vec<String> = self.checking.pack.sensors.keys().map(|name| format!("{}.{name}", self.checking.pack.name)).collect();
        let short = written.value.strip_prefix(&format!("{}.", self.checking.pack.name));
        let Some(defined) = short.and_then(|name| self.checking.pack.sensors.get(name)) else {
            let message = format!("the pack has no sensor `{}`", written.value);
            let error = report.error(Code::InvalidRef, self.file, written.span.clone(), message);
            if !own.is_empty() {
                error.hint(format!("its sensors are {}", own.join(", ")));
            }
            return None;
        };
        if defined.body.as_ref().is_some_and(|sensor| !matches!(sensor.source, SensorSource::Pulled(..))) {
            let message = format!("the sensor `{}` reads no source: it gets no messages", written.value);
            report.error(Code::FieldOutOfPlace, self.file, written.span.clone(), message).hint("write an `event` of its trigger instead");
            return None;
        }
        written.value.parse().ok()
    }

    fn expected_events(&mut self, entry: YamlEntry, report: &mut Report) -> Option<Vec<ExpectedEvent>> {
        let Content::List(items) = entry.value.content else {
            wrong_type(&entry.value, "`events`", "a list of events", self.file, report);
            return None;
        };
        let events: Vec<_> = items.into_iter().map(|item| self.made_event(item, report)).collect();
        events.into_iter().collect()
    }

    fn made_event(&mut self, node: Node, report: &mut Report) -> Option<ExpectedEvent> {
        let line = self.line(&node.span);
        let mut fields = FieldReader::open(node, &EXPECTED_EVENT, self.file, report)?;
        if !fields.has("trigger") {
            fields.take_required("trigger", report);
        }
        let written = fields.text("trigger", report);
        let payload = fields.take("payload").map(|entry| entry.value.to_value());
        let dedupe = fields.text("dedupe", report).map(|text| text.value);
        let closeness = expected::closeness(&mut fields, report);
        let (trigger, _) = trigger_sent(self.checking, Sender::Case, (self.file, &written?), report)?;
        Some(ExpectedEvent { line, trigger, payload, dedupe, closeness })
    }

    fn event(&mut self, node: Node, report: &mut Report) -> Option<GivenEvent> {
        let mut fields = FieldReader::open(node, &GIVEN_EVENT, self.file, report)?;
        if !fields.has("trigger") {
            fields.take_required("trigger", report);
        }
        let trigger = fields.text("trigger", report);
        let payload = fields.take("payload").map(|entry| entry.value);
        let source = fields.text("source", report).map_or_else(|| SOURCE.to_owned(), |source| source.value);
        let time = match fields.text("time", report) {
            Some(time) => Some(self.time(&time, report)?),
            None => None,
        };
        let after = if fields.has("after") { fields.duration("after", report)? } else { Duration::ZERO };
        let after_millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let written = trigger?;
        let (VersionedTrigger { name: trigger, version }, schema) =
            trigger_sent(self.checking, Sender::Case, (self.file, &written), report)?;
        if let Some(node) = &payload
            && !matches!(node.content, Content::Map(_))
        {
            wrong_type(node, "`payload`", "a mapping", self.file, report);
            return None;
        }
        if let Some(schema) = schema {
            self.payload(payload.as_ref(), &written, schema, report);
        }
        Some(GivenEvent { trigger, version, payload: object(payload), source, time, after_millis })
    }

    /// Checks the given part of a payload: a case sets what matters and leaves out the rest.
    fn payload(&self, node: Option<&Node>, trigger: &WithSpan<String>, schema: &Schema, report: &mut Report) {
        let taker = format!("the payload of `{}`", trigger.value);
        let Some(fields) = schema.fields() else {
            let empty = Node { span: trigger.span.clone(), content: Content::Map(Vec::new()) };
            return self.fits(node.unwrap_or(&empty), &taker, schema, Extra::Allowed, report);
        };
        let Some(Node { content: Content::Map(entries), .. }) = node else { return };
        for entry in entries.iter().filter(|entry| !entry.value.is_poisoned()) {
            let Some(field) = fields.get(&entry.key.value) else { continue };
            let is_absent = matches!(entry.value.content, Content::Null) && field.presence == Presence::Optional;
            if let Some(misfit) = crate::schema::misfit(field, &entry.value.to_value()).filter(|_| !is_absent) {
                let span = first_line(&entry.value.span, self.file);
                report.error(Code::ValueUnfit, self.file, span, format!("the value does not fit {taker}: `{}` {misfit}", field.name));
            }
        }
    }

    fn time(&self, written: &WithSpan<String>, report: &mut Report) -> Option<ensue_engine::time::Timestamp> {
        let time = written.value.parse().ok();
        if time.is_none() {
            report
                .error(Code::ValueUnfit, self.file, written.span.clone(), format!("`{}` is not a time", written.value))
                .hint("write it as in RFC 3339, for example `2026-03-28T12:00:00Z`");
        }
        time
    }

    /// Checks a mapping of literal values against its consumer.
    fn check_literals(
        &self,
        node: Option<&Node>,
        at: Range<usize>,
        (taker, called): (String, &'static str),
        schema: &Schema,
        extra: Extra,
        report: &mut Report,
    ) {
        match node.filter(|node| has_expression(node)) {
            // Nothing in it is computed: `${{` is plain text.
            Some(node) => self.fits(node, &taker, schema, extra, report),
            None => MappingCheck { file: self.file, node, at, taker, called }.check(schema, extra, report),
        }
    }

    /// Checks a value against a schema.
    fn fits(&self, node: &Node, taker: &str, schema: &Schema, extra: Extra, report: &mut Report) {
        if node.is_poisoned() || schema.is_too_complex() {
            return;
        }
        let document = Document::from_value(&node.to_value());
        for misfit in schema.misfits(document.root(), extra) {
            let parent = misfit.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            let at = node.at(&misfit.pointer).or_else(|| node.at(parent)).unwrap_or(node);
            let span = first_line(&at.span, self.file);
            report.error(Code::ValueUnfit, self.file, span, format!("the value does not fit {taker}: {misfit}"));
        }
    }

    /// Reports names that the consumer of values does not have.
    fn report_unknown_names(&self, node: &Node, taker: &str, fields: &SchemaFields, report: &mut Report) {
        let Content::Map(entries) = &node.content else { return };
        let names: Vec<&str> = fields.0.iter().map(|field| field.name.as_str()).collect();
        for entry in entries.iter().filter(|entry| fields.get(&entry.key.value).is_none()) {
            let name = entry.key.value.as_str();
            let near = ensue_expression::nearest(name, names.iter().copied());
            let diagnostic =
                report.error(Code::UnknownParameter, self.file, entry.key.span.clone(), format!("{taker} has no parameter `{name}`"));
            diagnostic.did_you_mean(near);
            diagnostic.hint(if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", crate::fields::quote_names(&names))
            });
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.file.place(span.start).line
    }
}

fn object(node: Option<Node>) -> Value {
    node.map_or_else(|| Value::Object(Map::new()), |node| node.to_value())
}
