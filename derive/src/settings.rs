//! What a type in the settings file may be: its fields with their texts, and the variables that set them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parse;
use syn::{Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Ident, LitStr, Result, Token, Type, Variant};

use crate::doc_comment;

/// Returns the `Setting` of a type.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let mut from_variable = None;
    let body = match &input.data {
        Data::Struct(data) => of_struct(&data.fields, has_default(&input.attrs)?)?,
        Data::Enum(data) if data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit)) => {
            let words: Vec<String> = data.variants.iter().map(|variant| snake_case(&variant.ident)).collect();
            from_variable = Some(quote! {
                #[automatically_derived]
                impl crate::config::setting::FromVariable for #name {
                    fn from_variable(text: &str) -> ::core::result::Result<Self, String> {
                        crate::config::setting::word(&[#(#words),*], text)
                    }
                }
            });
            quote! { const KIND: ::ensue_packs::shape::Kind = ::ensue_packs::shape::Kind::Choice(&[#(#words),*]); }
        }
        Data::Enum(data) => of_one_field(&data.variants)?,
        Data::Union(_) => return Err(Error::new(name.span(), "a union cannot be a setting: use a struct or an enum")),
    };
    Ok(quote! {
        #[automatically_derived]
        impl crate::config::setting::Setting for #name { #body }
        #from_variable
    })
}

/// A mapping of fields.
fn of_struct(fields: &Fields, are_optional: bool) -> Result<TokenStream> {
    let read = fields.iter().map(|field| WrittenField::of(field, are_optional)).collect::<Result<Vec<_>>>()?;
    let shapes = read.iter().map(WrittenField::shape);
    let declared = read.iter().map(WrittenField::declaration);
    let mapping = mapping(&quote! { #(#shapes),* }, &quote! { #(#declared),* }, &quote! {});
    let sets: Vec<TokenStream> = read.iter().filter_map(WrittenField::set).collect();
    if sets.is_empty() {
        return Ok(mapping);
    }
    Ok(quote! {
        #mapping

        fn set_variable(&mut self, variable: &str, text: &str) -> Option<::core::result::Result<(), String>> {
            #(#sets)*
            None
        }
    })
}

/// A mapping with exactly one field, which is named like the variant.
fn of_one_field<'v>(variants: impl IntoIterator<Item = &'v Variant>) -> Result<TokenStream> {
    let mut shapes = Vec::new();
    for variant in variants {
        let kind = match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => kind_of(&fields.unnamed[0].ty),
            Fields::Named(fields) if fields.named.is_empty() => kind_of(&syn::parse_quote!(())),
            Fields::Named(_) | Fields::Unnamed(_) | Fields::Unit => {
                return Err(Error::new(variant.ident.span(), "a variant beside others with a value has one value, or is `{}`"));
            }
        };
        shapes.push(shape_field(&snake_case(&variant.ident), false, &kind, &text_of(&variant.attrs, &variant.ident)?));
    }
    Ok(mapping(&quote! { #(#shapes),* }, &quote! {}, &quote! { ::ensue_packs::shape::FieldConstraint::ExactlyOne }))
}

fn mapping(fields: &TokenStream, declared: &TokenStream, between: &TokenStream) -> TokenStream {
    quote! {
        const KIND: ::ensue_packs::shape::Kind = ::ensue_packs::shape::Kind::Fields(<Self as crate::config::setting::Setting>::SHAPE);
        const LIST: ::ensue_packs::shape::Kind = ::ensue_packs::shape::Kind::Listing(<Self as crate::config::setting::Setting>::SHAPE);
        const SHAPE: &'static ::ensue_packs::shape::Shape =
            &::ensue_packs::shape::Shape { what: "", fields: &[#fields], later: &[], between: &[#between] };
        const DECLARED: &'static [crate::config::setting::DeclaredSetting] = &[#declared];
    }
}

fn kind_of(of: &Type) -> TokenStream {
    quote! { <#of as crate::config::setting::Setting>::KIND }
}

fn shape_field(name: &str, is_required: bool, kind: &TokenStream, about: &str) -> TokenStream {
    let need = if is_required {
        quote! { ::ensue_packs::shape::Need::Required { example: "" } }
    } else {
        quote! { ::ensue_packs::shape::Need::Optional }
    };
    quote! { ::ensue_packs::shape::ShapeField { name: #name, need: #need, kind: #kind, about: #about } }
}

/// A field as the attributes declare it.
struct WrittenField<'f> {
    ident: &'f Ident,
    of: &'f Type,
    is_option: bool,
    /// Whether variables set fields of what an `Option` has.
    is_section: bool,
    is_required: bool,
    kind: TokenStream,
    variable: Option<LitStr>,
    about: String,
}

impl<'f> WrittenField<'f> {
    fn of(field: &'f Field, are_optional: bool) -> Result<Self> {
        let ident = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, "a setting has a name"))?;
        let of = &field.ty;
        let (mut kind, mut variable, mut ends) = (kind_of(of), None, (None, None));
        let (mut is_written, mut is_section) = (false, false);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("setting")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("variable") {
                    variable = Some(meta.value()?.parse::<LitStr>()?);
                } else if meta.path.is_ident("required") {
                    is_written = true;
                } else if meta.path.is_ident("section") {
                    is_section = true;
                } else if meta.path.is_ident("form") {
                    let form = meta.value()?.parse::<Ident>()?;
                    kind = quote! { ::ensue_packs::shape::Kind::Text(::ensue_packs::shape::Form::#form) };
                } else if meta.path.is_ident("names") {
                    let form = meta.value()?.parse::<Ident>()?;
                    kind = quote! { crate::config::setting::with_names(&#kind, ::ensue_packs::shape::Form::#form) };
                } else if meta.path.is_ident("words") {
                    let value = meta.value()?;
                    let list;
                    syn::bracketed!(list in value);
                    let words = list.parse_terminated(<LitStr as Parse>::parse, Token![,])?;
                    kind = quote! { ::ensue_packs::shape::Kind::Choice(&[#words]) };
                } else if meta.path.is_ident("from") {
                    ends.0 = Some(meta.value()?.parse::<Expr>()?);
                } else if meta.path.is_ident("to") {
                    ends.1 = Some(meta.value()?.parse::<Expr>()?);
                } else {
                    return Err(meta.error("write `variable`, `required`, `section`, `form`, `names`, `words`, `from` or `to`"));
                }
                Ok(())
            })?;
        }
        match ends {
            (None, None) => {}
            (None, Some(to)) => return Err(Error::new_spanned(to, "write `from` as well")),
            (Some(from), to) => {
                let to = to.map_or_else(|| quote! { None }, |to| quote! { Some((#to) as i64) });
                kind = quote! { crate::config::setting::within(#kind, (#from) as i64, #to) };
            }
        }
        let is_option = matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"));
        let is_required = is_written || !are_optional && !is_option && !has_default(&field.attrs)?;
        Ok(Self { ident, of, is_option, is_section, is_required, kind, variable, about: text_of(&field.attrs, ident)? })
    }

    fn shape(&self) -> TokenStream {
        shape_field(&self.ident.to_string(), self.is_required, &self.kind, &self.about)
    }

    /// Returns the statement that sets the field, or one in it, if a variable is for it.
    fn set(&self) -> Option<TokenStream> {
        let Self { ident, of, .. } = self;
        if let Some(own) = &self.variable {
            return Some(quote! {
                if variable == #own {
                    let value = crate::config::setting::FromVariable::from_variable(text);
                    return Some(value.map(|value| self.#ident = value));
                }
            });
        }
        let place = match (self.is_option, self.is_section) {
            (true, false) => return None,
            (true, true) => quote! { self.#ident.get_or_insert_default() },
            (false, _) => quote! { &mut self.#ident },
        };
        Some(quote! {
            if crate::config::setting::has_variable(<#of as crate::config::setting::Setting>::DECLARED, variable) {
                return crate::config::setting::Setting::set_variable(#place, variable, text);
            }
        })
    }

    fn declaration(&self) -> TokenStream {
        let Self { of, .. } = self;
        let (name, about) = (self.ident.to_string(), &self.about);
        let variable = self.variable.as_ref().map_or_else(|| quote! { None }, |variable| quote! { Some(#variable) });
        quote! {
            crate::config::setting::DeclaredSetting {
                name: #name,
                about: #about,
                variable: #variable,
                parts: <#of as crate::config::setting::Setting>::DECLARED,
            }
        }
    }
}

/// Returns true if `serde` has a default for what is missing.
fn has_default(attributes: &[Attribute]) -> Result<bool> {
    let mut has_default = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| {
            has_default |= meta.path.is_ident("default");
            if meta.input.peek(Token![=]) {
                meta.value()?.parse::<Expr>()?;
            }
            Ok(())
        })?;
    }
    Ok(has_default)
}

/// Returns the doc comment as one line.
fn text_of(attributes: &[Attribute], of: &Ident) -> Result<String> {
    let text = doc_comment::text(attributes);
    if text.is_empty() { Err(Error::new(of.span(), format!("`{of}` needs a doc comment: editors show it"))) } else { Ok(text) }
}

fn snake_case(name: &Ident) -> String {
    crate::names::snake_case(&name.to_string())
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn setting_without_a_text_or_with_an_unknown_attribute_is_refused() {
        let refusal = |input: &DeriveInput| expand(input).expect_err("it is refused").to_string();
        assert_eq!(refusal(&parse_quote! { struct A { b: u8 } }), "`b` needs a doc comment: editors show it");
        let unknown = parse_quote! {
            struct A {
                /// B.
                #[setting(color = "red")]
                b: u8,
            }
        };
        assert_eq!(refusal(&unknown), "write `variable`, `required`, `section`, `form`, `names`, `words`, `from` or `to`");
        let without_from = parse_quote! {
            struct A {
                /// B.
                #[setting(to = 7)]
                b: u8,
            }
        };
        assert_eq!(refusal(&without_from), "write `from` as well");
    }
}
