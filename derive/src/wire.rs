//! The schema of what the API sends and receives.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, GenericArgument, PathArguments, Type, parse_quote};

/// The engine's types that have a shape of the same name in the API.
const SHAPES: &[&str] = &[
    "ActionRef",
    "ArtifactId",
    "ArtifactName",
    "AttemptId",
    "AttemptStatus",
    "CatalogRevision",
    "Chain",
    "Control",
    "Digest",
    "EnforcementId",
    "Epoch",
    "EventId",
    "Evidence",
    "ExecutionId",
    "FailureKind",
    "GrantId",
    "SessionId",
    "GroupName",
    "Id",
    "IdentityId",
    "InquiryId",
    "InquiryStatus",
    "IssuerName",
    "ConnectionName",
    "KeyRef",
    "LabelName",
    "Labels",
    "LogId",
    "MediaType",
    "Misfire",
    "Mode",
    "OnLost",
    "OutcomeName",
    "PackName",
    "Position",
    "ReleasedName",
    "RoleName",
    "Roles",
    "RuleId",
    "RuleRef",
    "ScheduleId",
    "SensorRef",
    "SettledAs",
    "SkippedBecause",
    "Status",
    "StepName",
    "SupersededBecause",
    "TierName",
    "Timestamp",
    "TokenId",
    "TriggerRef",
    "VarName",
    "VersionedTrigger",
    "WorkerQueueName",
];

/// Returns the item with its derives, and with a shape for each field of an engine type.
pub(crate) fn expand(derives: &TokenStream, mut item: DeriveInput) -> TokenStream {
    match &mut item.data {
        Data::Struct(data) => give_shapes(&mut data.fields),
        Data::Enum(data) => data.variants.iter_mut().for_each(|variant| give_shapes(&mut variant.fields)),
        Data::Union(_) => {}
    }
    quote! {
            #[derive(::schemars::JsonSchema)]
        #[derive(#derives)]
            #item
    }
}

fn give_shapes(fields: &mut Fields) {
    for field in fields.iter_mut() {
        let has_shape = field.attrs.iter().any(|attribute| attribute.path().is_ident("schemars"));
        if let (false, Some(shape)) = (has_shape, shape_of(&field.ty)) {
            field.attrs.push(parse_quote!(#[schemars(with = #shape)]));
        }
    }
}

/// Returns the shape of a type, or `None` if the type describes itself.
fn shape_of(of: &Type) -> Option<String> {
    let path = match of {
        Type::Reference(reference) => return shape_of(&reference.elem),
        Type::Path(path) => path.path.segments.last()?,
        _ => return None,
    };
    let name = path.ident.to_string();
    match &path.arguments {
        PathArguments::None if SHAPES.contains(&name.as_str()) => Some(format!("crate::shapes::{name}")),
        PathArguments::AngleBracketed(inner) if name == "Option" || name == "Vec" => match inner.args.first()? {
            GenericArgument::Type(inner) => Some(format!("{name}<{}>", shape_of(inner)?)),
            _ => None,
        },
        _ => None,
    }
}
