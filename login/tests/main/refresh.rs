//! Refresh tokens: one successor at most, whatever is lost, repeated or raced.

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_login::refresh::{Family, RefreshOutcome, RefreshRefusal, RefreshToken};
use proptest::prelude::*;
use uuid::Uuid;

use crate::support::{NOW, at, now};

const SESSION: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);

fn family() -> Family {
    Family::new(SESSION, [5; 32], now())
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.reveal().to_vec()).unwrap()
}

fn present(family: &Family, token: &str, now: Timestamp) -> Result<RefreshOutcome, RefreshRefusal> {
    family.present(&RefreshToken::read(token).expect("it has the form of a token"), now)
}

#[test]
fn token_names_its_session_and_generation_and_has_one_spelling() {
    let token = text(&family().token());
    assert!(token.starts_with("ensr_01980000-0000-7000-8000-000000000001_1_"), "{token}");
    assert_eq!(RefreshToken::read(&token).unwrap().session(), SESSION);
    for other in [
        token.to_uppercase(),
        token.replace('-', ""),
        token.replace("_1_", "_01_"),
        token.replace("_1_", "_+1_"),
        token.replace("_1_", "_-1_"),
        token.replace("_1_", "_4294967296_"),
        format!("{token}_"),
        format!("{token}0"),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
        token.replace("ensr_", "ens_"),
        String::new(),
        "ensr_".to_owned(),
        crate::support::Signer::es256().token(&crate::support::claims()),
        format!("{}é", &token[..token.len() - 2]),
    ] {
        assert!(RefreshToken::read(&other).is_none(), "{other}");
    }
}

#[test]
fn newest_token_returns_its_successor_and_again_within_ten_seconds() {
    let first = text(&family().token());
    let Ok(RefreshOutcome::Next { family, successor }) = present(&family(), &first, at(NOW + 600)) else { panic!("it is the newest") };
    let successor = text(&successor);
    assert_ne!(first, successor);
    assert_eq!((text(&family.token()), family.since()), (successor.clone(), at(NOW + 600)));
    for seconds in [600, 605, 610] {
        match present(&family, &first, at(NOW + seconds)) {
            Ok(RefreshOutcome::Again { successor: again }) => assert_eq!(text(&again), successor),
            _ => panic!("the answer was lost, so it is repeated"),
        }
    }
    let late = present(&family, &first, at(NOW + 611)).err().unwrap();
    assert_eq!((late, late.slug()), (RefreshRefusal::Reused, "refresh-reused"));
    assert!(matches!(present(&family, &successor, at(NOW + 611)), Ok(RefreshOutcome::Next { .. })));
}

#[test]
fn token_is_reused_once_its_successor_was_used_even_within_ten_seconds() {
    let first = text(&family().token());
    let Ok(RefreshOutcome::Next { family, successor }) = present(&family(), &first, now()) else { panic!("it is the newest") };
    let Ok(RefreshOutcome::Next { family, .. }) = present(&family, &text(&successor), at(NOW + 1)) else { panic!("it is the newest") };
    assert_eq!(present(&family, &first, at(NOW + 2)).err(), Some(RefreshRefusal::Reused));
    assert!(matches!(present(&family, &text(&successor), at(NOW + 2)), Ok(RefreshOutcome::Again { .. })));
}

#[test]
fn invented_token_is_unknown_and_ends_no_session() {
    let token = text(&family().token());
    let other_session = token.replace("000000000001_", "000000000002_");
    let other_generation = token.replace("_1_", "_2_");
    let other_secret = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    let other_key = text(&Family::new(SESSION, [6; 32], now()).token());
    for token in [other_session, other_generation, other_secret, other_key] {
        assert_eq!(present(&family(), &token, now()).err(), Some(RefreshRefusal::Unknown), "{token}");
    }
}

#[test]
fn family_is_restored_from_what_the_vault_stores() {
    let family = family();
    let restored = Family::restore(SESSION, &family.to_stored()).unwrap();
    assert_eq!((text(&restored.token()), restored.since()), (text(&family.token()), now()));
    for stored in [vec![], vec![0; 43], vec![0; 45]] {
        assert!(Family::restore(SESSION, &Secret::new(stored)).is_none());
    }
}

/// What happens to a request of a client.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is answered.
    Answered,
    /// It is decided and stored, and the answer is lost.
    AnswerLost,
    /// The node dies before it is stored.
    NotStored,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Answered), Just(Fate::AnswerLost), Just(Fate::NotStored)]
}

proptest! {
    /// Clients present any token that they ever received, in any order, with lost answers and crashes. A generation
    /// has one token at most, at most one token is the newest, and a used token never makes a second successor.
    #[test]
    fn there_is_at_most_one_child(steps in prop::collection::vec((any::<prop::sample::Index>(), 0..15_i64, fate()), 1..80)) {
        let mut family = family();
        let mut received = vec![text(&family.token())];
        let mut children: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        let mut seconds = NOW;
        for (which, pause, fate) in steps {
            seconds += pause;
            let token = received[which.index(received.len())].clone();
            match present(&family, &token, at(seconds)) {
                Ok(RefreshOutcome::Next { family: next, successor }) => {
                    if matches!(fate, Fate::NotStored) {
                        continue;
                    }
                    family = Family::restore(SESSION, &next.to_stored()).unwrap();
                    let child = text(&successor);
                    let known = children.insert(token, child.clone());
                    prop_assert!(known.is_none(), "a token became the newest twice");
                    if matches!(fate, Fate::Answered) {
                        received.push(child);
                    }
                }
                Ok(RefreshOutcome::Again { successor }) => {
                    let child = text(&successor);
                    prop_assert_eq!(children.get(&token), Some(&child), "the same answer again");
                    if matches!(fate, Fate::Answered) && !received.contains(&child) {
                        received.push(child);
                    }
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal, RefreshRefusal::Reused);
                    prop_assert!(children.contains_key(&token), "only a used token is reused");
                    // The session ends here, and with it the family.
                    break;
                }
            }
            let newest = received.iter().filter(|token| matches!(present(&family, token, at(seconds)), Ok(RefreshOutcome::Next { .. })));
            prop_assert!(newest.count() <= 1);
        }
    }
}
