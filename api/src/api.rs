//! What every handler works with: the node's ports, the settings, and the ways to wait for them.
//!
//! It decides nothing about a request.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use ensue_engine::command::{Ask, Command};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::{EnforcementId, ExecutionId};
use ensue_engine::ports::{Committed, ReadLimit, SubmitError};
use ensue_engine::record::{Position, Revision, StreamId};
use ensue_views::{View, ViewError, ViewName};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::context::ENSUE_POSITION;
use crate::deliveries::Deliveries;
use crate::intake::Intake;
use crate::keyed::UnderWay;
use crate::metrics::{self, Form, Requests};
use crate::paging::CursorKey;
use crate::ports::{OnBehalf, Patience, Ports};
use crate::problem::{LeftViews, Missing, Problem};
use crate::query::bad;
use crate::queues::{Queue, QueueName, Queues};
use crate::rates::Limiters;
use crate::settings::{Blocking, Settings};
use crate::shares::{Caller, NoRoom, Shares};
use crate::streams::Streams;
use crate::turns::{Turn, Turns};

/// How many answers are coded at once, where they are large.
const CODERS_MAX: usize = 4;
/// How many values are checked against schemas of callers at once.
const CHECKERS_MAX: usize = 2;
/// The most replays and backtests of one caller that run or wait.
const REHEARSALS_OF_ONE_MAX: u64 = 2;
/// How long a replay or a backtest may take.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(600);

/// Why a replay or a backtest is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
enum RehearsalRefusal {
    /// As many wait as may.
    #[error("too many replays and backtests are waiting for their turn")]
    Full,
    /// The caller has its share.
    #[error("{REHEARSALS_OF_ONE_MAX} of your replays and backtests are running or waiting, which is the limit for one caller")]
    OverShare,
}

impl Explain for RehearsalRefusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::Full => "busy",
            Self::OverShare => "over-share",
        }
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("try again when one of them has ended".to_owned())
    }
}

impl From<NoRoom> for RehearsalRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverShare => Self::OverShare,
        }
    }
}
/// How long a read waits for the read models to come as far as the caller has seen.
const VIEW_WAIT: Duration = Duration::from_secs(2);

/// The node as handlers see it.
pub(crate) struct Api {
    /// What the API needs of the node.
    pub(crate) ports: Ports,
    /// What the operator set.
    pub(crate) settings: Settings,
    /// The key that cursors are signed with.
    pub(crate) cursors: CursorKey,
    /// The last deliveries at each hook.
    pub(crate) deliveries: Deliveries,
    /// The memory for bodies.
    pub(crate) intake: Intake,
    /// The streams of records.
    pub(crate) streams: Streams,
    /// The keyed requests that are under way.
    pub(crate) under_way: Arc<UnderWay>,
    /// What counts requests by their callers.
    pub(crate) rates: Limiters,
    /// The turns at what callers change.
    pub(crate) turns: Turns,
    /// What was counted of requests.
    pub(crate) requests: Requests,
    readers: Arc<Semaphore>,
    explainers: Arc<Semaphore>,
    coders: Arc<Semaphore>,
    /// What checks values against the schemas of callers.
    checkers: Arc<Semaphore>,
    /// Who replays executions and tries rules, or waits for that.
    rehearsals: Arc<Shares>,
    /// Whoever replays or tries something has it.
    rehearsing: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Api {
    pub(crate) fn new(ports: Ports, settings: Settings) -> Self {
        Self {
            ports,
            cursors: CursorKey::new(settings.cursor_key),
            deliveries: Deliveries::default(),
            intake: Intake::new(&settings.queues),
            streams: Streams::new(&settings.queues),
            under_way: Arc::default(),
            rates: Limiters::of(&settings.rates),
            turns: Turns::default(),
            requests: Requests::default(),
            readers: turns(&settings.queues, QueueName::Reads),
            explainers: turns(&settings.queues, QueueName::Explanations),
            coders: Arc::new(Semaphore::new(CODERS_MAX)),
            checkers: Arc::new(Semaphore::new(CHECKERS_MAX)),
            rehearsals: Shares::of(settings.queues.of(QueueName::Rehearsals).clone(), REHEARSALS_OF_ONE_MAX),
            rehearsing: Arc::new(Semaphore::new(1)),
            stopping: watch::Sender::new(false),
            settings,
        }
    }

    /// Says from now on that the node stops: it is not ready, and nothing that lasts goes on.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Says whether the node stops.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns once the node stops.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`: while anybody can wait here, it cannot be gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Gives a queue.
    pub(crate) fn queue(&self, name: QueueName) -> &Arc<Queue> {
        self.settings.queues.of(name)
    }

    /// Does what blocks on a thread where that is allowed, once it is this request's turn: what is read may be large.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.readers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let api = self.clone();
        let work = move || {
            let _held = api.queue(QueueName::Reads).enter_anyway(1);
            let done = work(&api.ports);
            // A caller that goes away does not give the turn to the next: the thread goes on.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Codes an answer on a thread where that is allowed; none where as many are coded already: it goes out plain then, and waits for nobody.
    pub(crate) async fn coding<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.coders.clone().try_acquire_owned().ok()?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        self.where_it_may_block(work).await.ok()
    }

    async fn where_it_may_block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        match self.settings.blocking {
            Blocking::Pool => tokio::task::spawn_blocking(work).await.map_err(|why| Problem::bug(&why)),
            Blocking::InPlace => Ok(work()),
        }
    }

    /// Gathers the metrics. It waits for no turn: they are looked at above all when reads wait for theirs.
    pub(crate) async fn metrics(self: &Arc<Self>, form: Form) -> Result<String, Problem> {
        let api = self.clone();
        let gather = move || metrics::gathered(form, &api.settings.queues, &api.requests, &*api.ports.node);
        self.where_it_may_block(gather).await?.map_err(|why| Problem::bug(&why))
    }

    /// Works out again what rules made of events, on a thread where blocking is allowed, once it is this request's turn.
    pub(crate) async fn explaining<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.explainers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let held = self.queue(QueueName::Explanations).enter_anyway(1);
        self.blocking(move |ports| {
            let explained = work(ports);
            drop((turn, held));
            explained
        })
        .await
    }

    /// Checks a value against a schema of a caller, on a thread where blocking is allowed. It holds up no read.
    pub(crate) async fn checking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let turn = self.checkers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let work = move || {
            let done = work();
            // A caller that goes away does not give the turn to the next: the thread goes on.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Replays executions or tries rules for the holder of a token. One runs at a time, the others wait in the order in which they came, and
    /// no caller has more than its share. The work stops soon after its caller has gone.
    pub(crate) async fn rehearsing<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.rehearsals.enter(Caller::Token(name.to_owned()), 1).map_err(RehearsalRefusal::from)?;
        let turn = self.rehearsing.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let (patience, waiting) = Patience::of(REHEARSAL_TIME_MAX);
        let api = self.clone();
        let work = move || {
            let done = work(&api.ports, &patience);
            drop((turn, place));
            done
        };
        let done = tokio::select! {
            done = self.where_it_may_block(work) => done,
            () = self.stopped() => Err(SubmitError::Stopping.into()),
        };
        drop(waiting);
        done
    }

    /// Hands a command to the sequencer and waits until it is in the log, or refused.
    pub(crate) async fn submit(&self, by: OnBehalf, ask: Ask) -> Result<Committed, SubmitError> {
        self.submit_holding((), by, ask).await
    }

    /// Does the same in a turn, which ends when the command is in the log, or refused, also where its caller has gone away by then.
    pub(crate) async fn submit_in(&self, turn: Turn, by: OnBehalf, ask: Ask) -> Result<Committed, SubmitError> {
        self.submit_holding(turn, by, ask).await
    }

    async fn submit_holding(&self, held: impl Send + 'static, by: OnBehalf, ask: Ask) -> Result<Committed, SubmitError> {
        let (tell, told) = oneshot::channel();
        let ask = match by.request {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let command = Command { actor: by.actor, trace: by.trace, ask };
        // A caller that went away needs no answer; the command counts all the same.
        let reply = move |outcome| {
            drop(held);
            drop(tell.send(outcome));
        };
        self.ports.submit.submit(command, Box::new(reply));
        // A sequencer that ended over it tells nobody what it had kept by then.
        told.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// Waits until the read models have come as far as the request's `Ensue-Position`.
    pub(crate) async fn see(self: &Arc<Self>, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(given) = headers.get(ENSUE_POSITION) else { return Ok(()) };
        let wanted = given.to_str().ok().and_then(|text| text.parse().ok()).map(Position);
        let wanted = wanted.ok_or_else(|| bad(ENSUE_POSITION, "must be a position that an answer returned"))?;
        if *self.ports.views_at.borrow() < wanted {
            // No waiting brings a position that the log does not have.
            let head = self.blocking(|ports| ports.log.head()).await??.position;
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

    /// Waits until the read models have come to a position.
    pub(crate) async fn see_position(&self, wanted: Position) -> Result<(), Problem> {
        let mut at = self.ports.views_at.clone();
        let reached = at.wait_for(|reached| *reached >= wanted);
        match tokio::time::timeout(VIEW_WAIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::view_behind(wanted.0, self.ports.views_at.borrow().0)),
        }
    }

    /// Waits until the read models have come to all that is in the log by now.
    pub(crate) async fn see_all(self: &Arc<Self>) -> Result<(), Problem> {
        let head = self.blocking(|ports| ports.log.head()).await??;
        self.see_position(head.position).await
    }

    /// Reads one row of a view.
    pub(crate) async fn row<V: View + Send + 'static>(self: &Arc<Self>, key: String, thing: &'static str) -> Result<V, Problem> {
        self.blocking(move |ports| match read_row::<V>(ports, &key)? {
            Some(row) => Ok(row),
            None => Err(left_views::<V>(ports, &key, thing)?.map_or_else(|| Missing::new(thing, &key).into(), Problem::from)),
        })
        .await?
    }
}

/// Says that a thing was there and has left the views; none where it is there, never was, or may still come. Blocking.
pub(crate) fn left_views<V: View>(ports: &Ports, key: &str, thing: &'static str) -> Result<Option<LeftViews>, ViewError> {
    let stream = match V::NAME {
        ViewName::Executions => key.parse().map(|id| StreamId::Execution(ExecutionId(id))),
        ViewName::Enforcements => key.parse().map(|id| StreamId::Enforcement(EnforcementId(id))),
        // Their records are in the streams of others, or they never leave.
        _ => return Ok(None),
    };
    let Ok(stream) = stream else { return Ok(None) };
    if ports.views.removed()?.rows == 0 {
        return Ok(None);
    }
    // Only of what they had folded before it was looked for is known that it left them.
    let folded = ports.views.position()?;
    if ports.views.get(V::NAME, key)?.is_some() {
        return Ok(None);
    }
    // Where the log cannot be read, it is only not there, and nobody knows why.
    let first = ports.log.read_stream(&stream, Revision(0), ReadLimit { records: 1, bytes: 0 }).unwrap_or_default();
    let begun = first.first().map(|record| record.position).filter(|begun| *begun <= folded);
    Ok(begun.map(|from| LeftViews { missing: Missing::new(thing, key), from }))
}

/// Reads one row of a view, where there is one. Blocking.
pub(crate) fn read_row<V: View>(ports: &Ports, key: &str) -> Result<Option<V>, ViewError> {
    ports.views.get(V::NAME, key)?.map(|row| row.read()).transpose()
}

/// As many turns as a queue has room.
fn turns(queues: &Queues, name: QueueName) -> Arc<Semaphore> {
    let most = usize::try_from(queues.of(name).capacity()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}
