//! The streams of deliveries at webhooks, as they arrive.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::names::SensorRef;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::auth::AllowedCaller;
use crate::deliveries::Deliveries;
use crate::deliveries::listeners::HeardDelivery;
use crate::permissions::HooksListen;
use crate::sse::{CHECK_EVERY, CloseAs, StreamInterruption, StreamLine};
use crate::stream_message::StreamMessage;
use crate::streams::RETRY_MILLIS;
use crate::wire::hooks::WireHeard;

/// Why a stream ended, as its last event reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum ListeningEnd {
    /// The node is stopping.
    Stopping,
    /// The caller is no longer allowed to listen.
    NotAllowed,
}

/// One caller that listens at a hook.
pub(crate) struct Listening {
    deliveries: Arc<Deliveries>,
    sensor: SensorRef,
    heard: Receiver<Arc<HeardDelivery>>,
    /// The time of the last delivery that the caller knows, in microseconds: the id of its event.
    at: i64,
    line: StreamLine<AllowedCaller<HooksListen>>,
}

impl Listening {
    /// Listens from now on, or after the delivery with this id.
    pub(crate) fn new(
        deliveries: Arc<Deliveries>,
        sensor: SensorRef,
        after: Option<i64>,
        line: StreamLine<AllowedCaller<HooksListen>>,
    ) -> Self {
        let heard = deliveries.listeners().listen(&sensor);
        let newest = || deliveries.last(&sensor).iter().map(|delivery| delivery.at.micros()).max().unwrap_or(0);
        let at = after.unwrap_or_else(newest);
        Self { deliveries, sensor, heard, at, line }
    }

    /// Sends each delivery until the caller or the node goes away.
    pub(crate) async fn run(mut self) {
        let end = match self.until_the_end().await {
            StreamInterruption::Stopping => ListeningEnd::Stopping,
            StreamInterruption::NotAllowed => ListeningEnd::NotAllowed,
            StreamInterruption::Gone | StreamInterruption::Slow => return,
        };
        self.line.end(&end, CloseAs::Normal);
    }

    async fn until_the_end(&mut self) -> StreamInterruption {
        match self.follow().await {
            Ok(never) => match never {},
            Err(left) => left,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, StreamInterruption> {
        let place = format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at);
        self.line.say(StreamMessage::Events(place.into())).await?;
        self.catch_up().await?;
        loop {
            self.line.turn().await?;
            let next = tokio::time::timeout(CHECK_EVERY.min(Duration::from_secs(5)), self.heard.recv());
            match self.line.rest(next).await? {
                Ok(Ok(heard)) => self.send_delivery((*heard).clone()).await?,
                Ok(Err(RecvError::Lagged(_))) => self.catch_up().await?,
                Ok(Err(RecvError::Closed)) => return Err(StreamInterruption::Stopping),
                Err(_) => {}
            }
        }
    }

    /// Sends the deliveries that are kept and that the caller does not know, oldest first.
    async fn catch_up(&mut self) -> Result<(), StreamInterruption> {
        let mut missed = self.deliveries.last(&self.sensor);
        missed.sort_by_key(|delivery| delivery.at);
        for delivery in missed {
            self.send_delivery(HeardDelivery { delivery, content: None }).await?;
        }
        Ok(())
    }

    async fn send_delivery(&mut self, heard: HeardDelivery) -> Result<(), StreamInterruption> {
        let at = heard.delivery.at.micros();
        if at <= self.at {
            return Ok(());
        }
        if !self.line.is_allowed() {
            return Err(StreamInterruption::NotAllowed);
        }
        let data = serde_json::to_string(&WireHeard::from(heard)).unwrap_or_default();
        self.at = at;
        self.line.say(StreamMessage::Events(format!("id: {at}\ndata: {data}\n\n").into())).await
    }
}
