//! Backtests: what a rule would have done with past events, in one request or as something that continues without one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ensue_engine::ids::Id;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::deliveries;
use crate::operation::{Content, Header, HonoredHeader, Operation};
use crate::permissions::{BacktestsRun, EventsRead, RulesRead};
use crate::ports::{Patience, Ports, Progress, ToBacktest};
use crate::problem::{Missing, Outcome, Problem};
use crate::respond;
use crate::route::BASE;
use crate::wire::backtests::{WireBacktest, WireRunningBacktest, WireToBacktest};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The preference of callers that do not wait for the end (RFC 7240 §4.1).
const RESPOND_ASYNC: &str = "respond-async";
const THING: &str = "backtest";

/// Declares the route that starts a backtest.
pub(super) fn declare_start(routes: &mut Routes) {
    routes.post::<BacktestsRun>(
        "/rules/backtest",
        start,
        Operation::new("rule_backtest", "Compares what a rule would have done with past events to what happened")
            .passes_keys_over()
            .honors(&[HonoredHeader::PreferAsync])
            .takes_json::<WireToBacktest>(r#"{"rule": "demo.greet", "since": "2026-01-01T00:00:00Z"}"#)
            .gives::<WireBacktest>(200, "The result of the backtest.", &[])
            .gives::<WireRunningBacktest>(
                202,
                "The backtest continues without the request, because the caller prefers that.",
                &[Header::Location, Header::PreferenceApplied],
            )
            .refuses(&[(404, "not_found"), (422, "rule_invalid"), (422, "takes_too_long"), (429, "over_share")]),
    );
}

/// Declares the routes of backtests that continue without a request.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<BacktestsRun>(
        "/backtests/{id}",
        get,
        Operation::shows::<WireRunningBacktest>("backtest_get", "Returns how far a backtest of the caller has come, and what it has found"),
    );
    routes.delete::<BacktestsRun>(
        "/backtests/{id}",
        stop,
        Operation::new("backtest_stop", "Stops a backtest of the caller, and forgets its result").gives_content(
            204,
            "It has stopped, and is forgotten.",
            Content::Nothing,
            &[],
        ),
    );
}

/// The result reveals both the rule and the events.
fn demand_what_it_reveals(call: &Call) -> Result<(), Problem> {
    AllowedCaller::<EventsRead>::demand_whole(&*call.api().ports.access, call.request())?;
    AllowedCaller::<RulesRead>::demand_whole(&*call.api().ports.access, call.request())?;
    Ok(())
}

/// Returns what a rule would have done with past events, or starts to find that out.
pub(super) async fn start(allowed: AllowedCaller<BacktestsRun>, mut call: Call) -> Outcome {
    demand_what_it_reveals(&call)?;
    let is_async = prefers_async(call.headers());
    let asked: WireToBacktest = call.json().await?;
    let asked = ToBacktest::from(asked);
    let (api, owner) = (call.api(), allowed.caller());
    if !is_async {
        let work = move |ports: &Ports, patience: &Patience| ports.backtests.backtest(&asked, patience, &Progress::without_reader());
        return respond::json(&WireBacktest::from(api.threads.rehearsing(&owner, work).await??));
    }
    let now = deliveries::now();
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).map_err(|why| Problem::bug(&why))?;
    let id = Id::root(now, u128::from_le_bytes(entropy));
    let running = api.backtests.start(&api.threads, (id, owner, now), asked)?;
    let mut response = respond::under_way(&WireRunningBacktest::of(&running))?;
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    Ok(respond::with_location(response, &format!("{BASE}/backtests/{id}")))
}

/// Returns true if the caller prefers an answer before the end.
fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split([',', ';']));
    preferences.into_iter().any(|preference| preference.trim().eq_ignore_ascii_case(RESPOND_ASYNC))
}

/// Shows a backtest of the caller.
pub(super) async fn get(allowed: AllowedCaller<BacktestsRun>, call: Call) -> Outcome {
    demand_what_it_reveals(&call)?;
    let id: Id = call.parse_part("id", THING)?;
    let found = call.api().backtests.of(&allowed.caller(), id);
    respond::json(&WireRunningBacktest::of(&*found.ok_or_else(|| Missing::new(THING, call.part("id")))?))
}

/// Stops a backtest of the caller.
pub(super) async fn stop(allowed: AllowedCaller<BacktestsRun>, call: Call) -> Outcome {
    let id: Id = call.parse_part("id", THING)?;
    call.api().backtests.stop(&allowed.caller(), id).ok_or_else(|| Missing::new(THING, call.part("id")))?;
    Ok(respond::nothing())
}
