//! The limit of open work from outside.

use ensue_engine::command::{Refusal, Settings};
use ensue_engine::executions::facts::FailureKind;
use serde_json::json;

use crate::support::site::receive_events;
use crate::support::{Pieces, Site, cancel};

const OPEN_MAX: u64 = 2;

/// A site with the maximum of open work: one execution runs, one waits.
fn full() -> (Site, [ensue_engine::ids::ExecutionId; 2]) {
    let pieces = Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.on_ping", "demo.ping", "", "demo.say");
    let mut site = Site::with(&pieces);
    site.set(Settings { workers: 1, open_work_max: OPEN_MAX, ..Settings::default() });
    let open = [site.run("demo.say"), site.run("demo.say")];
    (site, open)
}

fn too_much() -> Refusal {
    Refusal::TooMuchOpen { open: OPEN_MAX, max: OPEN_MAX }
}

#[test]
fn requests_are_rejected_at_the_limit_of_open_work() {
    let (mut site, _) = full();
    site.ask("demo.say").then_refused(&too_much());
    let event = site.event("demo.ping", &json!({}));
    site.when(receive_events(vec![event])).then_refused(&too_much());
}

#[test]
fn requests_are_accepted_again_once_work_has_ended() {
    let (mut site, [running, _]) = full();
    site.succeed(running);
    site.ask("demo.say").then(&["execution.requested"]);
}

#[test]
fn reports_and_their_effects_are_accepted_at_the_limit() {
    let (mut site, [running, _]) = full();
    site.emit(running, "demo.ping", &json!({})).then(&[
        "attempt.succeeded",
        "event.received",
        "execution.succeeded",
        "attempt.started",
        "enforcement.made",
        "execution.requested",
    ]);
}

#[test]
fn cancels_and_failures_are_accepted_at_the_limit() {
    let (mut site, [running, waits]) = full();
    site.when(cancel(waits)).then(&["execution.cancel_requested", "execution.cancelled"]);
    site.fail(running, FailureKind::Network).then(&["attempt.failed", "execution.failed"]);
}
