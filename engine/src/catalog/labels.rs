//! The labels that an action gives its executions.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Node, Scope, Value};
use serde_json::Value as Json;

use crate::catalog::{Action, Misfit};
use crate::executions::labels::{LabelValue, LabelValueError, Labels};
use crate::names::LabelName;
use crate::text::describe;

impl Action {
    /// Returns the labels that the action's author declares, for an execution with these parameters. Fails if
    /// a label cannot be evaluated or is not a valid label value.
    pub fn labels_of(&self, params: Node<'_>) -> Result<Labels, Misfit> {
        let mut labels = Labels::new();
        if self.labels.is_empty() {
            return Ok(labels);
        }
        let scope = Scope::new().with("params", Value::from(params)).with("config", Value::from_json(&self.config));
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        for (name, template) in &self.labels {
            let value = template.render(&scope, &mut budget).map_err(|error| misfit(name, &format!("errs: {}", describe(&error))))?;
            let value = label_value(&value).map_err(|why| misfit(name, &why))?;
            labels.insert(name.clone(), value);
        }
        Ok(labels)
    }
}

fn misfit(name: &LabelName, why: &str) -> Misfit {
    Misfit { pointer: String::new(), message: format!("the label `{name}` {why}") }
}

/// Returns a value as a label value: a text as it is; a number, true or false as joined templates render it.
/// Otherwise returns the reason why it is invalid, as the rest of a sentence.
pub fn label_value(value: &Json) -> Result<LabelValue, String> {
    let value = Value::from_json(value);
    let text = value.scalar_text().ok_or_else(|| format!("is {}, but it must be a string, a number, true or false", value.brief()))?;
    text.parse().map_err(|why: LabelValueError| why.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_values_are_scalars_written_as_text() {
        for (value, text) in
            [(json!("eu"), "eu"), (json!(3), "3"), (json!(2.0), "2"), (json!(2.5), "2.5"), (json!(1e300), "1e+300"), (json!(true), "true")]
        {
            assert_eq!(label_value(&value).unwrap().as_str(), text);
        }
        for none in [json!(null), json!([1]), json!({ "a": 1 }), json!(""), json!("a\nb")] {
            assert!(label_value(&none).is_err(), "{none}");
        }
    }
}
