//! What `--help` says, of every command: the reference of the command line.

use std::path::Path;

use super::bench::Bench;

/// All commands, in the order of `kubewright --help`.
const COMMANDS: [&[&str]; 13] = [
    &[],
    &["init"],
    &["validate"],
    &["plan"],
    &["apply"],
    &["status"],
    &["ops"],
    &["ops", "list"],
    &["ops", "show"],
    &["ops", "resume"],
    &["kubeconfig"],
    &["version"],
    &["completions"],
];

#[test]
fn the_page_about_commands_is_what_help_says() {
    let bench = Bench::new();
    let mut page = String::from("# Commands\n\nWhat `kubewright COMMAND --help` says. ");
    page += "Exit codes have [their own page](exit-codes.md), so has [what is printed for machines](output.md).\n";
    for command in COMMANDS {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let told = bench.run(&arguments).ends(0);
        let name = ["kubewright"].iter().chain(command).copied().collect::<Vec<_>>().join(" ");
        let help: Vec<&str> = told.stdout.lines().map(str::trim_end).collect();
        page += &format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    }
    insta::assert_snapshot!(page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/commands.md");
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "KUBEWRIGHT_UPDATE_DOCS=1 cargo test writes it anew");
}

#[test]
fn no_command_is_left_out_of_the_page() {
    let bench = Bench::new();
    let listed = |arguments: &[&str]| {
        let told = bench.run(arguments).ends(0);
        let commands = told.stdout.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0.to_owned();
        let names = commands.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        names.filter(|name| name != "help").collect::<Vec<_>>()
    };
    let known = |depth: usize, prefix: &[&str]| {
        let below = COMMANDS.iter().filter(|command| command.len() == depth && command.starts_with(prefix));
        below.map(|command| command[depth - 1].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--help"]), known(1, &[]));
    assert_eq!(listed(&["ops", "--help"]), known(2, &["ops"]));
}
