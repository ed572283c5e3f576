//! What the how-to pages tell people to type is run here on a real cluster, or the page promises what nobody tried.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::operator::ran;

/// Commands whose second word tells what is done.
const FAMILIES: [&str; 3] = ["etcd", "node", "ops"];

/// And those whose third word does.
const GROUPS: [&str; 2] = ["alarm", "member"];

/// Named last, so that it runs after the scenarios; where these were left out there is nothing to compare.
#[test]
fn what_the_how_to_pages_show_was_run() {
    let ran: BTreeSet<String> =
        ran().iter().filter_map(|arguments| deed(arguments.iter().map(String::as_str))).collect();
    if ran.is_empty() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to");
    let mut shown = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("pages") {
        let text = fs::read_to_string(entry.expect("a page").path()).expect("a page");
        let blocks = text.split("```").skip(1).step_by(2).flat_map(str::lines);
        let commands = blocks.filter_map(|line| line.strip_prefix("kubewright "));
        shown.extend(commands.filter_map(|command| deed(command.split_whitespace())));
    }
    assert!(shown.len() > 10, "only {shown:?}");
    let missing: Vec<&String> = shown.difference(&ran).collect();
    assert!(missing.is_empty(), "the pages show what no scenario ran: {missing:?}");
}

/// `node drain` of `node drain w1 -f cluster.yaml`, `etcd member add` of `etcd member add cp3`, `apply` of `apply lab.plan`.
fn deed<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<String> {
    let first = words.next()?;
    if !FAMILIES.contains(&first) {
        return Some(first.to_owned());
    }
    let second = words.next()?;
    if !GROUPS.contains(&second) {
        return Some(format!("{first} {second}"));
    }
    words.next().map(|third| format!("{first} {second} {third}"))
}
