//! Reads the statements about a machine's fitness.

use super::{Answer, bad, collected, listening};
use crate::facts::{Fitness, FsyncLatency, Module, Mount, Proxy, Route, Sysctl, Trace};
use crate::spec::Cidr;

impl Answer<'_> {
    pub(super) fn fitness(&self) -> Fitness {
        let words = |key: &str| self.list(key, |item| Ok(item.to_owned()));
        Fitness {
            systemd: self.number("systemd"),
            missing_programs: words("missing-program"),
            broken_packages: words("broken-package"),
            clock_synchronised: self.number("clock-synchronised"),
            selinux: self.text("selinux"),
            cgroup_controllers: self
                .read("cgroup-controllers", |text| Ok(text.split_whitespace().map(str::to_owned).collect())),
            modules: self.named("module", |key| self.read(key, module)),
            sysctls: self.list("sysctl", sysctl).map(collected),
            mounts: self.list("mount", mount).map(collected),
            fsync: self.read("fsync", fsync),
            routes: self.list("route", route),
            listening_udp: self.list("listening-udp", listening).map(collected),
            name_servers: words("name-server"),
            names: self.named("name", words),
            proxy: self.read("proxy", proxy),
            firewalls: words("firewall"),
            cni_configurations: words("cni-configuration"),
            traces: self.list("trace", trace),
            runtime_sockets: words("runtime-socket"),
        }
    }
}

fn module(text: &str) -> Result<Module, String> {
    match text {
        "present" => Ok(Module::Present),
        "loadable" => Ok(Module::Loadable),
        "forbidden" => Ok(Module::Forbidden),
        _ => Err(bad("the state of a kernel module", text)),
    }
}

/// `name rw|ro value`; a value may be of several words.
fn sysctl(item: &str) -> Result<(String, Sysctl), String> {
    let read = || {
        let (name, rest) = item.split_once(' ')?;
        let (mode, value) = rest.split_once(' ').unwrap_or((rest, ""));
        matches!(mode, "rw" | "ro")
            .then(|| (name.to_owned(), Sysctl { value: value.to_owned(), writable: mode == "rw" }))
    };
    read().ok_or_else(|| bad("a kernel setting", item))
}

/// `folder kind options`, the options as in /proc/self/mounts.
fn mount(item: &str) -> Result<(String, Mount), String> {
    let read = || {
        let mut words = item.rsplitn(3, ' ');
        let (options, kind, folder) = (words.next()?, words.next()?, words.next()?);
        let has = |wanted: &str| options.split(',').any(|option| option == wanted);
        Some((folder.to_owned(), Mount { kind: kind.to_owned(), read_only: has("ro"), no_exec: has("noexec") }))
    };
    read().ok_or_else(|| bad("a file system", item))
}

/// `writes median p99 worst`, times in microseconds.
fn fsync(text: &str) -> Result<FsyncLatency, String> {
    let mut words = text.split(' ').map(|word| word.parse::<u64>().ok());
    let mut number = || words.next().flatten();
    let mut read = || {
        Some(FsyncLatency {
            writes: u32::try_from(number()?).ok()?,
            median_us: number()?,
            p99_us: number()?,
            worst_us: number()?,
        })
    };
    read().ok_or_else(|| bad("a series of times", text))
}

/// `destination interface`; a destination without a prefix is one address.
fn route(item: &str) -> Result<Route, String> {
    let read = || {
        let (destination, interface) = item.split_once(' ')?;
        let range = if destination.contains('/') { destination.to_owned() } else { format!("{destination}/32") };
        Some(Route { destination: Cidr::try_from(range).ok()?, interface: interface.to_owned() })
    };
    read().ok_or_else(|| bad("a route", item))
}

/// `address exceptions`, the exceptions separated by commas.
fn proxy(text: &str) -> Result<Proxy, String> {
    let (address, except) = text.split_once(' ').unwrap_or((text, ""));
    let except = except.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Ok(Proxy { address: address.to_owned(), except })
}

/// `tool path`.
fn trace(item: &str) -> Result<Trace, String> {
    let (tool, path) = item.split_once(' ').ok_or_else(|| bad("a trace", item))?;
    Ok(Trace { tool: tool.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn every_kind_of_statement() {
        let facts = parse(
            "= fitness asked\n= systemd true\n+ missing-program tar\n. missing-program\n. broken-package\n= clock-synchronised false\n\
             - selinux\n= cgroup-controllers cpuset cpu memory pids\n= module/overlay present\n= module/vxlan forbidden\n- module/nf_tables\n\
             + sysctl net.ipv4.ip_forward rw 0\n+ sysctl kernel.core_pattern ro |/bin/x %p\n. sysctl\n+ mount /var/lib ext4 rw,relatime\n\
             + mount /opt xfs ro,noexec\n. mount\n= fsync 100 410 2300 9100\n+ route 10.0.0.0/8 tun0\n+ route 192.0.2.1 eth0\n. route\n\
             + listening-udp 8472 \n. listening-udp\n+ name-server 10.0.0.2\n. name-server\n- name/api.example.com\n+ name/cp1 10.0.0.1\n. name/cp1\n\
             = proxy http://proxy:3128 localhost, 10.0.0.0/8\n+ firewall ufw\n. firewall\n! cni-configuration no permission\n\
             + trace k3s /var/lib/rancher/k3s\n. trace\n+ runtime-socket /run/docker.sock\n. runtime-socket",
        );
        let fitness = facts.fitness.known().unwrap();
        assert_eq!(fitness.systemd.known(), Some(&true));
        assert_eq!(fitness.missing_programs.known().unwrap(), &["tar"]);
        assert_eq!(fitness.broken_packages.known().unwrap().len(), 0);
        assert_eq!(fitness.clock_synchronised.known(), Some(&false));
        assert!(fitness.selinux.is_absent());
        assert_eq!(fitness.cgroup_controllers.known().unwrap(), &["cpuset", "cpu", "memory", "pids"]);
        assert_eq!(fitness.modules["overlay"].known(), Some(&Module::Present));
        assert_eq!(fitness.modules["vxlan"].known(), Some(&Module::Forbidden));
        assert!(fitness.modules["nf_tables"].is_absent());
        let sysctls = fitness.sysctls.known().unwrap();
        assert_eq!(sysctls["net.ipv4.ip_forward"], Sysctl { value: "0".into(), writable: true });
        assert_eq!(sysctls["kernel.core_pattern"].value, "|/bin/x %p");
        let mounts = fitness.mounts.known().unwrap();
        assert_eq!(mounts["/opt"], Mount { kind: "xfs".into(), read_only: true, no_exec: true });
        assert!(!mounts["/var/lib"].read_only);
        let latency = FsyncLatency { writes: 100, median_us: 410, p99_us: 2300, worst_us: 9100 };
        assert_eq!(fitness.fsync.known(), Some(&latency));
        let routes: Vec<String> =
            fitness.routes.known().unwrap().iter().map(|route| route.destination.to_string()).collect();
        assert_eq!(routes, ["10.0.0.0/8", "192.0.2.1/32"]);
        assert_eq!(fitness.listening_udp.known().unwrap()[&8472], "");
        assert_eq!(fitness.name_servers.known().unwrap(), &["10.0.0.2"]);
        assert!(fitness.names["api.example.com"].is_absent());
        assert_eq!(fitness.names["cp1"].known().unwrap(), &["10.0.0.1"]);
        assert_eq!(fitness.proxy.known().unwrap().except, ["localhost", "10.0.0.0/8"]);
        assert_eq!(fitness.firewalls.known().unwrap(), &["ufw"]);
        assert_eq!(fitness.cni_configurations.why(), Some("no permission"));
        assert_eq!(fitness.traces.known().unwrap()[0].tool, "k3s");
        assert_eq!(fitness.runtime_sockets.known().unwrap(), &["/run/docker.sock"]);
    }

    #[test]
    fn a_built_host_is_not_asked_and_nonsense_is_unreadable() {
        assert!(parse("- fitness").fitness.is_absent());
        let facts = parse(
            "= fitness asked\n= module/overlay perhaps\n= fsync 1 2\n+ route nowhere\n. route\n+ mount /\n. mount",
        );
        let fitness = facts.fitness.known().unwrap();
        assert!(fitness.modules["overlay"].why().is_some());
        assert!(fitness.fsync.why().is_some() && fitness.routes.why().is_some() && fitness.mounts.why().is_some());
        assert_eq!(fitness.systemd.why(), Some("the host did not tell"));
    }
}
