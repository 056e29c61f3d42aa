//! Renders the templates of an action's `run` over parameters, locals, configuration, vars and keys.
//!
//! Keys are opened only for this and shown to nobody. If an expression that could have seen a key fails, the
//! error only says where.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::catalog::{RAW_FIELDS, Sensor};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use ensue_engine::record::AttemptOf;
use ensue_engine::vars::reads::{VARS, VarReads};
use ensue_engine::vars::values::SeenVars;
use ensue_expression::{
    Access, Budget, Document, EVALUATION_BYTES_MAX, EvaluationError, Expression, Path, Scope, Template, Value as Computed,
};
use serde_json::Value;

use crate::attempt::{AttemptContext, AttemptError, attempt_failure};
use crate::ports::{KeyError, KeyUser};

/// The name of the keys in scope.
pub(crate) const KEYS: &str = "keys";

/// What an attempt's templates read in addition to its parameters: opened keys, and the current vars.
#[derive(Default)]
pub(crate) struct TemplateInputs {
    keys: BTreeMap<KeyRef, Secret>,
    vars: SeenVars,
}

impl AttemptContext<'_> {
    /// Opens the keys and fetches the vars that these templates read. A template that reads a key by a
    /// computed name gets all keys of the pack.
    pub(crate) async fn open(&self, templates: impl IntoIterator<Item = &Template>) -> Result<TemplateInputs, AttemptError> {
        let paths: Vec<Path> = templates.into_iter().flat_map(Template::reads).collect();
        let keys = self.open_keys(&paths).await?;
        self.keys.note(&keys);
        Ok(TemplateInputs { keys, vars: self.fetch_vars(&paths).await? })
    }

    /// Fetches the vars that a template reads. The template must not read keys.
    pub(crate) async fn open_without_keys(&self, template: &Template) -> Result<TemplateInputs, AttemptError> {
        Ok(TemplateInputs { keys: BTreeMap::new(), vars: self.fetch_vars(&template.reads()).await? })
    }

    /// Fetches the vars that these paths or the local values read.
    async fn fetch_vars(&self, paths: &[Path]) -> Result<SeenVars, AttemptError> {
        let mut reads = VarReads::of(paths);
        let locals = self.action.local.iter().filter(|(_, local)| local.reads_root(VARS));
        locals.flat_map(|(_, local)| local.reads()).for_each(|path| reads.note(&path));
        if reads.is_nothing() {
            return Ok(SeenVars::default());
        }
        let unreadable = |why: String| attempt_failure(FailureKind::Expression, format!("`vars` cannot be read: {why}"));
        let handles = self.means.ports.vars.read_by(&reads);
        let bytes: u64 = handles.iter().map(|(_, value)| value.bytes).sum();
        if bytes > EVALUATION_BYTES_MAX {
            return Err(unreadable(format!("they are {bytes} bytes together; the limit is {EVALUATION_BYTES_MAX}; write out their names")));
        }
        let bodies = self.means.ports.bodies.clone();
        let fetch = move || {
            let fetched = handles.into_iter().map(|(name, value)| {
                let bytes = bodies.at_hand(&value.digest).map_or_else(|| bodies.read(&value), Ok).map_err(|error| error.to_string())?;
                Ok((name, Document::parse(bytes).map_err(|error| error.to_string())?))
            });
            fetched.collect::<Result<Vec<_>, String>>()
        };
        let fetched = self.means.settings.blocking.run(fetch).await.ok_or_else(|| unreadable("reading them was interrupted".to_owned()))?;
        fetched.map(SeenVars::from_values).map_err(unreadable)
    }

    async fn open_keys(&self, paths: &[Path]) -> Result<BTreeMap<KeyRef, Secret>, AttemptError> {
        let wanted = self.wanted_keys(paths)?;
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = self.means.ports.keys.clone();
        let attempt = AttemptOf { execution: self.dispatch.execution, number: self.dispatch.number };
        let by = KeyUser { attempt, action: self.dispatch.action.clone() };
        let open = move || {
            let mut values = BTreeMap::new();
            for WantedKey { key, need } in wanted {
                match (keys.open(&key, &by), need) {
                    (Ok(Some(value)), Need::Required | Need::MayBeAbsent) => {
                        values.insert(key, value);
                    }
                    (Ok(None), Need::MayBeAbsent) => {}
                    (Ok(None), Need::Required) => {
                        let message = format!("the key `{key}` is not set; set it with `ensue keys set {key}`");
                        return Err(attempt_failure(FailureKind::KeyMissing, message));
                    }
                    (Err(error @ KeyError::Unavailable(_)), Need::Required | Need::MayBeAbsent) => {
                        return Err(attempt_failure(FailureKind::Network, error.to_string()));
                    }
                    (Err(error @ KeyError::Unusable { .. }), Need::Required | Need::MayBeAbsent) => {
                        return Err(attempt_failure(FailureKind::KeyMissing, error.to_string()));
                    }
                }
            }
            Ok(values)
        };
        match self.means.settings.blocking.run(open).await {
            Some(opened) => opened,
            None => Err(attempt_failure(FailureKind::KeyMissing, "the keys could not be opened")),
        }
    }

    fn wanted_keys(&self, paths: &[Path]) -> Result<Vec<WantedKey>, AttemptError> {
        let none = BTreeSet::new();
        let allowed = self.pack.as_ref().map_or(&none, |pack| &pack.keys);
        let mut wanted: BTreeMap<KeyRef, Need> = BTreeMap::new();
        for path in paths.iter().filter(|path| path.segments.first().is_some_and(|root| root == KEYS)) {
            let Some(name) = path.segments.get(1) else {
                for key in allowed {
                    wanted.entry(key.clone()).or_insert(Need::MayBeAbsent);
                }
                continue;
            };
            let key: KeyRef =
                name.parse().map_err(|error| attempt_failure(FailureKind::KeyMissing, format!("`{name}` does not name a key: {error}")))?;
            if !self.pack.as_ref().is_some_and(|pack| pack.may_read(&key)) {
                let message = format!(
                    "the pack `{}` neither lists the key `{key}` in its `keys` nor has the permission `keys:use on pack={}`",
                    self.action.name.pack(),
                    key.pack()
                );
                return Err(attempt_failure(FailureKind::KeyMissing, message));
            }
            match path.access {
                Access::Required => wanted.insert(key, Need::Required),
                _ => Some(*wanted.entry(key).or_insert(Need::MayBeAbsent)),
            };
        }
        Ok(wanted.into_iter().map(|(key, need)| WantedKey { key, need }).collect())
    }

    /// Assembles the scope of the action's expressions.
    pub(crate) fn renderer<'r>(&'r self, opened: &'r TemplateInputs) -> Result<Renderer<'r>, AttemptError> {
        let scope = opened.vars.within(Scope::new());
        // The parameters of a notification may contain a link, which is noted like a key.
        let mut renderer = Renderer { scope, budget: Budget::default(), has_keys: !opened.keys.is_empty() || !self.keys.is_empty() };
        let dispatch = self.dispatch;
        let execution = [
            ("id", Computed::from(dispatch.execution.to_string())),
            ("attempt", Computed::from(i64::from(dispatch.number))),
            ("started_at", Computed::from(dispatch.started_at.to_string())),
            ("actor", Computed::from(dispatch.actor.as_str())),
        ];
        renderer.scope.set("params", self.params.root());
        renderer.scope.set("config", Computed::from_json(&self.action.config));
        renderer.scope.set("execution", Computed::map(execution));
        renderer.scope.set("local", Computed::map([]));
        let mut locals: Vec<(&str, Computed<'_>)> = Vec::new();
        for (name, expression) in &self.action.local {
            // No key is in scope yet, so the message may say everything, unless the parameters contain a link.
            let value = expression.evaluate(&renderer.scope, &mut renderer.budget).map_err(|error| {
                let place = format!("local.{name}");
                if self.dispatch.link.is_some() { renderer.evaluation_failure(&place, &error) } else { evaluation_failure(&place, &error) }
            })?;
            locals.push((name, value));
            renderer.scope.set("local", Computed::map(locals.iter().cloned()));
        }
        renderer.scope.set(KEYS, shown_to_templates(&opened.keys));
        Ok(renderer)
    }
}

/// Returns opened keys as templates see them.
fn shown_to_templates(keys: &BTreeMap<KeyRef, Secret>) -> Computed<'_> {
    Computed::map(keys.iter().map(|(key, secret)| {
        let bytes = secret.reveal();
        let value = match std::str::from_utf8(bytes) {
            Ok(text) => Computed::from(text),
            Err(_) => Computed::Bytes(bytes.into()),
        };
        (key.as_str(), value)
    }))
}

struct WantedKey {
    key: KeyRef,
    need: Need,
}

#[derive(Clone, Copy)]
enum Need {
    Required,
    MayBeAbsent,
}

/// Renders the templates of one attempt within one budget.
pub(crate) struct Renderer<'r> {
    scope: Scope<'r>,
    budget: Budget,
    has_keys: bool,
}

impl<'r> Renderer<'r> {
    /// Assembles the scope of a sensor's templates: its configuration, its opened keys, and other names with their
    /// values.
    pub(crate) fn of_sensor(sensor: &'r Sensor, values: &'r BTreeMap<&'static str, Value>, keys: &'r BTreeMap<KeyRef, Secret>) -> Self {
        let mut scope = Scope::new().with("config", Computed::from_json(&sensor.config)).with(KEYS, shown_to_templates(keys));
        for (name, value) in values {
            scope.set(name, Computed::from_json(value));
        }
        Self { scope, budget: Budget::default(), has_keys: !keys.is_empty() }
    }

    /// Renders a template; `place` names it in an error.
    pub(crate) fn value(&mut self, place: &str, template: &'r Template) -> Result<Value, AttemptError> {
        template.render(&self.scope, &mut self.budget).map_err(|error| self.evaluation_failure(place, &error))
    }

    /// Renders a template to the document that it is sent or stored as.
    pub(crate) fn document(&mut self, place: &str, template: &'r Template) -> Result<Document, AttemptError> {
        template.render_document(&self.scope, &mut self.budget).map_err(|error| self.evaluation_failure(place, &error))
    }

    /// Renders the `output` of an action, which reads the fields of `raw` by their names.
    pub(crate) fn render_output(mut self, template: &'r Template, raw: &'r Document) -> Result<Document, AttemptError> {
        for name in RAW_FIELDS {
            if let Some(value) = raw.root().get(name) {
                self.scope.set(name, value);
            }
        }
        template.render_document(&self.scope, &mut self.budget).map_err(|error| self.evaluation_failure("output", &error))
    }

    /// Renders a template that is one string, and applies `encode` to the result of each expression.
    pub(crate) fn text(&mut self, place: &str, template: &'r Template, encode: impl FnMut(&str) -> String) -> Result<String, AttemptError> {
        match template.render_text(&self.scope, &mut self.budget, encode) {
            Some(rendered) => rendered.map_err(|error| self.evaluation_failure(place, &error)),
            None => Err(attempt_failure(FailureKind::Expression, format!("`{place}` is not a string"))),
        }
    }

    /// Renders a template to a text for a program or a header. Numbers and booleans are written out, and null
    /// becomes none.
    pub(crate) fn scalar(&mut self, place: &str, template: &'r Template) -> Result<Option<String>, AttemptError> {
        scalar(place, self.value(place, template)?)
    }

    fn evaluation_failure(&self, place: &str, error: &EvaluationError) -> AttemptError {
        if !self.has_keys {
            return evaluation_failure(place, error);
        }
        let message = format!("`{place}` cannot be computed ({}); no details are shown, because it reads keys", error.kind);
        attempt_failure(FailureKind::Expression, message)
    }
}

fn evaluation_failure(place: &str, error: &EvaluationError) -> AttemptError {
    let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    attempt_failure(FailureKind::Expression, format!("`{place}` cannot be computed: {}{hint}", error.message))
}

/// Returns a value as a text: a text as it is, numbers and booleans written out, and null as none. Lists and
/// objects are an error.
pub(crate) fn scalar(place: &str, value: Value) -> Result<Option<String>, AttemptError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(value) => Ok(Some(value.to_string())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(attempt_failure(FailureKind::Expression, format!("`{place}` is not a string, a number or a boolean")))
        }
    }
}

/// Returns an object's entries, or no entries for null.
pub(crate) fn entries(place: &str, value: Value) -> Result<Vec<(String, Value)>, AttemptError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(entries) => Ok(entries.into_iter().collect()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(attempt_failure(FailureKind::Expression, format!("`{place}` is not an object")))
        }
    }
}

/// Quotes a rendered text for a message. A text that is too long is not shown, because a part of a key's
/// value in it could not be masked.
pub(crate) fn quote(text: &str, bytes_max: usize) -> String {
    if text.len() > bytes_max { format!("a string of {} bytes", text.len()) } else { format!("`{}`", text.escape_debug()) }
}

/// Returns true if a template reads any key, so that its result is a secret.
pub(crate) fn reads_keys(template: &Template) -> bool {
    template.expressions().into_iter().flat_map(Expression::reads).any(|path| path.segments.first().is_some_and(|root| root == KEYS))
}
