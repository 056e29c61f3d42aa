//! The value of each setting and the place where it was written, for `ensue settings`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ensue_api::ports::{EffectiveSetting, SettingSource};
use percent_encoding::percent_decode_str;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::WrittenConfig;
use super::setting::{DeclaredSetting, Setting as _};

/// What takes the place of a secret.
const MASK: &str = "[redacted]";
/// The fields whose texts may be secrets.
const SECRET_FIELDS: [&str; 1] = ["headers"];
/// Parts of the names of query parameters whose values may be secrets.
const SECRET_PARAMETERS: [&str; 5] = ["password", "secret", "token", "key", "sig"];

/// The values that were written, by the paths of their settings. A later one replaces an earlier one. Secrets are masked.
#[derive(Clone, Default)]
pub struct WrittenValues(BTreeMap<String, WrittenValue>);

#[derive(Clone)]
struct WrittenValue {
    value: Value,
    source: SettingSource,
    place: String,
}

impl fmt::Debug for WrittenValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrittenValues(…)")
    }
}

impl WrittenValues {
    /// Adds the values of the settings file, whose text has been read as settings.
    /// Fails if the text is not YAML.
    pub(super) fn note_file(&mut self, path: &Path, text: &str) -> Result<(), String> {
        let options = serde_saphyr::options! { strict_booleans: true };
        let tree: FileValue = serde_saphyr::from_str_with_options(text, options).map_err(|error| error.without_snippet().to_string())?;
        each_setting(WrittenConfig::DECLARED, "", &mut |_, name| {
            if let Some((value, line)) = setting_in(&tree, name) {
                self.note(name, value.to_value(), SettingSource::File, format!("{}:{line}", path.display()));
            }
        });
        Ok(())
    }

    /// Adds the value of a variable, if it is that of a setting.
    pub(super) fn note_variable(&mut self, variable: &str, text: &str) {
        each_setting(WrittenConfig::DECLARED, "", &mut |setting, name| {
            if setting.variable == Some(variable) {
                self.note(name, text.into(), SettingSource::Variable, variable.to_owned());
            }
        });
    }

    /// Adds the value of a flag of the command line.
    pub fn note_flag(&mut self, setting: &str, flag: &str, value: impl Into<Value>) {
        self.note(setting, value.into(), SettingSource::Flag, flag.to_owned());
    }

    fn note(&mut self, setting: &str, mut value: Value, source: SettingSource, place: String) {
        mask(&mut value);
        self.0.insert(setting.to_owned(), WrittenValue { value, source, place });
    }

    /// Returns all settings in the order of the reference. The value of one that is not written is its default, as the
    /// reference says it.
    pub(crate) fn settings(&self) -> Vec<EffectiveSetting> {
        let mut all = Vec::new();
        each_setting(WrittenConfig::DECLARED, "", &mut |setting, name| {
            let name = name.to_owned();
            all.push(match self.0.get(&name).cloned() {
                Some(WrittenValue { value, source, place }) => EffectiveSetting { name, value, source, place: Some(place) },
                None => {
                    let value = default_in(setting.about).map_or(Value::Null, Value::from);
                    EffectiveSetting { name, value, source: SettingSource::Default, place: None }
                }
            });
        });
        all
    }
}

/// Calls `see` with each setting that has no settings in it, and with its path.
fn each_setting(of: &'static [DeclaredSetting], above: &str, see: &mut dyn FnMut(&'static DeclaredSetting, &str)) {
    for setting in of {
        let name = if above.is_empty() { setting.name.to_owned() } else { format!("{above}.{}", setting.name) };
        if setting.parts.is_empty() { see(setting, &name) } else { each_setting(setting.parts, &name, see) }
    }
}

/// Returns the default that the text of a setting states: after `Default: `, or as "(`auto`, the default)".
fn default_in(about: &str) -> Option<String> {
    let stated = match (about.rsplit_once("Default: "), about.split_once("`, the default")) {
        (Some((_, stated)), _) => stated.strip_suffix('.').unwrap_or(stated),
        (None, Some((before, _))) => before.rsplit_once('`')?.1,
        (None, None) => return None,
    };
    Some(stated.replace('`', ""))
}

/// Masks what may be a secret: passwords in addresses, and the values of headers.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = mask_address(text),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Object(texts) if SECRET_FIELDS.contains(&name.as_str()) => {
                        texts.values_mut().for_each(|text| *text = MASK.into());
                    }
                    _ => mask(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Masks the password of an address, and the values of its query that may be secrets. Other texts stay as they are.
pub(super) fn mask_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may contain every character, so it ends at the last sign.
    let (user, rest) = match rest.rsplit_once('@').map(|(user, rest)| (user.split_once(':'), rest)) {
        Some((Some((name, _)), rest)) => (format!("{name}:{MASK}@"), rest),
        Some((None, _)) | None => (String::new(), rest),
    };
    let is_secret = |name: &str| {
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        SECRET_PARAMETERS.iter().any(|part| name.contains(part))
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        Some(_) | None => pair.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((place, query)) => format!("{place}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&")),
        None => rest.to_owned(),
    };
    format!("{scheme}://{user}{rest}")
}

/// A value of the file, with the lines of the values in it.
enum FileValue {
    Mapping(Vec<(Spanned<String>, FileValue)>),
    Other(Value),
}

impl FileValue {
    fn to_value(&self) -> Value {
        match self {
            Self::Mapping(fields) => {
                Value::Object(fields.iter().map(|(name, field)| (name.value.clone(), field.to_value())).collect::<Map<_, _>>())
            }
            Self::Other(value) => value.clone(),
        }
    }
}

/// Returns the value at a path, and its line.
fn setting_in<'t>(tree: &'t FileValue, path: &str) -> Option<(&'t FileValue, u64)> {
    let FileValue::Mapping(fields) = tree else { return None };
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let (key, field) = fields.iter().find(|(key, _)| key.value == name)?;
    match rest {
        Some(rest) => setting_in(field, rest),
        None => Some((field, key.referenced.line())),
    }
}

impl<'de> Deserialize<'de> for FileValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = FileValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.into()))
            }

            fn visit_i128<E>(self, value: i128) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.to_string().into()))
            }

            fn visit_u128<E>(self, value: u128) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.to_string().into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<FileValue, E> {
                Ok(FileValue::Other(value.into()))
            }

            fn visit_unit<E>(self) -> Result<FileValue, E> {
                Ok(FileValue::Other(Value::Null))
            }

            fn visit_none<E>(self) -> Result<FileValue, E> {
                Ok(FileValue::Other(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<FileValue, D::Error> {
                FileValue::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<FileValue, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element::<FileValue>()? {
                    all.push(item.to_value());
                }
                Ok(FileValue::Other(Value::Array(all)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<FileValue, A::Error> {
                let mut all = Vec::new();
                while let Some(field) = fields.next_entry::<Spanned<String>, FileValue>()? {
                    all.push(field);
                }
                Ok(FileValue::Mapping(all))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(text: &str, variables: &[(&str, &str)]) -> BTreeMap<String, EffectiveSetting> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Config::read(Some(&file), variables).unwrap().written.settings();
        let name_only = |place: String| place.rsplit_once('/').map_or(place.clone(), |(_, name)| name.to_owned());
        let plain = |setting: EffectiveSetting| EffectiveSetting { place: setting.place.map(name_only), ..setting };
        settings.into_iter().map(plain).map(|setting| (setting.name.clone(), setting)).collect()
    }

    fn summary(setting: &EffectiveSetting) -> (Value, SettingSource, Option<&str>) {
        (setting.value.clone(), setting.source, setting.place.as_deref())
    }

    #[test]
    fn each_setting_has_its_value_and_the_place_where_it_was_written() {
        let text = "# A node.\nworkers: 8\nlimits:\n  silent_per_address: 7\nhosts: [ensue, other]\n";
        let all = settings(text, &[("ENSUE_LISTEN", "127.0.0.1:1"), ("ENSUE_WORKERS", "9"), ("ENSUE_LEASE", "")]);
        assert_eq!(summary(&all["workers"]), ("9".into(), SettingSource::Variable, Some("ENSUE_WORKERS")));
        assert_eq!(summary(&all["limits.silent_per_address"]), (7.into(), SettingSource::File, Some("ensue.yaml:4")));
        assert_eq!(summary(&all["hosts"]), (serde_json::json!(["ensue", "other"]), SettingSource::File, Some("ensue.yaml:5")));
        assert_eq!(summary(&all["listen"]), ("127.0.0.1:1".into(), SettingSource::Variable, Some("ENSUE_LISTEN")));
        assert_eq!(summary(&all["lease"]), ("30s".into(), SettingSource::Default, None));
        assert_eq!(summary(&all["actions.isolation"]), ("auto".into(), SettingSource::Default, None));
        assert_eq!(summary(&all["trusted_proxies"]), (Value::Null, SettingSource::Default, None));
    }

    #[test]
    fn mapping_has_the_line_of_its_key() {
        let all = settings("queues:\n  heavy: { workers: 2 }\ncors:\n  origins:\n    - https://app.example.test\n", &[]);
        assert_eq!(all["queues"].place.as_deref(), Some("ensue.yaml:1"));
        assert_eq!(all["cors.origins"].place.as_deref(), Some("ensue.yaml:4"));
    }

    #[test]
    fn flag_overrides_what_was_written() {
        let mut config = Config::read(None, [("ENSUE_DATA".to_owned(), "/srv/a".to_owned())].into_iter()).unwrap();
        config.written.note_flag("data", "--data", "/srv/b");
        let data = config.written.settings().into_iter().find(|setting| setting.name == "data").unwrap();
        assert_eq!(summary(&data), ("/srv/b".into(), SettingSource::Flag, Some("--data")));
    }

    #[test]
    fn secrets_are_masked() {
        let text = "database: { url: 'postgres://ada:s3cret-1@db/cats?sslmode=require' }\n\
                    connections: { crm: { http: { url: 'https://crm.example.test', headers: { X-Token: s3cret-2 } } } }\n";
        let all = settings(text, &[("ENSUE_URL", "https://ensue.example.test?token=s3cret-3")]);
        let whole = format!("{all:?}");
        assert!(!whole.contains("s3cret"), "{whole}");
        assert_eq!(all["database"].value["url"], "postgres://ada:[redacted]@db/cats?sslmode=require");
        assert_eq!(all["connections"].value["crm"]["http"]["headers"]["X-Token"], MASK);
        assert_eq!(all["url"].value, "https://ensue.example.test?token=[redacted]");
        assert_eq!(mask_address("postgres://ada:a?b@db/cats"), "postgres://ada:[redacted]@db/cats");
        assert_eq!(mask_address("postgres://db/cats?p%61ssword=x"), "postgres://db/cats?p%61ssword=[redacted]");
        assert_eq!(mask_address("postgres://ada:a/b@c@db/cats"), "postgres://ada:[redacted]@db/cats");
        assert_eq!(
            mask_address("postgres://ada@db/cats?password=x&sslkey=y"),
            "postgres://ada@db/cats?password=[redacted]&sslkey=[redacted]"
        );
        assert_eq!(mask_address("10.0.0.0/8"), "10.0.0.0/8");
    }

    #[test]
    fn stated_defaults_are_the_defaults() {
        let (config, all) = (Config::new("x".into()), settings("", &[]));
        for (name, value) in [
            ("listen", config.listen.to_string()),
            ("limits.silent_per_address", config.silent_per_address.to_string()),
            ("limits.connections_per_address", config.connections_per_address.to_string()),
            ("webhooks.body_max", format!("{} (4 MiB)", config.delivery_bytes_max)),
            ("lease", format!("{}s", config.lease.as_secs())),
            ("min_free", format!("{} (256 MiB)", config.min_free_bytes)),
            ("memory", format!("{} (512 MiB)", config.memory_bytes)),
            ("outputs.attempt_max", format!("{} (10 MiB)", config.outputs.one_bytes_max)),
            ("outputs.quota", format!("{} (2 GiB)", config.outputs.quota_bytes)),
            ("artifacts.file_max", format!("{} (100 MiB)", config.artifacts.one_bytes_max)),
            ("artifacts.quota", format!("{} (5 GiB)", config.artifacts.quota_bytes)),
            ("actions.processes", "1,000".to_owned()),
            ("packs_dir", format!("./{}", config.packs.display())),
        ] {
            assert_eq!(all[name].value, value, "{name}");
        }
    }
}
