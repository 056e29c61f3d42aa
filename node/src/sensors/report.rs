//! Pulling sensors for operators: the finding of `ensue doctor`, and the metrics.

use ensue_api::ports::{Finding, SensorState, Sensors as _};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::status::StatusSnapshot;
use super::supervisor::SensorSupervisor;
use crate::machine::{bad, good, note};

/// How many failing sensors a finding names.
const NAMES_MAX: usize = 3;

impl SensorSupervisor {
    /// Returns what `ensue doctor` says about the sensors.
    pub(crate) fn finding(&self) -> Finding {
        let failing: Vec<String> = self
            .names()
            .into_iter()
            .filter_map(|name| {
                let status = self.status(&name).filter(|status| status.state == SensorState::Failing)?;
                let why = status.error.map_or_else(String::new, |error| format!(": {}", error.message));
                Some(format!("`{name}` fails since {}{why}", status.since))
            })
            .collect();
        if failing.is_empty() {
            return good("sensors", "no sensor that reads a source of its own accord fails");
        }
        let more = failing.len().saturating_sub(NAMES_MAX);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let named: Vec<String> = failing.into_iter().take(NAMES_MAX).collect();
        bad("sensors", format!("{}{more}", named.join("; ")), "see what a sensor says with `ensue sensors logs <sensor>`")
    }

    /// Returns what `ensue doctor` says about sensors that read, and a part of whose sources fails.
    pub(crate) fn finding_of_parts(&self) -> Finding {
        let names = self.names();
        let of_each = names.iter().flat_map(|name| {
            let parts = self.status(name).map(|status| status.failing_parts).unwrap_or_default();
            parts.into_iter().map(move |part| format!("`{}` of `{name}` fails since {}: {}", part.part, part.since, part.error))
        });
        let failing: Vec<String> = of_each.collect();
        if failing.is_empty() {
            return good("sensor parts", "no sensor reports that a part of its source fails");
        }
        let more = failing.len().saturating_sub(NAMES_MAX);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let named: Vec<String> = failing.into_iter().take(NAMES_MAX).collect();
        note("sensor parts", &format!("{}{more}", named.join("; ")), "see all of them with `ensue sensors show <sensor>`")
    }

    /// Registers the metrics of the sensors.
    pub(crate) fn register(&self, metrics: &mut Registry) {
        let shown = self.all_shown();
        let mut of_each = |name: &str, help: &str, figure: fn(&StatusSnapshot) -> u64| {
            let family = Family::<Vec<(String, String)>, Gauge>::default();
            for (sensor, shown) in &shown {
                let figure = i64::try_from(figure(shown)).unwrap_or(i64::MAX);
                family.get_or_create(&vec![("sensor".to_owned(), sensor.to_string())]).set(figure);
            }
            metrics.register(name, help, family);
        };
        of_each("sensor_messages", "The messages that a sensor has read since the start", |shown| shown.read.messages);
        of_each("sensor_events", "The new events that a sensor has created since the start", |shown| shown.read.events);
        of_each("sensor_repeated", "The events of a sensor since the start that were there before", |shown| shown.read.repeated);
        of_each("sensor_passed", "The messages of a sensor since the start that no `emits` matches", |shown| shown.read.passed);
        of_each("sensor_poison", "The messages of a sensor since the start that were refused", |shown| shown.read.refused);
        of_each("sensor_restarts", "How often a sensor was tried again since the start", |shown| shown.restarts);
        of_each("sensor_failing", "1 if a sensor fails, otherwise 0", |shown| u64::from(shown.state == SensorState::Failing));
        of_each("sensor_failing_parts", "How many parts of its source a sensor reports as failing", |shown| shown.parts.len() as u64);
        of_each("sensor_waiting", "1 if a sensor waits for the node, otherwise 0", |shown| u64::from(shown.state == SensorState::Waiting));
    }
}
