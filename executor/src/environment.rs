//! The environment of a program: the variables that the contract sets, the ones that the action adds, and the
//! names that it may not set.
//!
//! Nothing from the server's own environment is passed on except the operator's `PATH`.

mod computed_names;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::LazyLock;

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::names::KeyRef;
use ensue_engine::record::AttemptOf;

use crate::attempt::{AttemptContext, AttemptError, attempt_failure};
use crate::render::quote;

/// The maximum length of a variable's name, in bytes.
pub(crate) const VARIABLE_NAME_BYTES_MAX: usize = 128;
/// The maximum size of a variable's value, in bytes. Linux accepts 128 KiB including the name.
pub(crate) const VARIABLE_BYTES_MAX: usize = 120 << 10;
/// The maximum size of all variables of an action together, in bytes.
pub(crate) const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;

/// Names that would make a loader, a shell or an interpreter run code other than the action's, or that the
/// contract sets.
const REFUSED: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CDPATH",
    "CLASSPATH",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "HOME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "TMPDIR",
    "TRACEPARENT",
    "TRACESTATE",
    "_JAVA_OPTIONS",
    "_RJEM_MALLOC_CONF",
];

/// Prefixes of such names.
const REFUSED_BEGINNINGS: &[&str] = &["BASH_FUNC_", "DYLD_", "ENSUE_", "LD_"];

/// The git variables that are allowed. Any other variable that begins with `GIT_` can name a program.
const GIT_ALLOWED: &[&str] = &[
    "GIT_AUTHOR_DATE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_TERMINAL_PROMPT",
];

/// A program's environment variables by name.
pub(crate) type Variables = BTreeMap<String, OsString>;

/// Returns the variables that the contract promises to every program.
pub(crate) fn contract(attempt: &AttemptContext<'_>, private: &Path) -> Variables {
    let dispatch = attempt.dispatch;
    let settings = &attempt.means.settings;
    let execution = dispatch.execution.to_string();
    let pack = attempt.pack_folder();
    let mut variables: Variables = BTreeMap::from([
        ("ENSUE_ATTEMPT".to_owned(), dispatch.number.to_string().into()),
        ("ENSUE_DEADLINE".to_owned(), attempt.deadline().to_string().into()),
        ("ENSUE_EXECUTION_ID".to_owned(), execution.clone().into()),
        ("ENSUE_FENCING_TOKEN".to_owned(), dispatch.token.to_string().into()),
        // The same for every attempt, so that a service that honors it does a thing only once.
        ("ENSUE_IDEMPOTENCY_KEY".to_owned(), execution.into()),
        ("ENSUE_PACK_DIR".to_owned(), pack.into()),
        ("HOME".to_owned(), private.into()),
        // Makes programs read and write UTF-8 on every server.
        ("LANG".to_owned(), "C.UTF-8".into()),
        ("PATH".to_owned(), settings.path.clone()),
        ("TMPDIR".to_owned(), private.into()),
    ]);
    if let Some(trace) = attempt.trace() {
        variables.insert("TRACEPARENT".to_owned(), trace.parent.to_string().into());
        variables.extend(trace.state.map(|state| ("TRACESTATE".to_owned(), state.as_str().into())));
    }
    variables
}

/// The name under which the token of an attempt is masked, like a key.
static TOKEN: LazyLock<KeyRef> = LazyLock::new(|| "ensue.token".parse().expect("it is a ref"));

/// Returns the variables with which a program calls the API as its execution. Waits until the node listens.
pub(crate) async fn access(attempt: &AttemptContext<'_>) -> Result<Variables, AttemptError> {
    let access = &attempt.means.ports.access;
    let mut url = access.url();
    let listening = async {
        let url = url.wait_for(Option::is_some).await.ok().and_then(|url| url.clone());
        url.ok_or_else(|| attempt_failure(FailureKind::Spawn, "the node stopped before it listened, so the program could not call its API"))
    };
    let url = attempt.within(listening).await?;
    let token = access.token(AttemptOf { execution: attempt.dispatch.execution, number: attempt.dispatch.number });
    attempt.keys.note([(&*TOKEN, &token)]);
    let token = OsString::from(String::from_utf8_lossy(token.reveal()).into_owned());
    // The command `ensue` reads the server's address from its own variable.
    let url = ["ENSUE_URL", "ENSUE_SERVER"].map(|name| (name.to_owned(), OsString::from(&*url)));
    Ok(url.into_iter().chain([("ENSUE_TOKEN".to_owned(), token)]).collect())
}

/// Where the name of a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The author of the pack wrote it.
    Author,
    /// An expression computed it, possibly from outside data.
    Expression,
}

/// Checks the variables that an action adds, before anything is started.
pub(crate) fn check_variables(added: &[(String, String)], named_by: NamedBy) -> Result<(), AttemptError> {
    let mut bytes = 0;
    for (name, value) in added {
        check_name(name)?;
        if named_by == NamedBy::Expression {
            check_computed_name(name)?;
        }
        if value.contains('\0') {
            return Err(sandbox_failure(format!("the variable `{name}` contains a NUL, which is not possible in a variable")));
        }
        if value.len() > VARIABLE_BYTES_MAX {
            return Err(sandbox_failure(format!(
                "the variable `{name}` has {} bytes; the limit is {VARIABLE_BYTES_MAX}; pass it with `input` or `files`",
                value.len()
            )));
        }
        bytes += name.len() + value.len();
    }
    if bytes > ENVIRONMENT_BYTES_MAX {
        return Err(sandbox_failure(format!(
            "the variables have {bytes} bytes; the limit is {ENVIRONMENT_BYTES_MAX}; pass them with `input` or `files`"
        )));
    }
    Ok(())
}

/// Checks the name of a variable.
pub(crate) fn check_name(name: &str) -> Result<(), AttemptError> {
    let mut bytes = name.bytes();
    let is_shaped = name.len() <= VARIABLE_NAME_BYTES_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_shaped {
        return Err(sandbox_failure(format!(
            "{} is not a valid name for a variable; use A-Z, a-z, 0-9 and `_`",
            quote(name, VARIABLE_NAME_BYTES_MAX)
        )));
    }
    let upper = name.to_ascii_uppercase();
    let is_refused = REFUSED.contains(&upper.as_str())
        || REFUSED_BEGINNINGS.iter().any(|beginning| upper.starts_with(beginning))
        || (upper.starts_with("GIT_") && !GIT_ALLOWED.contains(&upper.as_str()));
    if is_refused {
        return Err(sandbox_failure(format!(
            "the variable `{name}` cannot be set: it belongs to the engine, or would make the program run other code than the action's"
        )));
    }
    Ok(())
}

/// Applies further checks to a computed name, beyond [`check_name`]: it must not make a common program run
/// other code.
fn check_computed_name(name: &str) -> Result<(), AttemptError> {
    if computed_names::can_run_code(&name.to_ascii_uppercase()) {
        return Err(sandbox_failure(format!(
            "the variable `{name}` cannot be named by an expression, because common programs run the code in it; set it in the script, \
             or write its name in the `env` of your own action"
        )));
    }
    Ok(())
}

fn sandbox_failure(message: String) -> AttemptError {
    attempt_failure(FailureKind::Sandbox, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_make_other_code_run_are_rejected() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "PATH",
            "BASH_ENV",
            "ENV",
            "PYTHONPATH",
            "NODE_OPTIONS",
            "_RJEM_MALLOC_CONF",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "BASH_FUNC_x",
            "ENSUE_EXECUTION_ID",
            "ld_preload",
            "HOME",
            "IFS",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn computed_name_that_runs_code_is_rejected() {
        for name in [
            "ANSIBLE_CONFIG",
            "BUNDLE_GEMFILE",
            "CARGO_BUILD_RUSTC",
            "CC",
            "COMPlus_ProfAPI_ProfilerCompatibilitySetting",
            "CORECLR_PROFILER_PATH",
            "COR_PROFILER_PATH",
            "DBUS_SESSION_BUS_ADDRESS",
            "DOTNET_STARTUP_HOOKS",
            "EDITOR",
            "ELIXIR_ERL_OPTIONS",
            "ERL_AFLAGS",
            "ERL_FLAGS",
            "EXINIT",
            "FZF_DEFAULT_COMMAND",
            "GEM_PATH",
            "GOFLAGS",
            "GTK_MODULES",
            "LESSCLOSE",
            "LESSOPEN",
            "LUA_INIT",
            "LUA_INIT_5_4",
            "MAGICK_CONFIGURE_PATH",
            "MAKEFLAGS",
            "MAVEN_OPTS",
            "OPENSSL_CONF",
            "OPENSSL_ENGINES",
            "OPENSSL_MODULES",
            "PAGER",
            "PERL_MM_OPT",
            "PHPRC",
            "PHP_INI_SCAN_DIR",
            "PIP_CONFIG_FILE",
            "PYTEST_ADDOPTS",
            "PYTHONWARNINGS",
            "QT_PLUGIN_PATH",
            "RSYNC_RSH",
            "RUSTC_WRAPPER",
            "R_PROFILE_USER",
            "SSH_ASKPASS",
            "SUDO_ASKPASS",
            "SVN_SSH",
            "TAR_OPTIONS",
            "TEXMFCNF",
            "VIMINIT",
            "XDG_CONFIG_HOME",
            "ZDOTDIR",
            "npm_config_script_shell",
        ] {
            let added = [(name.to_owned(), String::new())];
            assert!(check_variables(&added, NamedBy::Expression).is_err(), "{name}");
            assert!(check_variables(&added, NamedBy::Author).is_ok(), "{name}");
        }
    }

    #[test]
    fn ordinary_computed_name_is_accepted() {
        for name in [
            "VERSION",
            "GH_TOKEN",
            "NPM_TOKEN",
            "NODE_ENV",
            "TF_VAR_region",
            "MANIFEST",
            "TEXT",
            "PGPASSFILE",
            "http_proxy",
            "R_X",
            "KUBECONFIG",
            "JAVA_HOME",
        ] {
            assert!(check_variables(&[(name.to_owned(), String::new())], NamedBy::Expression).is_ok(), "{name}");
        }
    }

    #[test]
    fn variable_name_is_a_word() {
        for name in ["", "a=b", "BASH_FUNC_x%%", "1A", "A B", "A-B", "Ä", "A\0", &"A".repeat(129)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["VERSION", "_x", "http_proxy", "PGPASSFILE", "GIT_AUTHOR_NAME"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn value_that_cannot_be_passed_to_a_program_is_rejected() {
        let variable = |value: String| vec![("A".to_owned(), value)];
        assert!(check_variables(&variable("a\0b".into()), NamedBy::Author).is_err());
        assert!(check_variables(&variable("a".repeat(VARIABLE_BYTES_MAX + 1)), NamedBy::Author).is_err());
        assert!(check_variables(&variable("a\nb $(id)".into()), NamedBy::Author).is_ok());
    }

    #[test]
    fn one_variable_and_all_of_them_have_a_limit() {
        let is_accepted = |lengths: &[usize]| {
            let added: Vec<_> = lengths.iter().enumerate().map(|(at, length)| (format!("V{at:03}"), "x".repeat(*length))).collect();
            check_variables(&added, NamedBy::Author).is_ok()
        };
        assert!(is_accepted(&[VARIABLE_BYTES_MAX]) && !is_accepted(&[VARIABLE_BYTES_MAX + 1]));
        let (each, name) = (100 << 10, 4);
        let mut lengths = vec![each; ENVIRONMENT_BYTES_MAX / (each + name)];
        lengths.push(ENVIRONMENT_BYTES_MAX - lengths.len() * (each + name) - name);
        assert!(is_accepted(&lengths));
        *lengths.last_mut().unwrap() += 1;
        assert!(!is_accepted(&lengths));
    }
}
