//! Panics in one rule, one command or one reaction. Everything else continues.

use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_engine::catalog::{JsonSchema, Misfit, Schema};
use ensue_engine::command::Refusal;
use ensue_engine::fact::Fact;
use ensue_engine::record::Position;
use ensue_expression::Node;
use ensue_test_support::spec::CatalogsHealth;
use serde_json::{Value, json};

use crate::support::site::receive_events;
use crate::support::{Pieces, Site, dismiss, retry};

/// A schema whose check panics.
#[derive(Debug)]
struct Buggy(Value);

impl JsonSchema for Buggy {
    fn misfits(&self, _: Node<'_>) -> Vec<Misfit> {
        panic!("a schema that cannot be checked")
    }

    fn misfit_pointers(&self, _: Node<'_>) -> Option<BTreeSet<String>> {
        panic!("a schema that cannot be checked")
    }

    fn source(&self) -> &Value {
        &self.0
    }

    fn too_complex(&self) -> Option<&str> {
        None
    }
}

fn many_rules() -> Pieces {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for rule in 0..600 {
        pieces = pieces.rule(&format!("demo.r{rule}"), "demo.ping", "", "demo.say");
    }
    pieces
}

/// A site with a reaction that was parked because the catalogs panicked, and the record it is owed to.
fn parked_site() -> (Site, Position) {
    let mut site = Site::with(&many_rules());
    let event = site.event("demo.ping", &json!({}));
    site.turn(receive_events(vec![event]));
    let owed = site.engine().health().next_owed(None).expect("the rest is owed");
    site.set_catalogs(CatalogsHealth::Broken);
    let outcome = site.serve().expect("the rest is owed").then(&["reaction.resumed", "reaction.parked"]);
    let Some(Fact::ReactionParked(parked)) = outcome.facts().last() else { panic!("it is parked") };
    assert_eq!((parked.of, parked.next), (owed.of, owed.next));
    assert!(parked.error.contains("the scenario broke its catalogs"), "{}", parked.error);
    (site, owed.of)
}

fn enforcements(site: &Site) -> usize {
    site.records().iter().filter(|record| record.kind() == "enforcement.made").count()
}

#[test]
fn panic_in_one_rule_is_that_rule_s_error_and_others_continue() {
    let pieces = Pieces::default()
        .trigger("demo.ping")
        .action("demo.say")
        .action_with("demo.buggy", |action| action.parameters = Schema::Whole(Arc::new(Buggy(json!({})))))
        .rule("demo.a", "demo.ping", "", "demo.say")
        .rule("demo.b", "demo.ping", "", "demo.buggy")
        .rule("demo.c", "demo.ping", "", "demo.say");
    let mut site = Site::with(&pieces);
    let executed = ["enforcement.made", "execution.requested", "attempt.started"];
    let kinds = [&["event.received"][..], &executed, &["rule.erred"], &executed].concat();
    let outcome = site.receive("demo.ping", &json!({})).then(&kinds);
    let erred = outcome.facts().find_map(|fact| match fact {
        Fact::RuleErred(erred) => Some((erred.rule.as_str(), erred.message.as_str())),
        _ => None,
    });
    assert_eq!(erred, Some(("demo.b", "the evaluation stopped at an internal error")));
}

#[test]
fn panic_in_a_decision_rejects_the_command_and_changes_nothing() {
    let mut site = Site::with(&many_rules());
    let event = site.event("demo.ping", &json!({}));
    site.install_unseen(&many_rules());
    let before = site.engine().clone();
    site.set_catalogs(CatalogsHealth::Broken);
    let outcome = site.turn(receive_events(vec![event.clone()]));
    let Err(Refusal::Bug(why)) = outcome.result() else { panic!("it is refused: {:?}", outcome.result()) };
    assert!(why.contains("the scenario broke its catalogs"), "{why}");
    assert!(outcome.records().is_empty());
    assert_eq!(*site.engine(), before);
    site.set_catalogs(CatalogsHealth::Whole);
    site.turn(receive_events(vec![event]));
    assert!(enforcements(&site) > 0);
}

#[test]
fn panicking_reaction_is_parked_and_everything_else_continues() {
    let (mut site, of) = parked_site();
    assert_eq!(site.engine().health().owed_count(), 0);
    site.set_catalogs(CatalogsHealth::Whole);
    let execution = site.engine().executions().iter().find(|(_, open)| open.attempts == 1).map(|(id, _)| *id).unwrap();
    site.succeed(execution).then(&["attempt.succeeded", "execution.succeeded", "attempt.started"]);
    site.restart();
    assert_eq!(site.engine().health().parked_reactions().map(|(of, _)| *of).collect::<Vec<_>>(), [of]);
}

#[test]
fn retried_parked_reaction_continues_where_it_stopped() {
    let (mut site, of) = parked_site();
    site.when(retry(of)).then(&["reaction.retried", "reaction.resumed", "reaction.parked"]);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(retry(of));
    assert_eq!(enforcements(&site), 600);
    site.when(retry(of)).then_refused(&Refusal::NotParked(of));
}

#[test]
fn dismissed_parked_reaction_never_runs() {
    let (mut site, of) = parked_site();
    let before = enforcements(&site);
    site.set_catalogs(CatalogsHealth::Whole);
    site.when(dismiss(of)).then(&["reaction.dismissed"]);
    site.when(dismiss(of)).then_refused(&Refusal::NotParked(of));
    site.when(retry(of)).then_refused(&Refusal::NotParked(of));
    assert!(site.serve().is_none());
    assert_eq!(enforcements(&site), before);
}

#[test]
fn retried_reaction_is_served_in_its_own_chain_s_turn() {
    let (mut site, of) = parked_site();
    let root = site.records().iter().find(|record| record.position == of).unwrap().cause.root;
    site.turn(retry(of));
    assert_eq!(site.engine().health().owed_at(of).map(|owed| owed.root), Some(root));
}
