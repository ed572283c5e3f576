//! Verifies files: `cargo run --release --example verify -- FILE…`.

use std::process::ExitCode;
use std::time::Instant;

use kubewright_snapshot::{Snapshot, SnapshotFile};

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in std::env::args_os().skip(1) {
        let began = Instant::now();
        let name = path.display().to_string();
        let opened = SnapshotFile::open(&path).map_err(|error| error.to_string());
        match opened.and_then(|file| Snapshot::open(file).map_err(|error| error.to_string())) {
            Ok(snapshot) => {
                let report = snapshot.verify();
                let verdict = if report.is_damaged() { "damaged" } else { "whole" };
                println!("{name}: {verdict}, read in {:.2} s", began.elapsed().as_secs_f64());
                report.faults.iter().for_each(|fault| println!("  {fault}"));
                if let Some(survey) = &report.survey {
                    println!(
                        "  revision {}, {} keys, HashKV {:08x}",
                        survey.revision, survey.keys, survey.hash_kv.hash
                    );
                }
                if report.is_damaged() {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                println!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
