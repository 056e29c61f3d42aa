//! Definitions as authors install them, each under its ref.

use crate::access::limit::Target;
use crate::access::permission::Permission;
use crate::access::scope::Scope;
use crate::catalog::Action;
use crate::catalog::Rule;
use crate::catalog::Schema;
use crate::catalog::Sensor;
use crate::events::version::TriggerVersion;
use crate::names::{ActionRef, ConnectionName, KeyRef, PackName, RuleRef, SensorRef, TriggerRef};
use crate::record::Digest;
use ensue_expression::Template;
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
    /// Its purpose.
    pub description: String,
    /// The digest of its files: the name of its immutable copy.
    pub digest: Digest,
    /// Its configuration, an object: the defaults with the operator's values.
    pub config: Arc<Value>,
    /// The keys it may read.
    pub keys: BTreeSet<KeyRef>,
    /// The connections it may use.
    pub connections: BTreeSet<ConnectionName>,
    /// What it asks to do with other packs; `None` if it does not say.
    pub permissions: Option<Vec<Scope>>,
}

impl Pack {
    /// Returns true if the actions of the pack may read a key: one that it lists, or one of another pack that its
    /// permissions name.
    pub fn may_read(&self, key: &KeyRef) -> bool {
        self.keys.contains(key) || allow_key(self.permissions.as_deref().unwrap_or_default(), key)
    }

    /// Returns true if the pack lists a connection, or if one of its settings has the name as its value.
    pub fn names_connection(&self, name: &ConnectionName) -> bool {
        let is_set = |config: &Value| config.as_object().is_some_and(|config| config.values().any(|value| value == name.as_str()));
        self.connections.contains(name) || is_set(&self.config)
    }
}

/// Returns true if the permissions of a pack allow its actions to read a key of another pack. A pack without permissions
/// reads no keys of others.
pub fn allow_key(permissions: &[Scope], key: &KeyRef) -> bool {
    let pack = key.pack();
    let target = Target::of_pack(pack.as_str());
    let mut for_keys = permissions.iter().filter(|scope| scope.permission == Permission::KeysUse);
    for_keys.any(|scope| scope.on.as_ref().is_none_or(|on| on.covers(&target)))
}

/// A kind of event.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its ref.
    pub name: TriggerRef,
    /// Its meaning.
    pub description: String,
    /// The schema of a payload of the newest version; extra fields are allowed.
    pub payload: Schema,
    /// The newest version of the payload.
    pub version: TriggerVersion,
    /// What turns a payload of each older version into one of the next; the first item is for version 1.
    pub upcasts: Vec<Template>,
    /// The payload fields by which events can be filtered.
    pub index: Vec<String>,
}

/// The definitions of a catalog, each under its ref.
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
    /// Where each of them is written. What a release adds by itself has no place.
    pub places: BTreeMap<DefinitionRef, FileLocation>,
}

/// A definition of a pack's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefinitionRef {
    /// An action.
    Action(ActionRef),
    /// A rule.
    Rule(RuleRef),
    /// A sensor.
    Sensor(SensorRef),
    /// A trigger.
    Trigger(TriggerRef),
}

/// Where a definition is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLocation {
    /// The path of the file in its pack.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
}
