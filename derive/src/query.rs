//! The query parameters of operations of the API.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, LitStr, Result, Type};

use crate::doc_comment;

/// Returns `PARAMETERS`, `FromQuery`, and `filters` if a parameter filters a column.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let (name, visibility) = (&input.ident, &input.vis);
    let Data::Struct(data) = &input.data else { return Err(Error::new(name.span(), "only a struct has parameters as its fields")) };
    let Fields::Named(fields) = &data.fields else { return Err(Error::new(name.span(), "the fields need the names of the parameters")) };
    let parameters: Vec<Parameter<'_>> = fields.named.iter().map(Parameter::of).collect::<Result<_>>()?;
    let (declarations, reads) = (parameters.iter().map(Parameter::declaration), parameters.iter().map(Parameter::read));
    let filters: Vec<TokenStream> = parameters.iter().filter(|parameter| parameter.stated.is_column).map(Parameter::filters).collect();
    let filters = (!filters.is_empty()).then(|| {
        quote! {
            /// Returns the filters of columns that the request has.
            #visibility fn filters(&self) -> ::std::vec::Vec<::ensue_views::Filter> {
                let mut filters = ::std::vec::Vec::new();
                #(filters.extend(#filters);)*
                filters
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #name {
            /// The parameters, in the order of the fields.
            #visibility const PARAMETERS: &'static [crate::query::Parameter] = &[#(#declarations),*];

            #filters
        }

        #[automatically_derived]
        impl crate::query::FromQuery for #name {
            fn read(query: &crate::query::Query) -> ::core::result::Result<Self, crate::query::ParameterRefusal> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}

/// A field that is a parameter.
struct Parameter<'a> {
    field: &'a Ident,
    name: String,
    of: &'a Type,
    description: String,
    stated: QueryAttributes,
}

/// What the attributes `#[query(…)]` of a field state.
#[derive(Default)]
struct QueryAttributes {
    several: Option<Expr>,
    repeated: Option<Expr>,
    schema: Option<Expr>,
    what: Option<LitStr>,
    required: Option<Expr>,
    is_list: bool,
    is_column: bool,
}

impl QueryAttributes {
    fn of(field: &Field) -> Result<Self> {
        let mut stated = Self::default();
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("query")) {
            attribute.parse_nested_meta(|meta| {
                let entry = meta.path.require_ident()?.to_string();
                match entry.as_str() {
                    "several" => stated.several = Some(meta.value()?.parse()?),
                    "repeated" => stated.repeated = Some(meta.value()?.parse()?),
                    "schema" => stated.schema = Some(meta.value()?.parse()?),
                    "what" => stated.what = Some(meta.value()?.parse()?),
                    "required" => stated.required = Some(meta.value()?.parse()?),
                    "list" => stated.is_list = true,
                    "column" => stated.is_column = true,
                    _ => {
                        let known = "`several`, `repeated`, `list`, `schema`, `what`, `required` or `column`";
                        return Err(meta.error(format!("unknown entry `{entry}`: use {known}")));
                    }
                }
                Ok(())
            })?;
        }
        Ok(stated)
    }
}

impl<'a> Parameter<'a> {
    fn of(field: &'a Field) -> Result<Self> {
        let Some(ident) = &field.ident else { return Err(Error::new(Span::call_site(), "a parameter needs a name")) };
        let (name, description) = (ident.unraw().to_string(), doc_comment::text(&field.attrs));
        if description.is_empty() {
            return Err(Error::new(ident.span(), format!("`{name}` has no description: add a doc comment")));
        }
        Ok(Self { field: ident, name, of: &field.ty, description, stated: QueryAttributes::of(field)? })
    }

    /// Returns the type that reads the parameter: a required one is absent in a request that is wrong.
    fn read_type(&self) -> TokenStream {
        let of = self.of;
        if self.stated.required.is_some() { quote!(::core::option::Option<#of>) } else { quote!(#of) }
    }

    fn declaration(&self) -> TokenStream {
        let (name, description, is_required, of) = (&self.name, &self.description, self.stated.required.is_some(), self.read_type());
        let multiplicity = match &self.stated {
            QueryAttributes { is_list: true, .. } => quote!(List),
            QueryAttributes { several: Some(most), .. } => quote!(Several(#most)),
            QueryAttributes { repeated: Some(most), .. } => quote!(Repeated(#most)),
            _ if is_vec(self.of) => quote!(Several(crate::query::VALUES_MAX)),
            _ => quote!(Once),
        };
        let schema = match &self.stated.schema {
            Some(schema) => quote!(|| #schema),
            None => quote!(<<#of as crate::query::QueryField>::Value as crate::query::QueryValue>::schema),
        };
        quote! {
            crate::query::Parameter {
                name: #name,
                description: #description,
                schema: #schema,
                multiplicity: crate::query::Multiplicity::#multiplicity,
                is_required: #is_required,
            }
        }
    }

    fn read(&self) -> TokenStream {
        let (field, name, of) = (self.field, &self.name, self.read_type());
        let value = match &self.stated.what {
            Some(what) => quote!(query.parse_value(#name, #what)?),
            None => quote!(<#of as crate::query::QueryField>::read(query, #name)?),
        };
        match &self.stated.required {
            Some(why) => quote!(#field: #value.ok_or_else(|| crate::query::bad(#name, #why))?),
            None => quote!(#field: #value),
        }
    }

    /// Returns the filters of the column with the parameter's name. All repetitions must apply, or one of several values.
    fn filters(&self) -> TokenStream {
        let (field, column) = (self.field, format_ident!("{}", camel_case(&self.name)));
        let make = if self.stated.repeated.is_some() { quote!(all_of) } else { quote!(any_of) };
        quote!(crate::listing::#make(::ensue_views::Column::#column, self.#field.iter().map(crate::query::ColumnText::to_text).collect()))
    }
}

fn is_vec(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Vec"))
}

fn camel_case(name: &str) -> String {
    let capitalized = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(capitalized).collect()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn expect_error(input: &DeriveInput) -> String {
        expand(input).expect_err("the derive accepted these fields").to_string()
    }

    #[test]
    fn column_has_the_name_of_the_parameter() {
        assert_eq!((camel_case("rerun_of"), camel_case("of")), ("RerunOf".to_owned(), "Of".to_owned()));
    }

    #[test]
    fn parameter_without_a_description_is_refused() {
        let error = expect_error(&parse_quote! { struct A { limit: Option<u64> } });
        assert_eq!(error, "`limit` has no description: add a doc comment");
    }

    #[test]
    fn unknown_entry_is_refused() {
        let error = expect_error(&parse_quote! {
            struct A {
                /// The limit.
                #[query(max = 3)]
                limit: Option<u64>,
            }
        });
        assert_eq!(error, "unknown entry `max`: use `several`, `repeated`, `list`, `schema`, `what`, `required` or `column`");
    }
}
