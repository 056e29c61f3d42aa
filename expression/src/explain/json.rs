//! Explanations as JSON, for the API and the command line.

use serde_json::{Value, json};

use super::{Element, Explanation, Flip, Outcome, Part, Route, Shape};

pub(super) fn explanation(explanation: &Explanation) -> Value {
    json!({
        "explanation": tree(&explanation.root),
        "decisive": explanation.decisive().into_iter().map(line).collect::<Vec<_>>(),
        "flips": explanation.flips().iter().map(flip).collect::<Vec<_>>(),
    })
}

fn flip(flip: &Flip<'_>) -> Value {
    let turns: Vec<Value> = flip.turns.iter().map(|turn| json!({ "part": line(turn.part), "to": turn.to })).collect();
    json!({ "to": flip.to, "turns": turns, "already": flip.already.iter().map(|part| line(part)).collect::<Vec<_>>() })
}

/// Returns a part without the parts below it.
fn line(part: &Part) -> Value {
    let (outcome, value) = match &part.outcome {
        Outcome::Truth(true) => ("true", Value::Null),
        Outcome::Truth(false) => ("false", Value::Null),
        Outcome::Value(value) => ("value", Value::from(value.as_str())),
        Outcome::Erred(error) => ("error", Value::from(error.message.as_str())),
        Outcome::Unknown => ("unknown", Value::Null),
    };
    let mut line = json!({
        "source": part.source,
        "span": { "start": part.span.start, "end": part.span.end },
        "outcome": outcome,
        "value": value,
        "note": part.note,
    });
    if let Outcome::Erred(error) = &part.outcome {
        line["error"] = json!({
            "kind": error.kind.to_string(),
            "message": error.message,
            "span": { "start": error.span.start, "end": error.span.end },
            "hint": error.hint,
        });
    }
    line
}

fn tree(part: &Part) -> Value {
    let mut node = line(part);
    node["shape"] = Value::from(match part.shape {
        Shape::Whole => "whole",
        Shape::All => "all",
        Shape::Any => "any",
        Shape::Not => "not",
        Shape::Choice => "choice",
    });
    node["reached"] = Value::from(part.route == Route::Taken);
    let readings = part.readings.iter().map(|reading| json!({ "path": reading.path, "value": reading.value }));
    node["readings"] = readings.collect();
    node["parts"] = part.parts.iter().map(tree).collect();
    if let Some(elements) = &part.elements {
        node["elements"] = json!({ "count": elements.count, "decided": elements.decided.iter().map(element).collect::<Vec<_>>() });
    }
    node
}

fn element(element: &Element) -> Value {
    json!({ "at": element.at, "value": element.value, "part": tree(&element.part) })
}
