//! What a name, a label, an address or a duration may look like: the rules of Kubernetes, DNS, Go and OpenSSH as plain
//! predicates. Each says what is wrong in words that complete "… is not …".

use std::net::IpAddr;

/// RFC 1123 label, as `validation.IsDNS1123Label` of apimachinery has it.
pub fn dns_label(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else if text.len() > 63 {
        Err(format!("it has {} characters; 63 are allowed", text.len()))
    } else if let Some(c) = text.chars().find(|c| !inner(*c)) {
        Err(format!("{} is not allowed; only a-z, 0-9 and `-` are", shown(c)))
    } else if text.starts_with('-') || text.ends_with('-') {
        Err("it begins or ends with `-`".to_owned())
    } else {
        Ok(())
    }
}

/// RFC 1123 subdomain: labels with dots between them, 253 characters.
pub fn dns_name(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err(format!("it has {} characters; 253 are allowed", text.len()));
    }
    text.split('.').try_for_each(|label| match label {
        "" => Err("it has an empty part between dots".to_owned()),
        label => dns_label(label).map_err(|why| format!("in `{label}`: {why}")),
    })
}

/// What certificates may name: an address, a DNS name, or a name whose first label is `*`.
pub fn certificate_name(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    without_scheme(text)?;
    dns_name(text.strip_prefix("*.").unwrap_or(text))?;
    not_a_broken_address(text)
}

/// A host as ssh connects to it: an address or a name. Underscores occur in names of real machines.
pub fn host_address(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    without_scheme(text)?;
    dns_name(&text.to_ascii_lowercase().replace('_', "x"))?;
    not_a_broken_address(text)
}

/// Refuses what belongs around a name and not into it.
fn without_scheme(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, _)) => Err(format!("it stands here without `{scheme}://`")),
        None => Ok(()),
    }
}

/// Refuses `10.0.0.300` and `10.0.0`, which are DNS names by the letter and never what was meant.
fn not_a_broken_address(text: &str) -> Result<(), String> {
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        Err("an IPv4 address has four numbers from 0 to 255".to_owned())
    } else {
        Ok(())
    }
}

/// Key of a label or a taint: `[prefix/]name`, as `validation.IsQualifiedName` has it.
pub fn qualified_name(text: &str) -> Result<(), String> {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            dns_name(prefix).map_err(|why| format!("before the `/`: {why}"))?;
            name
        }
        None => text,
    };
    if name.is_empty() { Err("the name is empty".to_owned()) } else { label_value(name) }
}

/// Value of a label or a taint, as `validation.IsValidLabelValue` has it; may be empty.
pub fn label_value(text: &str) -> Result<(), String> {
    let end = |c: char| c.is_ascii_alphanumeric();
    if text.len() > 63 {
        Err(format!("it has {} characters; 63 are allowed", text.len()))
    } else if let Some(c) = text.chars().find(|c| !end(*c) && !matches!(c, '-' | '_' | '.')) {
        Err(format!("{} is not allowed; only letters, digits, `-`, `_` and `.` are", shown(c)))
    } else if text.is_empty() || text.starts_with(end) && text.ends_with(end) {
        Ok(())
    } else {
        Err("it must begin and end with a letter or a digit".to_owned())
    }
}

/// A flag of a Kubernetes component, without dashes.
pub fn flag_name(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        Err("flags stand here without their dashes".to_owned())
    } else if let Some((_, value)) = text.split_once('=') {
        Err(format!("`{value}` belongs into `value`"))
    } else if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_')) {
        Err(format!("{} does not occur in a flag", shown(c)))
    } else {
        filled(text)
    }
}

/// Name of an environment variable, as `validation.IsEnvVarName` has it.
pub fn variable_name(text: &str) -> Result<(), String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        Err("it begins with a digit".to_owned())
    } else if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_')) {
        Err(format!("{} is not allowed; only letters, digits, `-`, `_` and `.` are", shown(c)))
    } else {
        filled(text)
    }
}

/// A path from the root that stays where it says.
pub fn absolute_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        Err("it does not begin with `/`".to_owned())
    } else if text.split('/').any(|part| part == "..") {
        Err("it climbs with `..`".to_owned())
    } else {
        one_line(text)
    }
}

/// Base of URLs that we extend with paths: scheme, host, perhaps port and path, nothing else.
pub fn base_url(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err("it does not begin with `http://` or `https://`".to_owned());
    };
    if let Some(c) =
        rest.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '"' | '\\' | '@'))
    {
        let why = if c == '@' {
            "a user and password do not belong into the file".to_owned()
        } else {
            format!("{} is not allowed", shown(c))
        };
        return Err(why);
    }
    authority(rest.split('/').next().unwrap_or_default())
}

/// A registry as image names begin with it: `registry.k8s.io`, `10.0.0.2:5000`.
pub fn registry(text: &str) -> Result<(), String> {
    without_scheme(text)?;
    authority(text)
}

/// `host` or `host:port`, with `[…]` around an IPv6 address.
fn authority(text: &str) -> Result<(), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some(rest))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if let Some(port) = port
        && !port.parse::<u16>().is_ok_and(|port| port != 0)
    {
        return Err(format!("`{port}` is not a port"));
    }
    host_address(host).map_err(|why| format!("its host `{host}` is not valid: {why}"))
}

/// Name of a Linux network interface (`dev_valid_name` of the kernel).
pub fn interface(text: &str) -> Result<(), String> {
    if text.len() > 15 {
        Err(format!("it has {} characters; the kernel allows 15", text.len()))
    } else if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':')) {
        Err(format!("{} is not allowed", shown(c)))
    } else if matches!(text, "." | "..") {
        Err("it is reserved".to_owned())
    } else {
        filled(text)
    }
}

/// A word for ssh's command line. A leading dash would be taken as an option, which can run programs.
pub fn ssh_word(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        Err("it begins with `-`, which ssh takes as an option".to_owned())
    } else if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Err(format!("{} is not allowed", shown(c)))
    } else {
        filled(text)
    }
}

/// How many may be away at once: a whole number from 1, or a percentage from 1 % to 100 %.
pub fn share(text: &str) -> Result<(), String> {
    let (number, most) = text.strip_suffix('%').map_or((text, u32::MAX), |percent| (percent, 100));
    match number.parse::<u32>() {
        Ok(0) => Err("with 0 nothing could ever move".to_owned()),
        Ok(number) if number <= most => Ok(()),
        Ok(_) => Err("there are at most 100 %".to_owned()),
        Err(_) => Err("it is neither a number nor a percentage".to_owned()),
    }
}

/// A duration of Go (`8760h`, `8760h0m0s`) in whole hours, at least one.
pub fn hours(text: &str) -> Result<u32, String> {
    if text.chars().any(|c| matches!(c, 'd' | 'y' | 'w')) {
        return Err("Go's durations know h, m and s; a year is 8760h".to_owned());
    }
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or("its unit is missing, such as in 8760h")?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| "it is not a number and a unit such as 8760h")?;
        let unit = match tail.as_bytes().first() {
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => return Err("its unit is none of h, m, s".to_owned()),
        };
        seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or("it is too long")?;
        rest = &tail[1..];
    }
    match u32::try_from(seconds / 3600) {
        Ok(0) => Err("it is shorter than an hour".to_owned()),
        // 100 years: past 9999 the time formats of X.509 end, and nobody means that.
        Ok(hours) if hours > 876_600 => Err("it is longer than 100 years".to_owned()),
        Ok(_) if !seconds.is_multiple_of(3600) => Err("it is not a whole number of hours".to_owned()),
        Ok(hours) => Ok(hours),
        Err(_) => Err("it is longer than 100 years".to_owned()),
    }
}

/// Any text on one line, at least one character.
pub fn one_line(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("{} is not allowed", shown(c))),
        None => filled(text),
    }
}

fn filled(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
}

fn shown(c: char) -> String {
    match c {
        ' ' => "a blank".to_owned(),
        '`' => "a backquote".to_owned(),
        c if c.is_control() => format!("the control character {}", c.escape_unicode()),
        c => format!("`{c}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(dns_label("cp1").is_ok());
        for wrong in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"x".repeat(64)] {
            assert!(dns_label(wrong).is_err(), "{wrong}");
        }
        assert!(dns_name("cluster.local").is_ok());
        assert!(dns_name("cluster..local").is_err());
        assert!(host_address("Node_1.example.com").is_ok());
        assert!(host_address("10.0.0.300").is_err());
        assert!(host_address("10.0.0.1:22").is_err());
        assert!(certificate_name("*.example.com").is_ok());
        assert!(certificate_name("a.*.com").is_err());
    }

    #[test]
    fn labels() {
        assert!(qualified_name("example.com/tier").is_ok());
        assert!(qualified_name("tier").is_ok());
        for wrong in ["", "/tier", "Example.com/tier", "a/b/c", "-tier", "example.com/"] {
            assert!(qualified_name(wrong).is_err(), "{wrong}");
        }
        assert!(label_value("").is_ok());
        assert!(label_value("a b").is_err());
    }

    #[test]
    fn urls() {
        for right in ["http://10.77.0.2", "https://mirror.example.com:8443/k8s/", "http://[fd00::1]:5000"] {
            assert!(base_url(right).is_ok(), "{right}");
        }
        for wrong in ["10.77.0.2", "ftp://a", "http://", "http://a b", "http://a:70000", "http://u:p@a", "http://a?x=1"]
        {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
        assert!(registry("registry.k8s.io").is_ok());
        assert!(registry("https://registry.k8s.io").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(hours("8760h"), Ok(8760));
        assert_eq!(hours("8759h60m0s"), Ok(8760));
        for wrong in ["", "1y", "365d", "30m", "90m", "8760", "h", "-1h", "1.5h", "99999999999999999999h"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares() {
        assert!(share("1").is_ok() && share("25%").is_ok());
        assert!(share("0").is_err() && share("101%").is_err() && share("all").is_err());
    }
}
