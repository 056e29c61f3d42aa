//! The parts of what a sensor reads, as its program reports them: they are shown at once, and recorded at most once a
//! second. A part that works again is recorded only once it has worked for a while, so that one that fails every other
//! second does not fill the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_connectors::world::{Clock, LineSink as _, PartReport, PartState, Parts};
use ensue_engine::ids::SensorId;
use ensue_engine::sensors::state::{FAILING_PARTS_MAX, Sensors};
use ensue_engine::time::Timestamp;
use tokio::sync::Notify;

use super::logs::SensorLog;
use super::status::{PartFailure, RunStatus};
use crate::intake::KnownSensors;

/// How long a record of parts must be made until another one is, in milliseconds.
const RECORD_EVERY_MILLIS: u64 = 1_000;
/// How long a part must work until that is recorded, in milliseconds.
const RECOVERED_AFTER_MILLIS: u64 = 60_000;

/// The parts of a sensor over its tries within one run. What was reported of a part stays, also over starts of its program,
/// until the part is reported again.
pub(super) struct RunParts {
    id: SensorId,
    run: u64,
    known: Arc<dyn KnownSensors>,
    clock: Arc<dyn Clock>,
    status: Arc<RunStatus>,
    log: Arc<SensorLog>,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// What was reported of parts and the log does not have.
    due: BTreeMap<String, Due>,
    /// The parts of which something is on its way into the log, and how often.
    on_its_way: BTreeMap<String, u32>,
    /// When something was last recorded.
    at: Option<Timestamp>,
    /// Whether the sensor's log says that parts are not shown, since the program was started.
    has_said_too_many: bool,
}

/// What is to be recorded of a part.
struct Due {
    state: PartState,
    /// When it may be; `None` if the part must be reported again first.
    from: Option<Timestamp>,
}

impl Due {
    fn may_be(&self, now: Timestamp) -> bool {
        self.from.is_some_and(|from| from <= now)
    }
}

impl RunParts {
    pub(super) fn new(
        (id, run): (SensorId, u64),
        known: Arc<dyn KnownSensors>,
        clock: Arc<dyn Clock>,
        (status, log): (Arc<RunStatus>, Arc<SensorLog>),
    ) -> Arc<Self> {
        Arc::new(Self { id, run, known, clock, status, log, inner: Mutex::default(), changed: Notify::new() })
    }

    /// Completes when something is to be recorded, and may be.
    pub(super) async fn are_due(&self) {
        loop {
            let wait = self.lock().due_at().map(|at| {
                let micros = at.micros_since(self.clock.now()).max(0);
                Duration::from_micros(u64::try_from(micros).unwrap_or(0))
            });
            match wait {
                Some(Duration::ZERO) => return,
                Some(wait) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = self.clock.sleep(wait) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes what is to be recorded now.
    pub(super) fn take_due(&self) -> BTreeMap<String, PartState> {
        self.take(|_, due, now| due.may_be(now))
    }

    /// Takes all that is to be recorded, since nothing more will be reported.
    pub(super) fn take_all(&self) -> BTreeMap<String, PartState> {
        self.take(|_, _, _| true)
    }

    /// Takes what is to be recorded when a run ends that did not fail: also which parts work that failed in an earlier run,
    /// because the next run does not know of them.
    pub(super) fn take_at_end(&self) -> BTreeMap<String, PartState> {
        let known = self.known.sensors();
        let is_of_earlier = |name: &str| known.part(self.id, name).is_some_and(|known| known.run != self.run);
        self.take(|name, due, now| due.may_be(now) || (!fails(&due.state) && is_of_earlier(name)))
    }

    /// Notes that the log has answered what was said of these parts. What it does not have now is recorded later.
    pub(super) fn note_answer(&self, parts: &[String]) {
        let mut inner = self.lock();
        let Inner { due, on_its_way, .. } = &mut *inner;
        for name in parts {
            if let Some(count) = on_its_way.get_mut(name) {
                *count = count.saturating_sub(1);
            }
        }
        on_its_way.retain(|_, count| *count > 0);
        let known = self.known.sensors();
        // The log does not know yet what else is on its way.
        due.retain(|name, due| on_its_way.contains_key(name) || self.is_news(&known, name, &due.state));
        self.changed.notify_one();
    }

    /// Notes that a try has failed. A part that works again has to be reported again, since nothing is read meanwhile.
    pub(super) fn note_failed_try(&self) {
        for due in self.lock().due.values_mut().filter(|due| !fails(&due.state)) {
            due.from = None;
        }
    }

    fn take(&self, is_due: impl Fn(&str, &Due, Timestamp) -> bool) -> BTreeMap<String, PartState> {
        let (now, mut inner) = (self.clock.now(), self.lock());
        let due = inner.due.iter().filter(|(name, due)| is_due(name, due, now));
        let taken: BTreeMap<String, PartState> = due.map(|(name, due)| (name.clone(), due.state.clone())).collect();
        for name in taken.keys() {
            *inner.on_its_way.entry(name.clone()).or_default() += 1;
        }
        inner.at = Some(now);
        taken
    }

    fn note(&self, name: String, state: PartState) {
        let (now, mut inner) = (self.clock.now(), self.lock());
        if !inner.on_its_way.contains_key(&name) && !self.is_news(&self.known.sensors(), &name, &state) {
            // It changed back before it was recorded.
            inner.due.remove(&name);
            return;
        }
        match inner.due.get_mut(&name) {
            Some(due) if due.from.is_some() && fails(&due.state) == fails(&state) => due.state = state,
            Some(_) | None => {
                let from = if fails(&state) { now } else { now.plus_millis(RECOVERED_AFTER_MILLIS) };
                inner.due.insert(name, Due { state, from: Some(from) });
                self.changed.notify_one();
            }
        }
    }

    /// Returns true if the log says otherwise of a part.
    fn is_news(&self, known: &Sensors, name: &str, state: &PartState) -> bool {
        let known = known.part(self.id, name);
        match state {
            PartState::Failing { .. } => known.is_none_or(|known| known.run != self.run),
            PartState::Running => known.is_some(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns when something is to be recorded next, and may be. Until the log has answered, nothing is.
    fn due_at(&self) -> Option<Timestamp> {
        let first = self.due.values().filter_map(|due| due.from).min().filter(|_| self.on_its_way.is_empty())?;
        let next = self.at.map_or(first, |at| at.plus_millis(RECORD_EVERY_MILLIS));
        Some(first.max(next))
    }
}

fn fails(state: &PartState) -> bool {
    matches!(state, PartState::Failing { .. })
}

impl Parts for RunParts {
    fn begin(&self) {
        self.lock().has_said_too_many = false;
    }

    fn report(&self, part: PartReport) {
        let PartReport { name, state } = part;
        match &state {
            PartState::Failing { error } => match self.status.show_failing_part(&name, error) {
                PartFailure::Known => {}
                PartFailure::New => self.log.add(format!("the part `{name}` fails: {error}")),
                PartFailure::TooMany => {
                    let mut inner = self.lock();
                    // If it worked until now, that is over.
                    inner.due.retain(|other, due| *other != name || fails(&due.state));
                    let has_said = std::mem::replace(&mut inner.has_said_too_many, true);
                    drop(inner);
                    if !has_said {
                        let many = format!("more than {FAILING_PARTS_MAX} parts fail, and no more of them are shown or recorded");
                        self.log.add(format!("{many}, such as `{name}`: {error}"));
                    }
                    return;
                }
            },
            PartState::Running => {
                if self.status.hide_part(&name) {
                    self.log.add(format!("the part `{name}` works again"));
                }
            }
        }
        self.note(name, state);
    }
}

/// In a test of a sensor, parts are only lines.
impl Parts for SensorLog {
    fn begin(&self) {}

    fn report(&self, part: PartReport) {
        if let PartState::Failing { error } = part.state {
            self.add(format!("the part `{}` fails: {error}", part.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_connectors::Pending;
    use ensue_engine::ids::Id;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::clock::SystemClock;

    const RUN: u64 = 3;
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;

    fn id() -> SensorId {
        SensorId(Id::from_bytes([7; 16]))
    }

    /// A log that knows nothing but parts: the run in which each was last recorded as failing.
    #[derive(Default)]
    struct RecordedParts(Mutex<BTreeMap<String, u64>>);

    impl KnownSensors for RecordedParts {
        fn sensors(&self) -> Sensors {
            let parts = self.0.lock().unwrap();
            let part = |(name, run): (&String, &u64)| (name.clone(), json!({ "since": Timestamp::from_micros(0), "run": run }));
            let parts: Map<String, Value> = parts.iter().map(part).collect();
            serde_json::from_value(json!({ "pulling": [], "of_ref": [], "disabled": [], "parts": [[id(), parts]] })).unwrap()
        }
    }

    /// A clock that whoever sleeps sets forward.
    struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, long: Duration) -> Pending<'_, ()> {
            self.pass(u64::try_from(long.as_millis()).unwrap());
            Box::pin(std::future::ready(()))
        }
    }

    impl Hand {
        fn pass(&self, millis: u64) {
            let mut now = self.0.lock().unwrap();
            *now = now.plus_millis(millis);
        }
    }

    /// A run of a sensor, and what it reaches.
    struct Site {
        parts: Arc<RunParts>,
        status: Arc<RunStatus>,
        log: Arc<SensorLog>,
        clock: Arc<Hand>,
        written: Arc<RecordedParts>,
    }

    impl Site {
        fn new() -> Self {
            let machine = Arc::new(SystemClock::default());
            let (status, log) = (RunStatus::new(machine.clone()), SensorLog::new(machine, None));
            let (clock, written) = (Arc::new(Hand(Mutex::new(Timestamp::from_micros(0)))), Arc::new(RecordedParts::default()));
            let parts = RunParts::new((id(), RUN), written.clone(), clock.clone(), (status.clone(), log.clone()));
            parts.begin();
            Self { parts, status, log, clock, written }
        }

        fn fails(&self, part: &str) {
            self.fails_with(part, "no route");
        }

        fn fails_with(&self, part: &str, error: &str) {
            let state = PartState::Failing { error: error.to_owned() };
            self.parts.report(PartReport { name: part.to_owned(), state });
        }

        fn works(&self, part: &str) {
            self.parts.report(PartReport { name: part.to_owned(), state: PartState::Running });
        }

        /// Records what is due, as the engine does, and returns what is recorded.
        fn record_due(&self) -> Vec<String> {
            self.record(&self.parts.take_due())
        }

        fn record(&self, due: &BTreeMap<String, PartState>) -> Vec<String> {
            let mut facts = Vec::new();
            let mut written = self.written.0.lock().unwrap();
            for (part, _) in due.iter().filter(|(_, state)| !fails(state)) {
                facts.extend(written.remove(part).map(|_| format!("{part} works")));
            }
            for (part, _) in due.iter().filter(|(_, state)| fails(state)) {
                if written.len() < FAILING_PARTS_MAX && written.insert(part.clone(), RUN) != Some(RUN) {
                    facts.push(format!("{part} fails"));
                }
            }
            drop(written);
            self.answer(due);
            facts
        }

        fn answer(&self, taken: &BTreeMap<String, PartState>) {
            self.parts.note_answer(&taken.keys().cloned().collect::<Vec<String>>());
        }

        /// Returns what is recorded after this long.
        fn recorded_after(&self, millis: u64) -> Vec<String> {
            self.clock.pass(millis);
            self.record_due()
        }

        fn shown_parts(&self) -> Vec<String> {
            self.status.snapshot().parts.into_keys().collect()
        }

        fn lines(&self) -> Vec<String> {
            self.log.after(0).into_iter().map(|line| line.text).collect()
        }
    }

    #[test]
    fn part_that_fails_is_recorded_once_and_shown_with_its_newest_error() {
        let site = Site::new();
        site.works("a");
        assert_eq!(site.record_due(), [""; 0], "nothing failed");
        site.fails_with("a", "no route");
        site.fails_with("a", "refused");
        assert_eq!(site.record_due(), ["a fails"]);
        site.fails_with("a", "refused");
        assert_eq!(site.recorded_after(MINUTE), [""; 0]);
        assert_eq!(site.status.snapshot().parts["a"].error, "refused");
        site.works("a");
        assert_eq!(site.shown_parts(), [""; 0]);
        assert_eq!(site.recorded_after(MINUTE), ["a works"]);
        assert_eq!(site.lines(), ["the part `a` fails: no route", "the part `a` fails: refused", "the part `a` works again"]);
    }

    #[test]
    fn failure_that_is_over_before_it_is_recorded_is_not_recorded() {
        let site = Site::new();
        site.fails("a");
        site.works("a");
        assert_eq!(site.recorded_after(MINUTE), [""; 0]);
    }

    #[test]
    fn part_that_fails_every_other_second_is_recorded_once_until_it_works_for_a_minute() {
        let site = Site::new();
        let mut facts = Vec::new();
        for _ in 0..1_000 {
            site.fails("a");
            facts.extend(site.recorded_after(SECOND));
            site.works("a");
            facts.extend(site.recorded_after(SECOND));
        }
        assert_eq!(facts, ["a fails"]);
        // Each time it is read, the program says so.
        for _ in 0..58 {
            site.works("a");
            assert_eq!(site.recorded_after(SECOND), [""; 0]);
        }
        assert_eq!(site.recorded_after(SECOND), ["a works"]);
    }

    #[test]
    fn part_stays_failing_over_starts_of_the_program_until_it_is_reported_as_running() {
        let site = Site::new();
        site.fails("a");
        assert_eq!(site.record_due(), ["a fails"]);
        site.parts.begin();
        assert_eq!(site.shown_parts(), ["a"], "the log has it as failing, too");
        site.fails("a");
        assert_eq!(site.recorded_after(MINUTE), [""; 0], "it is the same failure");
        site.parts.begin();
        site.works("a");
        assert_eq!(site.shown_parts(), [""; 0]);
        assert_eq!(site.recorded_after(MINUTE), ["a works"]);
        site.fails("a");
        assert_eq!(site.recorded_after(SECOND), ["a fails"], "it is another one");
    }

    #[test]
    fn time_in_which_the_program_is_down_does_not_count_as_working() {
        let site = Site::new();
        site.fails("a");
        assert_eq!(site.record_due(), ["a fails"]);
        site.works("a");
        site.parts.note_failed_try();
        assert_eq!(site.recorded_after(MINUTE), [""; 0]);
        site.parts.begin();
        assert_eq!(site.recorded_after(MINUTE), [""; 0], "it was not reported since");
        site.works("a");
        assert_eq!(site.recorded_after(MINUTE - SECOND), [""; 0]);
        assert_eq!(site.recorded_after(SECOND), ["a works"]);
    }

    #[test]
    fn part_that_failed_in_an_earlier_run_is_recorded_in_this_one_too() {
        let site = Site::new();
        site.written.0.lock().unwrap().extend([("a".to_owned(), RUN - 1), ("b".to_owned(), RUN - 1)]);
        site.parts.begin();
        assert_eq!(site.shown_parts(), [""; 0], "the run does not know of them");
        site.fails("a");
        site.works("b");
        assert_eq!(site.record_due(), ["a fails"]);
        assert_eq!(site.recorded_after(MINUTE), ["b works"]);
    }

    #[test]
    fn what_was_not_recorded_is_recorded_later_unless_it_changed() {
        let site = Site::new();
        site.fails("a");
        site.fails("b");
        let taken = site.parts.take_due();
        assert_eq!(taken.len(), 2);
        site.works("b");
        // The log has nothing of it.
        site.answer(&taken);
        assert_eq!(site.recorded_after(SECOND), ["a fails"]);
        assert_eq!(site.recorded_after(MINUTE), [""; 0]);
    }

    #[test]
    fn part_that_works_while_its_failure_is_on_its_way_is_recorded_as_both() {
        let site = Site::new();
        site.fails("a");
        let taken = site.parts.take_due();
        site.works("a");
        assert_eq!(site.record(&taken), ["a fails"]);
        assert_eq!(site.recorded_after(MINUTE), ["a works"]);
    }

    #[test]
    fn part_that_works_while_its_failure_is_twice_on_its_way_is_recorded_as_both() {
        let site = Site::new();
        site.fails("a");
        let first = site.parts.take_due();
        // The try ends before the log has answered.
        let second = site.parts.take_due();
        site.works("a");
        // The log has nothing of the first one.
        site.answer(&first);
        assert_eq!(site.record(&second), ["a fails"]);
        assert_eq!(site.recorded_after(MINUTE), ["a works"]);
    }

    #[test]
    fn recovery_of_a_part_is_recorded_at_once_if_its_source_has_ended() {
        let site = Site::new();
        site.fails("a");
        assert_eq!(site.record_due(), ["a fails"]);
        site.works("a");
        assert_eq!(site.record(&site.parts.take_all()), ["a works"]);
    }

    #[test]
    fn recovery_of_a_part_that_failed_in_an_earlier_run_is_recorded_when_the_run_ends() {
        let site = Site::new();
        site.written.0.lock().unwrap().insert("a".to_owned(), RUN - 1);
        site.fails("b");
        assert_eq!(site.record_due(), ["b fails"]);
        site.works("a");
        site.works("b");
        assert_eq!(site.record(&site.parts.take_at_end()), ["a works"], "the next run knows of the other one");
    }

    #[test]
    fn part_that_had_no_room_in_the_log_is_recorded_once_another_one_works() {
        let site = Site::new();
        (0..FAILING_PARTS_MAX).for_each(|number| site.fails(&format!("{number:03}")));
        assert_eq!(site.record_due().len(), FAILING_PARTS_MAX);
        site.works("050");
        site.fails("further");
        assert!(site.shown_parts().contains(&"further".to_owned()));
        assert_eq!(site.recorded_after(SECOND), [""; 0], "the log still has the other one");
        assert_eq!(site.recorded_after(MINUTE), ["050 works", "further fails"]);
    }

    #[test]
    fn part_that_fails_again_beyond_the_limit_is_not_recorded_as_working() {
        for is_on_its_way in [false, true] {
            let site = Site::new();
            site.fails("x");
            let taken = site.parts.take_due();
            if !is_on_its_way {
                assert_eq!(site.record(&taken), ["x fails"]);
            }
            site.works("x");
            (0..FAILING_PARTS_MAX).for_each(|number| site.fails(&format!("{number:03}")));
            site.fails("x");
            assert!(!site.shown_parts().contains(&"x".to_owned()));
            if is_on_its_way {
                assert_eq!(site.record(&taken), ["x fails"]);
            }
            let recorded = site.recorded_after(MINUTE);
            assert_eq!((recorded.len(), recorded.contains(&"x works".to_owned())), (FAILING_PARTS_MAX - 1, false));
        }
    }

    #[test]
    fn parts_beyond_the_limit_are_a_line_at_each_start_of_the_program() {
        let site = Site::new();
        let report_all = || (0..FAILING_PARTS_MAX + 5).for_each(|number| site.fails(&format!("{number:03}")));
        (0..3).for_each(|_| report_all());
        assert_eq!((site.shown_parts().len(), site.record_due().len()), (FAILING_PARTS_MAX, FAILING_PARTS_MAX));
        let lines_beyond = || site.lines().iter().filter(|line| line.contains("no more of them")).count();
        assert_eq!(lines_beyond(), 1);
        site.parts.begin();
        (0..3).for_each(|_| report_all());
        assert_eq!((lines_beyond(), site.lines().len()), (2, FAILING_PARTS_MAX + 2));
    }

    #[tokio::test]
    async fn recovery_is_due_after_a_minute_without_another_report() {
        let site = Site::new();
        site.fails("a");
        site.parts.are_due().await;
        assert_eq!(site.record_due(), ["a fails"]);
        site.works("a");
        site.parts.are_due().await;
        assert_eq!(site.record_due(), ["a works"]);
        assert_eq!(site.clock.now(), Timestamp::from_micros(0).plus_millis(MINUTE));
    }
}
