//! Answers about earlier positions: they are what the same read answered then.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::command::Ask;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::Actor;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::TestApi;

/// One of the things that happen in a story. The number picks the thing that it happens to.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Event(&'static str),
    Change,
    Asks,
    Answers(usize),
    Cancels(usize),
    Succeeds(usize),
    Fails(usize),
    Loses(usize),
    Pauses(usize),
    Resumes(usize),
    Mode(&'static str),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => prop::sample::select(vec!["ana", "bo", "cy"]).prop_map(Happens::Event),
        2 => Just(Happens::Change),
        2 => Just(Happens::Asks),
        2 => (0_usize..8).prop_map(Happens::Answers),
        1 => (0_usize..8).prop_map(Happens::Cancels),
        4 => (0_usize..8).prop_map(Happens::Succeeds),
        2 => (0_usize..8).prop_map(Happens::Fails),
        1 => (0_usize..8).prop_map(Happens::Loses),
        1 => (0_usize..8).prop_map(Happens::Pauses),
        1 => (0_usize..8).prop_map(Happens::Resumes),
        1 => prop::sample::select(vec!["disable", "shadow", "enable"]).prop_map(Happens::Mode),
    ]
}

async fn ids(api: &TestApi, list: &str) -> Vec<String> {
    let listed = api.get(&format!("/api/v1/{list}limit=200&sort=position")).by("admin").answer().await.expect(200).json();
    listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Lets it happen, unless there is nothing that it could happen to.
async fn let_happen(api: &TestApi, happens: Happens) {
    let nth = |all: Vec<String>, index: usize| (!all.is_empty()).then(|| all[index % all.len()].clone());
    match happens {
        Happens::Event(name) => drop(api.event(name).await),
        Happens::Change => {
            let sent = api.post("/api/v1/events").by("admin").json(&json!({ "trigger": "demo.change", "payload": {} }));
            sent.answer().await.expect(202);
        }
        Happens::Asks => drop(api.inquiry().await),
        Happens::Answers(index) => {
            let Some(id) = nth(ids(api, "inquiries?status=open&").await, index) else { return };
            api.post(&format!("/api/v1/inquiries/{id}/respond")).by("admin").json(&json!({ "answer": {} })).answer().await;
        }
        Happens::Cancels(index) | Happens::Pauses(index) | Happens::Resumes(index) => {
            let verb = match happens {
                Happens::Cancels(_) => "cancel",
                Happens::Pauses(_) => "pause",
                _ => "resume",
            };
            let Some(id) = nth(ids(api, "executions?").await, index) else { return };
            api.post(&format!("/api/v1/executions/{id}/{verb}")).by("admin").answer().await;
        }
        Happens::Succeeds(index) | Happens::Fails(index) | Happens::Loses(index) => {
            let Some(id) = nth(ids(api, "executions?status=running&").await, index) else { return };
            match happens {
                Happens::Succeeds(_) => api.node.succeed(&id, r#"{"done": true}"#),
                Happens::Fails(_) => api.node.fail(&id),
                _ => api.node.lose(&id),
            }
        }
        Happens::Mode(verb) => drop(api.post(&format!("/api/v1/rules/demo.greet/{verb}")).by("admin").answer().await.expect(200)),
    }
}

/// Lists the paths of all things that there are.
async fn paths(api: &TestApi) -> Vec<String> {
    let mut paths = Vec::new();
    for noun in ["events", "enforcements", "executions", "inquiries"] {
        let ids = ids(api, &format!("{noun}?")).await;
        paths.extend(ids.iter().map(|id| format!("/api/v1/{noun}/{id}")));
        if noun == "events" || noun == "executions" {
            paths.extend(ids.iter().map(|id| format!("/api/v1/trace/{id}")));
        }
    }
    paths.extend(["demo.greet", "demo.ship"].map(|rule| format!("/api/v1/rules/{rule}")));
    paths
}

/// Leaves out what an answer about an earlier position does not say: what its reader may do, whether it is overdue, the
/// last success before it, and the matches of a rule.
fn without_the_present(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().unwrap();
    for name in ["may_answer", "may_not_answer", "is_overdue", "last_success"] {
        fields.remove(name);
    }
    for name in ["matched", "matched_at"] {
        if fields.contains_key("declared_mode") {
            fields.insert(name.to_owned(), Value::Null);
        }
    }
    answer
}

async fn compare_answers(story: &[Happens]) {
    let api = TestApi::new();
    let mut kept: BTreeMap<u64, BTreeMap<String, Value>> = BTreeMap::new();
    for happens in story {
        let_happen(&api, *happens).await;
        let mut answers = BTreeMap::new();
        for path in paths(&api).await {
            let answer = api.get(&path).by("admin").answer().await.expect(200).json();
            answers.insert(path, without_the_present(answer));
        }
        kept.insert(api.node.head_position(), answers);
    }
    let all: BTreeSet<String> = kept.values().flat_map(BTreeMap::keys).cloned().collect();
    for (position, answers) in &kept {
        for path in &all {
            let answer = api.get(&format!("{path}?as_of={position}")).by("admin").answer().await;
            match answers.get(path) {
                Some(then) => {
                    let answer = answer.expect(200);
                    assert_eq!(answer.header("ensue-as-of"), Some(position.to_string().as_str()));
                    assert_eq!(answer.json(), *then, "{path} as of {position}");
                }
                None => drop(answer.expect_problem(404, "not_found")),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn answer_about_an_earlier_position_is_the_one_that_was_given_there(story in vec(happens(), 1..11)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_answers(&story));
    }
}

/// Opens an inquiry, and returns its path and the position at which it was open.
async fn open(api: &TestApi) -> (String, u64) {
    let inquiry = api.inquiry().await;
    (format!("/api/v1/inquiries/{inquiry}"), api.node.head_position())
}

#[tokio::test]
async fn inquiry_is_shown_as_it_was_before_somebody_answered() {
    let api = TestApi::new();
    let (path, before) = open(&api).await;
    api.post(&format!("{path}/respond")).by("admin").json(&json!({ "answer": {} })).answer().await.expect(200);
    assert_eq!(api.get(&path).by("admin").answer().await.json()["status"], "answered");
    let then = api.get(&format!("{path}?as_of={before}")).by("admin").answer().await.expect(200);
    let (position, then) = (then.header("ensue-as-of").map(str::to_owned), then.json());
    assert_eq!((position, &then["status"], &then["answers"]), (Some(before.to_string()), &json!("open"), &json!([])));
    assert_eq!((&then["answered_by_me"], then.get("may_answer")), (&json!(false), None), "nobody can answer in the past");
}

#[tokio::test]
async fn thing_that_did_not_exist_yet_is_missing_with_its_first_position() {
    let api = TestApi::new();
    let before = api.node.head_position();
    let event = api.event("ana").await;
    let path = format!("/api/v1/events/{event}");
    let begins = api.get(&path).by("viewer").answer().await.expect(200).json()["position"].as_u64().unwrap();
    let problem = api.get(&format!("{path}?as_of={before}")).by("viewer").answer().await.expect_problem(404, "not_found");
    assert_eq!(problem["detail"], format!("there was no event `{event}` at position {before}"));
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.starts_with(&format!("its first record is at position {begins}:")), "{hint}");
    api.get(&format!("{path}?as_of={begins}")).by("viewer").answer().await.expect(200);
    api.get(&format!("{path}?as_of=0")).by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn position_that_the_log_does_not_have_is_rejected() {
    let api = TestApi::new();
    let (path, head) = open(&api).await;
    api.get(&format!("{path}?as_of={head}")).by("admin").answer().await.expect(200);
    let beyond = (head + 1).to_string();
    for wrong in [&beyond, "9223372036854775808", "-1", "1.5", "", "yesterday", "9999-01-01T00:00:00Z"] {
        api.get(&format!("{path}?as_of={wrong}")).by("admin").answer().await.expect_problem(400, "bad_parameter");
    }
    let twice = format!("{path}?as_of={head}&as_of={head}");
    api.get(&twice).by("admin").answer().await.expect_problem(400, "doubled_parameter");
    let followed = format!("{path}?as_of={head}&follow=true");
    api.get(&followed).by("admin").answer().await.expect_problem(400, "unknown_parameter");
}

#[tokio::test]
async fn time_means_the_last_position_before_the_first_later_record() {
    let api = TestApi::new();
    let mut records = Vec::new();
    for _ in 0..9 {
        api.event("bo").await;
        let head = api.node.head_position();
        let record = api.get(&format!("/api/v1/log/{head}")).by("viewer").answer().await.expect(200).json();
        records.push((head, record["time"].as_str().unwrap().to_owned()));
    }
    let first = ids(&api, "events?").await[0].clone();
    for (position, time) in records {
        let answer = api.get(&format!("/api/v1/events/{first}?as_of={time}")).by("viewer").answer().await.expect(200);
        assert_eq!(answer.header("ensue-as-of"), Some(position.to_string().as_str()), "{time}");
    }
    let problem = api.get(&format!("/api/v1/events/{first}?as_of=1970-01-02T00:00:00Z")).by("viewer").answer().await;
    assert_eq!(problem.expect_problem(404, "not_found")["detail"], format!("there was no event `{first}` at position 0"));
}

#[tokio::test]
async fn current_rights_decide_what_is_seen_of_the_past() {
    let api = TestApi::new();
    let (path, position) = open(&api).await;
    let asked = format!("{path}?as_of={position}");
    api.get(&asked).by("admin").answer().await.expect(200);
    let problem = api.get(&asked).by("release_managers").answer().await.expect_problem(404, "not_found");
    assert!(!problem["detail"].as_str().unwrap().contains("position"), "that it exists is not said: {problem}");
}

#[tokio::test]
async fn answer_about_the_past_is_tagged_like_any_other() {
    let api = TestApi::new();
    let (path, position) = open(&api).await;
    let asked = format!("{path}?as_of={position}");
    let first = api.get(&asked).by("admin").answer().await.expect(200);
    let tag = first.header("etag").unwrap();
    let known = api.get(&asked).by("admin").with("if-none-match", tag).answer().await.expect(304);
    assert_eq!(known.header("ensue-as-of"), Some(position.to_string().as_str()));
}

#[tokio::test]
async fn thing_with_too_many_records_is_shown_only_as_it_is_or_long_ago() {
    let api = TestApi::new();
    let id = api.execution().await;
    let early = api.node.head_position();
    let execution: ExecutionId = id.parse().unwrap();
    for _ in 0..5_000 {
        api.node.ask(Actor::Operator, Ask::PauseExecution { execution }).unwrap();
        api.node.ask(Actor::Operator, Ask::ResumeExecution { execution }).unwrap();
    }
    let path = format!("/api/v1/executions/{id}");
    api.get(&path).by("viewer").answer().await.expect(200);
    api.get(&format!("{path}?as_of={early}")).by("viewer").answer().await.expect(200);
    let head = api.node.head_position();
    let problem = api.get(&format!("{path}?as_of={head}")).by("viewer").answer().await.expect_problem(422, "as_of_unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with(&format!("`execution/{id}` has more than 10000 records up to position {head};")), "{detail}");
}

#[tokio::test]
async fn rule_is_shown_with_the_mode_and_the_definition_that_it_had() {
    let api = TestApi::new();
    let path = "/api/v1/rules/demo.greet";
    api.event("ana").await;
    let before = api.node.head_position();
    api.post(&format!("{path}/disable")).by("admin").answer().await.expect(200);
    let now = api.get(path).by("viewer").answer().await.expect(200).json();
    assert_eq!((&now["mode"], &now["matched"]["executed"]), (&json!("disabled"), &json!(1)));
    let then = api.get(&format!("{path}?as_of={before}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&then["mode"], &then["when"]), (&json!("enabled"), &now["when"]));
    assert_eq!((&then["matched"], &then["matched_at"]), (&Value::Null, &Value::Null), "its own records do not say it");
    let problem = api.get(&format!("{path}?as_of=0")).by("viewer").answer().await.expect_problem(404, "not_found");
    assert_eq!(problem["detail"], "there was no rule `demo.greet` at position 0");
    let nothing = format!("/api/v1/rules/demo.nothing?as_of={before}");
    api.get(&nothing).by("viewer").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn trace_has_only_what_had_happened_by_then() {
    let api = TestApi::new();
    let event = api.event("ana").await;
    let executions = ids(&api, "executions?").await;
    let before = api.node.head_position();
    api.node.succeed(&executions[0], "{}");
    let path = format!("/api/v1/trace/{event}");
    let statuses = async |path: &str| -> Vec<Value> {
        let trace = api.get(path).by("viewer").answer().await.expect(200).json();
        let nodes = trace["nodes"].as_array().unwrap().iter();
        nodes.filter(|node| node["kind"] == "execution").map(|node| node["status"].clone()).collect()
    };
    assert_eq!(statuses(&path).await, [json!("succeeded")]);
    assert_eq!(statuses(&format!("{path}?as_of={before}")).await, [json!("running")]);
    let begins = api.get(&format!("/api/v1/events/{event}")).by("viewer").answer().await.json()["position"].as_u64().unwrap();
    assert_eq!(statuses(&format!("{path}?as_of={begins}")).await, [] as [Value; 0], "nothing had followed yet");
    let problem = api.get(&format!("{path}?as_of={}", begins - 1)).by("viewer").answer().await;
    problem.expect_problem(404, "not_found");
}
