//! A catalog: all definitions at one revision, with the index over the rules, the plans of schedules, and the
//! vars that rules read.

use crate::catalog::Action;
use crate::catalog::DefinitionRef;
use crate::catalog::Definitions;
use crate::catalog::FileLocation;
use crate::catalog::Pack;
use crate::catalog::Rule;
use crate::catalog::Sensor;
use crate::catalog::Source;
use crate::catalog::Trigger;
use crate::names::{ActionRef, PackName, RuleRef, SensorRef, TriggerRef};
use crate::record::CatalogRevision;
use crate::rules::index::RuleIndex;
use crate::schedule::facts::ScheduleOwner;
use crate::schedule::plan::Plan;
use crate::vars::reads::RuleReads;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All definitions at one revision, with the index over the rules.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    revision: CatalogRevision,
    definitions: Definitions,
    index: RuleIndex,
    schedules: BTreeMap<ScheduleOwner, Arc<Plan>>,
    /// The rules that read vars.
    reading_vars: BTreeMap<RuleRef, RuleReads>,
}

impl Catalog {
    /// Builds the catalog of a revision. The references between the definitions must have been checked.
    pub fn new(revision: CatalogRevision, definitions: Definitions) -> Self {
        let index = RuleIndex::over(definitions.rules.values());
        let schedules = schedules(&definitions);
        let reading = definitions.rules.iter().filter_map(|(name, rule)| Some((name.clone(), RuleReads::of(rule)?)));
        let reading_vars = reading.collect();
        Self { revision, definitions, index, schedules, reading_vars }
    }

    /// Returns the same catalog without any schedules, for rehearsals that use a clock of their own.
    #[must_use]
    pub fn without_schedules(self) -> Self {
        Self { schedules: BTreeMap::new(), ..self }
    }

    /// Returns its revision.
    pub fn revision(&self) -> CatalogRevision {
        self.revision
    }

    /// Returns the packs.
    pub fn packs(&self) -> &BTreeMap<PackName, Arc<Pack>> {
        &self.definitions.packs
    }

    /// Returns the actions.
    pub fn actions(&self) -> &BTreeMap<ActionRef, Arc<Action>> {
        &self.definitions.actions
    }

    /// Returns the triggers.
    pub fn triggers(&self) -> &BTreeMap<TriggerRef, Arc<Trigger>> {
        &self.definitions.triggers
    }

    /// Returns the sensors.
    pub fn sensors(&self) -> &BTreeMap<SensorRef, Arc<Sensor>> {
        &self.definitions.sensors
    }

    /// Returns the rules.
    pub fn rules(&self) -> &BTreeMap<RuleRef, Arc<Rule>> {
        &self.definitions.rules
    }

    /// Returns the known places in files at which definitions are written.
    pub fn places(&self) -> &BTreeMap<DefinitionRef, FileLocation> {
        &self.definitions.places
    }

    /// Returns the plans of rules and sensors, including those of disabled rules.
    pub fn schedules(&self) -> &BTreeMap<ScheduleOwner, Arc<Plan>> {
        &self.schedules
    }

    /// Returns the vars that a rule reads, or `None` if it reads none.
    pub fn reads_vars(&self, rule: &RuleRef) -> Option<&RuleReads> {
        self.reading_vars.get(rule)
    }

    /// Returns the index over the rules.
    pub fn index(&self) -> &RuleIndex {
        &self.index
    }
}

fn schedules(definitions: &Definitions) -> BTreeMap<ScheduleOwner, Arc<Plan>> {
    let of_rule = |rule: &Arc<Rule>| Some((ScheduleOwner::Rule(rule.name.clone(), rule.id), rule.schedule.clone()?));
    let of_sensor = |sensor: &Arc<Sensor>| match &sensor.source {
        Source::Webhook { .. } | Source::Process(_) | Source::Poll(_) | Source::File(_) => None,
        Source::Timer { schedule } => Some((ScheduleOwner::Sensor(sensor.name.clone()), schedule.clone())),
    };
    let rules = definitions.rules.values().filter_map(of_rule);
    rules.chain(definitions.sensors.values().filter_map(of_sensor)).collect()
}

/// The built catalogs that the core may use, by revision.
pub trait Catalogs {
    /// Returns the catalog of a revision, or `None` if it is no longer built.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
}
