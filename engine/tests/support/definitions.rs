//! Catalogs in short calls: names and expression texts in, compiled definitions out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{
    Action, Builtin, Catalog, Concurrency, Definitions, Does, Emit, EmitKey, Field, Fields, Flow, LockConflict, Mode, OnLost, Presence,
    ProcessCommand, ProcessSource, Reading, Restart, Rule, Run, RunAs, Schema, Sensor, Source, Stage, Trigger, Type,
};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::WorkerQueueName;
use ensue_engine::record::{CatalogRevision, Digest};
use ensue_engine::schedule::plan::{Plan, When};
use ensue_engine::schedule::{Cron, SCHEDULE_TRIGGER};
use ensue_expression::{Expression, Roots, Template};
use ensue_test_support::NOON;
use serde_json::{Value, json};

/// The definitions of a catalog, all in the pack `demo`.
#[derive(Clone, Default)]
pub(crate) struct Pieces {
    actions: BTreeMap<String, Action>,
    triggers: BTreeMap<String, Trigger>,
    rules: BTreeMap<String, Rule>,
    sensors: BTreeMap<String, Sensor>,
}

impl Pieces {
    /// An action that accepts anything.
    pub(crate) fn action(self, name: &str) -> Self {
        self.action_with(name, |_| {})
    }

    /// An action that accepts anything, modified.
    pub(crate) fn action_with(mut self, name: &str, change: impl FnOnce(&mut Action)) -> Self {
        let mut action = Action {
            name: name.parse().unwrap(),
            description: String::new(),
            parameters: Schema::Any,
            result: None,
            output: None,
            local: Vec::new(),
            run: Run::Process(ProcessCommand {
                command: vec!["true".to_owned()],
                beside: BTreeSet::new(),
                input: None,
                env: Vec::new(),
                files: Vec::new(),
            }),
            run_as: RunAs::Pack,
            has_token: false,
            timeout: Duration::from_secs(60),
            limit: None,
            grace: Duration::from_secs(10),
            idempotent: false,
            on_lost: OnLost::Ask,
            retry: None,
            concurrency: None,
            priority: 0,
            queue: WorkerQueueName::default(),
            config: Arc::new(json!({})),
            pack: Digest::of(b"demo"),
            templates: std::collections::BTreeMap::new(),
            labels: std::collections::BTreeMap::new(),
        };
        change(&mut action);
        self.actions.insert(name.to_owned(), action);
        self
    }

    /// Sets the priority of an existing action.
    pub(crate) fn with_priority(mut self, name: &str, priority: i8) -> Self {
        self.actions.get_mut(name).expect("the action is there").priority = priority;
        self
    }

    /// Modifies an existing action.
    pub(crate) fn change_action(mut self, name: &str, change: impl FnOnce(&mut Action)) -> Self {
        change(self.actions.get_mut(name).expect("it is there"));
        self
    }

    /// An action that the node itself runs at once.
    pub(crate) fn action_at_once(self, name: &str) -> Self {
        self.action_with(name, |action| action.run = Run::Builtin(Builtin::Echo))
    }

    /// An action that sleeps, as the library's.
    pub(crate) fn sleep(self, name: &str) -> Self {
        self.action_with(name, |action| action.run = Run::Builtin(Builtin::Sleep))
    }

    /// The library's action for steps that wait for an event.
    pub(crate) fn awaiting(self, name: &str) -> Self {
        self.action_with(name, |action| action.run = Run::Builtin(Builtin::Wait))
    }

    /// An action with an inquiry, as the library's.
    pub(crate) fn inquiry(self, name: &str) -> Self {
        self.action_with(name, |action| action.run = Run::Builtin(Builtin::Inquiry))
    }

    /// A trigger that accepts any payload.
    pub(crate) fn trigger(self, name: &str) -> Self {
        self.trigger_taking(name, Schema::Any)
    }

    pub(crate) fn trigger_taking(mut self, name: &str, payload: Schema) -> Self {
        let trigger = Trigger {
            name: name.parse().unwrap(),
            description: String::new(),
            payload,
            version: TriggerVersion::FIRST,
            upcasts: Vec::new(),
            index: Vec::new(),
        };
        self.triggers.insert(name.to_owned(), trigger);
        self
    }

    /// Gives a trigger one more version, with what turns a payload of the version before into one of it.
    pub(crate) fn next_version(mut self, name: &str, upcast: &Value) -> Self {
        let trigger = self.triggers.get_mut(name).unwrap();
        trigger.version = TriggerVersion::new(trigger.version.number() + 1).unwrap();
        trigger.upcasts.push(template(upcast));
        self
    }

    /// Modifies an existing rule.
    pub(crate) fn changed_rule(mut self, name: &str, change: impl FnOnce(&mut Rule)) -> Self {
        change(self.rules.get_mut(name).expect("it is there"));
        self
    }

    /// A rule on `trigger` that runs `action`, which must be defined, with the event's payload as `of`.
    pub(crate) fn rule(self, name: &str, trigger: &str, when: &str, action: &str) -> Self {
        self.rule_with(name, trigger, when, action, |_| {})
    }

    /// The same, modified. An empty `when` means always.
    pub(crate) fn rule_with(mut self, name: &str, trigger: &str, when: &str, action: &str, change: impl FnOnce(&mut Rule)) -> Self {
        let mut rule = Rule {
            id: rule_id(name),
            name: name.parse().unwrap(),
            description: String::new(),
            mode: Mode::Enabled,
            triggers: vec![trigger.parse().unwrap()],
            schedule: None,
            when: (!when.is_empty()).then(|| expression(when)),
            local: Vec::new(),
            flow: None,
            action: Arc::new(self.actions[action].clone()),
            with: template(&json!({ "of": "${{ event.id }}" })),
            config: Arc::new(json!({})),
            retry: None,
            priority: None,
        };
        change(&mut rule);
        self.rules.insert(name.to_owned(), rule);
        self
    }

    /// A rule that runs `action`, which must be defined, when its plan is due.
    pub(crate) fn scheduled_rule(self, name: &str, action: &str, plan: Plan) -> Self {
        self.rule_with(name, SCHEDULE_TRIGGER, "", action, |rule| {
            rule.schedule = Some(Arc::new(plan));
            rule.with = template(&json!({ "of": "${{ event.payload.scheduled_at }}" }));
        })
    }

    /// A sensor that creates an event of `trigger` when its plan is due.
    pub(crate) fn timer(mut self, name: &str, trigger: &str, plan: Plan, payload: Option<&Value>) -> Self {
        let payload = payload.map(|payload| Template::compile(payload, &Roots::new(["scheduled_at", "late_seconds", "config"])).unwrap());
        let sensor = Sensor {
            name: name.parse().unwrap(),
            description: String::new(),
            source: Source::Timer { schedule: Arc::new(plan) },
            emits: vec![Emit { trigger: trigger.parse().unwrap(), when: None, dedupe: EmitKey::Natural, payload, version: None }],
            config: Arc::new(json!({})),
        };
        self.sensors.insert(name.to_owned(), sensor);
        self
    }

    /// A sensor that creates an event of `trigger` for each line that a program prints.
    pub(crate) fn process(mut self, name: &str, trigger: &str, program: &str) -> Self {
        let process = ProcessSource {
            command: vec![program.to_owned()],
            beside: BTreeSet::new(),
            input: None,
            env: Vec::new(),
            grace: Duration::from_secs(10),
            restart: Restart::Always,
            reading: Reading::default(),
            pack: Digest::of(b"demo"),
        };
        let sensor = Sensor {
            name: name.parse().unwrap(),
            description: String::new(),
            source: Source::Process(Arc::new(process)),
            emits: vec![Emit { trigger: trigger.parse().unwrap(), when: None, dedupe: EmitKey::Natural, payload: None, version: None }],
            config: Arc::new(json!({})),
        };
        self.sensors.insert(name.to_owned(), sensor);
        self
    }

    pub(crate) fn without_rule(mut self, name: &str) -> Self {
        self.rules.remove(name);
        self
    }

    pub(crate) fn without_trigger(mut self, name: &str) -> Self {
        self.triggers.remove(name);
        self
    }

    pub(crate) fn build(&self, revision: CatalogRevision) -> Catalog {
        Catalog::new(revision, self.definitions())
    }

    pub(crate) fn definitions(&self) -> Definitions {
        Definitions {
            packs: BTreeMap::new(),
            actions: self.actions.values().map(|action| (action.name.clone(), Arc::new(action.clone()))).collect(),
            triggers: self.triggers.values().map(|trigger| (trigger.name.clone(), Arc::new(trigger.clone()))).collect(),
            sensors: self.sensors.values().map(|sensor| (sensor.name.clone(), Arc::new(sensor.clone()))).collect(),
            rules: self.rules.values().map(|rule| (rule.name.clone(), Arc::new(rule.clone()))).collect(),
            places: BTreeMap::new(),
        }
    }
}

/// Flow controls, each with its key expression; an empty one means one key for all. A window of different values
/// tells them apart by `event.payload.b`.
pub(crate) fn flow<const N: usize>(stages: [(Does, &str); N]) -> Option<Arc<Flow>> {
    let stage = |(does, key): (Does, &str)| {
        let distinct = matches!(does, Does::Distinct { .. }).then(|| expression("event.payload.b"));
        Stage { does, key: (!key.is_empty()).then(|| expression(key)), distinct }
    };
    Flow::new(stages.map(stage).into()).map(Arc::new)
}

/// A limit of open executions of an action; an empty key expression means one key for all.
pub(crate) fn concurrency(limit: u32, key: &str, conflict: LockConflict) -> Option<Concurrency> {
    let key = (!key.is_empty()).then(|| Expression::compile(key, &Roots::new(["params", "config"])).unwrap());
    Some(Concurrency { limit, key, conflict })
}

/// A plan with a fixed interval.
pub(crate) fn every(millis: u64) -> Plan {
    Plan::new(When::Every(Duration::from_millis(millis)))
}

/// A plan that follows a cron expression.
pub(crate) fn cron(expression: &str, zone: &str) -> Plan {
    let cron = Cron::parse(expression, zone.parse().unwrap()).unwrap();
    Plan::new(When::Cron(Box::new(cron)))
}

/// Returns the id of a rule with this name.
pub(crate) fn rule_id(name: &str) -> RuleId {
    let hash = Digest::of(name.as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.as_bytes()[..16]);
    RuleId(Id::root(NOON, u128::from_be_bytes(bits)))
}

/// Required fields.
pub(crate) fn fields<const N: usize>(fields: [(&str, Type); N]) -> Schema {
    let field = |(name, kind): (&str, Type)| Field {
        name: name.to_owned(),
        title: None,
        description: None,
        kind,
        presence: Presence::Required,
        is_code: false,
    };
    Schema::Fields(Fields(fields.into_iter().map(field).collect()))
}

pub(crate) fn expression(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap()
}

pub(crate) fn template(value: &Value) -> Template {
    Template::compile(value, &roots()).unwrap()
}

fn roots() -> Roots {
    Roots::new(["event", "events", "payload", "params", "config", "rule", "local", "vars"])
}
