//! Names that must not be mixed up: a host is not a step, a step is not an operation.

use std::borrow::Borrow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A text from outside that cannot be such a name. Names become paths, units and labels, so nothing else gets in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no name of {what}: {rule}")]
pub struct BadName {
    /// The text, its beginning where it is long.
    pub text: String,
    /// Of what it should be a name.
    pub what: &'static str,
    /// What such a name is made of.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $fits:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $type(String);

        impl TryFrom<String> for $type {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                if $fits(&text) {
                    return Ok(Self(text));
                }
                Err(BadName { text: text.chars().take(80).collect(), what: $what, rule: $rule })
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl $type {
            /// Takes the text as it is; whatever comes from outside goes through `TryFrom<String>`.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

/// What systemd and file systems let stand as one name.
const LONGEST: usize = 200;

fn is_small(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_operation(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.chars().all(is_small)
}

fn is_step(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.starts_with(is_small)
        && text.chars().all(|c| is_small(c) || c == '-' || c == '.')
}

fn is_host(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(is_small)
        && text.ends_with(is_small)
        && text.chars().all(|c| is_small(c) || c == '-')
}

name!(
    /// A host of the spec; also the name of its Kubernetes node.
    HostName,
    "a host",
    "lower-case letters, digits and dashes within, 63 at most",
    is_host
);
name!(
    /// A step of a plan: position, target and verb, such as `07-cp2-start`.
    StepId,
    "a step",
    "lower-case letters, digits, dashes and dots",
    is_step
);
name!(
    /// One run of one plan. Short enough to type (`7f3a9c`); also the name of its folder and its lock.
    OperationId,
    "an operation",
    "lower-case letters and digits, 32 at most",
    is_operation
);

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: serde::de::DeserializeOwned>(text: &str) -> bool {
        serde_json::from_value::<T>(serde_json::Value::String(text.to_owned())).is_ok()
    }

    #[test]
    fn names_from_outside_stay_in_their_folder() {
        for evil in ["", "..", "../x", "a/b", "/etc", "a b", "a\n", ".hidden", "-rf", "ä", "A", "a\0"] {
            assert!(!reads::<OperationId>(evil) && !reads::<StepId>(evil) && !reads::<HostName>(evil), "{evil:?}");
        }
        assert!(reads::<OperationId>("7f3a9c") && !reads::<OperationId>(&"a".repeat(33)));
        assert!(!reads::<OperationId>("a-b") && !reads::<OperationId>("a.b"));
        assert!(reads::<StepId>("07-cp2-kube-proxy") && reads::<StepId>("07-a.b-start"));
        assert!(reads::<HostName>("cp-1") && !reads::<HostName>("cp-") && !reads::<HostName>(&"a".repeat(64)));
    }

    #[test]
    fn a_refusal_says_what_is_right() {
        let error = OperationId::try_from("../etc".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "`../etc` is no name of an operation: lower-case letters and digits, 32 at most");
    }
}
