//! Derive macros: what an error tells people, the names of an enum's variants, the query parameters of the API, and the settings
//! of a file.

mod doc_comment;
mod explain;
mod names;
mod query;
mod settings;
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

/// Derives the query parameters of an operation of the API, or a group of them that operations share, from a struct:
/// `PARAMETERS`, which declares them, and `FromQuery`, which reads them.
///
/// Each field is the parameter of its name, and its doc comment is the description. Its type is an `Option`, a
/// `Vec`, whose values are repeated or separated by commas, or a `bool`, which is false by default. The attribute
/// `#[query(…)]` of a field has these entries:
///
/// - `several = MAX`: how many values a `Vec` may have, instead of `VALUES_MAX`
/// - `repeated = MAX`: the values are repeated, all must apply, and a comma is a part of a value
/// - `list`: the parameter is given once, with its values separated by commas
/// - `schema = …`: the JSON Schema of a value, instead of that of its type
/// - `what = "a position"`: the value is parsed with `FromStr`; this ends the error "is `x`, which is not …"
/// - `required = "must be given"`: the field has the value itself; this ends the error of a request without it
/// - `column`: it filters the column of its name, in `filters`
#[proc_macro_derive(Query, attributes(query))]
pub fn derive_query(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    query::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Derives `Setting` for a type of the settings file: its fields with their texts for editors, and its variables.
///
/// The doc comment of a field is its text, and its type is the kind of its value. `#[setting(…)]` adds
/// `variable`, the environment variable that overrides the file; `section`, for an `Option` of a type with variables of its
/// own; `required`, for an `Option` that the file must have and that a variable can set alone; `form`, the form of a text;
/// `names`, the form of the names in a mapping; `words`, the only texts; and `from` and `to`, the ends of a number. A field
/// without `required` is required unless it is an `Option` or has `serde(default)`.
/// An enum without values is one of its variants' names, and another one is a mapping with exactly one field.
#[proc_macro_derive(Settings, attributes(setting))]
pub fn derive_settings(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    settings::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
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
