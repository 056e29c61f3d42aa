//! The queues of executions: the number of workers of each, and the rate at which its executions may start.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue_api::worker_queues::StartRate;
use ensue_derive::Settings;
use ensue_engine::names::{HTTP_QUEUE, WorkerQueueName};
use serde::Deserialize;

/// The maximum number of queues of a node.
const QUEUES_MAX: usize = 100;
/// The maximum number of starts in a rate.
const STARTS_MAX: u32 = 1_000_000;
/// The maximum period of a rate.
const WHILE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The queues other than the default one, and the rates of all queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many attempts of each of the other queues run at once. The queue `http` exists even if it is not
    /// listed.
    pub workers: BTreeMap<WorkerQueueName, u32>,
    /// How many attempts of a queue may start in a period; unlimited for queues that are not listed.
    pub rates: BTreeMap<WorkerQueueName, StartRate>,
}

/// A queue as written in the file.
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenQueue {
    /// How many attempts of the queue run at once. Default for the queue `default`: the setting `workers`; for `http`: 64.
    #[setting(from = 1)]
    workers: Option<u32>,
    /// How many attempts of the queue may start in a period. Default: no limit.
    rate: Option<WrittenRate>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenRate {
    /// How many may start at once; after that, they start one at a time.
    #[setting(from = 1, to = STARTS_MAX)]
    limit: u32,
    /// The length of the period, at most a day: `1s`.
    #[setting(form = SomeTime)]
    per: String,
}

/// Reads the queues, and the number of workers of the default queue if it is set. The error names the invalid queue.
pub(super) fn read(written: BTreeMap<WorkerQueueName, WrittenQueue>, workers: Option<u32>) -> Result<(Option<u32>, QueueSettings), String> {
    let (mut of_default, mut settings) = (workers, QueueSettings::default());
    if written.len() > QUEUES_MAX {
        return Err(format!("`queues` has {} queues; the limit is {QUEUES_MAX}", written.len()));
    }
    for (name, queue) in written {
        match queue.workers {
            Some(0) => return Err(format!("`queues.{name}.workers` is 0, so nothing in it would ever start; write at least 1")),
            Some(_) if name.is_default() && workers.is_some() => {
                return Err("`workers` and `queues.default.workers` set the same value: write only one of them".to_owned());
            }
            Some(count) if name.is_default() => of_default = Some(count),
            Some(count) => drop(settings.workers.insert(name.clone(), count)),
            None if name.is_default() || name == HTTP_QUEUE => {}
            None => return Err(format!("`queues.{name}` has no `workers`: write how many of its attempts run at once")),
        }
        if let Some(rate) = queue.rate {
            settings.rates.insert(name.clone(), rate.read(&name)?);
        }
    }
    Ok((of_default, settings))
}

impl WrittenRate {
    fn read(self, queue: &WorkerQueueName) -> Result<StartRate, String> {
        let Self { limit, per: text } = self;
        if !(1..=STARTS_MAX).contains(&limit) {
            return Err(format!("`queues.{queue}.rate.limit` is {limit}, but must be from 1 to {STARTS_MAX}"));
        }
        let per = ensue_packs::parse_duration(&text).filter(|per| !per.is_zero() && *per <= WHILE_MAX);
        let per = per.ok_or_else(|| format!("`queues.{queue}.rate.per` is `{text}`, but must be a duration from 1ms to 24h, like 1s"))?;
        Ok(StartRate { limit, per })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        Config::read(Some(&file), variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn name(text: &str) -> WorkerQueueName {
        text.parse().unwrap()
    }

    #[test]
    fn queues_have_workers_and_rates() {
        let config = read("queues: { default: { workers: 8, rate: { limit: 50, per: 1s } }, heavy: { workers: 2 } }", &[]).unwrap();
        assert_eq!(config.workers, Some(8));
        assert_eq!(config.queues.workers, [(name("heavy"), 2)].into());
        assert_eq!(config.queues.rates, [(name("default"), StartRate { limit: 50, per: Duration::from_secs(1) })].into());
    }

    #[test]
    fn workers_setting_applies_to_the_default_queue_and_variable_beats_file() {
        let config = read("workers: 3\nqueues: { default: { rate: { limit: 1, per: 5m } } }", &[]).unwrap();
        assert_eq!((config.workers, config.queues.rates.len()), (Some(3), 1));
        let config = read("queues: { default: { workers: 3 } }", &[("ENSUE_WORKERS", "5")]).unwrap();
        assert_eq!(config.workers, Some(5));
    }

    #[test]
    fn variable_starts_a_node_without_workers() {
        assert_eq!(read("", &[("ENSUE_WORKERS", "0")]).unwrap().workers, Some(0));
    }

    #[test]
    fn invalid_queue_is_an_error_with_the_reason() {
        for (text, told) in [
            (
                "workers: 2\nqueues: { default: { workers: 2 } }",
                "`workers` and `queues.default.workers` set the same value: write only one of them",
            ),
            ("queues: { heavy: { workers: 0 } }", "`queues.heavy.workers` is 0, so nothing in it would ever start; write at least 1"),
            ("workers: 0", "`workers` is 0, but must be a whole number of at least 1"),
            ("queues: { default: { workers: 0 } }", "`queues.default.workers` is 0, so nothing in it would ever start; write at least 1"),
            ("queues: { heavy: {} }", "`queues.heavy` has no `workers`: write how many of its attempts run at once"),
            (
                "queues: { heavy: { workers: 1, rate: { limit: 0, per: 1s } } }",
                "`queues.heavy.rate.limit` is 0, but must be from 1 to 1000000",
            ),
            (
                "queues: { heavy: { workers: 1, rate: { limit: 1, per: 0s } } }",
                "`queues.heavy.rate.per` is `0s`, but must be a duration from 1ms to 24h, like 1s",
            ),
            ("queues: { heavy: { worker: 1 } }", "unknown field"),
            ("queues: { heavy: { workers: 1, rate: { limit: 1, per: 1s, burst: 2 } } }", "unknown field"),
            ("queues: { Heavy: { workers: 1 } }", "is not a valid name"),
        ] {
            let error = read(text, &[]).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
