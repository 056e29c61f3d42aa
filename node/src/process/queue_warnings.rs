//! Warnings about queues at a start.
//!
//! The settings define which queues exist.

use ensue_engine::command::Settings;
use ensue_engine::names::WorkerQueueName;

use crate::catalogs::NodeCatalogs;

/// Returns a warning for each action whose queue is not in the operator's settings: its executions would wait
/// forever.
pub(super) fn queue_warnings(settings: &Settings, catalogs: &NodeCatalogs) -> Vec<String> {
    let is_worked = |queue: &WorkerQueueName| settings.worker_queues().any(|(known, _)| known == queue);
    let catalog = catalogs.current();
    let all = catalog.actions().values().filter(|action| !is_worked(&action.queue));
    let told = all.map(|action| {
        format!("`{}` uses the queue `{}`, which `queues` in the settings does not have: it never starts", action.name, action.queue)
    });
    told.collect()
}
