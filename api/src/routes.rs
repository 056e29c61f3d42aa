//! The routes: every path, its method, and what it demands of its caller, on one page.
//!
//! A permission stands in a route's declaration and is demanded by the type of what its handler gets: a handler that does not
//! take `Allowed` of that very permission does not compile. What is public is the closed list [`Public`].

mod actions;
mod artifacts;
mod backfill;
mod bulk;
mod dead_letters;
mod docs;
mod enforcements;
mod events;
mod executions;
mod health;
pub(crate) mod hooks;
mod inquiries;
mod installed;
pub(crate) mod judged;
mod keys;
mod locks;
mod log;
mod logs;
mod node;
mod operations;
mod queues;
mod replays;
mod reruns;
mod rules;
mod streams;
mod timers;
mod tokens;
mod traces;
mod vars;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::http::{Method, header};
use axum::routing::{MethodFilter, on};

use crate::api::Api;
use crate::auth::{Allowed, Secrecy};
use crate::call::Call;
use crate::operation::{Operation, Sight};
use crate::permissions::{
    ActionsExecute, ActionsRead, ArtifactsRead, BacktestsRun, ClockAccept, DeadLettersRead, DeadLettersSettle, EnforcementsRead,
    EventsRead, EventsWrite, ExecutionsCancel, ExecutionsPause, ExecutionsRead, ExecutionsRerun, ExecutionsSettle, HooksRead, HooksSend,
    InquiriesAnswer, InquiriesCancel, InquiriesRead, KeysRead, KeysWrite, LocksRead, LogRead, LogVerify, MetricsRead, NodeRead, PacksRead,
    ParkedReactionsRead, ParkedReactionsSettle, Permission, QueuesRead, ReplaysRun, RulesRead, RulesWrite, SensorsRead, TimersRead,
    TokensRead, TokensWrite, TracesRead, TriggersRead, VarsRead, VarsWrite, ViewsRead, ViewsRebuild,
};
use crate::problem::{NoSuchPath, Outcome, Problem};
use crate::quotas::Caller;
use crate::rates::{self, Class};
use crate::route::{is_keyed, is_write};
use crate::tags;

pub use crate::route::{BASE, Demand, INQUIRIES, Public, Route};

fn declare(routes: &mut Routes) {
    routes.in_front(Public::Hook, &operations::HOOK_RECEIVE);
    routes.in_front(Public::HookConsent, &operations::HOOK_CONSENT);
    routes.post::<EventsWrite>("/events", &operations::EVENT_SEND, events::send);
    routes.options::<EventsWrite>("/events", &operations::EVENT_CONSENT, events::consent);
    routes.get::<EventsRead>("/events", &operations::EVENT_LIST, events::list);
    routes.get::<EventsRead>("/events/{id}", &operations::EVENT_GET, events::get);
    routes.get::<EventsRead>("/events/{id}/rules", &operations::EVENT_RULES, events::rules);

    routes.get::<EnforcementsRead>("/enforcements", &operations::ENFORCEMENT_LIST, enforcements::list);
    routes.get::<EnforcementsRead>("/enforcements/{id}", &operations::ENFORCEMENT_GET, enforcements::get);

    routes.get::<ExecutionsRead>("/executions", &operations::EXECUTION_LIST, executions::list);
    routes.get::<ExecutionsRead>("/executions/{id}", &operations::EXECUTION_GET, executions::get);
    routes.get::<ExecutionsRead>("/executions/{id}/attempts", &operations::EXECUTION_ATTEMPTS, executions::attempts);
    routes.get::<ExecutionsRead>("/executions/{id}/timeline", &operations::EXECUTION_TIMELINE, executions::timeline);
    routes.get::<ExecutionsRead>("/executions/{id}/logs", &operations::EXECUTION_LOGS, logs::get);
    routes.get::<ExecutionsRead>("/executions/{id}/stream", &operations::EXECUTION_STREAM, streams::execution);
    routes.get::<ArtifactsRead>("/executions/{id}/artifacts", &operations::ARTIFACT_LIST, artifacts::list);
    routes.get::<ArtifactsRead>("/executions/{id}/artifacts/{artifact}", &operations::ARTIFACT_GET, artifacts::get);
    routes.post::<ExecutionsCancel>("/executions/cancel", &operations::EXECUTIONS_CANCEL, bulk::cancel);
    routes.post::<ExecutionsPause>("/executions/pause", &operations::EXECUTIONS_PAUSE, bulk::pause);
    routes.post::<ExecutionsPause>("/executions/resume", &operations::EXECUTIONS_RESUME, bulk::resume);
    routes.post::<ExecutionsRerun>("/executions/rerun", &operations::EXECUTIONS_RERUN, bulk::rerun);
    routes.post::<ReplaysRun>("/executions/replay", &operations::EXECUTION_REPLAY, replays::replay);
    routes.post::<ExecutionsCancel>("/executions/{id}/cancel", &operations::EXECUTION_CANCEL, executions::cancel);
    routes.post::<ExecutionsPause>("/executions/{id}/pause", &operations::EXECUTION_PAUSE, executions::pause);
    routes.post::<ExecutionsPause>("/executions/{id}/resume", &operations::EXECUTION_RESUME, executions::resume);
    routes.post::<ExecutionsRerun>("/executions/{id}/rerun", &operations::EXECUTION_RERUN, reruns::rerun);
    routes.post::<ExecutionsSettle>("/executions/{id}/settle", &operations::EXECUTION_SETTLE, executions::settle);

    routes.get::<InquiriesRead>("/inquiries", &operations::INQUIRY_LIST, inquiries::list);
    routes.get::<InquiriesRead>("/inquiries/{id}", &operations::INQUIRY_GET, inquiries::get);
    routes.post::<InquiriesAnswer>("/inquiries/{id}/respond", &operations::INQUIRY_RESPOND, inquiries::respond);
    routes.post::<InquiriesCancel>("/inquiries/{id}/cancel", &operations::INQUIRY_CANCEL, inquiries::cancel);

    routes.get::<TracesRead>("/trace/{id}", &operations::TRACE_GET, traces::get);

    routes.get::<PacksRead>("/packs", &operations::PACK_LIST, installed::packs);
    routes.get::<PacksRead>("/packs/{pack}", &operations::PACK_GET, installed::pack);
    routes.get::<ActionsRead>("/actions", &operations::ACTION_LIST, actions::list);
    routes.get::<ActionsRead>("/actions/{ref}", &operations::ACTION_GET, actions::get);
    routes.post::<ActionsExecute>("/actions/{ref}/execute", &operations::ACTION_EXECUTE, actions::execute);
    routes.get::<TriggersRead>("/triggers", &operations::TRIGGER_LIST, installed::triggers);
    routes.get::<TriggersRead>("/triggers/{ref}", &operations::TRIGGER_GET, installed::trigger);
    routes.get::<SensorsRead>("/sensors", &operations::SENSOR_LIST, installed::sensors);
    routes.get::<SensorsRead>("/sensors/{ref}", &operations::SENSOR_GET, installed::sensor);
    routes.get::<RulesRead>("/rules", &operations::RULE_LIST, rules::list);
    routes.get::<RulesRead>("/rules/{ref}", &operations::RULE_GET, rules::get);
    routes.post::<RulesWrite>("/rules/{ref}/backfill", &operations::RULE_BACKFILL, backfill::backfill);
    routes.post::<BacktestsRun>("/rules/backtest", &operations::RULE_BACKTEST, rules::backtest);
    routes.post::<RulesRead>("/rules/{ref}/explain", &operations::RULE_EXPLAIN, rules::explain);
    routes.post::<RulesWrite>("/rules/{ref}/enable", &operations::RULE_ENABLE, rules::enable);
    routes.post::<RulesWrite>("/rules/{ref}/disable", &operations::RULE_DISABLE, rules::disable);
    routes.post::<RulesWrite>("/rules/{ref}/shadow", &operations::RULE_SHADOW, rules::shadow);

    routes.get::<TimersRead>("/timers", &operations::TIMER_LIST, timers::list);
    routes.get::<LocksRead>("/locks", &operations::LOCK_LIST, locks::list);
    routes.get::<QueuesRead>("/queues", &operations::QUEUE_LIST, queues::list);

    routes.get::<HooksRead>("/hooks", &operations::HOOK_LIST, hooks::list);
    routes.get::<HooksRead>("/hooks/{pack}/{sensor}", &operations::HOOK_GET, hooks::get);
    routes.post::<HooksSend>("/hooks/{pack}/{sensor}/send", &operations::HOOK_SEND, hooks::send);

    routes.get::<VarsRead>("/vars", &operations::VAR_LIST, vars::list);
    routes.get::<VarsRead>("/vars/{name}", &operations::VAR_GET, vars::get);
    routes.put::<VarsWrite>("/vars/{name}", &operations::VAR_SET, vars::set);
    routes.delete::<VarsWrite>("/vars/{name}", &operations::VAR_REMOVE, vars::remove);
    routes.get::<KeysRead>("/keys", &operations::KEY_LIST, keys::list);
    routes.get::<KeysRead>("/keys/{ref}", &operations::KEY_GET, keys::get);
    routes.put::<KeysWrite>("/keys/{ref}", &operations::KEY_SET, keys::set);
    routes.delete::<KeysWrite>("/keys/{ref}", &operations::KEY_REMOVE, keys::remove);
    routes.get::<TokensRead>("/tokens", &operations::TOKEN_LIST, tokens::list);
    routes.get::<TokensRead>("/tokens/{name}", &operations::TOKEN_GET, tokens::get);
    routes.post::<TokensWrite>("/tokens", &operations::TOKEN_ADD, tokens::add);
    routes.delete::<TokensWrite>("/tokens/{name}", &operations::TOKEN_REVOKE, tokens::revoke);

    routes.get::<LogRead>("/log", &operations::LOG_LIST, log::list);
    routes.get::<LogRead>("/log/head", &operations::LOG_HEAD, log::head);
    routes.get::<LogRead>("/log/stream", &operations::LOG_STREAM, streams::log);
    routes.get::<LogRead>("/log/{position}", &operations::LOG_GET, log::get);
    routes.get::<LogRead>("/log/verify", &operations::LOG_VERIFICATION, log::verification);
    routes.post::<LogVerify>("/log/verify", &operations::LOG_VERIFY, log::verify);
    routes.get::<ViewsRead>("/views/rebuild", &operations::VIEWS_REBUILDING, node::rebuild_state);
    routes.post::<ViewsRebuild>("/views/rebuild", &operations::VIEWS_REBUILD, node::rebuild);
    routes.get::<ParkedReactionsRead>("/parked_reactions", &operations::PARKED_LIST, health::parked);
    routes.get::<ParkedReactionsRead>("/parked_reactions/{position}", &operations::PARKED_GET, health::parked_one);
    routes.post::<ParkedReactionsSettle>("/parked_reactions/{position}/retry", &operations::PARKED_RETRY, health::retry);
    routes.post::<ParkedReactionsSettle>("/parked_reactions/{position}/dismiss", &operations::PARKED_DISMISS, health::dismiss);
    routes.get::<DeadLettersRead>("/dead_letters", &operations::DEAD_LETTER_LIST, dead_letters::list);
    routes.get::<DeadLettersRead>("/dead_letters/{id}", &operations::DEAD_LETTER_GET, dead_letters::get);
    routes.post::<DeadLettersSettle>("/dead_letters/{id}/retry", &operations::DEAD_LETTER_RETRY, dead_letters::retry);
    routes.post::<DeadLettersSettle>("/dead_letters/{id}/dismiss", &operations::DEAD_LETTER_DISMISS, dead_letters::dismiss);
    routes.post::<DeadLettersSettle>("/dead_letters/retry", &operations::DEAD_LETTERS_RETRY, dead_letters::retry_many);
    routes.post::<DeadLettersSettle>("/dead_letters/dismiss", &operations::DEAD_LETTERS_DISMISS, dead_letters::dismiss_many);
    routes.post::<ClockAccept>("/clock/accept", &operations::CLOCK_ACCEPT, health::accept_clock);

    routes.get::<NodeRead>("/status", &operations::NODE_STATUS, node::status);
    routes.get::<NodeRead>("/doctor", &operations::NODE_DOCTOR, node::doctor);
    routes.get_outside::<MetricsRead>("/metrics", &operations::NODE_METRICS, node::metrics);

    routes.public(Public::Livez, &operations::NODE_LIVEZ, node::livez);
    routes.public(Public::Health, &operations::NODE_HEALTH, node::livez);
    routes.public(Public::Readyz, &operations::NODE_READYZ, node::readyz);
    routes.public(Public::Ready, &operations::NODE_READY, node::readyz);
    routes.public(Public::Status, &operations::NODE_PUBLIC_STATUS, node::public_status);
    routes.public(Public::ErrorPages, &operations::ERROR_LIST, docs::index);
    routes.public(Public::ErrorPage, &operations::ERROR_GET, docs::error);
    routes.public(Public::Docs, &operations::DOCS_GET, docs::reference);
    routes.public(Public::OpenApi, &operations::OPENAPI_GET, docs::openapi);
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
    fn get<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::GET, format!("{BASE}{path}"), operation, handler);
    }

    /// Declares what is read at a path outside of the API's own.
    fn get_outside<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::GET, path.to_owned(), operation, handler);
    }

    fn post<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::POST, format!("{BASE}{path}"), operation, handler);
    }

    fn options<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::OPTIONS, format!("{BASE}{path}"), operation, handler);
    }

    fn put<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::PUT, format!("{BASE}{path}"), operation, handler);
    }

    fn delete<P: Permission>(&mut self, path: &'static str, operation: &'static Operation, handler: impl Handler<P>) {
        self.guarded(Method::DELETE, format!("{BASE}{path}"), operation, handler);
    }

    fn guarded<P: Permission>(&mut self, method: Method, path: String, operation: &'static Operation, handler: impl Handler<P>) {
        let api = self.api.clone();
        let (may_be_keyed, is_read, is_write) = (is_keyed(&method, operation), method == Method::GET, is_write(&method));
        let class = if is_write { Class::Writes } else { Class::Reads };
        let answer = move |params: RawPathParams, request: Request| {
            let (api, handler) = (api.clone(), handler.clone());
            async move {
                let (parts, body) = request.into_parts();
                let allowed = Allowed::<P>::demand(&*api.ports.access, &parts, &secrecy(&params))?;
                let caller = Caller::Token(allowed.name().to_owned());
                let counted = api.rates.count(class, || caller.clone());
                let asked = async {
                    counted.map_or(Ok(()), |standing| standing.demand())?;
                    let known: Vec<_> = match is_read {
                        true => parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
                        false => Vec::new(),
                    };
                    let mut call = Call::new(api, operation, &params, caller, Request::from_parts(parts, body))?;
                    if is_write {
                        call.take_condition(operation.conditional)?;
                    }
                    if may_be_keyed {
                        call.take_key(&allowed).await?;
                    }
                    match operation.sight {
                        Sight::OfViews => call.see().await?,
                        Sight::None => {}
                    }
                    let response = handler.handle(allowed, call).await?;
                    if is_read { tags::tagged(response, &known).await } else { Ok(response) }
                };
                rates::standing(counted, asked.await)
            }
        };
        let filter = MethodFilter::try_from(method.clone()).expect("the methods declared here are ones that axum routes");
        self.router = std::mem::take(&mut self.router).route(&path, on(filter, answer));
        self.table.push(Route { method, path, demands: Demand::Permission { noun: P::NOUN, verb: P::VERB }, operation });
    }

    fn public<F, Answer>(&mut self, public: Public, operation: &'static Operation, handler: F)
    where
        F: Fn(Call) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Outcome> + Send,
    {
        let api = self.api.clone();
        let answer = move |params: RawPathParams, request: Request| {
            let (api, handler) = (api.clone(), handler.clone());
            async move { handler(Call::new(api, operation, &params, Caller::Nobody, request)?).await }
        };
        self.router = std::mem::take(&mut self.router).route(public.path(), on(MethodFilter::GET, answer));
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing, operation });
    }

    /// Lists what is answered before the router is asked.
    fn in_front(&mut self, public: Public, operation: &'static Operation) {
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing, operation });
    }
}

/// What a path names is kept from those who may not see such things.
fn secrecy(params: &RawPathParams) -> Secrecy {
    let names: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    if names.is_empty() { Secrecy::Open } else { Secrecy::ThingNamed(names.join("/")) }
}
