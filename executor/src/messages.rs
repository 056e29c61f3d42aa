//! Messages: what a program says on descriptor 3 while it runs, forwarded to the log in order.
//!
//! This module limits how much is forwarded, and takes files in. It does not know who reads the descriptor.
//! The end of an attempt is reported elsewhere.

mod line;
mod pickup;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::command::{Message, MessageContent, Refusal, SaidArtifact};
use ensue_engine::executions::messages::{ARTIFACTS_MAX, EMITTED_MAX, PROGRESS_MAX, REFUSED_MAX};
use ensue_engine::ports::Blobs;
use ensue_engine::record::Body;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::attempt::AttemptContext;
use crate::blocking::Blocking;
use crate::clock::Clock;
use crate::ports::{Emission, Observe};
use crate::report::{LogAnswer, Reporter, SubmitOutcome};
use line::{EventOrArtifact, Kind, MessageLine, ProgramProgress};
use pickup::PickUp;

pub use line::LINE_BYTES_MAX;

/// The number of lines that may wait for the log before the program has to wait to say more.
const LINES_WAITING_MAX: usize = 4;

/// The shortest interval between two reports of progress at the beginning of an attempt.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The number of rejected lines that are reported one by one: one fewer than the log accepts, because the
/// last report counts the rest.
const REFUSED_TOLD_MAX: u32 = REFUSED_MAX - 1;

/// The share of an attempt's age that passes between two reports of progress. An attempt that lasts a day
/// makes some 5,500 of them.
const PROGRESS_SHARE: u32 = 1_000;

/// The messages of one attempt. If dropped before they are finished, waiting messages are forgotten: whoever
/// adopts the program hears them again.
pub(crate) struct Messages {
    to: mpsc::Sender<(u32, Bytes)>,
    task: JoinHandle<SubmitOutcome>,
}

impl Messages {
    /// Starts taking the messages of an attempt.
    pub(crate) fn begin(attempt: &AttemptContext<'_>) -> Self {
        let (to, from) = mpsc::channel(LINES_WAITING_MAX);
        let ports = &attempt.means.ports;
        let teller = Teller {
            reporter: Arc::clone(&attempt.means.reporter),
            clock: Arc::clone(&ports.clock),
            observe: Arc::clone(&ports.observe),
            blobs: Arc::clone(&ports.blobs),
            directory: ports.programs.directory(attempt.dispatch.attempt),
            artifact_bytes_max: attempt.means.settings.artifact_bytes_max,
            blocking: attempt.means.settings.blocking,
            about: MessageEnvelope {
                message: Message {
                    execution: attempt.dispatch.execution,
                    attempt: attempt.dispatch.attempt,
                    token: attempt.dispatch.token,
                    index: 0,
                    said: MessageContent::Unusable { reason: String::new() },
                },
                catalog: attempt.dispatch.catalog,
                trace: attempt.dispatch.trace.clone(),
            },
        };
        Self { to, task: tokio::spawn(teller.forward_all(from)) }
    }

    /// Takes the waiting line, with its index, as soon as there is room. May be dropped while waiting without
    /// losing the line.
    pub(crate) async fn hear(&self, waiting: &mut Option<(u32, Bytes)>) {
        // A long line takes the room of several, so that the bytes waiting for the log are limited as well.
        let bytes = waiting.as_ref().map_or(0, |(_, line)| line.len());
        match self.to.reserve_many(places_of(bytes)).await {
            Ok(mut permits) => {
                if let (Some(permit), Some(line)) = (permits.next(), waiting.take()) {
                    permit.send(line);
                }
            }
            // Nothing more is accepted from this attempt.
            Err(_) => *waiting = None,
        }
    }

    /// Completes once everything that was said is in the log or no longer wanted there, or once the node
    /// stops and the log accepts no more. Returns which of these happened.
    pub(crate) async fn finish(mut self) -> SubmitOutcome {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.to, closed));
        (&mut self.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "recording the messages of a program was interrupted");
            SubmitOutcome::Settled
        })
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards messages to the log.
struct Teller {
    reporter: Arc<Reporter>,
    clock: Arc<dyn Clock>,
    observe: Arc<dyn Observe>,
    blobs: Arc<dyn Blobs>,
    directory: PathBuf,
    artifact_bytes_max: u64,
    blocking: Blocking,
    about: MessageEnvelope,
}

/// What all messages of an attempt have in common.
struct MessageEnvelope {
    /// A message without content.
    message: Message,
    catalog: ensue_engine::record::CatalogRevision,
    trace: Option<String>,
}

/// Whether the log accepts more from an attempt.
#[derive(Clone, Copy)]
enum ForwardOutcome {
    GoOn,
    /// The line was reported as rejected.
    Refused,
    /// The log accepts no more of the same kind.
    Full,
    /// Nothing more from the attempt is wanted.
    Over,
    /// The node stops.
    Left,
}

impl Teller {
    async fn forward_all(self, mut from: mpsc::Receiver<(u32, Bytes)>) -> SubmitOutcome {
        let began = self.clock.now();
        let mut due = began;
        let mut newest: Option<(u32, ProgramProgress, usize)> = None;
        let mut lines = LineFilter::default();
        loop {
            let heard = tokio::select! {
                biased;
                heard = from.recv() => heard,
                () = self.clock.until(due), if newest.is_some() => Some((0, Bytes::new())),
            };
            let is_last = heard.is_none();
            let bytes = heard.as_ref().map_or(0, |(_, line)| line.len());
            let line = heard.filter(|(_, line)| !line.is_empty()).and_then(|(index, line)| lines.read(index, &line));
            // Another message must not overtake the progress reported before it. Of consecutive progress
            // reports, only the newest counts.
            let other = match line {
                Some((index, Ok(MessageLine::Progress(progress)))) => {
                    newest = Some((index, progress, bytes));
                    None
                }
                Some((index, Ok(MessageLine::Given(given)))) => Some((index, Ok(given))),
                Some((index, Err(reason))) => Some((index, Err(reason))),
                None => None,
            };
            if (is_last || other.is_some() || self.clock.now() >= due)
                && let Some((index, progress, bytes)) = newest.take()
            {
                match self.say(index, progress_content(progress)).await {
                    ForwardOutcome::GoOn => {}
                    ForwardOutcome::Refused => lines.refused += 1,
                    ForwardOutcome::Full => lines.close(Kind::Progress, bytes),
                    ForwardOutcome::Over => return SubmitOutcome::Settled,
                    ForwardOutcome::Left => return SubmitOutcome::Left,
                }
                let now = self.clock.now();
                due = now + progress_interval(now.saturating_sub(began));
            }
            if let Some((index, given)) = other {
                let kind = given.as_ref().map_or(Kind::Unusable, EventOrArtifact::kind);
                let said = match given {
                    Ok(given) => self.taken_in(index, given).await,
                    Err(reason) => MessageContent::Unusable { reason },
                };
                match self.say(index, said).await {
                    ForwardOutcome::GoOn => {}
                    ForwardOutcome::Refused => lines.refused += 1,
                    ForwardOutcome::Full => lines.close(kind, bytes),
                    ForwardOutcome::Over => return SubmitOutcome::Settled,
                    ForwardOutcome::Left => return SubmitOutcome::Left,
                }
            }
            if is_last {
                return match lines.not_taken() {
                    None => SubmitOutcome::Settled,
                    Some(reason) => match self.say(lines.next, MessageContent::Unusable { reason }).await {
                        ForwardOutcome::GoOn | ForwardOutcome::Refused | ForwardOutcome::Full | ForwardOutcome::Over => {
                            SubmitOutcome::Settled
                        }
                        ForwardOutcome::Left => SubmitOutcome::Left,
                    },
                };
            }
        }
    }

    /// Turns an emission into an event, or a file into a blob.
    async fn taken_in(&self, index: u32, given: EventOrArtifact) -> MessageContent {
        match given {
            EventOrArtifact::Event { trigger, payload } => {
                let Message { execution, attempt, .. } = self.about.message;
                let emission =
                    Emission { execution, attempt, cause: attempt.0, index, catalog: self.about.catalog, trigger, payload, dedupe: None };
                match self.observe.observe(emission) {
                    Ok(event) => MessageContent::Event(Box::new(event)),
                    Err(error) => MessageContent::Unusable { reason: error.to_string() },
                }
            }
            EventOrArtifact::Artifact { name, path, media_type } => {
                let pick_up = PickUp { directory: self.directory.clone(), path, bytes_max: self.artifact_bytes_max };
                let blobs = Arc::clone(&self.blobs);
                let taken = self.blocking.run(move || pick_up.take(&*blobs)).await;
                match taken {
                    Some(Ok(kept)) => MessageContent::Artifact(SaidArtifact { name, media_type, blob: kept.digest, bytes: kept.bytes }),
                    Some(Err(error)) => MessageContent::Unusable { reason: format!("the artifact `{name}` was rejected: {error}") },
                    None => MessageContent::Unusable { reason: format!("the artifact `{name}` was rejected: storing it was interrupted") },
                }
            }
        }
    }

    /// Submits one message to the log. If the log refuses it, reports it as unusable, with the reason.
    async fn say(&self, index: u32, said: MessageContent) -> ForwardOutcome {
        let message = |said| Message { index, said, ..self.about.message.clone() };
        let is_unusable = matches!(said, MessageContent::Unusable { .. });
        let refusal = match self.reporter.say(message(said), self.about.trace.clone()).await {
            LogAnswer::Taken(_) if is_unusable => return ForwardOutcome::Refused,
            LogAnswer::Taken(_) => return ForwardOutcome::GoOn,
            LogAnswer::Left => return ForwardOutcome::Left,
            LogAnswer::Refused(refusal) => refusal,
        };
        match refusal {
            Refusal::NotOpen(_) | Refusal::NotRunning(_) | Refusal::WrongToken { .. } => return ForwardOutcome::Over,
            Refusal::TooManyMessages { attempt, .. } => {
                tracing::debug!(%attempt, %refusal, "a message of an attempt is skipped");
                return ForwardOutcome::Full;
            }
            _ => {}
        }
        match self.reporter.say(message(MessageContent::Unusable { reason: refusal.to_string() }), self.about.trace.clone()).await {
            LogAnswer::Left => ForwardOutcome::Left,
            LogAnswer::Taken(_) | LogAnswer::Refused(_) => ForwardOutcome::Refused,
        }
    }
}

/// The state of an attempt's lines, and the kinds that are no longer reported one by one.
#[derive(Default)]
struct LineFilter {
    /// The index after the last line.
    next: u32,
    /// The number of lines that were reported as rejected.
    refused: u32,
    /// The kinds that the log no longer accepts.
    closed: BTreeSet<Kind>,
    /// The number of lines that were skipped.
    passed_over: u64,
    bytes: u64,
}

impl LineFilter {
    /// Parses a line. Returns none if the line is skipped.
    fn read(&mut self, index: u32, line: &[u8]) -> Option<(u32, Result<MessageLine, String>)> {
        self.next = index.saturating_add(1);
        // After this many useless lines the rest are not parsed: parsing them would occupy the worker for
        // nothing.
        if self.refused >= REFUSED_TOLD_MAX || self.closed.contains(&Kind::Unusable) {
            self.pass_over(line.len());
            return None;
        }
        let parsed = MessageLine::parse(line);
        let kind = match &parsed {
            Ok(MessageLine::Progress(_)) => Kind::Progress,
            Ok(MessageLine::Given(given)) => given.kind(),
            Err(_) => Kind::Unusable,
        };
        if self.closed.contains(&kind) {
            self.pass_over(line.len());
            return None;
        }
        Some((index, parsed))
    }

    /// Records that the log accepts no more of a kind. The line that it refused counts as skipped.
    fn close(&mut self, kind: Kind, bytes: usize) {
        self.closed.insert(kind);
        self.pass_over(bytes);
    }

    fn pass_over(&mut self, bytes: usize) {
        self.passed_over += 1;
        self.bytes += bytes as u64;
    }

    /// Describes how much was skipped. Returns none if everything was reported.
    fn not_taken(&self) -> Option<String> {
        let Self { passed_over, bytes, .. } = self;
        (*passed_over > 0).then(|| {
            format!(
                "{passed_over} more lines on descriptor 3 were rejected, {bytes} bytes in total: an attempt may send {REFUSED_TOLD_MAX} \
                 unusable lines, {EMITTED_MAX} events, {ARTIFACTS_MAX} artifacts and {PROGRESS_MAX} progress reports"
            )
        })
    }
}

fn progress_content(progress: ProgramProgress) -> MessageContent {
    let ProgramProgress { thousandths, message } = progress;
    MessageContent::Progress { thousandths, body: message.map(|message| Body::json(json!({ "message": message }).to_string())) }
}

/// Returns how many of the places for waiting lines a line takes.
fn places_of(bytes: usize) -> usize {
    (1 + bytes * LINES_WAITING_MAX / LINE_BYTES_MAX).min(LINES_WAITING_MAX)
}

/// Returns the shortest interval between two reports of progress at an age of the attempt.
fn progress_interval(age: Duration) -> Duration {
    PROGRESS_EVERY.max(age / PROGRESS_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_line_takes_the_places_of_several() {
        let quarter = LINE_BYTES_MAX / LINES_WAITING_MAX;
        let places = [0, quarter - 1, quarter, 2 * quarter, LINE_BYTES_MAX - 1, LINE_BYTES_MAX].map(places_of);
        assert_eq!(places, [1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn old_attempt_reports_progress_less_often() {
        let intervals = [0, 1_000, 2_000, 86_400].map(|age| progress_interval(Duration::from_secs(age)).as_millis());
        assert_eq!(intervals, [1_000, 1_000, 2_000, 86_400]);
    }
}
