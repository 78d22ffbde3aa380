//! Counts the lines and words of a text. The option `minimum` is how many words there must be.

mod millrace;

use millrace::{Answer, Failure};
use serde_json::{json, Value};

fn process(text: &[u8]) -> Result<Answer, Failure> {
    let options: Value = serde_json::from_str(&millrace::options()).expect("the host gives JSON");
    let minimum = options["minimum"].as_u64().unwrap_or(0);
    let lines = text.iter().filter(|&&byte| byte == b'\n').count();
    let words = text.split(|&byte| byte <= b' ').filter(|word| !word.is_empty()).count();
    if (words as u64) < minimum {
        let message = format!("the text has {words} words, fewer than {minimum}");
        return Err(Failure { code: "TooShort", message, retryable: false });
    }
    millrace::log(&format!("counted {words} words"));
    millrace::set_metadata("words", &words.to_string());
    let payload = json!({ "lines": lines, "words": words }).to_string().into_bytes();
    Ok(Answer { payload, content_type: "application/json" })
}
