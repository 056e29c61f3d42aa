//! Tests replays: any execution that is folded once more has the same history, and with another version of
//! its pack, the first step that differs is named.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

/// The scenario generator of the core, so that these executions are the core's own.
#[allow(dead_code, unused_imports, reason = "the core's own tests use the rest")]
#[path = "../../engine/tests/support"]
mod support {
    pub(crate) mod commands;
    pub(crate) mod definitions;
    pub(crate) mod random;
    pub(crate) mod site;
    pub(crate) mod workflow;

    pub(crate) use commands::{
        accept_clock, ana, answer_inquiry, asked_by, cancel, dismiss, fire_timers, lose, note_restore, note_start, permit_at, retry,
        set_mode, settle, worker, workers,
    };
    pub(crate) use definitions::{Pieces, fields, flow, rule_id, template};
    pub(crate) use site::Site;
}

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::{Catalog, Catalogs, Does, OnExpire, Since, Type, Wait};
use ensue_engine::command::{Settings, TurnLimits};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{CatalogRevision, Position, Record, StreamId};
use ensue_rehearsal::backtest::Payloads;
use ensue_rehearsal::replay::{Collection, Definitions, Divergence, RecordedExecution, Unreplayable, What, replay, vars_read};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::random::{AccessStep, Step, World, pieces, steps};
use crate::support::site::{receive_events, report_changing, set_var};
use crate::support::workflow::{awaits, does, expression};
use crate::support::{Pieces, Site, cancel, fields, flow, permit_at, template};

/// The catalogs of a site. Every revision has the same pieces.
struct SiteCatalogs<'a>(&'a Pieces);

impl Catalogs for SiteCatalogs<'_> {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        Some(Arc::new(self.0.build(revision)))
    }
}

/// The bodies of a log.
struct Log(Vec<Record>);

impl Payloads for Log {
    fn at(&self, position: Position) -> Option<Bytes> {
        self.0.iter().find(|record| record.position == position)?.body.as_ref()?.content.clone()
    }
}

/// Returns the records of the executions that are not steps, both ended and open.
fn collect_executions(records: &[Record]) -> Vec<RecordedExecution> {
    let whole = records.iter().filter_map(|record| match (&record.fact, &record.stream) {
        (Fact::ExecutionRequested(fact), StreamId::Execution(id)) if fact.part_of.is_none() => Some(*id),
        _ => None,
    });
    let mut collection = Collection::of(whole);
    let find = |id| Ok::<_, Infallible>(records.iter().find(|record| record.id == id).cloned());
    let mut all = Vec::new();
    for record in records {
        if collection.wants(record) {
            all.extend(collection.take(record.clone(), find).unwrap());
        }
    }
    all.extend(collection.open(find).unwrap());
    all
}

/// Inserts the changes of the vars that the execution may read into its records.
fn with_vars(mut recorded: RecordedExecution, definitions: Definitions<'_>, records: &[Record]) -> RecordedExecution {
    let Ok(names) = vars_read(&recorded, definitions) else { return recorded };
    let changes = records.iter().filter(|record| match &record.fact {
        Fact::VarSet(fact) => names.contains(&fact.name),
        Fact::VarRemoved(fact) => names.contains(&fact.name),
        _ => false,
    });
    let end = recorded.records.last().map(|record| record.position).unwrap_or_default();
    recorded.records.extend(changes.filter(|record| record.position < end).cloned());
    recorded.records.sort_by_key(|record| record.position);
    recorded
}

fn replay_on(site: &Site, execution: ExecutionId, definitions: Definitions<'_>) -> Result<Vec<Divergence>, Unreplayable> {
    let recorded = collect_executions(site.records()).into_iter().find(|one| one.execution == execution).unwrap();
    replay(&with_vars(recorded, definitions, site.records()), definitions, &Log(site.records().to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn replay_of_random_executions_is_identical(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.rest();
        let records = world.site.records();
        let log = Log(records.to_vec());
        let catalogs = SiteCatalogs(pieces());
        for recorded in collect_executions(records) {
            let recorded = with_vars(recorded, Definitions::Recorded(&catalogs), records);
            match replay(&recorded, Definitions::Recorded(&catalogs), &log) {
                Ok(differences) => prop_assert_eq!(differences, vec![], "{}", recorded.execution),
                // The scenario broke the catalogs on the way.
                Err(Unreplayable::NotEnded
                    | Unreplayable::PutAside(_)
                    | Unreplayable::PutOff(_)
                    | Unreplayable::Locked
                    | Unreplayable::NotPermitted) => {}
                Err(error) => prop_assert!(false, "{}: {error}", recorded.execution),
            }
        }
    }

    #[test]
    fn replay_with_an_equal_version_of_the_pack_is_identical(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.rest();
        let records = world.site.records();
        let log = Log(records.to_vec());
        let catalog = Arc::new(pieces().build(CatalogRevision(1)));
        for recorded in collect_executions(records) {
            let recorded = with_vars(recorded, Definitions::Other(&catalog), records);
            if let Ok(differences) = replay(&recorded, Definitions::Other(&catalog), &log) {
                prop_assert_eq!(differences, vec![], "{}", recorded.execution);
            }
        }
    }
}

/// Three steps, one after the other; the last one runs for each item of a list.
fn shipping(second: &str, with: &Value, list: &str) -> Pieces {
    Pieces::default().action("demo.ask").action("demo.build").action("demo.back").workflow(
        "demo.flow",
        [
            does("build", "demo.ask").with(&json!({ "region": "eu" })),
            does(second, "demo.ask").with(with).needs(["build"]),
            does("tell", "demo.back").over(list).needs([second]).parallel(1),
        ],
    )
}

fn ship() -> (Site, ExecutionId) {
    let mut site = Site::with(&shipping("deploy", &json!({ "to": "a/b" }), "[1, 2]"));
    let flow = site.run("demo.flow");
    succeed_all(&mut site);
    (site, flow)
}

/// Lets every attempt succeed until none is left.
fn succeed_all(site: &mut Site) {
    loop {
        let open = site.engine().executions().iter().map(|(id, _)| *id).find(|id| site.has_attempt(*id));
        let Some(open) = open else { return };
        site.succeed(open);
    }
}

fn against(pieces: &Pieces) -> Vec<Divergence> {
    let (site, flow) = ship();
    let catalog = Arc::new(pieces.build(CatalogRevision(1)));
    replay_on(&site, flow, Definitions::Other(&catalog)).unwrap()
}

fn difference(step: &str, what: What, pointer: &str, (recorded, would): (Value, Value)) -> Divergence {
    let side = |value: Value| (!value.is_null()).then_some(value);
    Divergence { step: step.into(), what, pointer: pointer.into(), recorded: side(recorded), would: side(would) }
}

#[test]
fn replay_is_identical_with_recorded_and_with_equal_definitions() {
    let pieces = shipping("deploy", &json!({ "to": "a/b" }), "[1, 2]");
    let (site, flow) = ship();
    assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]));
    assert_eq!(against(&pieces), vec![]);
}

#[test]
fn changed_input_of_a_step_is_reported_with_its_pointer() {
    let found = against(&shipping("deploy", &json!({ "to": "c" }), "[1, 2]"));
    assert_eq!(found, [difference("deploy", What::Input, "/to", (json!("a/b"), json!("c")))]);
}

#[test]
fn removed_and_added_steps_are_reported() {
    let found = against(&shipping("roll_out", &json!({ "to": "a/b" }), "[1, 2]"));
    assert_eq!(
        found,
        [
            difference("deploy", What::Gone, "", (json!("run demo.ask"), Value::Null)),
            difference("roll_out", What::New, "", (Value::Null, json!("run demo.ask"))),
        ]
    );
}

#[test]
fn changed_item_list_of_a_step_is_reported_first() {
    let found = against(&shipping("deploy", &json!({ "to": "a/b" }), "[1, 3]"));
    assert_eq!(found.first(), Some(&difference("tell", What::Items, "/1", (json!(2), json!(3)))));
}

#[test]
fn condition_that_no_longer_holds_is_reported() {
    let skipping = Pieces::default().action("demo.ask").action("demo.back").workflow(
        "demo.flow",
        [
            does("build", "demo.ask").with(&json!({ "region": "eu" })),
            does("deploy", "demo.ask").with(&json!({ "to": "a/b" })).needs(["build"]).starts_if("false"),
            does("tell", "demo.back").over("[1, 2]").needs(["deploy"]).parallel(1),
        ],
    );
    let found = against(&skipping);
    assert_eq!(found[0], difference("deploy", What::Start, "", (json!("run demo.ask"), json!("skipped: condition"))));
}

#[test]
fn removed_action_is_reported() {
    let found = against(&Pieces::default().action("demo.ask"));
    assert_eq!(found, [difference("", What::Request, "", (json!("run demo.flow"), json!("there is no action `demo.flow`")))]);
}

/// Two steps, one after the other: the second reads what the first has set.
fn counting(reads: &str) -> Pieces {
    Pieces::default().action("demo.ask").workflow(
        "demo.flow",
        [
            does("first", "demo.ask").with(&json!({ "n": "${{ vars[?'n'].orValue(0) }}" })),
            does("second", "demo.ask").with(&json!({ "n": reads })).needs(["first"]),
        ],
    )
}

#[test]
fn replay_uses_the_vars_of_that_time_and_reports_another_var() {
    let pieces = counting("${{ vars.n }}");
    let mut site = Site::with(&pieces);
    site.when(set_var("n", &json!(1)));
    let flow = site.run("demo.flow");
    let step = |site: &Site| site.engine().executions().iter().map(|(id, _)| *id).find(|id| site.has_attempt(*id)).unwrap();
    let first = step(&site);
    let report = report_changing(first, site.attempt(first), &[("n", json!(2))]);
    site.when(report);
    site.when(set_var("n", &json!(3)));
    let second = step(&site);
    site.succeed(second);
    site.when(set_var("n", &json!(4)));
    assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]));
    let other = Arc::new(counting("${{ vars.n + 10 }}").build(CatalogRevision(1)));
    let found = replay_on(&site, flow, Definitions::Other(&other)).unwrap();
    assert_eq!(found, [difference("second", What::Input, "/n", (json!(2), json!(12)))]);
    let whole = Arc::new(counting("${{ vars.size() }}").build(CatalogRevision(1)));
    let recorded = collect_executions(site.records()).into_iter().find(|one| one.execution == flow).unwrap();
    assert_eq!(vars_read(&recorded, Definitions::Other(&whole)), Err(Unreplayable::ReadsVars));
}

/// A workflow that waits for an event with the value of a var, and a rule that listens to the same trigger.
fn waiting() -> Pieces {
    let wait = Wait {
        trigger: "demo.ping".parse().unwrap(),
        when: Some(expression("event.payload.n == vars.n")),
        since: Since::Start,
        expires: None,
        on_expire: OnExpire::Fail,
    };
    let pieces = Pieces::default().trigger("demo.ping").awaiting("core.wait").action("demo.ask");
    pieces.workflow("demo.flow", [awaits("wait", wait).tolerate_failure()]).rule("demo.one", "demo.ping", "", "demo.ask")
}

#[test]
fn replay_of_a_delayed_reaction_reads_the_vars_of_that_moment() {
    for before in [None, Some(1)] {
        let pieces = waiting();
        let mut site = Site::with(&pieces);
        if let Some(before) = before {
            site.when(set_var("n", &json!(before)));
        }
        let flow = site.run("demo.flow");
        let unhurried = site.settings().clone();
        site.set(Settings { turn: TurnLimits { drafts: 1, ..unhurried.turn }, ..unhurried.clone() });
        let event = receive_events(vec![site.event("demo.ping", &json!({ "n": 2 }))]);
        site.turn(event).then(&["event.received", "reaction.deferred"]);
        site.serve().unwrap().then(&["reaction.resumed", "reaction.deferred"]);
        site.turn(set_var("n", &json!(2))).then(&["var.set"]);
        site.set(unhurried);
        let kinds = site.serve_all().kinds();
        assert!(kinds.starts_with(&["reaction.resumed", "wait.matched"]), "{kinds:?}");
        assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]), "{before:?}");
        let other = Arc::new(pieces.build(CatalogRevision(1)));
        assert_eq!(replay_on(&site, flow, Definitions::Other(&other)), Ok(vec![]), "{before:?}");
    }
}

#[test]
fn execution_that_was_not_permitted_at_that_time_cannot_be_replayed() {
    let pieces = Pieces::default().action("other.work").workflow("demo.flow", [does("work", "other.work")]);
    let (permitted, forbidden): (Option<&[&str]>, Option<&[&str]>) = (None, Some(&[]));
    for (permissions, outcome) in [(permitted, Ok(vec![])), (forbidden, Err(Unreplayable::NotPermitted))] {
        let mut site = Site::with(&pieces);
        let revision = site.engine().catalog_revision();
        site.turn(permit_at(revision, "demo", permissions));
        let flow = site.run("demo.flow");
        succeed_all(&mut site);
        assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), outcome);
    }
}

#[test]
fn workflow_that_ran_as_its_caller_is_not_replayed_because_rights_are_not_known() {
    let mut world = World::new();
    world.take(&Step::AddToken(2, vec!["admin".into()]));
    world.take(&Step::Request(16));
    succeed_all(&mut world.site);
    let records = world.site.records();
    let was_refused =
        records.iter().any(|record| matches!(&record.fact, Fact::StepFailed(failed) if failed.error.kind == FailureKind::NotPermitted));
    assert!(!was_refused, "its caller may do anything");
    let recorded = collect_executions(records);
    let [recorded] = recorded.as_slice() else { panic!("one workflow") };
    let replay = replay(recorded, Definitions::Recorded(&SiteCatalogs(pieces())), &Log(records.to_vec()));
    assert_eq!(replay, Err(Unreplayable::NotPermitted));
}

/// Runs a workflow that asks a question, takes these steps, reminds people of the question, and is canceled.
/// Returns its records and its replay.
fn reminded_after(steps: &[Step]) -> (Vec<Record>, Result<Vec<Divergence>, Unreplayable>) {
    let mut world = World::new();
    world.take(&Step::Request(15));
    steps.iter().for_each(|step| world.take(step));
    world.take(&Step::Wait(1));
    world.take(&Step::FireTimers);
    let requested = |record: &Record| matches!(&record.fact, Fact::ExecutionRequested(fact) if fact.part_of.is_none()).then_some(record.id);
    let flow = ExecutionId(world.site.records().iter().find_map(requested).unwrap());
    assert!(world.site.records().iter().any(|record| matches!(record.fact, Fact::InquiryReminded(_))));
    world.site.when(cancel(flow));
    succeed_all(&mut world.site);
    (world.site.records().to_vec(), replay_on(&world.site, flow, Definitions::Recorded(&SiteCatalogs(pieces()))))
}

#[test]
fn replay_is_identical_after_an_inquiry_was_delegated_or_a_link_to_it_made_or_used() {
    let is_made: fn(&Fact) -> bool = |fact| matches!(fact, Fact::LinkMinted(_));
    let is_used: fn(&Fact) -> bool = |fact| matches!(fact, Fact::LinkUsed(_));
    let is_delegated: fn(&Fact) -> bool = |fact| matches!(fact, Fact::InquiryDelegated(_));
    for (step, is_it) in [(AccessStep::MintLink, is_made), (AccessStep::OpenLink, is_used), (AccessStep::Delegate, is_delegated)] {
        // A question is delegated to another identity.
        let steps = [Step::Access(AccessStep::AddIdentity, 0), Step::Access(step, 0)];
        let (records, outcome) = reminded_after(&steps);
        assert!(records.iter().any(|record| is_it(&record.fact)), "{step:?}");
        assert_eq!(outcome, Ok(vec![]), "{step:?}");
    }
}

#[test]
fn execution_whose_notification_was_not_permitted_cannot_be_replayed() {
    assert_eq!(reminded_after(&[Step::Permit(Some(&[]))]).1, Err(Unreplayable::NotPermitted));
    assert_eq!(reminded_after(&[Step::Permit(None)]).1, Ok(vec![]));
}

#[test]
fn open_execution_or_step_cannot_be_replayed() {
    let pieces = shipping("deploy", &json!({ "to": "a/b" }), "[1, 2]");
    let mut site = Site::with(&pieces);
    let flow = site.run("demo.flow");
    assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), Err(Unreplayable::NotEnded));
    let build = site.engine().executions().iter().map(|(id, _)| *id).find(|id| *id != flow).unwrap();
    let mut collection = Collection::of([build]);
    for record in site.records() {
        collection.take(record.clone(), |_| Ok::<_, Infallible>(None)).unwrap();
    }
    let open = collection.open(|_| Ok::<_, Infallible>(None)).unwrap();
    let step = replay(&open[0], Definitions::Recorded(&SiteCatalogs(&pieces)), &Log(Vec::new()));
    assert_ne!(step, Ok(vec![]));
    site.when(cancel(flow));
    site.fail(build, FailureKind::Cancelled);
    assert_eq!(replay_on(&site, flow, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]));
}

const ORDERED: &str = "shop.ordered";

/// A workflow that waits for an order of tea, and a rule on such orders. In the first version of the trigger, the
/// payload was `{item}`; the second has a quantity.
fn ordering(quantity: u32) -> Pieces {
    let payload = fields([("sku", Type::String { pattern: None }), ("qty", Type::Integer)]);
    let wait = Wait {
        trigger: ORDERED.parse().unwrap(),
        when: Some(expression("event.payload.sku == 'tea'")),
        since: Since::Step,
        expires: None,
        on_expire: OnExpire::Fail,
    };
    Pieces::default()
        .trigger_taking(ORDERED, payload)
        .next_version(ORDERED, &json!({ "sku": "${{ payload.item }}", "qty": quantity }))
        .awaiting("core.wait")
        .action("demo.ask")
        .workflow(
            "demo.flow",
            [
                awaits("order", wait),
                does("pack", "demo.ask").needs(["order"]).with(&json!({ "order": "${{ steps.order.event.payload }}" })),
            ],
        )
        .rule_with("demo.one", ORDERED, "event.payload.sku == 'tea'", "demo.ask", |rule| {
            rule.with = template(&json!({ "order": "${{ event.payload }}" }));
        })
}

#[test]
fn replay_reads_events_of_an_older_version_in_the_newest_form() {
    let pieces = ordering(1);
    let mut site = Site::with(&pieces);
    let waiting = site.run("demo.flow");
    site.receive("shop.ordered@1", &json!({ "item": "milk" }));
    site.receive("shop.ordered@1", &json!({ "item": "tea" }));
    succeed_all(&mut site);
    let both = collect_executions(site.records());
    let of_rule = both.iter().find(|one| one.enforced.is_some()).expect("the rule matched").execution;
    let other = Arc::new(ordering(2).build(CatalogRevision(1)));
    let differs = |step: &str, what, pointer: &str| difference(step, what, pointer, (json!(1), json!(2)));
    for (execution, differences) in [
        (waiting, vec![differs("order", What::Result, "/event/payload/qty"), differs("pack", What::Input, "/order/qty")]),
        (of_rule, vec![differs("", What::Input, "/order/qty")]),
    ] {
        assert_eq!(replay_on(&site, execution, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]));
        assert_eq!(replay_on(&site, execution, Definitions::Other(&other)), Ok(differences));
    }
}

/// A rule that acts once both triggers had a match.
fn pairing(action: &str) -> Pieces {
    let steps = || [does("tell", "demo.ask").with(&json!({ "of": "${{ params.of }}" }))];
    let pieces = Pieces::default().trigger("demo.ping").trigger("demo.pong").action("demo.ask");
    pieces.workflow("demo.flow", steps()).workflow("demo.other", steps()).rule_with("demo.one", "demo.ping", "", action, |rule| {
        rule.triggers = ["demo.pong", "demo.ping"].map(|trigger| trigger.parse().unwrap()).into();
        rule.flow = flow([(Does::Each { of: rule.triggers.clone().into(), within_millis: 60_000 }, "")]);
        rule.with = template(&json!({ "of": "${{ events.map(e, e.payload.n) }}" }));
    })
}

#[test]
fn execution_of_a_window_of_several_triggers_is_replayed_with_its_events() {
    let pieces = pairing("demo.flow");
    let mut site = Site::with(&pieces);
    for (trigger, n) in [("demo.ping", 1), ("demo.ping", 2), ("demo.pong", 3)] {
        site.receive(trigger, &json!({ "n": n }));
    }
    succeed_all(&mut site);
    let [one] = &collect_executions(site.records())[..] else { panic!("one execution") };
    let given = one.records.iter().find(|record| matches!(record.fact, Fact::ExecutionRequested(_))).unwrap();
    assert_eq!(given.body.as_ref().unwrap().content.as_deref(), Some(&br#"{"of":[3,2]}"#[..]));
    assert_eq!(replay_on(&site, one.execution, Definitions::Recorded(&SiteCatalogs(&pieces))), Ok(vec![]));
    let other = Arc::new(pairing("demo.other").build(CatalogRevision(1)));
    let found = replay_on(&site, one.execution, Definitions::Other(&other)).unwrap();
    assert_eq!(found, [difference("", What::Rule, "", (json!("run demo.flow"), json!("run demo.other")))]);
}
