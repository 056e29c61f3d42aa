//! Doc comments as texts that people read elsewhere.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Returns the doc comment among these attributes as one line, which is empty without one.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use syn::{DeriveInput, parse_quote};

    use super::*;

    #[test]
    fn doc_comment_of_several_lines_is_one_text() {
        let input: DeriveInput = parse_quote! {
            /// The first line,
            /// and the second.
            #[allow(dead_code)]
            struct A;
        };
        assert_eq!(text(&input.attrs), "The first line, and the second.");
    }
}
