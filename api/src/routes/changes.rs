//! The stream of changes: which things changed, so that a caller reads again what it shows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::access::permission::Permission;
use ensue_engine::record::Position;
use ensue_views::RowReach;
use ensue_views::changed_rows::ChangedKind;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Routes;
use crate::auth::{KnownCaller, Proof as _, Reaches};
use crate::call::Call;
use crate::changes::{Follower, RecentChanges, Since, WantedChanges};
use crate::listing::IdQuery;
use crate::operation::{Content, HonoredHeader, Operation, schema_of};
use crate::ports::{Access, Credential};
use crate::problem::{Outcome, Problem};
use crate::query::{Query, Word};
use crate::routes::streams::{AfterQuery, place};
use crate::sse::{CHECK_EVERY, CloseAs, EVENT_STREAM, StreamFormat, StreamInterruption, StreamLine};
use crate::stream_message::StreamMessage;
use crate::streams::RETRY_MILLIS;
use crate::wire::changes::WireChanges;

/// The kinds of things, each with the permission to see them.
const KINDS: [(&str, (ChangedKind, Permission)); 15] = [
    ("events", (ChangedKind::Events, Permission::EventsRead)),
    ("enforcements", (ChangedKind::Enforcements, Permission::EnforcementsRead)),
    ("executions", (ChangedKind::Executions, Permission::ExecutionsRead)),
    ("inquiries", (ChangedKind::Inquiries, Permission::InquiriesRead)),
    ("dead_letters", (ChangedKind::DeadLetters, Permission::DeadLettersRead)),
    ("parked_reactions", (ChangedKind::ParkedReactions, Permission::ParkedReactionsRead)),
    ("timers", (ChangedKind::Timers, Permission::TimersRead)),
    ("rules", (ChangedKind::Rules, Permission::RulesRead)),
    ("locks", (ChangedKind::Locks, Permission::LocksRead)),
    ("queues", (ChangedKind::Queues, Permission::QueuesRead)),
    ("keys", (ChangedKind::Keys, Permission::KeysRead)),
    ("vars", (ChangedKind::Vars, Permission::VarsRead)),
    ("tokens", (ChangedKind::Tokens, Permission::TokensRead)),
    ("grants", (ChangedKind::Grants, Permission::GrantsRead)),
    ("identities", (ChangedKind::Identities, Permission::IdentitiesRead)),
];
/// How many of them a stream has that names none: the first ones.
const UNNAMED: usize = 7;

/// How often a caller learns of its place in the log although nothing changed for it.
const PLACE_EVERY: Duration = Duration::from_secs(15);
/// How many messages wait for a caller that reads slowly; further changes are merged meanwhile.
const WAITING_MAX: usize = 1;

/// The parameter that selects the changes.
#[derive(Query)]
struct ChangesQuery {
    /// The kinds of things, separated by commas. Without it, those up to `timers` that the caller may see.
    #[query(list)]
    of: Vec<NamedKind>,
}

/// One of [`KINDS`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct NamedKind((&'static str, (ChangedKind, Permission)));

impl Word for NamedKind {
    fn words() -> Vec<(&'static str, Self)> {
        KINDS.map(|kind| (kind.0, Self(kind))).to_vec()
    }
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        axum::http::Method::GET,
        "/changes",
        get,
        Operation::new("change_stream", "Streams the ids of things that changed, of those that the caller may see")
            .with_query(&[ChangesQuery::PARAMETERS, IdQuery::PARAMETERS, AfterQuery::PARAMETERS])
            .honors(&[HonoredHeader::LastEventId])
            .gives_content(
                200,
                "Server-sent events, until the caller or the node ends them.",
                Content::Events(schema_of::<WireChanges>),
                &[],
            )
            .refuses(&[(403, "forbidden"), (406, "not_acceptable"), (429, "over_share")]),
    );
}

/// Streams changes after the caller's position, or from now on.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    call.choose_media_type(&[EVENT_STREAM])?;
    let ChangesQuery { of } = call.parameters()?;
    let kinds = reachable_kinds(&known, &of)?;
    let ids: BTreeSet<String> = call.parameters::<IdQuery>()?.id.into_iter().collect();
    let api = call.api();
    let head = api.threads.blocking(|ports| ports.log.head()).await??.position;
    let at = place(&call, head)?.unwrap_or_else(|| *api.ports.views_at.borrow());
    let room = api.streams.enter(&known.caller())?;
    let proof = known.reaching(kinds.iter().map(|(_, _, permission, reach)| (*permission, reach.clone())).collect());
    let kinds = kinds.into_iter().map(|(name, kind, _, reach)| (name, kind, reach)).collect();
    let wanted = WantedChanges::of(kinds, Some(ids).filter(|ids| !ids.is_empty()));
    let (line, response) = StreamLine::open(api.ends(), proof, WAITING_MAX, StreamFormat::Events)?;
    let stream = ChangeStream {
        _follower: api.ports.changes.follow(),
        changes: api.ports.changes.clone(),
        views_at: api.ports.views_at.clone(),
        access: api.ports.access.clone(),
        credential: known.credential().clone(),
        at,
        placed_at: Instant::now(),
        wanted,
        line,
    };
    tokio::spawn(async move {
        stream.run().await;
        drop(room);
    });
    Ok(response)
}

/// A kind that a caller sees: its name, the kind, the permission, and how far it reaches.
type ReachableKind = (&'static str, ChangedKind, Permission, RowReach);

/// Returns the requested kinds, or the first ones that the caller may see if it requests none.
fn reachable_kinds(known: &KnownCaller, asked: &[NamedKind]) -> Result<Vec<ReachableKind>, Problem> {
    let of =
        |(name, (kind, permission)): (&'static str, (ChangedKind, Permission))| Some((name, kind, permission, known.rows(permission)?));
    if asked.is_empty() {
        let all: Vec<ReachableKind> = KINDS.into_iter().take(UNNAMED).filter_map(of).collect();
        return if all.is_empty() { Err(known.lacks(Permission::InquiriesRead)) } else { Ok(all) };
    }
    asked.iter().map(|NamedKind(kind)| of(*kind).ok_or_else(|| known.lacks(kind.1.1))).collect()
}

/// Why a stream ended, as its last event reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum ChangeStreamEnd {
    /// The node is stopping.
    Stopping,
    /// The credential is no longer valid.
    NotAllowed,
    /// The caller may see more or less than before: it requests the stream again, with its new rights.
    RightsChanged,
}

/// One caller that follows changes.
struct ChangeStream {
    _follower: Follower,
    changes: Arc<RecentChanges>,
    views_at: watch::Receiver<Position>,
    access: Arc<dyn Access>,
    credential: Credential,
    /// The stream continues after this position.
    at: Position,
    /// When the caller learned of a position last.
    placed_at: Instant,
    wanted: WantedChanges,
    line: StreamLine<Reaches>,
}

impl ChangeStream {
    async fn run(mut self) {
        let end = match self.until_the_end().await {
            StreamInterruption::Stopping => ChangeStreamEnd::Stopping,
            StreamInterruption::NotAllowed if Reaches::is_admitted(&self.credential, &*self.access) => ChangeStreamEnd::RightsChanged,
            StreamInterruption::NotAllowed => ChangeStreamEnd::NotAllowed,
            StreamInterruption::Gone | StreamInterruption::Slow => return,
        };
        self.line.end(&end, CloseAs::Normal);
    }

    async fn until_the_end(&mut self) -> StreamInterruption {
        match self.go_on().await {
            Ok(never) => match never {},
            Err(left) => left,
        }
    }

    async fn go_on(&mut self) -> Result<std::convert::Infallible, StreamInterruption> {
        self.line.say(StreamMessage::Events(format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at).into())).await?;
        // The first change is reported at once. Those that follow it are reported to all callers at the same moments.
        let mut tick = None;
        loop {
            self.line.turn().await?;
            self.views_at.mark_unchanged();
            let since = tick.map_or_else(|| self.changes.since(self.at), |tick| self.changes.since_at(self.at, tick));
            let (data, through) = match since {
                Since::Changed(since, through) => (self.changes.message(&mut self.wanted, &since, (self.at, through)), through),
                Since::Lost(through) => (self.wanted.loss_message().data(), through),
            };
            let has_moved = through != self.at;
            self.at = through;
            if let Some(data) = data {
                self.send_changes(&data).await?;
                let (next, at) = self.changes.next_tick();
                self.line.rest(tokio::time::sleep_until(at)).await?;
                tick = Some(next);
                continue;
            }
            if tick.take().is_some() {
                // Something may have changed after the moment.
                continue;
            }
            if has_moved && self.placed_at.elapsed() >= PLACE_EVERY {
                // A caller that reconnects later need not get what does not concern it.
                self.say(format!("id: {}\n\n", self.at)).await?;
            }
            let waited = tokio::time::timeout(CHECK_EVERY, self.views_at.changed());
            if let Ok(Err(_)) = self.line.rest(waited).await? {
                // The source of positions ends with the node.
                return Err(StreamInterruption::Stopping);
            }
        }
    }

    async fn send_changes(&mut self, data: &str) -> Result<(), StreamInterruption> {
        // Rights may have changed since the changes were picked.
        if !self.line.is_allowed() {
            return Err(StreamInterruption::NotAllowed);
        }
        self.say(format!("id: {}\ndata: {data}\n\n", self.at)).await
    }

    async fn say(&mut self, events: String) -> Result<(), StreamInterruption> {
        self.placed_at = Instant::now();
        self.line.say(StreamMessage::Events(events.into())).await
    }
}
