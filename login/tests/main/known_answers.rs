//! Signatures that others made: the examples of RFC 7515.

use ensue_login::jose::{Algorithm, KeySet, Token, TokenFault};

/// RFC 7515, appendix A.2.
const RS256_KEY: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4"#,
    "QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg66",
    r#"5xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
);
const RS256_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAyn",
    "RFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv",
    "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);

/// RFC 7515, appendix A.3.
const ES256_KEY: &str =
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES256_TOKEN: &str = concat!(
    "eyJhbGciOiJFUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);

/// RFC 7515, appendix A.5.
const UNSECURED: &str =
    "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

fn keys(key: &str) -> KeySet {
    KeySet::read(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).unwrap()
}

#[test]
fn signatures_of_the_standard_are_verified_with_their_keys_and_with_no_other() {
    let cases = [(RS256_KEY, RS256_TOKEN, Algorithm::Rs256), (ES256_KEY, ES256_TOKEN, Algorithm::Es256)];
    for (key, text, algorithm) in cases {
        let token = Token::read(text).unwrap();
        assert_eq!((token.algorithm(), token.key_id()), (algorithm, None));
        let claims = token.verify(keys(key).find(None, algorithm).unwrap()).unwrap();
        assert_eq!(claims.root().get("iss").unwrap().as_str().unwrap(), "joe");
    }
    let (rsa, ec) = (keys(RS256_KEY), keys(ES256_KEY));
    assert!(rsa.find(None, Algorithm::Es256).is_none() && ec.find(None, Algorithm::Rs256).is_none());
    let wrong = Token::read(RS256_TOKEN).unwrap().verify(ec.find(None, Algorithm::Es256).unwrap());
    assert_eq!(wrong.unwrap_err(), TokenFault::Signature);
}

#[test]
fn unsecured_token_of_the_standard_is_refused() {
    assert_eq!(Token::read(UNSECURED).unwrap_err(), TokenFault::Algorithm);
}
