//! The closed list of mistakes that are told apart, each with a slug that stays.
//!
//! A slug is what people search for and what a page of the documentation is named after.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $slug:literal;)*) => {
        /// What sort of mistake a diagnostic is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Gives the slug, which never changes.
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
    /// A file is larger, deeper or wider than a pack's files may be.
    FileTooLarge = "file_too_large";
    /// A file holds nothing.
    EmptyFile = "empty_file";
    /// A file is not YAML.
    YamlSyntax = "yaml_syntax";
    /// A value is a YAML tag, which common readers drop in silence.
    YamlTag = "yaml_tag";
    /// An alias names no anchor, or there are too many.
    YamlAlias = "yaml_alias";
    /// A merge key (`<<`), which YAML 1.2 does not have.
    YamlMergeKey = "yaml_merge_key";
    /// A file holds several documents.
    SeveralDocuments = "several_documents";
    /// A key of a mapping is not a plain text.
    ComplexKey = "complex_key";
    /// The same key twice in one mapping.
    DuplicateKey = "duplicate_key";
    /// An expression that YAML reads as something else.
    UnquotedExpression = "unquoted_expression";
    /// A value that readers of YAML disagree about: `yes`, `012`, `1_000`.
    AmbiguousValue = "ambiguous_value";
    /// A question mark inside `{ }` or `[ ]`, which not every reader takes.
    QuestionMarkInFlow = "question_mark_in_flow";
    /// A plain text that ends in a comment.
    CommentAfterText = "comment_after_text";

    // The shape of a file.
    /// A file that has no meaning where it stands.
    UnexpectedFile = "unexpected_file";
    /// A folder without a `pack.yaml`.
    NoPackFile = "no_pack_file";
    /// A field that nobody knows.
    UnknownField = "unknown_field";
    /// A field that this release does not have yet.
    NotYet = "not_yet";
    /// A field that must be there is not.
    MissingField = "missing_field";
    /// A field that is there, and empty.
    EmptyField = "empty_field";
    /// A value of the wrong type.
    WrongType = "wrong_type";
    /// A value of the right type that is not one of those possible.
    InvalidValue = "invalid_value";
    /// A text that is not a name.
    InvalidName = "invalid_name";
    /// A text that is not a ref.
    InvalidRef = "invalid_ref";
    /// A text that is not a duration.
    InvalidDuration = "invalid_duration";
    /// A time that never comes, or is none.
    InvalidSchedule = "invalid_schedule";
    /// A text that is not a version, or not a range of versions.
    InvalidVersion = "invalid_version";
    /// A schema that is none.
    InvalidSchema = "invalid_schema";
    /// A JSON Schema that would take too long to check a value against.
    SchemaTooComplex = "schema_too_complex";
    /// Not exactly one of several fields that exclude each other.
    NotExactlyOne = "not_exactly_one";
    /// A field that says more of something that is not there.
    FieldOutOfPlace = "field_out_of_place";
    /// Two definitions of one name.
    DuplicateDefinition = "duplicate_definition";

    // What files say of each other.
    /// Two packs of one name.
    DuplicatePack = "duplicate_pack";
    /// A pack that takes the name of one of the library.
    LibraryPackShadowed = "library_pack_shadowed";
    /// A pack that is needed is not there.
    UnknownPack = "unknown_pack";
    /// A pack that is needed is there in another version.
    PackVersion = "pack_version";
    /// The pack needs another version of Ensue.
    EnsueVersion = "ensue_version";
    /// A pack is used and not listed in `requires`.
    PackNotRequired = "pack_not_required";
    /// A pack that is needed has errors.
    NeedsBrokenPack = "needs_broken_pack";
    /// Packs that need each other in a circle.
    PackCycle = "pack_cycle";
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
    /// A parameter that must be given is not.
    MissingParameter = "missing_parameter";
    /// A parameter that the action does not take.
    UnknownParameter = "unknown_parameter";
    /// A parameter of the wrong type.
    ParameterType = "parameter_type";
    /// A `result`, or a mock of one, that the action's runner can never give.
    ResultImpossible = "result_impossible";
    /// The operator's configuration does not fit the pack's.
    ConfigInvalid = "config_invalid";

    // The diagnostics themselves.
    /// There are more than are shown.
    MoreLeftOut = "more_left_out";

    // Expressions.
    /// A text that is not an expression.
    ExpressionSyntax = "expression_syntax";
    /// An expression that reads what the schema does not have.
    UnknownRead = "unknown_read";
    /// Values of types that do not go together, or that a function does not take.
    TypeMismatch = "type_mismatch";
    /// A comparison of what is never equal.
    ImpossibleComparison = "impossible_comparison";
    /// A condition that is neither true nor false.
    NotBoolean = "not_boolean";
    /// An expression that errs whatever comes.
    CertainError = "certain_error";
    /// A condition that is always true.
    AlwaysTrue = "always_true";
    /// A condition that is always false.
    AlwaysFalse = "always_false";
    /// A field that may be missing is read as if it were there.
    MayBeMissing = "may_be_missing";
    /// `{{ }}` in a text, which nothing computes.
    BracesWithoutDollar = "braces_without_dollar";
    /// `${{ }}` inside code.
    TemplateInCode = "template_in_code";
    /// `${{ }}` in the scheme or host of a URL.
    TemplateInHost = "template_in_host";
    /// `keys[…]` where a secret would be written down.
    KeyOutOfPlace = "key_out_of_place";
    /// A secret in the environment of a process.
    KeyInEnvironment = "key_in_environment";
    /// A webhook that anybody may call.
    VerifyNone = "verify_none";
    /// A dedupe key that a replayed delivery can change.
    DedupeUnsigned = "dedupe_unsigned";

    // The steps of a workflow.
    /// No such step.
    UnknownStep = "unknown_step";
    /// Steps that need each other in a circle.
    StepCycle = "step_cycle";
    /// A workflow that always runs itself again.
    WorkflowInItself = "workflow_in_itself";
    /// An expression that reads a step which may not have ended.
    StepNotNeeded = "step_not_needed";
    /// A step that no run of its workflow starts.
    StepNeverStarts = "step_never_starts";

    // The tests of a pack.
    /// No such rule in the pack.
    UnknownRule = "unknown_rule";
    /// A value that does not fit what it stands for.
    ValueUnfit = "value_unfit";
    /// A mock of what has none, or of another kind than what it stands for.
    MockUnfit = "mock_unfit";

    // What `ensue lint` tells.
    /// A rule whose condition no event fulfils.
    RuleNeverMatches = "rule_never_matches";
    /// A rule whose every event another rule matches too.
    RuleContained = "rule_contained";
    /// A trigger with more rules than are held against each other.
    RulesNotCompared = "rules_not_compared";
    /// A rule whose action leads to events that it matches.
    RuleTriggersItself = "rule_triggers_itself";
    /// A parameter that its action does not read.
    UnusedParameter = "unused_parameter";
    /// A name of `local` that nothing reads.
    UnusedLocal = "unused_local";
    /// A setting of `config` that nothing reads.
    UnusedSetting = "unused_setting";
    /// A key that nothing reads.
    UnusedKey = "unused_key";
}

/// The page of the documentation that tells of every code, a section each.
const PAGE: &str = include_str!("../../../docs/reference/diagnostics.md");
/// Where that page is in the documentation.
const PAGE_PATH: &str = "docs/reference/diagnostics.md";

impl Code {
    /// Gives the section of the documentation about the code: what it means, an example, and what to do.
    pub fn explanation(self) -> &'static str {
        let heading = format!("\n### `{}`\n", self.slug());
        let section = PAGE.split_once(heading.as_str()).map_or("", |(_, rest)| rest);
        let end = ["\n### ", "\n## "].iter().filter_map(|next| section.find(next)).min().unwrap_or(section.len());
        section[..end].trim()
    }

    /// Gives where the documentation tells of the code.
    pub fn page(self) -> String {
        format!("{PAGE_PATH}#{}", self.slug())
    }

    /// Finds the code of a slug.
    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }

    /// Gives the slug that a misspelt one was probably meant to be.
    pub fn nearest_slug(slug: &str) -> Option<&'static str> {
        ensue_expression::nearest(slug, Self::ALL.iter().map(|code| code.slug()))
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
        assert_eq!(Code::nearest_slug("unknown_feild"), Some("unknown_field"));
    }
}
