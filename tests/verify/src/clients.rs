//! Generated clients of the OpenAPI document: two linters read it, three clients are generated from it, and
//! each runs one scenario against a node.
//!
//! `tests/clients` contains the scenario and the settings of the generators.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::node::Node;
use crate::openapi::{KEPT, TOOLS};
use crate::{Report, refuse_in_ci};

const NAME: &str = "OpenAPI clients";

/// The inputs of the generators and the scenario.
const FILES: &str = "tests/clients";
/// Where `.ci/run` installs the packages and the clients are generated.
const HERE: &str = "target/clients";
/// The folders that are generated each time.
const MADE: &[&str] = &["made", "built", "ensue_client"];

/// The oldest Node.js version that the packages support.
const NODE_MIN: (u32, u32) = (20, 19);

/// Generates clients from the document, and tests them.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    let root = crate::root().canonicalize()?;
    if let Some(missing) = missing(&root) {
        refuse_in_ci(missing)?;
        report.skip(NAME, &format!("there is no {missing}; `.ci/run` installs it"));
        return Ok(());
    }
    report.time(NAME, || Clients::new(root)?.verify())
}

/// Returns a missing requirement of this step, if any.
fn missing(root: &Path) -> Option<&'static str> {
    if !Command::new("node").arg("--version").output().is_ok_and(|told| is_new_enough(&String::from_utf8_lossy(&told.stdout))) {
        return Some("Node.js 20.19 or newer");
    }
    let packages = ["redocly", "spectral", "openapi-typescript", "orval", "tsc"];
    if packages.iter().any(|package| !root.join(HERE).join("node_modules/.bin").join(package).exists()) {
        return Some("folder target/clients with the packages of tests/clients/package.json");
    }
    let tools = ["openapi-spec-validator", "openapi-python-client", "ruff"];
    tools.into_iter().find(|tool| !root.join(TOOLS).join(tool).is_file())
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map_while(|number| number.parse().ok());
    let version: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version >= NODE_MIN)
}

struct Clients {
    root: PathBuf,
    here: PathBuf,
    /// With the tools in it.
    path: OsString,
}

impl Clients {
    /// Copies the inputs into a folder and removes earlier outputs.
    fn new(root: PathBuf) -> Result<Self> {
        let here = root.join(HERE);
        for made in MADE {
            let made = here.join(made);
            if made.exists() {
                std::fs::remove_dir_all(made)?;
            }
        }
        for file in std::fs::read_dir(root.join(FILES))? {
            let file = file?;
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), here.join(file.file_name()))?;
            }
        }
        std::fs::copy(root.join(KEPT), here.join("openapi.json"))?;
        let before = std::env::var_os("PATH").unwrap_or_default();
        let tools = [here.join("node_modules/.bin"), root.join(TOOLS)].into_iter();
        let path = std::env::join_paths(tools.chain(std::env::split_paths(&before)))?;
        Ok(Self { root, here, path })
    }

    fn verify(&self) -> Result<()> {
        // This fails if the installed versions differ from the lock file: `.ci/run` has not run since.
        self.run("npm", &["ls"])?;
        self.run("openapi-spec-validator", &["openapi.json"])?;
        self.run("redocly", &["lint", "openapi.json", "--config", "redocly.yaml"])?;
        self.run("spectral", &["lint", "openapi.json", "--ruleset", "spectral.yaml", "--fail-severity", "warn"])?;
        self.run("openapi-typescript", &["openapi.json", "--output", "made/fetch.d.ts"])?;
        self.run("orval", &["--config", "orval.config.cjs"])?;
        let output = ["--output-path", "ensue_client", "--meta", "none", "--fail-on-warning"];
        self.run("openapi-python-client", &[["generate", "--path", "openapi.json"].as_slice(), &output].concat())?;
        self.run("tsc", &["--project", "tsconfig.json"])?;
        let log = self.here.join("node.log");
        let node = Node::start(&log, Some(&self.root.join(FILES).join("packs")))?;
        for [program, scenario] in [["node", "built/fetch.js"], ["node", "built/orval.js"], ["python", "scenario.py"]] {
            let mut command = self.command(program);
            command.arg(scenario).env("ENSUE_SERVER", &node.url).env("ENSUE_TOKEN", &node.token);
            let status = command.status().with_context(|| format!("{program} does not start"))?;
            ensure!(status.success(), "{HERE}/{scenario} fails; {HERE}/node.log has what the node says");
        }
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self.command(program).args(arguments).output().with_context(|| format!("{program} does not start"))?;
        if !output.status.success() {
            eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        ensure!(output.status.success(), "`{program} {}` fails in {HERE}", arguments.join(" "));
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.here).env("PATH", &self.path);
        // These tools would otherwise report usage to their makers or look for newer versions of themselves.
        command.envs([("REDOCLY_TELEMETRY", "off"), ("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"), ("NO_COLOR", "1")]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_js_20_19_is_new_enough_and_an_invalid_version_is_not() {
        assert!(["v20.19.0\n", "v20.20.2", "v22.1.0", "v100.0.0"].into_iter().all(is_new_enough));
        assert!(!["v20.18.9", "v18.20.4", "", "v20", "nonsense"].into_iter().any(is_new_enough));
    }
}
