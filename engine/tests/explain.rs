//! The derived `Explain` returns what the attributes state.

use ensue_engine::explain::{Explain, Fault};
use thiserror::Error;

const LIMIT: u32 = 7;

#[derive(Debug, Error, Explain)]
#[error("the inner error")]
#[explain(slug = "inner", fault = World, hint = "look at {0}")]
struct Inner(u32);

#[derive(Debug, Error, Explain)]
#[explain(slug = "outer", fault = Conflict)]
enum Outer {
    #[error("named")]
    #[explain(hint = "rename `{name}`, at most {LIMIT} of `{{}}`")]
    Named { name: String, count: u32 },
    #[error("positional")]
    #[explain(slug = "positional", fault = Invalid, hint = "swap {1} and {0}")]
    Positional(u32, u32),
    #[error("computed")]
    #[explain(hint = _0.map(|near| format!("did you mean {near}?")))]
    Computed(Option<u32>),
    #[error("plain")]
    Plain,
    #[error(transparent)]
    #[explain(transparent)]
    Wrapped(Inner),
}

fn describe(error: &impl Explain) -> (&'static str, Fault, Option<String>) {
    (error.slug(), error.fault(), error.hint())
}

#[test]
fn hints_are_formatted_with_the_fields() {
    let named = Outer::Named { name: "a".to_owned(), count: 2 };
    assert_eq!(describe(&named), ("outer", Fault::Conflict, Some("rename `a`, at most 7 of `{}`".to_owned())));
    assert!(matches!(named, Outer::Named { count: 2, .. }));
    assert_eq!(describe(&Outer::Positional(1, 2)), ("positional", Fault::Invalid, Some("swap 2 and 1".to_owned())));
}

#[test]
fn computed_hint_may_be_absent() {
    assert_eq!(Outer::Computed(Some(3)).hint(), Some("did you mean 3?".to_owned()));
    assert_eq!(Outer::Computed(None).hint(), None);
    assert_eq!(describe(&Outer::Plain), ("outer", Fault::Conflict, None));
}

#[test]
fn transparent_variant_returns_what_its_field_returns() {
    assert_eq!(describe(&Outer::Wrapped(Inner(5))), describe(&Inner(5)));
    assert_eq!(describe(&Inner(5)), ("inner", Fault::World, Some("look at 5".to_owned())));
}
