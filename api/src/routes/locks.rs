//! Locks: their holders, the executions that wait for them, and since when.

use ensue_views::RowReach;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use ensue_engine::locks::facts::Lock;
use ensue_engine::record::{CatalogRevision, Position};
use ensue_views::store::{LIST_ROWS_MAX, Order};
use ensue_views::{Column, Filter, ListQuery, LockClaims, Row, ViewName};

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::permissions::LocksRead;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::Query;
use crate::wire::locks::{WireHolder, WireLock, WireWaiter};

/// How many holders, and how many waiting executions, of a lock are shown.
const SHOWN_MAX: usize = 100;

/// A lock, as put together from the rows of its executions.
#[derive(Default)]
struct GatheredLock {
    limit: (CatalogRevision, u32),
    holders: Vec<WireHolder>,
    waiters: Vec<(Reverse<i8>, Position, WireWaiter)>,
}

/// The parameters that select locks by their owners.
#[derive(Query)]
struct LockQuery {
    /// Only those with one of these names.
    #[query(column)]
    action: Vec<String>,
    /// Only those with one of these names.
    #[query(column)]
    rule: Vec<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<LocksRead>(
        "/locks",
        list,
        Operation::lists::<WireLock>(
            "lock_list",
            "Lists the locks that are held or awaited, by the rules and actions that they belong to",
            &[LockQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
}

/// Lists locks by their owners: first those of rules, then those of actions.
pub(super) async fn list(allowed: AllowedCaller<LocksRead>, call: Call) -> Outcome {
    let filters = call.parameters::<LockQuery>()?.filters();
    let locks = call.api().threads.blocking(move |ports| gather_locks(ports, &filters)).await??;
    let name = |(lock, _): &(Lock, GatheredLock)| format!("{} {} {}", lock.owner.noun(), lock.owner.as_str(), lock.key);
    let mut locks: Vec<(Lock, GatheredLock)> = locks.into_iter().collect();
    locks.sort_by_cached_key(name);
    let listed = listing::of_catalog(&call, &allowed, locks.into_iter(), name)?;
    let items = listed.items.into_iter().map(|(lock, gathered)| gathered.into_wire(lock, SHOWN_MAX)).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Returns the locks that executions wait for, those with the most waiting executions first, each with the first of its
/// holders and of the waiting executions. Blocking.
pub(super) fn most_awaited(ports: &Ports, most: usize, shown_max: usize) -> Result<Vec<WireLock>, Problem> {
    let mut locks: Vec<(Lock, GatheredLock)> = gather_locks(ports, &[])?.into_iter().filter(|(_, lock)| !lock.waiters.is_empty()).collect();
    locks.sort_by_key(|(_, lock)| Reverse(lock.waiters.len()));
    Ok(locks.into_iter().take(most).map(|(lock, gathered)| gathered.into_wire(lock, shown_max)).collect())
}

/// Reads all rows, of which there are at most as many as open executions, and groups them by lock. Blocking.
fn gather_locks(ports: &Ports, filters: &[Filter]) -> Result<BTreeMap<Lock, GatheredLock>, Problem> {
    let mut locks: BTreeMap<Lock, GatheredLock> = BTreeMap::new();
    let mut after = None;
    loop {
        let filters = filters.to_vec();
        let query = ListQuery {
            filters,
            order: Order::OldestFirst,
            after,
            limit: LIST_ROWS_MAX,
            ..ListQuery::newest(ViewName::Locks, RowReach::Everything)
        };
        let rows: Vec<LockClaims> = ports.views.list(&query)?.iter().map(Row::read).collect::<Result<_, _>>()?;
        let Some(last) = rows.last() else { break };
        after = Some(last.position);
        rows.iter().for_each(|row| take_in(&mut locks, row, &filters_of(&query)));
    }
    Ok(locks)
}

fn filters_of(query: &ListQuery) -> Vec<(Column, Vec<String>)> {
    query.filters.iter().map(|filter| (filter.column, filter.any_of.clone())).collect()
}

fn take_in(locks: &mut BTreeMap<Lock, GatheredLock>, row: &LockClaims, filters: &[(Column, Vec<String>)]) {
    let awaited = row.awaits().map(|claim| &claim.lock);
    for claim in &row.claims {
        // An execution may need both its rule's lock and its action's lock: only the requested lock is shown.
        let owner = &claim.lock.owner;
        if !filters.iter().all(|(column, names)| column.as_str() == owner.noun() && names.iter().any(|name| name == owner.as_str())) {
            continue;
        }
        let since = claim.held_since.or(row.waits_since.filter(|_| awaited == Some(&claim.lock)));
        let Some(since) = since else { continue };
        let lock = locks.entry(claim.lock.clone()).or_default();
        if row.catalog >= lock.limit.0 {
            lock.limit = (row.catalog, claim.limit);
        }
        if claim.held_since.is_some() {
            lock.holders.push(WireHolder { execution: row.id, since });
        } else {
            let waiter = WireWaiter { execution: row.id, since, place: 0, priority: row.priority, is_paused: row.is_paused };
            lock.waiters.push((Reverse(row.priority), row.position, waiter));
        }
    }
}

impl GatheredLock {
    fn into_wire(mut self, lock: Lock, shown_max: usize) -> WireLock {
        self.holders.sort_by_key(|holder| holder.since);
        self.waiters.sort_by_key(|(priority, position, _)| (*priority, *position));
        let waiters = (1..).zip(self.waiters).map(|(place, (_, _, waiter))| WireWaiter { place, ..waiter }).collect();
        WireLock::new(lock, self.limit.1, self.holders, waiters, shown_max)
    }
}
