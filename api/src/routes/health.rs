//! Problems that wait for an operator: parked reactions (list, show, retry, dismiss).
//!
//! The core decides why a reaction is parked, and what a retry does.

use ensue_engine::command::Ask;
use ensue_engine::record::Position;
use ensue_views::ParkedReaction;
use ensue_views::RowReach;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::{Call, Nothing};
use crate::listing::{self, SortQuery};
use crate::operation::{Conditional, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{ClockAccept, ParkedReactionsRead, ParkedReactionsSettle, Permission as _};
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::rows::read_row;
use crate::wire::health::{WireClockAccepted, WireDecided, WireDecision, WireParkedReaction};

/// Declares the routes of parked reactions.
pub(super) fn declare_parked(routes: &mut Routes) {
    routes.get::<ParkedReactionsRead>(
        "/parked_reactions",
        list_parked,
        Operation::lists::<WireParkedReaction>(
            "parked_reaction_list",
            "Lists the parked reactions, newest first",
            &[PeriodQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<ParkedReactionsRead>(
        "/parked_reactions/{position}",
        parked_one,
        Operation::shows::<WireParkedReaction>("parked_reaction_get", "Returns a parked reaction").sees_views(),
    );
    routes.post::<ParkedReactionsSettle>(
        "/parked_reactions/{position}/retry",
        retry,
        Operation::new("parked_reaction_retry", "Retries a parked reaction")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireDecided>(202, "The reaction is being retried.", WRITTEN)
            .honors_conditions(Conditional::Change),
    );
    routes.post::<ParkedReactionsSettle>(
        "/parked_reactions/{position}/dismiss",
        dismiss,
        Operation::new("parked_reaction_dismiss", "Dismisses a parked reaction permanently")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireDecided>(200, "The reaction is dismissed.", WRITTEN)
            .honors_conditions(Conditional::Change),
    );
}

/// Declares the route that accepts a clock jump.
pub(super) fn declare_clock(routes: &mut Routes) {
    routes.post::<ClockAccept>(
        "/clock/accept",
        accept_clock,
        Operation::new("clock_accept", "Accepts the clock after it stepped far forward: due timers no longer wait")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireClockAccepted>(200, "Timers no longer wait for a step of the clock.", WRITTEN),
    );
}

/// Lists the parked reactions, newest first.
pub(super) async fn list_parked(allowed: AllowedCaller<ParkedReactionsRead>, call: Call) -> Outcome {
    let listed = listing::rows::<ParkedReaction, _>(&call, &allowed, Vec::new()).await?;
    let items = listed.items.into_iter().map(WireParkedReaction::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a parked reaction.
pub(super) async fn parked_one(_: AllowedCaller<ParkedReactionsRead>, call: Call) -> Outcome {
    let of = owed_to(&call)?;
    let parked: ParkedReaction = call.api().row(of.to_string(), ParkedReactionsRead::THING, RowReach::Everything).await?;
    respond::json(&WireParkedReaction::from(parked))
}

/// Reads what [`parked_one`] shows. Blocking.
fn read(ports: &Ports, of: &str) -> Result<Option<WireParkedReaction>, Problem> {
    Ok(read_row::<ParkedReaction>(ports, of)?.map(WireParkedReaction::from))
}

/// Retries a parked reaction.
pub(super) async fn retry(allowed: AllowedCaller<ParkedReactionsSettle>, mut call: Call) -> Outcome {
    let of = owed_to(&call)?;
    if let Some((before, _)) = call.before().await? {
        return answer_decision(WireDecision::Retry, of, before.position);
    }
    let Nothing {} = call.json_or_nothing().await?;
    decide(&call, call.on_behalf(&allowed)?, of, WireDecision::Retry).await
}

/// Dismisses a parked reaction.
pub(super) async fn dismiss(allowed: AllowedCaller<ParkedReactionsSettle>, mut call: Call) -> Outcome {
    let of = owed_to(&call)?;
    if let Some((before, _)) = call.before().await? {
        return answer_decision(WireDecision::Dismiss, of, before.position);
    }
    let Nothing {} = call.json_or_nothing().await?;
    decide(&call, call.on_behalf(&allowed)?, of, WireDecision::Dismiss).await
}

/// Accepts the system clock: if no clock jump holds anything back, this changes nothing.
pub(super) async fn accept_clock(allowed: AllowedCaller<ClockAccept>, mut call: Call) -> Outcome {
    if let Some((before, _)) = call.before().await? {
        return answer_accepted(before.position);
    }
    let Nothing {} = call.json_or_nothing().await?;
    let by = call.on_behalf(&allowed)?;
    if call.is_dry_run()? {
        return call.check(by, Ask::AcceptClock).await;
    }
    answer_accepted(call.api().submit(by, Ask::AcceptClock).await?.position)
}

fn answer_accepted(position: Position) -> Outcome {
    respond::answer_write(WriteOutcome::Done, position, &WireClockAccepted { position })
}

fn owed_to(call: &Call) -> Result<Position, Problem> {
    call.parse_part::<u64>("position", ParkedReactionsRead::THING).map(Position)
}

async fn decide(call: &Call, by: OnBehalf, of: Position, decision: WireDecision) -> Outcome {
    let ask = match decision {
        WireDecision::Retry => Ask::RetryReaction { of },
        WireDecision::Dismiss => Ask::DismissReaction { of },
    };
    let lock = call.lock::<ParkedReactionsRead, _>(&of.to_string(), read).await?;
    if call.is_dry_run()? {
        return call.check(by, ask).await;
    }
    let committed = call.api().submit_locked(lock, by, ask).await?;
    answer_decision(decision, of, committed.position)
}

fn answer_decision(decided: WireDecision, of: Position, position: Position) -> Outcome {
    let how = match decided {
        WireDecision::Retry => WriteOutcome::Accepted,
        WireDecision::Dismiss => WriteOutcome::Done,
    };
    respond::answer_write(how, position, &WireDecided { of, decided })
}
