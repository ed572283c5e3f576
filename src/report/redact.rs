//! Blanks what differs from run to run (durations, times, ids, paths) and nothing else, at a fixed width, so that two
//! reports of the same thing can be compared and tables stay aligned.

/// What a duration becomes.
const DURATION: &str = "## s";
/// Units of durations as [`super::quantity`] writes them, in the order they stand.
const UNITS: [&str; 6] = ["d", "h", "min", "s", "ms", "µs"];

/// Knows what to blank.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    names: Vec<(String, String)>,
}

impl Redactor {
    /// One that blanks durations, clocks and times.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, blanking an id of this run, such as an operation's.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        let id = id.into();
        let blank = "#".repeat(id.chars().count());
        self.named(id, blank)
    }

    /// The same, replacing a path (and so the beginning of paths under it) by a name in brackets.
    #[must_use]
    pub fn path(self, path: impl Into<String>, name: &str) -> Self {
        self.named(path.into(), format!("<{name}>"))
    }

    fn named(mut self, from: String, to: String) -> Self {
        if !from.is_empty() {
            self.names.push((from, to));
            // The longest first: a folder within another has its own name.
            self.names.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        }
        self
    }

    /// The text with everything blanked.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.names {
            text = text.replace(from, to);
        }
        text.split_inclusive('\n').map(line).collect()
    }
}

fn line(line: &str) -> String {
    let mut done = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|char: char| char.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        done.push_str(before);
        let inside_word = done.ends_with(|char: char| char.is_alphanumeric() || "._-/:".contains(char));
        if let Some(length) = timestamp(number).or_else(|| clock(number)).filter(|_| !inside_word) {
            done.extend(number[..length].chars().map(|char| if char.is_ascii_digit() { '#' } else { char }));
            rest = &number[length..];
        } else if let Some(length) = duration(number).filter(|_| !inside_word) {
            rest = blank(&mut done, number, length);
        } else {
            let length = number.find(|char: char| !char.is_ascii_digit()).unwrap_or(number.len());
            done.push_str(&number[..length]);
            rest = &number[length..];
        }
    }
    done.push_str(rest);
    done
}

/// Puts the blank in the place of a duration of so many bytes; spaces of a column beside it take up the difference.
fn blank<'r>(done: &mut String, number: &'r str, length: usize) -> &'r str {
    let (old, rest) = number.split_at(length);
    let (old, new) = (old.chars().count(), DURATION.chars().count());
    let before = done.len() - done.trim_end_matches(' ').len();
    let after = rest.len() - rest.trim_start_matches(' ').len();
    let column_before = before >= 2;
    if column_before {
        let spaces = (before + old).saturating_sub(new).max(1);
        done.truncate(done.len() - before);
        done.push_str(&" ".repeat(spaces));
    }
    done.push_str(DURATION);
    if !column_before && after >= 2 && !rest.trim_start_matches(' ').starts_with('\n') {
        let spaces = (after + old).saturating_sub(new).max(1);
        done.push_str(&" ".repeat(spaces));
        return rest.trim_start_matches(' ');
    }
    rest
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Length of `1 min 40 s`, `0.9 s`, `14 ms`, … at the beginning of a text.
fn duration(text: &str) -> Option<usize> {
    let mut length = 0;
    let mut units = UNITS.iter().copied();
    loop {
        let part = &text[length..];
        let number = part.strip_prefix(' ').filter(|_| length > 0).unwrap_or(part);
        let skipped = part.len() - number.len();
        let whole = digits(number);
        if whole == 0 || (length > 0 && skipped == 0) {
            break;
        }
        let fraction = number[whole..].strip_prefix('.').map_or(0, |fraction| 1 + digits(fraction));
        let Some(unit) = number[whole + fraction..].strip_prefix(' ') else { break };
        let word = unit.find(|char: char| !char.is_alphanumeric()).unwrap_or(unit.len());
        if !units.any(|known| known == &unit[..word]) {
            break;
        }
        length += skipped + whole + fraction + 1 + word;
    }
    Some(length).filter(|length| *length > 0)
}

/// Length of `00:47` or `1:02:03` at the beginning of a text.
fn clock(text: &str) -> Option<usize> {
    let hours = digits(text);
    let mut length = hours;
    let mut pairs = 0;
    while let Some(rest) = text[length..].strip_prefix(':')
        && digits(rest) == 2
    {
        length += 3;
        pairs += 1;
    }
    (pairs > 0 && hours <= 2 && !text[length..].starts_with(|char: char| char.is_alphanumeric() || char == ':'))
        .then_some(length)
}

/// Length of `2026-11-20T23:00:00.123Z` or `2026-11-20` at the beginning of a text.
fn timestamp(text: &str) -> Option<usize> {
    let shape = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'T' => byte == b'T' || byte == b' ',
                wanted => byte == wanted,
            })
    };
    if shape(text, "0000-00-00T00:00:00") {
        let fraction = text[19..].strip_prefix('.').map_or(0, |fraction| 1 + digits(fraction));
        let zone = usize::from(text[19 + fraction..].starts_with('Z'));
        return Some(19 + fraction + zone);
    }
    shape(text, "0000-00-00").then_some(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str) -> String {
        Redactor::new().apply(text)
    }

    #[test]
    fn durations_are_blanked_however_long() {
        assert_eq!(blanked("done in 9 s (3 of 25)"), "done in ## s (3 of 25)");
        assert_eq!(blanked("done in 1 min 40 s (3 of 25)"), "done in ## s (3 of 25)");
        assert_eq!(blanked("facts 5 hosts in 0.9 s, 3 ms each"), "facts 5 hosts in ## s, ## s each");
    }

    #[test]
    fn columns_stay_aligned() {
        let one = "prepare      9.1 s  5 steps\nkeys      1 min 2 s  1 step\n";
        let other = "prepare    14 s  5 steps\nkeys     59 s  1 step\n";
        assert_eq!(blanked(one), "prepare       ## s  5 steps\nkeys           ## s  1 step\n");
        assert_eq!(blanked(other), other.replace("14", "##").replace("59", "##"));
        assert_eq!(blanked("● prepare 9 s    ○ start"), "● prepare ## s   ○ start");
        assert_eq!(blanked("● prepare 14 s   ○ start"), "● prepare ## s   ○ start");
    }

    #[test]
    fn clocks_and_times_keep_their_shape() {
        assert_eq!(blanked("00:47  cp1"), "##:##  cp1");
        assert_eq!(blanked("at 2026-11-20T23:00:00.123Z;"), "at ####-##-##T##:##:##.###Z;");
        assert_eq!(blanked("lab-2026-11-20.snap"), "lab-2026-11-20.snap");
    }

    #[test]
    fn versions_addresses_and_counts_stay() {
        let text = "Kubernetes 1.35.4 on 5 hosts, 10.77.0.11:6443, 03-cp3-prepare, 25 steps, fd00::12:34\n";
        assert_eq!(blanked(text), text);
    }

    #[test]
    fn ids_and_paths_are_named() {
        let redactor = Redactor::new().id("7f3a9c").path("/root", "home").path("/root/.local/state", "state");
        assert_eq!(
            redactor.apply("kubewright ops resume 7f3a9c; /root/.local/state/ops/7f3a9c, /root/x"),
            "kubewright ops resume ######; <state>/ops/######, <home>/x"
        );
    }

    #[test]
    fn no_text_breaks_it() {
        for text in ["", "9", "9 ", "9 s", "1:", "1:2", "99:99:99:99", "2026-", "µ9 µs9 µs", "9.", "9. s", "1 d 2"] {
            blanked(text);
        }
    }
}
