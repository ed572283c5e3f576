//! Numbers as people read them.

use std::time::Duration;

pub use kubewright_core::summary::ago;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long something took: `0.9 s`, `14 s`, `1 min 40 s`, `2 h 5 min`, `3 d 4 h`.
pub fn took(duration: Duration) -> String {
    let tenths = (duration.as_secs_f64() * 10.0).round();
    if tenths < 100.0 {
        format!("{:.1} s", tenths / 10.0)
    } else {
        whole(Duration::from_secs_f64(duration.as_secs_f64().round()))
    }
}

/// The same without tenths, for what changes while it is looked at: `6 s`, `1 min 40 s`.
pub fn whole(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => pair(seconds / MINUTE, "min", seconds % MINUTE, "s"),
        HOUR..DAY => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        _ => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

fn pair(big: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{big} {unit}") } else { format!("{big} {unit} {small} {small_unit}") }
}

/// An estimate, no more exact than it is: whole tens of seconds, from two minutes on half minutes.
pub fn about(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let step = if seconds < 15.0 {
        5.0
    } else if seconds < 120.0 {
        10.0
    } else {
        30.0
    };
    let rounded = (seconds / step).round() * step;
    if rounded < 5.0 {
        "a few seconds".to_owned()
    } else {
        format!("about {}", whole(Duration::from_secs_f64(rounded)))
    }
}

/// Time since the beginning as a clock: `00:47`, `1:02:03`.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, seconds) = (seconds / MINUTE, seconds % MINUTE);
    if minutes < 60 {
        format!("{minutes:02}:{seconds:02}")
    } else {
        format!("{}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
    }
}

/// Bytes in the units that etcd's quota is given in: `212 MiB`, `1.3 GiB`.
pub fn bytes(number: u64) -> String {
    let mut size = number as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        // What would be shown as 1000 or more is shown in the next unit.
        if size < 999.5 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" || size >= 9.95 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

/// A large number, its digits in threes: `1 284 907`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn durations_read_like_a_person_says_them() {
        let said: Vec<String> = [0.0, 0.94, 9.94, 9.96, 14.4, 60.0, 100.0, 3600.0, 7500.0, 273_600.0]
            .map(|number| took(seconds(number)))
            .into();
        assert_eq!(
            said,
            ["0.0 s", "0.9 s", "9.9 s", "10 s", "14 s", "1 min", "1 min 40 s", "1 h", "2 h 5 min", "3 d 4 h"]
        );
    }

    #[test]
    fn estimates_are_round() {
        let said: Vec<String> = [1.0, 7.0, 13.0, 38.0, 97.0, 135.0].map(|number| about(seconds(number))).into();
        assert_eq!(
            said,
            ["a few seconds", "about 5 s", "about 15 s", "about 40 s", "about 1 min 40 s", "about 2 min 30 s"]
        );
    }

    #[test]
    fn the_clock_has_minutes_and_grows_hours() {
        assert_eq!(clock(seconds(47.9)), "00:47");
        assert_eq!(clock(seconds(3723.0)), "1:02:03");
    }

    #[test]
    fn sizes_and_numbers_are_short() {
        let said = [0, 999, 1024, 10_300, 222_298_112, 1_020_000, 1_400_000_000].map(bytes);
        assert_eq!(said, ["0 B", "999 B", "1.0 KiB", "10 KiB", "212 MiB", "996 KiB", "1.3 GiB"]);
        assert_eq!([0, 12, 999, 1000, 1_284_907].map(grouped), ["0", "12", "999", "1 000", "1 284 907"]);
    }
}
