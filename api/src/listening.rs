//! The streams of deliveries at webhooks, as they arrive.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::names::SensorRef;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::auth::Allowed;
use crate::deliveries::Deliveries;
use crate::deliveries::heard::Heard;
use crate::permissions::HooksListen;
use crate::said::Said;
use crate::sse::{CHECK_EVERY, CloseAs, Left, Line};
use crate::streams::RETRY_MILLIS;
use crate::wire::hooks::WireHeard;

/// Why a stream ended, as its last event reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum End {
    /// The node is stopping.
    Stopping,
    /// The caller is no longer allowed to listen.
    NotAllowed,
}

/// One caller that listens at a hook.
pub(crate) struct Listening {
    deliveries: Arc<Deliveries>,
    sensor: SensorRef,
    heard: Receiver<Arc<Heard>>,
    /// The time of the last delivery that the caller knows, in microseconds: the id of its event.
    at: i64,
    line: Line<Allowed<HooksListen>>,
}

impl Listening {
    /// Listens from now on, or after the delivery with this id.
    pub(crate) fn new(deliveries: Arc<Deliveries>, sensor: SensorRef, after: Option<i64>, line: Line<Allowed<HooksListen>>) -> Self {
        let heard = deliveries.listeners().listen(&sensor);
        let newest = || deliveries.last(&sensor).iter().map(|delivery| delivery.at.micros()).max().unwrap_or(0);
        let at = after.unwrap_or_else(newest);
        Self { deliveries, sensor, heard, at, line }
    }

    /// Sends each delivery until the caller or the node goes away.
    pub(crate) async fn run(mut self) {
        let end = match self.until_the_end().await {
            Left::Stopping => End::Stopping,
            Left::NotAllowed => End::NotAllowed,
            Left::Gone | Left::Slow => return,
        };
        self.line.end(&end, CloseAs::Normal);
    }

    async fn until_the_end(&mut self) -> Left {
        match self.follow().await {
            Ok(never) => match never {},
            Err(left) => left,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Left> {
        let place = format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at);
        self.line.say(Said::Events(place.into())).await?;
        self.catch_up().await?;
        loop {
            self.line.turn().await?;
            let next = tokio::time::timeout(CHECK_EVERY.min(Duration::from_secs(5)), self.heard.recv());
            match self.line.rest(next).await? {
                Ok(Ok(heard)) => self.tell((*heard).clone()).await?,
                Ok(Err(RecvError::Lagged(_))) => self.catch_up().await?,
                Ok(Err(RecvError::Closed)) => return Err(Left::Stopping),
                Err(_) => {}
            }
        }
    }

    /// Sends the deliveries that are kept and that the caller does not know, oldest first.
    async fn catch_up(&mut self) -> Result<(), Left> {
        let mut missed = self.deliveries.last(&self.sensor);
        missed.sort_by_key(|delivery| delivery.at);
        for delivery in missed {
            self.tell(Heard { delivery, content: None }).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, heard: Heard) -> Result<(), Left> {
        let at = heard.delivery.at.micros();
        if at <= self.at {
            return Ok(());
        }
        if !self.line.is_allowed() {
            return Err(Left::NotAllowed);
        }
        let data = serde_json::to_string(&WireHeard::from(heard)).unwrap_or_default();
        self.at = at;
        self.line.say(Said::Events(format!("id: {at}\ndata: {data}\n\n").into())).await
    }
}
