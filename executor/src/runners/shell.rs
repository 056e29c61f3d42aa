//! The runner `shell`: runs a script with `sh -eu`. Values reach it as environment variables, never as text
//! of the script.
//!
//! The script is a private file, not an argument, because other users of the machine can read arguments.

use ensue_engine::catalog::ShellScript;
use ensue_engine::executions::facts::FailureKind;

use crate::attempt::{AttemptContext, Ending, attempt_failure};
use crate::environment::NamedBy;
use crate::programs::{Argument, PrivateFile};
use crate::render::{entries, scalar};
use crate::runners::Runner;
use crate::runners::process::Launch;

/// The name of the script's file. A variable cannot have such a name.
const SCRIPT: &str = "script.sh";

impl Runner for ShellScript {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        let launch = {
            let opened = attempt.open([&self.script, &self.env]).await?;
            let mut renderer = attempt.renderer(&opened)?;
            let script = renderer.scalar("script", &self.script)?.unwrap_or_default();
            if script.contains('\0') {
                return Err(attempt_failure(FailureKind::ParametersInvalid, "the script contains a NUL, which no shell can read"));
            }
            let mut env = Vec::new();
            for (name, value) in entries("env", renderer.value("env", &self.env)?)? {
                let value = scalar(&format!("env.{name}"), value)?;
                env.extend(value.map(|value| (name, value)));
            }
            // If the mapping itself is one expression, the expression also computes the variables' names.
            let is_computed = self.env.parts().iter().any(|part| part.pointer.is_empty());
            let named_by = if is_computed { NamedBy::Expression } else { NamedBy::Author };
            Launch {
                program: "sh".to_owned(),
                arguments: vec![Argument::Text("-eu".to_owned()), Argument::File(SCRIPT.to_owned())],
                env,
                named_by,
                files: vec![PrivateFile { name: SCRIPT.to_owned(), bytes: script.into_bytes() }],
                input: attempt.params.bytes().to_vec(),
            }
        };
        launch.run(attempt).await
    }
}
