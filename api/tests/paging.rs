//! Lists, read page by page while new entries arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::TestApi;

/// The lists over views, which can be read in both orders.
const SORTED: [&str; 8] = [
    "/api/v1/events",
    "/api/v1/enforcements",
    "/api/v1/executions",
    "/api/v1/parked_reactions",
    "/api/v1/dead_letters",
    "/api/v1/keys",
    "/api/v1/tokens",
    "/api/v1/executions/{id}/artifacts",
];

/// Reads a list to its end in pages of a size. Before each page except the first, as many events arrive as
/// `between` says.
async fn read_whole(api: &TestApi, path: &str, limit: usize, between: &[usize]) -> Vec<Value> {
    let mut read = Vec::new();
    let mut cursor = String::new();
    let mut between = between.iter();
    loop {
        let page = api.get(&format!("{path}limit={limit}{cursor}")).by("viewer").answer().await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{page}");
        read.extend(items.iter().cloned());
        let Some(next) = page["next"].as_str() else { return read };
        cursor = format!("&cursor={next}");
        for _ in 0..between.next().copied().unwrap_or(0) {
            api.event("Cy").await;
        }
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn list_neither_skips_nor_repeats_entries_while_new_ones_arrive(
        before in 0_usize..12,
        limit in 1_usize..5,
        between in vec(0_usize..4, 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = TestApi::new();
            let mut sent = Vec::new();
            for _ in 0..before {
                sent.push(api.event("Bo").await);
            }
            // Newest first: new events would be before the first page.
            sent.reverse();
            let read = read_whole(&api, "/api/v1/events?", limit, &between).await;
            assert_eq!(ids(&read), sent);
            // Oldest first: new events are after the last page and belong to it. They arrive once, so there
            // is an end.
            let read = read_whole(&api, "/api/v1/events?sort=position&", limit, &between).await;
            let mut newest_first = ids(&read);
            newest_first.reverse();
            assert_eq!(newest_first, ids(&read_whole(&api, "/api/v1/events?sort=-position&", limit, &[]).await));
            let read = read_whole(&api, "/api/v1/log?", limit, &between).await;
            let positions: Vec<u64> = read.iter().map(|record| record["position"].as_u64().unwrap()).collect();
            assert_eq!(positions, (1..=api.node.head_position()).collect::<Vec<_>>());
        });
    }
}

#[tokio::test]
async fn list_is_read_page_by_page_without_gaps_or_repeats() {
    let api = TestApi::new();
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(api.event("cy").await);
    }
    let mut read = Vec::new();
    let mut path = "/api/v1/events?limit=2&trigger=demo.hello".to_owned();
    loop {
        let page = api.get(&path).by("viewer").answer().await.expect(200);
        let body = page.json();
        read.extend(body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        // New events are after the cursor's start, and are not seen.
        api.event("cy").await;
        match body["next"].as_str() {
            None => {
                assert!(page.header("link").is_none());
                break;
            }
            Some(cursor) => {
                let link = page.header("link").unwrap();
                assert!(link.starts_with("<https://ensue.example.test/api/v1/events?") && link.ends_with("; rel=\"next\""), "{link}");
                assert!(link.contains(&format!("cursor={cursor}")), "{link}");
                path = format!("/api/v1/events?limit=2&trigger=demo.hello&cursor={cursor}");
            }
        }
    }
    sent.reverse();
    assert_eq!(read, sent);
}

#[tokio::test]
async fn cursor_belongs_to_its_caller_and_list() {
    let api = TestApi::new();
    for _ in 0..3 {
        api.event("cy").await;
    }
    let page = api.get("/api/v1/events?limit=1").by("viewer").answer().await.expect(200).json();
    let cursor = page["next"].as_str().unwrap();
    let ask = |path: String, role: &'static str| api.get(&path).by(role).answer();
    ask(format!("/api/v1/events?cursor={cursor}"), "viewer").await.expect(200);
    ask(format!("/api/v1/events?cursor={cursor}"), "admin").await.expect_problem(400, "cursor_invalid");
    ask(format!("/api/v1/executions?cursor={cursor}"), "viewer").await.expect_problem(400, "cursor_invalid");
    ask(format!("/api/v1/events?trigger=demo.hello&cursor={cursor}"), "viewer").await.expect_problem(400, "cursor_invalid");
    ask(format!("/api/v1/events?cursor={}", &cursor[1..]), "viewer").await.expect_problem(400, "cursor_invalid");
    ask(format!("/api/v1/events?sort=position&cursor={cursor}"), "viewer").await.expect_problem(400, "cursor_invalid");
    ask("/api/v1/events?cursor=".to_owned(), "viewer").await.expect_problem(400, "cursor_invalid");
}

#[tokio::test]
async fn view_list_can_be_read_in_both_orders() {
    let api = TestApi::new();
    let mut sent = Vec::new();
    for name in ["ana", "bo", "cy"] {
        sent.push(api.event(name).await);
    }
    let read = async |sort: &str| {
        let page = api.get(&format!("/api/v1/events?limit=2{sort}")).by("viewer").answer().await.expect(200);
        let items = page.json()["items"].as_array().unwrap().clone();
        ids(&items).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(read("&sort=position").await, sent[..2]);
    sent.reverse();
    assert_eq!((read("&sort=-position").await, read("").await), (sent[..2].to_vec(), sent[..2].to_vec()));
    let next = api.get("/api/v1/events?limit=2&sort=position").by("viewer").answer().await.expect(200);
    assert!(next.header("link").unwrap().contains("sort=position&"), "the next page is of the same order");
}

#[tokio::test]
async fn unknown_sort_order_is_rejected_with_the_list_of_valid_ones() {
    let api = TestApi::new();
    let id = api.execution().await;
    for path in SORTED {
        let path = path.replace("{id}", &id);
        for order in ["position", "-position"] {
            api.get(&format!("{path}?sort={order}")).by("admin").answer().await.expect(200);
        }
        for unknown in ["", "time", "+position", "position,-position", "POSITION"] {
            let refused = api.get(&format!("{path}?sort={unknown}")).by("admin").answer().await.expect_problem(400, "bad_parameter");
            assert!(refused["detail"].as_str().unwrap().ends_with("it must be one of `-position`, `position`"), "{path}: {refused}");
        }
    }
    for fixed in ["/api/v1/rules", &format!("/api/v1/executions/{id}/timeline")] {
        api.get(&format!("{fixed}?sort=position")).by("admin").answer().await.expect_problem(400, "unknown_parameter");
    }
}

#[tokio::test]
async fn records_are_filtered_by_what_they_say_of_themselves() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let other = api.event("bo").await;
    let read = async |query: &str| {
        let page = api.get(&format!("/api/v1/log?limit=200&{query}")).by("viewer").answer().await.expect(200).json();
        assert_eq!(page["next"], Value::Null, "{query}");
        page["items"].as_array().unwrap().clone()
    };
    let all = read("").await;
    let having = |keeps: &dyn Fn(&Value) -> bool| all.iter().filter(|record| keeps(record)).cloned().collect::<Vec<_>>();
    let kinds = read("kind=event.received,enforcement.made").await;
    assert_eq!(kinds, having(&|record| ["event.received", "enforcement.made"].contains(&record["kind"].as_str().unwrap())));
    let caused = read(&format!("root={event}")).await;
    assert!(caused.len() > 1 && caused.len() < all.len());
    assert!(caused.iter().all(|record| record["cause"]["root"] == event.as_str()), "{caused:?}");
    let actor = all.iter().find(|record| record["id"] == other.as_str()).unwrap()["actor"].as_str().unwrap();
    assert_eq!(read(&format!("actor={actor}&kind=event.received")).await.len(), 2);
    let stream = caused[0]["stream"].as_str().unwrap();
    assert_eq!(read(&format!("stream={stream}")).await, having(&|record| record["stream"] == stream));
    assert_eq!(read("since=2999-01-01T00:00:00Z").await, [] as [Value; 0]);
    assert_eq!(read("until=2999-01-01T00:00:00Z&bodies=false").await.len(), all.len());
    let first = api.get(&format!("/api/v1/log?limit=1&root={other}")).by("viewer").answer().await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/log?limit=1&root={other}&cursor={next}")).by("viewer").answer().await.expect(200).json();
    assert!(second["items"][0]["position"].as_u64() > first["items"][0]["position"].as_u64());
    for refused in ["kind=nothing.happened", "root=nothing", "since=soon"] {
        api.get(&format!("/api/v1/log?{refused}")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
    }
}

#[tokio::test]
async fn log_is_listed_from_its_newest_record_without_gap_or_repeat() {
    let api = TestApi::new();
    for _ in 0..3 {
        api.event("ana").await;
    }
    let head = api.node.head_position();
    for (filter, limit) in [("", 3), ("", 200), ("&kind=event.received", 1), ("&kind=event.received", 2)] {
        let read = async |order: &str| {
            let mut positions = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!("/api/v1/log?limit={limit}&sort={order}{filter}{cursor}");
                let page = api.get(&path).by("viewer").answer().await.expect(200).json();
                positions.extend(page["items"].as_array().unwrap().iter().map(|record| record["position"].as_u64().unwrap()));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return positions,
                }
            }
        };
        let mut newest = read("-position").await;
        assert!(!filter.is_empty() || newest.first() == Some(&head));
        newest.reverse();
        assert_eq!(newest, read("position").await, "{filter} {limit}");
    }
    api.get("/api/v1/log?sort=-position&after=3").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}
