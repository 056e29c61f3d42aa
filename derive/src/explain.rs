//! The slug, the fault and the hint of an error.

mod attributes;

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Fields, Ident, Lit, LitStr, Member, Result};

use attributes::ExplainAttributes;

/// The match arms of the three methods.
#[derive(Default)]
struct Arms {
    slugs: TokenStream,
    faults: TokenStream,
    hints: TokenStream,
}

/// One kind of the error: a variant, or the whole struct.
struct Kind<'a> {
    pattern: TokenStream,
    name: String,
    span: Span,
    fields: &'a Fields,
    stated: ExplainAttributes,
}

/// Returns the implementation of `Explain`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let whole = ExplainAttributes::of(&input.attrs)?;
    let name = &input.ident;
    let mut arms = Arms::default();
    match &input.data {
        Data::Struct(data) => {
            let kind = Kind {
                pattern: quote!(Self),
                name: name.to_string(),
                span: name.span(),
                fields: &data.fields,
                stated: ExplainAttributes::default(),
            };
            arms.add(&kind, &whole)?;
        }
        Data::Enum(data) => {
            if let Some(span) = whole.transparent {
                return Err(Error::new(span, "`transparent` belongs on a variant with one field"));
            }
            for variant in &data.variants {
                let ident = &variant.ident;
                let stated = ExplainAttributes::of(&variant.attrs)?;
                let name = format!("{name}::{ident}");
                arms.add(&Kind { pattern: quote!(Self::#ident), name, span: ident.span(), fields: &variant.fields, stated }, &whole)?;
            }
        }
        Data::Union(_) => return Err(Error::new(name.span(), "a union is not an error")),
    }
    let Arms { slugs, faults, hints } = arms;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(non_shorthand_field_patterns, reason = "hints bind fields by other names as well")]
        impl #generics ::ensue_engine::explain::Explain for #name #arguments #bounds {
            fn slug(&self) -> &'static str {
                match self { #slugs }
            }

            fn fault(&self) -> ::ensue_engine::explain::Fault {
                match self { #faults }
            }

            fn hint(&self) -> ::core::option::Option<::std::string::String> {
                match self { #hints }
            }
        }
    })
}

impl Arms {
    fn add(&mut self, kind: &Kind<'_>, whole: &ExplainAttributes) -> Result<()> {
        let Kind { pattern, .. } = kind;
        if kind.stated.transparent.or(whole.transparent).is_some() {
            let inner = kind.only_field()?;
            for (method, arms) in [("slug", &mut self.slugs), ("fault", &mut self.faults), ("hint", &mut self.hints)] {
                let method = Ident::new(method, Span::call_site());
                arms.extend(quote! { #pattern { #inner: inner, .. } => ::ensue_engine::explain::Explain::#method(inner), });
            }
            return Ok(());
        }
        let slug = kind.stated.slug.as_ref().or(whole.slug.as_ref()).ok_or_else(|| kind.lacks("slug", "\"…\""))?;
        let fault = kind.stated.fault.as_ref().or(whole.fault.as_ref()).ok_or_else(|| kind.lacks("fault", "…"))?;
        self.slugs.extend(quote! { #pattern { .. } => #slug, });
        self.faults.extend(quote! { #pattern { .. } => ::ensue_engine::explain::Fault::#fault, });
        let (bindings, hint) = match kind.stated.hint.as_ref().or(whole.hint.as_ref()) {
            None => (TokenStream::new(), quote!(::core::option::Option::None)),
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
                let text = with_named_positions(text);
                (kind.bindings(&names_in_format(&text.value())), quote!(::core::option::Option::Some(::std::format!(#text))))
            }
            Some(computed) => {
                let names = names_in(computed.to_token_stream());
                (kind.bindings(&names), quote!(::core::option::Option::<::std::string::String>::from(#computed)))
            }
        };
        self.hints.extend(quote! { #pattern { #bindings .. } => #hint, });
        Ok(())
    }
}

impl Kind<'_> {
    fn lacks(&self, entry: &str, value: &str) -> Error {
        let name = &self.name;
        let place = if name.contains("::") { "to the variant, or to the enum for all its variants" } else { "to the struct" };
        Error::new(self.span, format!("`{name}` has no {entry}: add `#[explain({entry} = {value})]` {place}"))
    }

    /// Returns the field that a transparent kind wraps.
    fn only_field(&self) -> Result<TokenStream> {
        let mut members = self.fields.members();
        match (members.next(), members.next()) {
            (Some(member), None) => Ok(member.into_token_stream()),
            _ => Err(Error::new(self.span, format!("`{}` is transparent, so it needs exactly one field", self.name))),
        }
    }

    /// Returns the part of a pattern that binds the fields with these names.
    fn bindings(&self, names: &BTreeSet<String>) -> TokenStream {
        let bound = self.fields.members().map(|member| match member {
            Member::Named(name) => (name.to_string(), quote! { #name, }),
            Member::Unnamed(index) => {
                let name = format_ident!("_{}", index.index);
                (name.to_string(), quote! { #index: #name, })
            }
        });
        bound.filter(|(name, _)| names.contains(name)).map(|(_, binding)| binding).collect()
    }
}

/// Returns the format string with `{0}` as `{_0}`.
fn with_named_positions(text: &LitStr) -> LitStr {
    let mut named = String::new();
    let mut rest = text.value();
    while let Some((before, after)) = rest.split_once('{') {
        named.push_str(before);
        named.push('{');
        if let Some(after) = after.strip_prefix('{') {
            named.push('{');
            rest = after.to_owned();
            continue;
        }
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            named.push('_');
        }
        rest = after.to_owned();
    }
    named.push_str(&rest);
    LitStr::new(&named, text.span())
}

/// Returns the words behind the opening braces of a format string.
fn names_in_format(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c == '_' || c.is_alphanumeric();
    let words = text.split('{').skip(1).map(|rest| rest.split(|c| !is_of_name(c)).next().unwrap_or_default());
    words.map(str::to_owned).collect()
}

/// Returns the names in an expression, with those in its format strings.
fn names_in(tokens: TokenStream) -> BTreeSet<String> {
    let each = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Ident(name) => BTreeSet::from([name.to_string()]),
        TokenTree::Group(group) => names_in(group.stream()),
        TokenTree::Literal(literal) => names_in_format(&literal.to_string()),
        TokenTree::Punct(_) => BTreeSet::new(),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn expect_error(input: &DeriveInput) -> String {
        expand(input).expect_err("this is no complete explanation").to_string()
    }

    #[test]
    fn missing_entry_is_named_with_its_variant() {
        let no_slug = expect_error(&parse_quote! { #[explain(fault = Missing)] enum Refusal { NoRule } });
        assert_eq!(
            no_slug,
            "`Refusal::NoRule` has no slug: add `#[explain(slug = \"…\")]` to the variant, or to the enum for all its variants"
        );
        let no_fault = expect_error(&parse_quote! { enum Refusal { #[explain(slug = "not-found")] NoRule } });
        assert_eq!(
            no_fault,
            "`Refusal::NoRule` has no fault: add `#[explain(fault = …)]` to the variant, or to the enum for all its variants"
        );
        let of_struct = expect_error(&parse_quote! { struct Missing; });
        assert_eq!(of_struct, "`Missing` has no slug: add `#[explain(slug = \"…\")]` to the struct");
    }

    #[test]
    fn unknown_or_repeated_entry_is_refused() {
        let unknown = expect_error(&parse_quote! { #[explain(slugs = "a")] struct A; });
        assert_eq!(unknown, "unknown entry `slugs`: use `slug`, `fault`, `hint` or `transparent`");
        let twice = expect_error(&parse_quote! { #[explain(slug = "a", slug = "b")] struct A; });
        assert_eq!(twice, "an entry is given twice");
    }

    #[test]
    fn transparent_kind_has_one_field_and_no_other_entry() {
        let two = expect_error(&parse_quote! { enum A { #[explain(transparent)] B(C, D) } });
        assert_eq!(two, "`A::B` is transparent, so it needs exactly one field");
        let more = expect_error(&parse_quote! { enum A { #[explain(transparent, slug = "a")] B(C) } });
        assert_eq!(more, "`transparent` returns what the field returns: leave out the other entries");
        let whole = expect_error(&parse_quote! { #[explain(transparent)] enum A { B(C) } });
        assert_eq!(whole, "`transparent` belongs on a variant with one field");
    }
}
