//! Packs for measurements: one webhook, one trigger, and as many rules as the scenario needs, or a workflow.
//!
//! They need only `core` of the library.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::flows::Flow;

/// The variable with the file of the key that signs deliveries.
pub(crate) const KEY_VARIABLE: &str = "ENSUE_KEY_BENCH_WEBHOOK_SECRET_FILE";
/// The path of deliveries.
pub(crate) const HOOK: &str = "/hooks/bench/github";
/// The rules in one file: a file has at most 1 MiB.
const RULES_PER_FILE: usize = 500;
/// How many rules match when there are many.
pub(crate) const MATCHING: usize = 10;

/// A measured scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Events are stored; no rule matches.
    Ingest,
    /// One rule matches and finishes a no-op.
    Rule,
    /// One rule matches and makes one HTTP call.
    Http,
    /// One rule matches and runs a program that does nothing.
    Process,
    /// As [`Rule`](Self::Rule), with concurrent readers.
    Api,
    /// Many rules on one trigger, of which ten match, each with a no-op.
    Rules(usize),
    /// Lists of events without consequences.
    Batch,
    /// Single events without consequences, while many streams follow the log.
    Streams,
    /// One delivery after the other, in one of these ways.
    Hook(Hook),
    /// A workflow requested over the API; each request is answered at its end.
    Flow(Flow),
}

/// How a delivery is proven, and what its sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Without a proof.
    None,
    /// Signed as GitHub does.
    Github,
    /// Signed as the pack describes.
    Hmac,
    /// Signed as GitHub does; a rule matches and runs a no-op.
    Rule,
    /// The same, and the reply waits for its end.
    Wait,
}

impl Hook {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Github, Self::Hmac, Self::Rule, Self::Wait];

    fn name(self) -> &'static str {
        match self {
            Self::None => "hook none",
            Self::Github => "hook github",
            Self::Hmac => "hook hmac",
            Self::Rule => "hook rule",
            Self::Wait => "hook wait",
        }
    }
}

impl Scenario {
    /// Returns the scenario's name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Ingest => "ingest".to_owned(),
            Self::Rule => "rule".to_owned(),
            Self::Http => "http".to_owned(),
            Self::Process => "process".to_owned(),
            Self::Api => "api".to_owned(),
            Self::Rules(count) => format!("rules {count}"),
            Self::Batch => "batch".to_owned(),
            Self::Streams => "streams".to_owned(),
            Self::Hook(hook) => hook.name().to_owned(),
            Self::Flow(flow) => flow.name(),
        }
    }

    /// Returns how many executions one event or one request leads to.
    pub(crate) fn executions_per_event(self) -> usize {
        match self {
            Self::Ingest | Self::Batch | Self::Streams => 0,
            Self::Hook(Hook::None | Hook::Github | Hook::Hmac) => 0,
            Self::Rule | Self::Http | Self::Process | Self::Api | Self::Hook(Hook::Rule | Hook::Wait) => 1,
            Self::Rules(count) => count.min(MATCHING),
            Self::Flow(flow) => flow.executions(),
        }
    }
}

/// Writes the pack of a scenario into a folder of packs; `target` is the destination of the HTTP call.
pub(crate) fn write(packs: &Path, scenario: Scenario, target: Option<SocketAddr>) -> std::io::Result<()> {
    let pack = packs.join("bench");
    let file = |path: &str, text: &str| write_file(&pack, path, text);
    file(
        "pack.yaml",
        "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\nkeys: [webhook_secret]\n\
         config: { branch: 'string = \"main\"' }\n",
    )?;
    file("triggers/pull_request.yaml", TRIGGER)?;
    file("sensors/github.yaml", &sensor(scenario))?;
    match scenario {
        Scenario::Batch | Scenario::Streams => file("triggers/tick.yaml", TICK),
        Scenario::Ingest | Scenario::Hook(Hook::None | Hook::Github | Hook::Hmac) => {
            file("rules/none.yaml", &rule("event.payload.action == \"closed\"", NOOP))
        }
        Scenario::Rule | Scenario::Api | Scenario::Hook(Hook::Rule | Hook::Wait) => file("rules/one.yaml", &rule(MATCH, NOOP)),
        Scenario::Process => {
            file("actions/nothing.yaml", NOTHING)?;
            file("rules/run.yaml", &rule(MATCH, "action: bench.nothing\n"))
        }
        Scenario::Http => {
            let target = target.map(|target| target.to_string()).unwrap_or_default();
            let call = format!("action: core.http\nwith:\n  url: http://{target}/calls/${{{{ event.id }}}}\n");
            file("rules/call.yaml", &rule(MATCH, &call))
        }
        Scenario::Rules(count) => {
            for first in (0..count).step_by(RULES_PER_FILE) {
                let until = count.min(first + RULES_PER_FILE);
                file(&format!("rules/from_{first}.yaml"), &many(first, until))?;
            }
            Ok(())
        }
        Scenario::Flow(flow) => {
            let (path, text) = flow.file();
            file(&path, &text)
        }
    }
}

/// Writes a file of a pack, and creates the folders on its path.
pub(crate) fn write_file(pack: &Path, path: &str, text: &str) -> std::io::Result<()> {
    let path = pack.join(path);
    std::fs::create_dir_all(path.parent().unwrap_or(pack))?;
    std::fs::write(path, text)
}

/// A condition that the delivery satisfies.
const MATCH: &str = "event.payload.action == \"opened\" && event.payload.pull_request.base.ref == \"main\"";
const NOOP: &str = "action: core.noop\n";
const NOTHING: &str = "description: Runs a program that does nothing.\nrun: { process: { command: ['true'] } }\nidempotent: true\n";
const TRIGGER: &str = "\
description: A pull request, as GitHub reports it.
payload:
  action: string
  number: integer
  pull_request: object
  repository: object
";
/// The trigger of deliveries.
pub(crate) const PULL_REQUEST_REF: &str = "bench.pull_request";
/// The trigger of events over the API.
pub(crate) const TICK_REF: &str = "bench.tick";
/// Its file.
pub(crate) const TICK: &str = "description: A tick.\npayload:\n  n: integer\n  text: string\n";
const EMITS: &str = "\
emits:
  - trigger: bench.pull_request
    when: 'headers[\"x-github-event\"] == \"pull_request\"'
    dedupe: 'headers[\"x-github-delivery\"]'
";

/// Returns the sensor of a scenario.
fn sensor(scenario: Scenario) -> String {
    let hook = if let Scenario::Hook(hook) = scenario { hook } else { Hook::Github };
    let verify = match hook {
        Hook::None => "{ scheme: none }",
        Hook::Hmac => "{ scheme: hmac, key: bench.webhook_secret, header: X-Hub-Signature-256, prefix: 'sha256=' }",
        Hook::Github | Hook::Rule | Hook::Wait => "{ scheme: github, key: bench.webhook_secret }",
    };
    let reply = match hook {
        Hook::Wait => "  reply:\n    - wait: 10s\n      body: { events: [{ id: '${{ event.id }}' }] }\n",
        Hook::None | Hook::Github | Hook::Hmac | Hook::Rule => "",
    };
    format!("description: GitHub's webhook.\nwebhook:\n  verify: {verify}\n{reply}{EMITS}")
}

fn rule(when: &str, then: &str) -> String {
    format!("description: Made for a measurement.\ntrigger: bench.pull_request\nwhen: |\n  {when}\n{then}")
}

/// Returns the rules `first` to `until`, of which the very first ten match. Their conditions use all the
/// forms of `SHAPES`.
fn many(first: usize, until: usize) -> String {
    let mut file = String::from("rules:\n");
    for number in first..until {
        let (is, write) = SHAPES[number % SHAPES.len()];
        let when = if number < MATCHING { write(is) } else { write(&format!("another_{number}")) };
        let _ = write!(
            file,
            "  rule_{number}:\n    trigger: bench.pull_request\n    when: |\n      {when}\n    \
             local: {{ name: event.payload.repository.name }}\n    action: core.noop\n"
        );
    }
    file
}

/// The delivery's value for the text, and a condition that checks it.
type Shape = (&'static str, fn(&str) -> String);

/// The common forms of conditions.
const SHAPES: [Shape; 12] = [
    ("lamplight", |name| format!("event.payload.action == \"opened\" && event.payload.repository.name == \"{name}\"")),
    ("lamplight", |name| format!("event.payload.repository.name in [\"{name}\", \"also_{name}\"] && event.payload.number > 1")),
    ("dusk", |branch| format!("event.payload.pull_request.head.ref.startsWith(\"{branch}\")")),
    ("dusk", |branch| format!("event.payload.pull_request.head.ref.glob(\"{branch}*\")")),
    ("octomona", |login| format!("has(event.payload.pull_request.user) && event.payload.pull_request.user.login == \"{login}\"")),
    ("octomona", |login| format!("event.payload.pull_request.?user.?login.orValue(\"\") == \"{login}\"")),
    ("octomona", |login| format!("event.payload.pull_request.user != null && event.payload.pull_request.user.login == \"{login}\"")),
    ("lamplight", |name| format!("event.payload.repository.name == \"{name}\" || event.payload.pull_request.head.ref == \"for_{name}\"")),
    ("lamplight", |name| {
        format!(
            "!event.payload.pull_request.draft && !(event.payload.action in [\"closed\"]) && event.payload.repository.name == \"{name}\""
        )
    }),
    ("lamplight", |name| format!("!(event.payload.action != \"opened\" || event.payload.repository.name != \"{name}\")")),
    ("lamplight", |name| format!("event.payload.pull_request.base.ref == config.branch && event.payload.repository.name == \"{name}\"")),
    ("lamplight", |name| format!("local.name == \"{name}\" && event.payload.action == \"opened\"")),
];

/// Returns what the check of a pack reports, in a test.
#[cfg(test)]
pub(crate) fn diagnostics(pack: &Path) -> String {
    let mut packs = ensue_packs::library();
    packs.push(ensue_packs::PackSource::read(pack).unwrap());
    let checked = ensue_packs::check(&packs, &std::collections::BTreeMap::new());
    checked.diagnostics.iter().map(|one| one.render(ensue_packs::Colour::Plain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_of_every_scenario_are_valid() {
        for scenario in [
            Scenario::Ingest,
            Scenario::Rule,
            Scenario::Http,
            Scenario::Process,
            Scenario::Api,
            Scenario::Rules(10),
            Scenario::Rules(1_200),
            Scenario::Batch,
            Scenario::Streams,
            Scenario::Hook(Hook::None),
            Scenario::Hook(Hook::Hmac),
            Scenario::Hook(Hook::Wait),
            Scenario::Flow(Flow::Short),
            Scenario::Flow(Flow::Chain),
            Scenario::Flow(Flow::Items),
            Scenario::Flow(Flow::Steps),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), scenario, Some("127.0.0.1:9".parse().unwrap())).unwrap();
            let reported = diagnostics(&folder.path().join("bench"));
            match scenario {
                // Nothing else is wrong with a hook that anyone may use.
                Scenario::Hook(Hook::None) => {
                    assert!(reported.starts_with("warning[verify_none]") && !reported.contains("error["), "{reported}");
                }
                _ => assert_eq!(reported, "", "{scenario:?}"),
            }
        }
    }
}
