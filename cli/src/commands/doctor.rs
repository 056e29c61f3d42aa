//! `ensue doctor`: problems and risks of the machine, the data directory and the packs.

use clap::Args;
use serde_json::Value;

use super::at_rest::AtRest;
use super::{Asking, wait_for};
use crate::report::{CommandResult, Failure};
use crate::style::Style;
use crate::table::text;
use crate::tree::wrap;

/// Check the installation for problems and suggest fixes. Exits with code 1 if something does not
/// work.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue doctor                          asks the running node
  ensue doctor --data ./ensue-data      without one")]
pub(crate) struct Doctor {
    #[command(flatten)]
    at_rest: AtRest,
}

impl Doctor {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let findings = match self.at_rest.open()? {
            Some(data) => data.doctor(),
            None => {
                let mut findings = Value::Null;
                wait_for(async {
                    findings = asking.client()?.get("/doctor", &[]).await?;
                    Ok(())
                })?;
                findings
            }
        };
        asking.output.print_one(&findings, |findings| render(items(findings), asking.output.style()));
        match items(&findings).iter().filter(|finding| finding["verdict"] == "bad").count() {
            0 => Ok(()),
            1 => Err(Failure::new("one thing does not work")),
            bad => Err(Failure::new(format!("{bad} things do not work"))),
        }
    }
}

fn items(findings: &Value) -> &[Value] {
    findings["findings"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn render(findings: &[Value], style: Style) -> String {
    const WIDTH: usize = 80;
    let width = findings.iter().map(|finding| text(finding, "check").chars().count()).max().unwrap_or_default();
    let mut shown = String::new();
    for finding in findings {
        let mark = match text(finding, "verdict").as_str() {
            "good" => style.good("ok  "),
            "warning" => style.strong("note"),
            _ => style.bad("bad "),
        };
        let mut lines = wrap(&text(finding, "message"), WIDTH - width - 8);
        let hint = text(finding, "hint");
        if !hint.is_empty() {
            lines.extend(wrap(&format!("→ {hint}"), WIDTH - width - 8));
        }
        for (index, line) in lines.iter().enumerate() {
            let line = match index {
                0 => format!("{mark}  {:width$}  {line}", text(finding, "check")),
                _ => format!("{:width$}{line}", "", width = width + 8),
            };
            shown.push_str(line.trim_end());
            shown.push('\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::style::visible;

    fn findings() -> [Value; 3] {
        [
            json!({ "check": "disk", "verdict": "good", "message": "41.2 GiB free", "hint": null }),
            json!({
                "check": "packs",
                "verdict": "warning",
                "message": "the sensor `demo.open` takes deliveries from anybody, because its `verify` has the scheme none",
                "hint": "give it a key: verify: { scheme: hmac, key: demo.secret, header: x-signature, algorithm: sha256, encoding: hex }",
            }),
            json!({ "check": "master key", "verdict": "bad", "message": "others can read it", "hint": "chmod 600 master.key" }),
        ]
    }

    #[test]
    fn color_marks_problems() {
        insta::assert_snapshot!(visible(&render(&findings(), Style::COLOURED)));
    }

    #[test]
    fn findings_fit_into_80_columns() {
        insta::assert_snapshot!(render(&findings(), Style::PLAIN), @r"
        ok    disk        41.2 GiB free
        note  packs       the sensor `demo.open` takes deliveries from anybody, because
                          its `verify` has the scheme none
                          → give it a key: verify: { scheme: hmac, key: demo.secret,
                          header: x-signature, algorithm: sha256, encoding: hex }
        bad   master key  others can read it
                          → chmod 600 master.key
        ");
    }
}
