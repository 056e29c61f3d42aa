//! Lists: pages over a view, filtered by its columns, and pages over what the catalog holds.
//!
//! How an item looks is `wire`'s; what may be filtered by is said by who asks.

use ensue_engine::record::Position;
use ensue_views::store::{Filter, ListQuery, Order};
use ensue_views::{Column, View};

use crate::auth::Allowed;
use crate::call::Call;
use crate::paging::{CursorInvalid, Page};
use crate::permissions::Permission;
use crate::problem::Problem;

/// The orders in which a list over a view is read, by the names of the parameter `sort`; the first is that of a list which is asked for without.
pub(crate) const SORTS: [(&str, Order); 2] = [("-position", Order::NewestFirst), ("position", Order::OldestFirst)];

/// One page of a list.
pub(crate) struct Listed<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The place of the last item, where there are more.
    pub(crate) next: Option<String>,
    /// What was asked.
    pub(crate) page: Page,
}

/// Reads a page of a view in the order that is asked for. Each of `columns` is filtered by the parameter of its name.
pub(crate) async fn rows<V, P>(call: &Call, allowed: &Allowed<P>, columns: &[Column]) -> Result<Listed<V>, Problem>
where
    V: View + Send + 'static,
    P: Permission,
{
    rows_where(call, allowed, columns, Vec::new()).await
}

/// The same, with filters that the caller does not choose.
pub(crate) async fn rows_where<V, P>(
    call: &Call,
    allowed: &Allowed<P>,
    columns: &[Column],
    mut filters: Vec<Filter>,
) -> Result<Listed<V>, Problem>
where
    V: View + Send + 'static,
    P: Permission,
{
    const TIME: &str = "a time such as 2026-03-28T09:00:00Z";
    let query = call.query();
    let page = call.page(allowed)?;
    let given = columns.iter().filter_map(|column| Some(Filter::is(*column, query.text(column.as_str())?)));
    filters.extend(given);
    let list = ListQuery {
        view: V::NAME,
        filters,
        since: query.parsed("since", TIME)?,
        until: query.parsed("until", TIME)?,
        order: query.one_of("sort", &SORTS)?.unwrap_or(SORTS[0].1),
        after: page.after.as_deref().map(place).transpose()?,
        // One more than is shown says whether there is more.
        limit: page.limit + 1,
    };
    let mut items = call
        .api()
        .blocking(move |ports| -> Result<Vec<V>, _> { ports.views.list(&list)?.iter().map(ensue_views::Row::read).collect() })
        .await??;
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if has_more { items.last().map(|item| item.position().0.to_string()) } else { None };
    Ok(Listed { items, next, page })
}

/// Takes a page of what the catalog holds, in the order of the names.
pub(crate) fn of_catalog<P: Permission, T>(
    call: &Call,
    allowed: &Allowed<P>,
    all: impl Iterator<Item = T>,
    name: impl Fn(&T) -> String,
) -> Result<Listed<T>, Problem> {
    let page = call.page(allowed)?;
    let rest = all.filter(|item| page.after.as_ref().is_none_or(|after| name(item) > *after));
    let mut items: Vec<T> = rest.take(page.limit + 1).collect();
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if has_more { items.last().map(&name) } else { None };
    Ok(Listed { items, next, page })
}

/// Reads a place of a list over a view: only what was signed comes here.
pub(crate) fn place(text: &str) -> Result<Position, CursorInvalid> {
    text.parse().map(Position).map_err(|_| CursorInvalid)
}
