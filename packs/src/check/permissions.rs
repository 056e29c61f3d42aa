//! Checks that the `permissions` of `pack.yaml` allow whatever the pack does with other packs.

use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::Rights;
use ensue_engine::access::scope::Scope;

use super::requirements::{NeededPermission, Uses};
use crate::diagnostics::{Code, Report};
use crate::syntax;

/// Reports each use that the permissions of the pack do not allow. A pack without `permissions` is held to nothing here:
/// the operator decides what it may do.
pub(super) fn check(pack: &syntax::WrittenPack, uses: &Uses, report: &mut Report) {
    let Some(Some(permissions)) = &pack.manifest.permissions else { return };
    let mut rights = Rights::default();
    permissions.iter().for_each(|scope| rights.add(scope.permission, scope.on.as_ref()));
    for needed in uses.permissions().filter(|needed| !allow(&rights, &needed.permission)) {
        let NeededPermission { permission, what, file, span } = needed;
        report
            .error(Code::NotPermitted, file, span.clone(), format!("this {what}, but the `permissions` of `pack.yaml` do not allow it"))
            .hint(format!("permissions:\n  - {permission}"));
    }
}

/// Returns true if the rights cover what a permission is about: one action, or the triggers of one pack.
fn allow(rights: &Rights, wanted: &Scope) -> bool {
    let names = wanted.on.as_ref().map(|limit| limit.patterns().map(|patterns| patterns.first().map(ToString::to_string)));
    let Some([pack, action, _]) = names else { return false };
    match (wanted.permission, &pack, &action) {
        (Permission::ActionsExecute, _, Some(action)) => rights.include(wanted.permission, &Target::of_action(action)),
        (_, Some(pack), _) => rights.include(wanted.permission, &Target::of_pack(pack)),
        _ => false,
    }
}
