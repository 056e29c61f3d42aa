//! The routes: every path, its method, and what it demands of its caller, on one page.
//!
//! A permission stands in a route's declaration and is demanded by the type of what its handler gets: a handler that does not
//! take `Allowed` of that very permission does not compile. What is public is the closed list [`Public`].

mod actions;
mod artifacts;
mod docs;
mod enforcements;
mod events;
mod executions;
mod health;
pub(crate) mod hooks;
mod installed;
mod judged;
mod keys;
mod log;
mod logs;
mod node;
mod rules;
mod tokens;
mod traces;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use crate::api::Api;
use crate::auth::{Allowed, Secrecy};
use crate::call::Call;
use crate::context::RequestContext;
use crate::intake::Caller;
use crate::permissions::{
    ActionsExecute, ActionsRead, ArtifactsRead, DeadLettersRead, EnforcementsRead, EventsRead, EventsWrite, ExecutionsCancel,
    ExecutionsRead, ExecutionsSettle, HooksRead, HooksSend, KeysRead, KeysWrite, LogRead, LogVerify, MetricsRead, NodeRead, PacksRead,
    ParkedReactionsRead, ParkedReactionsSettle, Permission, RulesRead, RulesWrite, SensorsRead, TokensRead, TokensWrite, TracesRead,
    TriggersRead, ViewsRead, ViewsRebuild,
};
use crate::problem::{NoSuchPath, Outcome, Problem};

/// Where the API stands.
pub const BASE: &str = "/api/v1";

fn declare(routes: &mut Routes) {
    routes.in_front(Public::Hook);
    routes.post::<EventsWrite>("/events", events::send);
    routes.get::<EventsRead>("/events", events::list);
    routes.get::<EventsRead>("/events/{id}", events::get);
    routes.get::<EventsRead>("/events/{id}/rules", events::rules);

    routes.get::<EnforcementsRead>("/enforcements", enforcements::list);
    routes.get::<EnforcementsRead>("/enforcements/{id}", enforcements::get);

    routes.get::<ExecutionsRead>("/executions", executions::list);
    routes.get::<ExecutionsRead>("/executions/{id}", executions::get);
    routes.get::<ExecutionsRead>("/executions/{id}/attempts", executions::attempts);
    routes.get::<ExecutionsRead>("/executions/{id}/timeline", executions::timeline);
    routes.get::<ExecutionsRead>("/executions/{id}/logs", logs::get);
    routes.get::<ArtifactsRead>("/executions/{id}/artifacts", artifacts::list);
    routes.get::<ArtifactsRead>("/executions/{id}/artifacts/{artifact}", artifacts::get);
    routes.post::<ExecutionsCancel>("/executions/{id}/cancel", executions::cancel);
    routes.post::<ExecutionsSettle>("/executions/{id}/settle", executions::settle);

    routes.get::<TracesRead>("/trace/{id}", traces::get);

    routes.get::<PacksRead>("/packs", installed::packs);
    routes.get::<PacksRead>("/packs/{pack}", installed::pack);
    routes.get::<ActionsRead>("/actions", actions::list);
    routes.get::<ActionsRead>("/actions/{ref}", actions::get);
    routes.post::<ActionsExecute>("/actions/{ref}/execute", actions::execute);
    routes.get::<TriggersRead>("/triggers", installed::triggers);
    routes.get::<TriggersRead>("/triggers/{ref}", installed::trigger);
    routes.get::<SensorsRead>("/sensors", installed::sensors);
    routes.get::<SensorsRead>("/sensors/{ref}", installed::sensor);
    routes.get::<RulesRead>("/rules", rules::list);
    routes.get::<RulesRead>("/rules/{ref}", rules::get);
    routes.post::<RulesRead>("/rules/{ref}/explain", rules::explain);
    routes.post::<RulesWrite>("/rules/{ref}/enable", rules::enable);
    routes.post::<RulesWrite>("/rules/{ref}/disable", rules::disable);
    routes.post::<RulesWrite>("/rules/{ref}/shadow", rules::shadow);

    routes.get::<HooksRead>("/hooks", hooks::list);
    routes.get::<HooksRead>("/hooks/{pack}/{sensor}", hooks::get);
    routes.post::<HooksSend>("/hooks/{pack}/{sensor}/send", hooks::send);

    routes.get::<KeysRead>("/keys", keys::list);
    routes.get::<KeysRead>("/keys/{ref}", keys::get);
    routes.put::<KeysWrite>("/keys/{ref}", keys::set);
    routes.delete::<KeysWrite>("/keys/{ref}", keys::remove);
    routes.get::<TokensRead>("/tokens", tokens::list);
    routes.post::<TokensWrite>("/tokens", tokens::add);
    routes.delete::<TokensWrite>("/tokens/{name}", tokens::revoke);

    routes.get::<LogRead>("/log", log::list);
    routes.get::<LogRead>("/log/head", log::head);
    routes.get::<LogRead>("/log/{position}", log::get);
    routes.get::<LogRead>("/log/verify", log::verification);
    routes.post::<LogVerify>("/log/verify", log::verify);
    routes.get::<ViewsRead>("/views/rebuild", node::rebuild_state);
    routes.post::<ViewsRebuild>("/views/rebuild", node::rebuild);
    routes.get::<ParkedReactionsRead>("/parked_reactions", health::parked);
    routes.get::<ParkedReactionsRead>("/parked_reactions/{position}", health::parked_one);
    routes.post::<ParkedReactionsSettle>("/parked_reactions/{position}/retry", health::retry);
    routes.post::<ParkedReactionsSettle>("/parked_reactions/{position}/dismiss", health::dismiss);
    routes.get::<DeadLettersRead>("/dead_letters", health::dead_letters);
    routes.get::<DeadLettersRead>("/dead_letters/{id}", health::dead_letter);

    routes.get::<NodeRead>("/status", node::status);
    routes.get::<NodeRead>("/doctor", node::doctor);
    routes.get_outside::<MetricsRead>("/metrics", node::metrics);

    routes.public(Public::Livez, node::livez);
    routes.public(Public::Health, node::livez);
    routes.public(Public::Readyz, node::readyz);
    routes.public(Public::Ready, node::readyz);
    routes.public(Public::Status, node::public_status);
    routes.public(Public::ErrorPages, docs::index);
    routes.public(Public::ErrorPage, docs::page);
}

/// What needs no token: nothing else ever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// Whether the process lives.
    Livez,
    /// The same, under a name that many expect.
    Health,
    /// Whether the node can serve.
    Readyz,
    /// The same, under a name that many expect.
    Ready,
    /// The webhook door: a delivery proves itself by its signature.
    Hook,
    /// The release.
    Status,
    /// The list of the pages about errors.
    ErrorPages,
    /// A page about an error.
    ErrorPage,
}

impl Public {
    /// Lists all of it.
    pub const ALL: [Self; 8] =
        [Self::Livez, Self::Health, Self::Readyz, Self::Ready, Self::Hook, Self::Status, Self::ErrorPages, Self::ErrorPage];

    /// Gives the method.
    pub fn method(self) -> Method {
        match self {
            Self::Hook => Method::POST,
            Self::Livez | Self::Health | Self::Readyz | Self::Ready | Self::Status | Self::ErrorPages | Self::ErrorPage => Method::GET,
        }
    }

    /// Gives the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Health => "/health",
            Self::Readyz => "/readyz",
            Self::Ready => "/ready",
            Self::Hook => "/hooks/{pack}/{sensor}",
            Self::Status => "/api/v1/public/status",
            Self::ErrorPages => "/docs/errors",
            Self::ErrorPage => "/docs/errors/{slug}",
        }
    }
}

/// A row of the table of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// What it demands.
    pub demands: Demand,
}

/// What a route demands of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A permission.
    Permission {
        /// What it is about.
        noun: &'static str,
        /// What may be done with it.
        verb: &'static str,
    },
}

/// What answers a request of a caller who has the permission `P`.
pub(crate) trait Handler<P>: Clone + Send + Sync + 'static {
    /// Answers.
    fn handle(self, allowed: Allowed<P>, call: Call) -> impl Future<Output = Outcome> + Send;
}

impl<P, F, Answer> Handler<P> for F
where
    F: Fn(Allowed<P>, Call) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Outcome> + Send,
{
    fn handle(self, allowed: Allowed<P>, call: Call) -> impl Future<Output = Outcome> + Send {
        self(allowed, call)
    }
}

/// The routes on their way into a router.
struct Routes {
    api: Arc<Api>,
    router: Router,
    table: Vec<Route>,
}

/// Makes the router, and the table of what it has.
pub(crate) fn router(api: Arc<Api>) -> (Router, Vec<Route>) {
    let mut routes = Routes { api, router: Router::new(), table: Vec::new() };
    declare(&mut routes);
    let router = routes
        .router
        .fallback(|| async { Problem::from(NoSuchPath) })
        .method_not_allowed_fallback(|method: Method| async move { Problem::method_not_allowed(&method) });
    (router, routes.table)
}

impl Routes {
    fn get<P: Permission>(&mut self, path: &'static str, handler: impl Handler<P>) {
        self.guarded(Method::GET, MethodFilter::GET, path, handler);
    }

    /// Declares what is read at a path outside of the API's own.
    fn get_outside<P: Permission>(&mut self, path: &'static str, handler: impl Handler<P>) {
        self.guarded_at(Method::GET, MethodFilter::GET, path.to_owned(), handler);
    }

    fn post<P: Permission>(&mut self, path: &'static str, handler: impl Handler<P>) {
        self.guarded(Method::POST, MethodFilter::POST, path, handler);
    }

    fn put<P: Permission>(&mut self, path: &'static str, handler: impl Handler<P>) {
        self.guarded(Method::PUT, MethodFilter::PUT, path, handler);
    }

    fn delete<P: Permission>(&mut self, path: &'static str, handler: impl Handler<P>) {
        self.guarded(Method::DELETE, MethodFilter::DELETE, path, handler);
    }

    fn guarded<P: Permission>(&mut self, method: Method, filter: MethodFilter, path: &'static str, handler: impl Handler<P>) {
        self.guarded_at(method, filter, format!("{BASE}{path}"), handler);
    }

    fn guarded_at<P: Permission>(&mut self, method: Method, filter: MethodFilter, path: String, handler: impl Handler<P>) {
        let api = self.api.clone();
        let answer = move |params: RawPathParams, request: Request| {
            let (api, handler) = (api.clone(), handler.clone());
            async move {
                let call = call_of(api, &params, request);
                let allowed = Allowed::<P>::demand(&*call.api().ports.access, call.request(), &secrecy(&params))?;
                let call = call.by(Caller::Token(allowed.name().to_owned()));
                handler.handle(allowed, call).await
            }
        };
        self.router = std::mem::take(&mut self.router).route(&path, on(filter, answer));
        self.table.push(Route { method, path, demands: Demand::Permission { noun: P::NOUN, verb: P::VERB } });
    }

    fn public<F, Answer>(&mut self, public: Public, handler: F)
    where
        F: Fn(Call) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Outcome> + Send,
    {
        let api = self.api.clone();
        let answer = move |params: RawPathParams, request: Request| {
            let (api, handler) = (api.clone(), handler.clone());
            async move { handler(call_of(api, &params, request)).await }
        };
        self.router = std::mem::take(&mut self.router).route(public.path(), on(MethodFilter::GET, answer));
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing });
    }

    /// Lists what is answered before the router is asked.
    fn in_front(&mut self, public: Public) {
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing });
    }
}

fn call_of(api: Arc<Api>, params: &RawPathParams, request: Request) -> Call {
    let (mut parts, body) = request.into_parts();
    let context = parts.extensions.remove::<RequestContext>().unwrap_or_else(|| RequestContext::of(&parts.headers));
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Call::new(api, context, parts, params, body)
}

/// What a path names is kept from those who may not see such things.
fn secrecy(params: &RawPathParams) -> Secrecy {
    let names: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    if names.is_empty() { Secrecy::Open } else { Secrecy::ThingNamed(names.join("/")) }
}
