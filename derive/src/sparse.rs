//! Fields that are left out of JSON if they are `None`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Fields, ItemStruct, Type, parse_quote};

/// Returns the struct with its derives, and with attributes that leave out each `None`.
pub(crate) fn expand(derives: &TokenStream, mut item: ItemStruct) -> TokenStream {
    if let Fields::Named(fields) = &mut item.fields {
        for field in fields.named.iter_mut().filter(|field| is_option(&field.ty)) {
            field.attrs.push(parse_quote!(#[serde(default, skip_serializing_if = "Option::is_none")]));
        }
    }
    quote! {
        #[derive(#derives)]
        #item
    }
}

fn is_option(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}
