//! Workflows: their steps are listed and shown, are in the trace, and can be cancelled.

use serde_json::{Value, json};

use crate::support::TestApi;

/// Starts the workflow of the small node and returns its id.
async fn flow(api: &TestApi) -> String {
    let started = api.post("/api/v1/actions/demo.flow/execute").by("author").answer().await.expect(202).json();
    assert_eq!((&started["status"], &started["attempt"]), (&json!("waiting"), &json!(0)));
    id_of(&started)
}

fn id_of(execution: &Value) -> String {
    execution["id"].as_str().unwrap().to_owned()
}

async fn read(api: &TestApi, path: &str) -> Value {
    api.get(&format!("/api/v1{path}")).by("viewer").answer().await.expect(200).json()
}

/// Lists the steps of a workflow that have an execution, oldest first.
async fn steps(api: &TestApi, of: &str) -> Vec<Value> {
    read(api, &format!("/executions?parent={of}&sort=position")).await["items"].as_array().unwrap().clone()
}

async fn step(api: &TestApi, of: &str, name: &str) -> String {
    id_of(steps(api, of).await.iter().find(|step| step["step"] == name).unwrap())
}

/// Ends the running steps, those of the inner workflow first, until none is left.
async fn end_all(api: &TestApi) {
    loop {
        let running = read(api, "/executions?status=running").await;
        let Some(next) = running["items"].as_array().unwrap().first() else { return };
        api.node.succeed(&id_of(next), "{}");
    }
}

fn names(steps: &[Value]) -> Vec<String> {
    let name = |step: &Value| match step["item"].as_u64() {
        Some(item) => format!("{}[{item}]", step["step"].as_str().unwrap()),
        None => step["step"].as_str().unwrap().to_owned(),
    };
    steps.iter().map(name).collect()
}

#[tokio::test]
async fn workflow_steps_are_the_executions_with_that_parent() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let build = step(&api, &flow, "build").await;
    api.node.succeed(&build, "{}");
    let begun = steps(&api, &flow).await;
    assert_eq!(names(&begun), ["build", "deploy[0]", "deploy[1]", "inside"]);
    assert!(begun.iter().all(|step| step["parent"].as_str() == Some(&flow)));
    assert_eq!((&begun[0]["status"], &begun[3]["status"]), (&json!("succeeded"), &json!("waiting")));
    let inside = id_of(&begun[3]);
    assert_eq!(names(&steps(&api, &inside).await), ["deep"]);
    let waiting = read(&api, "/executions?status=waiting").await;
    assert_eq!(waiting["items"].as_array().unwrap().len(), 2);
    let first = read(&api, &format!("/executions?parent={flow}&limit=1")).await;
    assert_eq!(first["items"][0]["step"], "inside");
    let next = first["next"].as_str().unwrap();
    let second = read(&api, &format!("/executions?parent={flow}&limit=1&cursor={next}")).await;
    assert_eq!((&second["items"][0]["step"], &second["items"][0]["item"]), (&json!("deploy"), &json!(1)));
    assert_eq!(read(&api, "/executions?parent=nothing").await["items"], json!([]));
    let chain = read(&api, &format!("/executions/{flow}")).await["correlation"].as_str().unwrap().to_owned();
    let all = steps(&api, &flow).await.len();
    let both = |correlation: &str| format!("/executions?parent={flow}&correlation={correlation}");
    assert_eq!(read(&api, &both(&chain)).await["items"].as_array().unwrap().len(), all);
    assert_eq!(read(&api, &both("another")).await["items"], json!([]));
}

#[tokio::test]
async fn workflow_shows_its_unstarted_steps_with_reasons() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    end_all(&api).await;
    let shown = read(&api, &format!("/executions/{flow}")).await;
    assert_eq!((&shown["status"], &shown["parent"], &shown["not_started_count"]), (&json!("succeeded"), &json!(null), &json!(2)));
    let mut not_started = shown["not_started"].clone();
    for step in not_started.as_array_mut().unwrap() {
        assert!(step["at"].take().is_string());
    }
    let expected = json!([
        { "step": "never", "item": null, "at": null, "skipped": "condition", "error": null, "taken_over": false, "taken_from": null },
        { "step": "nothing", "item": null, "at": null, "skipped": null, "error": null, "taken_over": false, "taken_from": null },
    ]);
    assert_eq!(not_started, expected);
    let listed = read(&api, "/executions?action=demo.flow").await;
    assert_eq!((&listed["items"][0]["not_started_count"], listed["items"][0].get("not_started")), (&json!(2), None));
    let timeline = read(&api, &format!("/executions/{flow}/timeline")).await;
    let told: Vec<&str> = timeline["items"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert!(told.contains(&"step never was skipped: its condition does not hold"), "{told:?}");
}

#[tokio::test]
async fn first_cancel_ends_running_steps_and_a_second_ends_cleanup_steps_too() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let build = step(&api, &flow, "build").await;
    api.node.succeed(&build, "{}");
    let cancel = async || api.post(&format!("/api/v1/executions/{flow}/cancel")).by("operator").answer().await;
    let status = async |id: &str| read(&api, &format!("/executions/{id}")).await["status"].clone();
    assert_eq!(cancel().await.expect(202).json()["status"], "cancelling");
    let inside = step(&api, &flow, "inside").await;
    for asked in [&inside, &step(&api, &inside, "deep").await, &step(&api, &flow, "deploy").await] {
        assert_eq!(status(asked).await, "cancelling");
    }
    for running in ["deploy", "deploy", "deep"] {
        let next = read(&api, "/executions?status=cancelling&action=core.echo").await;
        let next = next["items"].as_array().unwrap().iter().find(|step| step["step"] == running).unwrap().clone();
        api.node.end_cancelled(&id_of(&next));
    }
    let announce = step(&api, &flow, "announce").await;
    assert_eq!((status(&inside).await, status(&announce).await), (json!("cancelled"), json!("running")));
    assert_eq!(cancel().await.expect(202).json()["status"], "cancelling");
    assert_eq!(status(&announce).await, "cancelling");
    cancel().await.expect(202);
    api.node.end_cancelled(&announce);
    assert_eq!(status(&flow).await, "cancelled");
    cancel().await.expect_problem(409, "execution_not_open");
}

#[tokio::test]
async fn workflow_cannot_be_settled_but_its_step_can() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let settle = async |id: &str| {
        let settled = api.post(&format!("/api/v1/executions/{id}/settle")).by("operator").json(&json!({ "outcome": "succeeded" }));
        settled.answer().await
    };
    settle(&flow).await.expect_problem(409, "execution_not_indeterminate");
    let inside = {
        let build = step(&api, &flow, "build").await;
        api.node.succeed(&build, "{}");
        step(&api, &flow, "inside").await
    };
    settle(&inside).await.expect_problem(409, "execution_not_indeterminate");
    end_all(&api).await;
    settle(&flow).await.expect_problem(409, "execution_not_open");
}

#[tokio::test]
async fn trace_of_any_step_reaches_the_event_and_the_innermost_step() {
    let api = TestApi::new();
    let sent = api.post("/api/v1/events").by("author").json(&json!({ "trigger": "demo.change", "payload": {} }));
    let event = id_of(&sent.answer().await.expect(202).json());
    end_all(&api).await;
    let flow = id_of(&read(&api, "/executions?action=demo.flow").await["items"][0]);
    let inside = step(&api, &flow, "inside").await;
    let deep = step(&api, &inside, "deep").await;
    let trace = read(&api, &format!("/trace/{deep}")).await;
    let node = |id: &str| trace["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap().clone();
    let mut way = vec![deep.clone()];
    while let Some(parent) = node(way.last().unwrap())["parent"].as_str() {
        way.push(parent.to_owned());
    }
    let kinds: Vec<_> = way.iter().map(|id| node(id)["kind"].clone()).collect();
    assert_eq!(kinds, ["execution", "execution", "execution", "enforcement", "event"]);
    assert_eq!((&way[1], &way[2], &way[4]), (&inside, &flow, &event));
    assert_eq!((&node(&deep)["step"], &node(&deep)["item"]), (&json!("deep"), &json!(null)));
    assert_eq!(node(&flow)["not_started"][0]["skipped"], "condition");
    let under_flow = trace["nodes"].as_array().unwrap().iter().filter(|node| node["parent"].as_str() == Some(&flow)).count();
    assert_eq!(under_flow, 5);
}

/// Returns a node of a graph.
fn node<'a>(graph: &'a Value, step: &str) -> &'a Value {
    graph["nodes"].as_array().unwrap().iter().find(|node| node["step"] == step).unwrap()
}

#[tokio::test]
async fn graph_shows_every_step_also_those_to_come() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let path = format!("/executions/{flow}/graph");
    let graph = read(&api, &path).await;
    let places: Vec<_> = graph["nodes"].as_array().unwrap().iter().map(|node| (node["rank"].clone(), node["lane"].clone())).collect();
    assert_eq!(json!(places), json!([[0, 0], [1, 0], [1, 1], [1, 2], [1, 3], [2, 0]]));
    assert_eq!(graph["edges"].as_array().unwrap().len(), 5);
    assert_eq!(graph["edges"][4], json!({ "from": "deploy", "to": "announce" }));
    let build = step(&api, &flow, "build").await;
    assert_eq!((&node(&graph, "build")["state"], &node(&graph, "build")["execution"]), (&json!("running"), &json!(build)));
    assert_eq!((&node(&graph, "announce")["state"], &node(&graph, "announce")["if"]), (&json!("to_come"), &json!("always()")));
    assert_eq!((&node(&graph, "inside")["kind"], &node(&graph, "inside")["needs"]), (&json!("workflow"), &json!(["build"])));

    api.node.succeed(&build, "{}");
    let deploys: Vec<Value> = steps(&api, &flow).await.into_iter().filter(|step| step["step"] == "deploy").collect();
    api.node.succeed(&id_of(&deploys[0]), "{}");
    let graph = read(&api, &path).await;
    let deploy = node(&graph, "deploy");
    assert_eq!((&deploy["items"], &deploy["for_each"]), (&json!(2), &json!("['eu', 'us']")));
    assert_eq!((&deploy["counts"], &deploy["state"]), (&json!({ "running": 1, "succeeded": 1 }), &json!("running")));
    assert_eq!(deploy["execution"], Value::Null, "it has several");
    assert_eq!((&node(&graph, "never")["state"], &node(&graph, "never")["skipped"]), (&json!("skipped"), &json!("condition")));
    assert_eq!((&node(&graph, "nothing")["state"], &node(&graph, "nothing")["items"]), (&json!("succeeded"), &json!(0)));

    end_all(&api).await;
    let graph = read(&api, &path).await;
    assert!(graph["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "succeeded" || node["state"] == "skipped"), "{graph}");
    assert_eq!((&graph["critical"], &graph["truncated"]), (&json!(["build", "deploy", "announce"]), &json!(false)));
    let alone = read(&api, &format!("/executions/{build}/graph")).await;
    assert_eq!((&alone["nodes"], &alone["execution"]), (&json!([]), &json!(build)));
    api.get("/api/v1/executions/nothing/graph").by("viewer").answer().await.expect_problem(404, "not_found");

    let action = read(&api, "/actions/demo.flow").await;
    let written: Vec<_> = action["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(json!(written), json!(["build", "deploy", "inside", "never", "nothing", "announce"]));
    assert_eq!(read(&api, "/actions/core.echo").await["steps"], Value::Null);
}

#[tokio::test]
async fn graph_of_a_failed_workflow_shows_why_the_rest_did_not_start() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let build = step(&api, &flow, "build").await;
    api.node.fail(&build);
    end_all(&api).await;
    let graph = read(&api, &format!("/executions/{flow}/graph")).await;
    assert_eq!(node(&graph, "build")["state"], "failed");
    assert_eq!((&node(&graph, "deploy")["state"], &node(&graph, "deploy")["skipped"]), (&json!("skipped"), &json!("failing")));
    assert_eq!(node(&graph, "announce")["state"], "succeeded");
}

#[tokio::test]
async fn dry_run_of_a_rerun_lists_what_runs_and_what_is_taken_over() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    let build = step(&api, &flow, "build").await;
    api.node.succeed(&build, "{}");
    let deploys: Vec<Value> = steps(&api, &flow).await.into_iter().filter(|step| step["step"] == "deploy").collect();
    api.node.succeed(&id_of(&deploys[0]), "{}");
    api.node.fail(&id_of(&deploys[1]));
    end_all(&api).await;
    let head = api.node.head_position();
    let planned = async |from: &str| {
        let path = format!("/api/v1/executions/{flow}/rerun?dry_run=true");
        api.post(&path).by("operator").json(&json!({ "from": from })).answer().await.expect(200).json()
    };
    let plan = planned("failed").await;
    let step = |name: &str, items: Value| json!({ "step": name, "items": items });
    assert_eq!(plan["runs"], json!([step("deploy", json!(1)), step("announce", Value::Null)]), "{plan}");
    let taken_over = [step("build", Value::Null), step("deploy", json!(1)), step("inside", Value::Null), step("nothing", Value::Null)];
    assert_eq!((&plan["taken_over"], &plan["decided_again"]), (&json!(taken_over), &json!(["never"])));
    let all = planned("start").await;
    assert_eq!((all["runs"].as_array().unwrap().len(), &all["taken_over"]), (6, &json!([])));
    let from_build = planned("build").await;
    assert_eq!(from_build["runs"].as_array().unwrap().len(), 6, "all of them need it");
    assert_eq!(api.node.head_position(), head, "nothing is recorded");

    // What the plan says is what a rerun does.
    let path = format!("/api/v1/executions/{flow}/rerun");
    let rerun = api.post(&path).by("operator").json(&json!({ "from": "failed" })).answer().await.expect(202).json();
    assert_eq!(names(&steps(&api, &id_of(&rerun)).await), ["deploy[1]"]);
    end_all(&api).await;
    assert_eq!(names(&steps(&api, &id_of(&rerun)).await), ["deploy[1]", "announce"]);
}

#[tokio::test]
async fn spans_have_the_workflow_and_its_steps_in_columns() {
    let api = TestApi::new();
    let flow = flow(&api).await;
    end_all(&api).await;
    let spans = read(&api, &format!("/executions/{flow}/spans")).await;
    let of = |name: &str| spans[name].as_array().unwrap().clone();
    let columns = ["id", "parent", "step", "item", "undoes", "status", "from_us", "to_us", "attempts", "waits_us"];
    let lengths: Vec<usize> = columns.iter().map(|name| of(name).len()).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    assert_eq!((&of("id")[0], &of("parent")[0], &of("from_us")[0]), (&json!(flow), &json!(null), &json!(0)));
    let deep = of("step").iter().position(|step| step == "deep").unwrap();
    let inside = of("parent")[deep].as_u64().unwrap() as usize;
    assert_eq!((&of("step")[inside], &of("parent")[inside]), (&json!("inside"), &json!(0)));
    assert_eq!(spans["truncated"], false);
    let whole = read(&api, &format!("/executions/{flow}/spans?min_share=1")).await;
    assert_eq!(whole["id"], json!([flow]), "no step took as long as the workflow");
    for wrong in ["2", "-0.5", "NaN", "x"] {
        let path = format!("/api/v1/executions/{flow}/spans?min_share={wrong}");
        api.get(&path).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn executions_are_compared_by_what_differs() {
    let api = TestApi::new();
    let run = async |site: &str| {
        let run = api.post("/api/v1/actions/demo.deploy/execute").by("admin").json(&json!({ "params": { "site": site } }));
        id_of(&run.answer().await.expect(202).json())
    };
    let eu = run("eu").await;
    let none = format!("/api/v1/executions/{eu}/compare/last_success");
    api.get(&none).by("viewer").answer().await.expect_problem(404, "not_found");
    api.node.succeed(&eu, "{}");
    let us = run("us").await;
    api.node.fail(&us);
    assert_eq!(read(&api, &format!("/executions/{us}")).await["last_success"], json!(eu));
    assert_eq!(read(&api, &format!("/executions/{eu}")).await["last_success"], Value::Null);
    let token = crate::reach::token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["us"] } })).await;
    let limited = api.get(&format!("/api/v1/executions/{us}")).bearing(&token).answer().await.expect(200).json();
    assert_eq!(limited["last_success"], Value::Null, "the caller does not see it");
    let difference = read(&api, &format!("/executions/{us}/compare/last_success")).await;
    assert_eq!(difference["executions"], json!({ "first": us, "second": eu }));
    assert_eq!(difference["status"], json!({ "first": "failed", "second": "succeeded" }));
    assert_eq!(difference["params"]["second"]["site"], "eu");
    assert_eq!((&difference["action"], &difference["catalog"], &difference["steps"]), (&json!(null), &json!(null), &json!([])));
    let same = read(&api, &format!("/executions/{us}/compare/{us}")).await;
    assert_eq!((&same["status"], &same["params"], &same["seconds"]), (&json!(null), &json!(null), &json!(null)));
    let (one, other) = (flow(&api).await, flow(&api).await);
    let build = step(&api, &one, "build").await;
    api.node.succeed(&build, "{}");
    let steps = read(&api, &format!("/executions/{one}/compare/{other}")).await["steps"].clone();
    let of_build = steps.as_array().unwrap().iter().find(|of| of["step"] == "build").unwrap();
    assert_eq!(of_build["state"], json!({ "first": "succeeded", "second": "running" }), "{steps:#}");
}
