//! Where copies are kept: a folder, or a bucket of an S3-compatible store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How addresses of buckets begin.
const SCHEME: &str = "s3://";

/// Where copies are kept, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreAddress {
    /// A folder or a file, by its path.
    Folder(String),
    /// A bucket, and what keys in it begin with.
    Bucket {
        /// Its name.
        bucket: String,
        /// Without slashes at its ends; empty for the whole bucket.
        prefix: String,
    },
}

impl StoreAddress {
    /// What is called so in it.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let joined = |path: &str| match path.trim_end_matches('/') {
            "" if path.is_empty() => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        match self {
            Self::Folder(path) => Self::Folder(joined(path)),
            Self::Bucket { bucket, prefix } => Self::Bucket { bucket: bucket.clone(), prefix: joined(prefix) },
        }
    }

    /// Whether it is a bucket.
    pub fn is_bucket(&self) -> bool {
        matches!(self, Self::Bucket { .. })
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => formatter.pad(path),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => formatter.pad(&format!("{SCHEME}{bucket}")),
            Self::Bucket { bucket, prefix } => formatter.pad(&format!("{SCHEME}{bucket}/{prefix}")),
        }
    }
}

impl FromStr for StoreAddress {
    type Err = String;

    /// What has no `://` is a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => Err("it is empty".to_owned()),
                path => Ok(Self::Folder(path.to_owned())),
            };
        };
        if format!("{scheme}://") != SCHEME {
            return Err(format!(
                "`{scheme}://` is not known: a bucket is s3://BUCKET/PREFIX; another server than AWS is named by its endpoint"
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        bucket_name(bucket)?;
        let prefix = prefix.trim_end_matches('/');
        key(prefix)?;
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl TryFrom<String> for StoreAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StoreAddress> for String {
    fn from(address: StoreAddress) -> Self {
        address.to_string()
    }
}

/// S3's rules for the name of a bucket, those that other servers share ("General purpose bucket naming rules").
fn bucket_name(name: &str) -> Result<(), String> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        Err("the bucket's name is missing: s3://BUCKET/PREFIX".to_owned())
    } else if !(3..=63).contains(&name.len()) {
        Err(format!("the bucket's name has {} characters; 3 to 63 are allowed", name.len()))
    } else if let Some(c) = name.chars().find(|c| !edge(*c) && !matches!(c, '-' | '.')) {
        Err(format!("the bucket's name has {c:?}; only a-z, 0-9, `-` and `.` are allowed"))
    } else if !name.starts_with(edge) || !name.ends_with(edge) {
        Err("the bucket's name begins or ends with `-` or `.`".to_owned())
    } else {
        Ok(())
    }
}

/// A key that every tool shows as it is: no empty parts, none that climb, nothing that cannot be printed.
fn key(prefix: &str) -> Result<(), String> {
    if prefix.is_empty() {
        return Ok(());
    }
    if let Some(part) = prefix.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        return Err(match part {
            "" => "there are two slashes beside each other".to_owned(),
            part => format!("a part of it is `{part}`"),
        });
    }
    match prefix.chars().find(|c| c.is_control() || matches!(c, '\\' | '?' | '#')) {
        Some(c) => Err(format!("{c:?} is not allowed in it")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(bucket: &str, prefix: &str) -> StoreAddress {
        StoreAddress::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn addresses() {
        assert_eq!("s3://lab".parse(), Ok(bucket("lab", "")));
        assert_eq!("s3://lab/".parse(), Ok(bucket("lab", "")));
        assert_eq!("s3://lab/etcd/prod/".parse(), Ok(bucket("lab", "etcd/prod")));
        assert_eq!("/backup".parse(), Ok(StoreAddress::Folder("/backup".to_owned())));
        assert_eq!("relative/folder".parse(), Ok(StoreAddress::Folder("relative/folder".to_owned())));
        assert_eq!(bucket("lab", "").below("cp1").to_string(), "s3://lab/cp1");
        assert_eq!(bucket("lab", "a/b").below("cp1").to_string(), "s3://lab/a/b/cp1");
        assert_eq!(StoreAddress::Folder("/".to_owned()).below("x").to_string(), "/x");
        for (text, why) in [
            ("", "empty"),
            ("gs://lab", "endpoint"),
            ("https://minio.example", "endpoint"),
            ("s3://", "missing"),
            ("s3:///x", "missing"),
            ("s3://ab", "2 characters"),
            ("s3://Lab", "'L'"),
            ("s3://lab:9000/x", "':'"),
            ("s3://-lab", "begins or ends"),
            ("s3://lab//x", "two slashes"),
            ("s3://lab/a/../b", "`..`"),
            ("s3://lab/a?b", "'?'"),
        ] {
            let error = text.parse::<StoreAddress>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", prefix in "([a-z0-9 _.=-]{1,8}[a-z]/){0,3}[a-zü0-9]{0,4}") {
            let text = format!("s3://{name}/{prefix}");
            if let Ok(address) = text.parse::<StoreAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
                let below = address.below("etcd.snap");
                prop_assert_eq!(below.to_string().parse(), Ok(below));
            }
        }
    }
}
