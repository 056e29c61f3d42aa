//! What a stage does where a cast says nothing and no harm is possible: it returns values, waits and emits
//! events, as a worker does.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{Action, Builtin, Extra, RAW_FIELDS, Run, Schema};
use ensue_engine::command::{Dedupe, ObservedEvent, VarChange};
use ensue_engine::effect::Dispatch;
use ensue_engine::events::internal::is_of_the_engine;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{EventId, Id, Role};
use ensue_engine::record::Digest;
use ensue_engine::vars::values::SeenVars;
use ensue_expression::{Budget, Document, Scope, Value as Computed};
use serde_json::{Value, json};

use super::{PendingAttempt, RehearsalStage};
use crate::error::RehearsalError;
use crate::example::example;
use crate::history::ExecutionPath;
use crate::messages::unfit;

impl RehearsalStage {
    /// Does harmless work as a worker does it.
    pub(super) fn by_itself(&mut self, dispatch: Box<Dispatch>, way: ExecutionPath) -> Result<(), RehearsalError> {
        let action = self.action(&dispatch);
        let params = self.history.execution(dispatch.execution).map(|execution| execution.params.clone()).unwrap_or_default();
        match action.as_ref().map(|action| &action.run) {
            Some(Run::Builtin(Builtin::Echo)) => self.report(&dispatch, Ok(params), None),
            Some(Run::Builtin(Builtin::Noop)) => {
                let seconds = params.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
                let Ok(takes) = Duration::try_from_secs_f64(seconds) else {
                    let failure =
                        Failure::new(FailureKind::ParametersInvalid, "`seconds` must be a number of seconds that is not negative");
                    return self.report(&dispatch, Err(failure), None);
                };
                let (takes, most) = (takes.as_millis(), u128::from(dispatch.timeout_millis));
                let outcome =
                    if takes > most { Err(Failure::new(FailureKind::Timeout, "it took longer than its timeout")) } else { Ok(Value::Null) };
                let at = dispatch.started_at.plus_millis(u64::try_from(takes.min(most)).unwrap_or(u64::MAX));
                self.pending.insert((at, dispatch.attempt), PendingAttempt { dispatch, outcome });
                Ok(())
            }
            Some(Run::Builtin(Builtin::Emit)) => {
                let trigger = params.get("trigger").and_then(Value::as_str).and_then(|trigger| trigger.parse().ok());
                let payload = params.get("payload").cloned().unwrap_or_default();
                let key = params.get("dedupe").and_then(Value::as_str);
                self.emit(&dispatch, trigger.ok_or_else(|| "`trigger` does not name a trigger".to_owned()), &payload, key)
            }
            Some(Run::Builtin(Builtin::SetVar)) => {
                let failed = |why| Failure::new(FailureKind::ParametersInvalid, why);
                match VarChange::asked_for(Document::from_value(&params).root()) {
                    Ok(change) => self.report_changing(&dispatch, change),
                    Err(why) => self.report(&dispatch, Err(failed(why.to_string())), None),
                }
            }
            Some(Run::Emit { trigger, payload, dedupe }) => {
                let (Some(action), trigger) = (&action, trigger.clone()) else { return Ok(()) };
                let vars = SeenVars::from_values(self.vars());
                let render = |name, template| render_part(action, &dispatch, (&params, &vars), (name, template), std::iter::empty());
                let key = dedupe.as_ref().map_or(Ok(None), |key| key_text(&render("dedupe", key)?));
                match render("payload", payload).and_then(|payload| Ok((payload, key?))) {
                    Ok((payload, key)) => self.emit(&dispatch, Ok(trigger), &payload, key.as_deref()),
                    Err(why) => self.report(&dispatch, Err(Failure::new(FailureKind::Expression, why)), None),
                }
            }
            Some(
                Run::Process(_)
                | Run::Shell(_)
                | Run::Http(_)
                | Run::Mail(_)
                | Run::Workflow(_)
                | Run::Builtin(Builtin::Sleep | Builtin::Inquiry | Builtin::Wait),
            )
            | None => {
                let declared = action.as_ref().and_then(|action| action.result.as_ref()).map(Schema::to_json);
                let like = example(&declared.unwrap_or_default()).to_string();
                Err(RehearsalError::NoMock { path: way.path, action: dispatch.action.clone(), like })
            }
        }
    }

    /// Reports the result that the action's `output` computes from what its runner returned, as a worker does.
    pub(super) fn report_mapped(&mut self, dispatch: &Dispatch, raw: &Value) -> Result<(), RehearsalError> {
        let params = self.history.execution(dispatch.execution).map(|execution| execution.params.clone()).unwrap_or_default();
        let Some((action, output)) = self.action(dispatch).and_then(|action| Some((action.clone(), action.output.clone()?))) else {
            return self.report(dispatch, Ok(raw.clone()), None);
        };
        let vars = SeenVars::from_values(self.vars());
        let fields = RAW_FIELDS.iter().filter_map(|name| Some((*name, Computed::from_json(raw.get(*name)?))));
        let computed = render_part(&action, dispatch, (&params, &vars), ("output", &output), fields);
        let fitting = computed.and_then(|value| {
            let document = Document::from_value(&value);
            let misfits = action.result.as_ref().map_or_else(Vec::new, |schema| schema.misfits(document.root(), Extra::Allowed));
            let misfits: Vec<String> = misfits.iter().map(ToString::to_string).collect();
            if misfits.is_empty() { Ok(value) } else { Err(format!("the value of `output` does not fit `result`: {}", misfits.join("; "))) }
        });
        self.report(dispatch, fitting.map_err(|why| Failure::new(FailureKind::Output, why)), None)
    }

    fn action(&self, dispatch: &Dispatch) -> Option<Arc<Action>> {
        self.catalog.actions().get(&dispatch.action).cloned()
    }

    fn emit(
        &mut self,
        dispatch: &Dispatch,
        trigger: Result<VersionedTrigger, String>,
        payload: &Value,
        key: Option<&str>,
    ) -> Result<(), RehearsalError> {
        let id = EventId(Id::derive(self.core.engine().log(), dispatch.execution.0, Role::Emit(0)));
        let source = format!("execution/{}", dispatch.execution);
        let observed = trigger.and_then(|VersionedTrigger { name: trigger, version }| {
            let payload = Document::from_value(payload);
            if is_of_the_engine(&trigger) {
                return Err(format!("only the engine itself creates events of its own trigger `{trigger}`"));
            }
            let definition = self.catalog.triggers().get(&trigger).ok_or_else(|| format!("there is no trigger `{trigger}` to emit"))?;
            let accepted = definition.accept(version, &payload).map_err(|why| unfit(&trigger, &why))?;
            let now = self.now();
            let dedupe = key.map(|key| Dedupe::of_emission(&trigger, key, Digest::of(payload.bytes())));
            let event = self.observe(id, &trigger, (&source, now), &accepted.newest).came_as(accepted.version, &payload);
            Ok(ObservedEvent { dedupe, ..event })
        });
        match observed {
            Ok(event) => self.report(dispatch, Ok(json!({ "event": id })), Some(event)),
            Err(why) => self.report(dispatch, Err(Failure::new(FailureKind::ParametersInvalid, why)), None),
        }
    }
}

/// Returns a key as the text that a worker makes of it. Null is not a key.
fn key_text(key: &Value) -> Result<Option<String>, String> {
    match key {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(key.to_string())),
        Value::Array(_) | Value::Object(_) => Err("`dedupe` is not a string, a number or a boolean".to_owned()),
    }
}

/// Renders a part of an event that an action emits, or its `output`. Errors use the name of that part.
fn render_part<'r>(
    action: &'r Action,
    dispatch: &'r Dispatch,
    (params, vars): (&'r Value, &'r SeenVars),
    (name, template): (&str, &'r ensue_expression::Template),
    fields: impl Iterator<Item = (&'static str, Computed<'r>)>,
) -> Result<Value, String> {
    let execution = [
        ("id", Computed::from(dispatch.execution.to_string())),
        ("attempt", Computed::from(i64::from(dispatch.number))),
        ("started_at", Computed::from(dispatch.started_at.to_string())),
        ("actor", Computed::from(dispatch.actor.as_str())),
    ];
    let mut scope = vars
        .within(Scope::new())
        .with("params", Computed::from_json(params))
        .with("config", Computed::from_json(&action.config))
        .with("execution", Computed::map(execution))
        .with("local", Computed::map([]));
    fields.for_each(|(name, value)| scope.set(name, value));
    let mut budget = Budget::default();
    let mut locals: Vec<(&str, Computed<'_>)> = Vec::new();
    for (name, expression) in &action.local {
        let value =
            expression.evaluate(&scope, &mut budget).map_err(|error| format!("`local.{name}` cannot be computed: {}", error.message))?;
        locals.push((name, value));
        scope.set("local", Computed::map(locals.iter().cloned()));
    }
    template.render(&scope, &mut budget).map_err(|error| format!("`{name}` cannot be computed: {}", error.message))
}
