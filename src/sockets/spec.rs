//! Addresses as users write them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One address to hold: what it is called and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Where; with two addresses, both get the same port.
    pub addresses: Vec<SocketAddr>,
    /// Whether accept returns at once.
    pub nonblocking: bool,
}

/// What the forms are, for a message.
const FORMS: &str =
    "write `127.0.0.1:3000`, `[::1]:3000`, `0.0.0.0:3000`, `:3000` (loopback) or `NAME=ADDRESS`";

/// Why a text is no address, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The reason.
    pub reason: String,
    /// The next step.
    pub hint: String,
}

/// Reads `[NAME=]ADDRESS`.
pub fn parse(text: &str) -> Result<Spec, Wrong> {
    let (name, address) = match text.split_once('=') {
        Some((name, address)) => (Some(check_name(name)?), address),
        None => (None, text),
    };
    Ok(Spec {
        name,
        addresses: addresses(address)?,
        nonblocking: true,
    })
}

/// A name as `sd_listen_fds_with_names(3)` allows it: ASCII, no control characters, no colon.
pub fn check_name(name: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii() && !c.is_ascii_control() && c != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(Wrong {
            reason: format!("`{name}` is no name for a socket"),
            hint: "a name has 1 to 255 ASCII characters and no colon".into(),
        });
    }
    Ok(name.to_owned())
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>, Wrong> {
    let wrong = |reason: String| Wrong {
        reason,
        hint: FORMS.into(),
    };
    if let Some((kind, _)) = text
        .split_once(':')
        .filter(|(kind, _)| matches!(*kind, "unix" | "udp"))
    {
        return Err(wrong(format!(
            "`{text}`: {kind} addresses are not held yet, only TCP ones"
        )));
    }
    if let Some(port) = text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("localhost:"))
    {
        let port = port
            .parse()
            .map_err(|_| wrong(format!("`{port}` is no port (0 to 65535)")))?;
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    if let Ok(port) = text.parse::<u16>() {
        return Err(Wrong {
            reason: format!("`{port}` is a port without an address"),
            hint: format!("write `:{port}` for loopback"),
        });
    }
    let address = text
        .parse()
        .map_err(|_| wrong(format!("`{text}` is no address")))?;
    Ok(vec![address])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn good(text: &str, name: Option<&str>, addresses: &[&str]) {
        let spec = parse(text).unwrap();
        assert_eq!(spec.name.as_deref(), name);
        let found: Vec<String> = spec.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(found, addresses);
    }

    #[test]
    fn every_form_is_read() {
        good("127.0.0.1:3000", None, &["127.0.0.1:3000"]);
        good("[::1]:3000", None, &["[::1]:3000"]);
        good("0.0.0.0:80", None, &["0.0.0.0:80"]);
        good(":3000", None, &["127.0.0.1:3000", "[::1]:3000"]);
        good("localhost:3000", None, &["127.0.0.1:3000", "[::1]:3000"]);
        good("web=:0", Some("web"), &["127.0.0.1:0", "[::1]:0"]);
    }

    #[track_caller]
    fn bad(text: &str, reason: &str) {
        assert_eq!(parse(text).unwrap_err().reason, reason);
    }

    #[test]
    fn what_is_no_address_says_why() {
        bad("3000", "`3000` is a port without an address");
        bad(":99999", "`99999` is no port (0 to 65535)");
        bad("example", "`example` is no address");
        bad("a:b=127.0.0.1:1", "`a:b` is no name for a socket");
        bad("=127.0.0.1:1", "`` is no name for a socket");
        bad(
            "unix:/x",
            "`unix:/x`: unix addresses are not held yet, only TCP ones",
        );
    }
}
