//! `ensue packs`, `ensue actions`, `ensue triggers`: the installed things of each kind.

mod library;

use clap::Subcommand;
use serde_json::Value;

use self::library::Add;
use super::check::count_noun;
use super::{Asking, PageArgs, print_list};
use crate::report::{CommandResult, printable};
use crate::table::{Column, cell, pairs, text};
use crate::{nearest, questions};

/// List, show and add packs.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue packs list
  ensue packs list --available
  ensue packs add slack
  ensue packs show release")]
pub(crate) enum Packs {
    /// Add a pack of the library to the folder of packs. Existing files are not overwritten.
    #[command(after_help = "\
Examples:
  ensue packs add slack
  ensue packs add stripe --to /srv/ensue/packs")]
    Add(Add),
    /// List packs, with their versions and the state of their folders.
    #[command(after_help = "\
Examples:
  ensue packs list
  ensue packs list --available    those that `ensue packs add` can add
  ensue packs list -o json")]
    List {
        /// List the packs of the library that can be added. No node is asked.
        #[arg(long)]
        available: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a pack with its configuration, keys and findings.
    #[command(after_help = "\
Examples:
  ensue packs show release
  ensue packs show release -o json")]
    Show {
        /// The name of the pack.
        #[arg(value_name = "PACK")]
        name: String,
    },
}

/// List and show actions.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue actions list
  ensue actions show release.ship")]
pub(crate) enum Actions {
    /// List actions, with their runners.
    #[command(after_help = "\
Examples:
  ensue actions list
  ensue actions list --limit 200 -o json")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show an action with its parameters and result.
    #[command(after_help = "\
Examples:
  ensue actions show core.http
  ensue actions show release.ship -o json")]
    Show {
        /// The ref of the action.
        #[arg(value_name = "ACTION")]
        name: String,
    },
}

/// List and show triggers.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue triggers list
  ensue triggers show github.push")]
pub(crate) enum Triggers {
    /// List triggers.
    #[command(after_help = "\
Examples:
  ensue triggers list
  ensue triggers list --limit 200 -o json")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a trigger with its payload and the rules that it triggers.
    #[command(after_help = "\
Examples:
  ensue triggers show github.push
  ensue triggers show github.push -o json")]
    Show {
        /// The ref of the trigger.
        #[arg(value_name = "TRIGGER")]
        name: String,
    },
}

/// A kind of installed thing.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Packs,
    Actions,
    Triggers,
}

const PACKS: &[Column] = &[
    Column::whole("PACK", |pack| cell(pack, "name")),
    Column::whole("VERSION", |pack| cell(pack, "version")),
    Column::whole("STATUS", |pack| cell(pack, "status")),
    Column::whole("FOLDER", in_folder),
    Column::cut("DESCRIPTION", |pack| cell(pack, "description")),
];
const ACTIONS: &[Column] = &[
    Column::whole("ACTION", |action| cell(action, "ref")),
    Column::whole("RUNNER", |action| cell(action, "runner")),
    Column::cut("DESCRIPTION", |action| cell(action, "description")),
];
const TRIGGERS: &[Column] =
    &[Column::whole("TRIGGER", |trigger| cell(trigger, "ref")), Column::cut("DESCRIPTION", |trigger| cell(trigger, "description"))];

/// Returns what is wrong with a pack's files in the folder: the installed version is then an older one.
fn in_folder(pack: &Value) -> String {
    let findings = || pack["findings"].as_array().into_iter().flatten();
    let of = |severity: &str| findings().filter(|finding| finding["severity"] == severity).count();
    match (of("error"), of("warning")) {
        (0, 0) => "ok".to_owned(),
        (0, warnings) => count_noun(warnings, "warning"),
        (errors, _) => count_noun(errors, "error"),
    }
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Packs => "/packs",
            Self::Actions => "/actions",
            Self::Triggers => "/triggers",
        }
    }

    fn render(self, thing: &Value) -> String {
        match self {
            Self::Packs => pack(thing),
            Self::Actions => action(thing),
            Self::Triggers => trigger(thing),
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Packs => PACKS,
            Self::Actions => ACTIONS,
            Self::Triggers => TRIGGERS,
        }
    }
}

impl Packs {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::Add(add) => add.run(),
            Self::List { available: true, .. } => library::list(asking),
            Self::List { available: false, page } => list(Kind::Packs, asking, &page).await,
            Self::Show { name } => show(Kind::Packs, asking, &name).await,
        }
    }
}

impl Actions {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::List { page } => list(Kind::Actions, asking, &page).await,
            Self::Show { name } => show(Kind::Actions, asking, &name).await,
        }
    }
}

impl Triggers {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::List { page } => list(Kind::Triggers, asking, &page).await,
            Self::Show { name } => show(Kind::Triggers, asking, &name).await,
        }
    }
}

async fn list(kind: Kind, asking: &Asking, page: &PageArgs) -> CommandResult {
    print_list(asking, &asking.client()?, kind.path(), &page.query(), kind.columns()).await
}

async fn show(kind: Kind, asking: &Asking, name: &str) -> CommandResult {
    let thing = nearest::get_by_name(&asking.client()?, kind.path(), name).await?;
    asking.output.print_one(&thing, |thing| kind.render(thing));
    Ok(())
}

/// Returns a pack for people.
fn pack(pack: &Value) -> String {
    let mut shown = pairs(&[
        ("pack", text(pack, "name")),
        ("version", text(pack, "version")),
        ("status", text(pack, "status")),
        ("description", text(pack, "description")),
        ("keys", names(&pack["keys"])),
        ("permissions", permissions(pack)),
        ("installed", text(pack, "installed_at")),
        ("by", text(pack, "installed_by")),
        ("digest", text(pack, "digest")),
    ]);
    if pack["config"].as_object().is_some_and(|config| !config.is_empty()) {
        shown.push_str(&printable(&format!("\nconfig\n{:#}\n", pack["config"])));
    }
    let findings: Vec<String> = pack["findings"].as_array().into_iter().flatten().map(finding).collect();
    shown + &section("findings", &findings)
}

/// Returns what an installed pack may do with other packs.
fn permissions(pack: &Value) -> String {
    match (&pack["permissions"], text(pack, "status").as_str()) {
        (Value::Array(list), _) if list.is_empty() => "nothing with other packs".to_owned(),
        (Value::Array(list), _) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        (_, "installed") => "everything with other packs".to_owned(),
        _ => String::new(),
    }
}

/// Returns a finding on one line.
fn finding(finding: &Value) -> String {
    let place = match (text(finding, "file"), text(finding, "line")) {
        (file, line) if file.is_empty() || line.is_empty() => file,
        (file, line) => format!("{file}:{line}"),
    };
    let place = if place.is_empty() { place } else { format!("{place}: ") };
    format!("{}[{}]: {place}{}", text(finding, "severity"), text(finding, "code"), text(finding, "message"))
}

/// Returns an action for people.
fn action(action: &Value) -> String {
    let templates: Vec<&str> = action["templates"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let mut shown = pairs(&[
        ("action", text(action, "ref")),
        ("description", text(action, "description")),
        ("runner", text(action, "runner")),
        ("timeout", seconds(&action["timeout"])),
        ("grace", seconds(&action["grace"])),
        ("idempotent", text(action, "idempotent")),
        ("if lost", text(action, "on_lost")),
        ("priority", text(action, "priority")),
        ("queue", text(action, "queue")),
        ("templates", templates.join(", ")),
        ("labels", names(&action["labels"])),
    ]);
    shown.push_str(&schema("parameters", &action["parameters"]));
    shown.push_str(&schema("result", &action["result"]));
    shown
}

/// Returns a trigger for people.
fn trigger(trigger: &Value) -> String {
    let shown = pairs(&[
        ("trigger", text(trigger, "ref")),
        ("description", text(trigger, "description")),
        ("rules", names(&trigger["rules"])),
        ("index", names(&trigger["index"])),
    ]);
    shown + &schema("payload", &trigger["payload"])
}

/// Returns the fields that a schema declares, or the schema itself if it declares none.
fn schema(title: &str, schema: &Value) -> String {
    let fields = questions::field_lines(schema);
    match schema {
        Value::Null => String::new(),
        _ if fields.is_empty() => printable(&format!("\n{title}, as JSON Schema\n{schema:#}\n")),
        _ => section(title, &fields),
    }
}

fn section(title: &str, lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { printable(&format!("\n{title}\n{}\n", lines.join("\n"))) }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map(|seconds| format!("{seconds} s")).unwrap_or_default()
}

fn names(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn action_is_shown_with_its_parameters() {
        let shown = action(&json!({
            "ref": "release.ship", "pack": "release", "description": "Ships.", "runner": "shell", "timeout": 90.0, "grace": 10.0,
            "idempotent": false, "on_lost": "ask", "priority": 0, "queue": "default", "templates": { "nightly": {} }, "labels": ["team"],
            "parameters": {
                "type": "object", "required": ["version"],
                "properties": { "version": { "type": "string", "description": "What to ship." }, "dry": { "type": "boolean" } },
            },
            "result": null,
        }));
        insta::assert_snapshot!(shown, @r"
        action       release.ship
        description  Ships.
        runner       shell
        timeout      90 s
        grace        10 s
        idempotent   false
        if lost      ask
        priority     0
        queue        default
        templates    nightly
        labels       team

        parameters
        dry (boolean, optional)
        version (string): What to ship.
        ");
    }

    #[test]
    fn trigger_and_pack_are_shown_for_people() {
        let shown = trigger(&json!({
            "ref": "shop.order", "pack": "shop", "description": "Somebody ordered.", "index": [], "rules": ["shop.charge"], "payload": true,
        }));
        insta::assert_snapshot!(shown, @r"
        trigger      shop.order
        description  Somebody ordered.
        rules        shop.charge

        payload, as JSON Schema
        true
        ");
        let shown = pack(&json!({
            "name": "shop", "status": "installed", "version": "1.0.0", "description": "A shop.", "keys": ["shop.secret"], "config": {},
            "findings": [{ "severity": "error", "code": "unknown_field", "message": "there is no `x`", "file": "shop/pack.yaml", "line": 3 }],
        }));
        insta::assert_snapshot!(shown, @r"
        pack         shop
        version      1.0.0
        status       installed
        description  A shop.
        keys         shop.secret
        permissions  everything with other packs

        findings
        error[unknown_field]: shop/pack.yaml:3: there is no `x`
        ");
    }

    #[test]
    fn broken_pack_is_marked_in_the_list() {
        let pack = |severities: &[&str]| {
            let findings: Vec<Value> = severities.iter().map(|severity| json!({ "severity": severity })).collect();
            in_folder(&json!({ "status": "installed", "findings": findings }))
        };
        assert_eq!([pack(&[]), pack(&["note"]), pack(&["warning", "note"])], ["ok", "ok", "1 warning"]);
        assert_eq!(pack(&["warning", "error", "error"]), "2 errors");
    }
}
