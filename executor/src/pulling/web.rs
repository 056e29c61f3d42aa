//! Requests of sensors: rendered like those of the runner `http`, and sent by the same port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ensue_connectors::world::{self, WebAnswer, WebRequest};
use ensue_connectors::{Pending, SensorErrorKind, SourceError};
use ensue_engine::catalog::{ConnectionKind, Decode, Route, UsedConnection};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{open_keys, source_error};
use crate::answers::{AnswerBody, UnreadableBody, joined};
use crate::connections::{
    Asker, Connection, ConnectionErrorKind, ConnectionUser, Connections, Lent, Lists, NoCredentials, NotLent, OperatorsWord, Used,
    kind_of_broken,
};
use crate::masks::Masks;
use crate::render::Renderer;
use crate::runners::{HTTP_HOPS_MAX, Request, retry_after_of, stays_below, too_many_redirects};
use crate::web::{NoWay, Web};

/// Sends the requests of sensors.
pub struct SensorWeb {
    web: Arc<dyn Web>,
    connections: Arc<Connections>,
}

impl SensorWeb {
    /// Sends requests over the web of the worker, and over connections.
    pub fn new(web: Arc<dyn Web>, connections: Arc<Connections>) -> Self {
        Self { web, connections }
    }

    /// Sends the request of a sensor, over its connection if it names one.
    async fn sent(&self, order: WebRequest) -> Result<WebAnswer, SourceError> {
        let timeout = order.timeout;
        let Some(connection) = self.connection(&order)? else {
            return tokio::time::timeout(timeout, self.exchange(order, None)).await.unwrap_or_else(|_| Err(late(timeout)));
        };
        let user = ConnectionUser::Sensor(order.sensor.name.clone());
        let lending = tokio::time::timeout(timeout, self.connections.lend(&connection, user)).await;
        let lent = lending.map_err(|_| late(timeout))?.map_err(|why| not_lent(&why))?;
        let timeout = lent.http().map_or(timeout, |http| http.timeout.min(timeout));
        let exchange = tokio::time::timeout(timeout, self.exchange(order, Some(&lent))).await;
        let answered = exchange.unwrap_or_else(|_| Err(late(timeout)));
        let used = match &answered {
            Ok(answer) => StatusCode::from_u16(answer.status).map_or(Used::Well, Used::of_status),
            Err(error) => match error.kind {
                SensorErrorKind::Connect => Used::Fault(ConnectionErrorKind::Connect, error.message.clone()),
                SensorErrorKind::Tls => Used::Fault(ConnectionErrorKind::Tls, error.message.clone()),
                SensorErrorKind::Auth => Used::Rejected(ConnectionErrorKind::Auth, error.message.clone()),
                SensorErrorKind::EgressDenied => Used::Rejected(ConnectionErrorKind::EgressDenied, error.message.clone()),
                SensorErrorKind::Timeout => Used::Fault(ConnectionErrorKind::Timeout, error.message.clone()),
                SensorErrorKind::Limit => Used::Well,
                // Nothing is known about the server.
                _ => return answered,
            },
        };
        if matches!(used, Used::Rejected(ConnectionErrorKind::Auth, _)) {
            lent.forget_token().await;
        }
        lent.ended(&used);
        answered
    }

    /// Returns the connection that a sensor names.
    fn connection(&self, order: &WebRequest) -> Result<Option<Arc<Connection>>, SourceError> {
        let pack = order.sensor.name.pack();
        let (name, word) = match &order.http.connection {
            // A sensor has no parameters.
            None | Some(UsedConnection::Parameter(_)) => return Ok(None),
            Some(UsedConnection::Named(name)) => (name.as_str(), OperatorsWord::NotAlone),
            Some(UsedConnection::Setting(field)) => match order.sensor.config.get(field).filter(|value| !value.is_null()) {
                None => return Ok(None),
                Some(value) => (value.as_str().unwrap_or_default(), OperatorsWord::Given),
            },
        };
        let lists = if order.keys.lists_connection(&pack, name) { Lists::Yes } else { Lists::No };
        let asker = Asker { packs: vec![(&pack, lists)], word };
        self.connections.found(name, ConnectionKind::Http, &asker).map(Some).map_err(|why| not_lent(&why))
    }

    async fn exchange(&self, order: WebRequest, lent: Option<&Lent>) -> Result<WebAnswer, SourceError> {
        let http = &*order.http;
        let route = if lent.is_some() { Route::Connection } else { Route::Own };
        let keys = open_keys(http.templates(route), &order.sensor, &*order.keys)?;
        let mut request = {
            let mut renderer = Renderer::of_sensor(&order.sensor, &order.values, &keys);
            Request::composed(http, &mut renderer, lent.and_then(Lent::http)).map_err(source_error)?
        };
        let mut masked: Vec<(KeyRef, Secret)> = Vec::new();
        if let Some((lent, connection)) = lent.and_then(|lent| Some((lent, lent.http()?))) {
            let credentials = lent.credentials().await.map_err(|why| match why {
                NoCredentials::NotLent(why) => not_lent(&why),
                NoCredentials::NoToken(why) => SourceError::new(sensor_kind(why.kind), why.to_string()),
            })?;
            masked.extend(lent.pool.secrets().iter().map(|(key, value)| (key.clone(), value.clone())));
            masked.extend(credentials.iter().filter_map(|credentials| credentials.derived.clone()));
            request.connect(connection, credentials).map_err(source_error)?;
        }
        let masks = Masks::of_values(masked.iter().map(|(key, value)| (key.as_str(), value.reveal())));
        let web: &dyn Web = lent.map_or(&*self.web, |lent| &lent.pool.web);
        for (name, value) in &order.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.add_header(HeaderName::from_static(name), value);
            }
        }
        for _ in 0..=HTTP_HOPS_MAX {
            let way = web.way(request.target()).await.map_err(|error| {
                let kind = match error {
                    NoWay::Denied => SensorErrorKind::EgressDenied,
                    NoWay::Unreachable(_) => SensorErrorKind::Connect,
                };
                SourceError::new(kind, format!("{} {error}", request.server()))
            })?;
            let broken = |error: &dyn std::fmt::Display| {
                let why = error.to_string();
                SourceError::new(sensor_kind(kind_of_broken(&why)), format!("{}: {why}", request.server()))
            };
            let mut answer = way.send(request.to_send()).await.map_err(|error| broken(&error))?;
            if let Some(next) = request.redirected(answer.status, &answer.headers).map_err(source_error)? {
                stays_below(&request, &next, lent).map_err(source_error)?;
                request = next;
                continue;
            }
            let mut bytes = BytesMut::new();
            while let Some(piece) = answer.body.piece().await.map_err(|error| broken(&error))? {
                if bytes.len() + piece.len() > order.answer_bytes_max {
                    let message = format!("{} answered with more than {} bytes", request.server(), order.answer_bytes_max);
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                bytes.extend_from_slice(&piece);
            }
            let mut headers = BTreeMap::new();
            for name in answer.headers.keys() {
                let value = joined(&answer.headers, name);
                headers.insert(name.as_str().to_owned(), masks.as_deref().map_or_else(|| value.clone(), |masks| masks.text(&value)));
            }
            let body = match answer.status.is_success() {
                true => read_text(&answer.headers, bytes.freeze(), &order, masks.as_deref()).map_err(|error| {
                    let message = format!("{} answered {}, but {error}", request.server(), answer.status.as_u16());
                    SourceError::new(kind_of_unreadable(&error), message)
                })?,
                false => Bytes::new(),
            };
            return Ok(WebAnswer {
                status: answer.status.as_u16(),
                retry_after: retry_after_of(&answer.headers, order.now),
                headers,
                body,
            });
        }
        Err(SourceError::new(SensorErrorKind::Protocol, too_many_redirects(&request)))
    }
}

impl world::Web for SensorWeb {
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        Box::pin(self.sent(order))
    }
}

/// Returns a body as text in UTF-8. The values of keys are masked in it, because a server may repeat what it was sent.
fn read_text(headers: &HeaderMap, sent: Bytes, order: &WebRequest, masks: Option<&Masks>) -> Result<Bytes, UnreadableBody> {
    let body = AnswerBody::decompress(headers, sent, order.answer_bytes_max)?;
    Ok(match order.decode {
        Decode::Json => body.text_of_json(order.invalid, masks)?,
        Decode::Text => body.text(order.invalid, masks)?,
    }
    .into())
}

fn kind_of_unreadable(error: &UnreadableBody) -> SensorErrorKind {
    match error {
        UnreadableBody::TooLarge(_) => SensorErrorKind::Limit,
        UnreadableBody::Compressed(_) | UnreadableBody::NotText(_) | UnreadableBody::NotJson(_) | UnreadableBody::Masked => {
            SensorErrorKind::Protocol
        }
    }
}

fn late(timeout: Duration) -> SourceError {
    SourceError::new(SensorErrorKind::Timeout, format!("the complete answer did not arrive within {} seconds", timeout.as_secs_f64()))
}

fn not_lent(why: &NotLent) -> SourceError {
    let kind = match why {
        NotLent::Paused { retry_after, .. } => {
            return SourceError::new(SensorErrorKind::Connect, why.to_string()).after(Some(*retry_after));
        }
        NotLent::Unknown(_) | NotLent::OtherKind { .. } | NotLent::NotAllowed { .. } => SensorErrorKind::EgressDenied,
        NotLent::NoTrust { .. } => SensorErrorKind::Tls,
        NotLent::KeyMissing { .. } | NotLent::KeyUnusable(_) | NotLent::KeyUnfit { .. } => SensorErrorKind::KeyMissing,
        NotLent::KeyUnavailable(_) => SensorErrorKind::Connect,
    };
    SourceError::new(kind, why.to_string())
}

fn sensor_kind(kind: ConnectionErrorKind) -> SensorErrorKind {
    match kind {
        ConnectionErrorKind::Connect | ConnectionErrorKind::Server => SensorErrorKind::Connect,
        ConnectionErrorKind::Tls => SensorErrorKind::Tls,
        ConnectionErrorKind::Auth => SensorErrorKind::Auth,
        ConnectionErrorKind::Timeout => SensorErrorKind::Timeout,
        ConnectionErrorKind::Rejected | ConnectionErrorKind::Protocol => SensorErrorKind::Protocol,
        ConnectionErrorKind::EgressDenied => SensorErrorKind::EgressDenied,
        ConnectionErrorKind::KeyMissing => SensorErrorKind::KeyMissing,
    }
}
