//! `ensue settings`: the settings of a running node, and where each was written.

use clap::Args;
use serde_json::Value;

use super::Asking;
use crate::report::CommandResult;
use crate::table::{Column, text};

/// List the settings of the node, and where each was written. Secrets are masked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue settings
  ensue settings --changed      those that are not the default
  ensue settings -o json")]
pub(crate) struct Settings {
    /// List only the settings that were written somewhere.
    #[arg(long)]
    changed: bool,
}

const COLUMNS: &[Column] =
    &[Column::whole("SETTING", |setting| text(setting, "name")), Column::cut("VALUE", value), Column::whole("FROM", place)];

impl Settings {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let mut answer = asking.client()?.get("/settings", &[]).await?;
        if let Some(settings) = answer["items"].as_array_mut().filter(|_| self.changed) {
            settings.retain(|setting| setting["source"] != "default");
        }
        asking.output.print_list(&answer, COLUMNS);
        Ok(())
    }
}

/// Returns the value as a text, or as JSON.
fn value(setting: &Value) -> String {
    match &setting["value"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn place(setting: &Value) -> String {
    match setting["place"].as_str() {
        Some(place) => place.to_owned(),
        None => "default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::{TableWidth, rows};

    #[test]
    fn each_setting_is_a_line_with_its_value_and_place() {
        let settings = [
            json!({ "name": "listen", "value": "127.0.0.1:3678", "source": "default", "place": null }),
            json!({ "name": "hosts", "value": ["a", "b"], "source": "file", "place": "/etc/ensue.yaml:3" }),
            json!({ "name": "trusted_proxies", "value": null, "source": "default", "place": null }),
        ];
        insta::assert_snapshot!(rows(&settings, COLUMNS, TableWidth::Columns(80)), @r#"
        SETTING          VALUE           FROM
        listen           127.0.0.1:3678  default
        hosts            ["a","b"]       /etc/ensue.yaml:3
        trusted_proxies                  default
        "#);
    }
}
