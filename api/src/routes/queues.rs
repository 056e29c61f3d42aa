//! Queues of executions: those that have a worker's slot, those that wait for one, and since when.

use ensue_engine::ids::ExecutionId;
use ensue_engine::time::Timestamp;
use ensue_views::Execution;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::permissions::QueuesRead;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::rows::read_row;
use crate::wire::now::WireWaitingQueue;
use crate::wire::queues::{WireQueue, WireQueued};
use crate::worker_queues::WorkerQueue;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<QueuesRead>(
        "/queues",
        list,
        Operation::lists::<WireQueue>(
            "queue_list",
            "Lists the queues in which executions wait for a worker, by name",
            &[PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
}

/// Lists the queues by name: the configured ones, and others in which executions wait.
pub(super) async fn list(allowed: AllowedCaller<QueuesRead>, call: Call) -> Outcome {
    let queues = call.api().threads.blocking(|ports| ports.node.worker_queues()).await??;
    let listed = listing::of_catalog(&call, &allowed, queues.into_iter(), |queue: &WorkerQueue| queue.name.to_string())?;
    let queues = listed.items;
    let items =
        call.api().threads.blocking(move |ports| queues.into_iter().map(|queue| to_wire(ports, queue)).collect::<Result<Vec<_>, _>>());
    call.answer_page(items.await??, listed.next.as_deref(), &listed.page)
}

/// Returns the queues in which executions wait, those that have waited longest first. Blocking.
pub(super) fn with_waiting(ports: &Ports) -> Result<Vec<WireWaitingQueue>, Problem> {
    let waiting = ports.node.worker_queues()?.into_iter().filter(|queue| queue.waiting > 0);
    let shown = waiting.map(|queue| {
        let oldest = queue.oldest.map(|id| read_queued(ports, id, |execution| execution.queued_at)).transpose()?;
        Ok(WireWaitingQueue {
            name: queue.name,
            workers: queue.workers,
            busy_count: queue.busy,
            waiting_count: queue.waiting,
            waiting_since: oldest.and_then(|oldest| oldest.since),
        })
    });
    let mut shown: Vec<WireWaitingQueue> = shown.collect::<Result<_, Problem>>()?;
    shown.sort_by_key(|queue| (queue.waiting_since.is_none(), queue.waiting_since));
    Ok(shown)
}

/// Adds what the views have on the executions that are shown. Blocking.
fn to_wire(ports: &Ports, queue: WorkerQueue) -> Result<WireQueue, Problem> {
    let all = |ids: &[ExecutionId], since: fn(&Execution) -> Option<Timestamp>| {
        ids.iter().map(|id| read_queued(ports, *id, since)).collect::<Result<Vec<_>, Problem>>()
    };
    let busy = all(&queue.first_busy, |execution| execution.attempts.last().map(|attempt| attempt.started_at))?;
    let waiting = all(&queue.first_waiting, |execution| execution.queued_at)?;
    let oldest = queue.oldest.map(|id| read_queued(ports, id, |execution| execution.queued_at)).transpose()?;
    Ok(WireQueue::new(queue, oldest.and_then(|oldest| oldest.since), busy, waiting))
}

fn read_queued(ports: &Ports, id: ExecutionId, since: fn(&Execution) -> Option<Timestamp>) -> Result<WireQueued, Problem> {
    let execution: Option<Execution> = read_row(ports, &id.to_string())?;
    let execution = execution.as_ref();
    Ok(WireQueued {
        execution: id,
        action: execution.map(|execution| execution.action.clone()),
        since: execution.and_then(since),
        priority: execution.map(|execution| execution.priority),
    })
}
