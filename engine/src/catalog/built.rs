//! A catalog: all definitions at one revision, with the index over the rules, the plans of schedules, and the vars that rules read.

use crate::catalog::Action;
use crate::catalog::Definitions;
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
    /// Builds the catalog of a revision; the references between the definitions were checked before.
    pub fn new(revision: CatalogRevision, definitions: Definitions) -> Self {
        let index = RuleIndex::over(definitions.rules.values());
        let schedules = schedules(&definitions);
        let reading = definitions.rules.iter().filter_map(|(name, rule)| Some((name.clone(), RuleReads::of(rule)?)));
        let reading_vars = reading.collect();
        Self { revision, definitions, index, schedules, reading_vars }
    }

    /// The same, in which nothing is ever due by a schedule: for who rehearses on a clock of their own.
    #[must_use]
    pub fn without_schedules(self) -> Self {
        Self { schedules: BTreeMap::new(), ..self }
    }

    /// Gives its revision.
    pub fn revision(&self) -> CatalogRevision {
        self.revision
    }

    /// Gives the packs.
    pub fn packs(&self) -> &BTreeMap<PackName, Arc<Pack>> {
        &self.definitions.packs
    }

    /// Gives the actions.
    pub fn actions(&self) -> &BTreeMap<ActionRef, Arc<Action>> {
        &self.definitions.actions
    }

    /// Gives the triggers.
    pub fn triggers(&self) -> &BTreeMap<TriggerRef, Arc<Trigger>> {
        &self.definitions.triggers
    }

    /// Gives the sensors.
    pub fn sensors(&self) -> &BTreeMap<SensorRef, Arc<Sensor>> {
        &self.definitions.sensors
    }

    /// Gives the rules.
    pub fn rules(&self) -> &BTreeMap<RuleRef, Arc<Rule>> {
        &self.definitions.rules
    }

    /// Gives the plans of rules and sensors, those of disabled rules included.
    pub fn schedules(&self) -> &BTreeMap<ScheduleOwner, Arc<Plan>> {
        &self.schedules
    }

    /// Gives which vars a rule reads; none where it reads none.
    pub fn reads_vars(&self, rule: &RuleRef) -> Option<&RuleReads> {
        self.reading_vars.get(rule)
    }

    /// Gives the index over the rules.
    pub fn index(&self) -> &RuleIndex {
        &self.index
    }
}

fn schedules(definitions: &Definitions) -> BTreeMap<ScheduleOwner, Arc<Plan>> {
    let of_rule = |rule: &Arc<Rule>| Some((ScheduleOwner::Rule(rule.name.clone(), rule.id), rule.schedule.clone()?));
    let of_sensor = |sensor: &Arc<Sensor>| match &sensor.source {
        Source::Webhook { .. } => None,
        Source::Timer { schedule } => Some((ScheduleOwner::Sensor(sensor.name.clone()), schedule.clone())),
    };
    let rules = definitions.rules.values().filter_map(of_rule);
    rules.chain(definitions.sensors.values().filter_map(of_sensor)).collect()
}

/// The built catalogs that the core may look into, by revision.
pub trait Catalogs {
    /// Gives the catalog of a revision; none where it is not built any more.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>>;
}
