//! Addresses as users write them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf, is_separator};

use super::address::Address;

/// One declared address, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// The address; with two of them (`:PORT`), both get the same port.
    pub addresses: Vec<Address>,
    /// Whether to set `O_NONBLOCK`.
    pub nonblocking: bool,
}

/// The forms of an address, for a message.
const FORMS: &str = "write `127.0.0.1:3000`, `[::1]:3000`, `0.0.0.0:3000`, `:3000` (loopback), \
                     `udp:127.0.0.1:5353`, `unix:PATH`, `unix-dgram:PATH` or `NAME=ADDRESS`";

/// The longest path of a unix socket in bytes (unix(7): 108 with the terminating NUL).
const LONGEST_PATH: usize = 107;

/// Why a text is no address, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The reason.
    pub reason: String,
    /// The next step.
    pub hint: String,
}

impl Wrong {
    fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}

/// Reads `[NAME=]ADDRESS`; a relative path of a unix socket is relative to `base`.
pub fn parse(text: &str, base: &Path) -> Result<Spec, Wrong> {
    // A path may contain a `=`.
    let is_path = text.starts_with("unix:") || text.starts_with("unix-dgram:");
    let (name, address) = match text.split_once('=') {
        Some((name, address)) if !is_path => (Some(check_name(name)?), address),
        _ => (None, text),
    };
    Ok(Spec {
        name,
        addresses: addresses(address, base)?,
        nonblocking: true,
    })
}

/// A name as `sd_listen_fds_with_names(3)` allows it: ASCII, no control characters, no colon.
pub fn check_name(name: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii() && !c.is_ascii_control() && c != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(Wrong::new(
            format!("`{name}` is no name for a socket"),
            "a name has 1 to 255 ASCII characters and no colon",
        ));
    }
    Ok(name.to_owned())
}

/// Refuses addresses of which only one could be bound.
pub fn check_apart(specs: &[Spec]) -> Result<(), Wrong> {
    let all: Vec<&Address> = specs.iter().flat_map(|spec| &spec.addresses).collect();
    for (at, one) in all.iter().enumerate() {
        let binds = one.canonical();
        let overlaps = |other: &&&Address| binds.overlaps(&other.canonical());
        let Some(other) = all[..at].iter().find(overlaps) else {
            continue;
        };
        return Err(if one == other {
            let both = match one.internet() {
                Some(at) if at.ip().is_loopback() => {
                    let kind = if one.tcp().is_some() { "" } else { "udp:" };
                    let port = at.port();
                    format!("; `{kind}:{port}` stands for both loopback addresses")
                }
                _ => String::new(),
            };
            Wrong::new(
                format!("`{one}` is declared twice"),
                format!("leave one of them out{both}"),
            )
        } else {
            Wrong::new(
                format!("`{other}` and `{one}` exclude each other"),
                "leave one of them out: one is part of the other, or takes its place",
            )
        });
    }
    Ok(())
}

/// Whether a TCP client can probe one of them.
pub fn has_tcp(specs: &[Spec]) -> bool {
    let mut all = specs.iter().flat_map(|spec| &spec.addresses);
    all.any(|address| address.tcp().is_some())
}

fn addresses(text: &str, base: &Path) -> Result<Vec<Address>, Wrong> {
    let all = |found: Vec<SocketAddr>, kind: fn(SocketAddr) -> Address| {
        Ok(found.into_iter().map(kind).collect())
    };
    match text.split_once(':') {
        Some(("unix", path)) => Ok(vec![Address::Unix(socket_path(text, path, base)?)]),
        Some(("unix-dgram", path)) => {
            Ok(vec![Address::UnixDatagram(socket_path(text, path, base)?)])
        }
        Some(("udp", rest)) => all(internet("udp:", rest)?, Address::Udp),
        Some(("tcp", rest)) => all(internet("tcp:", rest)?, Address::Tcp),
        _ => all(internet("", text)?, Address::Tcp),
    }
}

/// `ADDRESS:PORT`, or `:PORT` for both loopback addresses; `kind` is the prefix before it.
fn internet(kind: &str, text: &str) -> Result<Vec<SocketAddr>, Wrong> {
    let loopback = text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("localhost:"));
    if let Some(port) = loopback.filter(|_| text.parse::<IpAddr>().is_err()) {
        let port = port.parse().map_err(|_| no_port(text, port))?;
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let address = text.parse().map_err(|_| no_address(kind, text))?;
    Ok(vec![address])
}

fn no_port(text: &str, port: &str) -> Wrong {
    let reason = if port.is_empty() {
        format!("`{text}` has no port")
    } else {
        format!("`{text}`: `{port}` is no port")
    };
    Wrong::new(reason, "write a number from 0 to 65535 behind the last `:`")
}

/// What is wrong with a text that is no address and port.
fn no_address(kind: &str, text: &str) -> Wrong {
    if text.parse::<u16>().is_ok() {
        return Wrong::new(
            format!("`{text}` is a port without an address"),
            format!("write `{kind}:{text}` for loopback"),
        );
    }
    let unwrapped = text.trim_start_matches('[').trim_end_matches(']');
    if text == "localhost" {
        return Wrong::new(
            "`localhost` is an address without a port",
            format!("write `{kind}:3000`, which is both its addresses"),
        );
    }
    if let Some((ip, port)) = port_behind(unwrapped) {
        return Wrong::new(
            format!("`{text}` has no brackets between address and port"),
            format!("write `{kind}{}`", SocketAddr::new(ip.into(), port)),
        );
    }
    if let Ok(ip) = unwrapped.parse::<IpAddr>() {
        return Wrong::new(
            format!("`{text}` is an address without a port"),
            format!("write `{kind}{}`", SocketAddr::new(ip, 3000)),
        );
    }
    if text.contains('/') {
        return Wrong::new(
            format!("`{text}` is no address"),
            "write `unix:PATH` for a unix socket; a URL is none, write its address and port",
        );
    }
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    match text.split_once(':') {
        Some((word, rest)) if is_word(word) && !is_number(rest) => {
            return Wrong::new(format!("`{word}` is no kind of address"), FORMS);
        }
        _ => {}
    }
    match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => no_port(text, port),
        Some(("*", port)) => Wrong::new(
            "`*` is no address",
            format!("write `{kind}0.0.0.0:{port}` for every interface"),
        ),
        Some((host, _)) if host.contains('%') => Wrong::new(
            format!("`{host}` has no number of an interface after the `%`"),
            "write the number that `ip address` shows, like `[fe80::1%2]:3000`",
        ),
        Some((host, port)) if !host.contains([':', '[']) => Wrong::new(
            format!("`{host}` is no address, and names are not looked up"),
            format!("write the address it stands for, or `{kind}:{port}` for loopback"),
        ),
        _ => Wrong::new(format!("`{text}` is no address"), FORMS),
    }
}

/// An IPv6 address and a port that were written without brackets.
fn port_behind(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (ip, port) = text.rsplit_once(':')?;
    // A single digit is rather the last group of the address.
    let port = port.parse().ok().filter(|_| port.len() > 1)?;
    Some((ip.parse().ok()?, port))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The whole path of a unix socket.
fn socket_path(text: &str, path: &str, base: &Path) -> Result<PathBuf, Wrong> {
    if path.starts_with('@') {
        return Err(Wrong::new(
            format!("`{text}`: abstract addresses can only be inherited, not declared"),
            "write a path, like `unix:/run/app.sock`",
        ));
    }
    // Those are directories, and a `.` at the end would be dropped below.
    let last = path.rsplit(is_separator).next().unwrap_or_default();
    if ["", ".", ".."].contains(&last) || path.contains('\0') {
        return Err(Wrong::new(
            format!("`{text}` names no file"),
            "write a path, like `unix:/run/app.sock`",
        ));
    }
    // Collecting the components drops `.` and repeated slashes.
    let whole: PathBuf = base.join(path).components().collect();
    let length = whole.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(Wrong::new(
            format!(
                "`{}` is too long for a socket: {length} bytes of at most {LONGEST_PATH}",
                whole.display()
            ),
            "choose a shorter path, like `unix:/tmp/app.sock`",
        ));
    }
    Ok(whole)
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;
    use crate::sys::testing::absolute;

    pub(crate) fn any_text_is_an_address_or_refused_with_a_way_out() -> Target {
        let corpus = [
            "127.0.0.1:3000",
            "web=[::1]:3000",
            "[fe80::1%2]:65535",
            ":0",
            "localhost:80",
            "*:80",
            "::1:3000",
            "udp:0.0.0.0:53",
            "tcp::3000",
            "unix:/run/a=b/./c//d",
            "log=unix-dgram:../l",
            "unix:@x",
            "http://example.com:80/",
        ];
        let base = absolute("/base");
        Target::text(&corpus, 2, move |text| match parse(text, &base) {
            Ok(spec) => {
                assert!((1..=2).contains(&spec.addresses.len()));
                for address in &spec.addresses {
                    let again = parse(&address.to_string(), &base).unwrap();
                    assert_eq!(again.addresses, std::slice::from_ref(address));
                }
            }
            Err(wrong) => {
                assert!(!wrong.reason.is_empty() && !wrong.hint.is_empty());
                // What it says to write is an address.
                let hint = wrong.hint.strip_prefix("write `");
                if let Some((address, "")) = hint.and_then(|hint| hint.split_once('`')) {
                    parse(address, &base).unwrap();
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::native;

    fn read(text: &str) -> Result<Spec, Wrong> {
        parse(text, Path::new("/base"))
    }

    #[track_caller]
    fn good(text: &str, name: Option<&str>, addresses: &[&str]) {
        let spec = read(text).unwrap();
        assert_eq!(spec.name.as_deref(), name);
        let found: Vec<String> = spec.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.iter().map(|text| with_paths(text));
        assert_eq!(found, addresses.collect::<Vec<_>>());
    }

    /// An address as it is shown: paths have the separator of the system, networks none.
    fn with_paths(text: &str) -> String {
        if text.contains("unix") {
            native(text)
        } else {
            text.to_owned()
        }
    }

    #[test]
    fn every_form_is_read() {
        good("127.0.0.1:3000", None, &["127.0.0.1:3000"]);
        good("[::1]:3000", None, &["[::1]:3000"]);
        good("[fe80::1%2]:3000", None, &["[fe80::1%2]:3000"]);
        good("0.0.0.0:80", None, &["0.0.0.0:80"]);
        good(":3000", None, &["127.0.0.1:3000", "[::1]:3000"]);
        good("localhost:3000", None, &["127.0.0.1:3000", "[::1]:3000"]);
        good("web=:0", Some("web"), &["127.0.0.1:0", "[::1]:0"]);
        good("tcp:127.0.0.1:3000", None, &["127.0.0.1:3000"]);
        good("tcp::3000", None, &["127.0.0.1:3000", "[::1]:3000"]);
        good("udp:127.0.0.1:53", None, &["udp:127.0.0.1:53"]);
        good(
            "d=udp::53",
            Some("d"),
            &["udp:127.0.0.1:53", "udp:[::1]:53"],
        );
        good("unix:/run/app.sock", None, &["unix:/run/app.sock"]);
        good("unix:./run/app", None, &["unix:/base/run/app"]);
        good("unix:/run/a=b", None, &["unix:/run/a=b"]);
        good("a=unix:/b=c", Some("a"), &["unix:/b=c"]);
        good("log=unix-dgram:l", Some("log"), &["unix-dgram:/base/l"]);
    }

    #[track_caller]
    fn bad(text: &str, reason: &str) {
        assert_eq!(read(text).unwrap_err().reason, reason);
    }

    #[test]
    fn what_is_no_address_says_why() {
        bad("", "`` is no address");
        bad("3000", "`3000` is a port without an address");
        bad("udp:53", "`53` is a port without an address");
        bad(":99999", "`:99999`: `99999` is no port");
        let port = "`127.0.0.1:99999`: `99999` is no port";
        bad("127.0.0.1:99999", port);
        bad("127.0.0.1:", "`127.0.0.1:` has no port");
        bad("*:80", "`*` is no address");
        let brackets = "`::1:3000` has no brackets between address and port";
        bad("::1:3000", brackets);
        bad("127.0.0.1", "`127.0.0.1` is an address without a port");
        bad("[::1]", "`[::1]` is an address without a port");
        bad("::1", "`::1` is an address without a port");
        bad("example", "`example` is no address");
        bad("/run/app.sock", "`/run/app.sock` is no address");
        bad("http://[::1]:80", "`http://[::1]:80` is no address");
        bad("sctp:127.0.0.1:80", "`sctp` is no kind of address");
        bad("sctp:", "`sctp` is no kind of address");
        let named = "`example.com` is no address, and names are not looked up";
        bad("example.com:80", named);
        bad("udp:example.com:80", named);
        let scope = "`[fe80::1%eth0]` has no number of an interface after the `%`";
        bad("[fe80::1%eth0]:80", scope);
        bad("a:b=127.0.0.1:1", "`a:b` is no name for a socket");
        bad("=127.0.0.1:1", "`` is no name for a socket");
        bad("unix:", "`unix:` names no file");
        bad("unix-dgram:run/", "`unix-dgram:run/` names no file");
        bad("unix:/.", "`unix:/.` names no file");
        bad("unix:run/..", "`unix:run/..` names no file");
        let abstracted = "`unix:@x`: abstract addresses can only be inherited, not declared";
        bad("unix:@x", abstracted);
    }

    #[test]
    fn hints_have_the_kind_that_was_meant() {
        let hint = |text| read(text).unwrap_err().hint;
        assert_eq!(hint("udp:53"), "write `udp::53` for loopback");
        assert_eq!(hint("udp:::1"), "write `udp:[::1]:3000`");
        assert_eq!(hint("udp:::1:53"), "write `udp:[::1]:53`");
        let everywhere = "write `udp:0.0.0.0:53` for every interface";
        assert_eq!(hint("udp:*:53"), everywhere);
    }

    #[test]
    fn a_path_has_room_for_107_bytes() {
        let longest = format!("unix:/{}", "x".repeat(106));
        assert!(read(&longest).is_ok());
        let reason = read(&format!("{longest}x")).unwrap_err().reason;
        assert!(reason.ends_with("108 bytes of at most 107"), "{reason}");
        // Joined with the base: the kernel gets the whole path.
        assert!(read(&format!("unix:{}", "x".repeat(102))).is_err());
    }

    #[track_caller]
    fn apart(texts: &[&str], expected: Option<&str>) {
        let specs: Vec<Spec> = texts.iter().map(|text| read(text).unwrap()).collect();
        let found = check_apart(&specs).map_err(|wrong| wrong.reason);
        let expected = expected.map(with_paths);
        assert_eq!(found.err(), expected);
    }

    #[test]
    fn what_can_not_be_bound_at_once_is_refused() {
        apart(&["127.0.0.1:80", "127.0.0.1:81", "udp:127.0.0.1:80"], None);
        apart(&["127.0.0.1:0", "127.0.0.1:0"], None);
        apart(&["0.0.0.0:80", "[::]:80"], None);
        let twice = "`127.0.0.1:80` is declared twice";
        apart(&[":80", "127.0.0.1:80"], Some(twice));
        let part = "`0.0.0.0:80` and `127.0.0.1:80` exclude each other";
        apart(&["0.0.0.0:80", ":80"], Some(part));
        let mapped = "`127.0.0.1:80` and `[::ffff:127.0.0.1]:80` exclude each other";
        apart(&["127.0.0.1:80", "[::ffff:127.0.0.1]:80"], Some(mapped));
        apart(
            &["unix:a", "unix:./a"],
            Some("`unix:/base/a` is declared twice"),
        );
        let kinds = "`unix:/base/a` and `unix-dgram:/base/a` exclude each other";
        apart(&["unix:a", "unix-dgram:a"], Some(kinds));
    }
}
