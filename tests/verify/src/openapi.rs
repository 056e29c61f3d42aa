//! The OpenAPI document in third-party tools: whether it is valid, and whether a live node conforms to it.
//!
//! `tests/openapi` contains their settings and the exceptions from their checks.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::keep::{OPENAPI_SEEDS, seeds_of};
use crate::node::Node;
use crate::{Report, read_root, refuse_in_ci, seed};

const DOCUMENT: &str = "OpenAPI document";
const LIVE: &str = "OpenAPI document, live";

/// The stored document.
pub(crate) const KEPT: &str = "docs/reference/openapi.json";
/// Where `.ci/run` installs the tools.
pub(crate) const TOOLS: &str = "target/python/bin";
/// The outputs for inspection: of each run the node's log, what the tool printed, and its report.
const LEFT: &str = "target/openapi";

const SETTINGS: &str = "schemathesis.toml";

/// Which requests are sent.
pub(crate) enum Kind {
    /// Those of the gate: all phases with its seed, and random requests with the kept seeds.
    Gate,
    /// Random requests with these seeds.
    Seeds(Vec<u64>),
}

/// One run against a live node.
struct Asking {
    name: String,
    by: Caller,
    seed: u64,
    /// The maximum number of requests for one operation in one phase.
    examples: u32,
    /// The minimum number of requests in total.
    cases_min: u64,
    /// The phases of the tool. The first two do not depend on the seed.
    phases: &'static str,
}

const ALL_PHASES: &str = "examples,coverage,fuzzing,stateful";
const RANDOM_PHASES: &str = "fuzzing,stateful";

/// The caller of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Admin,
    Nobody,
}

/// Checks the document, and a node against it.
///
/// # Errors
/// If the document is not valid, or if a node does not keep to it.
pub(crate) fn check(report: &mut Report, kind: Kind) -> Result<()> {
    let root = crate::root().canonicalize()?;
    let tools = root.join(TOOLS);
    let missing = ["openapi-spec-validator", "schemathesis"].into_iter().find(|tool| !tools.join(tool).is_file());
    if let Some(tool) = missing {
        refuse_in_ci(tool)?;
        for name in [DOCUMENT, LIVE] {
            report.skip(name, "`.ci/run` installs what it needs, from tests/python/requirements.txt");
        }
        return Ok(());
    }
    report.time(DOCUMENT, || {
        let status = Command::new(tools.join("openapi-spec-validator")).arg(root.join(KEPT)).status()?;
        ensure!(status.success(), "{KEPT} is no OpenAPI document");
        Ok(())
    })?;
    let all = match kind {
        Kind::Gate => {
            let seed = seed().parse().context("tests/seed is a number")?;
            let mut all = vec![
                Asking { name: "admin".to_owned(), by: Caller::Admin, seed, examples: 15, cases_min: 1_000, phases: ALL_PHASES },
                Asking { name: "nobody".to_owned(), by: Caller::Nobody, seed, examples: 5, cases_min: 300, phases: ALL_PHASES },
            ];
            all.extend(seeds_of(&read_root(OPENAPI_SEEDS)?).into_iter().map(Asking::random));
            all
        }
        Kind::Seeds(seeds) => seeds.into_iter().map(Asking::random).collect(),
    };
    report.time(LIVE, || live(&root, &all))
}

fn live(root: &Path, all: &[Asking]) -> Result<()> {
    let left = root.join(LEFT);
    if left.exists() {
        std::fs::remove_dir_all(&left)?;
    }
    std::fs::create_dir_all(&left)?;
    // Each has a node of its own, and uses one core.
    std::thread::scope(|scope| {
        let asked: Vec<_> = all.iter().map(|asking| scope.spawn(|| asking.ask(root))).collect();
        asked.into_iter().try_for_each(|asked| asked.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

impl Asking {
    /// Random requests of an admin with a seed.
    fn random(seed: u64) -> Self {
        Self { name: format!("admin-{seed}"), by: Caller::Admin, seed, examples: 15, cases_min: 1_000, phases: RANDOM_PHASES }
    }

    fn ask(&self, root: &Path) -> Result<()> {
        let left = root.join(LEFT).join(&self.name);
        std::fs::create_dir_all(&left)?;
        // The tool looks for its hooks and leaves its notes in its working directory.
        for file in [SETTINGS, "hooks.py"] {
            std::fs::copy(root.join("tests/openapi").join(file), left.join(file))?;
        }
        let node = Node::start(&left.join("node.log"), None)?;
        let (report, output) = (left.join("report.json"), left.join("output"));
        let (seed, examples) = (self.seed.to_string(), self.examples.to_string());
        eprintln!("verify: {LIVE}: {}, seed {seed}", self.name);
        let mut command = Command::new(root.join(TOOLS).join("schemathesis"));
        command.current_dir(&left).args(["--config-file", SETTINGS, "run"]).arg(root.join(KEPT));
        command.args(["--checks", "all", "--url", &node.url, "--seed", &seed, "--max-examples", &examples, "--no-color"]);
        command.args(["--phases", self.phases]).stdout(File::create(&output)?);
        command.args(["--report", "json", "--report-json-path"]).arg(&report);
        if self.by == Caller::Admin {
            command.arg("--header").arg(format!("Authorization: Bearer {}", node.token));
        }
        let status = command.status().context("schemathesis does not start")?;
        if !status.success() {
            eprintln!("{}", std::fs::read_to_string(&output)?);
            bail!("a node does not keep to {KEPT}; {LEFT}/{}/node.log has what it says itself (seed {seed})", self.name);
        }
        let told: Value = serde_json::from_slice(&std::fs::read(&report)?)?;
        let cases = told["test_cases"]["generated"].as_u64().context("the report does not say how much was asked")?;
        ensure!(cases >= self.cases_min, "only {cases} cases were asked by {}, and {} are the least", self.name, self.cases_min);
        Ok(())
    }
}
