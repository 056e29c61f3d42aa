//! A sensor that runs a program: each line that it prints is a message.

use std::collections::BTreeSet;
use std::time::Duration;

use ensue_expression::Template;

use super::Reading;
use crate::record::Digest;

/// A program whose lines are messages.
#[derive(Clone, Debug)]
pub struct ProcessSource {
    /// The program and its arguments: `./x` is a file next to the sensor's, a bare name is looked up in the
    /// operator's path.
    pub command: Vec<String>,
    /// The indexes of the arguments that name a file of the pack next to the sensor's.
    pub beside: BTreeSet<usize>,
    /// What it gets as its input; `None` means an empty object.
    pub input: Option<Template>,
    /// Its environment, by name, in addition to the variables that every process gets.
    pub env: Vec<(String, Template)>,
    /// How long it may keep running after it was asked to stop.
    pub grace: Duration,
    /// Whether it is started again after it ended successfully.
    pub restart: Restart,
    /// How its lines are read.
    pub reading: Reading,
    /// The digest of its pack, which identifies the pack's files.
    pub pack: Digest,
}

/// Whether a program is started again after it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Always,
    /// Only after it failed. If it ends with code 0, the sensor is done.
    OnFailure,
}
