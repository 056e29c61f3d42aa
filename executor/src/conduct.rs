//! Conducts a running program: listens to it until it ends, and tells it to end when its attempt is cut off.
//!
//! This module knows neither who started the program nor what happens to its output.

use std::time::Duration;

use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ports::OutputStream;

use crate::attempt::{AttemptContext, AttemptError, Cut, LEAVING_GRACE_MAX};
use crate::messages::Messages;
use crate::output::Output;
use crate::programs::{AtEnd, End, EndedBy, Program, ProgramUpdate, Tell, WhyLost};
use crate::report::SubmitOutcome;
use crate::result::{OutputHead, Tail};
use crate::running_attempts::Signal;

/// A program that has ended.
pub(crate) struct EndedProgram {
    /// What cut it off, or none if it ended by itself.
    pub(crate) cut: Option<Cut>,
    /// How it ended.
    pub(crate) end: End,
    /// The beginning of its standard output.
    pub(crate) stdout: OutputHead,
    /// The end of its standard error.
    pub(crate) stderr: Tail,
}

/// Listens to a program until it ends, and removes its private directory. Returns early if the program is
/// left to the next node or lost.
pub(crate) async fn conduct(attempt: &AttemptContext<'_>, mut program: Box<dyn Program>) -> Result<EndedProgram, AttemptError> {
    let mut output = Output::begin(attempt.means.ports.outputs.clone(), attempt.dispatch.attempt, attempt.means.settings.blocking);
    let messages = Messages::begin(attempt);
    let mut unheard = None;
    let mut stdout = OutputHead::default();
    let mut stderr = Tail::default();
    let mut cut = None;
    let end = loop {
        let heard = tokio::select! {
            biased;
            () = left_alone(attempt), if cut.is_none() => return Err(leave_program(attempt, program)),
            by = attempt.cut(), if cut.is_none() => {
                program.instruct(Tell::Stop { grace: grace(attempt, by) });
                cut = Some(by);
                continue;
            }
            () = leaving(attempt), if cut.is_some_and(|cut| cut != Cut::Left) => {
                program.instruct(Tell::Stop { grace: grace(attempt, Cut::Left) });
                cut = Some(Cut::Left);
                continue;
            }
            () = messages.hear(&mut unheard), if unheard.is_some() => continue,
            heard = program.hear(), if unheard.is_none() => heard,
        };
        match heard {
            ProgramUpdate::Output { stream, offset, bytes } => {
                match stream {
                    OutputStream::Stdout => stdout.push(&bytes),
                    OutputStream::Stderr => stderr.push(&bytes),
                }
                output.append(stream, offset, bytes).await;
            }
            ProgramUpdate::Message { index, line } => unheard = Some((index, line)),
            ProgramUpdate::Ended(end) => {
                attempt.running.note_end(end.ended_at, attempt.means.ports.clock.now());
                break Ok(end);
            }
            ProgramUpdate::Lost(why) => break Err(why),
        }
    };
    if messages.finish().await == SubmitOutcome::Left {
        if cut != Some(Cut::Left) && attempt.means.ports.programs.at_end() == AtEnd::GoOn {
            // What it said last, files among it, is heard again by the next node, which finds them there.
            return Err(leave_program(attempt, program));
        }
        // Nobody will hear it again, and an attempt whose last messages are lost must not be reported as
        // succeeded.
        cut.get_or_insert(Cut::Left);
    }
    if let Ok(End { printed, .. }) = end {
        output.note_printed(printed).await;
    }
    output.finish().await;
    program.clear().await;
    let end = end.map_err(loss_error)?;
    // It may have ended by itself before the request to stop reached it.
    let cut = match (cut, end.by) {
        (Some(Cut::TimedOut), None) => None,
        (Some(cut), _) => Some(cut),
        (None, Some(EndedBy::Deadline)) => Some(Cut::TimedOut),
        // An earlier node told it to end, and the reason is not known here.
        (None, Some(EndedBy::Told)) => return Err(AttemptError::Lost(None)),
        (None, None) => None,
    };
    stdout.note_total(end.printed[0]);
    Ok(EndedProgram { cut, end, stdout, stderr })
}

fn loss_error(why: WhyLost) -> AttemptError {
    AttemptError::Lost(match why {
        WhyLost::HolderGone => None,
        WhyLost::HolderHangs { silent_for } => {
            let seconds = silent_for.as_secs_f64();
            let message = format!("the supervisor of the program did not answer for {seconds} s, so it was killed with the program");
            Some(Failure::new(FailureKind::Lost, message))
        }
    })
}

/// Leaves a program to the next node. The program continues, or its end is kept.
fn leave_program(attempt: &AttemptContext<'_>, program: Box<dyn Program>) -> AttemptError {
    program.leave();
    attempt.means.note_left_running(attempt.dispatch.attempt);
    Cut::Left.into()
}

/// Completes when the node shuts down and lets its programs continue. Never completes if the log has told the
/// program to end: that is handled first.
async fn left_alone(attempt: &AttemptContext<'_>) {
    match attempt.means.at_stop() {
        AtEnd::GoOn => attempt.means.draining().await,
        AtEnd::Ended => std::future::pending().await,
    }
    if attempt.running.is_to_end() {
        std::future::pending().await
    }
}

/// Completes when the node shuts down and ends everything that still runs.
async fn leaving(attempt: &AttemptContext<'_>) {
    attempt.running.wait_for_signal(Signal::Leave).await;
}

fn grace(attempt: &AttemptContext<'_>, by: Cut) -> Duration {
    let grace = Duration::from_millis(attempt.dispatch.grace_millis);
    match by {
        Cut::Left => grace.min(LEAVING_GRACE_MAX),
        Cut::TimedOut | Cut::Cancelled | Cut::Released => grace,
    }
}
