//! The page: its types, its tests in Node.js, a build that must equal the committed one, and the journeys in two browsers. An
//! exploration also compares its looks, measures its speed, and asks what is known about its packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{Report, cargo, git, programs, refuse_in_ci, root};

/// The node of tests.
const DEBUG: &str = "target/debug/ensue";
const NAME: &str = "page";
/// The folder of the page.
const HERE: &str = "page";
/// What the build writes.
const BUILT: [&str; 2] = ["page/dist", "page/src/files.rs"];
const LOOKS: &str = "page, its looks";
const SPEED: &str = "page, its speed";
/// The build whose speed counts: that of users.
const RELEASE: [&str; 5] = ["build", "--release", "-p", "ensue", "--locked"];
const RELEASED: &str = "target/release/ensue";
const MANY: &str = "page, many tabs and kills";
const MANY_SETTINGS: [(&str, &str); 2] = [("ENSUE_TABS", "100"), ("ENSUE_KILLS", "20")];
/// The first of these that is there runs the page. The other one also draws a window, and needs twice the processor time.
const CHROMIUM: [&str; 2] = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"];
/// The second browser, which runs fewer journeys.
const FIREFOX: &str = "/usr/bin/firefox-esr";
const IN_FIREFOX: &str = "page, in Firefox";
const ADVISORIES: &str = "page, advisories";

/// Checks the page.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    if let Some(missing) = missing() {
        refuse_in_ci(missing)?;
        report.skip(NAME, &format!("{missing} is missing; `.ci/run` installs it"));
        return Ok(());
    }
    if !is_there("ENSUE_FIREFOX", FIREFOX) {
        refuse_in_ci("firefox-esr")?;
        report.skip(IN_FIREFOX, "firefox-esr is missing; `.ci/run` installs it");
    }
    report.time(NAME, || {
        npm(&["run", "check"], DEBUG)?;
        npm(&["test"], DEBUG)?;
        let before = diff_of_build()?;
        npm(&["run", "build"], DEBUG)?;
        ensure!(diff_of_build()? == before, "page/dist is not what `npm run build` makes of the sources: commit what it wrote");
        programs::binary("ensue")?;
        npm(&["run", "journeys"], DEBUG)
    })
}

/// Compares pictures of the main screens with the kept ones, shows a list in a hundred tabs and over twenty kills of the node, and
/// measures the page of a node with a million events. It fails if a screen lacks what it should show; figures that miss their aims
/// are only printed.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    if let Some(missing) = missing() {
        refuse_in_ci(missing)?;
        report.skip(SPEED, &format!("{missing} is missing; `.ci/run` installs it"));
        return Ok(());
    }
    report.time(LOOKS, || npm(&["run", "compare-looks"], DEBUG))?;
    ensure!(cargo(&RELEASE).status().context("cargo does not start")?.success(), "the release build fails");
    report.time(MANY, || npm_with(&["run", "journeys", "--", "tests/journeys/live.test.ts"], RELEASED, &MANY_SETTINGS))?;
    report.time(SPEED, || npm(&["run", "speed"], RELEASED))
}

/// Returns a missing requirement of this step, if any.
fn missing() -> Option<&'static str> {
    if !Command::new("node").arg("--version").output().is_ok_and(|told| told.status.success()) {
        return Some("Node.js");
    }
    if !root().join(HERE).join("node_modules/.bin/vite").exists() {
        return Some("folder page/node_modules with the packages of page/package.json");
    }
    (!CHROMIUM.iter().any(|usual| is_there("ENSUE_CHROMIUM", usual))).then_some("chromium-headless-shell")
}

/// Returns true if a browser is where the variable says, or where Debian installs it.
fn is_there(variable: &str, usual: &str) -> bool {
    Path::new(&std::env::var(variable).unwrap_or_else(|_| usual.to_owned())).exists()
}

/// Requires that no advisory of a high level is known about a package, also about those that only build and test the page.
pub(crate) fn check_advisories(report: &mut Report) -> Result<()> {
    if Command::new("npm").arg("--version").output().is_err() {
        refuse_in_ci("npm")?;
        report.skip(ADVISORIES, "npm is missing; `.ci/run` installs it");
        return Ok(());
    }
    let mut audit = Command::new("npm");
    audit.args(["audit", "--json", "--include=dev", "--include=optional", "--include=peer"]).current_dir(root().join(HERE));
    let output = audit.output().context("npm does not start")?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let Some(found) = told.pointer("/metadata/vulnerabilities") else {
        report.skip(ADVISORIES, "the registry cannot be asked for them here");
        return Ok(());
    };
    report.time(ADVISORIES, || {
        let count = |level: &str| found.get(level).and_then(serde_json::Value::as_u64).unwrap_or_default();
        let high = count("high") + count("critical");
        ensure!(high == 0, "{high} packages of the page have an advisory of a high level: `npm audit` in {HERE} names them");
        Ok(())
    })
}

/// Returns the differences of what is built from what is committed.
fn diff_of_build() -> Result<String> {
    git(&[&["diff", "--binary", "HEAD", "--"], BUILT.as_slice()].concat())
}

/// Runs npm in the folder of the page; tests that need a node use this one.
fn npm(arguments: &[&str], node: &str) -> Result<()> {
    npm_with(arguments, node, &[])
}

/// Runs npm like [`npm`], with these settings of the tests.
fn npm_with(arguments: &[&str], node: &str, settings: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new("npm");
    command
        .args(arguments)
        .current_dir(root().join(HERE))
        .env("ENSUE_BINARY", root().canonicalize()?.join(node))
        .envs(settings.iter().copied());
    ensure!(command.status().context("npm does not start")?.success(), "`npm {}` fails in {HERE}", arguments.join(" "));
    Ok(())
}
