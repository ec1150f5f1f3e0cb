//! sprig's functions for keys, certificates, randomness and the network. They are known, so that templates which name
//! them parse (notifications.md §7.1, P2), and refuse to run.

use super::{ANY, Failure, Function, variadic};

pub(super) static TABLE: &[Function] = &[
    variadic("bcrypt", &[ANY], |_, _| not_available()),
    variadic("decryptAES", &[ANY], |_, _| not_available()),
    variadic("derivePassword", &[ANY], |_, _| not_available()),
    variadic("encryptAES", &[ANY], |_, _| not_available()),
    variadic("htpasswd", &[ANY], |_, _| not_available()),
    variadic("randAlpha", &[ANY], |_, _| not_available()),
    variadic("randAlphaNum", &[ANY], |_, _| not_available()),
    variadic("randAscii", &[ANY], |_, _| not_available()),
    variadic("randBytes", &[ANY], |_, _| not_available()),
    variadic("randInt", &[ANY], |_, _| not_available()),
    variadic("randNumeric", &[ANY], |_, _| not_available()),
    variadic("uuidv4", &[ANY], |_, _| not_available()),
    variadic("buildCustomCert", &[ANY], |_, _| refused()),
    variadic("genCA", &[ANY], |_, _| refused()),
    variadic("genCAWithKey", &[ANY], |_, _| refused()),
    variadic("genPrivateKey", &[ANY], |_, _| refused()),
    variadic("genSelfSignedCert", &[ANY], |_, _| refused()),
    variadic("genSelfSignedCertWithKey", &[ANY], |_, _| refused()),
    variadic("genSignedCert", &[ANY], |_, _| refused()),
    variadic("genSignedCertWithKey", &[ANY], |_, _| refused()),
    variadic("getHostByName", &[ANY], |_, _| refused()),
];

fn not_available() -> Result<crate::core::value::Value, Failure> {
    Err("this function is not available: the same input must give the same message".into())
}

fn refused() -> Result<crate::core::value::Value, Failure> {
    Err("this function is not available in messages: it makes keys or asks the network".into())
}
