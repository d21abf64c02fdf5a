//! `---INLINE-JSON JSON` (plain or in base64) and `---JSON-FILE PATH`: flags of the reference as one object.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// The command line that the object stands for. Keys are names without dashes; a list gives a flag for each of its
/// elements, or for each pair where a flag takes two values.
pub(in crate::cli) fn tokens(
    mode: &str,
    argument: &str,
    arity: impl Fn(&str) -> Option<usize>,
) -> Result<Vec<String>, String> {
    let text = if mode == "---JSON-FILE" {
        fs::read_to_string(argument).map_err(|error| format!("{mode} {argument}: {error}"))?
    } else if argument.trim_start().starts_with('{') {
        argument.to_owned()
    } else {
        let bytes = BASE64_STANDARD.decode(argument.trim()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| format!("what follows {mode} is neither JSON nor JSON in base64"))?
    };
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| format!("{mode}: {error}"))?;
    let mut tokens = Vec::new();
    for (key, value) in object {
        let arity = arity(&key);
        let flag = format!("--{key}");
        match value {
            Value::Null => {}
            Value::Bool(false) if arity == Some(0) => {}
            Value::Bool(true) if arity == Some(0) => tokens.push(flag),
            Value::Array(values) => {
                let values: Vec<String> =
                    values.iter().map(|value| text_of(&key, value)).collect::<Result<_, _>>()?;
                for part in values.chunks(arity.unwrap_or(1).max(1)) {
                    tokens.push(flag.clone());
                    tokens.extend(part.iter().cloned());
                }
            }
            other => tokens.extend([flag, text_of(&key, &other)?]),
        }
    }
    Ok(tokens)
}

fn text_of(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(format!("\"{key}\" must be text, a number, true, false or a list of these")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_command_line() {
        let arity = |key: &str| match key {
            "noCapture" | "insecureDestination" => Some(0),
            "setHeader" => Some(2),
            _ => Some(1),
        };
        let json = r#"{"listenPort": 9200, "setHeader": ["Host", "a", "X", "b"], "noCapture": true,
                       "insecureDestination": false, "kafkaTopic": "t"}"#;
        let expected = [
            "--kafkaTopic",
            "t",
            "--listenPort",
            "9200",
            "--noCapture",
            "--setHeader",
            "Host",
            "a",
            "--setHeader",
            "X",
            "b",
        ];
        let mut encoded = tokens("---INLINE-JSON", &BASE64_STANDARD.encode(json), arity).unwrap();
        assert_eq!(encoded, tokens("---INLINE-JSON", json, arity).unwrap());
        let mut expected = expected.map(String::from).to_vec();
        encoded.sort();
        expected.sort();
        assert_eq!(encoded, expected);
        assert!(
            tokens("---INLINE-JSON", "???", arity).is_err_and(|error| error.contains("base64"))
        );
        assert!(
            tokens("---INLINE-JSON", "{\"a\": {}}", arity)
                .is_err_and(|error| error.contains("\"a\""))
        );
        assert!(
            tokens("---JSON-FILE", "/no/such", arity)
                .is_err_and(|error| error.contains("/no/such"))
        );
    }
}
