//! The known environment variables whose names begin with `ENSUE_`.
//!
//! The code that reads a variable interprets its value. A test checks that the reference lists each variable.

use std::fmt;

use super::WrittenConfig;
use super::setting::{self, Setting as _};

/// The variables that no setting of the file has, except for those of keys.
const WITHOUT_SETTING: [&str; 6] = [
    "ENSUE_ADMIN_TOKEN",
    "ENSUE_ADMIN_TOKEN_FILE",
    "ENSUE_DATABASE_PASSWORD",
    "ENSUE_DATABASE_PASSWORD_FILE",
    "ENSUE_LOG",
    "ENSUE_MASTER_KEY_FILE",
];

/// Variables of the command line, which a user may have set permanently.
const OF_COMMAND_LINE: [&str; 5] = ["ENSUE_CA", "ENSUE_CLIENT_CERT", "ENSUE_PROFILE", "ENSUE_SERVER", "ENSUE_TOKEN"];

/// Variables that a node sets for its programs, one of which may start another node.
const OF_PROGRAMS: [&str; 7] = [
    "ENSUE_ATTEMPT",
    "ENSUE_DEADLINE",
    "ENSUE_EXECUTION_ID",
    "ENSUE_FENCING_TOKEN",
    "ENSUE_IDEMPOTENCY_KEY",
    "ENSUE_PACK_DIR",
    "ENSUE_URL",
];

/// Returns the variables that the node reads as settings, except for keys.
fn settings() -> impl Iterator<Item = &'static str> {
    setting::variables(WrittenConfig::DECLARED).into_iter().chain(WITHOUT_SETTING)
}

/// Returns true if a variable names the file of a key.
pub(super) fn is_of_a_key(name: &str) -> bool {
    let key = name.strip_prefix("ENSUE_KEY_").and_then(|rest| rest.strip_suffix("_FILE"));
    key.and_then(|key| key.split_once('_')).is_some_and(|(pack, name)| !pack.is_empty() && !name.is_empty())
}

/// A variable whose name begins with `ENSUE_` and that is not a setting. The node starts without it, with a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    name: String,
    near: Option<&'static str>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.near {
            Some(near) => write!(f, "the environment variable {} is ignored: it is not a setting; did you mean {near}?", self.name),
            None => write!(
                f,
                "the environment variable {} is ignored: it is not a setting; docs/reference/ensue-yaml.md lists all settings",
                self.name
            ),
        }
    }
}

/// Returns the variable if it looks like a setting and is not one.
pub(super) fn unknown(name: &str, value: &str) -> Option<UnknownVariable> {
    let is_foreign = !name.starts_with("ENSUE_") || is_of_a_service(name, value);
    let mut others = OF_COMMAND_LINE.iter().chain(&OF_PROGRAMS);
    if is_foreign || is_of_a_key(name) || settings().any(|setting| setting == name) || others.any(|other| *other == name) {
        return None;
    }
    Some(UnknownVariable { name: name.to_owned(), near: ensue_expression::nearest(name, settings().chain(OF_COMMAND_LINE)) })
}

/// Returns true if Kubernetes sets such a variable, in every container that runs alongside a service whose name
/// begins with `ensue`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_address = name.ends_with("_PORT") && value.contains("://");
    is_address
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.contains("_PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn read(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::read(None, [(name.to_owned(), value.to_owned())].into_iter())
    }

    fn warnings(name: &str, value: &str) -> Vec<String> {
        read(name, value).unwrap().unknown_variables.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_variable_is_a_warning_with_the_nearest_name() {
        for (misspelt, meant) in [
            ("ENSUE_ACTIONS_ISOLATON", "ENSUE_ACTIONS_ISOLATION"),
            ("ENSUE_EGRES_ALLOW", "ENSUE_EGRESS_ALLOW"),
            ("ENSUE_MASTER_KEY_FIEL", "ENSUE_MASTER_KEY_FILE"),
            ("ENSUE_ADMIN_TOKEN_FLE", "ENSUE_ADMIN_TOKEN_FILE"),
            ("ENSUE_OBJECT", "ENSUE_OBJECTS"),
            ("ENSUE_AUDIT_ADRESS", "ENSUE_AUDIT_ADDRESS"),
            ("ENSUE_PROXY_HEADERS", "ENSUE_PROXY_HEADER"),
        ] {
            let said = format!("the environment variable {misspelt} is ignored: it is not a setting; did you mean {meant}?");
            assert_eq!(warnings(misspelt, "x"), [said]);
        }
        for other in ["ENSUE_KEY_FILE", "ENSUE_KEY_GITHUB_FILE", "ENSUE_KEY__SECRET_FILE", "ENSUE_FAVORITE_COLOR_OF_ALL", "ENSUE_BIN"] {
            assert_eq!(warnings(other, "/dev/null").len(), 1, "{other}");
        }
    }

    #[test]
    fn empty_foreign_and_known_variables_cause_no_warning() {
        assert!(warnings("ENSUE_EGRES_ALLOW", "").is_empty());
        for name in ["HOME", "ENSUES_LISTEN"].into_iter().chain(OF_COMMAND_LINE).chain(OF_PROGRAMS) {
            assert!(warnings(name, "x").is_empty(), "{name}");
        }
    }

    /// The variables that Kubernetes sets in each container for Services named `ensue` and `ensue-api`.
    #[test]
    fn service_variables_of_kubernetes_cause_no_warning() {
        for (name, value) in [
            ("ENSUE_SERVICE_HOST", "10.0.0.7"),
            ("ENSUE_SERVICE_PORT", "3678"),
            ("ENSUE_SERVICE_PORT_HTTP", "3678"),
            ("ENSUE_API_SERVICE_PORT_HTTP", "3678"),
            ("ENSUE_PORT", "tcp://10.0.0.7:3678"),
            ("ENSUE_PORT_3678_TCP", "tcp://10.0.0.7:3678"),
            ("ENSUE_PORT_3678_TCP_PROTO", "tcp"),
            ("ENSUE_PORT_3678_TCP_PORT", "3678"),
            ("ENSUE_PORT_3678_TCP_ADDR", "10.0.0.7"),
        ] {
            assert!(warnings(name, value).is_empty(), "{name}");
        }
        assert_eq!(warnings("ENSUE_PORT", "3678").len(), 1, "a person means the address to listen on");
    }

    #[test]
    fn every_path_that_a_variable_names_is_hidden_unless_programs_may_reach_it() {
        const SHARED: [&str; 5] =
            ["ENSUE_TLS_CLIENT_CA", "ENSUE_DATA", "ENSUE_PACKS_DIR", "ENSUE_ACTIONS_READABLE", "ENSUE_ACTIONS_WRITABLE"];
        const TEXTS: [&str; 3] = ["ENSUE_EGRESS_ALLOW", "ENSUE_HOSTS", "ENSUE_URL"];
        let folder = tempfile::TempDir::new().unwrap();
        let mut visible = Vec::new();
        for setting in settings().chain(["ENSUE_KEY_DEMO_SECRET_FILE"]).filter(|setting| !TEXTS.contains(setting)) {
            let path = folder.path().join(setting);
            std::fs::write(&path, "content").unwrap();
            let Ok(config) = read(setting, path.to_str().unwrap()) else { continue };
            let is_opened = format!("{config:?}").contains(&format!("{path:?}")) || setting.ends_with("_FILE");
            visible.extend((is_opened && !config.hidden_paths().contains(&path)).then_some(setting));
        }
        assert_eq!(visible, SHARED);
    }

    #[test]
    fn each_listed_setting_is_accepted() {
        for setting in settings() {
            let value = match setting {
                "ENSUE_ACTIONS_AT_STOP" => "end",
                "ENSUE_ACTIONS_ISOLATION" => "none",
                "ENSUE_ACTIONS_USER" => "root",
                "ENSUE_ADMIN_TOKEN_FILE" => "/dev/null",
                "ENSUE_LEASE" => "7s",
                "ENSUE_LISTEN" => "127.0.0.1:1",
                "ENSUE_MEMORY" => "134217728",
                "ENSUE_CORS_ORIGINS" => "https://app.example.test",
                "ENSUE_AUDIT_ADDRESS" => "full",
                "ENSUE_OBJECTS" => "s3://bucket/ensue",
                "ENSUE_PROXY_HEADER" => "forwarded",
                "ENSUE_DATABASE" => "postgres://ensue@db.example.test/ensue",
                "ENSUE_TRUSTED_PROXIES" => "10.0.0.0/8",
                "ENSUE_LIMITS_CONNECTIONS_PER_ADDRESS" | "ENSUE_LIMITS_SILENT_PER_ADDRESS" | "ENSUE_MIN_FREE" | "ENSUE_WORKERS" => "7",
                "ENSUE_RATE_LIMITS_ANONYMOUS" | "ENSUE_RATE_LIMITS_HOOKS" | "ENSUE_RATE_LIMITS_READS" | "ENSUE_RATE_LIMITS_WRITES" => {
                    "60/1m"
                }
                "ENSUE_RETENTION_EXECUTIONS" => "90d",
                "ENSUE_TRACES_ENDPOINT" => "http://127.0.0.1:4318",
                "ENSUE_DATABASE_PASSWORD_FILE" => "/dev/null",
                _ => "/srv",
            };
            let taken = format!("{:?}", read(setting, value).unwrap());
            let untouched = format!("{:?}", Config::read(None, std::iter::empty()).unwrap());
            // Logging is set up before the settings are read.
            assert_eq!(taken == untouched, setting == "ENSUE_LOG", "{setting}");
        }
    }
}
