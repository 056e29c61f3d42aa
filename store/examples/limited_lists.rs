//! Measures how long a page of executions takes for callers whose rights are limited: 1,000,000 executions in 400 scopes.
//!
//!     cargo run --release -p ensue-store --example limited_lists

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::store::{Change, Changes, CountQuery, NewRow};
use ensue_views::{Column, ListQuery, RowReach, RowScope, Term, ViewName, ViewReader, ViewStore, Within};

/// The number of executions.
const EXECUTIONS: u64 = 1_000_000;
/// The number of rows that are stored at once.
const ROWS_AT_ONCE: u64 = 10_000;
/// The number of scopes. The first ten have half of the executions.
const SCOPES: u64 = 400;
/// How often each page is read.
const TIMES: usize = 20;

fn site(number: u64) -> u64 {
    // Mixes the sites among each other.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    if mixed.is_multiple_of(2) { mixed / 2 % 10 } else { 10 + mixed / 2 % (SCOPES - 10) }
}

fn row(number: u64) -> NewRow {
    let (id, at) = (Id::root(Timestamp::from_micros(0), u128::from(number)), Timestamp::from_micros(number.cast_signed()));
    let site = site(number);
    // Executions of the rarest site are all old, and none of a common site timed out.
    let site = if number < 20 { SCOPES } else { site };
    let status = if number.is_multiple_of(100) { "failed" } else { "succeeded" };
    let label = format!("site=s{site}");
    let action = format!("release.act{}", number % 50);
    let document = format!(
        r#"{{"id":"{id}","position":{number},"revision":4,"action":"{action}","status":"{status}","attempt":1,"priority":0,"labels":{{"site":"s{site}"}},"requested_at":"2026-03-28T12:00:00.000000Z","correlation":"{id}","actor":"token/ana","catalog":1}}"#
    );
    NewRow {
        key: Term::Id(id),
        position: Position(number),
        began_at: at,
        columns: vec![
            Some(status.into()),
            Some(action.as_str().into()),
            None,
            Some(Term::Id(id)),
            None,
            None,
            Some(Term::Texts(vec![label.clone()])),
        ],
        scope: Some(RowScope { place: format!("release\n{label}"), root_action: Some(action) }),
        document: Bytes::from(document),
    }
}

fn within(limits: impl IntoIterator<Item = String>) -> Result<RowReach, Box<dyn Error>> {
    let limits = limits.into_iter().map(|limit| limit.parse()).collect::<Result<Vec<_>, _>>()?;
    Ok(RowReach::Within(Within { all_of: vec![limits], ..Within::default() }.into()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut views = SqliteViews::open(&folder.path().join("views.sqlite"), LogId(Id::root(Timestamp::from_micros(0), 1)))?;
    let begun = Instant::now();
    for from in (1..=EXECUTIONS).step_by(usize::try_from(ROWS_AT_ONCE)?) {
        let through = from + ROWS_AT_ONCE - 1;
        let rows = (from..=through).map(|number| (ViewName::Executions, Change::Insert(row(number)))).collect();
        views.apply(&Changes { through: Position(through), rows, ..Changes::default() })?;
    }
    println!("{EXECUTIONS} executions stored in {:.1?}", begun.elapsed());
    let reader = views.reader();
    let sites = |sites: std::ops::Range<u64>| within(sites.map(|site| format!("label:site=s{site}")));
    let reaches = [
        ("everything", RowReach::Everything),
        ("1 common scope", sites(0..1)?),
        ("1 rare scope", sites(SCOPES..SCOPES + 1)?),
        ("10 common scopes", sites(0..10)?),
        ("10 rare scopes", sites(10..20)?),
        ("390 scopes", sites(10..SCOPES)?),
        ("401 scopes", within(["pack=release".to_owned()])?),
        ("1 common scope and an action", within(["action=release.act7,label:site=s1".to_owned()])?),
        ("an action", within(["action=release.act7".to_owned()])?),
    ];
    for (what, reach) in reaches {
        let all = || ListQuery { limit: 51, ..ListQuery::newest(ViewName::Executions, reach.clone()) };
        let filtered = [
            ("no filter", all()),
            ("failed", all().with(Column::Status, "failed")),
            ("none timed out", all().with(Column::Status, "timed_out")),
            ("action", all().with(Column::Action, "release.act3")),
            ("label", all().with(Column::Label, "site=s3")),
            ("deep", ListQuery { after: Some(Position(EXECUTIONS / 2)), ..all() }),
        ];
        for (filter, query) in filtered {
            let mut times = Vec::with_capacity(TIMES);
            let mut found = 0;
            for _ in 0..TIMES {
                let begun = Instant::now();
                let page = reader.find(&query)?;
                times.push(begun.elapsed());
                found = page.rows.len();
            }
            times.sort_unstable();
            let at = |part: usize| times.get(TIMES * part / 100).copied().unwrap_or(Duration::ZERO);
            println!("{what}, {filter}: {found} rows, p50 {:.2?}, p95 {:.2?}", at(50), at(95));
        }
        let begun = Instant::now();
        let counts = reader.count(&CountQuery { rows: all(), by: vec![Column::Status] })?;
        println!("{what}, counted by status: {} in {:.1?}", counts.counted, begun.elapsed());
    }
    Ok(())
}
