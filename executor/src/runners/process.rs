//! The runner `process`: starts a program, gives it its input, and takes what it prints for its result.
//!
//! It knows the contract; how a group of processes is conducted is `child.rs`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};

use ensue_engine::catalog::ProcessCommand;
use ensue_engine::executions::facts::{Failure, FailureKind};
use tokio::process::Command;

use crate::attempt::{Attempt, Broken, Ending, Given, failed};
use crate::child::{Ended, Program};
use crate::environment;
use crate::output::Output;
use crate::render::scalar;
use crate::result;
use crate::runners::Runner;
use crate::sandbox::{PrivateDirectory, PrivateFile};

/// Where a pack keeps its actions: `./x` is a file there.
const ACTIONS: &str = "actions";

impl Runner for ProcessCommand {
    async fn run(&self, attempt: &Attempt<'_>) -> Ending {
        let launch = {
            let env = self.env.iter().map(|(_, template)| template);
            let files = self.files.iter().map(|(_, template)| template);
            let keys = attempt.open_keys(env.chain(files).chain(&self.input)).await?;
            let mut renderer = attempt.renderer(&keys)?;
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
                Some(template) => renderer.value("input", template)?.to_string().into_bytes(),
                None => attempt.params.bytes().to_vec(),
            };
            let (program, arguments) =
                self.command.split_first().ok_or_else(|| failed(FailureKind::Spawn, "the action's `command` is empty; name a program"))?;
            let arguments = arguments.iter().map(|argument| Argument::Text(argument.clone())).collect();
            Launch { program: program.clone(), arguments, env, files, input }
        };
        launch.run(attempt).await
    }
}

/// A program to run, with all that is rendered. It holds secrets, so it has no `Debug`.
pub(crate) struct Launch {
    /// What is started: `./x`, or a name to be looked up.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument>,
    /// What is added to its environment.
    pub(crate) env: Vec<(String, String)>,
    /// The files in its private directory, each also named by a variable where its name is one of a variable.
    pub(crate) files: Vec<PrivateFile>,
    /// What it reads.
    pub(crate) input: Vec<u8>,
}

/// An argument of a program.
pub(crate) enum Argument {
    /// A text.
    Text(String),
    /// The path of a private file.
    File(&'static str),
}

impl Launch {
    /// Runs the program in a fresh private directory, which is removed at the end whatever happened.
    pub(crate) async fn run(mut self, attempt: &Attempt<'_>) -> Ending {
        environment::checked(&self.env)?;
        let program = resolved(attempt, &self.program)?;
        let private = self.private_directory(attempt).await?;
        let ending = self.run_in(attempt, &private, &program).await;
        let removed = tokio::task::spawn_blocking(move || private.remove()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(attempt = %attempt.dispatch.attempt, %error, "a private directory could not be removed");
        }
        ending
    }

    async fn private_directory(&mut self, attempt: &Attempt<'_>) -> Result<PrivateDirectory, Broken> {
        let folder = attempt.worker.settings.private_dir.clone();
        let id = attempt.dispatch.attempt;
        let files = std::mem::take(&mut self.files);
        for file in &files {
            if environment::check_name(&file.name).is_ok() {
                let path = folder.join(id.to_string()).join(PrivateDirectory::INNER).join(&file.name);
                self.env.push((file.name.clone(), path.to_string_lossy().into_owned()));
            }
        }
        let created = tokio::task::spawn_blocking(move || PrivateDirectory::create(&folder, id, &files)).await;
        let error = match created {
            Ok(Ok(directory)) => return Ok(directory),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it was broken off".to_owned(),
        };
        Err(failed(FailureKind::Sandbox, format!("the attempt's private directory cannot be made: {error}")))
    }

    async fn run_in(&self, attempt: &Attempt<'_>, private: &PrivateDirectory, program: &Path) -> Ending {
        let mut command = Command::new(program);
        for argument in &self.arguments {
            match argument {
                Argument::Text(text) => command.arg(text),
                Argument::File(name) => command.arg(private.file(name)),
            };
        }
        let own = self.env.iter().map(|(name, value)| (name.as_str(), OsStr::new(value)));
        command.current_dir(private.path()).env_clear().envs(own);
        command.envs(environment::contract(attempt, private.path()));
        attempt.begin().await?;
        let started = Program::start(command)
            .map_err(|error| failed(FailureKind::Spawn, format!("the program `{}` cannot be started: {error}", self.program)))?;
        let output = Output::begin(attempt.worker.ports.outputs.clone(), attempt.dispatch.attempt);
        let ended = started.conduct(attempt, &self.input, &output).await;
        output.finish().await;
        ending(attempt, ended)
    }
}

fn ending(attempt: &Attempt<'_>, ended: Ended) -> Ending {
    let Ended { cut, status, stdout } = ended;
    if let Some(cut) = cut {
        return Err(cut.into());
    }
    let failure = match status {
        Some(status) if status.success() => {
            return result::printed(&attempt.action, stdout).map(Given::result);
        }
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => {
                let message = format!("the program ended with exit code {code}; its log is in the output");
                Failure::new(FailureKind::ExitCode, message).with_detail(code.into())
            }
            (None, Some(signal)) => {
                let message = format!("the program was ended by signal {signal}{}", name_of(signal));
                Failure::new(FailureKind::Signal, message).with_detail(signal.into())
            }
            (None, None) => Failure::new(FailureKind::Signal, "the program ended in an unknown way"),
        },
        None => Failure::new(FailureKind::Signal, "the program was killed and still hangs in the kernel"),
    };
    Err(Broken::with_body(failure, result::printed_nevertheless(stdout)))
}

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
        _ => "",
    }
}

/// Finds a program: `./x` beside the action in its pack's immutable copy, a bare name in the operator's path.
fn resolved(attempt: &Attempt<'_>, program: &str) -> Result<PathBuf, Broken> {
    if let Some(inside) = program.strip_prefix("./") {
        return beside(&attempt.pack_folder().join(ACTIONS), inside);
    }
    if program.is_empty() || program.contains(['/', '\0']) {
        let message = format!("`{program}` is no program; write `./file` for a file of the pack, or a bare name");
        return Err(failed(FailureKind::Spawn, message));
    }
    std::env::split_paths(&attempt.worker.settings.path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
        .ok_or_else(|| {
            let message =
                format!("there is no program `{program}` in the node's PATH; install it, or write `./{program}` for a file of the pack");
            failed(FailureKind::Spawn, message)
        })
}

fn beside(folder: &Path, inside: &str) -> Result<PathBuf, Broken> {
    let inside = Path::new(inside);
    if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
        let message = format!("`./{}` leaves the folder of the action", inside.display());
        return Err(failed(FailureKind::Spawn, message));
    }
    let path = folder.join(inside);
    if is_program(&path) {
        return Ok(path);
    }
    let message = match fs::metadata(&path) {
        Ok(found) if found.is_file() => {
            format!("`./{}` is not executable; run `chmod +x` on it in the pack, and install the pack again", inside.display())
        }
        Ok(_) | Err(_) => format!("there is no file `{}` beside the action in its pack", inside.display()),
    };
    Err(failed(FailureKind::Spawn, message))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
