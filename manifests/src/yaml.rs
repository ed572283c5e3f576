//! One way from a JSON value to YAML text.
//!
//! Keys come out sorted, as kubeadm's do, whatever features another crate of the build switched on in serde_json.
//! Strings that a YAML 1.1 reader (Go's, in kubelet and kubeadm) would take for something else are quoted: `"1.35"`,
//! `"true"`, `"on"`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::ser_options;

/// Long flags must stay on one line: folding them is legal YAML and unreadable.
const NEVER_FOLD: usize = 1 << 20;

/// The value as a YAML document without a `---` line.
pub fn document(value: &Value) -> String {
    let options = ser_options! { folded_wrap_chars: NEVER_FOLD };
    serde_saphyr::to_string_with_options(&Sorted(value), options).expect("a JSON value is serialisable")
}

/// A value that serialises with its keys sorted.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let sorted: BTreeMap<&String, Sorted<'_>> =
                    map.iter().map(|(key, value)| (key, Sorted(value))).collect();
                serializer.collect_map(sorted)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_that_look_like_something_else_are_quoted() {
        let tricky = [
            "true",
            "True",
            "yes",
            "on",
            "off",
            "n",
            "Y",
            "null",
            "~",
            "",
            "1.35",
            "1e3",
            "0x1f",
            "0700",
            "0o17",
            "1_000",
            "+1",
            ".5",
            ".inf",
            "12:30:45",
            "2026-01-02",
            "=",
            "<<",
            "- a",
            "a: b",
            "a #b",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "{}",
            "[]",
            " a",
            "a ",
            "a:",
            "--flag=a,b",
            "|",
            ">",
            "'",
            "\"",
            "\\",
            "\t",
            "ä",
        ];
        for text in tricky {
            let yaml = document(&json!({ "key": text, "list": [text], text: 1 }));
            let back: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(back["key"], text, "{yaml}");
            assert_eq!(back["list"][0], text, "{yaml}");
            assert_eq!(back[text], 1, "{yaml}");
        }
        assert_eq!(
            document(&json!(["on", "1.35", "true", "443", "a=b"])),
            "- \"on\"\n- \"1.35\"\n- \"true\"\n- \"443\"\n- a=b\n"
        );
    }

    #[test]
    fn keys_are_sorted_and_lists_are_not() {
        assert_eq!(document(&json!({ "b": [2, 1], "a": {} })), "a: {}\nb:\n- 2\n- 1\n");
    }

    #[test]
    fn long_lines_stay_whole_and_line_ends_are_kept() {
        let long = "x ".repeat(500) + "x";
        assert_eq!(document(&json!([long])), format!("- {long}\n"));
        assert_eq!(document(&json!({ "a": "b\nc\n" })), "a: |\n  b\n  c\n");
    }
}
