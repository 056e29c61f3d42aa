//! The workflows of the small node: `demo.flow`, and `demo.inner` inside it.

use std::sync::Arc;

use ensue_engine::catalog::{
    ALWAYS, Action, Catalog, Definitions, FAILED, ForEach, ItemFailure, OnFailure, PARALLEL_DEFAULT, Rule, Run, SUCCEEDED, StartsIf, Step,
    Task, Workflow, WorkflowInput,
};
use ensue_expression::{Expression, Roots, Template};
use serde_json::{Value, json};

/// Returns a catalog that includes the workflows, with the rule `demo.ship` running one of them.
pub(super) fn among(catalog: &Catalog) -> Catalog {
    let mut definitions = Definitions {
        packs: catalog.packs().clone(),
        actions: catalog.actions().clone(),
        triggers: catalog.triggers().clone(),
        sensors: catalog.sensors().clone(),
        rules: catalog.rules().clone(),
        places: catalog.places().clone(),
    };
    let noop = &catalog.actions()[&"core.noop".parse().unwrap()];
    let inner = made_of(noop, "demo.inner", vec![does("deep", "core.echo")]);
    let flow = made_of(noop, "demo.flow", steps());
    let ship: Rule = (*catalog.rules()[&"demo.ship".parse().unwrap()]).clone();
    definitions.rules.insert(ship.name.clone(), Arc::new(Rule { action: flow.clone(), ..ship }));
    definitions.actions.extend([inner, flow].map(|action| (action.name.clone(), action)));
    Catalog::new(catalog.revision(), definitions)
}

/// A build, then a step for each of two regions and an inner workflow; one step that never starts, one
/// without items, one that always starts.
fn steps() -> Vec<Step> {
    let over = |items: &str| {
        let items = expression(items);
        Some(ForEach { items, parallel: PARALLEL_DEFAULT, failure: ItemFailure::OthersGoOn, fail_at: None })
    };
    vec![
        does("build", "core.echo"),
        Step { for_each: over("['eu', 'us']"), ..needing("build", does("deploy", "core.echo")) },
        needing("build", does("inside", "demo.inner")),
        Step { starts: StartsIf::of(Some(expression("false"))), ..needing("build", does("never", "core.echo")) },
        Step { for_each: over("[]"), ..needing("build", does("nothing", "core.echo")) },
        Step { starts: StartsIf::of(Some(expression(ALWAYS))), ..needing("deploy", does("announce", "core.echo")) },
    ]
}

fn made_of(like: &Action, name: &str, steps: Vec<Step>) -> Arc<Action> {
    let workflow = Workflow::new(WorkflowInput::Parameters, steps, None).unwrap();
    Arc::new(Action { name: name.parse().unwrap(), run: Run::Workflow(Arc::new(workflow)), ..like.clone() })
}

fn does(name: &str, action: &str) -> Step {
    let with = if action == "core.echo" { json!({ "message": name }) } else { json!({}) };
    Step {
        name: name.parse().unwrap(),
        needs: Vec::new(),
        enough: None,
        starts: StartsIf::Succeeded,
        local: Vec::new(),
        for_each: None,
        repeat: None,
        task: Task::Action { action: action.parse().unwrap(), with: template(&with) },
        wait: None,
        cancel_when: None,
        undo: None,
        notify: None,
        on_failure: OnFailure::Fail,
        retry: None,
        timeout: None,
        priority: None,
    }
}

fn needing(needed: &str, step: Step) -> Step {
    Step { needs: vec![needed.parse().unwrap()], ..step }
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap()
}

fn template(value: &Value) -> Template {
    Template::compile(value, &roots()).unwrap()
}

fn roots() -> Roots {
    Roots::new(["params", "steps", "item", "index", SUCCEEDED, FAILED, ALWAYS])
}
