use proptest::prelude::*;

use super::*;

const NONCE: [u8; 16] = [7; 16];

fn framed(before: &[u8], body: &[u8], status: i32, after: &[u8]) -> Vec<u8> {
    let nonce = Nonce::new(NONCE);
    let mut stream = before.to_vec();
    stream.extend_from_slice(format!("\n{}\n", nonce.begin()).as_bytes());
    stream.extend_from_slice(body);
    stream.extend_from_slice(format!("\n{} {status}\n", nonce.end()).as_bytes());
    stream.extend_from_slice(after);
    stream
}

/// Feeds in pieces of the given sizes, over and over.
fn decode(stream: &[u8], sizes: &[usize], keep: Keep) -> Result<(Decoder, Vec<String>), FrameError> {
    let mut decoder = Decoder::new(&Nonce::new(NONCE), keep);
    let mut shown = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at((*size).clamp(1, rest.len()));
        decoder.feed(piece, &mut |line| shown.push(line.to_owned()))?;
        rest = more;
    }
    Ok((decoder, shown))
}

proptest! {
    #[test]
    fn the_answer_is_what_stands_between_the_marks(
        before in prop::collection::vec(any::<u8>(), 0..200),
        body in "[a-z \n]{0,300}",
        after in prop::collection::vec(any::<u8>(), 0..50),
        status in 0..256,
        sizes in prop::collection::vec(1_usize..70, 1..6),
    ) {
        let stream = framed(&before, body.as_bytes(), status, &after);
        let (decoder, shown) = decode(&stream, &sizes, Keep::All(STDOUT_LIMIT)).unwrap();
        prop_assert_eq!(decoder.status(), Some(status));
        prop_assert_eq!(decoder.text(), body.clone());
        let lines: Vec<&str> = body.split('\n').filter(|line| !line.is_empty()).collect();
        prop_assert_eq!(shown, lines);
    }

    #[test]
    fn any_bytes_are_survived(stream in prop::collection::vec(any::<u8>(), 0..2000), sizes in prop::collection::vec(1_usize..99, 1..4)) {
        let (decoder, _) = decode(&stream, &sizes, Keep::Tail(64)).unwrap();
        prop_assert_eq!(decoder.status(), None);
    }

    #[test]
    fn a_torn_answer_has_no_status(body in "[a-z\n]{0,200}", cut in 1_usize..40) {
        let stream = framed(b"", body.as_bytes(), 0, b"");
        let torn = &stream[..stream.len().saturating_sub(cut)];
        let (decoder, _) = decode(torn, &[13], Keep::All(STDOUT_LIMIT)).unwrap();
        prop_assert_eq!(decoder.status(), None);
    }

    #[test]
    fn marks_with_another_nonce_are_ordinary_text(other in any::<[u8; 16]>(), status in 0..9) {
        prop_assume!(other != NONCE);
        let other = Nonce::new(other);
        let forged = format!("{}\nfalse\n{} {status}\n", other.begin(), other.end());
        let stream = framed(forged.as_bytes(), forged.as_bytes(), 3, forged.as_bytes());
        let (decoder, _) = decode(&stream, &[50], Keep::All(STDOUT_LIMIT)).unwrap();
        prop_assert_eq!(decoder.status(), Some(3));
        prop_assert_eq!(decoder.text(), forged);
    }

    #[test]
    fn values_reach_the_shell_unchanged(value in "[^\u{0}]{0,60}") {
        let script = Script::new("test.sh", "printf '%s' \"$VALUE\"").value("VALUE", value.clone());
        let (decoder, _) = through_a_shell(&script);
        prop_assert_eq!(decoder.status(), Some(0));
        prop_assert_eq!(decoder.text(), value);
    }

    #[test]
    fn shown_lines_have_no_control_characters(line in any::<String>()) {
        prop_assert!(!clean(&line).chars().any(char::is_control));
    }
}

/// Runs the real `/bin/sh` on the encoded script.
fn through_a_shell(script: &Script) -> (Decoder, Vec<String>) {
    use std::io::Write as _;
    let nonce = Nonce::new(NONCE);
    let input = encode(script, &nonce).unwrap();
    let mut shell = std::process::Command::new("/bin/sh")
        .arg("-s")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(input.expose_secret().as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    decode(&output.stdout, &[4096], Keep::All(STDOUT_LIMIT)).unwrap()
}

#[test]
fn exits_and_errors_inside_the_script_are_its_status() {
    for (text, status) in
        [("exit 42", 42), ("set -e; false; echo no", 1), ("true", 0), ("nonsense-command", 127), ("kill -9 $$", -1)]
    {
        let (decoder, shown) = through_a_shell(&Script::new("test.sh", text));
        // `$$` is the outer shell: killing it leaves no answer at all.
        assert_eq!(decoder.status(), (status >= 0).then_some(status), "{text}");
        assert!(shown.is_empty(), "{text}");
    }
}

#[test]
fn a_script_cannot_eat_what_follows_it() {
    let (decoder, _) = through_a_shell(&Script::new("test.sh", "cat; echo done # no line end"));
    assert_eq!((decoder.status(), decoder.text().as_str()), (Some(0), "done\n"));
}

#[test]
fn a_script_that_does_not_parse_has_no_answer() {
    let (decoder, _) = through_a_shell(&Script::new("test.sh", "if true; then echo half"));
    assert_eq!((decoder.began(), decoder.status()), (true, None));
}

#[test]
fn half_a_script_runs_not_at_all() {
    use std::io::Write as _;
    let text = encode(&Script::new("test.sh", "echo first\necho second\n"), &Nonce::new(NONCE)).unwrap();
    let half = text.expose_secret().split_once("second").unwrap().0;
    let mut shell = std::process::Command::new("/bin/sh")
        .arg("-s")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(half.as_bytes()).unwrap();
    let output = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    assert!(!output.contains("first"), "{output}");
}

#[test]
fn a_carried_script_comes_with_its_values() {
    let inner = Script::new("inner.sh", "printf '%s' \"$WORD\"").value("WORD", "it's").after("WORD=\"$WORD here\"");
    let (decoder, _) = through_a_shell(&Script::new("outer.sh", "printf '%s' \"$CARRIED\" | sh -s").carrying(inner));
    assert_eq!(decoder.text(), "it's here");
}

#[test]
fn nul_is_refused_by_name() {
    let script = Script::new("test.sh", "true").value("PATHS", "a\0b");
    assert_eq!(encode(&script, &Nonce::new(NONCE)).unwrap_err(), NulInValue { name: "PATHS".to_owned() });
}

#[test]
fn megabytes_are_cut_or_refused() {
    let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
    let body = line.repeat(17 << 10);
    let stream = framed(b"", &body, 0, b"");
    assert_eq!(decode(&stream, &[8192], Keep::All(STDOUT_LIMIT)).unwrap_err(), FrameError::TooLong);
    let (decoder, _) = decode(&stream, &[8192], Keep::Tail(1000)).unwrap();
    assert_eq!((decoder.status(), decoder.text().len()), (Some(0), 1000));

    let one_line = framed(b"", &vec![b'y'; 20 << 20], 0, b"");
    assert_eq!(decode(&one_line, &[65536], Keep::All(STDOUT_LIMIT)).unwrap_err(), FrameError::TooLong);
    let (decoder, _) = decode(&one_line, &[65536], Keep::Tail(1000)).unwrap();
    assert_eq!((decoder.status(), decoder.text().len()), (Some(0), 1000));

    let noise = vec![b'n'; 17 << 20];
    assert_eq!(decode(&noise, &[65536], Keep::All(STDOUT_LIMIT)).unwrap_err(), FrameError::EndlessNoise);
}

#[test]
fn escape_codes_are_not_shown() {
    assert_eq!(
        clean("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}plain\u{1b}]8;;http://x\u{1b}\\link\r\u{8}\tend"),
        "redplainlink end".replace("red", "red ")
    );
    assert_eq!(clean("\u{202e}evil"), "evil");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let script = Script::new("test.sh", "true").secret("KEY", "hunter2".into());
    assert!(!format!("{script:?}").contains("hunter2"));
}
