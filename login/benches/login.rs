//! What a request with a signed token costs, and what a login by password costs.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::unwrap_used, reason = "what the tests share may unwrap")]

#[path = "../tests/main/support.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use ensue_login::passwords::{Hashing, NewPassword, PasswordCheck, TypedPassword};
use serde_json::json;
use support::{Signer, Web, claims_with, corp, now};

fn tokens(c: &mut Criterion) {
    let web = Web::new();
    for signer in Signer::all() {
        let corp = corp();
        let mut n = 0;
        // Each token is another one, so none was checked before. Signing is not measured.
        c.bench_function(&format!("a new token, {}", signer.algorithm), |bencher| {
            bencher.iter_batched(
                || {
                    n += 1;
                    signer.token(&claims_with(&json!({ "jti": n })))
                },
                |token| corp.admit(&token, now(), &web).expect("the token is good"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let (corp, token) = (corp(), Signer::rs256().token(&claims_with(&json!({}))));
    c.bench_function("a token that was checked before", |bencher| {
        bencher.iter(|| corp.admit(&token, now(), &web).expect("the token is good"));
    });
}

fn passwords(c: &mut Criterion) {
    let hashing = Hashing::default();
    let stored = hashing.hash(&NewPassword::new("correct horse battery", "ana").expect("it is not weak"), [7; 16]).expect("nobody waits");
    let typed = TypedPassword::new("correct horse battery").expect("it is short");
    c.bench_function("a password", |bencher| {
        bencher.iter(|| assert_eq!(hashing.check(Some(&stored), &typed), Ok(PasswordCheck::Right)));
    });
}

criterion_group! {
    name = login;
    config = Criterion::default().sample_size(30);
    targets = tokens, passwords
}
criterion_main!(login);
