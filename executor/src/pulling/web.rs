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
use crate::answer_body::{AnswerBody, UnreadableBody, is_compressed, join_values};
use crate::blocking::Blocking;
use crate::connections::{
    Asker, Connection, ConnectionErrorKind, ConnectionUser, Connections, LentConnection, Lists, NoCredentials, NotLent, OperatorsWord,
    UseOutcome, kind_of_broken,
};
use crate::masks::Masks;
use crate::programs::{GivenKey, NodeSecrets};
use crate::render::Renderer;
use crate::runners::{HTTP_HOPS_MAX, Request, retry_after_of, stays_below, too_many_redirects};
use crate::web::{NoWay, Web};

/// Sends the requests of sensors.
pub struct SensorWeb {
    web: Arc<dyn Web>,
    connections: Arc<Connections>,
    masked: NodeSecrets,
}

/// What a server answered. That its body cannot be read says nothing about a connection.
struct Exchange {
    status: StatusCode,
    answer: Result<WebAnswer, SourceError>,
}

impl SensorWeb {
    /// Sends requests over the web of the worker, and over connections. The secrets of the node are masked in the answers.
    pub fn new(web: Arc<dyn Web>, connections: Arc<Connections>, masked: NodeSecrets) -> Self {
        Self { web, connections, masked }
    }

    /// Sends the request of a sensor, over its connection if it names one.
    async fn send(&self, order: WebRequest) -> Result<WebAnswer, SourceError> {
        let timeout = order.timeout;
        let Some(connection) = self.connection(&order)? else {
            let exchange = tokio::time::timeout(timeout, self.exchange(order, None)).await;
            return exchange.unwrap_or_else(|_| Err(late(timeout)))?.answer;
        };
        let user = ConnectionUser::Sensor(order.sensor.name.clone());
        let lending = tokio::time::timeout(timeout, self.connections.lend(&connection, user)).await;
        let lent = lending.map_err(|_| late(timeout))?.map_err(|why| not_lent(&why))?;
        let timeout = lent.http().map_or(timeout, |http| http.timeout.min(timeout));
        let exchange = tokio::time::timeout(timeout, self.exchange(order, Some(&lent))).await;
        let exchange = exchange.unwrap_or_else(|_| Err(late(timeout)));
        let used = match &exchange {
            Ok(exchange) => UseOutcome::of_status(exchange.status),
            Err(error) => match error.kind {
                SensorErrorKind::Connect => UseOutcome::Fault(ConnectionErrorKind::Connect, error.message.clone()),
                SensorErrorKind::Tls => UseOutcome::Fault(ConnectionErrorKind::Tls, error.message.clone()),
                SensorErrorKind::Auth => UseOutcome::Rejected(ConnectionErrorKind::Auth, error.message.clone()),
                SensorErrorKind::EgressDenied => UseOutcome::Rejected(ConnectionErrorKind::EgressDenied, error.message.clone()),
                SensorErrorKind::Timeout => UseOutcome::Fault(ConnectionErrorKind::Timeout, error.message.clone()),
                // It redirected to what is not followed, or gave no usable token.
                SensorErrorKind::Protocol => UseOutcome::Rejected(ConnectionErrorKind::Protocol, error.message.clone()),
                // Nothing is known about the server.
                _ => return exchange?.answer,
            },
        };
        if matches!(used, UseOutcome::Rejected(ConnectionErrorKind::Auth, _)) {
            lent.forget_token().await;
        }
        lent.finish(&used);
        exchange?.answer
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
        self.connections.find(name, ConnectionKind::Http, &asker).map(Some).map_err(|why| not_lent(&why))
    }

    async fn exchange(&self, order: WebRequest, lent: Option<&LentConnection>) -> Result<Exchange, SourceError> {
        let http = &*order.http;
        let route = if lent.is_some() { Route::Connection } else { Route::Own };
        let keys = open_keys(http.templates(route), &order.sensor, &*order.keys)?;
        let mut request = {
            let mut renderer = Renderer::of_sensor(&order.sensor, &order.values, &keys);
            Request::compose(http, &mut renderer, lent.and_then(LentConnection::http)).map_err(source_error)?
        };
        request.demand_unsigned().map_err(source_error)?;
        let mut opened: Vec<GivenKey> = keys.into_iter().map(given_key).collect();
        if let Some((lent, connection)) = lent.and_then(|lent| Some((lent, lent.http()?))) {
            let credentials = lent.credentials().await.map_err(|why| match why {
                NoCredentials::NotLent(why) => not_lent(&why),
                NoCredentials::NoToken(why) => SourceError::new(sensor_kind(why.kind), why.to_string()),
            })?;
            opened.extend(lent.pool.secrets().iter().map(|(key, value)| GivenKey { key: key.clone(), value: value.clone() }));
            opened.extend(credentials.iter().filter_map(|credentials| credentials.derived.clone()).map(given_key));
            request.connect(connection, credentials).map_err(source_error)?;
        }
        for (name, value) in &order.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.add_header(HeaderName::from_static(name), value);
            }
        }
        let masks = self.masked.masks_with(&opened);
        let mask = |error: SourceError| match &masks {
            Some(masks) => SourceError { message: masks.text(&error.message), ..error },
            None => error,
        };
        let exchange = self.follow(&order, request, lent, masks.as_deref()).await.map_err(mask)?;
        Ok(Exchange { answer: exchange.answer.map_err(mask), ..exchange })
    }

    /// Sends a request, follows its redirects, and reads the answer.
    async fn follow(
        &self,
        order: &WebRequest,
        mut request: Request,
        lent: Option<&LentConnection>,
        masks: Option<&Masks>,
    ) -> Result<Exchange, SourceError> {
        let web: &dyn Web = lent.map_or(&*self.web, |lent| &lent.pool.web);
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
            if let Some(next) = request.follow_redirect(answer.status, &answer.headers).map_err(source_error)? {
                stays_below(&request, &next, lent).map_err(source_error)?;
                request = next;
                continue;
            }
            let status = answer.status;
            let mut bytes = BytesMut::new();
            while let Some(piece) = answer.body.piece().await.map_err(|error| broken(&error))? {
                if bytes.len() + piece.len() > order.answer_bytes_max {
                    let message = format!("{} answered with more than {} bytes", request.server(), order.answer_bytes_max);
                    let answer = Err(SourceError::new(SensorErrorKind::Limit, message));
                    return Ok(Exchange { status, answer });
                }
                bytes.extend_from_slice(&piece);
            }
            let mut headers = BTreeMap::new();
            for name in answer.headers.keys() {
                let value = join_values(&answer.headers, name);
                headers.insert(name.as_str().to_owned(), masks.map_or_else(|| value.clone(), |masks| masks.text(&value)));
            }
            let retry_after = retry_after_of(&answer.headers, order.now);
            let body = match status.is_success() {
                true => read_text(answer.headers, bytes.freeze(), order, masks).await.map_err(|why| SourceError {
                    message: format!("{} answered {}, but {}", request.server(), status.as_u16(), why.message),
                    ..why
                }),
                false => Ok(Bytes::new()),
            };
            let answer = body.map(|body| WebAnswer { status: status.as_u16(), retry_after, headers, body });
            return Ok(Exchange { status, answer });
        }
        Err(SourceError::new(SensorErrorKind::Protocol, too_many_redirects(&request)))
    }
}

impl world::Web for SensorWeb {
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        Box::pin(self.send(order))
    }
}

/// Returns a body as text in UTF-8. The values of keys are masked in it, because a server may repeat what it was sent.
async fn read_text(headers: HeaderMap, sent: Bytes, order: &WebRequest, masks: Option<&Masks>) -> Result<Bytes, SourceError> {
    let bytes_max = order.answer_bytes_max;
    // A short body may become as long as any, and that takes a while.
    let blocking = if is_compressed(&headers) { Blocking::Pool } else { Blocking::InPlace };
    let body = blocking.run(move || AnswerBody::decompress(&headers, sent, bytes_max)).await;
    let interrupted = || SourceError::new(SensorErrorKind::Bug, "an internal error interrupted its decompression");
    let body = body.ok_or_else(interrupted)?.map_err(|error| unreadable(&error))?;
    let text = match order.decode {
        Decode::Json => body.text_of_json(&order.text_decoding, masks),
        Decode::Text => body.text(&order.text_decoding, masks),
    };
    text.map(Bytes::from).map_err(|error| unreadable(&error))
}

fn unreadable(error: &UnreadableBody) -> SourceError {
    let kind = match error {
        UnreadableBody::TooLarge(_) => SensorErrorKind::Limit,
        UnreadableBody::Compressed(_) | UnreadableBody::NotText(_) | UnreadableBody::NotJson(_) | UnreadableBody::Masked => {
            SensorErrorKind::Protocol
        }
    };
    SourceError::new(kind, error.to_string())
}

fn given_key((key, value): (KeyRef, Secret)) -> GivenKey {
    GivenKey { key, value }
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
