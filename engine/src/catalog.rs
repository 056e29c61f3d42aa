//! What is installed: the definitions of packs, actions, triggers, sensors and rules, built once for a revision and never changed.
//!
//! Reading YAML and compiling is `ensue-packs`; here is what it builds. The state holds of all this only names and digests.

mod action;
mod concurrency;
pub mod decide;
pub mod facts;
mod flow;
mod labels;
mod retry;
mod rule;
mod schema;
mod sensor;
pub mod state;
mod workflow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

pub use action::{Action, Builtin, HttpBody, HttpRequest, OnLost, ProcessCommand, Run, ShellScript};
pub use concurrency::{CONCURRENCY_LIMIT_MAX, Concurrency, LockConflict};
pub use flow::{Control, Does, Excess, Flow, Stage, THROTTLE_LIMIT_MAX, WINDOW_COUNT_MAX};
pub use labels::label_value;
pub use retry::{Backoff, DELAY_DEFAULT, DELAY_MAX_DEFAULT, FAILURES_MAX, Jitter, Retry};
pub use rule::{Mode, Rule};
pub use schema::{Extra, Field, Fields, JsonSchema, MISFITS_MAX, Misfit, Presence, Schema, Type};
pub use sensor::{Emit, HmacAlgorithm, HmacVerify, KEY_BYTES_MIN, Repeats, Sensor, SignatureEncoding, Source, Verify};
pub use workflow::{
    ALWAYS, FAILED, ForEach, Given, INQUIRY, ITEMS_MAX, ITEMS_OPEN_MAX, ItemFailure, Notify, OnExpire, OnFailure, PARALLEL_DEFAULT, Repeat,
    STEPS_MAX, SUCCEEDED, Since, StartsIf, Step, TURNS_MAX, Task, Undo, WAIT, Wait, WhenCancelled, WhenFailing, Workflow, WorkflowError,
};

use crate::names::{ActionRef, KeyRef, PackName, RuleRef, SensorRef, TriggerRef};
use crate::record::{CatalogRevision, Digest};
use crate::rules::index::RuleIndex;
use crate::schedule::facts::ScheduleOwner;
use crate::schedule::plan::Plan;
use crate::vars::reads::RuleReads;

/// A pack as it is installed.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Its name.
    pub name: PackName,
    /// Its version, as its author wrote it.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// The digest over its files: the name of its immutable copy.
    pub digest: Digest,
    /// Its configuration, defaults and the operator's values together: an object.
    pub config: Arc<Value>,
    /// The keys it may read.
    pub keys: BTreeSet<KeyRef>,
}

/// A kind of event.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its ref.
    pub name: TriggerRef,
    /// What it means.
    pub description: String,
    /// What a payload must look like; fields beyond it are allowed.
    pub payload: Schema,
    /// The payload fields that events can be filtered by.
    pub index: Vec<String>,
}

/// The definitions that a catalog is made of, each by its ref.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// The packs.
    pub packs: BTreeMap<PackName, Arc<Pack>>,
    /// The actions.
    pub actions: BTreeMap<ActionRef, Arc<Action>>,
    /// The triggers.
    pub triggers: BTreeMap<TriggerRef, Arc<Trigger>>,
    /// The sensors.
    pub sensors: BTreeMap<SensorRef, Arc<Sensor>>,
    /// The rules.
    pub rules: BTreeMap<RuleRef, Arc<Rule>>,
}

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
