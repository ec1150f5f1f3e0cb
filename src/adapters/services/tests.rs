//! What needs no receiver: masking, marks, endpoints. The rest is in tests/delivery.

use super::*;
use crate::config::secret::Secret;
use crate::core::notify::message::EmailPart;

#[test]
fn sec_01_secrets_are_masked_in_every_form() {
    let secrets =
        [Secret::new("pa ss/\"word\"+1\n".to_owned()), Secret::new("short".to_owned()), Secret::new(vec![0xff; 9])];
    let cleaner = Cleaner::new(&secrets);
    for (text, clean) in [
        ("plain pa ss/\"word\"+1 end", "plain *** end"),
        ("json pa ss/\\\"word\\\"+1 end", "json *** end"),
        ("percent pa%20ss%2F%22word%22%2B1 end", "percent *** end"),
        ("form pa+ss%2F%22word%22%2B1 end", "form *** end"),
        ("base64 cGEgc3MvIndvcmQiKzE= end", "base64 *** end"),
        ("twice pa ss/\"word\"+1pa ss/\"word\"+1", "twice ******"),
        ("cut off pa ss/\"wo", "cut off ***"),
        ("short stays", "short stays"),
        ("nothing here", "nothing here"),
    ] {
        assert_eq!(cleaner.clean(text), clean);
    }
}

#[test]
fn lan_07_marks_stand_where_people_see_them() {
    let now = Timestamp::from_second(1_767_225_600).unwrap();
    let context = |repeat, delayed| SendContext {
        event_id: "evt_1".into(),
        attempt: 2,
        possible_repeat: repeat,
        delayed,
        default_text: String::new(),
        thread: None,
        steps: vec![],
        now,
    };
    let mail = |subject: &str, body: &str| Message {
        text: "text".into(),
        part: Part::Email(EmailPart { subject: subject.into(), body: body.into() }),
    };
    assert_eq!(marked(&mail("s", "b"), &context(false, None)), None);
    let late = Timestamp::new(1_767_222_000, 123_456_789).unwrap();
    for (message, repeat, delayed, expected) in [
        (mail("s", "b"), true, None, mail("s (possible repeat)", "b")),
        (mail("", "b"), true, None, mail("", "b (possible repeat)")),
        (mail("s", "b"), false, Some(late), mail("s (delayed, event at 2025-12-31T23:00:00Z)", "b")),
    ] {
        assert_eq!(marked(&message, &context(repeat, delayed)), Some(expected));
    }
    let bare = marked(&mail("", ""), &context(true, None)).unwrap();
    assert_eq!(bare.text, "text (possible repeat)");
}

#[test]
fn em_01_port_465_is_encrypted_from_the_first_byte() {
    for (port, setting, at_once) in [
        (465, "", true),
        (465, "lynceus: {tls: required}", true),
        (465, "lynceus: {tls: opportunistic}", true),
        (465, "lynceus: {tls: none}", false),
        (587, "", false),
        (587, "lynceus: {tls: implicit}", true),
        (25, "", false),
        (25, "lynceus: {tls: opportunistic}", false),
    ] {
        for credentials in ["", "username: u\npassword: p\n"] {
            let text = format!("host: mail.test\nport: {port}\nfrom: a@b.test\n{credentials}{setting}");
            let (config, problems) = crate::config::services::service("service.email", &text, &BTreeMap::new());
            let Some(ServiceConfig { body: Body::Email(mail), .. }) = config else { panic!("{problems:?}") };
            assert_eq!(smtp::encrypted_at_once(&mail), at_once, "{port} {setting:?} {credentials:?}");
        }
    }
}

#[test]
fn sec_01_credentials_written_into_the_config_map_are_masked_too() {
    rustls::crypto::ring::default_provider().install_default().ok();
    for (key, body, secret, plain) in [
        ("service.slack", "token: xoxb-inline-1", "xoxb-inline-1", ""),
        (
            "service.webhook.x",
            "url: https://h\nheaders: [{name: X-Api-Key, value: inline-key-2}, {name: Accept, value: text/plain}]",
            "inline-key-2",
            "text/plain",
        ),
        (
            "service.webhook.y",
            "url: https://h\nbasicAuth: {username: u, password: inline-pw-3}",
            "inline-pw-3",
            "https://h",
        ),
        ("service.email", "host: h\nport: 25\nfrom: a@b.c\nusername: u\npassword: inline-pw-4", "inline-pw-4", "a@b.c"),
    ] {
        let (config, problems) = crate::config::services::service(key, body, &BTreeMap::new());
        let service = Service::new(config.unwrap_or_else(|| panic!("{problems:?}")), Http::new(http::Gate::Central));
        let text = format!("{secret} {plain}");
        assert_eq!(service.inner.cleaner.clean(&text), format!("*** {plain}"), "{key}");
        assert_eq!(redact::clean(&text), format!("*** {plain}"), "{key}: everywhere from now on");
    }
}
