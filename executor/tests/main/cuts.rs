//! What a program is asked when its attempt is ended early, and how its end counts. The test controls the
//! program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_engine::catalog::{ProcessCommand, Run};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ids::AttemptId;
use ensue_executor::programs::{
    AtEnd, AttemptRemains, End, EndedBy, Exit, FindError, Isolation, Order, Pending, Program, ProgramUpdate, Programs, StartProgramError,
    Tell,
};
use ensue_executor::{AtStop, LEAVING_GRACE_MAX};
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{GRACE, Plan, TIMEOUT, World, failure, result};

/// Runs one program, which only records requests and ends when the test says so.
struct OneProgram(Mutex<Option<Noting>>);

struct Noting {
    told: mpsc::UnboundedSender<Tell>,
    said: mpsc::UnboundedReceiver<ProgramUpdate>,
}

impl Programs for OneProgram {
    fn find(&self, program: &str, _: &Path, _: &OsString) -> Result<PathBuf, FindError> {
        Ok(program.into())
    }

    fn directory(&self, _: AttemptId) -> PathBuf {
        "/nowhere".into()
    }

    fn start(&self, _: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let program = self.0.lock().unwrap().take().unwrap();
        Box::pin(async move { Ok(Box::new(program) as Box<dyn Program>) })
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        Box::pin(async { Vec::new() })
    }

    fn forget(&self, _: AttemptId) {}

    fn at_end(&self) -> AtEnd {
        AtEnd::GoOn
    }

    fn isolation(&self) -> &Isolation {
        Isolation::none()
    }
}

impl Program for Noting {
    fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
        Box::pin(async {
            match self.said.recv().await {
                Some(heard) => heard,
                None => std::future::pending().await,
            }
        })
    }

    fn instruct(&self, tell: Tell) {
        let _ = self.told.send(tell);
    }

    fn clear(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async {})
    }

    fn leave(self: Box<Self>) {}
}

/// A running program, the requests to it, and how to end it.
struct Cut {
    world: World,
    told: mpsc::UnboundedReceiver<Tell>,
    says: mpsc::UnboundedSender<ProgramUpdate>,
}

impl Cut {
    fn begin(plan: impl FnOnce(Plan) -> Plan, change: impl FnOnce(&mut ensue_engine::effect::Dispatch)) -> Self {
        let ((told_into, told), (says, said)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let programs = OneProgram(Mutex::new(Some(Noting { told: told_into, said })));
        let run = Run::Process(ProcessCommand {
            command: vec!["program".into()],
            beside: Default::default(),
            input: None,
            env: Vec::new(),
            files: Vec::new(),
        });
        let world = plan(Plan::new(run).time_in_hand().programs(Arc::new(programs))).begin();
        let mut dispatch = world.make_dispatch(1, json!({}));
        change(&mut dispatch);
        world.executor.carry_out(ensue_engine::effect::Effect::Dispatch(Box::new(dispatch)));
        Self { world, told, says }
    }

    fn ends(&self, exit: Exit, by: Option<EndedBy>) {
        self.says.send(ProgramUpdate::Ended(End { exit, by, printed: [0, 0], was_killed: None, ended_at: None })).unwrap();
    }

    /// Receives from the program, which shows that it runs.
    async fn runs(&self) {
        use ensue_engine::ports::OutputStream::Stdout;
        self.says.send(ProgramUpdate::Output { stream: Stdout, offset: 0, bytes: "ready".into() }).unwrap();
        self.world.outputs.says(1, Stdout, "ready").await;
    }
}

#[tokio::test]
async fn program_that_ended_by_itself_at_its_timeout_did_not_time_out() {
    for (by, times_out) in [(None, false), (Some(EndedBy::Told), true), (Some(EndedBy::Deadline), true)] {
        let mut cut = Cut::begin(|plan| plan, |_| {});
        cut.runs().await;
        cut.world.clock.advance(TIMEOUT);
        assert_eq!(cut.told.recv().await, Some(Tell::Stop { grace: GRACE }));
        cut.ends(Exit::Code(0), by);
        let report = cut.world.report().await;
        if times_out {
            failure(&report, FailureKind::Timeout);
        } else {
            assert_eq!(result(&report), json!("ready"));
        }
    }
}

#[tokio::test]
async fn stopping_node_shortens_the_grace_of_its_programs() {
    for (grace, expected) in [(Duration::from_secs(3_600), LEAVING_GRACE_MAX), (Duration::from_secs(1), Duration::from_secs(1))] {
        let mut cut = Cut::begin(
            |plan| plan.settings(|settings| settings.at_stop = AtStop::End),
            |dispatch| dispatch.grace_millis = u64::try_from(grace.as_millis()).unwrap(),
        );
        cut.runs().await;
        let executor = cut.world.executor.clone();
        let stopping = tokio::spawn(async move { executor.stop(Duration::ZERO).await });
        assert_eq!(cut.told.recv().await, Some(Tell::Stop { grace: expected }), "of {grace:?}");
        cut.ends(Exit::Signal(15), Some(EndedBy::Told));
        stopping.await.unwrap();
    }
}
