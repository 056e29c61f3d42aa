//! Tests of enforcements that flow control holds: the outcome of each, and how their rule counts them.

use ensue_engine::catalog::Control;
use ensue_engine::fact::Fact;
use ensue_engine::ids::{EnforcementId, ExecutionId, Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Actor, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::{EnforcementHeldOn, EnforcementReleased, EnforcementSuperseded, Release, SupersededBecause};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::enforcements::{OutcomeName, ReleasedName};
use ensue_views::rules::Matches;
use ensue_views::view::Life;
use ensue_views::{Enforcement, RuleActivity, View as _};

use crate::{fold, only};

fn hold_enforcement(story: &mut Story) -> EnforcementId {
    let event = story.event("garden.knocked", "{}");
    story.enforce(&"garden.greet".parse().unwrap(), event, Outcome::Held { by: Control::Debounce, until: NOON })
}

fn add_fact(story: &mut Story, id: EnforcementId, fact: impl Into<Fact>) {
    story.append_fact(StreamId::Enforcement(id), None, Actor::Engine, None, fact.into(), None);
}

#[test]
fn held_enforcement_stays_held_until_its_outcome() {
    let mut story = Story::new();
    let id = hold_enforcement(&mut story);
    let (rule, rule_id) = ("garden.greet".parse().unwrap(), story.rule_id(&"garden.greet".parse().unwrap()));
    add_fact(&mut story, id, EnforcementHeldOn { rule, rule_id, by: Control::Missing, until: NOON });
    let shown: Enforcement = only(story.records());
    assert_eq!((shown.outcome, shown.held.unwrap().by, shown.became), (OutcomeName::Held, Control::Missing, None));
    let (rule, outcome) = ("garden.greet".parse().unwrap(), Release::Rejected { error: "no gate".into() });
    add_fact(&mut story, id, EnforcementReleased { rule, rule_id, outcome });
    let shown: Enforcement = only(story.records());
    assert_eq!((shown.outcome, shown.became.unwrap().outcome), (OutcomeName::Held, ReleasedName::Rejected));
    assert_eq!(shown.error.as_deref(), Some("no gate"));
}

#[test]
fn enforcement_is_alive_while_it_is_held() {
    let (rule, rule_id) = (|| -> RuleRef { "garden.greet".parse().unwrap() }, RuleId(Id::root(NOON, 8)));
    let execution = ExecutionId(Id::root(NOON, 7));
    let released = |outcome| -> Fact { EnforcementReleased { rule: rule(), rule_id, outcome }.into() };
    let ends = [
        released(Release::Executed { execution }),
        released(Release::Skipped { reason: "three run".into() }),
        EnforcementSuperseded { rule: rule(), rule_id, why: SupersededBecause::Newer, by: None }.into(),
    ];
    for end in ends {
        let mut story = Story::new();
        let id = hold_enforcement(&mut story);
        let life = |story: &Story| only::<Enforcement>(story.records()).life();
        assert_eq!(life(&story), Life::Alive);
        add_fact(&mut story, id, EnforcementHeldOn { rule: rule(), rule_id, by: Control::Missing, until: NOON });
        assert_eq!(life(&story), Life::Alive);
        add_fact(&mut story, id, end);
        assert_eq!(life(&story), Life::Settled);
    }
    for outcome in [Outcome::Shadowed, Outcome::Throttled, Outcome::Executed { execution }] {
        let mut story = Story::new();
        let event = story.event("garden.knocked", "{}");
        story.enforce(&"garden.greet".parse().unwrap(), event, outcome);
        assert_eq!(only::<Enforcement>(story.records()).life(), Life::Settled);
    }
}

#[test]
fn enforcement_names_its_execution_whether_it_was_held_or_not() {
    let execution = ExecutionId(Id::root(NOON, 7));
    let mut story = Story::new();
    let event = story.event("garden.knocked", "{}");
    let greet = || -> RuleRef { "garden.greet".parse().unwrap() };
    let at_once = story.enforce(&greet(), event, Outcome::Executed { execution });
    let repeat = story.event("garden.knocked", "{}");
    let repeated = story.enforce(&greet(), repeat, Outcome::Deduplicated { of: at_once });
    let later = hold_enforcement(&mut story);
    let rule_id = story.rule_id(&greet());
    add_fact(&mut story, later, EnforcementReleased { rule: greet(), rule_id, outcome: Release::Executed { execution } });
    let rows = fold::<Enforcement>(story.records());
    let shown = |id: EnforcementId| (rows[&id.to_string()].execution, rows[&id.to_string()].repeats);
    assert_eq!([at_once, repeated, later].map(shown), [(Some(execution), None), (None, Some(at_once)), (Some(execution), None)]);
}

#[test]
fn rule_counts_each_match_once_by_its_outcome() {
    let mut story = Story::new();
    let ids: Vec<_> = (0..3).map(|_| hold_enforcement(&mut story)).collect();
    let rule = || "garden.greet".parse().unwrap();
    let rule_id = story.rule_id(&rule());
    let superseded = EnforcementSuperseded { rule: rule(), rule_id, why: SupersededBecause::Newer, by: Some(ids[1]) };
    add_fact(&mut story, ids[0], superseded);
    add_fact(&mut story, ids[1], EnforcementReleased { rule: rule(), rule_id, outcome: Release::Shadowed });
    let activity: RuleActivity = only(story.records());
    assert_eq!(activity.matched, Matches { held: 1, superseded: 1, shadowed: 1, ..Matches::default() });
    let first: Enforcement = fold(story.records()).remove(&ids[0].to_string()).unwrap();
    let became = first.became.unwrap();
    assert_eq!((became.outcome, became.why, became.by), (ReleasedName::Superseded, Some(SupersededBecause::Newer), Some(ids[1])));
}
