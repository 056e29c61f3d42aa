//! The saved state: a format that later releases must read, and that continues exactly where it was saved.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::subject::Subject;
use ensue_engine::catalog::{Does, LockConflict, Mode, OnExpire, Rest, Since, Wait};
use ensue_engine::command::{
    Admission, AdmittedIdentity, Answer, Ask, Command, IssuerGroups, KeyRotation, NewAbsence, NewGrant, NewSession, NewToken,
    RefusedDelivery, ReportOutcome, SensorBatch,
};
use ensue_engine::engine::Engine;
use ensue_engine::executions::facts::Evidence;
use ensue_engine::executions::state::Phase;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, InquiryId, LogId, Role, SessionId, TokenId};
use ensue_engine::names::SensorRef;
use ensue_engine::record::{Actor, Body, CredentialId};
use ensue_engine::sensors::cursor::{Cursor, NewCursor};
use ensue_engine::sensors::facts::SensorMode;
use ensue_engine::state::{LoadError, STATE_FORMAT, SavedState};
use ensue_test_support::NOON;
use ensue_test_support::spec::CatalogsHealth;
use serde_json::{Value, json};

use crate::support::definitions::{concurrency, every, flow};
use crate::support::site::{install_demo, progress, receive_events, report, set_var};
use crate::support::workflow::{awaits, does, expression, fails};
use crate::support::{Pieces, Site, ana, answer_inquiry, asked_by, cancel, permit_at, set_mode, workers};

/// The form of this release. It is never edited: a change of the form is a new number and a new file.
const FORMAT_16: &str = include_str!("golden/state.v16.json");

/// Has a pulling sensor read up to a cursor and a little further, and disables it.
fn pull(site: &mut Site) {
    let feed: SensorRef = "demo.feed".parse().unwrap();
    let (sensor, _) = site.engine().sensors().of(&feed).expect("the pack has set it");
    let cursor = |line: u32| Cursor::of_json(json!({ "line": line, "known": "x".repeat(600) }).to_string()).unwrap();
    let (events, refused) = (Vec::new(), Vec::new());
    let first = SensorBatch { sensor, run: 1, read: 1, events, refused, unkept: 0, passed: 1, after: None, cursor: Some(cursor(7).into()) };
    let further = NewCursor::after(Some(&cursor(7)), cursor(8));
    let second = SensorBatch { after: Some(cursor(7).digest()), cursor: Some(further), ..first.clone() };
    for batch in [first, second] {
        site.turn(asked_by(Actor::Sensor(feed.clone()), Ask::TakeSensorBatch(batch))).then(&["sensor.advanced"]);
    }
    site.turn(asked_by(ana(), Ask::SetSensorMode { sensor: feed, mode: SensorMode::Disabled })).then(&["sensor.mode_set"]);
}

/// A site with something in every table of the state.
fn busy() -> Site {
    let mut site = without_workflows();
    site.turn(set_var("sync.cursor", &json!(7)));
    let flow = site.request("demo.flow");
    let Answer::Execution(flow) = site.turn(flow).answer() else { panic!("an execution was asked for") };
    let done = ExecutionId(Id::derive(site.engine().log(), flow.0, Role::Step(&"done".parse().unwrap())));
    let attempt = site.attempt(done);
    site.turn(report(done, attempt, ReportOutcome::Succeeded));
    let sleep = site.request_with("demo.sleep", &json!({ "duration": "24h" }), None);
    site.turn(sleep).then(&["execution.requested", "timer.set"]);
    let tomorrow = site.request_with("demo.echo", &json!({}), Some(NOON.plus_millis(86_400_000)));
    site.turn(tomorrow).then(&["execution.requested", "timer.set"]);
    let question =
        json!({ "title": "Ship?", "answer": {}, "assignees": ["ana", "role:managers"], "exclude": ["bo"], "quorum": 2, "veto": "!answer" });
    let question = site.request_with("demo.question", &question, None);
    let outcome = site.turn(question).then(&["execution.requested", "inquiry.opened"]);
    let inquiry = InquiryId(outcome.records()[1].id);
    site.turn(answer_inquiry(inquiry, "ana", &json!(true), None)).then(&["inquiry.answered"]);
    let question = site.request_with("demo.question", &json!({ "title": "Ship?", "answer": {}, "assignees": ["ana"] }), None);
    let asks = request_paused(&mut site, question);
    let inquiry = site.engine().inquiries().of(&asks).unwrap().0;
    site.turn(answer_inquiry(inquiry, "ana", &json!(true), None)).then(&["inquiry.answered", "reaction.held"]);
    for action in ["demo.sleep", "demo.say"] {
        let request = site.request_with(action, &json!({ "duration": "48h" }), None);
        request_paused(&mut site, request);
    }
    let (ends, expired) = (NOON.plus_millis(1), TokenId(Id::root(NOON, 5_003)));
    let expired = NewToken { expires_at: Some(ends), ..NewToken::with_roles(expired, "expired", vec!["viewer".to_owned()]) };
    site.turn(asked_by(Actor::Operator, Ask::AddToken(expired))).then(&["token.added", "token.limited"]);
    site.turn(asked_by(Actor::Engine, Ask::NoteClockStep { from: ends, to: NOON })).then(&["clock.stepped"]);
    let (from, to) = (NOON, NOON.plus_millis(2 * 3_600_000));
    site.turn(asked_by(Actor::Engine, Ask::NoteClockStep { from, to })).then(&["clock.stepped"]);
    let hourly = pieces().trigger("core.schedule").scheduled_rule("demo.hourly", "demo.say", every(3_600_000));
    let base = site.engine().catalog_revision();
    site.build(hourly.build(base.next()));
    site.turn(install_demo(base)).then(&["pack.installed", "schedule.set", "timer.set"]);
    hold(&mut site, hourly);
    pull(&mut site);
    let base = site.engine().catalog_revision();
    site.turn(permit_at(base, "demo", Some(&["actions:execute on action=core.http"]))).then(&["pack.permissions_set"]);
    let (sensor, body) = ("demo.hook".parse().unwrap(), Body::raw(&b"?"[..]));
    let letter = RefusedDelivery { sensor, trigger: None, reason: "not JSON".to_owned(), body, with: None };
    site.turn(asked_by(ana(), Ask::KeepDelivery(letter))).then(&["delivery.refused"]);
    let event = site.event("demo.pang", &json!({ "n": 4 }));
    let identity = Actor::Identity { id: IdentityId(Id::root(NOON, 5_001)), by: CredentialId::Token(TokenId(Id::root(NOON, 5_002))) };
    site.turn(asked_by(identity, Ask::ReceiveEvents(vec![event])));
    let until = Some(NOON.plus_millis(86_400_000));
    let absence = NewAbsence { id: IdentityId(Id::root(NOON, 2)), from: None, until, deputy: None };
    site.turn(asked_by(Actor::Operator, Ask::SetAbsence(absence))).then(&["identity.absent_set"]);
    site
}

/// Makes a rule's flow control remember a key and hold enforcements, one of them with the events of its
/// window, and makes executions hold a lock and wait for it.
fn hold(site: &mut Site, pieces: Pieces) {
    let pieces = pieces.action_with("demo.locked", |action| action.concurrency = concurrency(1, "params.region", LockConflict::Queue));
    let pieces = pieces.trigger("demo.pang").rule_with("demo.paced", "demo.pang", "", "demo.say", |rule| {
        rule.flow = flow([
            (Does::Dedupe { within_millis: 3_600_000 }, "event.payload.n"),
            (Does::Window { count: 2, within_millis: 3_600_000 }, ""),
            (Does::Missing { for_millis: 3_600_000 }, ""),
        ]);
    });
    let base = site.engine().catalog_revision();
    site.build(pieces.build(base.next()));
    site.turn(install_demo(base)).then(&["pack.installed"]);
    site.look_at_the_catalog(&pieces);
    for n in 1..=3 {
        let event = site.event("demo.pang", &json!({ "n": n }));
        site.turn(receive_events(vec![event]));
    }
    for _ in 0..2 {
        let request = site.request_with("demo.locked", &json!({ "region": "eu" }), None);
        site.turn(request);
    }
    let request = site.request_with("demo.locked", &json!({ "region": "eu" }), None);
    request_paused(site, request);
}

/// Requests an execution and pauses it.
fn request_paused(site: &mut Site, request: Command) -> ExecutionId {
    let Answer::Execution(execution) = site.turn(request).answer() else { panic!("an execution was asked for") };
    site.turn(asked_by(ana(), Ask::PauseExecution { execution })).then(&["execution.paused"]);
    execution
}

/// The same without workflows and timers.
fn without_workflows() -> Site {
    let mut site = silent();
    let runs = |id: &ExecutionId| matches!(site.phase(*id), Some(Phase::Running(_)));
    let execution = *site.engine().executions().iter().map(|(id, _)| id).find(|id| runs(id)).unwrap();
    let attempt = site.attempt(execution);
    site.turn(progress(execution, attempt, 7)).then(&["attempt.progressed"]);
    site
}

fn pieces() -> Pieces {
    let mut pieces = Pieces::default()
        .trigger("demo.ping")
        .trigger("demo.pong")
        .action("demo.say")
        .sleep("demo.sleep")
        .inquiry("demo.question")
        .awaiting("core.wait")
        .action_at_once("demo.echo")
        .rule("demo.errs", "demo.ping", "event.payload.n > 0", "demo.say")
        .process("demo.feed", "demo.pong", "./feed");
    pieces = pieces.workflow(
        "demo.flow",
        [
            does("done", "demo.echo").undone_by("demo.say", &json!({})),
            awaits("soon", sample_wait(None)).cancelled_by("demo.pong", "event.payload.n > 7", Since::Start),
            awaits("keyed", sample_wait(Some("event.payload.n == 7"))).cancelled_by("demo.pong", "event.payload.n == 7", Since::Start),
            does("each", "demo.say").over("[1, 2]"),
            fails("stop", "no"),
            does("one", "demo.say"),
            does("any", "demo.say").needs_any(1, ["stop", "one"], Rest::GoesOn).starts_if("always()"),
        ],
    );
    for rule in 0..510 {
        pieces = pieces.rule_with(&format!("demo.r{rule:03}"), "demo.pong", "", "demo.say", |rule| rule.mode = Mode::Shadow);
    }
    pieces
}

/// The same without messages of attempts.
fn silent() -> Site {
    let mut site = Site::with(&pieces());
    site.set(workers(2));
    site.when(asked_by(ana(), Ask::SetKey { key: "demo.secret".parse().unwrap(), version: 1, expires_at: None }));
    site.when(asked_by(ana(), Ask::RemoveKey { key: "demo.secret".parse().unwrap() }));
    site.when(asked_by(ana(), Ask::SetKey { key: "demo.signing".parse().unwrap(), version: 1, expires_at: None }));
    let (day_millis, key) = (86_400_000, "demo.signing".parse().unwrap());
    let expires_at = Some(NOON.plus_millis(90 * day_millis));
    site.when(asked_by(ana(), Ask::RotateKey(KeyRotation { key, version: 2, overlap_millis: day_millis, expires_at })));
    site.when(asked_by(ana(), Ask::NoteMasterKey { from: MasterKeyId([1; 8]), to: MasterKeyId([2; 8]) }));
    site.when(asked_by(Actor::Operator, Ask::AddToken(NewToken::with_roles(TokenId(Id::root(NOON, 1)), "ana", vec!["admin".into()]))));
    let identity = IdentityId(Id::root(NOON, 2));
    let groups = vec!["release".parse().unwrap()];
    site.when(asked_by(Actor::Operator, Ask::AddIdentity { id: identity, kind: IdentityKind::Person, groups }));
    site.when(asked_by(
        Actor::Engine,
        Ask::AdmitIdentity(AdmittedIdentity {
            id: IdentityId(Id::root(NOON, 4)),
            issuer: "corp".parse().unwrap(),
            admission: Admission::New(IdentityKind::Person),
            groups: Some(IssuerGroups { groups: vec!["corp:release".parse().unwrap()], said_at: NOON }),
        }),
    ));
    let permissions = vec![Permission::ExecutionsRerun];
    site.when(asked_by(Actor::Operator, Ask::SetRole { name: "restarter".parse().unwrap(), permissions }));
    let grant = NewGrant {
        id: GrantId(Id::root(NOON, 3)),
        subject: Subject::Identity(identity),
        role: "author".parse().unwrap(),
        on: Some("pack=demo".parse().unwrap()),
        until: Some(NOON.plus_millis(60_000)),
    };
    site.when(asked_by(Actor::Operator, Ask::AddGrant(grant)));
    let session = NewSession {
        id: SessionId(Id::root(NOON, 4)),
        identity: Some(identity),
        way: "link".into(),
        credential: None,
        only: Some(InquiryId(Id::root(NOON, 5))),
        link: None,
        until: NOON.plus_millis(60_000),
        in_place_of: None,
    };
    site.when(asked_by(Actor::Operator, Ask::OpenSession(session)));
    site.when(set_mode("demo.r000", Mode::Disabled));
    site.receive("demo.ping", &json!({}));
    site.receive("demo.ping", &json!({}));
    site.run("demo.echo");
    let lost = site.run("demo.say");
    site.lose(lost, Evidence::MayHaveBegun);
    site.run("demo.say");
    let stops = site.run("demo.say");
    site.when(cancel(stops));
    site.run("demo.say");
    // Three events with 510 decisions each exceed one turn: the reactions of two are owed, and one of these
    // is parked.
    let events = (0..3).map(|_| site.event("demo.pong", &json!({}))).collect();
    site.turn(receive_events(events));
    site.set_catalogs(CatalogsHealth::Broken);
    site.restart();
    site.serve();
    site.set_catalogs(CatalogsHealth::Whole);
    site
}

fn sample_wait(when: Option<&str>) -> Wait {
    Wait {
        trigger: "demo.ping".parse().unwrap(),
        when: when.map(expression),
        since: Since::Start,
        expires: None,
        on_expire: OnExpire::Fail,
    }
}

/// Collects the paths of the empty tables in a state.
fn empty_tables(state: &Value, path: &str, found: &mut Vec<String>) {
    match state {
        Value::Array(rows) if rows.is_empty() => found.push(path.to_owned()),
        Value::Object(fields) if !path.contains("[]") => {
            fields.iter().for_each(|(name, value)| empty_tables(value, &format!("{path}/{name}"), found));
        }
        _ => {}
    }
}

#[test]
fn state_is_saved_in_the_current_format() {
    let saved = busy().engine().save();
    assert_eq!(saved.format, 16);
    assert_eq!(std::str::from_utf8(&saved.json).unwrap(), FORMAT_16.trim_end());
}

#[test]
fn golden_state_has_rows_in_every_table() {
    let mut empty = Vec::new();
    empty_tables(&serde_json::from_str(FORMAT_16).unwrap(), "", &mut empty);
    assert_eq!(empty, Vec::<String>::new());
}

#[test]
fn saved_state_of_the_current_format_is_loaded() {
    let busy = busy();
    let saved = SavedState { format: 16, json: FORMAT_16.trim_end().into() };
    assert_eq!(Engine::load(busy.engine().log(), &saved).unwrap(), *busy.engine());
}

#[test]
fn state_of_another_format_is_rejected() {
    // An older format lacks data that only the log has; a newer one has data that this release does not know.
    for format in [STATE_FORMAT - 1, STATE_FORMAT + 1] {
        let saved = SavedState { format, ..busy().engine().save() };
        let error = Engine::load(LogId(Id::root(NOON, 1)), &saved).unwrap_err();
        assert!(matches!(error, LoadError::Format(found) if found == format), "{error}");
    }
}

#[test]
fn state_with_a_missing_table_is_rejected() {
    let log = busy().engine().log();
    let whole: Value = serde_json::from_str(FORMAT_16).unwrap();
    let load = |state: &Value| Engine::load(log, &SavedState { format: STATE_FORMAT, json: state.to_string().into() });
    assert!(load(&whole).is_ok());
    for (part, tables) in whole.as_object().unwrap() {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(part);
        assert!(matches!(load(&without), Err(LoadError::Damaged(_))), "{part}");
        for table in tables.as_object().into_iter().flat_map(|tables| tables.keys()) {
            let mut without = whole.clone();
            without[part].as_object_mut().unwrap().remove(table);
            assert!(matches!(load(&without), Err(LoadError::Damaged(_))), "{part}/{table}");
        }
    }
}

#[test]
fn damaged_state_is_rejected() {
    let saved = busy().engine().save();
    let cut = SavedState { json: saved.json.slice(..saved.json.len() / 2), ..saved };
    let error = Engine::load(LogId(Id::root(NOON, 1)), &cut).unwrap_err();
    assert!(matches!(error, LoadError::Damaged(_)), "{error}");
}

#[test]
#[ignore = "writes the golden form of a new number; it never changes one"]
fn write_missing_state_format() {
    let path = format!("{}/tests/golden/state.v{STATE_FORMAT}.json", env!("CARGO_MANIFEST_DIR"));
    if std::fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty()) {
        std::fs::write(path, [&busy().engine().save().json[..], b"\n"].concat()).unwrap();
    }
}
