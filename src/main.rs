//! kubewright: one file, one command, a Kubernetes cluster.

fn main() -> std::process::ExitCode {
    kubewright::cli::main().into()
}
