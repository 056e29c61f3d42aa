//! How long a call is tried again while the database does not answer.

use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ports::LogError;

use crate::classify::Meaning;

/// The first pause between two tries, after the second one; each one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pauses between the tries of one call.
pub(crate) struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    /// Begins a call that is tried until a deadline. The second try is made at once, because often only the connection is
    /// gone.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, next: Duration::ZERO }
    }

    /// Waits before the next try. Returns false if it would begin after the deadline.
    pub(crate) fn wait(&mut self) -> bool {
        if Instant::now() + self.next >= self.deadline {
            return false;
        }
        thread::sleep(self.next);
        self.next = (self.next * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        true
    }
}

/// Runs a query that changes nothing until the database answers, or refuses it, or the patience is used up.
pub(crate) fn patiently<T>(patience: Duration, mut query: impl FnMut() -> Result<T, Meaning>) -> Result<T, LogError> {
    let mut pauses = Pauses::until(Instant::now() + patience);
    loop {
        match query() {
            Ok(found) => return Ok(found),
            Err(Meaning::Refused(why) | Meaning::Constraint(why) | Meaning::Rewritten(why)) => return Err(LogError::Store(why)),
            Err(meaning) => {
                if !pauses.wait() {
                    return Err(LogError::Unavailable(meaning.to_string()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_tried_until_the_database_answers() {
        let mut answers = [Err(Meaning::Again("it starts".to_owned())), Err(Meaning::Unknown("it is gone".to_owned())), Ok(7)].into_iter();
        assert_eq!(patiently(Duration::from_secs(60), || answers.next().unwrap()).unwrap(), 7);
    }

    #[test]
    fn second_try_is_made_at_once_and_each_pause_is_longer() {
        let mut pauses = Pauses::until(Instant::now() + Duration::from_secs(60));
        assert_eq!((pauses.next, pauses.wait(), pauses.next), (Duration::ZERO, true, PAUSE_MIN));
        assert_eq!((pauses.wait(), pauses.next), (true, PAUSE_MIN * 2));
    }

    #[test]
    fn refused_query_is_not_tried_again() {
        let mut tries = 0;
        let refused: Result<(), LogError> = patiently(Duration::from_secs(60), || {
            tries += 1;
            Err(Meaning::Refused("there is no such table".to_owned()))
        });
        assert!(matches!(refused, Err(LogError::Store(_))), "{refused:?}");
        assert_eq!(tries, 1);
    }

    #[test]
    fn database_that_does_not_answer_in_time_is_unavailable() {
        let unavailable: Result<(), LogError> = patiently(Duration::from_millis(150), || Err(Meaning::Again("it is gone".to_owned())));
        assert!(matches!(unavailable, Err(LogError::Unavailable(_))), "{unavailable:?}");
    }
}
