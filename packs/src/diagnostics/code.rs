//! The closed list of diagnostic codes, each with a permanent slug.
//!
//! People search for a slug, and a section of the documentation is named after it.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $slug:literal;)*) => {
        /// The kind of a diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the slug, which never changes.
            pub fn slug(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }
        }
    };
}

codes! {
    // The text of a file.
    /// A file is not UTF-8.
    NotUtf8 = "not_utf8";
    /// A file is larger, deeper or wider than allowed in a pack.
    FileTooLarge = "file_too_large";
    /// A file is empty.
    EmptyFile = "empty_file";
    /// A file is not YAML.
    YamlSyntax = "yaml_syntax";
    /// A value is a YAML tag, which common readers silently drop.
    YamlTag = "yaml_tag";
    /// An alias names no anchor, or there are too many aliases.
    YamlAlias = "yaml_alias";
    /// A merge key (`<<`), which YAML 1.2 does not have.
    YamlMergeKey = "yaml_merge_key";
    /// A file holds several documents.
    SeveralDocuments = "several_documents";
    /// A key of a mapping is not plain text.
    ComplexKey = "complex_key";
    /// The same key twice in one mapping.
    DuplicateKey = "duplicate_key";
    /// An expression that YAML reads as something else.
    UnquotedExpression = "unquoted_expression";
    /// A value that YAML readers disagree about: `yes`, `012`, `1_000`.
    AmbiguousValue = "ambiguous_value";
    /// A question mark inside `{ }` or `[ ]`, which not every reader accepts.
    QuestionMarkInFlow = "question_mark_in_flow";
    /// A plain text that contains a comment at its end.
    CommentAfterText = "comment_after_text";

    // The shape of a file.
    /// A file that has no meaning at its path.
    UnexpectedFile = "unexpected_file";
    /// A folder without a `pack.yaml`.
    NoPackFile = "no_pack_file";
    /// An unknown field.
    UnknownField = "unknown_field";
    /// A field that this release does not support yet.
    NotYet = "not_yet";
    /// A required field is missing.
    MissingField = "missing_field";
    /// A field is present but empty.
    EmptyField = "empty_field";
    /// A value of the wrong type.
    WrongType = "wrong_type";
    /// A value of the right type that is not one of the allowed values.
    InvalidValue = "invalid_value";
    /// An invalid name.
    InvalidName = "invalid_name";
    /// An invalid ref.
    InvalidRef = "invalid_ref";
    /// An invalid duration.
    InvalidDuration = "invalid_duration";
    /// A time that never comes, or is invalid.
    InvalidSchedule = "invalid_schedule";
    /// An invalid version or range of versions.
    InvalidVersion = "invalid_version";
    /// The upcasts of a trigger do not cover exactly its older versions.
    VersionGap = "version_gap";
    /// The version of a trigger is lower than the installed one.
    VersionLowered = "version_lowered";
    /// An invalid schema.
    InvalidSchema = "invalid_schema";
    /// A JSON Schema whose checks would take too long.
    SchemaTooComplex = "schema_too_complex";
    /// The regular expressions of a pack are too many or too large.
    TooManyPatterns = "too_many_patterns";
    /// Not exactly one of several mutually exclusive fields.
    NotExactlyOne = "not_exactly_one";
    /// A field that qualifies a missing field.
    FieldOutOfPlace = "field_out_of_place";
    /// Two definitions with the same name.
    DuplicateDefinition = "duplicate_definition";

    // References between files.
    /// Two packs with the same name.
    DuplicatePack = "duplicate_pack";
    /// A pack with the name of a library pack.
    LibraryPackShadowed = "library_pack_shadowed";
    /// A required pack does not exist.
    UnknownPack = "unknown_pack";
    /// A required pack has another version.
    PackVersion = "pack_version";
    /// The pack needs another version of Ensue.
    EnsueVersion = "ensue_version";
    /// A pack is used but not listed in `requires`.
    PackNotRequired = "pack_not_required";
    /// The `permissions` of the pack do not allow what it does.
    NotPermitted = "not_permitted";
    /// A required pack has errors.
    NeedsBrokenPack = "needs_broken_pack";
    /// Packs that need each other in a circle.
    PackCycle = "pack_cycle";
    /// The trigger has no such version.
    UnknownVersion = "unknown_version";
    /// No such trigger.
    UnknownTrigger = "unknown_trigger";
    /// No such action.
    UnknownAction = "unknown_action";
    /// A key that the pack does not list.
    UnlistedKey = "unlisted_key";
    /// A runner that only the library may use.
    BuiltinOutsideCore = "builtin_outside_core";
    /// A program that is not in the pack.
    NoSuchProgram = "no_such_program";
    /// A program that is not executable.
    NotExecutable = "not_executable";
    /// A required parameter is missing.
    MissingParameter = "missing_parameter";
    /// A parameter that the action does not take.
    UnknownParameter = "unknown_parameter";
    /// A parameter of the wrong type.
    ParameterType = "parameter_type";
    /// A declared `result`, or a mock of one, that the action's runner can never return.
    ResultImpossible = "result_impossible";
    /// The operator's settings do not fit the pack's `config`.
    ConfigInvalid = "config_invalid";

    // The diagnostics themselves.
    /// There are more diagnostics than are shown.
    MoreLeftOut = "more_left_out";

    // Expressions.
    /// An expression that cannot be parsed.
    ExpressionSyntax = "expression_syntax";
    /// An expression that reads a field that the schema does not have.
    UnknownRead = "unknown_read";
    /// Values of types that cannot be combined, or that a function does not accept.
    TypeMismatch = "type_mismatch";
    /// A comparison of values that are never equal.
    ImpossibleComparison = "impossible_comparison";
    /// A condition that is neither true nor false.
    NotBoolean = "not_boolean";
    /// An expression that errs for every input.
    CertainError = "certain_error";
    /// A condition that is always true.
    AlwaysTrue = "always_true";
    /// A condition that is always false.
    AlwaysFalse = "always_false";
    /// A field that may be missing is read as if it were always present.
    MayBeMissing = "may_be_missing";
    /// `{{ }}` in a text, which is never computed.
    BracesWithoutDollar = "braces_without_dollar";
    /// `${{ }}` inside code.
    TemplateInCode = "template_in_code";
    /// `${{ }}` in the scheme or host of a URL.
    TemplateInHost = "template_in_host";
    /// `keys[…]` where a secret would be written down.
    KeyOutOfPlace = "key_out_of_place";
    /// `keys[…]` in a URL that is not marked as a secret.
    KeyInUrl = "key_in_url";
    /// A connection that is not declared, not listed, or not for this pack.
    UnknownConnection = "unknown_connection";
    /// A connection of another kind.
    ConnectionKind = "connection_kind";
    /// A secret in the environment of a process.
    KeyInEnvironment = "key_in_environment";
    /// A webhook whose senders sign the public URL, and a node that does not know its own.
    UrlUnset = "url_unset";
    /// A webhook that anyone may call.
    VerifyNone = "verify_none";
    /// A signature with a hash that is known to be weak.
    WeakHash = "weak_hash";
    /// A dedupe key that a replayed delivery can change.
    DedupeUnsigned = "dedupe_unsigned";
    /// A poll that makes events of the same items again and again.
    PollRepeats = "poll_repeats";
    /// A poll whose request does not read its cursor.
    CursorUnread = "cursor_unread";
    /// A reply that waits, at a sensor that does not recognize repeats.
    WaitWithoutDedupe = "wait_without_dedupe";
    /// A reply that waits, where several rules could be the one that it waits for.
    ReplyRuleUnnamed = "reply_rule_unnamed";

    // The steps of a workflow.
    /// No such step.
    UnknownStep = "unknown_step";
    /// Steps that need each other in a circle.
    StepCycle = "step_cycle";
    /// A workflow that always runs itself again.
    WorkflowInItself = "workflow_in_itself";
    /// An expression that reads a step which may not have ended.
    StepNotNeeded = "step_not_needed";
    /// A step that is never started in any run of its workflow.
    StepNeverStarts = "step_never_starts";

    // The tests of a pack.
    /// No such rule in the pack.
    UnknownRule = "unknown_rule";
    /// A value that does not fit the mocked or expected thing.
    ValueUnfit = "value_unfit";
    /// A mock of something that cannot be mocked, or of the wrong kind.
    MockUnfit = "mock_unfit";

    // The findings of `ensue lint`.
    /// A rule whose condition no event satisfies.
    RuleNeverMatches = "rule_never_matches";
    /// A rule whose events are all matched by another rule too.
    RuleContained = "rule_contained";
    /// A rule whose action leads to events that the rule matches.
    RuleTriggersItself = "rule_triggers_itself";
    /// A parameter that its action does not read.
    UnusedParameter = "unused_parameter";
    /// An unused name of `local`.
    UnusedLocal = "unused_local";
    /// An unused setting of `config`.
    UnusedSetting = "unused_setting";
    /// An unused key.
    UnusedKey = "unused_key";
    /// An unused connection.
    UnusedConnection = "unused_connection";
}

/// The documentation page that describes every code in a section of its own.
const PAGE: &str = include_str!("../../../docs/reference/diagnostics.md");
/// The path of that page in the documentation.
const PAGE_PATH: &str = "docs/reference/diagnostics.md";

impl Code {
    /// Returns the documentation of the code: what it means, an example, and how to fix it.
    pub fn explanation(self) -> &'static str {
        let heading = format!("\n### `{}`\n", self.slug());
        let section = PAGE.split_once(heading.as_str()).map_or("", |(_, rest)| rest);
        let end = ["\n### ", "\n## "].iter().filter_map(|next| section.find(next)).min().unwrap_or(section.len());
        section[..end].trim()
    }

    /// Returns the location of the code's documentation.
    pub fn page(self) -> String {
        format!("{PAGE_PATH}#{}", self.slug())
    }

    /// Returns the code of a slug.
    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_has_a_unique_slug() {
        let slugs: BTreeSet<_> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert_eq!(slugs.len(), Code::ALL.len());
    }

    #[test]
    fn each_code_is_documented_in_its_order() {
        let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        let slugs: Vec<&str> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert_eq!(headings, slugs, "docs/reference/diagnostics.md has a section for each code, in the order of code.rs");
        assert!(Code::ALL.iter().all(|code| !code.explanation().is_empty() && !code.explanation().contains("\n#")));
    }
}
