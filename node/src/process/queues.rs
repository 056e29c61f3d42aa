//! What the operator is told of queues at a start.
//!
//! Which queues there are stands in the settings.

use ensue_engine::command::Settings;
use ensue_engine::names::WorkerQueueName;

use crate::catalogs::NodeCatalogs;

/// Tells of the actions whose queue the operator has not: they would wait for ever.
pub(super) fn unworked(settings: &Settings, catalogs: &NodeCatalogs) -> Vec<String> {
    let is_worked = |queue: &WorkerQueueName| settings.worker_queues().any(|(known, _)| known == queue);
    let catalog = catalogs.current();
    let all = catalog.actions().values().filter(|action| !is_worked(&action.queue));
    let told = all.map(|action| {
        format!("`{}` uses the queue `{}`, which `queues` in the settings does not have: it never starts", action.name, action.queue)
    });
    told.collect()
}
