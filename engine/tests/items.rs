//! Steps with many items: how many there may be, and how much of their results is read at once.

use ensue_engine::catalog::{ITEMS_MAX, ITEMS_OPEN_MAX};
use ensue_engine::command::TURN_DRAFTS_MAX;
use ensue_engine::command::{Answer, Ask, ReportOutcome};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, Id, Role};
use ensue_engine::record::Body;
use ensue_expression::Document;
use serde_json::{Value, json};

use crate::support::site::{receive_events, report, report_giving};
use crate::support::workflow::{StepPiece, does};
use crate::support::{Pieces, Site, workers};

const MIB: usize = 1024 * 1024;

fn site(steps: Vec<StepPiece>, result: Option<&Value>) -> Site {
    let mut site = Site::with(&Pieces::default().action("demo.say").workflow_giving("demo.flow", steps, result));
    site.set(workers(100));
    site
}

/// Requests the workflow with these parameters.
fn begin(site: &mut Site, params: &Value) -> ExecutionId {
    let mut request = site.request("demo.flow");
    let Ask::RequestExecution(asked) = &mut request.ask else { panic!("an execution is asked for") };
    asked.params = Document::from_value(params);
    asked.body = Body::json(asked.params.bytes().clone());
    let Answer::Execution(flow) = site.when(request).answer() else { panic!("an execution was asked for") };
    flow
}

fn step(site: &Site, flow: ExecutionId, name: &str) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&name.parse().unwrap())))
}

fn item(site: &Site, flow: ExecutionId, name: &str, index: u32) -> ExecutionId {
    ExecutionId(Id::derive(site.engine().log(), step(site, flow, name).0, Role::Item(index)))
}

/// Ends an execution with this result.
fn give(site: &mut Site, execution: ExecutionId, result: &Value) {
    let attempt = site.attempt(execution);
    site.when(report_giving(execution, attempt, Body::json(result.to_string())));
}

/// The latest failure of a step that did not start.
fn did_not_start(site: &Site) -> Option<(FailureKind, String)> {
    site.records().iter().rev().find_map(|record| match &record.fact {
        Fact::StepFailed(fact) => Some((fact.error.kind, fact.error.message.clone())),
        _ => None,
    })
}

/// The parameters of the latest execution.
fn asked_with(site: &Site) -> Value {
    let record = site.records().iter().rev().find(|record| record.kind() == "execution.requested").unwrap();
    serde_json::from_slice(record.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap()
}

/// A step with so many items, of an action that ends at once; all may run at once.
fn wide(action: &str, count: u32) -> (Site, ExecutionId, usize) {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action_at_once("demo.echo")
        .sleep("demo.sleep")
        .rule("demo.pings", "demo.ping", "", "demo.echo")
        .workflow("demo.flow", [does("each", action).over("params.items").parallel(count).with(&json!({ "duration": "1h" }))]);
    let mut site = Site::with(&pieces);
    let request = site.request_with("demo.flow", &json!({ "items": (0..count).collect::<Vec<_>>() }), None);
    let outcome = site.turn(request);
    let Answer::Execution(flow) = outcome.answer() else { panic!("an execution was asked for") };
    (site, flow, outcome.records().len())
}

fn items_open(site: &Site) -> usize {
    site.engine().executions().iter().filter(|(_, open)| open.part_of.is_some()).count()
}

#[test]
fn wide_step_starts_its_items_in_bounded_turns_between_others() {
    let (mut site, _, first) = wide("demo.echo", 20_000);
    let turn = TURN_DRAFTS_MAX + 10;
    assert!(first <= turn, "{first}");
    // The items report as they start, and each report may start others.
    let mut largest = 0;
    for _ in 0..20 {
        let running: Vec<ExecutionId> =
            site.engine().executions().iter().filter(|(id, _)| site.has_attempt(**id)).map(|(id, _)| *id).take(512).collect();
        let mut in_batch = 0;
        for execution in running {
            let report = report(execution, site.attempt(execution), ReportOutcome::Succeeded);
            in_batch += site.turn(report).records().len();
        }
        largest = largest.max(in_batch);
        let event = site.event("demo.ping", &json!({}));
        let reported = site.turn(receive_events(vec![event]));
        assert_eq!(reported.kinds()[..2], ["event.received", "enforcement.made"], "others are worked on meanwhile");
        if let Some(piece) = site.serve() {
            assert!(piece.records().len() <= turn, "{}", piece.records().len());
        }
        assert!(items_open(&site) <= ITEMS_OPEN_MAX as usize, "{} items are open", items_open(&site));
    }
    assert!(largest <= 512 * 10, "512 reports led to {largest} records");
}

#[test]
fn wide_step_of_waiting_actions_has_all_its_items_open() {
    let (mut site, _, first) = wide("demo.sleep", 3_000);
    assert!(first <= TURN_DRAFTS_MAX + 10, "{first}");
    while let Some(piece) = site.serve() {
        assert!(piece.records().len() <= TURN_DRAFTS_MAX + 10, "{}", piece.records().len());
    }
    assert_eq!(items_open(&site), 3_000);
}

/// A step with five items that return 1 MiB each, followed by a step with the parameters `after`.
fn five_large_results_then(after: &Value) -> Site {
    let steps = vec![does("each", "demo.say").over("[1, 2, 3, 4, 5]"), does("after", "demo.say").needs(["each"]).with(after)];
    let mut site = site(steps, None);
    let flow = begin(&mut site, &json!({}));
    for index in 0..5 {
        let item = item(&site, flow, "each", index);
        give(&mut site, item, &json!({ "text": "x".repeat(MIB), "done": index }));
    }
    site
}

#[test]
fn step_that_reads_too_many_item_results_fails_with_advice() {
    for reads in ["steps.each.items.map(i, i.result.done)", "steps.each.items[0]", "steps.each.items.filter(i, i.status == 'failed')"] {
        let site = five_large_results_then(&json!({ "read": format!("${{{{ {reads} }}}}") }));
        let (kind, message) = did_not_start(&site).expect(reads);
        assert_eq!(kind, FailureKind::Expression);
        assert!(message.contains("the limit is 4194304") && message.contains("read only `status` and `error`"), "{message}");
    }
}

#[test]
fn results_that_no_expression_reads_are_not_fetched() {
    for (reads, given) in [
        ("steps.each.items.size()", json!(5)),
        ("size(steps.each.items)", json!(5)),
        ("steps.each.items.map(i, i.status)[4]", json!("succeeded")),
        ("steps.each.items.filter(i, i.status == 'failed').size()", json!(0)),
        ("steps.each.items[2].status", json!("succeeded")),
        ("steps.each.status", json!("succeeded")),
    ] {
        let site = five_large_results_then(&json!({ "read": format!("${{{{ {reads} }}}}") }));
        assert_eq!((did_not_start(&site), asked_with(&site)), (None, json!({ "read": given })), "{reads}");
    }
}

#[test]
fn combined_step_results_are_limited_by_the_expression_read_limit() {
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    let all = json!(names.iter().map(|name| format!("${{{{ steps.{name}.result.done }}}}")).collect::<Vec<_>>());
    let mut site = site(names.iter().map(|name| does(name, "demo.say")).collect(), Some(&all));
    let flow = begin(&mut site, &json!({}));
    for name in &names {
        let step = step(&site, flow, name);
        give(&mut site, step, &json!({ "text": "x".repeat(MIB), "done": true }));
    }
    let Fact::ExecutionFailed(end) = &site.records().last().unwrap().fact else { panic!("the workflow fails") };
    assert_eq!(end.error.kind, FailureKind::Expression);
}

#[test]
fn for_each_list_has_at_most_a_hundred_thousand_items() {
    let list = |count: u32| json!((0..count).map(|n| json!({ "n": n })).collect::<Vec<_>>());
    let steps = || {
        vec![
            does("of_params", "demo.say").over("params.list").with(&json!({ "n": "${{ item.n }}" })),
            does("first", "demo.say"),
            does("of_result", "demo.say").needs(["first"]).over("steps.first.result.list"),
        ]
    };
    let expanded = |site: &Site| -> Vec<u32> {
        let counts = site.records().iter().filter_map(|record| match &record.fact {
            Fact::StepExpanded(fact) => Some(fact.count),
            _ => None,
        });
        counts.collect()
    };
    let mut most = site(steps(), None);
    let flow = begin(&mut most, &json!({ "list": list(ITEMS_MAX) }));
    let first = step(&most, flow, "first");
    give(&mut most, first, &json!({ "list": list(ITEMS_MAX) }));
    assert_eq!((expanded(&most), did_not_start(&most)), (vec![ITEMS_MAX, ITEMS_MAX], None));
    for index in 0..100 {
        let item = item(&most, flow, "of_params", index);
        give(&mut most, item, &json!(null));
        assert_eq!(asked_with(&most), json!({ "n": index + 16 }));
    }

    let mut over = site(steps(), None);
    begin(&mut over, &json!({ "list": list(ITEMS_MAX + 1) }));
    let (_, message) = did_not_start(&over).unwrap();
    assert_eq!(message, "`for_each` returns 100001 items; the limit is 100000");
}
