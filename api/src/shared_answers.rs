//! Answers that callers with the same rights share.
//!
//! Open pages learn of a change at the same moment, and then all read the same rows. The first request reads them; the others
//! wait for its answer, or get it if it is recent and shows the position that they ask for. An answer is shared only if nothing
//! in it depends on who asks, apart from the rights: `operation.rs` marks such operations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use ensue_engine::access::rights::Rights;
use ensue_engine::record::Position;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::compression::{self, Coding};
use crate::problem::{Outcome, Problem};
use crate::tags;
use crate::threads::Threads;

/// For how long an answer is given to others.
const SHARED_FOR: Duration = Duration::from_millis(250);
/// The maximum number of answers that are kept.
const KEPT_MAX: usize = 64;
/// The maximum size in bytes of an answer that is kept.
const KEPT_BYTES_MAX: u64 = 128 * 1024;

/// The recent answers, by the path and query of their requests.
#[derive(Default)]
pub(crate) struct SharedAnswers(Mutex<BTreeMap<String, Vec<Arc<SharedReading>>>>);

/// The parts of a request on which its answer depends.
pub(crate) struct Question<'q> {
    /// The path and the query.
    pub(crate) target: &'q str,
    /// The rights of the caller.
    pub(crate) rights: &'q Rights,
    /// The position of the views now.
    pub(crate) now: Position,
    /// The position that the answer must show. Without it nothing is shared: the position of the views follows their rows, so a
    /// caller may have seen rows that a recent answer lacks.
    pub(crate) wanted: Option<Position>,
}

/// The form in which a caller gets an answer.
pub(crate) struct WantedForm<'f> {
    /// The tags of the answers that it has.
    pub(crate) known: &'f [HeaderValue],
    /// The compression that it accepts.
    pub(crate) coding: Option<Coding>,
}

/// An answer that somebody reads, or has read.
struct SharedReading {
    rights: Rights,
    /// The position of the views when the reading began: the answer shows this, or more.
    position: Position,
    began: Instant,
    /// `None` if the answer is its reader's own.
    answer: OnceCell<Option<SharedAnswer>>,
}

/// A whole answer.
struct SharedAnswer {
    headers: HeaderMap,
    tag: String,
    plain: Bytes,
    /// It is compressed once with each method; `None` if that does not make it smaller.
    coded: [OnceCell<Option<Bytes>>; Coding::ALL.len()],
}

/// The answer that a caller gets.
pub(crate) struct CallerAnswer {
    /// The position that it shows.
    pub(crate) position: Position,
    answer: AnswerSource,
}

enum AnswerSource {
    /// It was read for this caller only.
    Own(Response<Body>),
    /// It is that of a reading.
    Shared(Arc<SharedReading>),
}

impl SharedAnswers {
    /// Returns the answer to a question. `read` reads it, unless another caller with the same rights just did.
    pub(crate) async fn answer(&self, question: &Question<'_>, read: impl Future<Output = Outcome>) -> Result<CallerAnswer, Problem> {
        let own = |position: Position, response| CallerAnswer { position, answer: AnswerSource::Own(response) };
        let Some(reading) = self.join(question) else { return Ok(own(question.now, read.await?)) };
        let (mut read, mut unshared) = (Some(read), None);
        // After a reading that failed, everybody who waited for it reads at once: each failure may take long.
        let share = async || {
            let outcome = SharedAnswer::of(read.take()?.await).await;
            outcome.map_err(|response| unshared = Some(response)).ok()
        };
        let is_shared = reading.answer.get_or_init(share).await.is_some();
        match (unshared, read) {
            _ if is_shared => Ok(CallerAnswer { position: reading.position, answer: AnswerSource::Shared(reading) }),
            (Some(response), _) => Ok(own(reading.position, response?)),
            // Whoever read it could not share it.
            (None, Some(read)) => Ok(own(question.now, read.await?)),
            (None, None) => Err(Problem::bug("an answer was read and not returned")),
        }
    }

    /// Returns the reading whose answer suits a question, which may be a new one; `None` if the question names no position, or if no
    /// more can be kept.
    fn join(&self, question: &Question<'_>) -> Option<Arc<SharedReading>> {
        let wanted = question.wanted?;
        let mut kept = self.lock();
        let is_recent = |reading: &Arc<SharedReading>| reading.began.elapsed() < SHARED_FOR;
        let readings = kept.get(question.target).into_iter().flatten();
        let mut fitting = readings.filter(|reading| is_recent(reading) && reading.position >= wanted && reading.rights == *question.rights);
        if let Some(reading) = fitting.next() {
            return Some(Arc::clone(reading));
        }
        // A newer answer replaces those before it, which whoever waits for them still gets.
        if let Some(readings) = kept.get_mut(question.target) {
            readings.retain(|reading| reading.rights != *question.rights);
        }
        if kept.values().map(Vec::len).sum::<usize>() >= KEPT_MAX {
            kept.retain(|_, readings| {
                readings.retain(is_recent);
                !readings.is_empty()
            });
        }
        if kept.values().map(Vec::len).sum::<usize>() >= KEPT_MAX {
            return None;
        }
        let (rights, position, began) = (question.rights.clone(), question.now, Instant::now());
        let reading = Arc::new(SharedReading { rights, position, began, answer: OnceCell::new() });
        kept.entry(question.target.to_owned()).or_default().push(Arc::clone(&reading));
        Some(reading)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<SharedReading>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallerAnswer {
    /// Returns it in the form that its caller wants.
    pub(crate) async fn render(self, form: WantedForm<'_>, threads: &Threads) -> Outcome {
        match self.answer {
            AnswerSource::Own(response) => Ok(response),
            AnswerSource::Shared(reading) => match reading.answer.get().and_then(Option::as_ref) {
                Some(kept) => kept.render(form, threads).await,
                None => Err(Problem::bug("a shared answer was not kept")),
            },
        }
    }
}

impl SharedAnswer {
    /// Returns the shared form of an answer, or the answer itself if it cannot be shared: it is large, no success, or has a cursor,
    /// which only its caller may use.
    async fn of(outcome: Outcome) -> Result<Self, Outcome> {
        let response = outcome.map_err(Err)?;
        let is_small = response.body().size_hint().exact().is_some_and(|size| size <= KEPT_BYTES_MAX);
        if response.status() != StatusCode::OK || !is_small || response.headers().contains_key(header::LINK) {
            return Err(Ok(response));
        }
        let response = tags::tag_answer(response, &[]).await.map_err(Err)?;
        let Some(tag) = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned) else {
            return Err(Ok(response));
        };
        let (parts, body) = response.into_parts();
        let plain = body.collect().await.map_err(|why| Err(Problem::bug(&why)))?.to_bytes();
        let coded = [const { OnceCell::const_new() }; Coding::ALL.len()];
        Ok(Self { headers: parts.headers, tag, plain, coded })
    }

    async fn render(&self, form: WantedForm<'_>, threads: &Threads) -> Outcome {
        if let Some(known) = tags::known_as(form.known.iter(), &self.tag) {
            return tags::not_modified(&known);
        }
        let mut response = Response::new(Body::from(self.plain.clone()));
        response.headers_mut().clone_from(&self.headers);
        let Some(coding) = form.coding.filter(|_| compression::is_long_enough(self.plain.len() as u64)) else { return Ok(response) };
        let coded = self.coded[coding.index()].get_or_init(|| compression::compress(threads, coding, &self.plain)).await;
        if let Some(bytes) = coded {
            compression::mark(response.headers_mut(), coding);
            *response.body_mut() = Body::from(bytes.clone());
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ensue_engine::access::permission::Permission;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::respond;

    /// The node: how often it was asked, and what it answers.
    #[derive(Default)]
    struct Reader(AtomicUsize);

    impl Reader {
        async fn read(&self) -> Outcome {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::task::yield_now().await;
            respond::json(&count)
        }

        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn rights(permissions: &[Permission]) -> Rights {
        let mut rights = Rights::default();
        rights.add_all(permissions.iter().copied(), None);
        rights
    }

    fn question<'q>(target: &'q str, rights: &'q Rights, now: u64, wanted: Option<u64>) -> Question<'q> {
        Question { target, rights, now: Position(now), wanted: wanted.map(Position) }
    }

    /// Returns the position of an answer, and its text.
    async fn text(answered: Result<CallerAnswer, Problem>) -> (u64, String) {
        let CallerAnswer { position, answer } = answered.unwrap();
        let bytes = match answer {
            AnswerSource::Own(response) => response.into_body().collect().await.unwrap().to_bytes(),
            AnswerSource::Shared(reading) => reading.answer.get().unwrap().as_ref().unwrap().plain.clone(),
        };
        (position.0, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn callers_with_the_same_rights_who_ask_at_once_share_one_reading() {
        let (shared, reader, viewer) = (SharedAnswers::default(), Reader::default(), rights(&[Permission::EventsRead]));
        let ask = || async { text(shared.answer(&question("/events?id=a", &viewer, 7, Some(7)), reader.read()).await).await };
        let answers = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert_eq!((reader.count(), answers), (1, vec![(7, "1".to_owned()); 20]));
    }

    #[tokio::test(start_paused = true)]
    async fn other_rights_or_another_question_get_an_answer_of_their_own() {
        let (shared, reader) = (SharedAnswers::default(), Reader::default());
        let (viewer, more) = (rights(&[Permission::EventsRead]), rights(&[Permission::EventsRead, Permission::LogRead]));
        let mut limited = Rights::default();
        limited.add(Permission::EventsRead, Some(&"pack=shop".parse().unwrap()));
        let bounded = viewer.clone().within([]);
        for (at, rights) in [&viewer, &more, &limited, &bounded].into_iter().enumerate() {
            assert_eq!(text(shared.answer(&question("/events", rights, 7, Some(7)), reader.read()).await).await.1, (at + 1).to_string());
        }
        assert_eq!(text(shared.answer(&question("/events?limit=1", &viewer, 7, Some(7)), reader.read()).await).await.1, "5");
        assert_eq!(text(shared.answer(&question("/events", &viewer, 7, Some(7)), reader.read()).await).await.1, "1");
    }

    #[tokio::test(start_paused = true)]
    async fn answer_shows_the_position_that_its_caller_asks_for_or_is_its_own() {
        let (shared, reader, viewer) = (SharedAnswers::default(), Reader::default(), rights(&[Permission::EventsRead]));
        let ask = async |now, wanted| text(shared.answer(&question("/events", &viewer, now, wanted), reader.read()).await).await;
        assert_eq!(ask(7, Some(7)).await, (7, "1".to_owned()));
        assert_eq!(ask(9, Some(6)).await, (7, "1".to_owned()), "the views have moved, but the caller has not seen more");
        assert_eq!(ask(9, Some(8)).await, (9, "2".to_owned()));
        assert_eq!(ask(9, None).await, (9, "3".to_owned()), "a caller that names no position reads for itself");
    }

    #[tokio::test(start_paused = true)]
    async fn answer_is_given_to_others_for_a_moment_only() {
        let (shared, reader, viewer) = (SharedAnswers::default(), Reader::default(), rights(&[Permission::EventsRead]));
        let ask = async || text(shared.answer(&question("/events", &viewer, 7, Some(7)), reader.read()).await).await.1;
        assert_eq!((ask().await, ask().await), ("1".to_owned(), "1".to_owned()));
        tokio::time::advance(SHARED_FOR).await;
        assert_eq!(ask().await, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn answer_with_a_cursor_and_a_refusal_are_for_their_caller_only() {
        let (shared, viewer) = (SharedAnswers::default(), rights(&[Permission::EventsRead]));
        let with_cursor = async || {
            let mut response = respond::json(&1)?;
            response.headers_mut().insert(header::LINK, HeaderValue::from_static("<next>"));
            Ok::<_, Problem>(response)
        };
        let ask = question("/events", &viewer, 7, Some(7));
        let (one, other) = tokio::join!(shared.answer(&ask, with_cursor()), shared.answer(&ask, with_cursor()));
        for answered in [one, other] {
            assert!(matches!(answered.unwrap().answer, AnswerSource::Own(_)));
        }
        let refused = question("/executions", &viewer, 7, Some(7));
        assert!(shared.answer(&refused, async { Err(Problem::bug("broken")) }).await.is_err());
        assert_eq!(text(shared.answer(&refused, async { respond::json(&2) }).await).await.1, "2", "a refusal is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn failed_reading_holds_up_those_who_wait_for_it_only_once() {
        let (shared, viewer) = (SharedAnswers::default(), rights(&[Permission::EventsRead]));
        let slow = Duration::from_secs(5);
        let ask = || async {
            let failing = async {
                tokio::time::sleep(slow).await;
                Err(Problem::bug("broken"))
            };
            shared.answer(&question("/events?id=a", &viewer, 7, Some(7)), failing).await.is_err()
        };
        let began = Instant::now();
        let failures = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert_eq!((failures, began.elapsed()), (vec![true; 20], 2 * slow));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_that_its_caller_gives_up_is_taken_over() {
        let (shared, reader, viewer) = (SharedAnswers::default(), Reader::default(), rights(&[Permission::EventsRead]));
        let ask = question("/events", &viewer, 7, Some(7));
        let mut first = Box::pin(shared.answer(&ask, std::future::pending()));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(shared.answer(&ask, reader.read()));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(reader.count(), 0);
        drop(first);
        assert_eq!(text(second.await).await.1, "1");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_fixed_number_of_answers_is_kept() {
        let (shared, reader, viewer) = (SharedAnswers::default(), Reader::default(), rights(&[Permission::EventsRead]));
        for at in 0..2 * KEPT_MAX {
            let target = format!("/events?id={at}");
            text(shared.answer(&question(&target, &viewer, 7, Some(7)), reader.read()).await).await;
        }
        assert_eq!((shared.lock().len(), reader.count()), (KEPT_MAX, 2 * KEPT_MAX));
        tokio::time::advance(SHARED_FOR).await;
        text(shared.answer(&question("/events", &viewer, 7, Some(7)), reader.read()).await).await;
        assert_eq!(shared.lock().len(), 1, "old ones make room");
    }
}
