//! The question of an inquiry, as defined by the parameters of the builtin `inquiry`.

use std::time::Duration;

use ensue_expression::{Expression, Node, NodeKind, Roots};

use super::facts::Assignee;
use crate::catalog::Misfit;
use crate::text::cut;
use crate::time::{computed_seconds, parse_computed, parse_duration};

/// The maximum length of a title in bytes.
pub const TITLE_BYTES_MAX: usize = 500;
/// The maximum length of a text in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The maximum number of assignees, of excluded people, and of people in a quorum.
pub const ASSIGNEES_MAX: usize = 50;
/// The maximum length of an assignee in bytes.
pub const ASSIGNEE_BYTES_MAX: usize = 100;
/// The maximum length of a `veto` in bytes: it is in one record with all the other fields.
pub const VETO_BYTES_MAX: usize = 512;
/// The maximum number of reminders.
pub const REMINDERS_MAX: u32 = 100;
/// The number of reminders if none is given.
pub const REMINDERS_DEFAULT: u32 = 3;
/// The maximum number of escalations.
pub const ESCALATIONS_MAX: usize = 10;
/// The word that excludes the requester of the work.
pub const REQUESTER: &str = "requester";
/// The name under which a `veto` reads the answer.
pub const ANSWER: &str = "answer";

/// The parameter that defines whether an answer must include the digest of what was shown, and its values.
const DIGEST: &str = "digest";
const DIGEST_REQUIRED: &str = "required";
const DIGEST_OPTIONAL: &str = "optional";

/// A question, parsed once.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The question, in one line.
    pub title: String,
    /// Further explanation.
    pub text: Option<String>,
    /// The JSON Schema of the answer.
    pub answer: Node<'a>,
    /// Who may answer.
    pub assignees: Vec<Assignee>,
    /// How many different people must answer, from 1.
    pub quorum: u32,
    /// If it is true, one answer decides.
    pub veto: Option<Expression>,
    /// Who may not answer, although they are among the assignees.
    pub exclude: Vec<ExcludedPerson>,
    /// Whether an answer must include the digest of what was shown.
    pub digest_required: bool,
    /// How long it is open.
    pub expires: Option<Duration>,
    /// The answer that counts if nobody gives one in time; without it, the inquiry fails then.
    pub on_expire: Option<Node<'a>>,
    /// When the assignees are reminded.
    pub remind: Option<Remind>,
    /// When others are asked as well, in the order in which they are written.
    pub escalate: Vec<Escalation>,
}

/// When the assignees are reminded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remind {
    /// The interval between reminders.
    pub every: Duration,
    /// The maximum number of reminders.
    pub max: u32,
}

/// Others who are asked as well after a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The period, counted from when the inquiry was opened.
    pub after: Duration,
    /// The others.
    pub to: Vec<Assignee>,
}

/// Somebody who may not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExcludedPerson {
    /// The requester of the outermost workflow around the inquiry.
    Requester,
    /// The holder of the token of this name.
    Token(String),
}

impl<'a> Question<'a> {
    /// Parses the parameters of the builtin, which fit its schema; the error states where they do not define a question.
    pub fn parse(params: Node<'a>) -> Result<Self, Misfit> {
        let text = |name: &'static str, most: usize| match param(params, name).map(|node| node.as_str()) {
            None => Ok(None),
            Some(Some(text)) if text.trim().is_empty() => Err(misfit(name, "it is empty".to_owned())),
            Some(Some(text)) if text.len() > most => Err(misfit(name, format!("it is {} bytes long; the limit is {most}", text.len()))),
            Some(Some(text)) => Ok(Some(text.into_owned())),
            Some(None) => Err(misfit(name, "it is not a string".to_owned())),
        };
        let title = text("title", TITLE_BYTES_MAX)?.ok_or_else(|| misfit("title", "it is missing".to_owned()))?;
        if title.contains(char::is_control) {
            return Err(misfit("title", "it must be a single line, but it contains a control character, perhaps a line break".to_owned()));
        }
        let answer = param(params, "answer").filter(|node| node.kind() == NodeKind::Object);
        let answer = answer.ok_or_else(|| misfit("answer", "it is not a JSON Schema in the form of an object".to_owned()))?;
        let quorum = match param(params, "quorum").map(|node| node.as_f64()) {
            None => 1,
            Some(Some(number)) if (1.0..=ASSIGNEES_MAX as f64).contains(&number) && number.fract() == 0.0 => number as u32,
            Some(_) => return Err(misfit("quorum", format!("it is not a whole number from 1 to {ASSIGNEES_MAX}"))),
        };
        let veto = match text("veto", VETO_BYTES_MAX)? {
            None => None,
            Some(source) => Some(Expression::compile(&source, &Roots::new([ANSWER])).map_err(|error| misfit("veto", error.to_string()))?),
        };
        // Absent if it was requested by a release that could not require it.
        let digest_required = match param(params, DIGEST).map(|node| node.as_str()) {
            None => false,
            Some(Some(word)) if word == DIGEST_OPTIONAL => false,
            Some(Some(word)) if word == DIGEST_REQUIRED => true,
            Some(_) => return Err(misfit(DIGEST, format!("it is neither `{DIGEST_REQUIRED}` nor `{DIGEST_OPTIONAL}`"))),
        };
        let expires = param(params, "expires").map(|node| duration(node, "expires")).transpose()?;
        let (assignees, escalate) = (assignees(params)?, escalate(params)?);
        let people = assignees.len() + escalate.iter().map(|escalation| escalation.to.len()).sum::<usize>();
        if people > ASSIGNEES_MAX {
            let message = format!("with the first assignees, it asks {people}; the limit is {ASSIGNEES_MAX}");
            return Err(misfit("escalate", message));
        }
        let on_expire = param(params, "on_expire");
        if on_expire.is_some() && expires.is_none() {
            return Err(misfit("on_expire", "it has no effect without `expires`: the inquiry never expires".to_owned()));
        }
        let on_expire = match on_expire {
            None => None,
            Some(node) => match node.get(ANSWER) {
                Some(answer) => Some(answer),
                None => return Err(misfit("on_expire", "it has no `answer`".to_owned())),
            },
        };
        Ok(Self {
            title,
            text: text("text", TEXT_BYTES_MAX)?,
            answer,
            assignees,
            quorum,
            veto,
            exclude: exclude(params)?,
            digest_required,
            expires,
            on_expire,
            remind: remind(params)?,
            escalate,
        })
    }
}

/// Returns a parameter; null counts as absent.
fn param<'a>(params: Node<'a>, name: &str) -> Option<Node<'a>> {
    params.get(name).filter(|node| !node.is_null())
}

fn duration(node: Node<'_>, pointer: &str) -> Result<Duration, Misfit> {
    let text = node.as_str().unwrap_or_else(|| node.raw().into());
    let written = || parse_duration(&text).filter(|duration| !duration.is_zero()).or_else(|| parse_computed(&text));
    match node.as_f64().map_or_else(written, computed_seconds) {
        Some(duration) => Ok(duration),
        None => Err(misfit(
            pointer,
            format!(
                "`{}` is not a duration greater than zero; write numbers with units, such as `90s`, `1h30m` or `30d`, or a number of seconds, at most 400 days",
                cut(text.into_owned(), ASSIGNEE_BYTES_MAX)
            ),
        )),
    }
}

fn remind(params: Node<'_>) -> Result<Option<Remind>, Misfit> {
    let Some(node) = param(params, "remind") else { return Ok(None) };
    let Some(every) = param(node, "every") else { return Err(misfit("remind", "it has no `every`".to_owned())) };
    let every = duration(every, "remind/every")?;
    let max = match param(node, "max").map(|node| node.as_f64()) {
        None => REMINDERS_DEFAULT,
        Some(Some(number)) if (1.0..=f64::from(REMINDERS_MAX)).contains(&number) && number.fract() == 0.0 => number as u32,
        Some(_) => return Err(misfit("remind/max", format!("it is not a whole number from 1 to {REMINDERS_MAX}"))),
    };
    Ok(Some(Remind { every, max }))
}

fn escalate(params: Node<'_>) -> Result<Vec<Escalation>, Misfit> {
    let Some(node) = param(params, "escalate") else { return Ok(Vec::new()) };
    if node.kind() != NodeKind::Array {
        return Err(misfit("escalate", "it is not a list".to_owned()));
    }
    let escalations: Vec<Node<'_>> = node.items().collect();
    if escalations.len() > ESCALATIONS_MAX {
        return Err(misfit("escalate", format!("it has {} parts; the limit is {ESCALATIONS_MAX}", escalations.len())));
    }
    let escalation = |(place, node): (usize, Node<'_>)| {
        let pointer = format!("escalate/{place}");
        let Some(after) = param(node, "after") else { return Err(misfit(&pointer, "it has no `after`".to_owned())) };
        let after = duration(after, &format!("{pointer}/after"))?;
        Ok(Escalation { after, to: people(param(node, "to"), &format!("{pointer}/to"))? })
    };
    escalations.into_iter().enumerate().map(escalation).collect()
}

fn assignees(params: Node<'_>) -> Result<Vec<Assignee>, Misfit> {
    people(param(params, "assignees"), "assignees")
}

fn people(node: Option<Node<'_>>, pointer: &str) -> Result<Vec<Assignee>, Misfit> {
    let mut people: Vec<Assignee> = Vec::new();
    for name in names(node, pointer)? {
        let Ok(assignee) = name.parse();
        if !people.contains(&assignee) {
            people.push(assignee);
        }
    }
    if people.is_empty() {
        return Err(misfit(pointer, "it names nobody: name roles (`role:<role>`) or tokens".to_owned()));
    }
    Ok(people)
}

fn exclude(params: Node<'_>) -> Result<Vec<ExcludedPerson>, Misfit> {
    let names = names(param(params, "exclude"), "exclude")?;
    if let Some(role) = names.iter().find(|name| name.starts_with("role:")) {
        return Err(misfit("exclude", format!("`{role}` is a role, but only single people can be excluded")));
    }
    Ok(names.into_iter().map(|name| if name == REQUESTER { ExcludedPerson::Requester } else { ExcludedPerson::Token(name) }).collect())
}

fn names(list: Option<Node<'_>>, pointer: &str) -> Result<Vec<String>, Misfit> {
    let Some(node) = list else { return Ok(Vec::new()) };
    // An element that was computed may itself be a list.
    let parts: Vec<Node<'_>> = if node.kind() == NodeKind::Array { node.items().collect() } else { vec![node] };
    let parts = parts.into_iter().flat_map(|part| if part.kind() == NodeKind::Array { part.items().collect() } else { vec![part] });
    let names: Option<Vec<String>> = parts.map(|part| part.as_str().map(|name| name.trim().to_owned())).collect();
    let names = names
        .ok_or_else(|| misfit(pointer, "it must be a name or a list of names, but it contains a value that is not a string".to_owned()))?;
    if names.len() > ASSIGNEES_MAX {
        return Err(misfit(pointer, format!("it has {} names; the limit is {ASSIGNEES_MAX}", names.len())));
    }
    let wrong = |name: &String| name.trim_start_matches("role:").is_empty() || name.len() > ASSIGNEE_BYTES_MAX || name.contains(is_escaped);
    match names.iter().position(wrong) {
        Some(at) => Err(misfit(
            &format!("{pointer}/{at}"),
            format!("it is not a name of 1 to {ASSIGNEE_BYTES_MAX} bytes without control characters, `\"` and `\\`"),
        )),
        None => Ok(names),
    }
}

/// Returns true if JSON escapes a character to several: then the size limit of a record would not tell how much fits.
fn is_escaped(character: char) -> bool {
    character.is_control() || matches!(character, '"' | '\\')
}

fn misfit(name: &str, message: String) -> Misfit {
    Misfit { pointer: format!("/{name}"), message }
}
