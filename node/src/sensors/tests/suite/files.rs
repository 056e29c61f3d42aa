//! Files in a real folder: one for each message, with and without deleting them afterwards, and one with a line for each.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue_connectors::{Connectors, SensorErrorKind};
use tempfile::TempDir;

use super::super::site::{Outside, Setting};
use super::{Becomes, Odd, Order, PeerUnderTest, Promises, Settling, TestMessage};

/// Within how many places of a line its writer can pause.
const CUTS: usize = 20;
/// How long it pauses there.
const PAUSE: Duration = Duration::from_millis(200);

/// How messages are in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Each is a file.
    Whole,
    /// Each is a file, which is deleted once its event is in the log.
    Deleted,
    /// Each is a line of one file.
    Lines,
}

struct Files {
    form: Form,
    folder: TempDir,
    /// The numbers of the messages.
    put: Mutex<Vec<u64>>,
    /// At which place the writer pauses within the next line.
    cut: Arc<Mutex<Option<usize>>>,
}

impl Files {
    fn new(form: Form) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        Self { form, folder, put: Mutex::default(), cut: Arc::default() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn file_of(&self, number: u64) -> PathBuf {
        self.path(&format!("in/{number:06}.json"))
    }
}

impl PeerUnderTest for Files {
    fn setting(&self) -> Setting {
        let source = |pattern: &str| {
            let path = self.path(&format!("in/{pattern}"));
            let more = match self.form {
                Form::Whole => "read: json",
                Form::Deleted => "read: json, after: delete",
                Form::Lines => "tail: true",
            };
            let decode = if self.form == Form::Lines { "\ndecode: json" } else { "" };
            format!("file: {{ path: '{}', settle: 1ms, rescan: 1s, start: all, {more} }}{decode}", path.display())
        };
        let (pattern, other) = if self.form == Form::Lines { ("app.log", "app.*") } else { ("*.json", "*.jso*") };
        Setting {
            source: source(pattern),
            other_source: source(other),
            name: if self.form == Form::Lines { "line" } else { "file.body" },
            connect: Arc::new(Connectors),
            outside: Outside::Machine(vec![self.folder.path().to_owned()]),
        }
    }

    fn promises(&self) -> Promises {
        Promises {
            order: if self.form == Form::Lines { Order::Kept } else { Order::Any },
            settling: if self.form == Form::Deleted { Settling::Once } else { Settling::Never },
            away: SensorErrorKind::NotFound,
        }
    }

    fn put(&self, messages: &[TestMessage]) {
        self.put.lock().unwrap().extend(messages.iter().map(|said| said.number()));
        if self.form == Form::Lines {
            let mut lines = messages.iter().map(|said| [said.bytes(), b"\n".to_vec()].concat()).collect::<Vec<_>>().concat();
            let mut log = OpenOptions::new().create(true).append(true).open(self.path("in/app.log")).unwrap();
            let place = *self.cut.lock().unwrap();
            if let Some(place) = place {
                let rest = lines.split_off(lines.len() * place / CUTS);
                log.write_all(&lines).unwrap();
                let cut = self.cut.clone();
                // Meanwhile the sensor finds half a line.
                std::thread::spawn(move || {
                    std::thread::sleep(PAUSE);
                    log.write_all(&rest).unwrap();
                    *cut.lock().unwrap() = None;
                });
                return;
            }
            return log.write_all(&lines).unwrap();
        }
        for said in messages {
            // A file gets its name once it is complete.
            let incomplete = self.path("in/incomplete");
            fs::write(&incomplete, said.bytes()).unwrap();
            fs::rename(incomplete, self.file_of(said.number())).unwrap();
        }
    }

    fn go_away(&self) {
        fs::rename(self.path("in"), self.path("away")).unwrap();
    }

    fn come_back(&self) {
        fs::rename(self.path("away"), self.path("in")).unwrap();
    }

    fn cut(&self, place: usize) {
        *self.cut.lock().unwrap() = Some(place);
    }

    fn cuts(&self) -> usize {
        CUTS
    }

    fn was_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }

    fn settled_numbers(&self) -> BTreeSet<u64> {
        if self.form != Form::Deleted {
            return BTreeSet::new();
        }
        self.put.lock().unwrap().iter().copied().filter(|number| !self.file_of(*number).exists()).collect()
    }

    fn becomes(&self, odd: Odd) -> Becomes {
        Becomes::usual(odd)
    }
}

mod whole {
    use super::{Files, Form};

    super::super::suite! {
        Files::new(Form::Whole),
        does_not_apply [
            connection_that_breaks_off_at_any_place_loses_and_repeats_nothing: "a file is read once it rests, which connectors/tests shows",
            settled_message_that_comes_again_makes_no_event: "a file that is written again is a change, and another message",
        ]
    }
}

mod deleted {
    use super::{Files, Form};

    super::super::suite! {
        Files::new(Form::Deleted),
        does_not_apply [
            connection_that_breaks_off_at_any_place_loses_and_repeats_nothing: "a file is read once it rests, which connectors/tests shows",
            rewound_sensor_reads_again_from_there: "what was read is deleted",
            other_source_is_read_from_its_start: "what was read is deleted",
            settled_message_that_comes_again_makes_no_event: "a file that is written again is another file",
        ]
    }
}

mod lines {
    use super::{Files, Form};

    super::super::suite! {
        Files::new(Form::Lines),
        does_not_apply [
            settled_message_that_comes_again_makes_no_event: "a line that is appended again is another line",
        ]
    }
}
