//! The layers of settings, of which a later one overrides an earlier one, and how an error names a setting of one.

use std::path::Path;

use serde_json::Value;

use super::setting::{Setting as _, variable_of};
use super::{ConfigError, WrittenConfig};

/// A place where settings are written, apart from flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum SettingsLayer<'f> {
    /// The settings file.
    File(&'f Path),
    /// The environment.
    Variables,
}

impl SettingsLayer<'_> {
    /// Returns the error of a setting whose value must be something else.
    pub(super) fn reject(self, setting: &str, value: impl Into<Value>, expected: &str) -> ConfigError {
        self.reject_item(setting, "is", value, expected)
    }

    /// Returns the error of a setting whose value `is`, or whose list `has`, something else than it must.
    pub(super) fn reject_item(self, setting: &str, verb: &str, value: impl Into<Value>, expected: &str) -> ConfigError {
        let shown = match value.into() {
            Value::String(text) => format!("`{text}`"),
            other => other.to_string(),
        };
        self.refuse(setting, &format!("{verb} {shown}, but must be {expected}"))
    }

    /// Returns the error of a setting. `why` continues its name.
    pub(super) fn refuse(self, setting: &str, why: &str) -> ConfigError {
        match self {
            Self::File(_) => self.malformed(format!("`{setting}` {why}")),
            Self::Variables => {
                let name = variable_of(WrittenConfig::DECLARED, setting).unwrap_or(setting);
                ConfigError::Variable { name: name.to_owned(), why: why.to_owned() }
            }
        }
    }

    /// Returns the error of settings that `why` names.
    pub(super) fn malformed(self, why: String) -> ConfigError {
        match self {
            Self::File(path) => ConfigError::Malformed { path: path.to_owned(), why },
            Self::Variables => ConfigError::Variable { name: "a variable".to_owned(), why },
        }
    }
}
