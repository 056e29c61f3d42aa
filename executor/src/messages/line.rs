//! A line of descriptor 3: one JSON object with one message.
//!
//! This module looks at nothing but the line.

use bytes::Bytes;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::executions::artifacts::{ArtifactName, MediaType};
use ensue_expression::Document;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The maximum length of a line, in bytes.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The maximum length of a progress message, in characters. Even if each of them is escaped, it fits into a
/// record.
const WORDS_CHARS_MAX: usize = 300;

/// The content of a line.
#[derive(Debug)]
pub(super) enum MessageLine {
    /// Progress.
    Progress(ProgramProgress),
    /// Something that the program produces.
    Given(EventOrArtifact),
}

/// The progress of a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProgramProgress {
    /// How much is done, in thousandths.
    pub(super) thousandths: Option<u16>,
    /// What the program is doing.
    pub(super) message: Option<String>,
}

/// Something that a program produces while it runs.
#[derive(Debug)]
pub(super) enum EventOrArtifact {
    /// An event.
    Event {
        /// Its trigger.
        trigger: VersionedTrigger,
        /// Its payload.
        payload: Document,
    },
    /// A file.
    Artifact {
        /// The artifact's name.
        name: ArtifactName,
        /// The file's path.
        path: String,
        /// The media type that the program states.
        media_type: Option<MediaType>,
    },
}

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Progress.
    Progress,
    /// An event.
    Event,
    /// A file.
    Artifact,
    /// A line that cannot be used.
    Unusable,
}

impl EventOrArtifact {
    /// Returns its kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Event { .. } => Kind::Event,
            Self::Artifact { .. } => Kind::Artifact,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLine {
    progress: Option<f64>,
    message: Option<String>,
    emit: Option<WrittenEvent>,
    artifact: Option<WrittenArtifact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvent {
    trigger: VersionedTrigger,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenArtifact {
    name: Option<ArtifactName>,
    path: String,
    media_type: Option<MediaType>,
}

impl MessageLine {
    /// Parses a line, or returns an error message for the program's author.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        const FORMS: &str =
            r#"`{"progress":0.4,"message":"…"}`, `{"emit":{"trigger":"…","payload":{}}}` or `{"artifact":{"name":"…","path":"…"}}`"#;
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("a line on descriptor 3 has {} bytes; the limit is {LINE_BYTES_MAX}", line.len()));
        }
        let written: WrittenLine =
            serde_json::from_slice(line).map_err(|why| format!("a line on descriptor 3 is not one of {FORMS}: {why}"))?;
        match written {
            WrittenLine { progress, message, emit: None, artifact: None } if progress.is_some() || message.is_some() => {
                let thousandths = progress.map(thousandths).transpose()?;
                Ok(Self::Progress(ProgramProgress {
                    thousandths,
                    message: message.map(|words| words.chars().take(WORDS_CHARS_MAX).collect()),
                }))
            }
            WrittenLine { progress: None, message: None, emit: Some(event), artifact: None } => {
                let payload = Bytes::from(String::from(Box::<str>::from(event.payload)));
                let payload =
                    Document::parse(payload).map_err(|why| format!("the payload of `{}` cannot be read: {why}", event.trigger))?;
                Ok(Self::Given(EventOrArtifact::Event { trigger: event.trigger, payload }))
            }
            WrittenLine { progress: None, message: None, emit: None, artifact: Some(artifact) } => {
                let WrittenArtifact { name, path, media_type } = artifact;
                let last = || path.rsplit('/').next().unwrap_or_default().parse::<ArtifactName>().map_err(|why| why.to_string());
                let name = name.map_or_else(last, Ok)?;
                Ok(Self::Given(EventOrArtifact::Artifact { name, path, media_type }))
            }
            WrittenLine { .. } => Err(format!("a line on descriptor 3 must contain exactly one of {FORMS}")),
        }
    }
}

fn thousandths(progress: f64) -> Result<u16, String> {
    if (0.0..=1.0).contains(&progress) {
        Ok((progress * 1_000.0).round() as u16)
    } else {
        Err(format!("`progress` must be a number from 0 to 1, but is {progress}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<MessageLine, String> {
        MessageLine::parse(line.as_bytes())
    }

    #[test]
    fn progress_is_a_fraction_a_text_or_both() {
        let progress = |line| match parse(line) {
            Ok(MessageLine::Progress(ProgramProgress { thousandths, message })) => (thousandths, message),
            other => panic!("{other:?}"),
        };
        assert_eq!(progress(r#"{"progress":0.4,"message":"copying"}"#), (Some(400), Some("copying".to_owned())));
        assert_eq!(progress(r#"{"progress":1}"#), (Some(1_000), None));
        assert_eq!(progress(r#"{"message":"copying"}"#), (None, Some("copying".to_owned())));
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(1_000));
        assert_eq!(progress(&long).1.unwrap().chars().count(), WORDS_CHARS_MAX);
    }

    #[test]
    fn event_keeps_its_payload_as_written() {
        let Ok(MessageLine::Given(EventOrArtifact::Event { trigger, payload })) =
            parse(r#"{"emit":{"trigger":"demo.seen","payload":{"n": 1.0}}}"#)
        else {
            panic!("it is an event");
        };
        assert_eq!((trigger.name.as_str(), payload.bytes().as_ref()), ("demo.seen", br#"{"n": 1.0}"#.as_slice()));
    }

    #[test]
    fn artifact_without_a_name_is_named_after_its_file() {
        for (line, expected) in [
            (r#"{"artifact":{"path":"out/report.csv"}}"#, "report.csv"),
            (r#"{"artifact":{"name":"a.csv","path":"out/report.csv","media_type":"text/csv"}}"#, "a.csv"),
        ] {
            match parse(line) {
                Ok(MessageLine::Given(EventOrArtifact::Artifact { name, path, .. })) => {
                    assert_eq!((name.as_str(), path.as_str()), (expected, "out/report.csv"))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn invalid_message_error_describes_a_valid_one() {
        for line in [
            "",
            "hello",
            "[]",
            "{}",
            r#"{"progress":40}"#,
            r#"{"progress":-0.1}"#,
            r#"{"progress":0.5,"emit":{"trigger":"a.b","payload":{}}}"#,
            r#"{"emit":{"trigger":"nonsense","payload":{}}}"#,
            r#"{"artifact":{"name":"../x","path":"x"}}"#,
            r#"{"artifact":{"path":"out/"}}"#,
            r#"{"progres":0.5}"#,
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse(&format!(r#"{{"message":"{}"}}"#, "x".repeat(LINE_BYTES_MAX))).is_err());
    }

    #[test]
    fn line_of_arbitrary_bytes_is_rejected_without_harm() {
        let whole = r#"{"artifact":{"name":"a","path":"é","media_type":"a/b"}}"#.as_bytes();
        for end in 0..whole.len() - 1 {
            for byte in [0, b'"', b'}', 0x7f, 0xc3, 0xff] {
                let mut line = whole[..end].to_vec();
                line.push(byte);
                assert!(MessageLine::parse(&line).is_err());
            }
        }
    }
}
