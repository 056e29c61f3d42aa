//! Dead letters: what gave up, listed and looked at, retried and dismissed, one or many.
//!
//! An execution is retried by being run again from what failed, a delivery by being taken in as if it came now, its proof aside: that it was
//! proven when it came is why there is a letter. The core sees to it that each is dealt with once.

use std::sync::Arc;

use ensue_engine::command::{Answer, Ask, Refusal, RequestKey, RetriedDelivery};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::ports::{HookRequest, ReadLimit};
use ensue_engine::record::{Position, Record};
use ensue_views::dead_letters::LetterStatus;
use ensue_views::executions::Status;
use ensue_views::store::Filter;
use ensue_views::{Column, DeadLetter, Execution};
use futures_util::{StreamExt as _, stream};
use thiserror::Error;

use super::reruns;
use crate::api::{Api, read_row};
use crate::auth::{Allowed, Secrecy};
use crate::call::{Call, Nothing};
use crate::listing::{self, Listed};
use crate::permissions::{DeadLettersRead, DeadLettersSettle, Permission};
use crate::ports::{OnBehalf, Ports};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::bad;
use crate::respond::{self, Written};
use crate::wire::bulk::WireRefused;
use crate::wire::embedded;
use crate::wire::executions::WireRerun;
use crate::wire::letters::{WireDeadLetter, WireDealtWith};

/// How many are asked for at once: they share commits.
const AT_ONCE: usize = 16;

/// What says which letters are meant; `status` does not, as only open ones are dealt with.
const FILTERS: [&str; 5] = ["sensor", "action", "rule", "since", "until"];

/// Why nothing is done about letters.
#[derive(Debug, Error)]
#[non_exhaustive]
enum LetterRefused {
    /// Nothing says which.
    #[error("refusing to change all dead letters: give at least one filter")]
    Unfiltered,
    /// What came with its body is not kept.
    #[error("the body of the delivery {0} was not stored, so the delivery cannot be retried")]
    NotKept(Id),
    /// What was delivered is gone.
    #[error("the body of the delivery {0} was erased")]
    Erased(Id),
}

impl Explain for LetterRefused {
    fn slug(&self) -> &'static str {
        match self {
            Self::Unfiltered => "bad-parameter",
            Self::NotKept(_) | Self::Erased(_) => "dead-letter-not-kept",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Unfiltered => Fault::Malformed,
            Self::NotKept(_) | Self::Erased(_) => Fault::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unfiltered => format!("give at least one of {}", FILTERS.map(|filter| format!("`{filter}`")).join(", ")),
            Self::NotKept(id) | Self::Erased(id) => {
                format!("have its sender send it again, or send its content as an event, and then run `ensue dead-letters dismiss {id}`")
            }
        })
    }
}

/// Lists dead letters, the newest first.
pub(super) async fn list(allowed: Allowed<DeadLettersRead>, call: Call) -> Outcome {
    let status = call.query().one_of("status", &LetterStatus::ALL.map(|status| (status.as_str(), status)))?;
    let listed = listed(&call, &allowed, status).await?;
    let items = listed.items.into_iter().map(WireDeadLetter::listed).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a dead letter with what was delivered.
pub(super) async fn get(_: Allowed<DeadLettersRead>, call: Call) -> Outcome {
    let id: Id = call.named("id", DeadLettersRead::THING)?;
    let letter: DeadLetter = call.api().row(id.to_string(), DeadLettersRead::THING).await?;
    respond::json(&call.api().blocking(move |ports| whole(ports, letter)).await??)
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, id: &str) -> Result<Option<WireDeadLetter>, Problem> {
    read_row::<DeadLetter>(ports, id)?.map(|letter| whole(ports, letter)).transpose()
}

fn whole(ports: &Ports, letter: DeadLetter) -> Result<WireDeadLetter, Problem> {
    if letter.execution.is_some() {
        return Ok(WireDeadLetter::listed(letter));
    }
    let delivered = letter.body.map(|handle| ports.log.body(handle.position)).transpose()?.flatten();
    Ok(WireDeadLetter::whole(letter, delivered.as_ref().map(embedded)))
}

/// Reads the page of letters that a request asks for. Those of an action or a rule are found by the executions that failed.
async fn listed<P: Permission>(call: &Call, allowed: &Allowed<P>, status: Option<LetterStatus>) -> Result<Listed<DeadLetter>, Problem> {
    let query = call.query();
    if query.text("action").is_none() && query.text("rule").is_none() {
        let filters = status.map(|status| Filter::is(Column::Status, status.as_str())).into_iter().collect();
        return listing::rows_where(call, allowed, &[Column::Sensor], filters).await;
    }
    if query.text("sensor").is_some() {
        return Err(bad("sensor", "cannot be combined with `action` or `rule`: those select executions, which have no sensor").into());
    }
    let failed = [Status::Failed, Status::TimedOut].map(|status| status.as_str().to_owned());
    let filters = vec![Filter::any_of(Column::Status, failed.to_vec())];
    let Listed { items, next, page } = listing::rows_where::<Execution, _>(call, allowed, &[Column::Action, Column::Rule], filters).await?;
    let letters = move |ports: &Ports| -> Result<Vec<DeadLetter>, Problem> {
        let roots = items.into_iter().filter(|execution| execution.parent.is_none());
        let letters = roots.filter_map(|execution| read_row::<DeadLetter>(ports, &execution.id.to_string()).transpose());
        let mut letters: Vec<DeadLetter> = letters.collect::<Result<_, _>>()?;
        letters.retain(|letter| status.is_none_or(|status| letter.status == status));
        Ok(letters)
    };
    Ok(Listed { items: call.api().blocking(letters).await??, next, page })
}

/// Has what gave up tried again.
pub(super) async fn retry(allowed: Allowed<DeadLettersSettle>, call: Call) -> Outcome {
    call.admission()?;
    deal_with_one(&allowed, call, Deal::Retry).await
}

/// Leaves what gave up as it is.
pub(super) async fn dismiss(allowed: Allowed<DeadLettersSettle>, call: Call) -> Outcome {
    deal_with_one(&allowed, call, Deal::Dismiss).await
}

/// Has all that fits tried again: those of a page of a list.
pub(super) async fn retry_many(allowed: Allowed<DeadLettersSettle>, mut call: Call) -> Outcome {
    if call.query().text("until").is_none() {
        return Err(bad("until", "must be given: only dead letters from before this time are retried, not those that fail again").into());
    }
    call.admission()?;
    let Nothing {} = call.json_or_nothing().await?;
    deal_with_many(&allowed, &call, Deal::Retry).await
}

/// Leaves all that fits as it is: those of a page of a list.
pub(super) async fn dismiss_many(allowed: Allowed<DeadLettersSettle>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    deal_with_many(&allowed, &call, Deal::Dismiss).await
}

/// What is done about a letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deal {
    Retry,
    Dismiss,
}

impl Deal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Dismiss => "dismiss",
        }
    }
}

/// What is asked for of each.
struct Asked {
    api: Arc<Api>,
    by: OnBehalf,
    deal: Deal,
    is_dry: bool,
}

/// What came of one.
#[derive(Default)]
struct Dealt {
    /// Where it is in the log; none in a dry run.
    position: Option<Position>,
    rerun: Option<ExecutionId>,
    events: Vec<EventId>,
}

async fn deal_with_one(allowed: &Allowed<DeadLettersSettle>, mut call: Call, deal: Deal) -> Outcome {
    let id: Id = call.named("id", DeadLettersRead::THING)?;
    let before = match call.before().await? {
        Some((before, _)) => {
            let events = before.events.iter().map(|event| event.id).collect();
            Some(Dealt { position: Some(before.position), rerun: before.execution, events })
        }
        None => None,
    };
    let dealt = match before {
        Some(dealt) => dealt,
        None => {
            let Nothing {} = call.json_or_nothing().await?;
            let turn = call.turn::<DeadLettersRead, _>(&id.to_string(), read).await?;
            let letter: DeadLetter = call.api().row(id.to_string(), DeadLettersRead::THING).await?;
            let asked = Asked { api: call.api().clone(), by: call.on_behalf(allowed)?, deal, is_dry: call.is_dry_run()? };
            let dealt = asked.dealt(letter, asked.by.request.clone()).await?;
            drop(turn);
            dealt
        }
    };
    let Some(position) = dealt.position else { return Ok(respond::checked()) };
    let how = match deal {
        Deal::Retry => Written::Accepted,
        Deal::Dismiss => Written::Done,
    };
    respond::written(how, position, &WireDealtWith { id, position: Some(position), rerun: dealt.rerun, events: dealt.events, error: None })
}

async fn deal_with_many(allowed: &Allowed<DeadLettersSettle>, call: &Call, deal: Deal) -> Outcome {
    if FILTERS.iter().all(|filter| call.query().text(filter).is_none()) {
        return Err(LetterRefused::Unfiltered.into());
    }
    // The answer tells which there are.
    Allowed::<DeadLettersRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let listed = listed(call, allowed, Some(LetterStatus::Open)).await?;
    let asked = Arc::new(Asked { api: call.api().clone(), by: call.on_behalf(allowed)?, deal, is_dry: call.is_dry_run()? });
    let each = stream::iter(listed.items).map(move |letter| one(asked.clone(), letter));
    let dealt: Vec<WireDealtWith> = each.buffered(AT_ONCE).collect().await;
    call.answer_page(dealt, listed.next.as_deref(), &listed.page)
}

async fn one(asked: Arc<Asked>, letter: DeadLetter) -> WireDealtWith {
    let id = letter.id;
    let request = asked.by.request.as_ref().map(|request| request.of_one(id, asked.deal.as_str()));
    let turn = asked.api.turns.of(&format!("{}/{id}", DeadLettersRead::NOUN)).await;
    let dealt = asked.dealt(letter, request).await;
    drop(turn);
    match dealt {
        Ok(Dealt { position, rerun, events }) => WireDealtWith { id, position, rerun, events, error: None },
        Err(problem) => WireDealtWith { id, position: None, rerun: None, events: Vec::new(), error: Some(WireRefused::from(&problem)) },
    }
}

impl Asked {
    async fn dealt(&self, letter: DeadLetter, request: Option<RequestKey>) -> Result<Dealt, Problem> {
        let deal = self.deal;
        let ask = self.api.blocking(move |ports| ask(ports, &letter, deal)).await??;
        if self.is_dry {
            self.api.submit(OnBehalf { request: None, ..self.by.clone() }, Ask::Check(Box::new(ask))).await?;
            return Ok(Dealt::default());
        }
        let committed = self.api.submit(OnBehalf { request, ..self.by.clone() }, ask).await?;
        let made = Dealt { position: Some(committed.position), ..Dealt::default() };
        Ok(match committed.answer {
            Answer::Execution(rerun) => Dealt { rerun: Some(rerun), ..made },
            Answer::Events(events) => Dealt { events: events.iter().map(|event| event.id).collect(), ..made },
            Answer::Before(before) => Dealt {
                position: Some(before.position),
                rerun: before.execution,
                events: before.events.iter().map(|event| event.id).collect(),
            },
            Answer::Done => made,
            other => return Err(Problem::bug(&format!("what was asked of a dead letter was answered with {other:?}"))),
        })
    }
}

/// Says what the core is asked for. Blocking.
fn ask(ports: &Ports, letter: &DeadLetter, deal: Deal) -> Result<Ask, Problem> {
    match (deal, letter.execution) {
        (Deal::Dismiss, _) => Ok(Ask::DismissLetter { of: letter.id }),
        _ if letter.status != LetterStatus::Open => Err(Refusal::LetterNotOpen(letter.id).into()),
        (Deal::Retry, Some(execution)) => {
            let wanted = WireRerun { from: Some("failed".to_owned()), params: None };
            Ok(Ask::RetryExecution(reruns::request(ports, execution, wanted)?))
        }
        (Deal::Retry, None) => again(ports, letter).map(Ask::RetryDelivery),
    }
}

/// Makes the events that a refused delivery makes now.
fn again(ports: &Ports, letter: &DeadLetter) -> Result<RetriedDelivery, Problem> {
    let at = letter.position;
    let record = ports.log.read(Position(at.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 1 })?.pop();
    let missing = || Problem::from(Missing::new(DeadLettersRead::THING, &letter.id.to_string()));
    let Some(Record { fact: Fact::DeliveryRefused(refused), cause, .. }) = record else { return Err(missing()) };
    let with = refused.with.ok_or(LetterRefused::NotKept(letter.id))?;
    let body = ports.log.body(at)?.ok_or(LetterRefused::Erased(letter.id))?;
    let request = HookRequest { sensor: refused.sensor, headers: with.headers, query: with.query, body };
    let events = ports.webhooks.deliver_again(request)?;
    Ok(RetriedDelivery { of: letter.id, cause: cause.from_parent(letter.id), events })
}
