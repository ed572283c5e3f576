//! Text made safe and laid out: what hosts say never controls the terminal, and a line is as wide as it may be.

use console::{AnsiCodeIterator, measure_text_width, truncate_str};

/// A host's line as it may be shown: no escape sequence, no control character, no character that reverses direction.
pub fn clean(text: &str) -> String {
    AnsiCodeIterator::new(text)
        .filter(|(_, is_code)| !is_code)
        .flat_map(|(piece, _)| piece.chars())
        .filter_map(|char| match char {
            '\t' => Some(' '),
            char if char.is_control() || turns_text_around(char) => None,
            char => Some(char),
        })
        .collect()
}

/// Bidirectional controls and the like (Unicode TR36): a log line must not show itself in another order than it has.
fn turns_text_around(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Each line of a text, cleaned; empty ones left out.
pub fn clean_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| clean(line).trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// How many columns a text takes, colours not counted.
pub fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// The text, cut to so many columns; `…` tells that something is missing.
pub fn fit(text: &str, columns: usize) -> String {
    // The sign itself takes a column.
    if columns == 0 { String::new() } else { truncate_str(text, columns, "…").into_owned() }
}

/// The text, filled with spaces to so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// A left and a right part on one line of so many columns; where they do not fit the left part is cut.
pub fn spread(left: &str, right: &str, columns: usize) -> String {
    let free = columns.saturating_sub(width(right));
    if free < 2 {
        return fit(left, columns);
    }
    format!("{}{right}", pad(&fit(left, free - 2), free))
}

/// Words laid out on lines of at most so many columns; at least one word a line.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_host_says_controls_the_terminal() {
        let evil = "a\x1b[2J\x1b]0;title\x07b\r\x08c\td\u{202e}e\u{9b}31mf";
        let shown = clean(evil);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.contains('a') && shown.contains('b') && shown.ends_with('f'));
        assert_eq!(clean("pulling kube-scheduler 61 % ✓"), "pulling kube-scheduler 61 % ✓");
    }

    #[test]
    fn a_line_is_never_wider_than_asked() {
        for columns in 0..40 {
            assert!(width(&spread("left part with 日本語 words", "right", columns)) <= columns, "{columns}");
            assert!(width(&fit("日本語日本語", columns)) <= columns, "{columns}");
        }
    }

    #[test]
    fn long_words_get_their_own_line() {
        assert_eq!(wrap("a bb cccccccc d", 4), ["a bb", "cccccccc", "d"]);
    }
}
