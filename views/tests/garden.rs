//! A real core with a small catalog: when it rains, a gate is opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{Action, Builtin, Catalog, Definitions, Mode, OnLost, Rule, Run, Schema, Trigger};
use ensue_engine::command::{Ask, Command, ObservedEvent, PackChange, Report, ReportOutcome};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::executions::facts::{Evidence, Settlement};
use ensue_engine::executions::state::{Attempt, Phase};
use ensue_engine::ids::{EventId, ExecutionId, Id, RuleId};
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest, Record};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_expression::{Document, Expression, Roots, Template};
use ensue_test_support::NOON;
use ensue_test_support::spec::{Outcome, Spec};
use serde_json::{Value, json};

pub(crate) struct Garden {
    spec: Spec,
    catalog: Catalog,
    events: u128,
}

impl Garden {
    pub(crate) fn new() -> Self {
        let catalog = catalog();
        let install = PackChange::Install {
            name: "garden".parse().unwrap(),
            version: "1.0.0".into(),
            digest: Digest::of(b"garden"),
            manifest: Body::json(&b"{}"[..]),
        };
        let change = Ask::ChangePacks { base: CatalogRevision(0), changes: vec![install] };
        let spec = Spec::default().with_catalog(catalog.clone()).given_commands([asked_by(ana(), change)]);
        Self { spec, catalog, events: 1_000 }
    }

    pub(crate) fn records(&self) -> &[Record] {
        self.spec.records()
    }

    pub(crate) fn later(&mut self, millis: u64) {
        self.spec.later(millis);
    }

    /// Sends an event with this amount of rain, as measured by the gauge.
    pub(crate) fn rain(&mut self, litres: &Value) -> Outcome {
        self.events += 1;
        let id = EventId(Id::root(NOON, self.events));
        let trigger = "garden.rained".parse().unwrap();
        let payload = Document::from_value(&json!({ "litres": litres }));
        let view = EventView { id, trigger: &trigger, source: "garden.gauge", time: NOON, payload: &payload, only: None };
        let sensor = Some("garden.gauge".parse().unwrap());
        let event = ObservedEvent { sensor, ..ObservedEvent::from_view(&view, judge(&self.catalog, &view)) };
        self.spec.when(asked_by(Actor::Sensor("garden.gauge".parse().unwrap()), Ask::ReceiveEvents(vec![event])))
    }

    /// The only open execution.
    pub(crate) fn open(&self) -> ExecutionId {
        let mut open = self.spec.engine().executions().iter();
        let (id, _) = open.next().expect("an execution is open");
        assert_eq!(open.count(), 0, "one execution is open");
        *id
    }

    pub(crate) fn report(&mut self, outcome: ReportOutcome, result: Option<&str>) -> Outcome {
        let execution = self.open();
        let attempt = self.attempt(execution);
        let body = result.map(|text| Body::json(text.to_owned()));
        let report = Report {
            execution,
            attempt: attempt.id,
            token: attempt.token,
            outcome,
            retry_after_millis: None,
            output_tail: None,
            body,
            emitted: None,
            vars: Vec::new(),
            ended_before: None,
        };
        self.spec.when(asked_by(Actor::Worker("local".into()), Ask::ReportAttempt(report)))
    }

    pub(crate) fn lose(&mut self, evidence: Evidence) -> Outcome {
        let execution = self.open();
        let attempt = self.attempt(execution).id;
        self.spec.when(asked_by(Actor::Worker("local".into()), Ask::LoseAttempt { execution, attempt, evidence, error: None }))
    }

    pub(crate) fn settle(&mut self, outcome: Settlement) -> Outcome {
        let execution = self.open();
        self.spec.when(asked_by(ana(), Ask::SettleExecution { execution, outcome, result: None }))
    }

    fn attempt(&self, execution: ExecutionId) -> Attempt {
        match self.spec.engine().executions().get(&execution).map(|open| open.phase) {
            Some(Phase::Running(attempt) | Phase::Cancelling { attempt, .. } | Phase::Indeterminate { attempt, .. }) => attempt,
            other => panic!("the execution has no attempt: {other:?}"),
        }
    }
}

fn ana() -> Actor {
    Actor::Token("ana".into())
}

fn asked_by(actor: Actor, ask: Ask) -> Command {
    Command { actor, trace: None, ask }
}

fn catalog() -> Catalog {
    let open = Arc::new(Action {
        name: "garden.open_gate".parse().unwrap(),
        description: "Opens a gate.".into(),
        parameters: Schema::Any,
        result: None,
        output: None,
        local: Vec::new(),
        run: Run::Builtin(Builtin::Echo),
        run_as: ensue_engine::catalog::RunAs::Pack,
        limit: None,
        retry: None,
        concurrency: None,
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(10),
        has_token: false,
        idempotent: false,
        on_lost: OnLost::Ask,
        priority: 0,
        queue: Default::default(),
        config: Arc::new(json!({})),
        pack: Digest::of(b"garden"),
        templates: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
    });
    let rule = |number: u128, name: &str, mode: Mode, when: &str| {
        Arc::new(Rule {
            id: RuleId(Id::root(NOON, number)),
            name: name.parse().unwrap(),
            description: String::new(),
            mode,
            triggers: vec!["garden.rained".parse().unwrap()],
            schedule: None,
            when: Some(Expression::compile(when, &roots()).unwrap()),
            local: Vec::new(),
            flow: None,
            action: open.clone(),
            with: Template::compile(&json!({ "gate": "north", "litres": "${{ event.payload.litres }}" }), &roots()).unwrap(),
            config: Arc::new(json!({})),
            retry: None,
            priority: None,
        })
    };
    let rules = [
        rule(101, "garden.drain", Mode::Enabled, "event.payload.litres > 2"),
        rule(102, "garden.drain_gently", Mode::Shadow, "event.payload.litres > 2"),
        rule(103, "garden.flood", Mode::Enabled, "event.payload.litres > 100"),
    ];
    let trigger = Arc::new(Trigger {
        name: "garden.rained".parse().unwrap(),
        description: "It rained.".into(),
        payload: Schema::Any,
        version: TriggerVersion::FIRST,
        upcasts: Vec::new(),
        index: Vec::new(),
    });
    let definitions = Definitions {
        packs: BTreeMap::new(),
        actions: [(open.name.clone(), open.clone())].into(),
        triggers: [(trigger.name.clone(), trigger)].into(),
        sensors: BTreeMap::new(),
        rules: rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect(),
        places: BTreeMap::new(),
    };
    Catalog::new(CatalogRevision(1), definitions)
}

fn roots() -> Roots {
    Roots::new(["event", "config", "rule", "local"])
}
