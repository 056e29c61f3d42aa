//! The names of an enum's variants as text.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

/// Returns `ALL` and `as_str`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let (name, visibility) = (&input.ident, &input.vis);
    let Data::Enum(data) = &input.data else { return Err(Error::new(name.span(), "only an enum has names")) };
    let with_fields = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit));
    if let Some(variant) = with_fields {
        return Err(Error::new(variant.ident.span(), format!("`{name}::{}` has fields, so it is more than a name", variant.ident)));
    }
    let variants: Vec<&Ident> = data.variants.iter().map(|variant| &variant.ident).collect();
    let (count, texts) = (variants.len(), variants.iter().map(|variant| snake_case(&variant.to_string())));
    Ok(quote! {
        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, reason = "not every enum needs both, or is public")]
        impl #name {
            /// All variants, in the order of their definition.
            #visibility const ALL: [Self; #count] = [#(Self::#variants),*];

            /// Returns the name as text.
            #visibility const fn as_str(self) -> &'static str {
                match self { #(Self::#variants => #texts,)* }
            }
        }
    })
}

/// Returns the name of a variant in snake case.
pub(crate) fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn names_are_written_in_snake_case() {
        assert_eq!(snake_case("TimedOut"), "timed_out");
        assert_eq!(snake_case("Open"), "open");
    }

    #[test]
    fn variant_with_fields_is_refused() {
        let error = expand(&parse_quote! { enum A { B(u8) } }).expect_err("`B` is more than a name");
        assert_eq!(error.to_string(), "`A::B` has fields, so it is more than a name");
    }
}
