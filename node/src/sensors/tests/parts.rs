//! The parts that a source reports, over its tries and runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_connectors::world::{PartReport, PartState};
use ensue_connectors::{Connect, Guarantee, MessageSource, Pending, PullOutcome, Room, SensorErrorKind, SourceError, Token, World};
use ensue_engine::catalog::Sensor;
use ensue_engine::command::Ask;
use ensue_engine::fact::Fact;
use ensue_engine::sensors::facts::SensorMode;
use ensue_expression::Document;

use super::site::{Outside, Setting, Site, feed};
use super::{MINUTE, SECOND};

/// What a source does next.
enum Step {
    Reports(PartState),
    Fails,
}

/// A source that reads nothing, and reports its only part. A clone is the same source.
#[derive(Clone, Default)]
struct Reporter {
    steps: Arc<Mutex<VecDeque<Step>>>,
    /// What it reports at the end of a run that was asked to stop.
    last: Arc<Mutex<Option<PartState>>>,
}

impl Reporter {
    fn site(&self) -> Site {
        Site::of(Setting {
            source: "process: { command: [cat] }".to_owned(),
            other_source: "process: { command: [tac] }".to_owned(),
            name: "line",
            connect: Arc::new(self.clone()),
            outside: Outside::Clock,
        })
    }

    fn does(&self, step: Step) {
        self.steps.lock().unwrap().push_back(step);
    }

    fn fails(&self) {
        self.does(Step::Reports(away()));
    }

    fn works(&self) {
        self.does(Step::Reports(PartState::Running));
    }
}

fn away() -> PartState {
    PartState::Failing { error: "no route".to_owned() }
}

impl Connect for Reporter {
    fn open(&self, _: Arc<Sensor>, world: Arc<World>, _: Option<Document>) -> Pending<'_, Result<Box<dyn MessageSource>, SourceError>> {
        let source: Box<dyn MessageSource> = Box::new(Open { reporter: self.clone(), world });
        Box::pin(std::future::ready(Ok(source)))
    }
}

struct Open {
    reporter: Reporter,
    world: Arc<World>,
}

impl Open {
    fn report(&self, state: PartState) {
        self.world.parts.report(PartReport { name: "a".to_owned(), state });
    }

    async fn go(&self) -> Result<PullOutcome, SourceError> {
        loop {
            let step = self.reporter.steps.lock().unwrap().pop_front();
            match step {
                Some(Step::Reports(state)) => self.report(state),
                Some(Step::Fails) => return Err(SourceError::new(SensorErrorKind::Exited, "the program ended")),
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl MessageSource for Open {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactByCursor
    }

    fn next(&mut self, _: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(self.go())
    }

    fn cursor_at(&self, _: Token) -> Option<Document> {
        None
    }

    fn settle(&mut self, _: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        let last = self.reporter.last.lock().unwrap().take();
        last.into_iter().for_each(|state| self.report(state));
        Box::pin(std::future::ready(()))
    }
}

/// Returns how often the log says that the part fails, and that it works again.
fn count_recorded(site: &Site) -> (usize, usize) {
    let failed = site.count(|fact| matches!(fact, Fact::SensorPartFailed(_)));
    (failed, site.count(|fact| matches!(fact, Fact::SensorPartRecovered(_))))
}

#[test]
fn part_works_again_only_if_it_is_reported_after_an_outage_of_its_program() {
    let source = Reporter::default();
    let site = source.site();
    source.fails();
    site.pass(2 * SECOND);
    source.works();
    site.pass(2 * SECOND);
    (0..8).for_each(|_| source.does(Step::Fails));
    site.pass(10 * MINUTE);
    assert_eq!(count_recorded(&site), (1, 0), "nothing was read");
    source.works();
    site.pass(MINUTE + SECOND);
    assert_eq!(count_recorded(&site), (1, 1));
}

#[test]
fn part_that_failed_before_the_node_started_and_works_until_it_stops_is_recorded_as_working() {
    let source = Reporter::default();
    let mut site = source.site();
    source.fails();
    site.pass(2 * SECOND);
    site.kill();
    source.works();
    site.pass(2 * SECOND);
    assert_eq!(count_recorded(&site), (1, 0));
    site.stop();
    assert_eq!(count_recorded(&site), (1, 1));
}

#[test]
fn part_that_is_reported_after_its_run_was_asked_to_stop_is_not_shown() {
    for ask in [Ask::RestartSensor { sensor: feed() }, Ask::SetSensorMode { sensor: feed(), mode: SensorMode::Disabled }] {
        let source = Reporter::default();
        let site = source.site();
        site.pass(2 * SECOND);
        *source.last.lock().unwrap() = Some(away());
        site.ask(ask);
        site.pass(2 * SECOND);
        assert!(site.lines().iter().any(|line| line.contains("the part `a` fails")), "{:?}", site.lines());
        assert_eq!(site.status().failing_parts.len(), 0);
    }
}
