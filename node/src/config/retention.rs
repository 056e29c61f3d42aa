//! How long ended executions and other finished items remain in the views.

use std::time::Duration;

use ensue_derive::Settings;
use ensue_engine::time::parse_age;
use ensue_views::ViewRetention;
use serde::Deserialize;

use super::ConfigError;
use super::layer::SettingsLayer;

/// The form of an age, for messages.
const AGE_FORM: &str = "an age of at least one second, like 90d or 12h";

/// The minimum age.
const AGE_MIN: Duration = Duration::from_secs(1);

/// The setting as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRetention {
    /// How long executions stay in the views after the outermost one has ended: `90d`. Default: forever.
    #[setting(variable = "ENSUE_RETENTION_EXECUTIONS")]
    executions: Option<String>,
}

impl WrittenRetention {
    /// Applies it to the current settings. The error names the invalid age.
    pub(super) fn over(self, retention: &mut ViewRetention, layer: SettingsLayer<'_>) -> Result<(), ConfigError> {
        if let Some(text) = self.executions {
            let age = age(&text).ok_or_else(|| layer.reject("retention.executions", text, AGE_FORM))?;
            retention.executions = Some(age);
        }
        Ok(())
    }
}

/// Parses `90d`, or another duration in the form that packs use.
fn age(text: &str) -> Option<Duration> {
    parse_age(text).filter(|age| *age >= AGE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Option<Duration>, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(Some(&file), variables).map(|config| config.retention.executions).map_err(|error| error.to_string())
    }

    #[test]
    fn ended_executions_are_kept_forever_by_default() {
        assert_eq!(read("workers: 2", &[]), Ok(None));
        assert_eq!(read("retention: {}", &[]), Ok(None));
    }

    #[test]
    fn retention_age_is_parsed_and_the_variable_overrides_the_file() {
        assert_eq!(read("retention: { executions: 90d }", &[]), Ok(Some(Duration::from_secs(90 * 86_400))));
        let variable = [("ENSUE_RETENTION_EXECUTIONS", "12h")];
        assert_eq!(read("retention: { executions: 90d }", &variable), Ok(Some(Duration::from_secs(43_200))));
    }

    #[test]
    fn retention_age_has_the_grammar_of_durations() {
        for (age, hours) in [("1.5d", 36), ("12h1d", 36), ("P1DT12H", 36), ("36500d", 876_000)] {
            assert_eq!(read(&format!("retention: {{ executions: {age} }}"), &[]), Ok(Some(Duration::from_secs(hours * 3_600))), "{age}");
        }
    }

    #[test]
    fn invalid_age_is_an_error_that_describes_a_valid_one() {
        for age in ["0d", "999ms", "90", "d", "-1d", "+1d", "36501d", "90 d", "1w", "90D", "99999999999d"] {
            let error = read(&format!("retention: {{ executions: '{age}' }}"), &[]).unwrap_err();
            assert!(error.ends_with(&format!("`retention.executions` is `{age}`, but must be {AGE_FORM}")), "{error}");
            let error = read("", &[("ENSUE_RETENTION_EXECUTIONS", age)]).unwrap_err();
            assert!(error.ends_with(&format!("is `{age}`, but must be {AGE_FORM}")), "{error}");
        }
    }
}
