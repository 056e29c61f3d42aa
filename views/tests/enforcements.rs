//! Tests of enforcements that flow control holds: the outcome of each, and how their rule counts them.

use ensue_engine::catalog::Control;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EnforcementId;
use ensue_engine::record::{Actor, StreamId};
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::{EnforcementHeldOn, EnforcementReleased, EnforcementSuperseded, Release, SupersededBecause};
use ensue_test_support::NOON;
use ensue_test_support::story::Story;
use ensue_views::enforcements::{OutcomeName, ReleasedName};
use ensue_views::rules::Matches;
use ensue_views::{Enforcement, RuleActivity};

use crate::{fold, only};

fn held(story: &mut Story) -> EnforcementId {
    let event = story.event("garden.knocked", "{}");
    story.enforced(&"garden.greet".parse().unwrap(), event, Outcome::Held { by: Control::Debounce, until: NOON })
}

fn tell(story: &mut Story, id: EnforcementId, fact: impl Into<Fact>) {
    story.tell(StreamId::Enforcement(id), None, Actor::Engine, None, fact.into(), None);
}

#[test]
fn held_enforcement_stays_held_until_its_outcome() {
    let mut story = Story::new();
    let id = held(&mut story);
    let (rule, rule_id) = ("garden.greet".parse().unwrap(), story.rule_id(&"garden.greet".parse().unwrap()));
    tell(&mut story, id, EnforcementHeldOn { rule, rule_id, by: Control::Missing, until: NOON });
    let shown: Enforcement = only(story.records());
    assert_eq!((shown.outcome, shown.held.unwrap().by, shown.became), (OutcomeName::Held, Control::Missing, None));
    let (rule, outcome) = ("garden.greet".parse().unwrap(), Release::Rejected { error: "no gate".into() });
    tell(&mut story, id, EnforcementReleased { rule, rule_id, outcome });
    let shown: Enforcement = only(story.records());
    assert_eq!((shown.outcome, shown.became.unwrap().outcome), (OutcomeName::Held, ReleasedName::Rejected));
    assert_eq!(shown.error.as_deref(), Some("no gate"));
}

#[test]
fn rule_counts_each_match_once_by_its_outcome() {
    let mut story = Story::new();
    let ids: Vec<_> = (0..3).map(|_| held(&mut story)).collect();
    let rule = || "garden.greet".parse().unwrap();
    let rule_id = story.rule_id(&rule());
    let superseded = EnforcementSuperseded { rule: rule(), rule_id, why: SupersededBecause::Newer, by: Some(ids[1]) };
    tell(&mut story, ids[0], superseded);
    tell(&mut story, ids[1], EnforcementReleased { rule: rule(), rule_id, outcome: Release::Shadowed });
    let activity: RuleActivity = only(story.records());
    assert_eq!(activity.matched, Matches { held: 1, superseded: 1, shadowed: 1, ..Matches::default() });
    let first: Enforcement = fold(story.records()).remove(&ids[0].to_string()).unwrap();
    let became = first.became.unwrap();
    assert_eq!((became.outcome, became.why, became.by), (ReleasedName::Superseded, Some(SupersededBecause::Newer), Some(ids[1])));
}
