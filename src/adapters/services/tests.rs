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
