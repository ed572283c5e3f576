//! Copies that the hosts take by themselves, again and again.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::StoreAddress;

/// When hosts take copies of etcd by themselves, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// From the end of one copy to the beginning of the next.
    pub every: Every,
    /// Where they go: a bucket, or a folder of each host's own.
    #[schemars(with = "String")]
    pub to: StoreAddress,
    /// How many are kept, and as many proved ones.
    pub keep: u32,
}

/// A period in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Every(u32);

/// Below this the members would be asked for their whole data all the time: a copy of 2 GB, etcd's default quota, takes minutes.
const SHORTEST: SignedDuration = SignedDuration::from_mins(5);
/// What a copy older than a month is worth nobody wants to find out.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

impl Every {
    /// In whole minutes.
    pub fn minutes(self) -> u32 {
        self.0
    }

    /// As a duration.
    pub fn whole(self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.0))
    }

    /// A copy that is younger than this makes another one needless: half the period, so that one that is late by a delay, and by what
    /// it took, is still followed by the next.
    pub fn enough(self) -> SignedDuration {
        self.whole() / 2
    }
}

impl fmt::Display for Every {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes) = (self.0 / 1440, self.0 % 1440 / 60, self.0 % 60);
        let parts = [(days, 'd'), (hours, 'h'), (minutes, 'm')];
        let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
        formatter.pad(&parts.collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|_| "a period is such as 6h, 90m or 1d".to_owned())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
        if duration < SHORTEST || duration > LONGEST {
            return Err("a period is five minutes at least and 31 days at most".to_owned());
        }
        u32::try_from(duration.as_secs() / 60).map(Self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_whole_minutes_between_a_moment_and_a_month() {
        let minutes = |text: &str| text.parse().map(Every::minutes);
        assert_eq!(minutes("6h"), Ok(360));
        assert_eq!(minutes("1h 30m"), Ok(90));
        assert_eq!(minutes("1d"), Ok(1440));
        assert_eq!(minutes("5m59s"), Ok(5));
        for wrong in ["", "6", "-6h", "4m", "32d", "daily", "9999999999h"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
        assert_eq!("25h 5m".parse::<Every>().unwrap().to_string(), "1d 1h 5m");
        assert_eq!("7h".parse::<Every>().unwrap().enough(), SignedDuration::from_mins(210));
    }
}
