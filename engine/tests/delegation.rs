//! Delegation and absence: who answers an inquiry on behalf of an assignee, and what a deputy may not do.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{Answer, Ask, Behalf, Command, InquiryAnswer, NewAbsence, NewDelegation, NewGrant, Refusal};
use ensue_engine::fact::Fact;
use ensue_engine::ids::{ExecutionId, GrantId, Id, IdentityId, InquiryId, TokenId};
use ensue_engine::inquiries::facts::Verdict;
use ensue_engine::record::{Actor, Body, CredentialId};
use ensue_expression::Document;
use ensue_test_support::NOON;
use ensue_test_support::spec::Outcome;
use serde_json::{Value, json};

use crate::support::{Pieces, Site, asked_by, workers};

const HOUR_MILLIS: u64 = 3_600_000;
/// The people of these tests. The first three are in the group `managers`.
const PEOPLE: [&str; 5] = ["ana", "bo", "cy", "dee", "eve"];

fn id(name: &str) -> IdentityId {
    let number = PEOPLE.iter().position(|known| *known == name).unwrap() as u128;
    IdentityId(Id::root(NOON, 5_000 + number))
}

fn actor(name: &str) -> Actor {
    Actor::Identity { id: id(name), by: CredentialId::Token(TokenId(id(name).0)) }
}

fn roles(name: &str) -> Vec<String> {
    if PEOPLE[..3].contains(&name) { vec!["managers".to_owned()] } else { Vec::new() }
}

/// A site with the people, who may all answer what they are asked, and an inquiry that `by` requested.
fn asking(by: &str, more: &Value) -> (Site, InquiryId, ExecutionId) {
    let mut site = Site::with(&Pieces::default().action("demo.say").inquiry("core.inquiry"));
    site.set(workers(10));
    for (number, name) in (0..).zip(PEOPLE) {
        let groups = roles(name).iter().map(|group| group.parse().unwrap()).collect();
        site.when(asked_by(Actor::Operator, Ask::AddIdentity { id: id(name), kind: IdentityKind::Person, groups }));
        let (id, subject) = (GrantId(Id::root(NOON, 7_000 + number)), Subject::Identity(id(name)));
        let grant = NewGrant { id, subject, role: "approver".parse().unwrap(), on: None, until: None };
        site.when(asked_by(Actor::Operator, Ask::AddGrant(grant)));
    }
    let mut question = json!({ "title": "Ship?", "answer": {}, "assignees": ["ana"] });
    more.as_object().unwrap().iter().for_each(|(name, value)| question[name] = value.clone());
    let request = Command { actor: actor(by), ..site.request_with("core.inquiry", &question, None) };
    let Answer::Execution(execution) = site.when(request).answer() else { panic!("it was requested") };
    let inquiry = site.engine().inquiries().of(&execution).unwrap().0;
    (site, inquiry, execution)
}

fn delegate(site: &mut Site, inquiry: InquiryId, by: &str, to: &str) -> Outcome {
    let new =
        NewDelegation { inquiry, by: id(by).to_string(), name: Some(by.to_owned()), roles: roles(by), to: id(to), to_name: to.to_owned() };
    site.when(asked_by(actor(by), Ask::DelegateInquiry(new)))
}

fn absent(site: &mut Site, name: &str, deputy: &str, (from, until): (Option<u64>, Option<u64>)) -> Outcome {
    let at = |millis: Option<u64>| millis.map(|millis| NOON.plus_millis(millis));
    let absence = NewAbsence { id: id(name), from: at(from), until: at(until), deputy: Some(id(deputy)) };
    site.when(asked_by(actor(name), Ask::SetAbsence(absence)))
}

/// Answers for oneself, or on behalf of somebody.
fn answer(site: &mut Site, inquiry: InquiryId, by: &str, of: Option<&str>) -> Outcome {
    let document = Document::from_value(&json!(true));
    let ask = InquiryAnswer {
        inquiry,
        by: id(by).to_string(),
        name: Some(by.to_owned()),
        roles: roles(by),
        behalf: of.map(|of| Behalf { of: id(of), name: Some(of.to_owned()) }),
        digest: None,
        body: Body::json(document.bytes().clone()),
        answer: document,
    };
    site.when(asked_by(actor(by), Ask::AnswerInquiry(ask)))
}

fn refusal(outcome: &Outcome) -> Option<&Refusal> {
    outcome.result().as_ref().err()
}

#[track_caller]
fn assert_not_asked(outcome: &Outcome) {
    assert!(matches!(refusal(outcome), Some(Refusal::NotAsked { .. })), "{outcome:?}");
}

#[track_caller]
fn assert_may_not(outcome: &Outcome) {
    assert!(matches!(refusal(outcome), Some(Refusal::MayNotAnswer { .. })), "{outcome:?}");
}

#[track_caller]
fn assert_answered_before(outcome: &Outcome) {
    assert!(matches!(refusal(outcome), Some(Refusal::AnsweredBefore { .. })), "{outcome:?}");
}

#[test]
fn deputy_answers_on_behalf_of_the_assignee_that_delegated() {
    let (mut site, inquiry, execution) = asking("eve", &json!({}));
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("ana")));
    delegate(&mut site, inquiry, "ana", "dee").then(&["inquiry.delegated"]);
    assert_not_asked(&answer(&mut site, inquiry, "dee", None));
    let outcome = answer(&mut site, inquiry, "dee", Some("ana"));
    let answered = outcome.facts().find_map(|fact| if let Fact::InquiryAnswered(fact) = fact { Some(fact) } else { None }).unwrap();
    assert_eq!((answered.by.as_str(), answered.on_behalf_of), (id("dee").to_string().as_str(), Some(id("ana"))));
    assert_eq!(answered.verdict, Verdict::Decides);
    assert_eq!(site.phase(execution), None, "the execution continues with the answer");
    let end = outcome.records().iter().find(|record| record.kind() == "execution.succeeded").unwrap();
    let result: Value = serde_json::from_slice(end.body.as_ref().unwrap().content.as_ref().unwrap()).unwrap();
    assert_eq!(result["answers"][0]["on_behalf_of"], id("ana").to_string());
}

#[test]
fn assignee_may_still_answer_and_a_later_delegation_replaces_the_first() {
    let (mut site, inquiry, _) = asking("eve", &json!({ "quorum": 2, "assignees": ["ana", "bo"] }));
    delegate(&mut site, inquiry, "ana", "dee");
    delegate(&mut site, inquiry, "ana", "dee").then(&[]);
    delegate(&mut site, inquiry, "ana", "cy").then(&["inquiry.delegated"]);
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("ana")));
    answer(&mut site, inquiry, "ana", None).then(&["inquiry.answered"]);
    assert_answered_before(&answer(&mut site, inquiry, "cy", Some("ana")));
}

#[test]
fn deputy_of_an_absent_assignee_answers_only_while_the_absence_lasts() {
    let (mut site, inquiry, _) = asking("eve", &json!({}));
    absent(&mut site, "ana", "dee", (Some(HOUR_MILLIS), Some(2 * HOUR_MILLIS))).then(&["identity.absent_set"]);
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("ana")));
    site.later(2 * HOUR_MILLIS);
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("ana")));
    absent(&mut site, "ana", "dee", (None, None)).then(&["identity.absent_set"]);
    absent(&mut site, "ana", "dee", (None, None)).then(&[]);
    answer(&mut site, inquiry, "dee", Some("ana")).then(&["inquiry.answered", "execution.succeeded"]);
}

#[test]
fn rights_of_a_deputy_change_when_an_absence_begins_and_ends() {
    let (mut site, _, _) = asking("eve", &json!({}));
    absent(&mut site, "ana", "dee", (Some(HOUR_MILLIS), Some(2 * HOUR_MILLIS)));
    let held = |site: &Site, millis| site.engine().access().rights_of(id("dee"), NOON.plus_millis(millis)).unwrap();
    let (before, during, after) = (held(&site, 0), held(&site, HOUR_MILLIS), held(&site, 2 * HOUR_MILLIS));
    assert_eq!((before.represents, before.valid_until), (vec![], Some(NOON.plus_millis(HOUR_MILLIS))));
    assert_eq!((during.represents, during.valid_until), (vec![id("ana")], Some(NOON.plus_millis(2 * HOUR_MILLIS))));
    assert_eq!((after.represents, after.valid_until), (vec![], None));
    site.when(asked_by(Actor::Operator, Ask::EraseIdentity(id("ana"))));
    assert!(site.engine().access().absence(&id("ana")).is_none(), "the absence is erased with its identity");
}

#[test]
fn delegation_is_not_passed_on() {
    let (mut site, inquiry, _) = asking("eve", &json!({}));
    delegate(&mut site, inquiry, "ana", "dee");
    assert_not_asked(&delegate(&mut site, inquiry, "dee", "cy"));
    absent(&mut site, "dee", "cy", (None, None));
    for of in ["ana", "dee"] {
        assert_not_asked(&answer(&mut site, inquiry, "cy", Some(of)));
    }
    answer(&mut site, inquiry, "dee", Some("ana")).then(&["inquiry.answered", "execution.succeeded"]);
}

#[test]
fn one_identity_answers_once_whatever_the_way_and_the_quorum_counts_one_behalf() {
    let (mut site, inquiry, _) = asking("eve", &json!({ "assignees": ["role:managers"], "quorum": 3 }));
    delegate(&mut site, inquiry, "ana", "bo").then(&["inquiry.delegated"]);
    delegate(&mut site, inquiry, "cy", "dee").then(&["inquiry.delegated"]);
    answer(&mut site, inquiry, "bo", Some("ana")).then(&["inquiry.answered"]);
    assert_answered_before(&answer(&mut site, inquiry, "bo", None));
    assert_answered_before(&answer(&mut site, inquiry, "ana", None));
    absent(&mut site, "cy", "bo", (None, None));
    assert_answered_before(&answer(&mut site, inquiry, "bo", Some("cy")));
    answer(&mut site, inquiry, "dee", Some("cy")).then(&["inquiry.answered"]);
    assert_answered_before(&answer(&mut site, inquiry, "cy", None));
    assert_answered_before(&delegate(&mut site, inquiry, "cy", "eve"));
    let (_, open) = (inquiry, site.engine().inquiries().get(&inquiry).unwrap());
    assert_eq!(open.answers.len(), 2, "two behalves are two of three answers");
}

/// The matrix of exclusion, requester and quorum: whoever is excluded or requested the work answers in no way.
#[test]
fn excluded_deputy_and_deputy_that_requested_the_work_answer_in_no_way() {
    for quorum in [1, 2] {
        for exclude in [json!([]), json!(["requester"]), json!(["dee"]), json!(["ana"]), json!(["requester", "ana"])] {
            for requester in ["ana", "dee", "eve"] {
                for way in ["delegation", "absence"] {
                    let more = json!({ "assignees": ["ana", "bo", "cy"], "exclude": exclude, "quorum": quorum });
                    let (mut site, inquiry, _) = asking(requester, &more);
                    let names = exclude.as_array().unwrap();
                    let is_excluded =
                        |name: &str| names.contains(&json!(name)) || (names.contains(&json!("requester")) && requester == name);
                    let may = !is_excluded("ana") && !is_excluded("dee") && requester != "dee";
                    let case = format!("{way}, quorum {quorum}, exclude {exclude}, requested by {requester}");
                    if way == "delegation" {
                        assert_eq!(delegate(&mut site, inquiry, "ana", "dee").result().is_ok(), may, "{case}");
                    } else {
                        absent(&mut site, "ana", "dee", (None, None)).then(&["identity.absent_set"]);
                    }
                    let outcome = answer(&mut site, inquiry, "dee", Some("ana"));
                    assert_eq!(outcome.result().is_ok(), may, "{case}: {outcome:?}");
                    if !may && way == "absence" {
                        assert_may_not(&outcome);
                    }
                    if may {
                        let is_closed = outcome.facts().any(|fact| fact.kind() == "execution.succeeded");
                        assert_eq!(is_closed, quorum == 1, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn assignee_that_lost_its_group_or_was_disabled_has_no_deputy() {
    let (mut site, inquiry, _) = asking("eve", &json!({ "assignees": ["role:managers"] }));
    delegate(&mut site, inquiry, "ana", "dee").then(&["inquiry.delegated"]);
    site.when(asked_by(Actor::Operator, Ask::SetIdentityGroups { id: id("ana"), groups: Vec::new() }));
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("ana")));
    delegate(&mut site, inquiry, "bo", "dee").then(&["inquiry.delegated"]);
    let standing = ensue_engine::access::state::Standing::Disabled;
    site.when(asked_by(Actor::Operator, Ask::SetIdentityStanding { id: id("bo"), standing }));
    assert_not_asked(&answer(&mut site, inquiry, "dee", Some("bo")));
}

#[test]
fn impossible_deputy_is_rejected() {
    let (mut site, inquiry, _) = asking("eve", &json!({ "exclude": ["cy"], "quorum": 1 }));
    for to in ["ana", "cy", "eve"] {
        let outcome = delegate(&mut site, inquiry, "ana", to);
        assert!(matches!(refusal(&outcome), Some(Refusal::DelegationRefused { .. })), "{to}: {outcome:?}");
    }
    assert_not_asked(&delegate(&mut site, inquiry, "bo", "dee"));
    let absence = |deputy: &str, until: Option<u64>| NewAbsence {
        id: id("ana"),
        from: Some(NOON.plus_millis(HOUR_MILLIS)),
        until: until.map(|millis| NOON.plus_millis(millis)),
        deputy: Some(id(deputy)),
    };
    for bad in [absence("ana", None), absence("bo", Some(HOUR_MILLIS)), absence("bo", Some(0))] {
        let outcome = site.when(asked_by(actor("ana"), Ask::SetAbsence(bad)));
        assert!(matches!(refusal(&outcome), Some(Refusal::AbsenceInvalid(_))), "{outcome:?}");
    }
    let unknown = NewAbsence { id: id("ana"), from: None, until: None, deputy: Some(IdentityId(Id::root(NOON, 9_999))) };
    let outcome = site.when(asked_by(actor("ana"), Ask::SetAbsence(unknown)));
    assert!(matches!(refusal(&outcome), Some(Refusal::NoIdentity(_))), "{outcome:?}");
    let for_another = NewAbsence { id: id("ana"), from: None, until: None, deputy: Some(id("dee")) };
    let outcome = site.when(asked_by(actor("dee"), Ask::SetAbsence(for_another)));
    assert!(matches!(refusal(&outcome), Some(Refusal::BeyondOwnRights(_))), "nobody takes the place of another: {outcome:?}");
}
