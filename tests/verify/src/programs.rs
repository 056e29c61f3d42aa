//! The programs that the tests are built as: how they are built, and how one is run.

use std::ffi::OsString;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Message;

use crate::{cargo, root};

/// What builds all tests and programs. Examples are not among them, and documentation has no code that could be tested.
const BUILD: [&str; 7] = ["test", "--workspace", "--locked", "--no-run", "--lib", "--bins", "--tests"];

/// Set for the steps of the gate, which run after its build, so that they do not ask cargo again.
pub(crate) const BUILT: (&str, &str) = ("ENSUE_VERIFY_BUILT", "1");

/// A program of tests.
#[derive(Clone)]
pub(crate) struct TestProgram {
    /// The package, such as `ensue-api`.
    pub(crate) package: String,
    pub(crate) version: String,
    /// The name of its target, such as `api`.
    pub(crate) target: String,
    /// The option of cargo that selects its target, such as `--test api` or `--lib`.
    pub(crate) selection: String,
    folder: PathBuf,
    program: PathBuf,
}

/// Builds all tests and programs. Returns the programs of tests.
///
/// # Errors
/// If something does not compile; the compiler has said what.
pub(crate) fn build() -> Result<Vec<TestProgram>> {
    let mut command = cargo(&BUILD);
    let mut running =
        command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped()).spawn().context("cargo does not start")?;
    let output = running.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message.context("what cargo says about the build")?
            && artifact.profile.test
            && let Some(program) = artifact.executable.clone()
        {
            programs.push(program_of(&artifact, program.into_std_path_buf())?);
        }
    }
    ensure!(running.wait().context("cargo")?.success(), "the tests do not compile");
    programs.sort_by_key(TestProgram::name);
    Ok(programs)
}

fn program_of(artifact: &cargo_metadata::Artifact, program: PathBuf) -> Result<TestProgram> {
    let folder = artifact.manifest_path.parent().context("a manifest lies in a folder")?;
    let manifest = std::fs::read_to_string(&artifact.manifest_path)?;
    let name = manifest.lines().find_map(|line| Some(line.strip_prefix("name = ")?.trim_matches('"').to_owned()));
    let kind = artifact.target.kind.first().map(ToString::to_string).unwrap_or_default();
    let selection = match kind.as_str() {
        "bin" => format!("--bin {}", artifact.target.name),
        "test" => format!("--test {}", artifact.target.name),
        _ => "--lib".to_owned(),
    };
    let version = artifact.package_id.repr.rsplit(['@', '#']).next().unwrap_or_default().to_owned();
    Ok(TestProgram {
        package: name.with_context(|| format!("{} names no package", artifact.manifest_path))?,
        version,
        target: artifact.target.name.clone(),
        selection,
        folder: folder.as_std_path().to_owned(),
        program,
    })
}

impl TestProgram {
    /// Returns its name, such as `ensue-api --test api`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.package, self.selection)
    }

    /// Returns the folder of its package.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the command that runs it as cargo would: in the folder of its package, with the variables that cargo sets.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        command.env("CARGO_MANIFEST_DIR", &self.folder).env("CARGO_PKG_NAME", &self.package).env("CARGO_PKG_VERSION", &self.version);
        // The tests of macros load the libraries of the compiler.
        let before = std::env::var_os("LD_LIBRARY_PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
        if let Ok(path) = std::env::join_paths(std::iter::once(library_folder().into()).chain(before)) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }
}

/// Returns the folder of the libraries of the compiler.
fn library_folder() -> &'static OsString {
    static FOLDER: OnceLock<OsString> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().map(|output| output.stdout).unwrap_or_default();
        Path::new(String::from_utf8_lossy(&sysroot).trim()).join("lib").into_os_string()
    })
}

/// Returns the built program of this name, such as `sim`, after a build that makes it if it is not there.
///
/// # Errors
/// If something does not compile.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    if std::env::var_os(BUILT.0).is_none() {
        let status = cargo(&BUILD).arg("--quiet").stdout(Stdio::null()).status().context("cargo does not start")?;
        ensure!(status.success(), "the tests do not compile");
    }
    Ok(root().join("target/debug").join(name))
}
