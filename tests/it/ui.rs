//! Questions in a terminal: a process of its own with a terminal of its own, and keys that are pressed the moment a question is seen.

use std::process::Command;

use kubewright::ports::{Answer, Confirm, Select, Typed, Ui};
use kubewright::ui::Terminal;
use rexpect::process::WaitStatus;
use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};
use rustix::termios::tcgetattr;

/// Which question the process is to ask.
const KIND: &str = "KUBEWRIGHT_TEST_QUESTION";

/// A program in a terminal, without colours; each text may take so long to come. Only ASCII can be waited for.
pub fn in_terminal(mut command: Command, patience_seconds: u64) -> PtySession {
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let options = Options::new().timeout_ms(Some(patience_seconds * 1000));
    spawn_with_options(command, options).unwrap()
}

/// How a program in a terminal ended, and what it wrote last.
#[track_caller]
pub fn ended(mut session: PtySession) -> (Option<i32>, String) {
    let rest = session.exp_eof().unwrap();
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, code) => (Some(code), rest),
        _ => (None, rest),
    }
}

/// The process: it asks one question and says what came of it.
#[test]
#[ignore = "the test below runs it, in a terminal of its own"]
fn asks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let modes = || tcgetattr(std::io::stdin()).unwrap().local_modes;
    let before = modes();
    let question = "Which one".to_owned();
    let answer = match std::env::var(KIND).unwrap().as_str() {
        "select" => {
            let options = ["first", "second"].map(str::to_owned).to_vec();
            format!("{:?}", Terminal.select(&Select { question, options, default: 0 }).unwrap())
        }
        "confirm" => format!("{:?}", Terminal.confirm(&Confirm { question, default: false }).unwrap()),
        _ => format!("{:?}", Terminal.typed(&Typed { question, suggestion: Some("plan".to_owned()) }).unwrap()),
    };
    println!("answer: {answer}, modes as before: {}", modes() == before);
}

#[test]
fn every_question_is_answered_or_cancelled_and_leaves_the_terminal_as_it_was() {
    let cancelled = || format!("{:?}", Answer::<usize>::Cancelled);
    let given = |answer: &str| format!("Given({answer})");
    let cases = [
        ("select", "\r", given("0")),
        ("select", "\x1b[B\r", given("1")),
        ("select", "\x1b", cancelled()),
        ("select", "\x03", cancelled()),
        ("confirm", "y", given("true")),
        ("confirm", "\r", given("false")),
        ("confirm", "\x1b", cancelled()),
        ("confirm", "\x03", cancelled()),
        ("typed", "other\r", given("\"other\"")),
        ("typed", "\r", given("\"plan\"")),
        ("typed", "\x03", cancelled()),
    ];
    for (kind, keys, answer) in cases {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ui::asks", "--ignored", "--nocapture", "--test-threads=1"]).env(KIND, kind);
        let mut session = in_terminal(command, 30);
        session.exp_string("Which one").unwrap();
        session.send(keys).unwrap();
        session.flush().unwrap();
        let said = format!("answer: {answer}, modes as before: true");
        session.exp_string(&said).unwrap_or_else(|error| panic!("{kind} {keys:?}: {error}"));
        assert_eq!(ended(session).0, Some(0), "{kind} {keys:?}");
    }
}
