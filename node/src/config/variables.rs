//! Which environment variables there are whose names begin with `ENSUE_`.
//!
//! What the value of one means is for whoever reads it. That each stands in the reference is held by a test.

use super::ConfigError;

/// Those that the node reads as settings, but for keys.
const SETTINGS: [&str; 22] = [
    "ENSUE_ACTIONS_AT_STOP",
    "ENSUE_ACTIONS_ISOLATION",
    "ENSUE_ACTIONS_READABLE",
    "ENSUE_ACTIONS_WRITABLE",
    "ENSUE_ADMIN_TOKEN",
    "ENSUE_ADMIN_TOKEN_FILE",
    "ENSUE_DATA",
    "ENSUE_EGRESS_ALLOW",
    "ENSUE_LEASE",
    "ENSUE_LISTEN",
    "ENSUE_LOG",
    "ENSUE_MASTER_KEY_FILE",
    "ENSUE_MEMORY",
    "ENSUE_MIN_FREE",
    "ENSUE_PACKS_DIR",
    "ENSUE_RATE_LIMITS_HOOKS",
    "ENSUE_RATE_LIMITS_READS",
    "ENSUE_RATE_LIMITS_WRITES",
    "ENSUE_RETENTION_EXECUTIONS",
    "ENSUE_TRACES_ENDPOINT",
    "ENSUE_URL",
    "ENSUE_WORKERS",
];

/// Those of the command line, which a person may have set for good.
const OF_COMMAND_LINE: [&str; 3] = ["ENSUE_PROFILE", "ENSUE_SERVER", "ENSUE_TOKEN"];

/// Those that a node gives its programs, one of which may start another node.
const OF_PROGRAMS: [&str; 6] =
    ["ENSUE_ATTEMPT", "ENSUE_DEADLINE", "ENSUE_EXECUTION_ID", "ENSUE_FENCING_TOKEN", "ENSUE_IDEMPOTENCY_KEY", "ENSUE_PACK_DIR"];

/// Says whether a variable names the file of a key.
pub(super) fn is_of_a_key(name: &str) -> bool {
    let key = name.strip_prefix("ENSUE_KEY_").and_then(|rest| rest.strip_suffix("_FILE"));
    key.and_then(|key| key.split_once('_')).is_some_and(|(pack, name)| !pack.is_empty() && !name.is_empty())
}

/// Demands that a variable is one that there is. Whoever sets one believes in it: one that is misspelt must not be taken for none.
pub(super) fn known(name: &str, value: &str) -> Result<(), ConfigError> {
    let is_foreign = !name.starts_with("ENSUE_") || is_of_a_service(name, value);
    let mut others = OF_COMMAND_LINE.iter().chain(&OF_PROGRAMS);
    if is_foreign || is_of_a_key(name) || SETTINGS.contains(&name) || others.any(|other| *other == name) {
        return Ok(());
    }
    let near = ensue_expression::nearest(name, SETTINGS.into_iter().chain(OF_COMMAND_LINE)).map(str::to_owned);
    Err(ConfigError::UnknownVariable { name: name.to_owned(), near })
}

/// Says whether Kubernetes makes such a variable, for every container beside a service whose name begins with `ensue`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_address = name.ends_with("_PORT") && value.contains("://");
    is_address || name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_PORT_")
}

#[cfg(test)]
mod tests {
    use ensue_engine::explain::Explain as _;

    use super::*;
    use crate::config::Config;

    fn read(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::read(None, [(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn a_misspelt_variable_is_an_error_that_says_which_was_meant() {
        for (misspelt, meant) in [
            ("ENSUE_ACTIONS_ISOLATON", "ENSUE_ACTIONS_ISOLATION"),
            ("ENSUE_EGRES_ALLOW", "ENSUE_EGRESS_ALLOW"),
            ("ENSUE_MASTER_KEY_FIEL", "ENSUE_MASTER_KEY_FILE"),
            ("ENSUE_ADMIN_TOKEN_FLE", "ENSUE_ADMIN_TOKEN_FILE"),
        ] {
            let error = read(misspelt, "x").unwrap_err();
            assert_eq!(error.to_string(), format!("{misspelt} is no setting"));
            assert_eq!(error.hint(), Some(format!("did you mean {meant}?")));
        }
        for of_no_key in ["ENSUE_KEY_FILE", "ENSUE_KEY_GITHUB_FILE", "ENSUE_KEY__SECRET_FILE"] {
            assert_eq!(read(of_no_key, "/dev/null").unwrap_err().to_string(), format!("{of_no_key} is no setting"));
        }
        let error = read("ENSUE_FAVOURITE_COLOUR_OF_ALL", "red").unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("the settings are listed in docs/reference/ensue-yaml.md"));
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_or_is_nobody_s_of_ours_is_passed_over() {
        read("ENSUE_EGRES_ALLOW", "").unwrap();
        for name in ["HOME", "ENSUES_LISTEN"].into_iter().chain(OF_COMMAND_LINE).chain(OF_PROGRAMS) {
            read(name, "x").unwrap();
        }
        for (name, value) in [
            ("ENSUE_SERVICE_HOST", "10.0.0.7"),
            ("ENSUE_SERVICE_PORT", "3678"),
            ("ENSUE_API_SERVICE_PORT_HTTP", "3678"),
            ("ENSUE_PORT", "tcp://10.0.0.7:3678"),
            ("ENSUE_PORT_3678_TCP_ADDR", "10.0.0.7"),
        ] {
            read(name, value).unwrap();
        }
        assert!(read("ENSUE_PORT", "3678").is_err(), "a person means the address to listen on");
    }

    #[test]
    fn each_setting_that_is_offered_is_one_that_is_taken() {
        for setting in SETTINGS {
            let value = match setting {
                "ENSUE_ACTIONS_AT_STOP" => "end",
                "ENSUE_ACTIONS_ISOLATION" => "none",
                "ENSUE_ADMIN_TOKEN_FILE" => "/dev/null",
                "ENSUE_LEASE" => "7s",
                "ENSUE_LISTEN" => "127.0.0.1:1",
                "ENSUE_MEMORY" => "134217728",
                "ENSUE_MIN_FREE" | "ENSUE_WORKERS" => "7",
                "ENSUE_RATE_LIMITS_HOOKS" | "ENSUE_RATE_LIMITS_READS" | "ENSUE_RATE_LIMITS_WRITES" => "600/1m",
                "ENSUE_RETENTION_EXECUTIONS" => "90d",
                "ENSUE_TRACES_ENDPOINT" => "http://127.0.0.1:4318",
                _ => "/srv",
            };
            let taken = format!("{:?}", read(setting, value).unwrap());
            let untouched = format!("{:?}", Config::read(None, std::iter::empty()).unwrap());
            // How much is said is set up before the settings are read.
            assert_eq!(taken == untouched, setting == "ENSUE_LOG", "{setting}");
        }
    }
}
