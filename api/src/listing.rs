//! Lists: pages over a view, filtered by its columns, and pages over the catalog.
//!
//! The form of an item is defined in `wire`; the routes define the filters.

use ensue_engine::record::Position;
use ensue_views::store::{Filter, ListQuery, Order};
use ensue_views::{Column, RowReach, View, ViewError, ViewName};

use crate::auth::{AllowedCaller, Proof};
use crate::call::Call;
use crate::paging::{CursorInvalid, PageRequest};
use crate::period::PeriodQuery;
use crate::permissions::Permission;
use crate::problem::Problem;
use crate::query::{FromQuery as _, Query, words};

/// The parameter that selects rows by their keys.
#[derive(Query)]
pub(crate) struct IdQuery {
    /// Only those with one of these ids.
    #[query(several = IDS_MAX)]
    pub(crate) id: Vec<String>,
}

/// The parameter of the order of a list over a view.
#[derive(Query)]
pub(crate) struct SortQuery {
    /// The order by position: the newest first (`-position`, the default) or the oldest first (`position`).
    sort: Option<Order>,
}

words!(Order ["-position" => Self::NewestFirst, "position" => Self::OldestFirst]);

/// The maximum number of rows that one request reads if it filters them.
pub(crate) const SCANNED_MAX: usize = 500;

/// The maximum number of repetitions of `id`, and of the ids in one of them.
const IDS_MAX: usize = 200;

/// One page of a list.
pub(crate) struct ListPage<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The place of the last item, if there are more.
    pub(crate) next: Option<String>,
    /// The request.
    pub(crate) page: PageRequest,
}

/// Reads a page of the rows of a view that these filters select, in the requested order. The parameter `id` selects rows by
/// their keys.
pub(crate) async fn rows<V, P>(call: &Call, allowed: &AllowedCaller<P>, filters: Vec<Filter>) -> Result<ListPage<V>, Problem>
where
    V: View + Send + 'static,
    P: Permission,
{
    rows_within(call, allowed, filters, allowed.rows()).await
}

/// The same, with the rows that the caller reaches.
pub(crate) async fn rows_within<V, P>(
    call: &Call,
    allowed: &AllowedCaller<P>,
    filters: Vec<Filter>,
    reach: RowReach,
) -> Result<ListPage<V>, Problem>
where
    V: View + Send + 'static,
    P: Permission,
{
    let page = call.page(allowed)?;
    // One more row than is shown reveals whether there is more.
    let scanned_max = page.limit + 1;
    let read = read_rows::<V>(call, page.after.as_deref(), filters, (reach, scanned_max)).await?;
    Ok(select_page(read, scanned_max, page, |_| true))
}

/// The same, with only the rows that `keep` selects: a filter by something that is not a column. One request
/// reads [`SCANNED_MAX`] rows at most, so the page may hold fewer items than its limit, or none, and still
/// have a next page.
pub(crate) async fn rows_picked<V, P>(
    call: &Call,
    allowed: &AllowedCaller<P>,
    filters: Vec<Filter>,
    reach: RowReach,
    keep: impl Fn(&V) -> bool,
) -> Result<ListPage<V>, Problem>
where
    V: View + Send + 'static,
    P: Permission,
{
    let page = call.page(allowed)?;
    let read = read_rows::<V>(call, page.after.as_deref(), filters, (reach, SCANNED_MAX)).await?;
    Ok(select_page(read, SCANNED_MAX, page, keep))
}

/// Returns the selected rows, up to the limit of the page. The next page begins after the last row that was
/// read.
fn select_page<V: View>((read, stopped_at): ReadRows<V>, scanned_max: usize, page: PageRequest, keep: impl Fn(&V) -> bool) -> ListPage<V> {
    let (mut items, mut last) = (Vec::new(), None);
    let is_whole = read.len() < scanned_max;
    for row in read {
        let position = row.position();
        let is_kept = keep(&row);
        if is_kept && items.len() == page.limit {
            return ListPage { items, next: last.map(|last: Position| last.0.to_string()), page };
        }
        last = Some(position);
        if is_kept {
            items.push(row);
        }
    }
    let next = if is_whole { stopped_at } else { last }.map(|last| last.0.to_string());
    ListPage { items, next, page }
}

/// The rows that were read, and the last row that was looked at if the views stopped looking.
type ReadRows<V> = (Vec<V>, Option<Position>);

/// Reads at most `limit` rows of a view that the caller reaches after the place, in the requested order.
async fn read_rows<V>(
    call: &Call,
    after: Option<&str>,
    filters: Vec<Filter>,
    (reach, limit): (RowReach, usize),
) -> Result<ReadRows<V>, Problem>
where
    V: View + Send + 'static,
{
    let query = call.query();
    let list = ListQuery {
        filters,
        order: SortQuery::read(query)?.sort.unwrap_or(Order::NewestFirst),
        after: after.map(place).transpose()?,
        limit,
        ..list_query(query, V::NAME, if V::NAME.is_scoped() { reach } else { RowReach::Everything })?
    };
    let rows = call.api().threads.blocking(move |ports| {
        let found = ports.views.find(&list)?;
        Ok::<_, ViewError>((found.rows.iter().map(ensue_views::Row::read).collect::<Result<_, _>>()?, found.stopped_at))
    });
    Ok(rows.await??)
}

/// Returns a query for the rows with the requested ids and times, among those that the caller reaches.
pub(crate) fn list_query(query: &Query, view: ViewName, reach: RowReach) -> Result<ListQuery, Problem> {
    let (IdQuery { id }, PeriodQuery { since, until }) = (IdQuery::read(query)?, PeriodQuery::read(query)?);
    Ok(ListQuery { keys: (!id.is_empty()).then_some(id), since, until, ..ListQuery::newest(view, reach) })
}

/// Returns the filter for rows with any of these values, if there are any.
pub(crate) fn any_of(column: Column, values: Vec<String>) -> Option<Filter> {
    (!values.is_empty()).then(|| Filter::any_of(column, values))
}

/// Returns the filters for rows with all of these values.
pub(crate) fn all_of(column: Column, values: Vec<String>) -> impl Iterator<Item = Filter> {
    values.into_iter().map(move |value| Filter::is(column, value))
}

/// Returns a page of items that are in memory, such as those of the catalog, in the order of their names.
pub(crate) fn of_catalog<T>(
    call: &Call,
    allowed: &impl Proof,
    all: impl Iterator<Item = T>,
    name: impl Fn(&T) -> String,
) -> Result<ListPage<T>, Problem> {
    let page = call.page(allowed)?;
    let rest = all.filter(|item| page.after.as_ref().is_none_or(|after| name(item) > *after));
    let mut items: Vec<T> = rest.take(page.limit + 1).collect();
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if has_more { items.last().map(&name) } else { None };
    Ok(ListPage { items, next, page })
}

/// Parses a place of a list over a view: only signed text gets here.
pub(crate) fn place(text: &str) -> Result<Position, CursorInvalid> {
    text.parse().map(Position).map_err(|_| CursorInvalid)
}
