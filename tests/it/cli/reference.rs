//! What `--help` says, of every command: the reference of the command line.

use std::fs;
use std::path::{Path, PathBuf};

use super::bench::Bench;

/// All commands below one, itself first, in the order in which `--help` lists them.
fn commands(bench: &Bench, command: &[&str]) -> Vec<Vec<String>> {
    let mut all = vec![command.iter().map(|word| (*word).to_owned()).collect()];
    let help = help(bench, command);
    let listed = help.split_once("Commands:\n").and_then(|(_, rest)| rest.split_once("\n\n"));
    let names = listed.into_iter().flat_map(|(list, _)| list.lines().filter_map(|line| line.split_whitespace().next()));
    for name in names.filter(|name| *name != "help") {
        all.extend(commands(bench, &[command, &[name]].concat()));
    }
    all
}

fn help(bench: &Bench, command: &[&str]) -> String {
    bench.run(&[command, &["--help"]].concat()).ends(0).stdout
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

#[test]
fn the_page_about_commands_is_what_help_says() {
    let bench = Bench::new();
    let mut page = String::from("# Commands\n\nWhat `kubewright COMMAND --help` says. ");
    page += "Exit codes have [their own page](exit-codes.md), so has [what is printed for machines](output.md).\n";
    for command in commands(&bench, &[]) {
        let said = help(&bench, &words(&command));
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        let title = [&["kubewright"], &words(&command)[..]].concat().join(" ");
        page += &format!("\n## {title}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    }
    insta::assert_snapshot!(page);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/commands.md");
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "KUBEWRIGHT_UPDATE_DOCS=1 cargo test writes it anew");
}

#[test]
fn every_command_that_the_pages_show_is_one() {
    let bench = Bench::new();
    let all = commands(&bench, &[]);
    let mut shown = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        for command in text.lines().chain(text.split('`')).filter_map(|line| line.trim().strip_prefix("kubewright ")) {
            let said: Vec<&str> =
                command.split_whitespace().take_while(|word| !word.starts_with(['#', '|', '<'])).collect();
            let known = all.iter().filter(|known| said.starts_with(&words(known))).max_by_key(|known| known.len());
            // Prose such as "kubewright does" begins with no command.
            let Some(known) = known.filter(|known| !known.is_empty() && !command.contains('\n')) else { continue };
            let help = help(&bench, &words(known));
            let options: Vec<&str> = help.split(|letter: char| !letter.is_alphanumeric() && letter != '-').collect();
            for option in said.iter().filter(|word| word.starts_with('-')) {
                assert!(options.contains(option), "{}: `kubewright {command}`: {option}", page.display());
            }
            shown += 1;
        }
    }
    assert!(shown > 40, "only {shown} commands were found");
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = page.with_file_name(link.split('#').next().unwrap_or_default());
            assert!(link.starts_with("https://") || target.exists(), "{}: {link}", page.display());
        }
    }
}

/// README and all below `docs/`.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("docs/SUMMARY.md"), root.join("ARCHITECTURE.md")];
    for folder in ["tutorial", "how-to", "reference", "explanation", "decisions"] {
        let entries = root.join("docs").join(folder).read_dir().unwrap();
        pages.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md")),
        );
    }
    pages
}
