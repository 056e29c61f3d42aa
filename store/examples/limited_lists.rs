//! Measures how long a page of executions takes for callers whose rights are limited: 1,000,000 executions in 400 scopes.
//!
//! The mean processor time is the cost of a page, whatever else the machine does. It is measured on Linux only.
//!
//!     cargo run --release -p ensue-store --example limited_lists           # in a temporary directory
//!     cargo run --release -p ensue-store --example limited_lists -- DIR    # keeps the views there

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_engine::ids::{Id, LogId};
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_store::sqlite::views::SqliteViews;
use ensue_views::store::{Change, Changes, CountQuery, NewRow};
use ensue_views::{Column, ListQuery, ReachLimits, RowReach, RowScope, Term, ViewName, ViewReader, ViewStore};

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
    let (action, rule) = (format!("release.act{}", number % 50), format!("release.rule{}", number % 20));
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
            Some(rule.as_str().into()),
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
    Ok(RowReach::Within(ReachLimits { all_of: vec![limits], ..ReachLimits::default() }.into()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let mut views = SqliteViews::open(&folder.join("views.sqlite"), LogId(Id::root(Timestamp::from_micros(0), 1)))?;
    let begun = Instant::now();
    for from in (views.position().0 + 1..=EXECUTIONS).step_by(usize::try_from(ROWS_AT_ONCE)?) {
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
    let mut slowest = [(Duration::ZERO, String::new()), (Duration::ZERO, String::new())];
    for (what, reach) in reaches {
        let all = || ListQuery { limit: 51, ..ListQuery::newest(ViewName::Executions, reach.clone()) };
        let filtered = [
            ("no filter", all()),
            ("failed", all().with(Column::Status, "failed")),
            ("none timed out", all().with(Column::Status, "timed_out")),
            ("action", all().with(Column::Action, "release.act3")),
            ("rule", all().with(Column::Rule, "release.rule3")),
            ("action and failed", all().with(Column::Action, "release.act3").with(Column::Status, "failed")),
            ("label", all().with(Column::Label, "site=s3")),
            ("since", ListQuery { since: Some(Timestamp::from_micros(EXECUTIONS.cast_signed() / 2)), ..all() }),
            ("deep", ListQuery { after: Some(Position(EXECUTIONS / 2)), ..all() }),
        ];
        for (filter, query) in filtered {
            let (mut times, mut found, used) = (Vec::with_capacity(TIMES), 0, processor_time());
            for _ in 0..TIMES {
                let begun = Instant::now();
                let page = reader.find(&query)?;
                times.push(begun.elapsed());
                found = page.rows.len();
            }
            let used = processor_time().saturating_sub(used).div_f64(TIMES as f64);
            times.sort_unstable();
            let at = |part: usize| times.get(TIMES * part / 100).copied().unwrap_or(Duration::ZERO);
            println!("{what}, {filter}: {found} rows, p50 {:.2?}, p95 {:.2?}; of the processor {used:.1?}", at(50), at(95));
            for (slowest, took) in slowest.iter_mut().zip([at(95), used]) {
                if took > slowest.0 {
                    *slowest = (took, format!("{what}, {filter}"));
                }
            }
        }
        for by in [vec![Column::Status], vec![Column::Action], vec![Column::Rule, Column::Status]] {
            let (begun, used) = (Instant::now(), processor_time());
            let counts = reader.count(&CountQuery { rows: all(), by: by.clone() })?;
            let (took, used) = (begun.elapsed(), processor_time().saturating_sub(used));
            let by = by.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            println!("{what}, counted by {by}: {} in {took:.1?}; of the processor {used:.1?}", counts.counted);
        }
    }
    for (of, (took, page)) in ["p95", "of the processor"].iter().zip(slowest) {
        println!("the slowest page, {of}: {took:.2?} ({page})");
    }
    Ok(())
}

/// Returns how long this thread has run on a processor, to some milliseconds; zero if the machine does not tell.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}
