//! The right to answer an inquiry: one check, made by the core over its state and by the edges over what they see.

use crate::command::Refusal;
use crate::ids::InquiryId;
pub use crate::inquiries::facts::Answerer;
use crate::record::Digest;
use crate::time::Timestamp;

/// What decides whether a person may answer an inquiry now.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRight<'a> {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The name of the person.
    pub name: &'a str,
    /// Whether the person is an assignee.
    pub is_asked: bool,
    /// Whether the person may not answer, although an assignee.
    pub is_excluded: bool,
    /// Whether the inquiry accepts answers.
    pub is_open: bool,
    /// When the person answered it before.
    pub answered_at: Option<Timestamp>,
    /// The digest that an answer is bound to.
    pub digest: Digest,
    /// Whether an answer must include the digest.
    pub digest_required: bool,
    /// The digest that the person's answer includes.
    pub given: Option<Digest>,
}

impl AnswerRight<'_> {
    /// Checks that the person may answer, and answers what the inquiry asks now.
    pub fn demand(&self) -> Result<(), Refusal> {
        let inquiry = self.inquiry;
        if !self.is_asked {
            return Err(Refusal::NotAsked { inquiry, name: self.name.to_owned() });
        }
        if self.is_excluded {
            return Err(Refusal::MayNotAnswer { inquiry, name: self.name.to_owned() });
        }
        if !self.is_open {
            return Err(Refusal::InquiryClosed(inquiry));
        }
        if let Some(at) = self.answered_at {
            return Err(Refusal::AnsweredBefore { inquiry, at });
        }
        match self.given {
            None if self.digest_required => Err(Refusal::DigestMissing { inquiry, digest: self.digest }),
            Some(given) if given != self.digest => Err(Refusal::ApprovalStale { inquiry, digest: self.digest }),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    const NOON: Timestamp = Timestamp::from_micros(0);

    fn right() -> AnswerRight<'static> {
        AnswerRight {
            inquiry: InquiryId(Id::root(NOON, 1)),
            name: "ana",
            is_asked: true,
            is_excluded: false,
            is_open: true,
            answered_at: None,
            digest: Digest::of(b"question"),
            digest_required: true,
            given: Some(Digest::of(b"question")),
        }
    }

    #[test]
    fn first_obstacle_to_an_answer_is_reported() {
        let mut right = AnswerRight {
            is_asked: false,
            is_excluded: true,
            is_open: false,
            answered_at: Some(NOON),
            given: Some(Digest::of(b"another question")),
            ..right()
        };
        assert!(matches!(right.demand(), Err(Refusal::NotAsked { .. })));
        right.is_asked = true;
        assert!(matches!(right.demand(), Err(Refusal::MayNotAnswer { .. })));
        right.is_excluded = false;
        assert!(matches!(right.demand(), Err(Refusal::InquiryClosed(_))));
        right.is_open = true;
        assert!(matches!(right.demand(), Err(Refusal::AnsweredBefore { at: NOON, .. })));
        right.answered_at = None;
        assert!(matches!(right.demand(), Err(Refusal::ApprovalStale { .. })));
        right.given = None;
        assert!(matches!(right.demand(), Err(Refusal::DigestMissing { .. })));
        right.digest_required = false;
        assert!(right.demand().is_ok());
    }

    #[test]
    fn right_digest_is_accepted() {
        assert!(right().demand().is_ok());
    }
}
