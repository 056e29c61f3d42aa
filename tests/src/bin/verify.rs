//! `cargo verify`: runs what CI runs, step by step; `--long` adds what takes hours.
//!
//! It installs nothing: what a step needs and the machine lacks is said by the step.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// How often the torture test kills the node in a long run.
const LONG_KILLS: &str = "1000";

fn main() -> Result<()> {
    let mut is_long = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--long" => is_long = true,
            other => bail!("unknown argument `{other}`; `cargo verify` takes `--long`"),
        }
    }
    let steps: &[(&str, &[&str])] = &[
        ("formatting", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
        ("tests", &["test", "--workspace", "--locked"]),
    ];
    for (name, arguments) in steps {
        run(name, arguments, &[])?;
    }
    if is_installed("cargo-deny") {
        run("licences, bans and sources", &["deny", "check", "bans", "licenses", "sources"], &[])?;
    } else {
        eprintln!("verify: skipped: licences, bans and sources (install with `cargo install cargo-deny`)");
    }
    if is_long {
        run("torture", &["test", "-p", "ensue", "--locked", "torture"], &[("ENSUE_TORTURE_KILLS", LONG_KILLS)])?;
    }
    eprintln!("verify: all passed");
    Ok(())
}

fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    eprintln!("verify: {name}: cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).envs(variables.iter().copied()).status().context("cargo does not start")?;
    if !status.success() {
        bail!("{name} failed");
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
