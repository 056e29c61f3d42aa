//! The JSON Schema of `ensue.yaml`, for editors.
//!
//! `serde` reads the file, with the types in `config.rs`; a test checks that the two agree.

use ensue_engine::catalog::DELIVERY_BYTES_MAX;
use ensue_packs::json_schema;
use ensue_packs::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, required_field};
use serde_json::{Value, json};

use super::connections::{FAILURES_MAX, MAX_MAX};
use super::queues::STARTS_MAX;
use crate::memory_limits::MEMORY_BYTES_MIN;

/// Returns the JSON Schema of `ensue.yaml`.
pub fn settings_schema() -> Value {
    let mut schema = json_schema::of_one("The settings of an Ensue node", &SETTINGS);
    // A file that contains only comments is valid.
    schema["type"] = json!(["object", "null"]);
    schema
}

static ACCESS: Shape = Shape {
    what: "`access`",
    fields: &[
        optional_field(
            "labels",
            Kind::Texts { of: Form::Name, least: 0 },
            "The names of up to four labels by which rights can be limited to executions. Default: none.",
        ),
        optional_field(
            "packs",
            Kind::Choice(&["all", "listed"]),
            "What a pack of the folder without `permissions` may do with other packs: everything, or nothing. Default: `all`.",
        ),
        optional_field(
            "roles",
            Kind::Mapping { names: Form::Any, of: &Kind::Texts { of: Form::Any, least: 0 } },
            "Roles with all their permissions, by name. They are set when the node starts, and removed when they leave the file.",
        ),
        optional_field(
            "grants",
            Kind::Listing(&GRANT),
            "Roles of identities, groups or everyone. Grants are added when the node starts, and removed when they leave the file.",
        ),
        optional_field("tiers", Kind::Listing(&TIER_OF), "The tiers of groups. The first group in the list that a caller is in counts."),
    ],
    later: &[],
    between: &[],
};

static GRANT: Shape = Shape {
    what: "a grant",
    fields: &[
        required_field("subject", "subject: group:release", Kind::Text(Form::Any), "`identity:<name>`, `group:<name>` or `everyone`."),
        required_field("role", "role: viewer", Kind::Text(Form::Any), "The role."),
        optional_field("on", Kind::Text(Form::Any), "What the role covers, as in `pack=release,action=release.*`. Default: everything."),
        optional_field("until", Kind::Text(Form::Any), "When the grant ends, as in `2027-01-01T00:00:00Z`. Default: never."),
    ],
    later: &[],
    between: &[],
};

static TIER_OF: Shape = Shape {
    what: "the tier of a group",
    fields: &[
        required_field("group", "group: trial", Kind::Text(Form::Any), "The group."),
        required_field("tier", "tier: free", Kind::Text(Form::Name), "A name under `tiers`."),
    ],
    later: &[],
    between: &[],
};

static TIER: Shape = Shape {
    what: "a tier",
    fields: &[
        optional_field("events_per_day", AMOUNT, "How many events an identity may send in a day of UTC. Default: no limit."),
        optional_field("executions_per_hour", AMOUNT, "How many executions an identity may request in an hour of UTC. Default: no limit."),
        optional_field("concurrent", AMOUNT, "How many executions that it requested may be open at once. Default: no limit."),
    ],
    later: &[],
    between: &[],
};

const AMOUNT: Kind = Kind::Integer { from: 0, to: i64::MAX };

static SETTINGS: Shape = Shape {
    what: "the node's settings",
    fields: &[
        optional_field("listen", Kind::Text(Form::Address), "The address and port to listen on. Default: `127.0.0.1:3678`."),
        optional_field("url", Kind::Text(Form::Any), "The address under which the node is known, for links: `https://ensue.example.test`."),
        optional_field(
            "hosts",
            Kind::Texts { of: Form::Any, least: 0 },
            "Names under which the node answers, in addition to the host of `url`, `localhost` and IP addresses.",
        ),
        optional_field("tls", Kind::Fields(&TLS), "The files for TLS. Default: none, and the node serves plain HTTP."),
        optional_field(
            "trusted_proxies",
            Kind::Texts { of: Form::Any, least: 0 },
            "The addresses and networks of the proxies in front of the node, whose reports about their clients are believed.",
        ),
        optional_field(
            "proxy_header",
            Kind::Choice(&["x_forwarded_for", "forwarded"]),
            "The header in which they report their clients. Default: `x_forwarded_for`.",
        ),
        optional_field("cors", Kind::Fields(&CORS), "The other sites whose pages may use the API in a browser. Default: none."),
        optional_field("login", Kind::Fields(&LOGIN), "The ways in besides tokens."),
        optional_field("inquiries", Kind::Fields(&INQUIRIES), "How people answer inquiries."),
        optional_field("page", Kind::Boolean, "Whether the node serves the page to browsers, under `/ui/`. Default: true."),
        optional_field("limits", Kind::Fields(&LIMITS), "Limits for a single IP address."),
        optional_field("webhooks", Kind::Fields(&WEBHOOKS), "Limits of webhooks."),
        optional_field("data", Kind::Text(Form::Any), "The data directory, on a local disk. Default: `./ensue-data`."),
        optional_field(
            "database",
            Kind::TextOrFields(Form::Any, &DATABASE),
            "The address of a PostgreSQL database that has the log: `postgres://USER@HOST/DATABASE`, alone or as `url` with the place of \
             its password. Default: the data directory has it.",
        ),
        optional_field(
            "objects",
            Kind::Text(Form::Any),
            "The address of an object store for outputs and artifacts, used with `database`: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, \
             `az://CONTAINER/PREFIX` or `file:///FOLDER`. Default: \
             the database has them.",
        ),
        optional_field("packs_dir", Kind::Text(Form::Any), "The folder of packs. Default: `./packs`."),
        optional_field(
            "workers",
            Kind::Integer { from: 1, to: u32::MAX as i64 },
            "How many attempts of the queue `default` run at once. Default: four per core.",
        ),
        optional_field(
            "queues",
            Kind::Mapping { names: Form::Name, of: &Kind::Fields(&QUEUE) },
            "The queues in which executions wait for a worker, by name. Actions name one as their `queue`.",
        ),
        optional_field(
            "lease",
            Kind::Text(Form::SomeTime),
            "How long a worker's right to an attempt lasts without being renewed, at least one second. Default: 30s.",
        ),
        optional_field(
            "min_free",
            Kind::Integer { from: 0, to: i64::MAX },
            "How many bytes of the disk must be free for the node to accept input. Default: 268435456 (256 MiB).",
        ),
        optional_field(
            "memory",
            Kind::Integer { from: MEMORY_BYTES_MIN as i64, to: i64::MAX },
            "How many bytes of memory the node may use. Default: 536870912 (512 MiB).",
        ),
        optional_field("outputs", Kind::Fields(&OUTPUTS), "How much of the output of attempts is kept, and how long."),
        optional_field("artifacts", Kind::Fields(&ARTIFACTS), "How many files that attempts create as artifacts are kept, and how long."),
        optional_field(
            "retention",
            Kind::Fields(&RETENTION),
            "How long executions stay in the views after they have ended. The log keeps them forever.",
        ),
        optional_field("audit", Kind::Fields(&AUDIT), "What the log says about rejected logins."),
        optional_field(
            "connections",
            Kind::Mapping { names: Form::Name, of: &Kind::Fields(&CONNECTION) },
            "The endpoints with credentials that packs may use, by name. A pack lists the ones it uses in its `pack.yaml`.",
        ),
        optional_field("egress", Kind::Fields(&EGRESS), "Where actions may connect with the runner `http`."),
        optional_field("actions", Kind::Fields(&ACTIONS), "How programs of actions are run."),
        optional_field(
            "rate_limits",
            Kind::Fields(&RATE_LIMITS),
            "How many requests a caller may send in a period. Default: no limit for callers with a token.",
        ),
        optional_field("access", Kind::Fields(&ACCESS), "What callers and packs may do, and how much callers may use."),
        optional_field(
            "tiers",
            Kind::Mapping { names: Form::Name, of: &Kind::Fields(&TIER) },
            "How much an identity may use, by the name of a tier. `access.tiers` assigns tiers to groups.",
        ),
        optional_field("traces", Kind::Fields(&TRACES), "Where traces are sent. Default: nowhere."),
        optional_field(
            "key_providers",
            Kind::Mapping { names: Form::Name, of: &Kind::Fields(&KEY_PROVIDER) },
            "Stores that hold the values of keys, by a name of your choice.",
        ),
        optional_field(
            "packs",
            Kind::Mapping { names: Form::Name, of: &Kind::Fields(&PACK_SETTINGS) },
            "The settings of packs, by the pack's name.",
        ),
    ],
    later: &[],
    between: &[],
};

static DATABASE: Shape = Shape {
    what: "`database`",
    fields: &[
        required_field(
            "url",
            "url: postgres://ensue@db.example.test/ensue",
            Kind::Text(Form::Any),
            "The address: `postgres://USER@HOST/DATABASE`.",
        ),
        optional_field("password", Kind::Fields(&DATABASE_PASSWORD), "The place of the password, if the address does not have it."),
    ],
    later: &[],
    between: &[],
};

static DATABASE_PASSWORD: Shape = Shape {
    what: "the place of a password",
    fields: &[required_field(
        "file",
        "file: /etc/ensue/database.password",
        Kind::Text(Form::Any),
        "A file, whose last newline is ignored.",
    )],
    later: &[],
    between: &[],
};

static QUEUE: Shape = Shape {
    what: "a queue",
    fields: &[
        optional_field(
            "workers",
            Kind::Integer { from: 1, to: u32::MAX as i64 },
            "How many attempts of the queue run at once. Default for the queue `default`: the setting `workers`; for `http`: 64.",
        ),
        optional_field("rate", Kind::Fields(&RATE), "How many attempts of the queue may start in a period. Default: no limit."),
    ],
    later: &[],
    between: &[],
};

static RATE: Shape = Shape {
    what: "`rate`",
    fields: &[
        required_field(
            "limit",
            "limit: 50",
            Kind::Integer { from: 1, to: STARTS_MAX as i64 },
            "How many may start at once; after that, they start one at a time.",
        ),
        required_field("per", "per: 1s", Kind::Text(Form::SomeTime), "The length of the period, at most a day: `1s`."),
    ],
    later: &[],
    between: &[],
};

static TLS: Shape = Shape {
    what: "`tls`",
    fields: &[
        required_field(
            "cert",
            "cert: /etc/ensue/tls/cert.pem",
            Kind::Text(Form::Any),
            "The file of the certificate and its intermediate certificates, in the PEM format.",
        ),
        required_field(
            "key",
            "key: /etc/ensue/tls/key.pem",
            Kind::Text(Form::Any),
            "The file of the certificate's private key, in the PEM format and without a password.",
        ),
        optional_field(
            "client_ca",
            Kind::Text(Form::Any),
            "The file of authorities, in the PEM format. Every caller must have a certificate of one of them. Default: callers need none.",
        ),
    ],
    later: &[],
    between: &[],
};

static CORS: Shape = Shape {
    what: "`cors`",
    fields: &[optional_field(
        "origins",
        Kind::Texts { of: Form::Any, least: 0 },
        "The origins of those pages: `https://app.example.test`, without a path.",
    )],
    later: &[],
    between: &[],
};

static LOGIN: Shape = Shape {
    what: "`login`",
    fields: &[
        optional_field(
            "issuers",
            Kind::Mapping { names: Form::Any, of: &Kind::Fields(&ISSUER) },
            "The issuers whose tokens the node accepts, by a name that you choose.",
        ),
        optional_field("proxy", Kind::Fields(&PROXY), "A trusted proxy that names the callers of the requests which it passes on."),
        optional_field("certificates", Kind::Fields(&CERTIFICATES), "The client certificates that name callers."),
        optional_field("device", Kind::Boolean, "Whether terminals may log in by device codes. Default: true."),
        optional_field("password", Kind::Boolean, "Whether persons log in with passwords. Default: `false`."),
    ],
    later: &[],
    between: &[],
};

static INQUIRIES: Shape = Shape {
    what: "`inquiries`",
    fields: &[optional_field(
        "links",
        Kind::Boolean,
        "Whether a link can let one person answer one inquiry without a login. Default: `true`.",
    )],
    later: &[],
    between: &[],
};

static ISSUER: Shape = Shape {
    what: "an issuer",
    fields: &[
        required_field(
            "issuer",
            "issuer: https://id.example.test/realms/corp",
            Kind::Text(Form::Any),
            "The URL of the issuer, exactly as its tokens have it in `iss`.",
        ),
        required_field(
            "use",
            "use: [bearer]",
            Kind::Texts { of: Form::Any, least: 1 },
            "How it lets callers in: requests carry its tokens (`bearer`), people log in through it (`browser`).",
        ),
        required_field(
            "name",
            "name: claims.preferred_username",
            Kind::Text(Form::Any),
            "An expression over `claims` that returns the name of the identity.",
        ),
        optional_field("audience", Kind::TextOrTexts(Form::Any), "The values of `aud` that are for this node. Required with `bearer`."),
        optional_field("allow", Kind::Text(Form::Any), "An expression over `claims` that admits a token. Required with `bearer`."),
        optional_field("client_id", Kind::Text(Form::Any), "The name of the node at the issuer. Required with `browser`."),
        optional_field("client_secret", Kind::Fields(&SECRET), "The secret of the node at the issuer. A public client has none."),
        optional_field("scopes", Kind::Texts { of: Form::Any, least: 1 }, "The scopes that a login asks for. Default: `[openid]`."),
        optional_field("session_max", Kind::Text(Form::SomeTime), "How long a session of a login may last. Default: 30 days."),
        optional_field("refresh", Kind::Boolean, "Whether the issuer is asked each hour if a login is still in force. Default: false."),
        optional_field(
            "groups",
            Kind::Text(Form::Any),
            "An expression over `claims` that returns the groups, or null if the token names none.",
        ),
        optional_field("local_groups", Kind::Boolean, "Whether its groups have no prefix, and so are groups of this node. Default: false."),
        optional_field("kind", Kind::Choice(&["person", "service"]), "What its identities are. Default: `person`."),
        optional_field("max_lifetime", Kind::Text(Form::SomeTime), "How long a token may be valid. Default: 24h."),
        optional_field(
            "ca",
            Kind::Text(Form::Any),
            "A file of authorities, in the PEM format, that are trusted for the issuer instead of those of the machine.",
        ),
        optional_field("keys_from", Kind::Fields(&KEYS_FROM), "Where its keys may be, besides its own host."),
    ],
    later: &[],
    between: &[],
};

static CERTIFICATES: Shape = Shape {
    what: "`certificates`",
    fields: &[
        required_field(
            "ca",
            "ca: clients.pem",
            Kind::Text(Form::Any),
            "A file of the authorities that sign the certificates, in the PEM format.",
        ),
        required_field("allow", "allow: 'true'", Kind::Text(Form::Any), "An expression over `cert` that admits a certificate."),
        required_field(
            "name",
            "name: cert.san[0]",
            Kind::Text(Form::Any),
            "An expression over `cert` that returns the name of the identity.",
        ),
    ],
    later: &[],
    between: &[],
};

static PROXY: Shape = Shape {
    what: "`proxy`",
    fields: &[
        required_field("from", "from: 10.0.0.7/32", Kind::TextOrTexts(Form::Any), "The networks of the proxies."),
        required_field("user", "user: X-Forwarded-User", Kind::Text(Form::Any), "The header with the name of the caller."),
        required_field(
            "secret",
            "secret: { key: ensue.proxy_secret }",
            Kind::Fields(&SECRET),
            "The secret that the proxy sends in `X-Ensue-Proxy-Secret`, at least 32 bytes.",
        ),
        optional_field("groups", Kind::Text(Form::Any), "The header with the groups of the caller, separated by commas."),
    ],
    later: &[],
    between: &[],
};

static SECRET: Shape = Shape {
    what: "the place of a secret",
    fields: &[
        optional_field("key", Kind::Text(Form::Any), "A key: `<pack>.<name>`."),
        optional_field("file", Kind::Text(Form::Any), "A file."),
    ],
    later: &[],
    between: &[],
};

static KEYS_FROM: Shape = Shape {
    what: "`keys_from`",
    fields: &[
        optional_field("hosts", Kind::TextOrTexts(Form::Any), "Further hosts."),
        optional_field("file", Kind::Text(Form::Any), "A file with a JSON Web Key Set; nothing is fetched."),
    ],
    later: &[],
    between: &[],
};

static LIMITS: Shape = Shape {
    what: "`limits`",
    fields: &[
        optional_field(
            "connections_per_address",
            Kind::Integer { from: 1, to: u32::MAX as i64 },
            "How many open connections one address may have. Default: 50.",
        ),
        optional_field(
            "silent_per_address",
            Kind::Integer { from: 1, to: u32::MAX as i64 },
            "How many open connections one address may have that have not sent a request yet. Default: 64.",
        ),
    ],
    later: &[],
    between: &[],
};

static WEBHOOKS: Shape = Shape {
    what: "`webhooks`",
    fields: &[optional_field(
        "body_max",
        Kind::Integer { from: 1, to: DELIVERY_BYTES_MAX as i64 },
        "The longest body of a delivery in bytes, before and after it is decompressed. `memory` must be 16 times as large. Default: \
         4194304 (4 MiB).",
    )],
    later: &[],
    between: &[],
};

static OUTPUTS: Shape = Shape {
    what: "`outputs`",
    fields: &[
        optional_field("attempt_max", BYTES, "The maximum number of bytes of an attempt. Default: 10485760 (10 MiB)."),
        optional_field(
            "quota",
            BYTES,
            "The maximum number of bytes of all attempts; the oldest are removed first. Default: 2147483648 (2 GiB).",
        ),
        optional_field("keep_days", DAYS, "How many days the output of an attempt is kept after its end. Default: 30."),
    ],
    later: &[],
    between: &[],
};

static ARTIFACTS: Shape = Shape {
    what: "`artifacts`",
    fields: &[
        optional_field("file_max", BYTES, "The maximum number of bytes of a file. Default: 104857600 (100 MiB)."),
        optional_field(
            "quota",
            BYTES,
            "The maximum number of bytes of all files; the oldest are removed first. Default: 5368709120 (5 GiB).",
        ),
        optional_field("keep_days", DAYS, "How many days a file is kept. Default: 30."),
    ],
    later: &[],
    between: &[],
};

static AUDIT: Shape = Shape {
    what: "`audit`",
    fields: &[optional_field(
        "address",
        Kind::Choice(&["full", "truncated", "none"]),
        "How much of the sender's address is recorded: all of it, its network (24 bits, or 48 of IPv6), or nothing. Default: truncated.",
    )],
    later: &[],
    between: &[],
};

static RETENTION: Shape = Shape {
    what: "`retention`",
    fields: &[optional_field(
        "executions",
        Kind::Text(Form::Any),
        "How long executions stay in the views after the outermost one has ended: `90d`. Default: forever.",
    )],
    later: &[],
    between: &[],
};

const BYTES: Kind = Kind::Integer { from: 0, to: i64::MAX };
const DAYS: Kind = Kind::Integer { from: 0, to: u32::MAX as i64 };

static CONNECTION: Shape = Shape {
    what: "a connection",
    fields: &[
        optional_field("http", Kind::Fields(&HTTP_ENDPOINT), "A server that speaks HTTP. Give either this or `smtp`."),
        optional_field("smtp", Kind::Fields(&SMTP_ENDPOINT), "A server that takes mail. Give either this or `http`."),
        optional_field(
            "packs",
            Kind::Texts { of: Form::Name, least: 0 },
            "The only packs that may use it. Default: every pack that lists it.",
        ),
        optional_field("max", Kind::Integer { from: 1, to: MAX_MAX as i64 }, "How many uses there may be at once. Default: 16."),
        optional_field("breaker", Kind::Fields(&BREAKER), "When uses fail at once because the server is down."),
    ],
    later: &[],
    between: &[],
};

static BREAKER: Shape = Shape {
    what: "`breaker`",
    fields: &[
        optional_field("failures", Kind::Integer { from: 1, to: FAILURES_MAX as i64 }, "How many failures in a row open it. Default: 5."),
        optional_field("open_for", Kind::Text(Form::SomeTime), "How long it stays open, at most an hour. Default: 30s."),
    ],
    later: &[],
    between: &[],
};

static HTTP_ENDPOINT: Shape = Shape {
    what: "a connection of the kind `http`",
    fields: &[
        required_field(
            "url",
            "url: https://orders.example.test/api",
            Kind::Text(Form::Any),
            "The address below which all requests go. It has no user name, password, query or fragment.",
        ),
        optional_field("auth", Kind::Fields(&AUTH), "How requests prove who sends them. Default: they do not."),
        optional_field(
            "headers",
            Kind::Mapping { names: Form::Any, of: &Kind::Text(Form::Any) },
            "Headers of each request that does not set them itself. They are no place for secrets.",
        ),
        optional_field("ca", Kind::Text(Form::Any), "A file with the authorities to trust instead of those of the machine, in PEM."),
        optional_field("timeout", Kind::Text(Form::SomeTime), "The time limit of an exchange, at most an hour. Default: 60s."),
        optional_field("connect_timeout", Kind::Text(Form::SomeTime), "How long to wait for a socket, at most an hour. Default: 10s."),
        optional_field(
            "test_path",
            Kind::Text(Form::Any),
            "The path below `url` that `ensue connections test` requests with `GET`; it must not answer with an error. Default: `url` \
             itself, which may answer 404.",
        ),
    ],
    later: &[],
    between: &[],
};

static AUTH: Shape = Shape {
    what: "`auth`",
    fields: &[
        optional_field("bearer", Kind::Fields(&KEY_OF), "`Authorization: Bearer` with the value of a key."),
        optional_field("basic", Kind::Fields(&BASIC), "`Authorization: Basic` with a user and a password."),
        optional_field("header", Kind::Fields(&AUTH_HEADER), "A header with the value of a key."),
        optional_field("json_field", Kind::Fields(&JSON_FIELD), "A field of the JSON object that is the body of each request."),
        optional_field("oauth2", Kind::Fields(&OAUTH2), "`Authorization: Bearer` with a token of OAuth 2.0 (client credentials)."),
    ],
    later: &[],
    between: &[FieldConstraint::ExactlyOne],
};

static KEY_OF: Shape = Shape {
    what: "a key of a connection",
    fields: &[required_field("key", "key: shop.token", Kind::Text(Form::Ref), "The key. Set it with `ensue keys set`.")],
    later: &[],
    between: &[],
};

static BASIC: Shape = Shape {
    what: "`basic`",
    fields: &[
        required_field("user", "user: app", Kind::Text(Form::Any), "The user."),
        required_field("password", "password: { key: shop.password }", Kind::Fields(&KEY_OF), "The key with the password."),
    ],
    later: &[],
    between: &[],
};

static AUTH_HEADER: Shape = Shape {
    what: "`header`",
    fields: &[
        required_field("name", "name: X-Api-Key", Kind::Text(Form::Header), "The name of the header."),
        optional_field("prefix", Kind::Text(Form::Any), "The text before the value, for example `Token `. Default: none."),
        required_field("value", "value: { key: shop.api_key }", Kind::Fields(&KEY_OF), "The key with the value."),
    ],
    later: &[],
    between: &[],
};

static JSON_FIELD: Shape = Shape {
    what: "`json_field`",
    fields: &[
        required_field("name", "name: routing_key", Kind::Text(Form::Any), "The name of the field."),
        required_field("value", "value: { key: ops.pagerduty }", Kind::Fields(&KEY_OF), "The key with the value."),
    ],
    later: &[],
    between: &[],
};

static OAUTH2: Shape = Shape {
    what: "`oauth2`",
    fields: &[
        required_field("token_url", "token_url: https://id.example.test/token", Kind::Text(Form::Any), "The address that issues tokens."),
        required_field("client_id", "client_id: ensue", Kind::Text(Form::Any), "The name of the client."),
        required_field("client_secret", "client_secret: { key: shop.client }", Kind::Fields(&KEY_OF), "The key with its secret."),
        optional_field("scopes", Kind::Texts { of: Form::Any, least: 0 }, "The scopes to ask for."),
        optional_field("audience", Kind::Text(Form::Any), "The audience to ask for, if the server needs one."),
    ],
    later: &[],
    between: &[],
};

static SMTP_ENDPOINT: Shape = Shape {
    what: "a connection of the kind `smtp`",
    fields: &[
        required_field("host", "host: mail.example.test", Kind::Text(Form::Any), "The host."),
        optional_field(
            "port",
            Kind::Integer { from: 0, to: 65_535 },
            "The port. Default: 587 for `starttls`, 465 for `implicit`, 25 for `none`.",
        ),
        optional_field(
            "tls",
            Kind::Choice(&["starttls", "implicit", "none"]),
            "When TLS begins: after `STARTTLS` (the default), with the first byte, or never. A password is never sent without TLS.",
        ),
        optional_field("user", Kind::Text(Form::Any), "The user."),
        optional_field("password", Kind::Fields(&KEY_OF), "The key with the password."),
        optional_field("ca", Kind::Text(Form::Any), "A file with the authorities to trust instead of those of the machine, in PEM."),
        optional_field("timeout", Kind::Text(Form::SomeTime), "The time limit of an exchange, at most an hour. Default: 60s."),
    ],
    later: &[],
    between: &[],
};

static EGRESS: Shape = Shape {
    what: "`egress`",
    fields: &[optional_field(
        "allow",
        Kind::Texts { of: Form::Any, least: 0 },
        "Where the runner `http` may connect in addition to public addresses at the ports 80 and 443: addresses, networks or hosts, each \
         with or without a port.",
    )],
    later: &[],
    between: &[],
};

static ACTIONS: Shape = Shape {
    what: "`actions`",
    fields: &[
        optional_field(
            "isolation",
            Kind::Choice(&["auto", "none", "required"]),
            "Whether programs are isolated: as far as the machine supports it (`auto`, the default), not at all (`none`), or fully, or else they do not run (`required`).",
        ),
        optional_field(
            "readable",
            Kind::Texts { of: Form::Any, least: 0 },
            "Folders and files that programs may read, in addition to the system, their pack and their private directory.",
        ),
        optional_field(
            "writable",
            Kind::Texts { of: Form::Any, least: 0 },
            "Folders and files that programs may write, in addition to their private directory.",
        ),
        optional_field(
            "user",
            Kind::Text(Form::Any),
            "The user that programs run as if the node runs as root: `root`, a name, a number, or a range of numbers. Default: a range \
             of their own.",
        ),
        optional_field(
            "at_stop",
            Kind::Choice(&["go_on", "end"]),
            "What happens to running programs when the node stops: they continue, and the next start adopts them (`go_on`, the default), \
             or they end (`end`).",
        ),
        optional_field("memory", LIMIT, "How many bytes of address space each process of a program may have. Default: no limit."),
        optional_field("file_size", LIMIT, "How many bytes a file written by a program may have. Default: no limit."),
        optional_field(
            "open_files",
            LIMIT,
            "How many files each process of a program may have open. Default: the limit that the node was started with.",
        ),
        optional_field("cpu_seconds", LIMIT, "How much CPU time each process of a program may use. Default: no limit."),
        optional_field(
            "processes",
            LIMIT,
            "How many processes and threads a program may have, if the machine can limit them. Default: 1,000.",
        ),
    ],
    later: &[],
    between: &[],
};

static RATE_LIMITS: Shape = Shape {
    what: "`rate_limits`",
    fields: &[
        optional_field("reads", Kind::Text(Form::Any), "Read-only requests of one token: `600/1m`."),
        optional_field("writes", Kind::Text(Form::Any), "Requests of one token that may change something: `120/1m`."),
        optional_field("hooks", Kind::Text(Form::Any), "Deliveries at one webhook: `50/1s`."),
        optional_field("anonymous", Kind::Text(Form::Any), "Requests of one address without a valid token, or `off`. Default: `600/1m`."),
    ],
    later: &[],
    between: &[],
};

static TRACES: Shape = Shape {
    what: "`traces`",
    fields: &[required_field(
        "endpoint",
        "endpoint: http://127.0.0.1:4318",
        Kind::Text(Form::Any),
        "The address of an OpenTelemetry collector that accepts OTLP over HTTP: `http://127.0.0.1:4318`.",
    )],
    later: &[],
    between: &[],
};

const LIMIT: Kind = Kind::Integer { from: 1, to: i64::MAX };

static PACK_SETTINGS: Shape = Shape {
    what: "the settings of a pack",
    fields: &[
        optional_field(
            "config",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The pack's settings, as its `pack.yaml` declares them under `config`.",
        ),
        optional_field(
            "keys",
            Kind::Mapping { names: Form::Any, of: &Kind::Fields(&KEY_SOURCE) },
            "The sources of the pack's keys, by name. Set other keys with `ensue keys set`.",
        ),
    ],
    later: &[],
    between: &[],
};

static KEY_SOURCE: Shape = Shape {
    what: "the source of a key",
    fields: &[
        optional_field(
            "file",
            Kind::Text(Form::Any),
            "A file. At each start, the key is set to the file's content if they differ. One line break at the end is ignored.",
        ),
        optional_field("from", Kind::Fields(&PROVIDED_AT), "A store from which the value is read when it is used."),
    ],
    later: &[],
    between: &[FieldConstraint::ExactlyOne],
};

static PROVIDED_AT: Shape = Shape {
    what: "the place of a key's value in a store",
    fields: &[
        required_field("provider", "provider: team_vault", Kind::Text(Form::Any), "The name of the store in `key_providers`."),
        required_field(
            "path",
            "path: team/release",
            Kind::Text(Form::Any),
            "The path: of a secret, of a file in the folder, or the name of a variable.",
        ),
        optional_field("field", Kind::Text(Form::Any), "The field at that path. It may be left out if there is one value."),
    ],
    later: &[],
    between: &[],
};

static KEY_PROVIDER: Shape = Shape {
    what: "a store of keys",
    fields: &[
        optional_field("file", Kind::Fields(&KEY_FILES), "Files in a folder."),
        optional_field("env", Kind::Fields(&KEY_VARIABLES), "Variables of the environment of the node: `env: {}`."),
        optional_field("hashicorp", Kind::Fields(&HASHICORP), "The secret engine `kv`, version 2, of HashiCorp Vault or OpenBao."),
        optional_field("aws", Kind::Fields(&AWS), "AWS Secrets Manager."),
    ],
    later: &[],
    between: &[FieldConstraint::ExactlyOne],
};

static KEY_VARIABLES: Shape = Shape { what: "the variables of the environment", fields: &[], later: &[], between: &[] };

const TTL: ShapeField =
    optional_field("ttl", Kind::Text(Form::Duration), "How long a value is used before it is read again, at most 5m. Default: 60s.");
const STALE_FOR: ShapeField = optional_field(
    "stale_for",
    Kind::Text(Form::Duration),
    "How long a value is used while its store cannot be reached, at most 24h. Default: 1h.",
);

static KEY_FILES: Shape = Shape {
    what: "a folder with files of keys",
    fields: &[
        required_field("folder", "folder: /run/secrets", Kind::Text(Form::Any), "The folder. No program of an action can read it."),
        TTL,
        STALE_FOR,
    ],
    later: &[],
    between: &[],
};

static HASHICORP: Shape = Shape {
    what: "a server with the API of HashiCorp Vault",
    fields: &[
        required_field("url", "url: https://vault.example.test:8200", Kind::Text(Form::Any), "The address of the server."),
        optional_field("mount", Kind::Text(Form::Any), "Where the secret engine is mounted. Default: `secret`."),
        optional_field("namespace", Kind::Text(Form::Any), "The namespace. Default: none."),
        required_field("login", "login: { token_file: /run/secrets/vault_token }", Kind::Fields(&HASHICORP_LOGIN), "How the node logs in."),
        TTL,
        STALE_FOR,
    ],
    later: &[],
    between: &[],
};

static AWS: Shape = Shape {
    what: "AWS Secrets Manager",
    fields: &[
        required_field("region", "region: eu-central-1", Kind::Text(Form::Any), "The region."),
        optional_field("url", Kind::Text(Form::Any), "The address of the service. Default: that of the region."),
        optional_field("credentials", Kind::Fields(&AWS_CREDENTIALS), "Where the credentials come from. Default: `environment: {}`."),
        TTL,
        STALE_FOR,
    ],
    later: &[],
    between: &[],
};

static AWS_CREDENTIALS: Shape = Shape {
    what: "`credentials`",
    fields: &[
        optional_field(
            "environment",
            Kind::Fields(&NO_FIELDS),
            "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` in the node's environment: `environment: {}`.",
        ),
        optional_field("file", Kind::Fields(&AWS_PROFILE), "A profile in a shared credentials file."),
        optional_field("container", Kind::Fields(&NO_FIELDS), "The role of the container or pod in which the node runs: `container: {}`."),
        optional_field("instance", Kind::Fields(&NO_FIELDS), "The role of the machine on which the node runs: `instance: {}`."),
    ],
    later: &[],
    between: &[FieldConstraint::ExactlyOne],
};

static NO_FIELDS: Shape = Shape { what: "the source of the credentials", fields: &[], later: &[], between: &[] };

static AWS_PROFILE: Shape = Shape {
    what: "a profile in a shared credentials file",
    fields: &[
        required_field("path", "path: /run/secrets/aws", Kind::Text(Form::Any), "The file. No program of an action can read it."),
        optional_field("profile", Kind::Text(Form::Any), "The profile. Default: `default`."),
    ],
    later: &[],
    between: &[],
};

static HASHICORP_LOGIN: Shape = Shape {
    what: "`login`",
    fields: &[
        optional_field("token_file", Kind::Text(Form::Any), "A file with a token."),
        optional_field("approle", Kind::Fields(&APPROLE), "An AppRole."),
        optional_field("kubernetes", Kind::Fields(&KUBERNETES), "The token of the pod in which the node runs."),
    ],
    later: &[],
    between: &[FieldConstraint::ExactlyOne],
};

static APPROLE: Shape = Shape {
    what: "`approle`",
    fields: &[
        required_field("role_id", "role_id: 8c1f0a3e", Kind::Text(Form::Any), "The id of the role."),
        required_field("secret_id_file", "secret_id_file: /run/secrets/secret_id", Kind::Text(Form::Any), "A file with the secret id."),
        optional_field(
            "secret_id",
            Kind::Choice(&["plain", "wrapped"]),
            "Whether the file has the secret id, or a token that unwraps it once. Default: `plain`.",
        ),
        optional_field("mount", Kind::Text(Form::Any), "Where the method is mounted. Default: `approle`."),
    ],
    later: &[],
    between: &[],
};

static KUBERNETES: Shape = Shape {
    what: "`kubernetes`",
    fields: &[
        required_field("role", "role: ensue", Kind::Text(Form::Any), "The name of the role."),
        optional_field("jwt_file", Kind::Text(Form::Any), "The file with the token. Default: where Kubernetes puts the token of a pod."),
        optional_field("mount", Kind::Text(Form::Any), "Where the method is mounted. Default: `kubernetes`."),
    ],
    later: &[],
    between: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Config, WrittenConfig};

    const ALL_SETTINGS: &str = "\
listen: 127.0.0.1:3678
url: https://ensue.example.test
hosts: [ensue]
tls: { cert: cert.pem, key: key.pem, client_ca: ca.pem }
trusted_proxies: [10.0.0.0/8]
proxy_header: forwarded
cors: { origins: ['https://app.example.test'] }
login:
  device: true
  issuers:
    corp:
      issuer: https://id.example.test
      use: [bearer, browser]
      client_id: ensue
      client_secret: { key: ensue.corp_secret }
      scopes: [openid, email]
      session_max: 12h
      refresh: true
      name: claims.sub
      audience: [https://ensue.example.test]
      allow: 'true'
      groups: 'null'
      local_groups: false
      kind: person
      max_lifetime: 1h
      ca: corp.pem
      keys_from: { hosts: [keys.example.test] }
  proxy: { from: 10.0.0.7/32, user: X-Forwarded-User, groups: X-Forwarded-Groups, secret: { key: ensue.proxy_secret } }
  certificates: { ca: clients.pem, allow: 'true', name: 'cert.san[0]' }
  password: true
inquiries: { links: false }
page: false
limits: { connections_per_address: 50, silent_per_address: 64 }
webhooks: { body_max: 26214400 }
data: ./data
database: { url: 'postgres://ensue@db.example.test/ensue', password: { file: db.password } }
objects: s3://bucket/ensue
packs_dir: ./packs
workers: 8
queues: { default: { rate: { limit: 50, per: 1s } }, heavy: { workers: 2 } }
lease: 30s
min_free: 1000000
memory: 536870912
outputs: { attempt_max: 1000000, quota: 10000000, keep_days: 7 }
artifacts: { file_max: 1000000, quota: 10000000, keep_days: 7 }
retention: { executions: 90d }
audit: { address: full }
access:
  labels: [site]
  packs: listed
  tiers: [{ group: trial, tier: free }]
  roles: { restarter: ['executions:read', 'executions:rerun'] }
  grants: [{ subject: 'group:release', role: restarter, on: 'pack=release', until: 2027-01-01T00:00:00Z }]
tiers: { free: { events_per_day: 10000, executions_per_hour: 500, concurrent: 10 } }
connections:
  orders:
    http:
      url: https://orders.example.test/api
      auth: { bearer: { key: shop.token } }
      headers: { Accept: application/json }
      ca: orders.pem
      timeout: 30s
      connect_timeout: 5s
      test_path: /health
    packs: [shop]
    max: 8
    breaker: { failures: 5, open_for: 30s }
  stock: { http: { url: 'https://stock.example.test', auth: { basic: { user: app, password: { key: shop.password } } } } }
  search: { http: { url: 'https://search.example.test', auth: { header: { name: X-Api-Key, prefix: 'Token ', value: { key: shop.api } } } } }
  pager: { http: { url: 'https://events.example.test', auth: { json_field: { name: routing_key, value: { key: shop.pager } } } } }
  crm:
    http:
      url: https://crm.example.test
      auth: { oauth2: { token_url: 'https://id.example.test', client_id: a, client_secret: { key: shop.crm }, scopes: [read], audience: crm } }
  relay: { smtp: { host: mail.example.test, port: 465, tls: implicit, user: app, password: { key: shop.mail }, ca: mail.pem, timeout: 30s } }
egress: { allow: ['10.0.0.0/8'] }
actions:
  isolation: auto
  readable: [/srv/data]
  writable: [/srv/www]
  user: www-data
  at_stop: go_on
  memory: 1073741824
  file_size: 1073741824
  open_files: 1024
  cpu_seconds: 3600
rate_limits: { reads: 600/1m, writes: 120/1m, hooks: 50/1s, anonymous: 600/1m }
traces: { endpoint: 'http://127.0.0.1:4318' }
packs:
  release:
    config: { owner: acme, sizes: [1, null] }
    keys:
      deploy_token: { file: /run/secrets/t }
      signing: { from: { provider: pods, path: team/release, field: signing } }
key_providers:
  mounted: { file: { folder: /run/secrets, ttl: 10s, stale_for: 2h } }
  process: { env: {} }
  team: { hashicorp: { url: 'https://vault.example.test:8200', mount: kv, namespace: team, login: { token_file: token }, ttl: 60s, stale_for: 1h } }
  roles: { hashicorp: { url: 'https://vault.example.test', login: { approle: { role_id: r, secret_id_file: f, secret_id: wrapped, mount: a } } } }
  cloud: { aws: { region: eu-central-1, url: 'https://vpce.example.test', credentials: { file: { path: aws, profile: ensue } }, ttl: 60s, stale_for: 1h } }
  machine: { aws: { region: eu-central-1, credentials: { instance: {} } } }
  container: { aws: { region: eu-central-1, credentials: { container: {} } } }
  variables: { aws: { region: cn-north-1, credentials: { environment: {} } } }
  pods: { hashicorp: { url: 'https://vault.example.test', login: { kubernetes: { role: ensue, jwt_file: j, mount: k } } } }
";

    fn is_read(settings: &Value) -> bool {
        serde_saphyr::from_str::<WrittenConfig>(&settings.to_string()).is_ok()
    }

    fn fits(settings: &Value) -> bool {
        jsonschema::validator_for(&settings_schema()).unwrap().is_valid(settings)
    }

    /// Collects the location of every value, as JSON Pointers.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        if let Value::Object(entries) = value {
            for (name, value) in entries {
                places(value, &format!("{at}/{name}"), found);
            }
        }
    }

    #[test]
    fn file_with_every_setting_is_valid_and_accepted() {
        let settings: Value = serde_saphyr::from_str(ALL_SETTINGS).unwrap();
        let read = serde_saphyr::from_str::<WrittenConfig>(&settings.to_string()).map(drop);
        assert!(read.is_ok() && fits(&settings), "{read:?}");
        for name in SETTINGS.names() {
            assert!(settings.get(name).is_some(), "{name} is missing from the example");
        }
        assert!(fits(&Value::Null), "a file of comments alone");
    }

    #[test]
    fn every_path_that_the_settings_name_is_hidden_unless_programs_may_reach_it() {
        const SHARED: [&str; 9] =
            ["ca.pem", "clients.pem", "corp.pem", "data", "mail.pem", "orders.pem", "packs", "for_programs/data", "for_programs/www"];
        let folder = tempfile::TempDir::new().unwrap();
        let text = ALL_SETTINGS.replace("/run/secrets", "secrets").replace("/srv/", "for_programs/").replace("./", "");
        let text = text.replace("secret: { key: ensue.proxy_secret }", "secret: { file: proxy.secret }");
        let text = text.replace("client_secret: { key: ensue.corp_secret }", "client_secret: { file: corp.secret }");
        let text = text.replace("keys_from: { hosts: [keys.example.test] }", "keys_from: { file: keys.json }");
        let text = text.replace("s3://bucket/ensue", &format!("file://{}/bucket", folder.path().display()));
        std::fs::write(folder.path().join("node.yaml"), &text).unwrap();
        std::fs::write(folder.path().join("db.password"), "s3cret-password").unwrap();
        let config = Config::read(Some(&folder.path().join("node.yaml")), std::iter::empty()).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret-password"), "{shown}");
        // Whatever the settings resolved to is in what they show of themselves, so a new setting needs no line here.
        let prefix = format!("\"{}/", folder.path().display());
        let named: BTreeSet<&str> = shown.split(&prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let hidden = config.hidden_paths();
        let visible = named.iter().filter(|name| !hidden.contains(&folder.path().join(name))).copied();
        assert_eq!(visible.collect::<BTreeSet<_>>(), BTreeSet::from(SHARED));
        for name in ["node.yaml", "bucket", "cert.pem", "key.pem", "db.password", "secrets/t", "aws", "f", "j", "keys.json"] {
            assert!(hidden.contains(&folder.path().join(name)), "{name}: {hidden:?}");
        }
    }

    #[test]
    fn unknown_or_mistyped_setting_is_rejected_by_reader_and_schema() {
        let settings: Value = serde_saphyr::from_str(ALL_SETTINGS).unwrap();
        let mut all = Vec::new();
        places(&settings, "", &mut all);
        for place in all.iter().filter(|place| !place.starts_with("/packs/release/config/")) {
            let mut edited = settings.clone();
            let value = edited.pointer_mut(place).unwrap();
            let is_open = ["/keys", "/config", "/headers"].iter().any(|open| place.ends_with(open)) || place == "/packs";
            if let Value::Object(entries) = value
                && !is_open
            {
                entries.insert("nonsense".into(), json!(1));
                assert!(!is_read(&edited) && !fits(&edited), "an unknown field in `{place}`");
            }
            let mut edited = settings.clone();
            *edited.pointer_mut(place).unwrap() = json!([[]]);
            assert!(!is_read(&edited) && !fits(&edited), "a list of lists at `{place}`");
        }
        let mut edited = settings;
        edited["packs"]["release"]["keys"]["deploy_token"] = json!({});
        assert!(!is_read(&edited) && !fits(&edited), "a key from nowhere");
    }
}
