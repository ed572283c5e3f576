//! A client of the API on a worker, who asks the cluster's endpoint as that worker's kubelet does: each time with a new connection, one
//! second of patience and no second try.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use super::super::WORKER;
use crate::lab::Lab;

/// Where it writes on the host; in the host's own file system, so that it can be read past it.
const FOLDER: &str = "/var/tmp/api-client";

/// Ten times a second, with the time before and after.
const SCRIPT: &str = r#"mkdir -p FOLDER; rm -f FOLDER/stop; : >FOLDER/asked
server=$(sed -n 's/^ *server: //p' /etc/kubernetes/kubelet.conf)
while [ ! -e FOLDER/stop ]; do
    before=$EPOCHREALTIME
    code=$(curl --silent --output /dev/null --max-time 1 --write-out '%{http_code}' --cacert /etc/kubernetes/pki/ca.crt \
        --cert /var/lib/kubelet/pki/kubelet-client-current.pem "$server/api/v1/nodes/WORKER") || :
    echo "$before $EPOCHREALTIME $code" >>FOLDER/asked
    sleep 0.1
done"#;

/// The client, asking.
pub struct Client {
    asked: PathBuf,
}

/// What became of its requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// How many there were.
    pub asked: usize,
    /// Those that were not answered with 200 within a second.
    pub failed: usize,
    /// The longest time between the ends of two that were, in seconds.
    pub gap_s: f64,
    /// What failed: seconds since the first, and the status, which is 000 where nobody answered.
    pub failures: Vec<(f64, String)>,
}

impl Client {
    /// Begins to ask.
    ///
    /// # Errors
    /// The host does not let it, or it writes nothing.
    pub fn begin(lab: &Lab) -> Result<Self> {
        let script = SCRIPT.replace("FOLDER", FOLDER).replace("WORKER", WORKER).replace('\'', r"'\''");
        lab.exec(WORKER, &format!("systemd-run --quiet --collect --unit api-client bash -c '{script}'"))?;
        let asked = lab.folder(WORKER)?.join(FOLDER.trim_start_matches('/')).join("asked");
        Ok(Self { asked })
    }

    /// Ends it.
    ///
    /// # Errors
    /// What it wrote cannot be read, or nobody asked.
    pub fn end(self, lab: &Lab) -> Result<Answers> {
        lab.exec(
            WORKER,
            &format!("touch {FOLDER}/stop; while systemctl is-active --quiet api-client; do sleep 0.1; done"),
        )?;
        let text = fs::read_to_string(&self.asked).with_context(|| self.asked.display().to_string())?;
        answers(&text)
    }
}

fn answers(text: &str) -> Result<Answers> {
    let mut asked = Vec::new();
    for line in text.lines() {
        let [before, after, code] = line.split(' ').collect::<Vec<_>>()[..] else {
            anyhow::bail!("{line:?} is no request");
        };
        asked.push((before.parse::<f64>()?, after.parse::<f64>()?, code));
    }
    let Some(&(first, _, _)) = asked.first() else { anyhow::bail!("nobody asked") };
    let failures = asked.iter().filter(|(_, _, code)| *code != "200");
    let failures: Vec<(f64, String)> =
        failures.map(|(before, _, code)| (super::rounded(before - first), (*code).to_owned())).collect();
    let ends: Vec<f64> = asked.iter().filter(|(_, _, code)| *code == "200").map(|(_, after, _)| *after).collect();
    let gap = ends.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    Ok(Answers { asked: asked.len(), failed: failures.len(), gap_s: super::rounded(gap), failures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_up() {
        let text = "10.0 10.1 200\n10.2 11.2 000\n11.3 11.4 503\n11.5 11.75 200\n11.85 11.9 200\n";
        let failures = vec![(0.2, "000".to_owned()), (1.3, "503".to_owned())];
        assert_eq!(answers(text).unwrap(), Answers { asked: 5, failed: 2, gap_s: 1.65, failures });
        assert!(answers("").is_err() && answers("10.0 200\n").is_err());
    }
}
