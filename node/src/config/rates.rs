//! How many requests a caller may send in a period. Without this setting, requests are not counted.

use ensue_api::{Rate, RateInvalid, Rates};
use serde::Deserialize;

/// The `rate_limits` section as written in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRates {
    reads: Option<String>,
    writes: Option<String>,
    hooks: Option<String>,
}

impl WrittenRates {
    /// Parses the rates. The error names the invalid one.
    pub(super) fn read(self) -> Result<Rates, String> {
        let rate = |name: &str, text: Option<String>| -> Result<Option<Rate>, String> {
            let Some(text) = text else { return Ok(None) };
            let rate = text.parse().map_err(|why: RateInvalid| format!("`rate_limits.{name}` is `{text}`, but must be {why}"))?;
            Ok(Some(rate))
        };
        Ok(Rates { reads: rate("reads", self.reads)?, writes: rate("writes", self.writes)?, hooks: rate("hooks", self.hooks)? })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    fn variable(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::read(None, [(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn rates_come_from_the_file_and_variables_override_them() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, "rate_limits: { reads: 600/1m, hooks: 10/1s }").unwrap();
        let variables = [("ENSUE_RATE_LIMITS_READS".to_owned(), "5/1s".to_owned())];
        let rates = Config::read(Some(&file), variables.into_iter()).unwrap().rates;
        assert_eq!(rates.reads, Some("5/1s".parse().unwrap()));
        assert_eq!((rates.writes, rates.hooks), (None, Some("10/1s".parse().unwrap())));
    }

    #[test]
    fn invalid_rate_is_an_error_that_describes_a_valid_one() {
        let error = variable("ENSUE_RATE_LIMITS_HOOKS", "many").unwrap_err();
        assert_eq!(error.to_string(), "ENSUE_RATE_LIMITS_HOOKS is `many`, but must be a rate like 600/1m");
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, "rate_limits: { writes: 0/1m }").unwrap();
        let error = Config::read(Some(&file), std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains("`rate_limits.writes` is `0/1m`, but must be from 1 to 1000000 requests"), "{error}");
    }
}
