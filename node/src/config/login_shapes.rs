//! The shapes of the settings that the crate `login` reads, which does not know the format of files.

use ensue_login::WrittenIssuer;
use ensue_login::certificates::WrittenCertificates;
use ensue_login::proxy::WrittenProxy;
use ensue_packs::shape::{Form, Kind, Shape, optional_field, required_field};

use super::setting::Setting;

impl Setting for WrittenIssuer {
    const KIND: Kind = Kind::Fields(&ISSUER);
}

impl Setting for WrittenProxy {
    const KIND: Kind = Kind::Fields(&PROXY);
}

impl Setting for WrittenCertificates {
    const KIND: Kind = Kind::Fields(&CERTIFICATES);
}

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
