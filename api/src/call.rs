//! One request as its handler sees it: the request and the node.
//!
//! It does not hold the caller: that is the separate [`AllowedCaller`](crate::auth::Allowed).

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::Bytes;
use ensue_engine::command::{Answer, Ask, FirstAnswer, Refusal};
use ensue_engine::record::Position;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::as_of;
use crate::auth::{AllowedCaller, Proof, Secrecy};
use crate::body;
use crate::conditions::Condition;
use crate::context::{OwnSpan, RequestContext};
use crate::idempotency::{self, KeyedRequest};
use crate::operation::{Conditional, DryRunQuery, Operation, Strangers};
use crate::paging::{self, PageRequest};
use crate::permissions::Permission;
use crate::ports::{Holder, OnBehalf, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{FromQuery, ParameterRefusal, Query};
use crate::quotas::{Caller, Room};
use crate::resource_locks::ResourceLock;
use crate::respond;
use crate::tags::tag_of;

/// One request.
pub(crate) struct Call {
    api: Arc<Api>,
    context: RequestContext,
    parts: Parts,
    params: Vec<(String, String)>,
    query: Query,
    caller: Caller,
    /// The key under which it is carried out once, if it has one.
    keyed: Option<KeyedRequest>,
    /// Its condition on the resource that it changes.
    condition: Condition,
    /// The earlier position that it asks for.
    as_of: Option<Position>,
    /// Memory for the body once it is read, until it is released or the request ends.
    admitted: Option<Room>,
    /// A body is not `Sync`, but its holder must be: the mutex is never locked, only taken.
    body: Mutex<Body>,
}

impl Call {
    /// Creates the call of an operation; the request may only have the operation's parameters. The body
    /// counts towards the caller's share.
    pub(crate) fn new(
        api: Arc<Api>,
        operation: &Operation,
        params: &RawPathParams,
        caller: Caller,
        request: Request,
    ) -> Result<Self, ParameterRefusal> {
        let (mut parts, body) = request.into_parts();
        let query = match operation.strangers {
            Strangers::Refused => Query::parse(parts.uri.query(), operation.query)?,
            Strangers::PassedOver => Query::default(),
        };
        let context = parts.extensions.remove::<RequestContext>().unwrap_or_else(|| RequestContext::of(&parts.headers, OwnSpan::None));
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self {
            api,
            context,
            parts,
            params,
            query,
            caller,
            keyed: None,
            condition: Condition::None,
            as_of: None,
            admitted: None,
            body: Mutex::new(body),
        })
    }

    /// Returns the node.
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Returns the request's id and trace.
    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Returns the request's head.
    pub(crate) fn request(&self) -> &Parts {
        &self.parts
    }

    /// Returns the request's headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Returns a part of the path, decoded.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Parses a part of the path as a name or id. If it is not valid, the resource is reported as missing.
    pub(crate) fn parse_part<T: FromStr>(&self, part: &str, thing: &'static str) -> Result<T, Problem> {
        let text = self.part(part);
        text.parse().map_err(|_| Missing::new(thing, text).into())
    }

    /// Reads query parameters of the operation, or a group of them.
    pub(crate) fn parameters<T: FromQuery>(&self) -> Result<T, ParameterRefusal> {
        T::read(&self.query)
    }

    /// Returns the query.
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// Returns the requested page of a list.
    pub(crate) fn page(&self, allowed: &impl Proof) -> Result<PageRequest, Problem> {
        PageRequest::of(&self.query, &self.api.cursors, self.parts.uri.path(), &allowed.caller())
    }

    /// Returns the answer with a page of a list; `next` is the place of the last item if there are more.
    pub(crate) fn answer_page<T: Serialize>(&self, items: Vec<T>, next: Option<&str>, page: &PageRequest) -> Outcome {
        let url = format!("{}{}", self.api.settings.base_url, self.parts.uri.path());
        paging::answer(items, next, page, &self.query, &self.api.cursors, &url)
    }

    /// The same, with a body of its own that has the cursor.
    pub(crate) fn answer_page_as(&self, next: Option<&str>, page: &PageRequest, body: impl FnOnce(Option<String>) -> Outcome) -> Outcome {
        let url = format!("{}{}", self.api.settings.base_url, self.parts.uri.path());
        paging::answer_as(next, page, &self.query, &self.api.cursors, &url, body)
    }

    /// Waits until the read models have reached the position that the caller has seen.
    pub(crate) async fn see(&self) -> Result<(), Problem> {
        self.api.see(&self.parts.headers).await
    }

    /// Reads the earlier position that the request asks for, and waits until the views have reached it.
    pub(crate) async fn take_as_of(&mut self) -> Result<(), Problem> {
        self.as_of = as_of::requested_position(&self.api, &self.query).await?;
        Ok(())
    }

    /// Returns the earlier position that the answer must be about; `None` if it is about the present.
    pub(crate) fn as_of(&self) -> Option<Position> {
        self.as_of
    }

    /// Checks that the caller accepts one of these media types, and returns the one it prefers; the first
    /// wins a tie.
    pub(crate) fn choose_media_type(&self, given: &'static [&'static str]) -> Result<&'static str, Problem> {
        choose_media_type(&self.parts.headers, given)
    }

    /// Checks whether the node accepts input now, before any of the body is held in memory.
    pub(crate) fn admission(&self) -> Result<(), Problem> {
        Ok(self.api.ports.node.admission()?)
    }

    /// Reads the body.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        let limits = &self.api.settings.limits;
        self.admitted = Some(self.api.intake.admit(self.caller.clone(), &self.parts.headers, limits.body_bytes_max)?);
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let body = body::read(&self.parts.headers, body, limits).await?;
        if let Some(keyed) = &mut self.keyed {
            keyed.read(&self.parts, &body);
        }
        Ok(body)
    }

    /// Reads the request's `Idempotency-Key`, if it has one, and looks up the answer to the first request
    /// with that key.
    pub(crate) async fn take_key(&mut self, holder: &Holder) -> Result<(), Problem> {
        let Some(key) = idempotency::parse_key(&self.parts.headers)? else { return Ok(()) };
        if self.is_dry_run()? {
            return Ok(());
        }
        let mut keyed = KeyedRequest::enter(&self.api.under_way, &holder.caller(), &key)?;
        let on_behalf = OnBehalf { actor: holder.actor(), trace: Some(self.context.recorded_trace()), request: None };
        let recalled = self.api.submit(on_behalf, Ask::Recall(keyed.key().clone())).await?;
        if let Answer::Before(before) = recalled.answer {
            keyed.note(before);
        }
        self.keyed = Some(keyed);
        Ok(())
    }

    /// Returns the answer to the first request with the same key, with this request's body; `None` if this is
    /// the first one, whose body is still unread. Rejects a different request under that key.
    pub(crate) async fn before(&mut self) -> Result<Option<(FirstAnswer, Bytes)>, Problem> {
        let Some(before) = self.keyed.as_ref().and_then(KeyedRequest::before).cloned() else { return Ok(None) };
        let body = self.bytes().await?;
        let asked = self.keyed.as_ref().map(KeyedRequest::request).transpose()?;
        let is_same = asked.is_some_and(|asked| asked.content == before.content);
        if is_same { Ok(Some((before, body))) } else { Err(Refusal::RequestDiffers { position: before.position }.into()) }
    }

    /// Reads the condition on the resource that the request changes; rejects conditions that are not
    /// supported here.
    pub(crate) fn take_condition(&mut self, conditional: Conditional) -> Result<(), Problem> {
        self.condition = Condition::of(&self.parts.headers, conditional)?;
        Ok(())
    }

    /// Locks the resource of this name, so that nobody else changes it until the lock is released, and checks
    /// the request's condition. `read` returns what a caller with the permission `P` reads at the resource's
    /// path. It is called only if there is a condition, and it blocks.
    pub(crate) async fn lock<P: Permission, T: Serialize>(
        &self,
        name: &str,
        read: impl FnOnce(&Ports, &str) -> Result<Option<T>, Problem> + Send + 'static,
    ) -> Result<ResourceLock, Problem> {
        // Errors in the request itself come before its condition (RFC 9110, 13.2.1).
        self.is_dry_run()?;
        let lock = self.api.resource_locks.lock(&format!("{}/{name}", P::NOUN)).await;
        if self.condition == Condition::None {
            return Ok(lock);
        }
        AllowedCaller::<P>::demand(&*self.api.ports.access, &self.parts, &Secrecy::ThingNamed(name.to_owned()))?;
        self.api.see_all().await?;
        let of_name = name.to_owned();
        let tag = self.api.threads.blocking(move |ports| tag_of_thing(read(ports, &of_name)?)).await??;
        self.condition.demand(tag.as_deref(), P::THING, name)?;
        Ok(lock)
    }

    /// Adds the `ETag` that a read of the resource returns now to the answer of a write, so that the next write
    /// can be conditional. `read` returns the resource as the write at that position left it; `None` if it was
    /// changed since. The answer has no tag in that case, or if the resource cannot be read in time: the write is
    /// done all the same.
    pub(crate) async fn with_new_tag<T: Serialize>(
        &self,
        mut answer: Response<Body>,
        position: Position,
        read: impl FnOnce(&Ports) -> Result<Option<T>, Problem> + Send + 'static,
    ) -> Response<Body> {
        if self.api.see_position(position).await.is_err() {
            return answer;
        }
        let tag = self.api.threads.blocking(move |ports| tag_of_thing(read(ports)?)).await;
        if let Ok(Ok(Some(tag))) = tag
            && let Ok(tag) = HeaderValue::from_str(&tag)
        {
            answer.headers_mut().insert(header::ETAG, tag);
        }
        answer
    }

    /// Returns the condition on the resource that the request changes.
    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Reports whether this is a dry run.
    pub(crate) fn is_dry_run(&self) -> Result<bool, Problem> {
        Ok(self.parameters::<DryRunQuery>()?.dry_run)
    }

    /// Validates the command without submitting it, and answers that it would succeed.
    pub(crate) async fn check(&self, by: OnBehalf, ask: Ask) -> Outcome {
        self.api.submit(OnBehalf { request: None, ..by }, Ask::Check(Box::new(ask))).await?;
        Ok(respond::dry_run())
    }

    /// Reports whether the request has a key. If so, the answer shows the state at the request's own
    /// position, as each repeat of it will.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed.is_some()
    }

    /// Returns the caller and the key for the records of the request. Calling it before the body is read is
    /// an internal error.
    pub(crate) fn on_behalf(&self, allowed: &impl Proof) -> Result<OnBehalf, Problem> {
        let request = self.keyed.as_ref().map(KeyedRequest::request).transpose()?;
        Ok(OnBehalf { request, ..allowed.on_behalf(&self.context) })
    }

    /// Releases the memory for the body, and the key, so that a repeat is let in: the effects of the request
    /// are in the log by now, but the request may still take a while.
    pub(crate) fn let_go(&mut self) {
        self.admitted = None;
        if let Some(keyed) = &mut self.keyed {
            keyed.let_go();
        }
    }

    /// Parses the body as JSON of type `T`.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        body::demand_json(&self.parts.headers)?;
        body::parse(&self.bytes().await?)
    }

    /// Parses the body as JSON of type `T`; returns the default if there is no body.
    pub(crate) async fn json_or_nothing<T: DeserializeOwned + Default>(&mut self) -> Result<T, Problem> {
        let body = self.bytes().await?;
        if body.is_empty() {
            return Ok(T::default());
        }
        body::demand_json(&self.parts.headers)?;
        body::parse(&body)
    }
}

/// Returns the tag of a resource as it is read; `None` if it does not exist.
fn tag_of_thing<T: Serialize>(thing: Option<T>) -> Result<Option<String>, Problem> {
    thing.map(|thing| Ok(tag_of(&respond::bytes(&thing)?))).transpose()
}

/// A body without content: `{}`, or no body at all.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Chooses among the media types of a path by `Accept` (RFC 9110 §12.5.1): by the caller's weights, then in
/// the path's own order.
pub(crate) fn choose_media_type(headers: &HeaderMap, given: &'static [&'static str]) -> Result<&'static str, Problem> {
    let mut ranges: Vec<(String, u16)> = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        ranges.extend(text.split(',').filter_map(range));
    }
    let first = given.first().copied().unwrap_or_default();
    if ranges.is_empty() {
        return Ok(first);
    }
    let weight = |media: &str| {
        let fits = |range: &str| {
            range == media || range == "*/*" || range.strip_suffix("/*").is_some_and(|kind| media.split('/').next() == Some(kind))
        };
        // The most specific range wins, regardless of the others.
        ranges
            .iter()
            .filter(|(range, _)| fits(range))
            .max_by_key(|(range, _)| (!range.ends_with('*'), range != "*/*"))
            .map_or(0, |(_, weight)| *weight)
    };
    let best = given.iter().copied().rev().max_by_key(|media| weight(media)).filter(|media| weight(media) > 0);
    best.ok_or_else(|| Problem::not_acceptable(&given.join(", ")))
}

/// Parses a media range and its weight in thousandths.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?.to_owned();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f32>().ok()).unwrap_or(1.0);
    // Clamped before, so the cast keeps the value.
    Some((range, (weight.clamp(0.0, 1.0) * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &[&str] = &["application/json", "text/plain", "text/event-stream"];

    fn media_type_for(accept: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        choose_media_type(&headers, GIVEN).ok()
    }

    #[test]
    fn accept_of_anything_gets_the_first_media_type() {
        assert_eq!(choose_media_type(&HeaderMap::new(), GIVEN).unwrap(), "application/json");
        for accept in ["*/*", "application/*", "application/json, */*;q=0.1", "text/html, */*;q=0.8"] {
            assert_eq!(media_type_for(accept), Some("application/json"), "{accept}");
        }
    }

    #[test]
    fn media_type_preferred_by_the_caller_is_chosen() {
        assert_eq!(media_type_for("text/event-stream"), Some("text/event-stream"));
        assert_eq!(media_type_for("text/plain, application/json;q=0.5"), Some("text/plain"));
        assert_eq!(media_type_for("text/*;q=0.5, application/json;q=0.2"), Some("text/plain"));
    }

    #[test]
    fn excluded_or_unknown_media_type_is_not_chosen() {
        assert_eq!(media_type_for("application/xml"), None);
        assert_eq!(media_type_for("application/json;q=0"), None);
        assert_eq!(media_type_for("application/json;q=0, */*"), Some("text/plain"));
    }
}
