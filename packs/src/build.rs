//! Builds a catalog from installed packs: definitions with compiled expressions and schemas, by revision.
//!
//! The log decides what is installed, with `pack.installed` and its body, the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Action, Catalog, Definitions, Pack, Rule};
use ensue_engine::explain::Explain;
use ensue_engine::ids::RuleId;
use ensue_engine::names::{ActionRef, RuleRef};
use ensue_engine::record::CatalogRevision;
use serde_json::Value;
use thiserror::Error;

use crate::cases::{Case, Suite};
use crate::check::check_installed;
use crate::definitions::{CheckedRule, CheckedTask};
use crate::diagnostics::{Diagnostic, Severity};
use crate::install_manifest::Manifest;
use crate::read::PackSource;

/// Why no catalog can be built from the installed packs.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "catalog-unbuildable", fault = World)]
pub enum BuildError {
    /// A pack that was good when it was installed has errors now.
    #[error("the checks of this release find {} errors in the installed packs; the first: {}", .0.len(), first(.0))]
    Broken(Vec<Diagnostic>),
    /// The manifest does not match the pack's files.
    #[error("the rule `{0}` has no id in the manifest of its pack; install the pack again")]
    NoRuleId(RuleRef),
    /// A rule's action was in none of the packs.
    #[error("the rule `{rule}` names the action `{action}`, which no installed pack defines")]
    NoAction {
        /// The rule.
        rule: RuleRef,
        /// The action that it names.
        action: ActionRef,
    },
}

fn first(diagnostics: &[Diagnostic]) -> String {
    diagnostics.first().map_or(String::new(), |one| format!("{}:{}: {}", one.file, one.line, one.message))
}

/// Builds the catalog of a revision from all packs installed at that revision.
///
/// # Errors
///
/// Fails if a pack has errors or lacks something that another pack needs. Packs are checked when they are
/// installed.
pub fn build(revision: CatalogRevision, packs: &[(PackSource, Manifest)]) -> Result<Catalog, BuildError> {
    let sources: Vec<PackSource> = packs.iter().map(|(source, _)| source.clone()).collect();
    let configs: Vec<Value> = packs.iter().map(|(_, manifest)| manifest.config.clone()).collect();
    let (installed, diagnostics) = check_installed(&sources, &configs);
    let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(|one| one.severity == Severity::Error).collect();
    if !errors.is_empty() {
        return Err(BuildError::Broken(errors));
    }
    let mut definitions = Definitions::default();
    let mut rules = Vec::new();
    for (one, (_, manifest)) in installed.into_iter().zip(packs) {
        // Nothing is missing if there are no errors.
        let Some((pack, parts)) = one else { continue };
        let pack = Pack {
            name: pack.name,
            version: pack.version,
            description: pack.description,
            digest: pack.digest,
            config: pack.config,
            keys: pack.keys,
            connections: pack.connections,
            permissions: pack.permissions,
        };
        definitions.packs.insert(pack.name.clone(), Arc::new(pack));
        definitions.triggers.extend(parts.triggers.into_iter().map(|trigger| (trigger.name.clone(), Arc::new(trigger))));
        definitions.sensors.extend(parts.sensors.into_iter().map(|sensor| (sensor.name.clone(), Arc::new(sensor))));
        definitions.actions.extend(parts.actions.into_iter().map(|action| (action.name.clone(), Arc::new(action))));
        definitions.places.extend(parts.places);
        rules.extend(parts.rules.into_iter().map(|rule| (rule, manifest)));
    }
    for (rule, manifest) in rules {
        let id = *manifest.rules.get(&rule.name).ok_or_else(|| BuildError::NoRuleId(rule.name.clone()))?;
        let rule = build_rule(rule, id, &definitions.actions)?;
        definitions.rules.insert(rule.name.clone(), Arc::new(rule));
    }
    Ok(Catalog::new(revision, definitions))
}

impl Suite {
    /// Builds the catalog for running a case: the pack and everything that it needs. Only the pack's own
    /// rules are active.
    ///
    /// # Errors
    ///
    /// Packs that pass the checks can be built, so a failure is an internal error.
    pub fn catalog(&self, case: &Case) -> Result<Arc<Catalog>, BuildError> {
        let mut packs = self.packs.clone();
        if let Some(Value::Object(settings)) = packs.first_mut().map(|(_, manifest)| &mut manifest.config) {
            settings.extend(case.config.clone());
        }
        let catalog = build(Self::REVISION, &packs)?;
        let rules = catalog.rules().iter().filter(|(name, _)| name.pack() == self.pack);
        let definitions = Definitions {
            packs: catalog.packs().clone(),
            actions: catalog.actions().clone(),
            triggers: catalog.triggers().clone(),
            sensors: catalog.sensors().clone(),
            rules: rules.map(|(name, rule)| (name.clone(), rule.clone())).collect(),
            places: catalog.places().clone(),
        };
        Ok(Arc::new(Catalog::new(Self::REVISION, definitions)))
    }
}

fn build_rule(rule: CheckedRule, id: RuleId, actions: &BTreeMap<ActionRef, Arc<Action>>) -> Result<Rule, BuildError> {
    let action = match rule.task {
        CheckedTask::Steps(action) => action,
        CheckedTask::Action(action) => match actions.get(&action) {
            Some(action) => action.clone(),
            None => return Err(BuildError::NoAction { rule: rule.name, action }),
        },
    };
    Ok(Rule {
        id,
        action,
        name: rule.name,
        description: rule.description,
        mode: rule.mode,
        triggers: rule.triggers,
        schedule: rule.schedule,
        when: rule.when,
        local: rule.local,
        flow: rule.flow,
        with: rule.with,
        config: rule.config,
        retry: rule.retry,
        priority: rule.priority,
    })
}
