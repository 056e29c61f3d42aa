//! How the programs of the tests call cargo.

use std::process::Command;

/// The beginnings of the variables that `cargo run` sets for its program.
const SET_BY_CARGO: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Returns cargo with arguments, and without the variables that cargo has set for the calling program. A build script that reads
/// one of them would run again, and everything that depends on it would be built again.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if SET_BY_CARGO.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}
