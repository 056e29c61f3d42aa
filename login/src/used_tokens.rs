//! Tokens that count once: those that were used are remembered until they expire.

use std::collections::BTreeMap;

use ensue_engine::time::Timestamp;

use crate::settings::IssuerName;

/// The maximum number of tokens that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The tokens that were used, by their issuer and their `jti`.
#[derive(Default)]
pub(crate) struct UsedTokens(BTreeMap<(IssuerName, String), Timestamp>);

/// The token was used before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsedBefore;

impl UsedTokens {
    /// Uses up a token that expires at `until`. If too many are remembered, the one that expires first is forgotten.
    pub(crate) fn take(&mut self, issuer: &IssuerName, id: &str, until: Timestamp, now: Timestamp) -> Result<(), UsedBefore> {
        self.0.retain(|_, until| *until > now);
        let name = (issuer.clone(), id.to_owned());
        if self.0.contains_key(&name) {
            return Err(UsedBefore);
        }
        if self.0.len() >= REMEMBERED_MAX {
            let first = self.0.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone());
            first.map(|first| self.0.remove(&first));
        }
        self.0.insert(name, until);
        Ok(())
    }

    /// Lets a token count again.
    pub(crate) fn give_back(&mut self, issuer: &IssuerName, id: &str) {
        self.0.remove(&(issuer.clone(), id.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn used_tokens_are_remembered_until_they_expire_and_are_bounded() {
        let mut used = UsedTokens::default();
        let corp = "corp".parse().unwrap();
        let mut take = |id: usize, until, now| used.take(&corp, &id.to_string(), at(until), at(now)).is_ok();
        assert!(take(1, 100, 0) && !take(1, 100, 99));
        assert!(take(1, 200, 100), "it would be refused as expired");
        for id in 0..REMEMBERED_MAX {
            take(id + 10, 1_000, 100);
        }
        assert!(take(1, 200, 101), "the one that expires first was forgotten");
        assert_eq!(used.0.len(), REMEMBERED_MAX);
    }

    #[test]
    fn token_is_used_up_for_its_own_issuer_and_id_alone() {
        let mut used = UsedTokens::default();
        let (corp, other) = ("corp".parse().unwrap(), "other".parse().unwrap());
        let names = [(&corp, "1"), (&other, "1"), (&corp, "2")];
        for (issuer, id) in names {
            assert_eq!(used.take(issuer, id, at(100), at(0)), Ok(()), "{id}");
        }
        used.give_back(&corp, "1");
        assert_eq!(names.map(|(issuer, id)| used.take(issuer, id, at(100), at(0)).is_ok()), [true, false, false]);
    }
}
