//! The newest changes of things that lists show, for callers that keep what they show up to date.
//!
//! The follower of the views notes which rows each batch changed. Each caller reads them from its own position,
//! merges them, and gets the ids of those that it reaches. Callers that follow the same kinds get the same messages at the same
//! moments, so that they can share what they then read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::record::Position;
use ensue_views::changed_rows::{ChangedKind, ChangedRow, ChangedRows};
use ensue_views::{RowReach, RowScope};
use serde::Serialize;
use tokio::time::Instant;

/// The maximum number of changes that are remembered: a caller that is further behind reads its lists again.
const REMEMBERED_MAX: usize = 10_000;
/// The maximum number of batches of changes that are remembered.
const BATCHES_MAX: usize = 4_096;
/// The maximum number of ids in one message; if there are more of a kind, its list is to be read again.
const IDS_MAX: usize = 200;
/// For how many scopes it is remembered whether a caller reaches them.
const JUDGED_MAX: usize = 10_000;

/// Changes within this time are merged into one message.
const MERGED_FOR: Duration = Duration::from_millis(250);
/// The same, if many callers follow changes: each message leads to a read of each of them.
const MERGED_IN_CROWD_FOR: Duration = Duration::from_millis(500);
/// How many callers are not many.
const CROWD: usize = 10;
/// The maximum number of messages that are kept for callers that follow the same kinds.
const MESSAGES_MAX: usize = 32;

/// The newest changes.
#[derive(Debug)]
pub struct RecentChanges {
    began: Instant,
    state: Mutex<State>,
    messages: Mutex<VecDeque<CachedMessage>>,
    /// The number of callers that follow changes.
    followers: AtomicUsize,
}

/// A caller that follows changes, for as long as it does.
pub(crate) struct Follower(Arc<RecentChanges>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A moment at which callers get a message, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u128);

/// A message to callers that follow the same kinds and reach the same rows of them.
#[derive(Debug)]
struct CachedMessage {
    /// The positions that it is about: what changed after the first, up to the second.
    about: (Position, Position),
    kinds: Vec<(&'static str, RowReach)>,
    /// `None` if nothing changed for them.
    data: Option<Arc<str>>,
}

#[derive(Debug)]
struct State {
    /// The position of the views after the newest noted batch.
    through: Position,
    batches: VecDeque<Arc<ChangedRows>>,
    /// The number of changes in them.
    rows: usize,
    /// The newest moment at which callers got a message, and the position that it reached.
    tick: (Tick, Position),
}

/// What happened after a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// These changes, up to a position.
    Changed(Vec<Arc<ChangedRows>>, Position),
    /// They are no longer remembered, or were never noted here: anything may have changed up to a position.
    Lost(Position),
}

impl RecentChanges {
    /// Starts after a position: what changed before is not known.
    pub fn after(through: Position) -> Arc<Self> {
        let state = State { through, batches: VecDeque::new(), rows: 0, tick: (Tick(0), through) };
        Arc::new(Self { began: Instant::now(), state: Mutex::new(state), messages: Mutex::default(), followers: AtomicUsize::new(0) })
    }

    /// Notes the changes of a batch. Quick. If they do not follow those noted before, these are forgotten.
    pub fn note(&self, changed: ChangedRows) {
        let mut state = self.state();
        if changed.after != state.through {
            state.batches.clear();
            state.rows = 0;
        }
        state.through = changed.through;
        state.rows += changed.rows.len();
        state.batches.push_back(Arc::new(changed));
        while state.rows > REMEMBERED_MAX || state.batches.len() > BATCHES_MAX {
            let Some(oldest) = state.batches.pop_front() else { break };
            state.rows -= oldest.rows.len();
        }
    }

    /// Returns what happened after a position.
    pub(crate) fn since(&self, position: Position) -> Since {
        let state = self.state();
        if position == state.through {
            return Since::Changed(Vec::new(), position);
        }
        let from = state.batches.partition_point(|batch| batch.through <= position);
        match state.batches.get(from) {
            // The caller may have read in the middle of a batch; then it gets all of it.
            Some(first) if first.after <= position => Since::Changed(state.batches.range(from..).cloned().collect(), state.through),
            Some(_) | None => Since::Lost(state.through),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a caller that follows changes.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Follower(Arc::clone(self))
    }

    /// Returns the next moment for messages, which is the same for all callers, and when it is.
    pub(crate) fn next_tick(&self) -> (Tick, Instant) {
        let is_crowd = self.followers.load(Ordering::Relaxed) > CROWD;
        let every = if is_crowd { MERGED_IN_CROWD_FOR } else { MERGED_FOR }.as_millis();
        let millis = (self.began.elapsed().as_millis() / every + 1) * every;
        (Tick(millis), self.began + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// Returns what happened after a position, for a message at a moment: up to the same position for all callers.
    pub(crate) fn since_at(&self, position: Position, tick: Tick) -> Since {
        let mut state = self.state();
        if state.tick.0 < tick {
            state.tick = (tick, state.through);
        }
        let until = state.tick.1;
        drop(state);
        match self.since(position) {
            Since::Changed(_, _) if until <= position => Since::Changed(Vec::new(), position),
            Since::Changed(mut batches, _) => {
                batches.retain(|batch| batch.through <= until);
                Since::Changed(batches, until)
            }
            lost @ Since::Lost(_) => lost,
        }
    }

    /// Returns the message about these changes; `None` if none of them is for the caller.
    pub(crate) fn message(&self, wanted: &mut WantedChanges, since: &[Arc<ChangedRows>], about: (Position, Position)) -> Option<Arc<str>> {
        if since.is_empty() {
            return None;
        }
        // The ids that a caller names are its own.
        if wanted.ids.is_some() {
            return wanted.merge(since).data();
        }
        // Whoever follows the same waits for the message that is being written.
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = messages.iter().find(|message| message.about == about && wanted.follows(&message.kinds)) {
            return known.data.clone();
        }
        let data = wanted.merge(since).data();
        let kinds = wanted.kinds.iter().map(|kind| (kind.name, kind.reach.clone())).collect();
        messages.push_front(CachedMessage { about, kinds, data: data.clone() });
        messages.truncate(MESSAGES_MAX);
        data
    }
}

/// The changes that a caller asked for, and may see.
pub(crate) struct WantedChanges {
    kinds: Vec<WantedKind>,
    ids: Option<BTreeSet<String>>,
}

struct WantedKind {
    name: &'static str,
    kind: ChangedKind,
    reach: RowReach,
    /// Whether the caller reaches rows of these scopes.
    judged: BTreeMap<RowScope, bool>,
}

/// A message: what changed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ChangeMessage {
    /// The ids of changed things by their kind.
    pub(crate) changed: BTreeMap<&'static str, BTreeSet<String>>,
    /// The kinds of which too much changed: their lists are to be read again.
    pub(crate) more: Vec<&'static str>,
    /// Whether changes are missing, because the caller was too far behind or the node started again.
    pub(crate) reset: bool,
}

impl ChangeMessage {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.more.is_empty() && !self.reset
    }

    /// Returns its JSON form; `None` if it has nothing to say.
    pub(crate) fn data(&self) -> Option<Arc<str>> {
        (!self.is_empty()).then(|| serde_json::to_string(self).unwrap_or_default().into())
    }
}

impl WantedChanges {
    /// Wants the changes of these kinds; with `ids`, only of things with these ids.
    pub(crate) fn of(kinds: Vec<(&'static str, ChangedKind, RowReach)>, ids: Option<BTreeSet<String>>) -> Self {
        let kinds = kinds.into_iter().map(|(name, kind, reach)| WantedKind { name, kind, reach, judged: BTreeMap::new() });
        Self { kinds: kinds.collect(), ids }
    }

    /// Reports whether it wants these kinds, as far as they reach.
    fn follows(&self, kinds: &[(&'static str, RowReach)]) -> bool {
        let own = self.kinds.iter().map(|kind| (kind.name, &kind.reach));
        own.eq(kinds.iter().map(|(name, reach)| (*name, reach)))
    }

    /// Merges changes into one message.
    pub(crate) fn merge(&mut self, since: &[Arc<ChangedRows>]) -> ChangeMessage {
        let mut told = ChangeMessage::default();
        for row in since.iter().flat_map(|changed| &changed.rows) {
            let Some(kind) = self.kinds.iter_mut().find(|kind| kind.kind == row.kind) else { continue };
            if told.more.contains(&kind.name) {
                continue;
            }
            let Some(key) = &row.key else {
                // The id of what changed is unknown, so a caller that watches certain ids is not notified.
                if self.ids.is_none() && kind.reaches(row) {
                    told.more.push(kind.name);
                }
                continue;
            };
            let key = key.to_string();
            if self.ids.as_ref().is_some_and(|ids| !ids.contains(&key)) || !kind.reaches(row) {
                continue;
            }
            let ids = told.changed.entry(kind.name).or_default();
            ids.insert(key);
            if ids.len() > IDS_MAX {
                told.changed.remove(kind.name);
                told.more.push(kind.name);
            }
        }
        told
    }

    /// Returns the message for a caller that missed changes.
    pub(crate) fn loss_message(&self) -> ChangeMessage {
        ChangeMessage { more: self.kinds.iter().map(|kind| kind.name).collect(), reset: true, ..ChangeMessage::default() }
    }
}

impl WantedKind {
    fn reaches(&mut self, row: &ChangedRow) -> bool {
        let Some(scope) = row.scope.as_ref().filter(|_| row.asked.is_empty()) else { return row.is_reached(&self.reach) };
        if self.reach == RowReach::Everything {
            return true;
        }
        if let Some(known) = self.judged.get(scope) {
            return *known;
        }
        if self.judged.len() >= JUDGED_MAX {
            self.judged.clear();
        }
        let is_reached = row.is_reached(&self.reach);
        self.judged.insert(scope.clone(), is_reached);
        is_reached
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::access::limit::Limit;
    use ensue_views::{ReachLimits, Term};

    use super::*;

    fn row(kind: ChangedKind, key: &str, pack: &str, asked: &[&str]) -> ChangedRow {
        let asked = asked.iter().map(|name| (*name).to_owned()).collect();
        ChangedRow { kind, key: Some(Term::Text(key.to_owned())), scope: Some(RowScope::of_pack(pack)), asked }
    }

    fn batch(after: u64, through: u64, rows: Vec<ChangedRow>) -> ChangedRows {
        ChangedRows { after: Position(after), through: Position(through), rows }
    }

    fn some(count: usize) -> Vec<ChangedRow> {
        (0..count).map(|at| row(ChangedKind::Executions, &at.to_string(), "shop", &[])).collect()
    }

    fn within(limit: &str, asked: &[&str]) -> RowReach {
        let limit: Limit = limit.parse().unwrap();
        RowReach::Within(Arc::new(ReachLimits {
            all_of: vec![vec![limit]],
            asked: asked.iter().map(|name| (*name).to_owned()).collect(),
            itself: None,
        }))
    }

    #[test]
    fn changes_after_a_position_are_returned_in_order() {
        let changes = RecentChanges::after(Position(5));
        changes.note(batch(5, 8, some(1)));
        changes.note(batch(8, 9, some(2)));
        let Since::Changed(all, through) = changes.since(Position(5)) else { panic!("lost") };
        assert_eq!((all.len(), through), (2, Position(9)));
        let Since::Changed(rest, _) = changes.since(Position(8)) else { panic!("lost") };
        assert_eq!(rest[0].rows.len(), 2);
        let Since::Changed(whole, _) = changes.since(Position(6)) else { panic!("lost") };
        assert_eq!(whole.len(), 2, "a caller in the middle of a batch gets all of it");
        assert_eq!(changes.since(Position(9)), Since::Changed(Vec::new(), Position(9)));
    }

    #[test]
    fn caller_that_is_too_far_behind_learns_that_changes_are_missing() {
        let changes = RecentChanges::after(Position(5));
        assert_eq!(changes.since(Position(4)), Since::Lost(Position(5)));
        changes.note(batch(5, 6, some(REMEMBERED_MAX)));
        changes.note(batch(6, 7, some(1)));
        assert_eq!(changes.since(Position(5)), Since::Lost(Position(7)));
        assert!(matches!(changes.since(Position(6)), Since::Changed(_, Position(7))));
    }

    #[test]
    fn batch_that_does_not_follow_the_last_one_makes_the_others_unknown() {
        let changes = RecentChanges::after(Position(5));
        changes.note(batch(5, 6, some(1)));
        changes.note(batch(9, 10, some(1)));
        assert_eq!(changes.since(Position(5)), Since::Lost(Position(10)));
        assert_eq!(changes.since(Position(6)), Since::Lost(Position(10)));
    }

    #[test]
    fn caller_learns_of_each_thing_once_and_only_of_those_in_reach() {
        let rows = vec![
            row(ChangedKind::Executions, "a", "shop", &[]),
            row(ChangedKind::Executions, "a", "shop", &[]),
            row(ChangedKind::Executions, "b", "release", &[]),
            row(ChangedKind::Inquiries, "c", "release", &["role:boss"]),
            row(ChangedKind::Inquiries, "d", "release", &["role:other"]),
            row(ChangedKind::Events, "e", "shop", &[]),
        ];
        let since = [Arc::new(batch(0, 1, rows))];
        let kinds = vec![
            ("executions", ChangedKind::Executions, within("pack=shop", &[])),
            ("inquiries", ChangedKind::Inquiries, within("pack=shop", &["role:boss"])),
        ];
        let told = WantedChanges::of(kinds, None).merge(&since);
        let ids = |name: &str| told.changed[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((ids("executions"), ids("inquiries"), told.changed.len()), (vec!["a"], vec!["c"], 2));
        let of_b = BTreeSet::from(["b".to_owned()]);
        let told = WantedChanges::of(vec![("executions", ChangedKind::Executions, RowReach::Everything)], Some(of_b)).merge(&since);
        assert_eq!(told.changed["executions"], BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn callers_get_the_changes_up_to_the_same_position_at_a_tick() {
        let changes = RecentChanges::after(Position(5));
        changes.note(batch(5, 8, some(1)));
        let tick = Tick(3);
        assert!(matches!(changes.since_at(Position(5), tick), Since::Changed(batches, Position(8)) if batches.len() == 1));
        changes.note(batch(8, 9, some(1)));
        assert!(matches!(changes.since_at(Position(5), tick), Since::Changed(batches, Position(8)) if batches.len() == 1), "a late one");
        assert_eq!(changes.since_at(Position(9), tick), Since::Changed(Vec::new(), Position(9)), "it has heard of more already");
        assert!(matches!(changes.since_at(Position(8), Tick(4)), Since::Changed(batches, Position(9)) if batches.len() == 1));
        assert_eq!(changes.since_at(Position(4), Tick(4)), Since::Lost(Position(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_are_at_the_same_times_for_all() {
        let changes = RecentChanges::after(Position(5));
        let (first, at) = changes.next_tick();
        assert_eq!(at - Instant::now(), MERGED_FOR);
        tokio::time::advance(MERGED_FOR - Duration::from_millis(1)).await;
        assert_eq!(changes.next_tick(), (first, at));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(changes.next_tick(), (Tick(2 * first.0), at + MERGED_FOR));
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_get_messages_less_often() {
        let changes = RecentChanges::after(Position(5));
        let few: Vec<Follower> = (0..CROWD).map(|_| changes.follow()).collect();
        assert_eq!(changes.next_tick().1 - Instant::now(), MERGED_FOR);
        let one_more = changes.follow();
        assert_eq!(changes.next_tick().1 - Instant::now(), MERGED_IN_CROWD_FOR);
        drop(one_more);
        assert_eq!(changes.next_tick().1 - Instant::now(), MERGED_FOR);
        drop(few);
        assert_eq!(changes.followers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn message_is_shared_by_callers_with_the_same_kinds_and_reach_only() {
        let changes = RecentChanges::after(Position(0));
        let rows = vec![row(ChangedKind::Executions, "a", "shop", &[]), row(ChangedKind::Executions, "b", "release", &[])];
        let since = [Arc::new(batch(0, 1, rows))];
        let message = |reach: RowReach, ids: Option<BTreeSet<String>>| {
            let mut wanted = WantedChanges::of(vec![("executions", ChangedKind::Executions, reach)], ids);
            changes.message(&mut wanted, &since, (Position(0), Position(1)))
        };
        let (one, other) = (message(RowReach::Everything, None).unwrap(), message(RowReach::Everything, None).unwrap());
        assert!(Arc::ptr_eq(&one, &other) && one.contains(r#"["a","b"]"#), "{one}");
        assert!(message(within("pack=shop", &[]), None).unwrap().contains(r#"["a"]"#));
        assert!(message(within("pack=release", &[]), None).unwrap().contains(r#"["b"]"#));
        assert!(message(RowReach::Everything, Some(BTreeSet::from(["b".to_owned()]))).unwrap().contains(r#"["b"]"#));
        assert_eq!(message(within("pack=other", &[]), None), None);
        let mut later = WantedChanges::of(vec![("executions", ChangedKind::Executions, RowReach::Everything)], None);
        assert_eq!(changes.message(&mut later, &[], (Position(1), Position(1))), None);
    }

    #[test]
    fn kind_with_too_many_changes_is_only_named() {
        let mut wanted = WantedChanges::of(vec![("executions", ChangedKind::Executions, RowReach::Everything)], None);
        let told = wanted.merge(&[Arc::new(batch(0, 1, some(IDS_MAX)))]);
        assert_eq!((told.changed["executions"].len(), told.more.len()), (IDS_MAX, 0));
        let told = wanted.merge(&[Arc::new(batch(0, 1, some(IDS_MAX + 1)))]);
        assert_eq!((told.changed.len(), told.more), (0, vec!["executions"]));
    }

    #[test]
    fn kind_whose_ids_are_unknown_is_only_named_and_only_to_callers_that_reach_all_of_it() {
        let keys = ChangedRow { kind: ChangedKind::Keys, key: None, scope: None, asked: Vec::new() };
        let since = [Arc::new(batch(0, 1, vec![keys]))];
        let told =
            |reach: RowReach, ids: Option<BTreeSet<String>>| WantedChanges::of(vec![("keys", ChangedKind::Keys, reach)], ids).merge(&since);
        assert_eq!(told(RowReach::Everything, None).more, ["keys"]);
        assert!(told(within("pack=shop", &[]), None).is_empty());
        assert!(told(RowReach::Everything, Some(BTreeSet::from(["a".to_owned()]))).is_empty());
    }
}
