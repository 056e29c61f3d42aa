//! The login of a machine without a browser: a person approves it elsewhere, with a code (RFC 8628).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::commands::{Asking, wait_for};
use crate::report::{CommandResult, Exit, Failure, eprint_line, is_interactive};
use crate::table::text;

/// By how much the interval grows if the node says that it is asked too often.
const SLOWER_BY: Duration = Duration::from_secs(5);

/// Logs in, and returns the tokens.
pub(super) async fn log_in(client: &Client) -> Result<Value, Failure> {
    let begun = client.post("/auth/device", &json!({})).await?.body;
    let malformed = || Failure::new("the node does not answer as expected").hint("check that it has the same release as this program");
    let seconds = |name: &str| begun[name].as_u64().map(Duration::from_secs).ok_or_else(malformed);
    let (mut interval, lasts, began) = (seconds("interval")?, seconds("expires_in")?, Instant::now());
    let code = text(&begun, "user_code");
    eprint_line(format!(
        "Open {} in any browser, and type this code:\n\n    {code}\n\nOr approve it where you are logged in already: `ensue login approve {code}`",
        text(&begun, "verification_uri")
    ));
    let question = json!({ "device_code": begun["device_code"] });
    while began.elapsed() < lasts {
        tokio::time::sleep(interval).await;
        match client.post("/auth/device/token", &question).await {
            Ok(answer) => return Ok(answer.body),
            Err(failure) => match failure.code() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval += SLOWER_BY,
                _ => return Err(failure),
            },
        }
    }
    Err(Failure::with(Exit::NotAllowed, "nobody approved the login in time").hint("run `ensue login --device` again"))
}

/// Lets the machine of a code act for the caller.
pub(super) fn approve(asking: &Asking, code: &str, is_sure: bool) -> CommandResult {
    wait_for(async {
        let client = asking.client()?;
        let waiting = client.post("/auth/device/look_up", &json!({ "user_code": code })).await?.body;
        let me = client.get("/me", &[]).await?;
        eprint_line(format!(
            "{} at {} asked at {} to act as {}.",
            text(&waiting, "agent"),
            text(&waiting, "address"),
            text(&waiting, "asked_at"),
            text(&me, "name")
        ));
        if !is_sure {
            confirm()?;
        }
        client.post("/auth/device/decide", &json!({ "user_code": code, "decision": "approve" })).await?;
        eprint_line("approved");
        Ok(())
    })
}

/// Denies the login of the machine of a code.
pub(super) fn deny(asking: &Asking, code: &str) -> CommandResult {
    wait_for(async {
        asking.client()?.post("/auth/device/decide", &json!({ "user_code": code, "decision": "deny" })).await?;
        eprint_line("denied");
        Ok(())
    })
}

/// Asks whether the person started the login.
fn confirm() -> CommandResult {
    if !is_interactive() {
        let failure = Failure::with(Exit::Usage, "the approval must be confirmed, and standard input is not a terminal");
        return Err(failure.hint("add `--yes` if you started this login yourself"));
    }
    eprint_line("Did you start this login yourself? Type `yes` to approve it:");
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).map_err(|error| Failure::new(format!("the answer cannot be read: {error}")))?;
    if typed.trim() == "yes" { Ok(()) } else { Err(Failure::with(Exit::NotAllowed, "not approved")) }
}
