//! The files of `dist`. `npm run build` writes this list.

use crate::File;

/// All files, by name.
pub const FILES: &[File] = &[
    File { name: "answer.js", bytes: include_bytes!("../dist/answer.js") },
    File { name: "app.css", bytes: include_bytes!("../dist/app.css") },
    File { name: "app.js", bytes: include_bytes!("../dist/app.js") },
    File { name: "execution.js", bytes: include_bytes!("../dist/execution.js") },
    File { name: "executions.js", bytes: include_bytes!("../dist/executions.js") },
    File { name: "icon.svg", bytes: include_bytes!("../dist/icon.svg") },
    File { name: "inbox.js", bytes: include_bytes!("../dist/inbox.js") },
    File { name: "index.html", bytes: include_bytes!("../dist/index.html") },
    File { name: "inquiry.js", bytes: include_bytes!("../dist/inquiry.js") },
    File { name: "login.js", bytes: include_bytes!("../dist/login.js") },
    File { name: "me.js", bytes: include_bytes!("../dist/me.js") },
    File { name: "parts.js", bytes: include_bytes!("../dist/parts.js") },
    File { name: "rolldown-runtime.js", bytes: include_bytes!("../dist/rolldown-runtime.js") },
    File { name: "start.js", bytes: include_bytes!("../dist/start.js") },
    File { name: "stream.js", bytes: include_bytes!("../dist/stream.js") },
    File { name: "svelte.js", bytes: include_bytes!("../dist/svelte.js") },
    File { name: "worker.js", bytes: include_bytes!("../dist/worker.js") },
];
