//! What every handler works with: the node's ports, the settings, and the ways to wait for them.
//!
//! It decides nothing about a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use ensue_engine::command::{Ask, Command};
use ensue_engine::ports::{Committed, SubmitError};
use ensue_engine::record::Position;
use ensue_views::{View, ViewError};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::context::ENSUE_POSITION;
use crate::deliveries::Deliveries;
use crate::paging::CursorKey;
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Missing, Problem};
use crate::query::bad;
use crate::settings::Settings;

/// How long a read waits for the read models to come as far as the caller has seen.
const VIEW_WAIT: Duration = Duration::from_secs(2);

/// How many explanations are worked out at once: each may hold a payload and its parts in memory, and a thread for a while.
const EXPLAINERS_MAX: usize = 4;

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
    /// Permits to follow outputs.
    pub(crate) followers: Arc<Semaphore>,
    explainers: Arc<Semaphore>,
    under_way: AtomicUsize,
    stopping: watch::Sender<bool>,
}

impl Api {
    pub(crate) fn new(ports: Ports, settings: Settings) -> Self {
        Self {
            ports,
            cursors: CursorKey::new(settings.cursor_key),
            deliveries: Deliveries::default(),
            followers: Arc::new(Semaphore::new(settings.limits.followers_max)),
            explainers: Arc::new(Semaphore::new(EXPLAINERS_MAX)),
            under_way: AtomicUsize::new(0),
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

    /// Counts a request in; none where too many are under way.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let entered = UnderWay(self.clone());
        (before < self.settings.limits.requests_max).then_some(entered)
    }

    /// Does what blocks on a thread where that is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let api = self.clone();
        tokio::task::spawn_blocking(move || work(&api.ports)).await.map_err(|why| Problem::bug(&why))
    }

    /// Works out again what rules made of events, on a thread where blocking is allowed, once it is this request's turn.
    pub(crate) async fn explaining<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.explainers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        self.blocking(move |ports| {
            let explained = work(ports);
            // A caller that goes away does not give the turn to the next: the thread goes on.
            drop(turn);
            explained
        })
        .await
    }

    /// Hands a command to the sequencer and waits until it is in the log, or refused.
    pub(crate) async fn submit(&self, by: OnBehalf, ask: Ask) -> Result<Committed, SubmitError> {
        let (tell, told) = oneshot::channel();
        let command = Command { actor: by.actor, trace: by.trace, ask };
        // A caller that went away needs no answer; the command counts all the same.
        self.ports.submit.submit(command, Box::new(move |outcome| drop(tell.send(outcome))));
        told.await.unwrap_or(Err(SubmitError::Stopping))
    }

    /// Waits until the read models have come as far as the request's `Ensue-Position`.
    pub(crate) async fn see(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(given) = headers.get(ENSUE_POSITION) else { return Ok(()) };
        let wanted = given.to_str().ok().and_then(|text| text.parse().ok()).map(Position);
        let wanted = wanted.ok_or_else(|| bad(ENSUE_POSITION, "must be a position, as an answer gave it"))?;
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

    /// Reads one row of a view.
    pub(crate) async fn row<V: View + Send + 'static>(self: &Arc<Self>, key: String, thing: &'static str) -> Result<V, Problem> {
        let missing = Missing::new(thing, &key);
        let row = self.blocking(move |ports| read_row::<V>(ports, &key)).await??;
        row.ok_or_else(|| missing.into())
    }
}

/// Reads one row of a view, where there is one. Blocking.
pub(crate) fn read_row<V: View>(ports: &Ports, key: &str) -> Result<Option<V>, ViewError> {
    ports.views.get(V::NAME, key)?.map(|row| row.read()).transpose()
}

/// A request that is under way, until it is dropped.
pub(crate) struct UnderWay(Arc<Api>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
