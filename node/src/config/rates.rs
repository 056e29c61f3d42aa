//! How many requests a caller may send in a period. Without this setting, requests are not counted.

use ensue_api::{RateInvalid, Rates};
use ensue_derive::Settings;
use serde::Deserialize;

use super::ConfigError;
use super::layer::SettingsLayer;

/// The rate of requests without a valid token, for each address.
const ANONYMOUS: &str = "600/1m";
/// What is written for no limit, where there is one by default.
const OFF: &str = "off";

/// Returns the rates of a node whose operator sets none.
pub(super) fn by_default() -> Rates {
    Rates { anonymous: Some(ANONYMOUS.parse().expect("it is a rate")), ..Rates::default() }
}

/// The `rate_limits` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRates {
    /// Read-only requests of one token: `600/1m`.
    #[setting(variable = "ENSUE_RATE_LIMITS_READS")]
    reads: Option<String>,
    /// Requests of one token that may change something: `120/1m`.
    #[setting(variable = "ENSUE_RATE_LIMITS_WRITES")]
    writes: Option<String>,
    /// Deliveries at one webhook: `50/1s`.
    #[setting(variable = "ENSUE_RATE_LIMITS_HOOKS")]
    hooks: Option<String>,
    /// Requests of one address without a valid token, or `off`. Default: `600/1m`.
    #[setting(variable = "ENSUE_RATE_LIMITS_ANONYMOUS")]
    anonymous: Option<String>,
}

impl WrittenRates {
    /// Applies the rates that are written. The error names the invalid one.
    pub(super) fn over(self, rates: &mut Rates, layer: SettingsLayer<'_>) -> Result<(), ConfigError> {
        if self.anonymous.as_deref() == Some(OFF) {
            rates.anonymous = None;
        }
        for (setting, given, rate) in [
            ("rate_limits.reads", self.reads, &mut rates.reads),
            ("rate_limits.writes", self.writes, &mut rates.writes),
            ("rate_limits.hooks", self.hooks, &mut rates.hooks),
            ("rate_limits.anonymous", self.anonymous.filter(|text| text != OFF), &mut rates.anonymous),
        ] {
            if let Some(text) = given {
                *rate = Some(text.parse().map_err(|why: RateInvalid| layer.reject(setting, text, &why.to_string()))?);
            }
        }
        Ok(())
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
    fn requests_without_a_token_have_a_rate_unless_it_is_turned_off() {
        assert_eq!(Config::read(None, [].into_iter()).unwrap().rates.anonymous, Some("600/1m".parse().unwrap()));
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Config::read(Some(&file), [].into_iter()).unwrap().rates.anonymous
        };
        assert_eq!(read("rate_limits: { reads: 5/1s }"), Some("600/1m".parse().unwrap()));
        assert_eq!(read("rate_limits: { anonymous: 5/1s }"), Some("5/1s".parse().unwrap()));
        assert_eq!(read("rate_limits: { anonymous: off }"), None);
        assert_eq!(variable("ENSUE_RATE_LIMITS_ANONYMOUS", "off").unwrap().rates.anonymous, None);
    }

    #[test]
    fn invalid_rate_is_an_error_that_describes_a_valid_one() {
        let error = variable("ENSUE_RATE_LIMITS_HOOKS", "many").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ENSUE_RATE_LIMITS_HOOKS is `many`, but must be from 1 to 1000000 requests in a period of whole seconds, at most a day: `600/1m`"
        );
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, "rate_limits: { writes: 0/1m }").unwrap();
        let error = Config::read(Some(&file), std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains("`rate_limits.writes` is `0/1m`, but must be from 1 to 1000000 requests"), "{error}");
    }
}
