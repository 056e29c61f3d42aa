//! A case of the specification, and how the cases are read from the package.
//!
//! Their interpretation is in other files.

use std::fmt;
use std::path::Path;
use std::process::Command;

use ensue_expression::Roots;
use serde_json::Value as Json;

/// The cases, or why they are missing.
pub(super) enum Source {
    Cases(Vec<Case>),
    Missing(String),
}

/// One expression with its expected result.
pub(super) struct Case {
    pub(super) file: String,
    section: String,
    name: String,
    pub(super) source: String,
    pub(super) container: String,
    /// Values by name, in protobuf's JSON.
    pub(super) bindings: Vec<(String, Json)>,
    pub(super) expected: Expectation,
    /// Names without a declaration in the specification's own checker, if the case switches the checker off.
    pub(super) undeclared: Vec<String>,
    /// Names that are declared with a type.
    declared: Vec<String>,
    /// The case as in the package, without the descriptions for people.
    pub(super) text: String,
}

pub(super) enum Expectation {
    /// A value in protobuf's JSON.
    Value(Json),
    /// One of these errors.
    Errors(Vec<String>),
    /// Neither: only the type is tested.
    Nothing,
}

/// Reads the cases from the package, if it is installed.
pub(super) fn read() -> Source {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../target/npm");
    if !folder.join("node_modules/@bufbuild/cel-spec").is_dir() {
        return Source::Missing("the npm package @bufbuild/cel-spec".to_owned());
    }
    let output = match Command::new("node").arg(root.join("tests/main/conformance/cases.mjs")).arg(folder).output() {
        Ok(output) => output,
        Err(error) => return Source::Missing(format!("node ({error})")),
    };
    assert!(output.status.success(), "cases.mjs: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("the script writes UTF-8");
    Source::Cases(lines.lines().map(|line| Case::new(&serde_json::from_str(line).expect("each line is JSON"))).collect())
}

impl Case {
    fn new(line: &Json) -> Self {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let mut case = line["case"].clone();
        let expected = Expectation::of(&case);
        let name = text(&case["name"]);
        let fields = case.as_object_mut().expect("a case is an object");
        for field in ["name", "description", "evalError"] {
            fields.remove(field);
        }
        let bindings = case["bindings"].as_object().into_iter().flatten();
        let is_checked = case["disableCheck"] != true;
        let undeclared = text(&line["checker"]);
        let undeclared = undeclared.split("undeclared reference to '").skip(1).filter_map(|rest| rest.split('\'').next());
        Self {
            file: text(&line["file"]),
            section: text(&line["section"]),
            name,
            source: text(&case["expr"]),
            container: text(&case["container"]),
            bindings: bindings.map(|(name, bound)| (name.clone(), bound["value"].clone())).collect(),
            expected,
            undeclared: undeclared.filter(|_| !is_checked).map(str::to_owned).collect(),
            declared: case["typeEnv"].as_array().into_iter().flatten().map(|declared| text(&declared["name"])).collect(),
            text: case.to_string(),
        }
    }

    /// The names in the case. If it switches the checker off, an undeclared name has no value: in the
    /// specification it fails during evaluation, and so it does here.
    pub(super) fn roots(&self) -> Roots {
        let bound = self.bindings.iter().map(|(name, _)| name);
        Roots::new(self.declared.iter().chain(bound).chain(&self.undeclared)).within(&self.container)
    }
}

impl Expectation {
    fn of(case: &Json) -> Self {
        if let Some(errors) = case["evalError"]["errors"].as_array() {
            return Self::Errors(errors.iter().map(|error| error["message"].as_str().unwrap_or_default().to_owned()).collect());
        }
        match (case.get("value"), case.get("typedResult")) {
            (Some(value), _) => Self::Value(value.clone()),
            (None, Some(typed)) => typed.get("result").map_or(Self::Nothing, |value| Self::Value(value.clone())),
            (None, None) => Self::Value(serde_json::json!({"boolValue": true})),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{} `{}`", self.file, self.section, self.name, self.source)
    }
}
