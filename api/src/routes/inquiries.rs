//! Inquiries: list them, show one, answer it, and cancel it.
//!
//! Callers that may see only the inquiries assigned to them see nothing else here. This side of the core checks
//! an answer against the question; the core then accepts it or returns a reason. The errors of answers are in
//! `responses.rs`.

mod awaited_inquiries;
mod links;
mod responses;
mod why;

pub(super) use awaited_inquiries::awaited_inquiries;

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::command::{Ask, Behalf, FirstAnswer, InquiryAnswer, NewDelegation, Refusal};
use ensue_engine::ids::{ExecutionId, IdentityId, InquiryId};
use ensue_engine::inquiries::lost_attempt;
use ensue_engine::inquiries::right::Answerer;
use ensue_engine::ports::{LogError, SubmitError};
use ensue_engine::record::{Body, Digest, Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node};
use ensue_views::executions::Status;
use ensue_views::inquiries::InquiryStatus;
use ensue_views::{Column, Execution, Filter, Inquiry, RowReach, View as _};
use serde_json::value::RawValue;
use tokio::time::Instant;

use self::responses::ClosedInquiry;
use super::Routes;
use crate::api::Api;
use crate::as_of::{self, AsOfQuery, FOLDED_MAX};
use crate::auth::{AllowedCaller, Proof as _, lacking};
use crate::call::{Call, Nothing};
use crate::deliveries;
use crate::listing::{self, IdQuery, SortQuery};
use crate::operation::{Conditional, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{IdentitiesRead, InquiriesAnswer, InquiriesCancel, InquiriesDelegate, InquiriesLink, InquiriesRead, Permission};
use crate::ports::{Access, OnBehalf, Ports, RepresentedIdentity};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, words};
use crate::resource_locks::ResourceLock;
use crate::respond::{self, WriteOutcome};
use crate::route::Public;
use crate::rows::read_row;
use crate::wire::embed_body;
use crate::wire::inquiries::{
    InquiryBodies, ReaderStanding, WireAskedDelegation, WireAskedInquiryLink, WireGivenResponse, WireInquiry, WireLinkCode, WireResponse,
};
use crate::wire::sessions::{WireLoginLink, WireOpenedSession};
use crate::wire::why::WireWhy;

/// How long to wait for the outcome of an inquiry that is closed.
const CLOSED_WAIT: Duration = Duration::from_secs(2);
/// How often to look for that outcome.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The parameters that select inquiries.
#[derive(Query)]
struct InquiryQuery {
    /// Only those with one of these statuses.
    #[query(column)]
    status: Vec<InquiryStatus>,
    /// Whether to list only inquiries that ask the caller, by name or by role.
    mine: bool,
    /// Whether to list only open inquiries of which people were reminded or that are older than a day, or only the others.
    overdue: Option<bool>,
    /// Only the inquiry that this execution opened.
    #[query(column)]
    execution: Option<String>,
    /// Only steps of this workflow execution.
    #[query(column)]
    parent: Option<String>,
    /// Only inquiries that ask this assignee: `role:<role>`, or the name of a token.
    #[query(column)]
    assignee: Option<String>,
}

words!(InquiryStatus);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<InquiriesRead>(
        "/inquiries",
        list,
        Operation::lists::<WireInquiry>(
            "inquiry_list",
            "Lists inquiries, newest first; a caller that may only see its own inquiries gets those",
            &[IdQuery::PARAMETERS, InquiryQuery::PARAMETERS, PeriodQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<InquiriesRead>(
        "/inquiries/{id}",
        get,
        Operation::shows::<WireInquiry>("inquiry_get", "Returns an inquiry with its question and answers")
            .with_query(&[AsOfQuery::PARAMETERS])
            .sees_views()
            .serves_links(),
    );
    routes.get::<InquiriesRead>(
        "/inquiries/{id}/why",
        why::get,
        Operation::shows::<WireWhy>("inquiry_why", "Returns what led to an inquiry: texts only, no payloads").sees_views().serves_links(),
    );
    routes.post::<InquiriesAnswer>(
        "/inquiries/{id}/respond",
        respond,
        Operation::new("inquiry_respond", "Answers an inquiry")
            .can_be_tried()
            .takes_json::<WireGivenResponse>(
                r#"{"answer": {"ship": true}, "digest": "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f53"}"#,
            )
            .gives::<WireInquiry>(200, "The answer was recorded.", WRITTEN)
            .refuses(&[
                (403, "inquiry_not_asked"),
                (409, "approval_stale"),
                (409, "inquiry_answered_before"),
                (409, "inquiry_closed"),
                (409, "payload_erased"),
                (422, "answer_invalid"),
                (428, "digest_required"),
            ])
            .honors_conditions(Conditional::Change)
            .sees_views()
            .serves_links(),
    );
    routes.post::<InquiriesDelegate>(
        "/inquiries/{id}/delegate",
        delegate,
        Operation::new("inquiry_delegate", "Lets another identity answer an inquiry on behalf of the caller, who is asked")
            .takes_json::<WireAskedDelegation>(r#"{"to": "bo"}"#)
            .passes_keys_over()
            .gives::<WireInquiry>(200, "The other identity may answer.", WRITTEN)
            .refuses(&[
                (403, "inquiry_not_asked"),
                (409, "delegation_refused"),
                (409, "inquiry_answered_before"),
                (409, "inquiry_closed"),
                (409, "limit_reached"),
            ])
            .sees_views(),
    );
    routes.post::<InquiriesLink>(
        "/inquiries/{id}/links",
        links::mint,
        Operation::new("inquiry_link", "Creates a link with which one person sees and answers the inquiry, and shows its code once")
            .takes_json::<WireAskedInquiryLink>(r#"{"for": "ana"}"#)
            .passes_keys_over()
            .gives::<WireLoginLink<'static>>(201, "The link is valid until the inquiry ends.", WRITTEN)
            .refuses(&[
                (403, "beyond_own_rights"),
                (403, "inquiry_not_asked"),
                (403, "links_off"),
                (409, "inquiry_answered_before"),
                (409, "inquiry_closed"),
                (409, "limit_reached"),
            ])
            .sees_views(),
    );
    routes.public(
        Public::OpenLink,
        links::open,
        Operation::new("inquiry_open_link", "Opens the session of a link in a browser: it sees and answers one inquiry")
            .takes_json::<WireLinkCode>(r#"{"code": "01980000-0000-7000-8000-00000000000a_c0de"}"#)
            .gives::<WireOpenedSession>(201, "The session is open.", WRITTEN)
            .refuses(&[
                (401, "token_invalid"),
                (403, "insecure_transport"),
                (403, "links_off"),
                (409, "approval_stale"),
                (409, "link_used"),
                (410, "link_expired"),
                (429, "rate_limited"),
            ]),
    );
    routes.post::<InquiriesCancel>(
        "/inquiries/{id}/cancel",
        cancel,
        Operation::new("inquiry_cancel", "Cancels an inquiry: the execution that asks is cancelled")
            .can_be_tried()
            .takes(Takes::Empty)
            .gives::<WireInquiry>(202, "The cancellation was requested.", WRITTEN)
            .refuses(&[(409, "inquiry_closed")])
            .honors_conditions(Conditional::Change)
            .sees_views(),
    );
}

/// Lists inquiries, newest first.
pub(super) async fn list(allowed: AllowedCaller<InquiriesRead>, call: Call) -> Outcome {
    let query: InquiryQuery = call.parameters()?;
    let mut filters = query.filters();
    if query.mine {
        filters.push(Filter::any_of(Column::Assignee, allowed.holder().asked_as()));
    }
    let viewer = Viewer::of(&allowed);
    let listed = match query.overdue {
        None => listing::rows::<Inquiry, _>(&call, &allowed, filters).await?,
        Some(is_wanted) => {
            if is_wanted {
                filters.push(Filter::is(Column::Status, InquiryStatus::Open.as_str()));
            }
            let is_kept = |inquiry: &Inquiry| inquiry.is_overdue(viewer.now) == is_wanted;
            listing::rows_picked::<Inquiry, _>(&call, &allowed, filters, allowed.rows(), is_kept).await?
        }
    };
    let (base, inquiries) = (base(call.api()), listed.items);
    let show = move |ports: &Ports| -> Result<Vec<WireInquiry>, Problem> {
        let shown = |inquiry: Inquiry| {
            let (text, standing) = (text(ports, &inquiry)?, viewer.standing(&*ports.access, &inquiry));
            Ok(WireInquiry::for_list(inquiry, &base).beginning_with(text).read_by(standing))
        };
        inquiries.into_iter().map(shown).collect()
    };
    let items = call.api().threads.blocking(show).await??;
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows an inquiry with the whole question and the answers.
pub(super) async fn get(allowed: AllowedCaller<InquiriesRead>, call: Call) -> Outcome {
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    let inquiry = visible(&call, &allowed, id).await?;
    let (base, viewer) = (base(call.api()), Viewer::of(&allowed));
    let Some(at) = call.as_of() else {
        return respond::json(&call.api().threads.blocking(move |ports| whole(ports, inquiry, &base, &viewer)).await??);
    };
    let (execution, stream) = (inquiry.execution, StreamId::Execution(inquiry.execution));
    let inquiry = as_of::as_asked((call.api(), call.as_of()), (inquiry, id), InquiriesRead::THING, stream.clone()).await?;
    let show = move |ports: &Ports| {
        let asks = as_of::row_at::<Execution>(ports, &stream, &execution, at, FOLDED_MAX)?;
        let (bodies, is_answered) = (bodies(ports, &inquiry, asks.as_ref())?, viewer.has_answered(&inquiry));
        Ok::<_, Problem>(WireInquiry::whole(inquiry, &base, bodies).read_then(is_answered))
    };
    respond::json(&call.api().threads.blocking(show).await??)
}

/// Answers an inquiry.
pub(super) async fn respond(allowed: AllowedCaller<InquiriesAnswer>, mut call: Call) -> Outcome {
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, id, &before, WriteOutcome::Done).await;
    }
    let response: WireResponse = call.json().await?;
    let lock = lock(&call, &allowed, id).await?;
    let inquiry = visible(&call, &allowed, id).await?;
    let viewer = Viewer::of(&allowed);
    let behalf = viewer.may_answer(&*call.api().ports.access, &inquiry, response.digest)?;
    let (by, name) = (viewer.by, viewer.name);
    let text = String::from(Box::<str>::from(response.answer));
    let answer = Document::parse(text.into()).map_err(|why| Problem::bug(&why))?;
    let (asked, given) = (inquiry.execution, answer.clone());
    match inquiry.attempt {
        Some(_) => responses::demand_settlement(given.root())?,
        None => {
            let question = call.api().threads.blocking(move |ports| params(ports, asked)).await??;
            call.api().threads.checking(move || responses::demand_fit(question, given.root())).await??;
        }
    }
    let ask = Ask::AnswerInquiry(InquiryAnswer {
        inquiry: id,
        by,
        name,
        roles: viewer.roles,
        behalf,
        digest: response.digest,
        body: Body::json(answer.bytes().clone()),
        answer,
    });
    change(&call, inquiry, (call.on_behalf(&allowed)?, ask), lock, WriteOutcome::Done).await
}

/// Lets another identity answer an inquiry on behalf of the caller. A repeat changes nothing.
pub(super) async fn delegate(allowed: AllowedCaller<InquiriesDelegate>, mut call: Call) -> Outcome {
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    let WireAskedDelegation { to: to_name } = call.json().await?;
    let inquiry = visible(&call, &allowed, id).await?;
    let to = call.api().ports.access.identity_named(&to_name).ok_or_else(|| Missing::new(IdentitiesRead::THING, &to_name))?;
    let (by, name) = (allowed.caller(), allowed.holder().identity.as_ref().map(|(_, name)| name.clone()));
    let ask = Ask::DelegateInquiry(NewDelegation { inquiry: id, by, name, roles: allowed.roles().to_vec(), to, to_name });
    let api = call.api();
    match api.submit(allowed.on_behalf(call.context()), ask).await {
        Ok(committed) => {
            let after = as_of(api, &inquiry, committed.position).await?;
            respond::answer_write(WriteOutcome::Done, committed.position, &WireInquiry::for_list(after, &base(api)))
        }
        Err(refused) => Err(refusal_problem(api, &inquiry, refused).await),
    }
}

/// Cancels the execution that opened the inquiry.
pub(super) async fn cancel(allowed: AllowedCaller<InquiriesCancel>, mut call: Call) -> Outcome {
    let id: InquiryId = call.parse_part("id", InquiriesRead::THING)?;
    if let Some((before, _)) = call.before().await? {
        return changed_before(&call, id, &before, WriteOutcome::Accepted).await;
    }
    let Nothing {} = call.json_or_nothing().await?;
    let lock = lock(&call, &allowed, id).await?;
    let inquiry = visible(&call, &allowed, id).await?;
    responses::demand_open(&inquiry)?;
    let ask = Ask::CancelInquiry(inquiry.id);
    change(&call, inquiry, (call.on_behalf(&allowed)?, ask), lock, WriteOutcome::Accepted).await
}

/// Returns the public address where inquiries are read.
pub(super) fn base(api: &Api) -> String {
    format!("{}{}", api.settings.base_url, crate::page::inquiries_path(api.settings.page))
}

/// The inquiries that a caller may see.
struct Sees(RowReach);

impl Sees {
    fn of<P: Permission>(allowed: &AllowedCaller<P>) -> Self {
        Self(allowed.rows())
    }

    fn has(&self, inquiry: &Inquiry) -> bool {
        match &self.0 {
            RowReach::Everything => true,
            RowReach::Within(within) => {
                within.covers(inquiry.scope().as_ref()) || inquiry.asked_people().iter().any(|asked| within.asked.contains(asked))
            }
        }
    }
}

/// The properties of a reader that decide which inquiries it may answer.
struct Viewer {
    by: String,
    name: Option<String>,
    roles: Vec<String>,
    /// The identity of the reader, and the absent identities whose deputy it is.
    identity: Option<IdentityId>,
    represents: Vec<RepresentedIdentity>,
    /// The inquiries that its permission to answer reaches; `None` if it has no such permission.
    answers: Option<Sees>,
    now: Timestamp,
}

impl Viewer {
    fn of<P: Permission>(allowed: &AllowedCaller<P>) -> Self {
        Self {
            by: allowed.caller(),
            name: allowed.holder().identity.as_ref().map(|(_, name)| name.clone()),
            roles: allowed.roles().to_vec(),
            identity: allowed.holder().identity.as_ref().map(|(id, _)| *id),
            represents: allowed.holder().represents.clone(),
            answers: allowed.rows_for::<InquiriesAnswer>().map(Sees),
            now: deliveries::now(),
        }
    }

    fn standing(&self, access: &dyn Access, inquiry: &Inquiry) -> ReaderStanding {
        let may_answer = match &self.answers {
            Some(answers) if answers.has(inquiry) => self.may_answer(access, inquiry, Some(inquiry.digest)).map(|_| ()),
            Some(_) | None => Err(lacking::<InquiriesAnswer>()),
        };
        ReaderStanding { may_answer, answered_by_me: self.has_answered(inquiry), is_overdue: inquiry.is_overdue(self.now) }
    }

    fn has_answered(&self, inquiry: &Inquiry) -> bool {
        inquiry.answers.iter().any(|answer| answer.by == self.by)
    }

    /// Checks that the reader may answer now, and returns in whose place: in nobody's if it is asked itself.
    fn may_answer(&self, access: &dyn Access, inquiry: &Inquiry, digest: Option<Digest>) -> Result<Option<Behalf>, Problem> {
        let answerer = Answerer { by: &self.by, name: self.name.as_deref(), roles: &self.roles };
        let own = responses::demand_right(inquiry, answerer, digest);
        if own.is_ok() || responses::asks(inquiry, answerer) {
            return own.map(|()| None);
        }
        // If it may answer for nobody, the reason for the first one counts.
        let mut refused = None;
        for of in self.represented_assignees(access, inquiry) {
            match responses::demand_right_of_deputy(inquiry, answerer, &of, digest) {
                Ok(()) => return Ok(Some(Behalf { of: of.id, name: Some(of.name) })),
                Err(problem) => drop(refused.get_or_insert(problem)),
            }
        }
        refused.map_or(own.map(|()| None), Err)
    }

    /// Returns the assignees in whose place the reader may answer: those that delegated the inquiry, and those that are
    /// absent.
    fn represented_assignees(&self, access: &dyn Access, inquiry: &Inquiry) -> Vec<RepresentedIdentity> {
        let delegated =
            inquiry.delegations.iter().filter(|delegation| Some(delegation.to) == self.identity).map(|delegation| delegation.by);
        let directory = access.directory();
        let delegated = delegated.filter_map(|by| RepresentedIdentity::new(by, access.name_of(by), &directory, access.now()));
        delegated.chain(self.represents.iter().cloned()).collect()
    }
}

/// Reads an inquiry that the caller may see; any other counts as missing.
async fn visible<P: Permission>(call: &Call, allowed: &AllowedCaller<P>, id: InquiryId) -> Result<Inquiry, Problem> {
    let inquiry: Inquiry = call.api().row(id.to_string(), InquiriesRead::THING, RowReach::Everything).await?;
    if Sees::of(allowed).has(&inquiry) { Ok(inquiry) } else { Err(Missing::new(InquiriesRead::THING, &id.to_string()).into()) }
}

/// Locks an inquiry.
async fn lock<P: Permission>(call: &Call, allowed: &AllowedCaller<P>, id: InquiryId) -> Result<ResourceLock, Problem> {
    let (base, sees, viewer) = (base(call.api()), Sees::of(allowed), Viewer::of(allowed));
    let read = move |ports: &Ports, id: &str| {
        let inquiry = read_row::<Inquiry>(ports, id)?.filter(|inquiry| sees.has(inquiry));
        inquiry.map(|inquiry| whole(ports, inquiry, &base, &viewer)).transpose()
    };
    call.lock::<InquiriesRead, _>(&id.to_string(), read).await
}

/// Returns the question, that is, the parameters of the execution that opened the inquiry; none if they were
/// erased. Blocking.
fn params(ports: &Ports, execution: ExecutionId) -> Result<Option<Document>, Problem> {
    params_of(ports, read_row::<Execution>(ports, &execution.to_string())?.as_ref())
}

fn params_of(ports: &Ports, execution: Option<&Execution>) -> Result<Option<Document>, Problem> {
    let Some(bytes) = execution.and_then(|execution| execution.params).map(|params| ports.log.body(params.position)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    // The body in the log was valid JSON when it was accepted.
    Document::parse(bytes).map(Some).map_err(|why| Problem::bug(&why))
}

/// Shows an inquiry with its bodies. Blocking.
fn whole(ports: &Ports, inquiry: Inquiry, base: &str, viewer: &Viewer) -> Result<WireInquiry, Problem> {
    let asks = read_row::<Execution>(ports, &inquiry.execution.to_string())?;
    let (bodies, standing) = (bodies(ports, &inquiry, asks.as_ref())?, viewer.standing(&*ports.access, &inquiry));
    Ok(WireInquiry::whole(inquiry, base, bodies).read_by(standing))
}

/// Returns the text of the question below its title. Blocking.
fn text(ports: &Ports, inquiry: &Inquiry) -> Result<Option<String>, Problem> {
    if inquiry.attempt.is_some() {
        return Ok(Some(lost_attempt::TEXT.to_owned()));
    }
    let params = params(ports, inquiry.execution)?;
    Ok(params.and_then(|params| params.root().get("text")?.as_str().map(std::borrow::Cow::into_owned)))
}

/// Reads the bodies of an inquiry; `asks` is the execution that opened it. Blocking.
fn bodies(ports: &Ports, inquiry: &Inquiry, asks: Option<&Execution>) -> Result<InquiryBodies, Problem> {
    let answer = |answer: &ensue_views::inquiries::Answer| -> Result<Option<Box<RawValue>>, LogError> {
        let bytes = answer.answer.map(|answer| ports.log.body(answer.position)).transpose()?.flatten();
        Ok(bytes.as_ref().map(embed_body))
    };
    let answers: Vec<_> = inquiry.answers.iter().map(answer).collect::<Result<_, _>>()?;
    let decided = inquiry.decision().and_then(|_| answers.last().cloned().flatten());
    if inquiry.attempt.is_some() {
        let answer_schema = RawValue::from_string(lost_attempt::answer_schema().to_string()).ok();
        return Ok(InquiryBodies {
            text: Some(lost_attempt::TEXT.to_owned()),
            answer_schema,
            answers,
            answer: decided,
            ..InquiryBodies::default()
        });
    }
    let Some(params) = params_of(ports, asks)? else { return Ok(InquiryBodies { answers, answer: decided, ..InquiryBodies::default() }) };
    let params = params.root();
    let text = |name: &str| params.get(name).and_then(Node::as_str).map(std::borrow::Cow::into_owned);
    let raw = |node: Node<'_>| RawValue::from_string(node.raw().to_owned()).ok();
    // An expired inquiry has an answer if its execution succeeded anyway.
    let stood_in = match inquiry.status {
        InquiryStatus::Expired if asks.is_some_and(|execution| execution.status == Status::Succeeded) => {
            params.get("on_expire").and_then(|on| on.get("answer"))
        }
        InquiryStatus::Expired | InquiryStatus::Open | InquiryStatus::Answered | InquiryStatus::Cancelled | InquiryStatus::Withdrawn => {
            None
        }
    };
    Ok(InquiryBodies {
        text: text("text"),
        veto: text("veto"),
        answer_schema: params.get("answer").and_then(raw),
        answers,
        answer: decided.or_else(|| stood_in.and_then(raw)),
    })
}

/// Changes an inquiry, and shows its new state. If it is closed by then, the problem includes its outcome.
async fn change(call: &Call, before: Inquiry, (by, ask): (OnBehalf, Ask), lock: ResourceLock, how: WriteOutcome) -> Outcome {
    let (api, id) = (call.api(), before.id);
    if call.is_dry_run()? {
        let checked = api.submit(OnBehalf { request: None, ..by }, Ask::Check(Box::new(ask))).await;
        return match checked {
            Ok(_) => Ok(respond::dry_run()),
            Err(refused) => Err(refusal_problem(api, &before, refused).await),
        };
    }
    let committed = match api.submit_locked(lock, by, ask).await {
        Ok(committed) => committed,
        Err(refused) => return Err(refusal_problem(api, &before, refused).await),
    };
    // The change is done; a lagging view must not suggest otherwise. A repeat must find it as it was.
    let is_seen = !call.is_keyed() && api.see_position(committed.position).await.is_ok();
    let seen = if is_seen { api.row::<Inquiry>(id.to_string(), InquiriesRead::THING, RowReach::Everything).await.ok() } else { None };
    let after = match seen {
        Some(seen) => seen,
        None => as_of(api, &before, committed.position).await?,
    };
    respond::answer_write(how, committed.position, &WireInquiry::for_list(after, &base(api)))
}

/// Converts the core's refusal into a problem: for a closed inquiry, with its outcome as soon as that is
/// visible.
async fn refusal_problem(api: &Arc<Api>, inquiry: &Inquiry, refused: SubmitError) -> Problem {
    let SubmitError::Refused(Refusal::InquiryClosed(_) | Refusal::NotOpen(_)) = &refused else { return refused.into() };
    let deadline = Instant::now() + CLOSED_WAIT;
    // The core knows the outcome shortly before it is on disk.
    while Instant::now() < deadline {
        match as_of(api, inquiry, Position(u64::MAX)).await {
            Ok(now) => match ClosedInquiry::of(&now) {
                Some(closed) => return closed.into(),
                None => tokio::time::sleep(LOOK_EVERY).await,
            },
            Err(_) => break,
        }
    }
    Refusal::InquiryClosed(inquiry.id).into()
}

/// Repeats the response to the first request of a key.
async fn changed_before(call: &Call, id: InquiryId, before: &FirstAnswer, how: WriteOutcome) -> Outcome {
    let inquiry: Inquiry = call.api().row(id.to_string(), InquiriesRead::THING, RowReach::Everything).await?;
    let then = as_of(call.api(), &inquiry, before.position).await?;
    respond::answer_write(how, before.position, &WireInquiry::for_list(then, &base(call.api())))
}

/// Folds the records of the execution that opened the inquiry up to a position: its state there is the same
/// however late it is requested.
async fn as_of(api: &Arc<Api>, inquiry: &Inquiry, position: Position) -> Result<Inquiry, Problem> {
    let (id, stream) = (inquiry.id, StreamId::Execution(inquiry.execution));
    let fold = move |ports: &Ports| as_of::row_at(ports, &stream, &id, position, usize::MAX);
    api.threads.blocking(fold).await?.ok().flatten().ok_or_else(|| SubmitError::Unknown.into())
}
