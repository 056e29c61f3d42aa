//! The routes of the API, noun by noun, and how they are declared.
//!
//! Each route is declared next to its handler, with its path, its method, the permission that it requires, and
//! its documentation. The permission is enforced by the handler's argument type: a handler that does not take
//! `AllowedCaller` of that very permission does not compile. The closed list [`Public`] names the public routes.

mod actions;
mod artifacts;
pub(crate) mod audit;
mod backfill;
mod backtests;
mod bulk;
pub(crate) mod changes;
mod compare;
mod connections;
mod consent;
mod control;
pub(crate) mod counts;
mod dead_letters;
mod devices;
mod docs;
mod enforcements;
pub(crate) mod event_verdicts;
mod events;
mod executions;
mod grants;
mod graph;
mod guard;
mod health;
pub(crate) mod hooks;
mod identities;
mod inquiries;
mod installed_packs;
mod judgements;
mod keys;
mod locks;
pub(crate) mod log;
mod login_attempts;
mod logins;
mod logs;
mod me;
mod node;
mod now;
mod pack_files;
mod passwords;
mod queues;
mod replays;
mod reruns;
mod roles;
mod rules;
mod run_many;
pub(crate) mod search;
mod sensor_runs;
mod sensor_tests;
pub(crate) mod series;
mod sessions;
mod spans;
pub(crate) mod streams;
mod timers;
mod tokens;
pub(crate) mod traces;
pub(crate) mod usage;
mod vars;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use crate::api::Api;
use crate::auth::{AllowedCaller, KnownCaller, Proof};
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::Permission;
use crate::problem::{NoSuchPath, Outcome, Problem};
use crate::quotas::Caller;

use self::guard::{Guard, PendingOutcome};

pub use crate::route::{BASE, Demand, INQUIRIES, Public, Route};

/// Declares all routes, noun by noun. The OpenAPI document numbers the problems of each status in this order.
fn declare(routes: &mut Routes) {
    hooks::declare_door(routes);
    events::declare(routes);
    enforcements::declare(routes);
    executions::declare(routes);
    graph::declare(routes);
    spans::declare(routes);
    compare::declare(routes);
    counts::declare(routes);
    changes::declare(routes);
    now::declare(routes);
    search::declare(routes);
    series::declare(routes);
    logs::declare(routes);
    streams::declare_of_execution(routes);
    artifacts::declare(routes);
    bulk::declare(routes);
    run_many::declare(routes);
    replays::declare(routes);
    control::declare(routes);
    reruns::declare(routes);
    control::declare_settling(routes);
    inquiries::declare(routes);
    traces::declare(routes);
    installed_packs::declare_packs(routes);
    pack_files::declare(routes);
    actions::declare(routes);
    installed_packs::declare_triggers_and_sensors(routes);
    sensor_runs::declare(routes);
    connections::declare(routes);
    sensor_tests::declare(routes);
    rules::declare(routes);
    backfill::declare(routes);
    backtests::declare_start(routes);
    rules::declare_judging(routes);
    backtests::declare(routes);
    judgements::declare(routes);
    timers::declare(routes);
    locks::declare(routes);
    queues::declare(routes);
    hooks::declare(routes);
    vars::declare(routes);
    keys::declare(routes);
    tokens::declare(routes);
    me::declare(routes);
    usage::declare(routes);
    sessions::declare(routes);
    logins::declare(routes);
    consent::declare(routes);
    devices::declare(routes);
    passwords::declare(routes);
    identities::declare(routes);
    roles::declare(routes);
    grants::declare(routes);
    audit::declare(routes);
    log::declare(routes);
    streams::declare_of_log(routes);
    log::declare_records(routes);
    node::declare_rebuilding(routes);
    health::declare_parked(routes);
    dead_letters::declare(routes);
    health::declare_clock(routes);
    node::declare(routes);
    docs::declare(routes);
}

/// A handler for requests of callers with the proof `A`.
pub(crate) trait Handler<A>: Clone + Send + Sync + 'static {
    /// Answers the request.
    fn handle(self, proof: A, call: Call) -> impl Future<Output = Outcome> + Send + 'static;
}

impl<A, F, Answer> Handler<A> for F
where
    F: Fn(A, Call) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Outcome> + Send + 'static,
{
    fn handle(self, proof: A, call: Call) -> impl Future<Output = Outcome> + Send + 'static {
        self(proof, call)
    }
}

/// The routes that are being added to a router.
struct Routes {
    api: Arc<Api>,
    router: Router,
    table: Vec<Route>,
}

/// Creates the router and the table of its routes.
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
    fn get<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::GET, format!("{BASE}{path}"), handler, operation);
    }

    /// Declares a GET route outside of the API's own paths.
    fn get_outside<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::GET, path.to_owned(), handler, operation);
    }

    fn post<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::POST, format!("{BASE}{path}"), handler, operation);
    }

    fn options<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::OPTIONS, format!("{BASE}{path}"), handler, operation);
    }

    fn put<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::PUT, format!("{BASE}{path}"), handler, operation);
    }

    fn delete<P: Permission>(&mut self, path: &'static str, handler: impl Handler<AllowedCaller<P>>, operation: Operation) {
        self.with_permission(Method::DELETE, format!("{BASE}{path}"), handler, operation);
    }

    /// Declares a route for every caller with a valid token.
    fn for_any_caller(&mut self, method: Method, path: &'static str, handler: impl Handler<KnownCaller>, operation: Operation) {
        self.add_guarded(method, format!("{BASE}{path}"), Demand::Token, handler, operation);
    }

    fn with_permission<P: Permission>(
        &mut self,
        method: Method,
        path: String,
        handler: impl Handler<AllowedCaller<P>>,
        operation: Operation,
    ) {
        // A permission that can be limited is honored as such on each of its routes.
        let demands = Demand::Permission { noun: P::IS.noun(), verb: P::IS.verb(), name: P::IS.name() };
        self.add_guarded(method, path, demands, handler, operation);
    }

    fn add_guarded<A: Proof>(&mut self, method: Method, path: String, demands: Demand, handler: impl Handler<A>, operation: Operation) {
        let guard = Arc::new(Guard::new(self.api.clone(), &method, demands, operation, handler));
        let answer = move |params: RawPathParams, request: Request| {
            let guard = Arc::clone(&guard);
            async move { guard.answer(params, request).await }
        };
        let filter = MethodFilter::try_from(method.clone()).expect("the methods declared here are ones that axum routes");
        self.router = std::mem::take(&mut self.router).route(&path, on(filter, answer));
        self.table.push(Route { method, path, demands, operation });
    }

    fn public<F, Answer>(&mut self, public: Public, handler: F, operation: Operation)
    where
        F: Fn(Call) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Outcome> + Send + 'static,
    {
        let api = self.api.clone();
        // Without its type, so that what surrounds it is compiled once.
        let handler: Arc<dyn Fn(Call) -> PendingOutcome + Send + Sync> = Arc::new(move |call| Box::pin(handler(call)));
        let answer = move |params: RawPathParams, request: Request| {
            let (api, handler) = (api.clone(), handler.clone());
            async move { handler(Call::new(api, &operation, &params, Caller::Nobody, request)?).await }
        };
        let filter = MethodFilter::try_from(public.method()).expect("the methods of public routes are ones that axum routes");
        self.router = std::mem::take(&mut self.router).route(public.path(), on(filter, answer));
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing, operation });
    }

    /// Lists an operation that is answered before the router runs.
    fn in_front(&mut self, public: Public, operation: Operation) {
        self.table.push(Route { method: public.method(), path: public.path().to_owned(), demands: Demand::Nothing, operation });
    }
}
