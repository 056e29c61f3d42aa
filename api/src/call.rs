//! One request as its handler gets it: what was asked, and the node to ask it of.
//!
//! Who calls is not in it: that is the [`Allowed`](crate::auth::Allowed) beside it.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::Bytes;
use ensue_engine::command::{Answer, Ask, Before, Refusal};
use ensue_engine::mutants;
use ensue_engine::record::Position;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::auth::{Allowed, Secrecy};
use crate::body;
use crate::conditions::Condition;
use crate::context::{OwnSpan, RequestContext};
use crate::keyed::{self, Keyed};
use crate::operation::{Conditional, Operation, Strangers};
use crate::paging::{self, Page};
use crate::permissions::Permission;
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{ParameterRefusal, Query};
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
    /// The key under which it is carried out once, where it has one.
    keyed: Option<Keyed>,
    /// What it demands of the thing that it changes.
    condition: Condition,
    /// Room for the body, once it is read, until it is let go of or the request is over.
    admitted: Option<Room>,
    /// A body cannot be shared between threads, what holds it must: it is never locked, only taken.
    body: Mutex<Body>,
}

impl Call {
    /// Takes a request as what it is for the operation; its parameters must be among the operation's. The body counts to the caller's share.
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
            admitted: None,
            body: Mutex::new(body),
        })
    }

    /// Gives the node.
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Gives the request's id and trace.
    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Gives the request's head.
    pub(crate) fn request(&self) -> &Parts {
        &self.parts
    }

    /// Gives the request's headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Gives a part of the path, decoded.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Gives a part of the path as what it names; what cannot name such a thing names one that is not there.
    pub(crate) fn named<T: FromStr>(&self, part: &str, thing: &'static str) -> Result<T, Problem> {
        let text = self.part(part);
        text.parse().map_err(|_| Missing::new(thing, text).into())
    }

    /// Gives the parameters of the query.
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// Gives what is asked of a list.
    pub(crate) fn page<P: Permission>(&self, allowed: &Allowed<P>) -> Result<Page, Problem> {
        Page::of(&self.query, &self.api.cursors, self.parts.uri.path(), allowed.name())
    }

    /// Answers a page of a list; `next` is the place of the last item where there are more.
    pub(crate) fn answer_page<T: Serialize>(&self, items: Vec<T>, next: Option<&str>, page: &Page) -> Outcome {
        let url = format!("{}{}", self.api.settings.base_url, self.parts.uri.path());
        paging::answer(items, next, page, &self.query, &self.api.cursors, &url)
    }

    /// Waits until the read models have come as far as the caller has seen.
    pub(crate) async fn see(&self) -> Result<(), Problem> {
        self.api.see(&self.parts.headers).await
    }

    /// Demands that the caller accepts one of these media types, and says which it prefers among them: the first that fits.
    pub(crate) fn accepted(&self, given: &'static [&'static str]) -> Result<&'static str, Problem> {
        accepted(&self.parts.headers, given)
    }

    /// Says whether anything is taken in now, before any of the body is kept.
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

    /// Takes the request's `Idempotency-Key`, where it has one, and looks for what was answered to the first request of that key.
    pub(crate) async fn take_key<P: Permission>(&mut self, allowed: &Allowed<P>) -> Result<(), Problem> {
        let Some(key) = keyed::given(&self.parts.headers)? else { return Ok(()) };
        if self.is_dry_run()? {
            return Ok(());
        }
        let mut keyed = Keyed::enter(&self.api.under_way, allowed.name(), &key)?;
        let recalled = self.api.submit(allowed.on_behalf(&self.context), Ask::Recall(keyed.key().clone())).await?;
        if let Answer::Before(before) = recalled.answer {
            keyed.note(before);
        }
        self.keyed = Some(keyed);
        Ok(())
    }

    /// Gives what was answered to the first request of the same key, with the body; none where this is the first, and its body is still to
    /// be read. Refuses another request under that key.
    pub(crate) async fn before(&mut self) -> Result<Option<(Before, Bytes)>, Problem> {
        let Some(before) = self.keyed.as_ref().and_then(Keyed::before).cloned() else { return Ok(None) };
        let body = self.bytes().await?;
        let asked = self.keyed.as_ref().map(Keyed::request).transpose()?;
        let is_same = asked.is_some_and(|asked| asked.content == before.content);
        if is_same || mutants::is("another request under a key") {
            Ok(Some((before, body)))
        } else {
            Err(Refusal::RequestDiffers { position: before.position }.into())
        }
    }

    /// Takes what the request demands of the thing that it changes; refuses a demand that is not looked at here.
    pub(crate) fn take_condition(&mut self, conditional: Conditional) -> Result<(), Problem> {
        self.condition = Condition::of(&self.parts.headers, conditional)?;
        Ok(())
    }

    /// Locks the thing of this name, which nobody else changes until the lock is released, and demands that the thing be then as the
    /// request says. `read` gives what is read at the thing's path by who has the permission `P`, which only a demand needs; blocking.
    pub(crate) async fn lock<P: Permission, T: Serialize>(
        &self,
        name: &str,
        read: impl FnOnce(&Ports, &str) -> Result<Option<T>, Problem> + Send + 'static,
    ) -> Result<ResourceLock, Problem> {
        // What is wrong with the request itself comes before what it demands (RFC 9110, 13.2.1).
        self.is_dry_run()?;
        let lock = self.api.resource_locks.lock(&format!("{}/{name}", P::NOUN)).await;
        if self.condition == Condition::None {
            return Ok(lock);
        }
        Allowed::<P>::demand(&*self.api.ports.access, &self.parts, &Secrecy::ThingNamed(name.to_owned()))?;
        self.api.see_all().await?;
        let of_name = name.to_owned();
        let tag = self.api.threads.blocking(move |ports| tag_of_thing(read(ports, &of_name)?)).await??;
        self.condition.demand(tag.as_deref(), P::THING, name)?;
        Ok(lock)
    }

    /// Adds the `ETag` that a read of the thing has now to the answer of a write, so that the next write can be conditional. `read` returns the
    /// thing as the write at that position left it; none if it was changed since. The answer has no tag in that case, or if the thing cannot
    /// be read in time: the write is done all the same.
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

    /// Gives what it demands of the thing that it changes.
    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Says whether its caller wants to know only whether it would be done.
    pub(crate) fn is_dry_run(&self) -> Result<bool, Problem> {
        Ok(self.query.one_of("dry_run", &[("true", true), ("false", false)])?.unwrap_or(false))
    }

    /// Has what is asked checked against everything that it would be, and answers that it would be done.
    pub(crate) async fn check(&self, by: OnBehalf, ask: Ask) -> Outcome {
        self.api.submit(OnBehalf { request: None, ..by }, Ask::Check(Box::new(ask))).await?;
        Ok(respond::checked())
    }

    /// Says whether it has a key: then the answer shows what was so at its own position, as each repeat of it will.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed.is_some()
    }

    /// Says on whose behalf, and under which key, what comes of the request is done. It is a bug to ask before its body is read.
    pub(crate) fn on_behalf<P: Permission>(&self, allowed: &Allowed<P>) -> Result<OnBehalf, Problem> {
        let request = self.keyed.as_ref().map(Keyed::request).transpose()?;
        Ok(OnBehalf { request, ..allowed.on_behalf(&self.context) })
    }

    /// Gives back the room of the body, and lets a repeat in: what came of the request is in the log by now, and it may still last.
    pub(crate) fn let_go(&mut self) {
        self.admitted = None;
        if let Some(keyed) = &mut self.keyed {
            keyed.let_go();
        }
    }

    /// Reads the body as JSON of a shape.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        body::demand_json(&self.parts.headers)?;
        body::parse(&self.bytes().await?)
    }

    /// Reads the body as JSON of a shape, or gives the default where there is none.
    pub(crate) async fn json_or_nothing<T: DeserializeOwned + Default>(&mut self) -> Result<T, Problem> {
        let body = self.bytes().await?;
        if body.is_empty() {
            return Ok(T::default());
        }
        body::demand_json(&self.parts.headers)?;
        body::parse(&body)
    }
}

/// Returns the tag of a thing as it is read; none where there is none.
fn tag_of_thing<T: Serialize>(thing: Option<T>) -> Result<Option<String>, Problem> {
    thing.map(|thing| Ok(tag_of(&respond::bytes(&thing)?))).transpose()
}

/// A body that says nothing: `{}`, or no body at all.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Chooses among what a path gives by `Accept` (RFC 9110 §12.5.1): the caller's order of weight, then the path's own.
pub(crate) fn accepted(headers: &HeaderMap, given: &'static [&'static str]) -> Result<&'static str, Problem> {
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
        // The most specific range counts, whatever the others say.
        ranges
            .iter()
            .filter(|(range, _)| fits(range))
            .max_by_key(|(range, _)| (!range.ends_with('*'), range != "*/*"))
            .map_or(0, |(_, weight)| *weight)
    };
    let best = given.iter().copied().rev().max_by_key(|media| weight(media)).filter(|media| weight(media) > 0);
    best.ok_or_else(|| Problem::not_acceptable(&given.join(", ")))
}

/// A media range and its weight in thousandths.
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

    fn chosen(accept: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        accepted(&headers, GIVEN).ok()
    }

    #[test]
    fn accept_of_anything_gets_the_first_media_type() {
        assert_eq!(accepted(&HeaderMap::new(), GIVEN).unwrap(), "application/json");
        for accept in ["*/*", "application/*", "application/json, */*;q=0.1", "text/html, */*;q=0.8"] {
            assert_eq!(chosen(accept), Some("application/json"), "{accept}");
        }
    }

    #[test]
    fn media_type_preferred_by_the_caller_is_chosen() {
        assert_eq!(chosen("text/event-stream"), Some("text/event-stream"));
        assert_eq!(chosen("text/plain, application/json;q=0.5"), Some("text/plain"));
        assert_eq!(chosen("text/*;q=0.5, application/json;q=0.2"), Some("text/plain"));
    }

    #[test]
    fn excluded_or_unknown_media_type_is_not_chosen() {
        assert_eq!(chosen("application/xml"), None);
        assert_eq!(chosen("application/json;q=0"), None);
        assert_eq!(chosen("application/json;q=0, */*"), Some("text/plain"));
    }
}
