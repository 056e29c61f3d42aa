//! Definitions as authors install them, each by its ref.

use crate::catalog::Action;
use crate::catalog::Rule;
use crate::catalog::Schema;
use crate::catalog::Sensor;
use crate::names::{ActionRef, KeyRef, PackName, RuleRef, SensorRef, TriggerRef};
use crate::record::Digest;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
