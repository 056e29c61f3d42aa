//! What an attribute `#[explain(…)]` states.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Expr, Ident, Result, Token};

/// The contents of the `#[explain(…)]` attributes of one item.
#[derive(Default)]
pub(crate) struct ExplainAttributes {
    pub(crate) transparent: Option<Span>,
    pub(crate) slug: Option<Expr>,
    pub(crate) fault: Option<Ident>,
    pub(crate) hint: Option<Expr>,
}

/// One entry of an attribute.
enum AttributeEntry {
    Transparent(Span),
    Slug(Expr),
    Fault(Ident),
    Hint(Expr),
}

impl Parse for AttributeEntry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input.parse()?;
        if key == "transparent" {
            return Ok(Self::Transparent(key.span()));
        }
        if !["slug", "fault", "hint"].iter().any(|known| key == known) {
            return Err(Error::new(key.span(), format!("unknown entry `{key}`: use `slug`, `fault`, `hint` or `transparent`")));
        }
        input.parse::<Token![=]>()?;
        Ok(match key.to_string().as_str() {
            "slug" => Self::Slug(input.parse()?),
            "fault" => Self::Fault(input.parse()?),
            _ => Self::Hint(input.parse()?),
        })
    }
}

impl ExplainAttributes {
    /// Reads the attributes of an item. An item without them states nothing.
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut stated = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("explain")) {
            let entries = attribute.parse_args_with(syn::punctuated::Punctuated::<AttributeEntry, Token![,]>::parse_terminated)?;
            for entry in entries {
                let is_new = match entry {
                    AttributeEntry::Transparent(span) => stated.transparent.replace(span).is_none(),
                    AttributeEntry::Slug(slug) => stated.slug.replace(slug).is_none(),
                    AttributeEntry::Fault(fault) => stated.fault.replace(fault).is_none(),
                    AttributeEntry::Hint(hint) => stated.hint.replace(hint).is_none(),
                };
                if !is_new {
                    return Err(Error::new_spanned(attribute, "an entry is given twice"));
                }
            }
        }
        let is_alone = stated.slug.is_none() && stated.fault.is_none() && stated.hint.is_none();
        match stated.transparent {
            Some(span) if !is_alone => Err(Error::new(span, "`transparent` returns what the field returns: leave out the other entries")),
            _ => Ok(stated),
        }
    }
}
