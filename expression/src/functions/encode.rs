//! Text forms of data: base64, JSON, SHA-256.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::signature::{ALL, BYTES, Gives, STRING, TYPE, takes};
use super::{Arguments, CallForm, Function};
use crate::error::Fault;
use crate::json::Document;
use crate::value::{self, Value};

/// Padding is written, and optional when reading.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        CallForm::Function,
        "base64.encode",
        "base64.encode(bytes)",
        &[takes(&[STRING.or(BYTES)], Gives::A(STRING))],
        |arguments| {
            let bytes = bytes_of(arguments)?;
            arguments.charge_text(BASE64.encode(bytes))
        },
    ),
    Function::new(CallForm::Function, "base64.decode", "base64.decode(text)", &[takes(&[STRING], Gives::A(BYTES))], |arguments| {
        let text = arguments.read_text(0)?;
        match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(error) => Err(arguments.invalid(error)),
        }
    }),
    Function::new(CallForm::Function, "json_parse", "json_parse(text)", &[takes(&[STRING], Gives::Json)], json_parse),
    Function::new(CallForm::Function, "json_text", "json_text(x)", &[takes(&[ALL.without(TYPE)], Gives::A(STRING))], |arguments| {
        arguments.values[0].charge_whole(arguments.budget)?;
        let text = value::json_text(&arguments.values[0])?;
        arguments.charge_text(text)
    }),
    Function::new(CallForm::Function, "sha256", "sha256(text)", &[takes(&[STRING.or(BYTES)], Gives::A(STRING))], |arguments| {
        let digest = Sha256::digest(bytes_of(arguments)?);
        let mut text = String::with_capacity(64);
        for byte in digest {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        arguments.charge_text(text)
    }),
];

/// Returns the bytes of a string or of bytes.
fn bytes_of<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Vec<u8>, Fault> {
    let bytes = match &arguments.values[0] {
        Value::String(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        _ => return Err(arguments.unfit()),
    };
    arguments.budget.charge_bytes(bytes.len())?;
    Ok(bytes.to_vec())
}

fn json_parse<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    // Each value except the first follows one of these. It is made twice: on the tape, and as a value of its
    // own.
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    arguments.budget.charge(2 * values as u64)?;
    match Document::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(document) => Ok(Value::owned_from(document.root())),
        Err(error) => Err(arguments.invalid(error)),
    }
}
