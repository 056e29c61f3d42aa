//! Checks that any text either compiles or is rejected with a place in it, and that a compiled expression
//! compiles again to the same expression.

use ensue_expression::{Expression, Roots, Template};
use serde_json::Value as Json;

/// Checks one input.
pub(crate) fn check_input(source: &str) {
    let roots = Roots::new(["event", "config", "local", "keys"]);
    match Expression::compile(source, &roots) {
        Ok(expression) => {
            let again = Expression::compile(expression.source(), &roots).expect("what was compiled compiles again");
            assert_eq!(expression.source(), again.source());
            let reads = expression.reads();
            assert_eq!(reads, again.reads());
            for path in reads {
                assert!(expression.source().get(path.span.clone()).is_some(), "{path:?} lies beside the source");
            }
        }
        Err(error) => {
            assert!(source.get(error.span.clone()).is_some(), "{error:?} lies beside the source");
            assert!(!error.message.is_empty());
        }
    }
    if let Err(errors) = Template::compile(&Json::String(source.to_owned()), &roots) {
        for error in errors {
            assert!(source.get(error.span.clone()).is_some(), "{error:?} lies beside the text");
        }
    }
}
