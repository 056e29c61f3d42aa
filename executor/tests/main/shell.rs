//! Scripts: values are passed in the environment and are never code.

use ensue_engine::catalog::{Run, ShellScript};
use ensue_engine::executions::facts::FailureKind;
use serde_json::{Value, json};

use crate::world::{Plan, attempt, failure, result, template};

fn shell(script: &str, env: Value) -> Run {
    Run::Shell(ShellScript { script: template(json!(script)), env: template(env) })
}

#[tokio::test]
async fn values_are_passed_as_environment_and_are_never_code() {
    let env = json!({ "VALUE": "${{ params.value }}" });
    for value in ["; echo hacked", "$(echo hacked)", "`echo hacked`", "a\nb", "'\"", "${{ keys['test.token'] }}", "--help"] {
        let mut world = Plan::new(shell(r#"printf %s "$VALUE""#, env.clone())).begin();
        assert_eq!(result(&world.report_of(json!({ "value": value })).await), json!(value));
    }
}

#[tokio::test]
async fn environment_may_be_one_expression() {
    let mut world = Plan::new(shell("echo $A$B", json!("${{ params.env }}"))).begin();
    assert_eq!(result(&world.report_of(json!({ "env": { "A": "a", "B": 1, "C": null } })).await), json!("a1"));
}

#[tokio::test]
async fn variable_that_makes_other_code_run_is_rejected_before_the_start() {
    for name in
        ["LD_PRELOAD", "PATH", "BASH_ENV", "ENV", "PYTHONPATH", "NODE_OPTIONS", "GIT_SSH_COMMAND", "a=b", "BASH_FUNC_x%%", "ENSUE_ATTEMPT"]
    {
        let mut world = Plan::new(shell("echo ran", json!("${{ params.env }}"))).begin();
        let report = world.report_of(json!({ "env": { name: "x" } })).await;
        failure(&report, FailureKind::Sandbox);
        assert!(!world.begun_text().contains(&attempt(1).to_string()), "{name}");
    }
}

#[tokio::test]
async fn computed_variable_that_runs_code_is_rejected_but_a_literal_is_not() {
    for name in ["MAKEFLAGS", "npm_config_script_shell", "DOTNET_STARTUP_HOOKS"] {
        let mut world = Plan::new(shell("echo ran", json!("${{ params.env }}"))).begin();
        let report = world.report_of(json!({ "env": { name: "x" } })).await;
        assert!(failure(&report, FailureKind::Sandbox).message.contains(name));
        assert!(!world.begun_text().contains(&attempt(1).to_string()), "{name}");
        let mut world = Plan::new(shell("echo ran", json!({ name: "${{ params.value }}" }))).begin();
        assert_eq!(result(&world.report_of(json!({ "value": "x" })).await), json!("ran"));
    }
}

#[tokio::test]
async fn script_stops_at_its_first_error_and_at_an_unset_variable() {
    for script in ["false\necho continued", "echo $UNSET_HERE"] {
        let mut world = Plan::new(shell(script, json!({}))).begin();
        let report = world.report_of(json!({})).await;
        failure(&report, FailureKind::ExitCode);
    }
}

#[tokio::test]
async fn script_may_be_a_parameter_and_reads_its_parameters() {
    let mut world = Plan::new(shell("${{ params.script }}", json!({}))).begin();
    let params = json!({ "script": "cat; ls -A" });
    assert_eq!(result(&world.report_of(params.clone()).await), json!(format!("{params}.ensue")));
}
