//! The runner `process`: runs a program, feeds it its input, and takes its output as the result.
//!
//! This module implements the contract. Listening to a program is in `conduct.rs`, and holding it in
//! `programs.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::ProcessCommand;
use ensue_engine::executions::facts::{Failure, FailureKind};

use crate::attempt::{AttemptContext, AttemptError, AttemptResult, Ending, attempt_failure};
use crate::conduct::{EndedProgram, conduct};
use crate::environment::{self, NamedBy, Variables};
use crate::mapped_result;
use crate::programs::{Argument, End, Exit, INNER, Order, PrivateFile, Program, ProgramUsers, StartProgramError};
use crate::render::scalar;
use crate::result;
use crate::runners::Runner;

/// The folder of a pack's actions: `./x` is a file there.
const ACTIONS: &str = "actions";

impl Runner for ProcessCommand {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        let launch = {
            let env = self.env.iter().map(|(_, template)| template);
            let files = self.files.iter().map(|(_, template)| template);
            let opened = attempt.open(env.chain(files).chain(&self.input)).await?;
            let mut renderer = attempt.renderer(&opened)?;
            let mut env = Vec::new();
            for (name, template) in &self.env {
                if let Some(value) = renderer.scalar(&format!("env.{name}"), template)? {
                    env.push((name.clone(), value));
                }
            }
            let mut files = Vec::new();
            for (name, template) in &self.files {
                environment::check_name(name)?;
                let place = format!("files.{name}");
                let value = renderer.value(&place, template)?;
                let bytes = match value {
                    object @ (serde_json::Value::Object(_) | serde_json::Value::Array(_)) => object.to_string(),
                    other => scalar(&place, other)?.unwrap_or_default(),
                };
                files.push(PrivateFile { name: name.clone(), bytes: bytes.into_bytes() });
            }
            let input = match &self.input {
                Some(template) => renderer.document("input", template)?.bytes().to_vec(),
                None => attempt.params.bytes().to_vec(),
            };
            let (program, arguments) = self
                .command
                .split_first()
                .ok_or_else(|| attempt_failure(FailureKind::Spawn, "the action's `command` is empty; name a program"))?;
            let beside = attempt.pack_folder().join(ACTIONS);
            let arguments = arguments.iter().enumerate().map(|(place, argument)| {
                // Index 0 is the program.
                let file = argument.strip_prefix("./").filter(|_| self.beside.contains(&(place + 1)));
                Argument::Text(file.map_or_else(|| argument.clone(), |file| beside.join(file).to_string_lossy().into_owned()))
            });
            let arguments = arguments.collect();
            Launch { program: program.clone(), arguments, env, named_by: NamedBy::Author, files, input }
        };
        launch.run(attempt).await
    }
}

/// A program to run, with everything rendered. It holds secrets, so it has no `Debug`.
pub(crate) struct Launch {
    /// The program to start: `./x`, or a name to look up.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument>,
    /// The variables added to its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where the names of those variables come from.
    pub(crate) named_by: NamedBy,
    /// The files in its private directory. If a file's name is also a valid variable name, a variable holds
    /// its path.
    pub(crate) files: Vec<PrivateFile>,
    /// Its standard input.
    pub(crate) input: Vec<u8>,
}

impl Launch {
    /// Runs the program in a fresh private directory, which is removed at the end whatever happened.
    pub(crate) async fn run(self, attempt: &AttemptContext<'_>) -> Ending {
        environment::check_variables(&self.env, self.named_by)?;
        let programs = &attempt.means.ports.programs;
        let pack = attempt.pack_folder();
        let program = find(attempt, self.program, pack.join(ACTIONS)).await?;
        let private = programs.directory(attempt.dispatch.attempt);
        let mut env: Variables = self.env.into_iter().map(|(name, value)| (name, value.into())).collect();
        for file in &self.files {
            if environment::check_name(&file.name).is_ok() {
                env.insert(file.name.clone(), private.join(INNER).join(&file.name).into());
            }
        }
        // The contract's variables take precedence over added ones.
        env.extend(environment::contract(attempt, &private));
        if attempt.action.has_token {
            env.extend(environment::access(attempt).await?);
        }
        let order = Order {
            attempt: attempt.dispatch.attempt,
            token: attempt.dispatch.token,
            program,
            arguments: self.arguments,
            env,
            files: self.files,
            input: self.input,
            keys: attempt.keys.all(),
            pack,
            timeout: attempt.remaining(),
            grace: Duration::from_millis(attempt.dispatch.grace_millis),
            limits: attempt.means.settings.limits,
        };
        programs.reserve(&order).await.map_err(|error| not_started(&error))?;
        attempt.begin().await?;
        let started = programs.start(order).await.map_err(|error| not_started(&error))?;
        heard_to_its_end(attempt, started).await
    }
}

/// Finds the program on the disk.
async fn find(attempt: &AttemptContext<'_>, program: String, beside: PathBuf) -> Result<PathBuf, AttemptError> {
    let (programs, path) = (Arc::clone(&attempt.means.ports.programs), attempt.means.settings.path.clone());
    let found = attempt.means.settings.blocking.run(move || programs.find(&program, &beside, &path)).await;
    let found = found.ok_or_else(|| attempt_failure(FailureKind::Spawn, "looking for the program was interrupted"))?;
    found.map_err(|error| attempt_failure(FailureKind::Spawn, error.to_string()))
}

/// Listens to a running program until it ends, and returns the attempt's ending.
pub(crate) async fn heard_to_its_end(attempt: &AttemptContext<'_>, program: Box<dyn Program>) -> Ending {
    ending(attempt, conduct(attempt, program).await?).await
}

fn not_started(error: &StartProgramError) -> AttemptError {
    let kind = match error {
        StartProgramError::Unknown(_) => return AttemptError::Lost(None),
        StartProgramError::Spawn { .. } | StartProgramError::TooLarge { .. } => FailureKind::Spawn,
        StartProgramError::Directory(_) | StartProgramError::Isolation(_) | StartProgramError::Supervisor(_) => FailureKind::Sandbox,
    };
    attempt_failure(kind, error.to_string())
}

async fn ending(attempt: &AttemptContext<'_>, ended: EndedProgram) -> Ending {
    let EndedProgram { cut, end, stdout, stderr } = ended;
    if let Some(cut) = cut {
        return Err(AttemptError::Cut(cut, Some(how_it_ended(end, attempt.dispatch.grace_millis))));
    }
    let failure = match end.exit {
        Exit::Code(0) => {
            return match &attempt.action.output {
                Some(output) => mapped_result::result(attempt, output, &mapped_result::of_program(&result::whole_text(&stdout)?)).await,
                None => result::parse_printed(&attempt.action, stdout).map(AttemptResult::result),
            };
        }
        Exit::Code(code) => {
            let why = stderr.last_line().map_or_else(String::new, |line| format!(": {line}"));
            let isolation = attempt.means.ports.programs.isolation();
            let shares_folders = matches!(isolation.users, ProgramUsers::Range { .. }) && !isolation.writable.is_empty();
            let hint = if shares_folders && stderr.has_line(is_about_denied_file) { OWN_USERS } else { "" };
            let message = format!("the program ended with exit code {code}{why}{hint}");
            Failure::new(FailureKind::ExitCode, message).with_detail(code.into())
        }
        Exit::Signal(SIGXFSZ) => {
            let message = "the program wrote a file that exceeds the limit of the operator (`actions.file_size`)";
            Failure::new(FailureKind::OutputLimit, message).with_detail(SIGXFSZ.into())
        }
        Exit::Signal(signal) => {
            let message = format!("the program was ended by signal {signal}{}", name_of(signal));
            Failure::new(FailureKind::Signal, message).with_detail(signal.into())
        }
        Exit::OutOfMemory => Failure::new(FailureKind::Memory, "the kernel killed the program because memory ran out"),
        Exit::PerhapsOutOfMemory => {
            let message = "the program was ended by signal 9 (SIGKILL), perhaps because memory ran out: the kernel killed other processes for that reason at the same time";
            Failure::new(FailureKind::Signal, message).with_detail(SIGKILL.into())
        }
        Exit::Hangs => Failure::new(FailureKind::Signal, "the program was killed but still hangs in the kernel"),
    };
    Err(AttemptError::with_body(failure, result::printed_nevertheless(stdout)))
}

/// Describes how a program ended that was asked to end.
fn how_it_ended(end: End, grace_millis: u64) -> String {
    let with = match end.exit {
        Exit::Code(code) => format!(" with exit code {code}"),
        Exit::Signal(signal) => format!(" by signal {signal}{}", name_of(signal)),
        Exit::OutOfMemory | Exit::PerhapsOutOfMemory | Exit::Hangs => String::new(),
    };
    match (end.by, end.was_killed) {
        (None, _) => format!("its program had ended by itself{with}"),
        (Some(_), Some(true)) if grace_millis == 0 => "its program was killed".to_owned(),
        (Some(_), Some(true)) => {
            let seconds = Duration::from_millis(grace_millis).as_secs_f64();
            format!("its program was killed, because it had not ended {seconds} s after SIGTERM")
        }
        (Some(_), Some(false)) => format!("its program ended after SIGTERM{with}"),
        (Some(_), None) => format!("its program ended{with}"),
    }
}

/// Returns true if a program says that it may not use a file: as the C library and Python write it. A server that refuses
/// a login says more after the same words.
fn is_about_denied_file(line: &str) -> bool {
    line.ends_with("Permission denied") || line.contains("Permission denied: '")
}

/// What may be behind it if each program has a user of its own.
const OWN_USERS: &str = " (each program runs as a user of its own, which cannot change the files of another; \
     if it shares a folder with others, the operator can name one user for all of them in `actions.user`)";

/// The signal that cannot be refused.
const SIGKILL: i32 = 9;
/// Ends a program that makes a system call unknown to a filter.
#[cfg(target_os = "linux")]
const SIGSYS: i32 = 31;
/// Ends a program that writes a file beyond its limit.
const SIGXFSZ: i32 = 25;

fn name_of(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        #[cfg(target_os = "linux")]
        SIGSYS => {
            " (SIGSYS): the program was built for another kind of processor, such as 32-bit, which cannot run isolated; or it blocked \
             the system call that it made itself"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_that_a_server_denies_is_not_about_a_file() {
        for line in [
            "touch: cannot touch '/shared/made/file': Permission denied",
            "sh: 1: cannot create /shared/file: Permission denied",
            "PermissionError: [Errno 13] Permission denied: '/shared/file'",
        ] {
            assert!(is_about_denied_file(line), "{line}");
        }
        for line in ["git@host: Permission denied (publickey).", "Permission denied, please try again.", "all files are there"] {
            assert!(!is_about_denied_file(line), "{line}");
        }
    }
}
