//! The ways in: who a token of an issuer admits, logins through an issuer, passwords, and refresh tokens.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | `settings`, `rules` | `login.issuers` of `ensue.yaml`: as written and checked; its expressions over claims |
//! | `jose` | signed tokens and the keys that verify them |
//! | `claims`, `admitted`, `refusal` | which claims count now; whom they admit; why not |
//! | `fetch` | the port through which issuers are asked |
//! | `discovery`, `keys` | what an issuer says about itself; when it is asked again |
//! | `issuers`, `checked` | the issuers together, and the tokens that were checked before |
//! | `flow` | the login of a person through an issuer, in a browser |
//! | `logout`, `used` | logouts that start at an issuer, and their tokens, which count once |
//! | `passwords`, `one_time` | passwords; codes of authenticator apps, and recovery codes |
//! | `throttle`, `devices` | how often passwords are tried; devices that have logged in before |
//! | `access_tokens`, `refresh` | access tokens and refresh tokens of sessions |
//! | `senders` | senders of webhooks with a token of an issuer that a pack names |
//! | `proxy`, `certificates` | identities that a trusted proxy or a client certificate names |
//!
//! Nothing here reads a clock, draws random numbers, or opens a socket or a file: time and random bytes are
//! arguments, and [`Fetch`] is a port.

pub mod access_tokens;
mod admission;
pub mod certificates;
mod checked_tokens;
mod claim_rules;
mod claims;
pub mod devices;
pub mod discovery;
pub mod fetch;
pub mod flow;
pub mod issuer_keys;
pub mod issuers;
pub mod jose;
pub mod logout;
pub mod one_time;
pub mod passwords;
pub mod programs;
pub mod proxy;
pub mod refresh;
mod refusal;
pub mod senders;
pub mod settings;
pub mod throttle;
mod used_tokens;

pub use admission::IssuerIdentity;
pub use checked_tokens::CHECKED_MAX;
pub use claim_rules::{GROUP_NAME_BYTES_MAX, GROUPS_MAX, Groups, IDENTITY_NAME_BYTES_MAX, RULE_STEPS_MAX};
pub use claims::{LEEWAY, SUBJECT_BYTES_MAX};
pub use fetch::Fetch;
pub use issuers::{Issuers, WAITING_MAX, is_signed_token};
pub use refusal::Refusal;
pub use settings::{IssuerName, IssuerSettings, Kind, SettingsError, WrittenIssuer, check_issuers};
