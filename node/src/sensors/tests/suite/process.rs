//! A real program behind a real keeper. Its messages are in a file, and what it hears from the node is in another.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ensue_connectors::{Connectors, SensorErrorKind};
use ensue_executor::programs::{Isolation, IsolationMode, NodeSecrets, ProgramLimits, SupervisorCommand, around_path};
use ensue_executor::pulling::{SensorPrograms, SensorProgramsSettings};
use tempfile::TempDir;

use super::super::site::{Outside, Setting};
use super::{Becomes, Odd, Order, PeerUnderTest, Promises, Settling, TestMessage};
use crate::catalogs::NodeCatalogs;
use crate::commit_listeners::Copies;

/// What the tests start as a supervisor, and as the program of a sensor (`tests/program/main.rs`).
const PROGRAM: &str = "ensue-test-program";
/// After how many messages the program can break off.
const CUTS: usize = 4;

/// The folder of the built programs: that of this one, or the usual one if cargo keeps what it builds from elsewhere.
fn programs_folder() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let here = tests.ancestors().nth(2).unwrap().to_owned();
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug");
    if here.join(PROGRAM).exists() { here } else { usual.canonicalize().unwrap_or(usual) }
}

/// Returns the programs of sensors as a node opens them.
pub(super) fn programs(data: &Path, folders: &[PathBuf], catalogs: &Arc<NodeCatalogs>) -> SensorPrograms {
    let built = programs_folder();
    assert!(built.join(PROGRAM).exists(), "run `cargo test -p ensue-node` without `--lib`, which builds the programs");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let path: OsString = std::env::join_paths(std::iter::once(built.clone()).chain(std::env::split_paths(&paths))).unwrap();
    let settings = SensorProgramsSettings {
        keepers: data.join("keepers"),
        private: data.join("private"),
        command: SupervisorCommand { program: built.join(PROGRAM), arguments: Vec::new(), environment: Vec::new() },
        isolation: Isolation {
            mode: IsolationMode::Auto,
            readable: around_path(&path),
            writable: folders.to_vec(),
            ..Isolation::default()
        },
        limits: ProgramLimits::default(),
        path,
        packs: Arc::new(Copies(catalogs.clone())),
        masked: NodeSecrets::default(),
    };
    SensorPrograms::open(settings).unwrap()
}

struct Tape {
    folder: TempDir,
    /// The numbers of the messages, in order.
    numbers: Mutex<Vec<u64>>,
}

impl Tape {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), numbers: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl PeerUnderTest for Tape {
    fn setting(&self) -> Setting {
        let source = |more: &str| format!("process: {{ command: [{PROGRAM}, tape, '{}'{more}], grace: 1s }}", self.folder.path().display());
        Setting {
            source: source(""),
            other_source: source(", other"),
            name: "line",
            connect: Arc::new(Connectors),
            outside: Outside::Machine(vec![self.folder.path().to_owned()]),
        }
    }

    fn promises(&self) -> Promises {
        Promises { order: Order::Kept, settling: Settling::Always, away: SensorErrorKind::Exited }
    }

    fn put(&self, messages: &[TestMessage]) {
        let mut tape = Vec::new();
        for said in messages {
            let bytes = said.bytes();
            // What need not be JSON is a line as it is, without a cursor.
            tape.push(u8::from(matches!(said, TestMessage::Odd(..))));
            tape.extend((bytes.len() as u64).to_le_bytes());
            tape.extend(bytes);
        }
        OpenOptions::new().create(true).append(true).open(self.path("tape")).unwrap().write_all(&tape).unwrap();
        self.numbers.lock().unwrap().extend(messages.iter().map(|said| said.number()));
    }

    fn go_away(&self) {
        std::fs::write(self.path("away"), "").unwrap();
    }

    fn come_back(&self) {
        std::fs::remove_file(self.path("away")).unwrap();
    }

    fn cut(&self, place: usize) {
        std::fs::write(self.path("cut.new"), place.to_string()).unwrap();
        std::fs::rename(self.path("cut.new"), self.path("cut")).unwrap();
    }

    fn cuts(&self) -> usize {
        CUTS
    }

    fn was_cut(&self) -> bool {
        !self.path("cut").exists()
    }

    fn settled_numbers(&self) -> BTreeSet<u64> {
        let heard = std::fs::read_to_string(self.path("settled")).unwrap_or_default();
        // The last line may not be complete yet.
        let complete = heard.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let count = complete.lines().map(|line| line.parse::<usize>().unwrap()).max().unwrap_or(0);
        self.numbers.lock().unwrap()[..count].iter().copied().collect()
    }

    fn becomes(&self, odd: Odd) -> Becomes {
        // Empty lines are ignored.
        if odd == Odd::Empty { Becomes::Nothing } else { Becomes::usual(odd) }
    }
}

super::suite! {
    Tape::new(),
    does_not_apply [
        settled_message_that_comes_again_makes_no_event: "a program that prints a message again prints another message",
        lag_is_shown: "a program does not say how much it has not printed yet",
    ]
}
