//! The state that every handler works with: the node's ports, the settings, and the functions that wait for
//! them.
//!
//! It decides nothing about a request.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use ensue_engine::command::{Ask, Command};
use ensue_engine::ports::{CommitReceipt, SubmitError};
use ensue_engine::record::Position;
use ensue_views::{RowReach, View};
use tokio::sync::oneshot;

use crate::backtests::RunningBacktests;
use crate::context::ENSUE_POSITION;
use crate::idempotency::UnderWay;
use crate::intake::Intake;
use crate::metrics::{self, MetricsFormat, Requests};
use crate::paging::CursorKey;
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Missing, Problem};
use crate::query::bad;
use crate::queues::{Queue, QueueName};
use crate::quotas::Quotas;
use crate::rates::Limiters;
use crate::resource_locks::{ResourceLock, ResourceLocks};
use crate::rows::{left_views, read_row};
use crate::settings::Settings;
use crate::shared_answers::SharedAnswers;
use crate::sse::EndConditions;
use crate::stopping::Stopping;
use crate::streams::Streams;
use crate::threads::Threads;

/// How long a read waits for the read models to reach the position that the caller has seen.
const VIEW_WAIT: Duration = Duration::from_secs(2);

/// How many deliveries of one hook wait for a reply at once.
const HOOK_WAITERS_OF_ONE_MAX: u64 = 100;

/// The node as handlers see it.
pub(crate) struct Api {
    /// The ports of the node.
    pub(crate) ports: Arc<Ports>,
    /// The operator's settings.
    pub(crate) settings: Settings,
    /// The key that cursors are signed with.
    pub(crate) cursors: CursorKey,
    /// The memory for bodies.
    pub(crate) intake: Intake,
    /// The deliveries that wait for a reply.
    pub(crate) hook_waiters: Arc<Quotas>,
    /// The streams of records.
    pub(crate) streams: Arc<Streams>,
    /// The keyed requests in progress.
    pub(crate) under_way: Arc<UnderWay>,
    /// Counts requests by caller.
    pub(crate) rates: Limiters,
    /// The locks on the resources that callers change.
    pub(crate) resource_locks: ResourceLocks,
    /// The counts of requests.
    pub(crate) requests: Requests,
    /// The backtests that continue without a request.
    pub(crate) backtests: Arc<RunningBacktests>,
    /// The answers that callers share.
    pub(crate) shared_answers: SharedAnswers,
    /// The threads for blocking work.
    pub(crate) threads: Arc<Threads>,
    /// Whether the node is stopping.
    pub(crate) stopping: Stopping,
}

impl Api {
    pub(crate) fn new(ports: Ports, settings: Settings) -> Self {
        let (ports, stopping) = (Arc::new(ports), Stopping::not_yet());
        let threads = Threads::new(ports.clone(), &settings, stopping.clone());
        Self {
            cursors: CursorKey::new(settings.cursor_key),
            intake: Intake::new(&settings.queues),
            hook_waiters: Quotas::of(settings.queues.of(QueueName::HookWaiters).clone(), HOOK_WAITERS_OF_ONE_MAX),
            streams: Arc::new(Streams::new(&settings.queues, threads.clone(), ports.views_at.clone())),
            under_way: Arc::default(),
            rates: Limiters::of(&settings.rates),
            resource_locks: ResourceLocks::default(),
            requests: Requests::default(),
            backtests: Arc::default(),
            shared_answers: SharedAnswers::default(),
            ports,
            settings,
            threads,
            stopping,
        }
    }

    /// Returns the conditions that end a line to a caller early.
    pub(crate) fn ends(&self) -> EndConditions {
        EndConditions { stopping: self.stopping.clone(), access: self.ports.access.clone() }
    }

    /// Returns a queue.
    pub(crate) fn queue(&self, name: QueueName) -> &Arc<Queue> {
        self.settings.queues.of(name)
    }

    /// Gathers the metrics. It does not wait for a turn, because metrics matter most when reads are waiting
    /// for theirs.
    pub(crate) async fn metrics(self: &Arc<Self>, form: MetricsFormat) -> Result<String, Problem> {
        let api = self.clone();
        let gather = move || metrics::gather(form, &api.settings.queues, &api.requests, &*api.ports.node);
        self.threads.where_it_may_block(gather).await?.map_err(|why| Problem::bug(&why))
    }

    /// Submits a command to the sequencer and waits until it is in the log, or rejected.
    pub(crate) async fn submit(&self, by: OnBehalf, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        self.submit_holding((), by, ask).await
    }

    /// Does the same under a lock. The lock is released when the command is in the log, or rejected, even if
    /// its caller has disconnected by then.
    pub(crate) async fn submit_locked(&self, lock: ResourceLock, by: OnBehalf, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        self.submit_holding(lock, by, ask).await
    }

    async fn submit_holding(&self, held: impl Send + 'static, by: OnBehalf, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        let (tell, told) = oneshot::channel();
        let ask = match by.request {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let command = Command { actor: by.actor, trace: by.trace, ask };
        // A caller that disconnected needs no answer; the command counts all the same.
        let reply = move |outcome| {
            drop(held);
            drop(tell.send(outcome));
        };
        self.ports.submit.submit(command, Box::new(reply));
        // A sequencer that stopped because of an error does not report what it had stored by then.
        told.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// Waits until the read models have reached the request's `Ensue-Position`.
    pub(crate) async fn see(self: &Arc<Self>, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(wanted) = wanted_position(headers)? else { return Ok(()) };
        if *self.ports.views_at.borrow() < wanted {
            // Waiting cannot bring a position that the log does not have.
            let head = self.threads.blocking(|ports| ports.log.head()).await??.position;
            if head < wanted {
                return Err(bad(
                    ENSUE_POSITION,
                    format!("is {wanted}, but the newest record is at {head}: the position belongs to another log"),
                )
                .into());
            }
        }
        self.see_position(wanted).await
    }

    /// Waits until the read models have reached a position.
    pub(crate) async fn see_position(&self, wanted: Position) -> Result<(), Problem> {
        let mut at = self.ports.views_at.clone();
        if *at.borrow_and_update() < wanted {
            self.ports.views_follower.hurry();
        }
        let reached = at.wait_for(|reached| *reached >= wanted);
        // Whether or not the time was up.
        let _ = tokio::time::timeout(VIEW_WAIT, reached).await;
        self.saw_position(wanted)
    }

    /// Fails unless the read models have reached a position.
    pub(crate) fn saw_position(&self, wanted: Position) -> Result<(), Problem> {
        let reached = *self.ports.views_at.borrow();
        if reached >= wanted { Ok(()) } else { Err(Problem::view_behind(wanted.0, reached.0)) }
    }

    /// Waits until the read models have reached the current end of the log.
    pub(crate) async fn see_all(self: &Arc<Self>) -> Result<(), Problem> {
        let head = self.threads.blocking(|ports| ports.log.head()).await??;
        self.see_position(head.position).await
    }

    /// Reads one row of a view, if the caller reaches it. Any other row counts as missing.
    pub(crate) async fn row<V: View + Send + 'static>(
        self: &Arc<Self>,
        key: String,
        thing: &'static str,
        reach: RowReach,
    ) -> Result<V, Problem> {
        self.threads
            .blocking(move |ports| match read_row::<V>(ports, &key)? {
                Some(row) if reach.covers_row(&key, &row) => Ok(row),
                // Whether a row has left the views says that it was there.
                _ if reach != RowReach::Everything => Err(Missing::new(thing, &key).into()),
                _ => Err(left_views::<V>(ports, &key, thing)?.map_or_else(|| Missing::new(thing, &key).into(), Problem::from)),
            })
            .await?
    }
}

/// Returns the position that a caller must see, if its request names one.
pub(crate) fn wanted_position(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let Some(given) = headers.get(ENSUE_POSITION) else { return Ok(None) };
    let wanted = given.to_str().ok().and_then(|text| text.parse().ok()).map(Position);
    Ok(Some(wanted.ok_or_else(|| bad(ENSUE_POSITION, "must be a position that an answer returned"))?))
}
