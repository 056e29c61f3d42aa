//! The files for authors in Python and JavaScript, as actions of a pack use them, and as packages.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::skipped::{has_program, not_installed};
use crate::support::{Client, CommandOutput, NodeFolder};

const PYTHON: &str = r#"#!/usr/bin/env python3
import os
import ensue

def greet(action):
    if action.input["name"] == "nobody":
        raise ensue.Failure("there is nobody to greet", code=3)
    print("only for the log")
    action.progress(0.5, "thinking")
    action.emit("people.greeted", {"name": action.input["name"]})
    with open(os.path.join(os.environ["HOME"], "card.txt"), "w") as card:
        card.write("Hello")
    action.artifact(card.name)
    return {"text": "Hello, " + action.input["name"], "attempt": action.attempt}

ensue.action(greet)
"#;

const JAVASCRIPT: &str = r#"#!/usr/bin/env node
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { action, Failure } from './ensue.mjs';

await action(async (action) => {
  if (action.input.name === 'nobody') throw new Failure('there is nobody to greet', 3);
  console.log('only for the log');
  action.progress(0.5, 'thinking');
  action.emit('people.greeted', { name: action.input.name });
  const card = join(process.env.HOME, 'card.txt');
  writeFileSync(card, 'Hello');
  action.artifact(card);
  return { text: `Hello, ${action.input.name}`, attempt: action.attempt };
});
"#;

/// Writes a pack with the action `people.greet`, written in a language.
fn people(program: &str, text: &str, module: &str, module_text: &str) -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("people/pack.yaml", "name: people\nversion: 1.0.0\ndescription: Greets.\n");
    place.write_pack_file("people/triggers/greeted.yaml", "description: Somebody was greeted.\npayload: { name: string }\n");
    place.write_pack_file(
        "people/actions/greet.yaml",
        &format!(
            "description: Greets.\nparameters: {{ name: string }}\nresult: {{ text: string, attempt: integer }}\n\
             run: {{ process: {{ command: [./{program}] }} }}\n"
        ),
    );
    place.write_pack_program(&format!("people/actions/{program}"), text);
    place.write_pack_file(&format!("people/actions/{module}"), module_text);
    place
}

async fn result_and_messages_arrive(client: &Client) {
    let run = client.run("people.greet", &json!({ "name": "Ana" })).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["result"], json!({ "text": "Hello, Ana", "attempt": 1 }), "{run}");
    assert_eq!((&run["progress"]["message"], &run["artifacts"]), (&json!("thinking"), &json!(1)), "{run}");
    let is_there = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() == 1);
    client.until("/events?trigger=people.greeted", is_there).await;
}

async fn failure_has_its_code_and_its_words(client: &Client) {
    let run = client.run("people.greet", &json!({ "name": "nobody" })).await;
    assert_eq!(
        (&run["status"], &run["error"]["kind"], &run["error"]["detail"]),
        (&json!("failed"), &json!("exit_code"), &json!(3)),
        "{run}"
    );
    assert!(run["error"]["output_tail"].as_str().is_some_and(|tail| tail.contains("there is nobody to greet")), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_use_the_file_for_python() {
    if !has_program("actions_use_the_file_for_python", "python3") {
        return;
    }
    let place = people("greet.py", PYTHON, "ensue.py", include_str!("../../sdk/python/ensue.py"));
    let node = place.start();
    result_and_messages_arrive(&node.client()).await;
    failure_has_its_code_and_its_words(&node.client()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_use_the_file_for_javascript() {
    if !has_program("actions_use_the_file_for_javascript", "node") {
        return;
    }
    let place = people("greet.mjs", JAVASCRIPT, "ensue.mjs", include_str!("../../sdk/javascript/ensue.mjs"));
    let node = place.start();
    result_and_messages_arrive(&node.client()).await;
    failure_has_its_code_and_its_words(&node.client()).await;
}

/// Copies a folder of `sdk`: building a package leaves files in it.
fn copy_of(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::TempDir::new().unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").join(folder)).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn succeeds(command: &mut Command) -> String {
    let printed = CommandOutput::by(command);
    assert_eq!(printed.code, Some(0), "{command:?}: {printed:#?}");
    printed.stdout
}

#[test]
fn package_for_python_is_built_installed_and_imported() {
    let test = "package_for_python_is_built_installed_and_imported";
    let python = Path::new(crate::support::PYTHON).join("bin/python");
    let is_new_enough = "import setuptools; assert int(setuptools.__version__.split('.')[0]) >= 77";
    let tried = Command::new(&python).args(["-c", is_new_enough]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return not_installed(test, "the package `setuptools` 77 or newer of Python");
    }
    let (source, installed) = (copy_of("python"), tempfile::TempDir::new().unwrap());
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--target"]);
    succeeds(pip.arg(installed.path()).arg(source.path()));
    let script = "import ensue, importlib.metadata as found; print(ensue.__file__, found.version('ensue-sdk'), *ensue.__all__)";
    let said = succeeds(Command::new(&python).args(["-c", script]).env("PYTHONPATH", installed.path()).current_dir("/"));
    let expected =
        format!("{} {} Action Failure Sensor action sensor", installed.path().join("ensue.py").display(), env!("CARGO_PKG_VERSION"));
    assert_eq!(said.trim(), expected);
}

#[test]
fn package_for_javascript_is_packed_installed_and_imported() {
    let test = "package_for_javascript_is_packed_installed_and_imported";
    if !["node", "npm"].iter().all(|program| has_program(test, program)) {
        return;
    }
    let (source, user) = (copy_of("javascript"), tempfile::TempDir::new().unwrap());
    let npm = |arguments: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(arguments).args(["--offline", "--no-audit", "--no-fund"]).env("HOME", user.path()).current_dir(user.path());
        succeeds(&mut npm)
    };
    npm(&["pack", source.path().to_str().unwrap()]);
    let version = env!("CARGO_PKG_VERSION");
    std::fs::write(user.path().join("package.json"), r#"{ "type": "module" }"#).unwrap();
    npm(&["install", &format!("./ensue-sdk-{version}.tgz")]);
    let script = "const sdk = await import('ensue-sdk'); console.log(Object.keys(sdk).sort().join(' '));";
    let said = succeeds(Command::new("node").args(["--input-type=module", "-e", script]).current_dir(user.path()));
    assert_eq!(said.trim(), "Action Failure Sensor action sensor");
    assert!(user.path().join("node_modules/ensue-sdk/ensue.d.mts").is_file(), "the types are in the package");
}
