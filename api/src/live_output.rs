//! Live output: follows an execution's output as it is printed, as Server-Sent Events.
//!
//! Outputs are not records: an event's id is an offset in bytes, not a position.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use ensue_engine::ids::{AttemptId, ExecutionId};
use ensue_engine::ports::{OutputState, OutputStream};
use ensue_views::executions::AttemptStatus;
use ensue_views::{Execution, RowReach};

use crate::api::Api;
use crate::auth::AllowedCaller;
use crate::permissions::{ExecutionsRead, Permission as _};
use crate::problem::Problem;
use crate::query::{ParameterRefusal, bad};
use crate::sizes::CHUNK_BYTES_MAX;
use crate::sse::{CloseAs, LAST_EVENT_ID, StreamInterruption, StreamLine};
use crate::stream_message::StreamMessage;
use crate::wire::executions::{WireOutput, WireOutputEnd, with_final_state};

/// The interval at which a stream is checked for new output.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A stream that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FollowedStream {
    stream: OutputStream,
    /// The number of bytes that were already sent.
    offset: u64,
    /// Whether the caller knows that a part of the output was not kept.
    is_loss_told: bool,
}

/// The place where following begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// The number of the attempt; `None` means the newest, or the first one to come.
    pub(crate) attempt: Option<u32>,
    streams: Vec<FollowedStream>,
}

impl Beginning {
    /// Begins at an offset, the same in each stream.
    pub(crate) fn at(attempt: Option<u32>, streams: &[OutputStream], offset: u64) -> Self {
        let streams = streams.iter().map(|stream| FollowedStream { stream: *stream, offset, is_loss_told: false });
        Self { attempt, streams: streams.collect() }
    }

    /// Parses the place at which a disconnected caller continues:
    /// `Last-Event-ID: <attempt>.<stream>.<offset>`, with a second stream and offset if both are followed.
    pub(crate) fn parse_last_event_id(headers: &HeaderMap, streams: &[OutputStream]) -> Result<Option<Self>, ParameterRefusal> {
        let Some(given) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
        let place = given.to_str().ok().and_then(|text| {
            let mut parts = text.split('.');
            let attempt = Some(parts.next()?.parse().ok()?);
            let mut followed = Vec::with_capacity(streams.len());
            for stream in streams {
                parts.next().filter(|name| *name == stream.as_str())?;
                followed.push(FollowedStream { stream: *stream, offset: parts.next()?.parse().ok()?, is_loss_told: false });
            }
            parts.next().is_none().then_some(Self { attempt, streams: followed })
        });
        place.map(Some).ok_or_else(|| bad("last-event-id", "is not an id from these streams"))
    }
}

/// One caller that follows an execution's output.
pub(crate) struct Follower {
    api: Arc<Api>,
    execution: ExecutionId,
    attempt: Option<u32>,
    streams: Vec<FollowedStream>,
    line: StreamLine<AllowedCaller<ExecutionsRead>>,
}

/// The result of checking the streams.
enum Look {
    /// There was new output.
    More,
    /// There was nothing new.
    Nothing,
    /// There will be no further output.
    End(WireOutputEnd),
}

/// Why following ends before the execution does.
enum FollowError {
    /// The caller no longer receives anything.
    Left(StreamInterruption),
    /// Something failed.
    Failed(Problem),
}

impl From<StreamInterruption> for FollowError {
    fn from(why: StreamInterruption) -> Self {
        Self::Left(why)
    }
}

impl From<Problem> for FollowError {
    fn from(why: Problem) -> Self {
        Self::Failed(why)
    }
}

impl Follower {
    pub(crate) fn new(
        api: Arc<Api>,
        execution: ExecutionId,
        beginning: Beginning,
        line: StreamLine<AllowedCaller<ExecutionsRead>>,
    ) -> Self {
        let Beginning { attempt, streams } = beginning;
        Self { api, execution, attempt, streams, line }
    }

    /// Follows until the execution has ended, the caller has disconnected or lost access, or the node is
    /// stopping.
    pub(crate) async fn run(mut self) {
        match self.until_the_end().await {
            Ok(end) => self.line.end(&end, CloseAs::Normal),
            Err(FollowError::Left(StreamInterruption::Stopping | StreamInterruption::NotAllowed | StreamInterruption::Gone)) => {}
            Err(FollowError::Left(StreamInterruption::Slow)) => {
                tracing::debug!(execution = %self.execution, "a reader of an output is too slow and is disconnected");
            }
            Err(FollowError::Failed(problem)) => tracing::warn!(code = problem.code(), "following an output ended early"),
        }
    }

    async fn until_the_end(&mut self) -> Result<WireOutputEnd, FollowError> {
        loop {
            let look = self.look().await?;
            self.line.turn().await?;
            match look {
                Look::More => {}
                Look::Nothing => self.line.rest(tokio::time::sleep(LOOK_EVERY)).await?,
                Look::End(end) => return Ok(end),
            }
        }
    }

    async fn look(&mut self) -> Result<Look, FollowError> {
        // The line checks again and again that the caller may see it. Reads the execution's state first, then its output, so that everything printed before the end is
        // seen before the end.
        let execution: Execution = self.api.row(self.execution.to_string(), ExecutionsRead::THING, RowReach::Everything).await?;
        let number = self.attempt.or_else(|| execution.attempts.last().map(|attempt| attempt.number));
        if let Some(attempt) = execution.attempts.iter().find(|attempt| Some(attempt.number) == number) {
            self.attempt = Some(attempt.number);
            let is_over = attempt.status != AttemptStatus::Running;
            let mut has_more = false;
            for index in 0..self.streams.len() {
                has_more |= self.read(index, attempt.id, attempt.number, is_over).await?;
            }
            if has_more {
                return Ok(Look::More);
            }
            if !is_over {
                return Ok(Look::Nothing);
            }
            if let Some(later) = execution.attempts.iter().find(|other| other.number > attempt.number) {
                self.attempt = Some(later.number);
                for followed in &mut self.streams {
                    (followed.offset, followed.is_loss_told) = (0, false);
                }
                return Ok(Look::More);
            }
        }
        Ok(if execution.status.is_end() { Look::End(WireOutputEnd { status: execution.status }) } else { Look::Nothing })
    }

    /// Sends the new output of one of the streams; returns whether there was any.
    async fn read(&mut self, index: usize, attempt: AttemptId, number: u32, is_over: bool) -> Result<bool, FollowError> {
        let FollowedStream { stream, offset, is_loss_told } = self.streams[index];
        let read = self.api.threads.blocking(move |ports| ports.outputs.read(attempt, stream, offset, CHUNK_BYTES_MAX)).await?;
        let mut part = read.map_err(Problem::from)?;
        if is_over {
            part = with_final_state(part, CHUNK_BYTES_MAX);
        }
        let whole = whole_characters(&part.bytes);
        if whole == 0 && !is_over {
            return Ok(false);
        }
        if whole > 0 {
            part.next -= (part.bytes.len() - whole) as u64;
            part.bytes.truncate(whole);
        }
        let is_lossy = matches!(part.state, OutputState::Truncated { .. } | OutputState::Removed);
        if part.bytes.is_empty() && (!is_lossy || is_loss_told) {
            return Ok(false);
        }
        let data = serde_json::to_string(&WireOutput::new(number, stream, offset, &part)).map_err(|why| Problem::bug(&why))?;
        self.streams[index] = FollowedStream { stream, offset: part.next, is_loss_told: is_lossy };
        let places: String = self.streams.iter().map(|followed| format!(".{}.{}", followed.stream.as_str(), followed.offset)).collect();
        self.line.say(StreamMessage::Events(format!("id: {number}{places}\nevent: output\ndata: {data}\n\n").into())).await?;
        Ok(true)
    }
}

/// Returns how many of the bytes form whole characters: one that is cut at the end is sent with its rest.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn split_character_waits_for_its_rest() {
        assert_eq!(whole_characters("aé".as_bytes()), 3);
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(&[b'a', 0xff, b'b']), 3);
    }

    #[test]
    fn last_event_id_resumes_only_in_the_same_streams() {
        let with = |id: &'static str, streams: &[OutputStream]| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
            let Beginning { attempt, streams } = Beginning::parse_last_event_id(&headers, streams).ok()??;
            Some((attempt, streams.iter().map(|followed| followed.offset).collect::<Vec<_>>()))
        };
        let one = [OutputStream::Stdout];
        assert_eq!(with("2.stdout.17", &one), Some((Some(2), vec![17])));
        assert_eq!(with("2.stdout.17.stderr.3", &OutputStream::ALL), Some((Some(2), vec![17, 3])));
        for bad in ["2.stderr.17", "2.stdout", "x.stdout.1", "2.stdout.17.3", "2.stdout.17.stderr.3", ""] {
            assert_eq!(with(bad, &one), None, "{bad}");
        }
        assert_eq!(with("2.stdout.17", &OutputStream::ALL), None);
    }
}
