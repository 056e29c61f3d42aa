//! Derive macros: what an error tells people, and the names of an enum's variants.

mod explain;
mod names;
mod sparse;
mod wire;

/// Derives `Explain` from the attributes `#[explain(…)]` of an error.
///
/// Each variant, or the struct, has a slug and a fault, and may have a hint:
/// `#[explain(slug = "not-found", fault = Missing, hint = "list them with `ensue rules list`")]`.
/// An attribute on the enum sets what its variants leave out.
///
/// A hint that is a string literal is a format string over the fields: `{name}`, or `{0}` in a tuple. Any
/// other hint is an expression that returns a `String` or an `Option<String>`. It has the fields by name, or
/// as `_0`, `_1` and so on, by reference.
///
/// `#[explain(transparent)]` returns the slug, the fault and the hint of the variant's only field.
#[proc_macro_derive(Explain, attributes(explain))]
pub fn derive_explain(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    explain::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Derives `ALL`, the list of an enum's variants, and `as_str`, the name of each in snake case.
#[proc_macro_derive(Names)]
pub fn derive_names(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    names::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Derives the named traits and `JsonSchema` for a type of the API. Each field of an engine type gets the
/// shape of that name in the API's `shapes.rs`, unless it names another with `schemars(with = …)`.
#[proc_macro_attribute]
pub fn wire(derives: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = syn::parse_macro_input!(item as syn::DeriveInput);
    wire::expand(&derives.into(), item).into()
}

/// Derives the named traits, `Serialize` and `Deserialize` among them, for a struct whose JSON leaves out each
/// field that is `None`.
#[proc_macro_attribute]
pub fn sparse(derives: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = syn::parse_macro_input!(item as syn::ItemStruct);
    sparse::expand(&derives.into(), item).into()
}
