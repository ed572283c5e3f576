//! Every file in `examples/` is one that a newcomer can start from.

use std::path::Path;

use kubewright_core::spec::read;

#[test]
fn examples_read_without_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let reading = read(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
            assert_eq!(reading.findings, [], "{}", path.display());
            assert!(reading.accepted().is_some(), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} examples in {}", folder.display());
}
