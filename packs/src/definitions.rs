//! The definitions of packs, checked and compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_engine::catalog::{
    Action, ConnectionKind, DefinitionRef, FileLocation, Flow, Mode, Retry, Sensor, Source, Trigger, UsedConnection,
};
use ensue_engine::names::{ActionRef, ConnectionName, RuleRef, TriggerRef};
use ensue_engine::schedule::plan::Plan;
use ensue_expression::{Expression, Template};
use serde_json::Value;

use crate::diagnostics::Report;
use crate::syntax;

/// The definitions of a pack, checked and compiled.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) sensors: Vec<Sensor>,
    pub(crate) actions: Vec<Action>,
    pub(crate) rules: Vec<CheckedRule>,
    /// Where its definitions are written.
    pub(crate) places: Vec<(DefinitionRef, FileLocation)>,
}

impl Parts {
    /// Returns the connections that the pack's own requests name, each with its kind there.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (ConnectionName, ConnectionKind)> {
        self.used_connections().filter_map(|used| match used {
            (UsedConnection::Named(name), kind) => Some((name.clone(), kind)),
            (UsedConnection::Parameter(_) | UsedConnection::Setting(_), _) => None,
        })
    }

    /// Returns the settings in which the operator names a connection for the pack's own requests.
    pub(crate) fn settings_of_connections(&self) -> impl Iterator<Item = String> {
        self.used_connections().filter_map(|used| match used {
            (UsedConnection::Setting(name), _) => Some(name.clone()),
            (UsedConnection::Named(_) | UsedConnection::Parameter(_), _) => None,
        })
    }

    fn used_connections(&self) -> impl Iterator<Item = (&UsedConnection, ConnectionKind)> {
        let of_actions = self.actions.iter().filter_map(|action| action.run.connection());
        let of_sensors = self.sensors.iter().filter_map(|sensor| match &sensor.source {
            Source::Poll(poll) => poll.asked.http().and_then(|request| Some((request.connection.as_ref()?, ConnectionKind::Http))),
            Source::Webhook { .. } | Source::Timer { .. } | Source::Process(_) | Source::File(_) => None,
        });
        of_actions.chain(of_sensors)
    }
}

/// The content of a pack without errors, as written and as understood.
pub(crate) struct PackDefinitions<'a> {
    pub(crate) pack: &'a syntax::WrittenPack,
    pub(crate) parts: &'a Parts,
    /// The connections that it names or passes on.
    pub(crate) connections: &'a BTreeSet<(ConnectionName, ConnectionKind)>,
    /// The diagnostics of the checks.
    pub(crate) report: &'a Report,
    /// Whether findings about this pack are reported to its author.
    pub(crate) is_reported: bool,
}

/// A checked rule whose action is still a ref: the catalog is built from all packs at once.
pub(crate) struct CheckedRule {
    pub(crate) name: RuleRef,
    pub(crate) description: String,
    pub(crate) mode: Mode,
    pub(crate) triggers: Vec<TriggerRef>,
    pub(crate) schedule: Option<Arc<Plan>>,
    pub(crate) when: Option<Expression>,
    pub(crate) local: Vec<(String, Expression)>,
    pub(crate) flow: Option<Arc<Flow>>,
    pub(crate) task: CheckedTask,
    pub(crate) with: Template,
    pub(crate) config: Arc<Value>,
    pub(crate) retry: Option<Retry>,
    pub(crate) priority: Option<i8>,
}

/// What a rule does.
pub(crate) enum CheckedTask {
    Action(ActionRef),
    /// Its steps, as an action that only the rule runs.
    Steps(Arc<Action>),
}

impl CheckedRule {
    /// Returns the ref of the action that it runs: a named one, or its own.
    pub(crate) fn runs(&self) -> &ActionRef {
        match &self.task {
            CheckedTask::Action(action) => action,
            CheckedTask::Steps(action) => &action.name,
        }
    }
}
