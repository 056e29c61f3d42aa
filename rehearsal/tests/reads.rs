//! What `check` lets a step read has ended when the step reads it: random workflows, with steps that end in any
//! order and in any way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ensue_engine::catalog::Catalog;
use ensue_engine::effect::Dispatch;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::CatalogRevision;
use ensue_packs::{Code, Manifest, PackSource, Severity, build, check, library};
use ensue_rehearsal::RehearsalError;
use ensue_rehearsal::history::ExecutionPath;
use ensue_rehearsal::stage::{AttemptOutcome, InquiryOutcome, OutsideWorld, RehearsalStage};
use ensue_test_support::NOON;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{failures, run_steps};

/// The longest delay of a step in seconds.
const DELAY_MAX: u8 = 5;

/// A step of a random workflow, which needs only steps before it.
#[derive(Clone, Debug)]
struct RandomStep {
    needs: BTreeSet<usize>,
    /// How many of them are enough; all of them without it.
    enough: Option<usize>,
    cancels_rest: bool,
    condition: &'static str,
    delay: u8,
    fails: bool,
    continues_on_failure: bool,
}

fn random_step(place: usize) -> impl Strategy<Value = RandomStep> {
    let needs = prop::collection::btree_set(0..place.max(1), 0..=place.min(4));
    let condition =
        prop_oneof![3 => Just(""), 1 => Just("true"), 1 => Just("always()"), 1 => Just("failed()"), 1 => Just("failed() || true")];
    let ways = (any::<bool>(), 0..=DELAY_MAX, prop::bool::weighted(0.3), prop::bool::weighted(0.7));
    (needs, prop::option::of(1_usize..=4), condition, ways).prop_map(move |(needs, enough, condition, ways)| {
        let needs = if place == 0 { BTreeSet::new() } else { needs };
        let enough = enough.map(|count| count.min(needs.len())).filter(|count| *count > 0);
        let (cancels_rest, delay, fails, continues_on_failure) = ways;
        RandomStep { needs, enough, cancels_rest, condition, delay, fails, continues_on_failure }
    })
}

fn random_steps() -> impl Strategy<Value = Vec<RandomStep>> {
    (2_usize..8).prop_flat_map(|count| (0..count).map(random_step).collect::<Vec<_>>())
}

/// Where a step reads others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ReadSite {
    If,
    With,
}

/// A read of a step: the reader, where, and the step that is read.
type Read = (usize, ReadSite, usize);

/// Returns the workflow as YAML, and the read on each line, from 1.
fn render_workflow(steps: &[RandomStep], reads: &BTreeSet<Read>) -> (String, BTreeMap<usize, Read>) {
    let mut text = "parameters: { ends: object }\nrun:\n  workflow:\n    steps:\n".to_owned();
    let mut lines = BTreeMap::new();
    for (place, step) in steps.iter().enumerate() {
        let needs = step.needs.iter().map(|needed| format!("s{needed}")).collect::<Vec<_>>().join(", ");
        let _ = match step.enough {
            Some(count) => {
                let cancel_rest = step.cancels_rest;
                writeln!(text, "      s{place}:\n        needs: {{ any: {count}, of: [{needs}], cancel_rest: {cancel_rest} }}")
            }
            None if needs.is_empty() => writeln!(text, "      s{place}:"),
            None => writeln!(text, "      s{place}:\n        needs: [{needs}]"),
        };
        let of = |at: ReadSite| reads.iter().filter(move |(reader, site, _)| *reader == place && *site == at);
        if !step.condition.is_empty() {
            let _ = writeln!(text, "        if: |\n          ({})", step.condition);
            for read in of(ReadSite::If) {
                // A step that has not ended has no status, or another one: then the reader fails.
                let _ = writeln!(text, "          && params.ends[steps.s{}.status]", read.2);
                lines.insert(text.lines().count(), *read);
            }
        }
        let continues = if step.continues_on_failure { "        on_failure: continue\n" } else { "" };
        let _ = writeln!(
            text,
            "        action: demo.look\n        retry: {{ attempts: 2, delay: {}s }}\n{continues}        with:\n          saw:",
            step.delay.max(1)
        );
        let _ = writeln!(text, "            - ''");
        for read in of(ReadSite::With) {
            let _ = writeln!(text, "            - '${{{{ steps.s{}.status }}}}'", read.2);
            lines.insert(text.lines().count(), *read);
        }
    }
    (text, lines)
}

fn packs(flow: &str) -> Vec<PackSource> {
    let files = [
        ("pack.yaml", "name: demo\nversion: 1.0.0\n".to_owned()),
        ("actions/look.yaml", "parameters: { saw: [string] }\nrun: { shell: { script: make } }\n".to_owned()),
        ("actions/flow.yaml", flow.to_owned()),
    ];
    let pack = PackSource::of("packs/demo", files).unwrap();
    library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect()
}

/// Returns the steps that have ended in every way to a step, because each step on the way needs all of the steps that it
/// names.
fn ancestors(steps: &[RandomStep], reader: usize) -> BTreeSet<usize> {
    let RandomStep { needs, enough: None, .. } = &steps[reader] else { return BTreeSet::new() };
    needs.iter().flat_map(|needed| ancestors(steps, *needed).into_iter().chain([*needed])).collect()
}

/// Returns the workflow with the reads that `check` accepts, and these reads.
fn accepted_reads(steps: &[RandomStep]) -> (Arc<Catalog>, BTreeSet<Read>) {
    let all = |place| (0..steps.len()).flat_map(move |reader| (0..steps.len()).map(move |read| (reader, place, read)));
    let mut reads: BTreeSet<Read> = all(ReadSite::If)
        .chain(all(ReadSite::With))
        .filter(|(reader, place, read)| {
            *place == ReadSite::With || !(steps[*reader].condition.is_empty() || is_one_of(&steps[*reader], *read))
        })
        .collect();
    loop {
        let (flow, lines) = render_workflow(steps, &reads);
        let packs = packs(&flow);
        let checked = check(&packs, &BTreeMap::new());
        let errors: Vec<_> = checked.diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
        if errors.is_empty() {
            let id_of = |_: &RuleRef| RuleId(Id::root(NOON, 7));
            let good: Vec<(PackSource, Manifest)> =
                checked.good.into_iter().map(|good| (good.source.clone(), good.manifest(id_of))).collect();
            return (Arc::new(build(CatalogRevision(1), &good).unwrap()), reads);
        }
        for error in errors {
            assert_eq!(error.code, Code::StepNotNeeded, "{}: {}\n{flow}", error.line, error.message);
            assert!(reads.remove(&lines[&error.line]), "{}: {}\n{flow}", error.line, error.message);
        }
    }
}

/// Ends each attempt as its step says, and notes the steps that were read before they ended.
struct World<'a> {
    steps: &'a [RandomStep],
    reads: &'a BTreeSet<Read>,
    too_early: Vec<Read>,
}

impl OutsideWorld for World<'_> {
    fn attempt(&mut self, way: &ExecutionPath, dispatch: &Dispatch, params: &Value) -> Result<Option<AttemptOutcome>, RehearsalError> {
        let reader: usize = way.path.to_string()[1..].parse().unwrap();
        let step = &self.steps[reader];
        let saw = params["saw"].as_array().unwrap().iter().skip(1);
        let reads = self.reads.iter().filter(|(by, place, _)| *by == reader && *place == ReadSite::With);
        self.too_early.extend(saw.zip(reads).filter(|(saw, read)| **saw == "running" && !is_one_of(step, read.2)).map(|(_, read)| *read));
        let failure = || AttemptOutcome::Failed(Failure::new(FailureKind::Network, "down".to_owned()));
        let is_delayed = step.delay > 0 && dispatch.number == 1;
        Ok(Some(if is_delayed || step.fails { failure() } else { AttemptOutcome::Result(json!({})) }))
    }

    fn answer(&mut self, _: &ExecutionPath, _: &Value, _: usize) -> Result<InquiryOutcome, RehearsalError> {
        unreachable!("no step asks")
    }

    fn await_event(&mut self, _: &ExecutionPath, _: &str) -> Result<Option<Value>, RehearsalError> {
        unreachable!("no step waits")
    }
}

/// Returns true if a step is one of those of which some are enough: it need not have ended.
fn is_one_of(reader: &RandomStep, read: usize) -> bool {
    reader.enough.is_some() && reader.needs.contains(&read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn step_reads_all_that_it_needs_and_only_steps_that_have_ended(steps in random_steps()) {
        let (catalog, reads) = accepted_reads(&steps);
        for reader in 0..steps.len() {
            for ancestor in ancestors(&steps, reader) {
                let sites = [Some(ReadSite::With), (!steps[reader].condition.is_empty()).then_some(ReadSite::If)];
                for site in sites.into_iter().flatten() {
                    let is_allowed = reads.contains(&(reader, site, ancestor));
                    prop_assert!(is_allowed, "s{reader} cannot read s{ancestor} ({site:?})\n{}", render_workflow(&steps, &reads).0);
                }
            }
        }
        let mut stage = RehearsalStage::set(catalog).unwrap();
        let ends: BTreeMap<&str, bool> = ["succeeded", "failed", "timed_out", "cancelled", "skipped"].into_iter().map(|end| (end, true)).collect();
        let flow = stage.request(&"demo.flow".parse().unwrap(), &json!({ "ends": ends })).unwrap();
        let mut world = World { steps: &steps, reads: &reads, too_early: Vec::new() };
        stage.play(&mut world).unwrap();
        prop_assert_eq!(&world.too_early, &Vec::<Read>::new(), "{}", render_workflow(&steps, &reads).0);
        for (name, step) in stage.history().steps_of(flow) {
            let error = step.end.as_ref().and_then(|end| end.error.as_ref());
            let is_unread = error.is_some_and(|error| error.kind == FailureKind::Expression);
            prop_assert!(!is_unread, "{name}: {error:?}\n{}", render_workflow(&steps, &reads).0);
        }
    }
}

#[test]
fn step_that_enough_others_cannot_reach_sees_the_rest_as_running() {
    let verdict = run_steps(
        "skipped: { if: 'false', action: demo.made }\n\
         a: { needs: skipped, action: demo.made }\n\
         b: { sleep: 1m }\n\
         end:\n  needs: { any: 2, of: [a, b] }\n  if: '!succeeded()'\n  action: core.echo\n\
         \x20 with: { message: '${{ steps.a.status }}, ${{ steps.b.status }}' }",
        "expect: { status: succeeded, steps: { a: skipped, end: { result: { message: 'skipped, running' } } } }",
    );
    assert_eq!(failures(&verdict), "");
}

#[test]
fn step_reads_what_every_way_to_it_needs() {
    let verdict = run_steps(
        "init: { action: demo.made }\n\
         a: { needs: init, if: 'params.list.size() > 5', action: demo.made }\n\
         b: { needs: init, if: 'params.list.size() < 5', action: demo.made }\n\
         end: { needs: { any: 1, of: [a, b] }, action: core.echo, with: { message: '${{ steps.init.result.url }}' } }\n\
         after: { needs: end, action: core.echo, with: { message: '${{ steps.init.result.url }}' } }",
        "mocks: { init: { result: { url: here } }, b: { result: {} } }\n\
         expect: { status: succeeded, steps: { a: skipped, end: { result: { message: here } }, after: { result: { message: here } } } }",
    );
    assert_eq!(failures(&verdict), "");
}
