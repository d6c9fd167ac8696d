//! Every kind of socket is held as TCP ones are: no client is refused by a reload, whether hotrun has
//! bound the socket or inherited it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use procfs::process::{FDTarget, Process};

use crate::common::load::Kind;
use crate::common::project::REFUSES_SOCKETS;
use crate::common::{Datagrams, Hotrun, Load, Outcome, Project, Run, get, say, wait_until};
use crate::what_cargo_can_do_works::manifest;

/// The clients of one address.
enum Clients {
    Connecting(Load),
    Sending(Datagrams),
}

/// Starts clients of this address, which go on until they are stopped.
fn clients(address: &str, project: &Project, per_second: u32) -> Vec<Clients> {
    let datagrams = |socket| vec![Clients::Sending(socket)];
    let connections = |at: SocketAddr| Clients::Connecting(Load::start(at, per_second, Kind::Get));
    match address.split_once(':').unwrap() {
        ("udp", to) => datagrams(Datagrams::udp(to.parse().unwrap(), per_second)),
        ("unix-dgram", to) => {
            let own = project.root().join("client.sock");
            datagrams(Datagrams::unix(Path::new(to), &own, per_second))
        }
        ("unix", path) => {
            let load = Load::start(Path::new(path), per_second, Kind::Get);
            vec![Clients::Connecting(load)]
        }
        _ => {
            let held: SocketAddr = address.parse().unwrap();
            let ips = match held.ip() {
                ip if ip.is_ipv6() && ip.is_unspecified() => vec!["127.0.0.1", "::1"],
                ip if ip.is_unspecified() => vec!["127.0.0.1"],
                ip => return vec![connections(SocketAddr::new(ip, held.port()))],
            };
            let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), held.port());
            ips.into_iter().map(|ip| connections(at(ip))).collect()
        }
    }
}

/// Reloads while clients connect to every address that hotrun holds.
fn reload(project: &Project, hotrun: &Hotrun, reloads: u32, per_second: u32) {
    let first = hotrun.wait_live(1);
    assert_eq!(first["proof"], "accepting");
    let held = hotrun.held();
    let all: Vec<(&String, Clients)> = held
        .iter()
        .flat_map(|address| {
            let clients = clients(address, project, per_second);
            clients.into_iter().map(move |clients| (address, clients))
        })
        .collect();
    let mut live = 1;
    for _ in 0..reloads {
        let place = hotrun.here();
        hotrun.hangup();
        let event = hotrun.wait_next_live(place);
        assert_eq!(event["proof"], "accepting");
        hotrun.wait_after(place, "gone", |event| event["generation"] == live);
        live = event["generation"].as_u64().unwrap();
    }
    for (address, clients) in all {
        match clients {
            Clients::Connecting(load) => {
                load.wait_more(usize::try_from(per_second / 10).unwrap());
                let outcomes = load.stop();
                let resets = outcomes.count(|outcome| *outcome == Outcome::Reset);
                say(&format!(
                    "{address}: {resets} reset; {}",
                    outcomes.summary()
                ));
                outcomes.assert_none_refused();
                // An inherited unix socket has no second slot: both generations share it.
                if !address.ends_with("outer.sock") {
                    assert_eq!(outcomes.stale(), 0);
                }
                let last = outcomes.0.last().and_then(|last| last.answer()).unwrap();
                assert_eq!(u64::from(last.generation), live);
            }
            Clients::Sending(datagrams) => {
                let answered = datagrams.stop();
                let (sent, lost) = (answered.sent, answered.lost());
                let generations = answered.generations();
                say(&format!(
                    "{address}: {sent} datagrams, {lost} lost, answers of {generations} generations"
                ));
                assert_eq!(answered.refused, 0, "{address}");
                // A datagram that a process had read when it got the stop signal is lost with it.
                assert!(lost <= reloads as usize, "{address}: {lost} of {sent} lost");
                let (_, last) = answered.answers.last_key_value().unwrap();
                assert_eq!(*last, format!("1 g{live}"));
            }
        }
    }
    assert_eq!(hotrun.all("live").len(), reloads as usize + 1);
    assert_eq!(hotrun.all("unclaimed").len(), 0);
}

const RELOADS: u32 = 20;

/// Reloads twenty times with these addresses.
fn held(listen: &[&str]) -> (Project, Hotrun) {
    let project = Project::new("sockets");
    let args: Vec<&str> = listen
        .iter()
        .flat_map(|address| ["--listen", address])
        .collect();
    let hotrun = Hotrun::start(&project, &args);
    reload(&project, &hotrun, RELOADS, 100);
    (project, hotrun)
}

#[test]
fn tcp_of_each_family() {
    let (_project, hotrun) = held(&["127.0.0.1:0", "[::1]:0", "[::]:0"]);
    let held = hotrun.addresses();
    let is_v6: Vec<bool> = held.iter().map(SocketAddr::is_ipv6).collect();
    assert_eq!(is_v6, [false, true, true]);
}

#[test]
fn loopback_of_both_families_on_one_port() {
    let (_project, hotrun) = held(&[":0"]);
    let [v4, v6] = hotrun.addresses()[..] else {
        panic!("{:?}", hotrun.held());
    };
    assert!(v4.is_ipv4() && v6.is_ipv6() && v4.port() == v6.port());
}

#[test]
fn unix_streams() {
    let (project, hotrun) = held(&["unix:app.sock"]);
    let path = project.path("app.sock");
    assert_eq!(hotrun.held(), [format!("unix:{}", path.display())]);
    assert_eq!(nonblocking(&hotrun), [true]);
}

/// The program removes the path as it ends, long after its successor has died: whoever serves then is
/// reached by the path all the same.
#[test]
fn a_path_is_put_back_for_as_long_as_any_version_may_remove_it() {
    let main = r#"
use std::path::Path;

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

extern "C" fn ignore(_: i32) {}

fn main() {
    // SAFETY: the handler does nothing.
    unsafe { signal(15, ignore) };
    let generation = std::env::var("HOTRUN_GENERATION").unwrap();
    let asked = |what: &str| std::fs::remove_file(format!("{what}-{generation}")).is_ok();
    let version = 1;
    loop {
        if asked("unlink") {
            std::fs::remove_file("app.sock").unwrap();
            std::fs::write(format!("unlinked-{generation}"), "").unwrap();
        }
        if asked("die") {
            std::process::exit(version);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
"#;
    let project = Project::of(&[
        ("Cargo.toml", &manifest("app", "")),
        ("src/main.rs", main),
        (
            ".reload.toml",
            "[app]\nready = \"delay:10ms\"\nstop_timeout = \"5m\"\n",
        ),
    ]);
    let hotrun = Hotrun::start(&project, &["--no-capture", "--listen", "unix:app.sock"]);
    hotrun.wait_live(1);
    project.edit("src/main.rs", "version = 1", "version = 2");
    hotrun.wait_live(2);
    hotrun.wait_for("draining", |event| event["generation"] == 1);
    project.add("die-2", "");
    hotrun.wait_for("gone", |event| event["generation"] == 2);
    // The last good program, which has made the path anew by being live.
    hotrun.wait_live(3);
    project.add("unlink-1", "");
    let unlinked = project.path("unlinked-1");
    wait_until("the path was removed", || unlinked.exists().then_some(()));
    let path = project.path("app.sock");
    wait_until("the path is there again", || path.exists().then_some(()));
    UnixStream::connect(&path).unwrap();
    assert!(
        !hotrun
            .all("gone")
            .iter()
            .any(|event| event["generation"] == 1)
    );
    hotrun.kill();
    hotrun.wait_killed_by(Signal::SIGKILL);
    hotrun.assert_nothing_left();
}

#[test]
fn unix_datagrams() {
    held(&["unix-dgram:app.sock"]);
}

#[test]
fn udp() {
    held(&["udp:127.0.0.1:0"]);
}

/// The app gets the sockets in the declared order, with their names.
#[test]
fn several_with_names() {
    let listen = [
        "web=127.0.0.1:0",
        "dns=udp::0",
        "admin=unix:admin.sock",
        "[::1]:0",
        "log=unix-dgram:log.sock",
    ];
    let (_project, hotrun) = held(&listen);
    let stdout = hotrun.stdout();
    let said: Vec<&str> = stdout.lines().take(6).collect();
    let expected = [
        "socket 0 name=web kind=Tcp",
        "socket 1 name=dns kind=Udp",
        "socket 2 name=dns kind=Udp",
        "socket 3 name=admin kind=Unix",
        "socket 4 name=unknown kind=Tcp",
        "socket 5 name=log kind=UnixDatagram",
    ];
    assert_eq!(said, expected);
    // The last lines may not be printed yet.
    wait_until("the same each time", || {
        (hotrun.stdout().lines().count() == 6 * 21).then_some(())
    });
}

/// A socket that a process has open: its inode, and its flags from /proc.
type Open = (u64, u32);

fn sockets_of(pid: i32) -> Vec<Open> {
    let open = Process::new(pid).unwrap().fd().unwrap();
    let flags = |number: i32| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        u32::from_str_radix(flags.unwrap().trim(), 8).unwrap()
    };
    open.map(Result::unwrap)
        .filter_map(|fd| match fd.target {
            FDTarget::Socket(inode) => Some((inode, flags(fd.fd))),
            _ => None,
        })
        .collect()
}

/// Whether each held socket is non-blocking in the live app.
fn nonblocking(hotrun: &Hotrun) -> Vec<bool> {
    let live = hotrun.all("live").len() as u64;
    let held = sockets_of(hotrun.pid());
    // Connections are left out: they are the app's own.
    let is_held = |(inode, _): &Open| held.iter().any(|(other, _)| other == inode);
    let sockets = sockets_of(hotrun.app(live).pid).into_iter().filter(is_held);
    sockets.map(|(_, flags)| flags & 0o4000 != 0).collect()
}

/// A server with only std waits in `accept` and `recv`, and takes `WouldBlock` for a fatal error.
#[test]
fn blocking_ones() {
    let project = Project::new("sockets");
    let entry = |address| format!("[[listen]]\naddress = \"{address}\"\nnonblocking = false\n");
    project.configure(
        &["127.0.0.1:0", "udp:127.0.0.1:0", "unix:app.sock"]
            .map(entry)
            .concat(),
    );
    let hotrun = Hotrun::start(&project, &[]);
    reload(&project, &hotrun, 3, 100);
    assert_eq!(nonblocking(&hotrun), [false; 3]);
}

/// Connections to an address on which no process accepts wait, and the user should know.
#[test]
fn what_the_app_does_not_take_is_named() {
    let listen = ["127.0.0.1:0", "udp:127.0.0.1:0", "unix:app.sock"];
    let args = listen.map(|address| ["--listen", address]).concat();
    // The app takes only the first socket.
    let hotrun = Hotrun::start(&Project::new("slow-drain"), &args);
    let event = hotrun.wait_for("unclaimed", |_| true);
    assert_eq!(event["generation"], 1);
    let named = event["addresses"].as_array().unwrap();
    assert_eq!(named[..], hotrun.held()[1..]);
}

/// A killed program leaves its socket file, which is replaced; the file of a running program is not.
#[test]
fn a_socket_file_is_replaced_when_nobody_is_behind_it() {
    let project = Project::new("sockets");
    let path = project.path("app.sock");
    let listen = ["--listen", "unix:app.sock"];
    drop(UnixListener::bind(&path).unwrap());
    let first = Hotrun::start(&project, &listen);
    first.wait_live(1);
    assert_eq!(get(&*path).answer().generation, 1);

    let other = Project::new("sockets");
    let same = format!("unix:{}", path.display());
    for kind in ["unix", "unix-dgram"] {
        let second = Hotrun::start(&other, &["--listen", &same.replace("unix", kind)]);
        second.wait_code(3);
        let own = format!("in use by pid {} (", first.pid());
        let said = second.stderr();
        assert!(said.contains(&own) && said.contains("\nhint: "), "{said}");
    }
    assert_eq!(get(&*path).answer().generation, 1);

    first.kill();
    first.wait_exit();
    first.assert_nothing_left();
    assert!(path.exists());
    let third = Hotrun::start(&project, &listen);
    third.wait_live(1);
    assert_eq!(get(&*path).answer().generation, 1);
    third.terminate();
    third.wait_killed_by(Signal::SIGTERM);
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let project = Project::new("sockets");
    let source = project.path("src/main.rs");
    let before = fs::read(&source).unwrap();
    for (path, what) in [("src/main.rs", "no socket"), ("src", "directory")] {
        let hotrun = Hotrun::start(&project, &["--listen", &format!("unix:{path}")]);
        hotrun.wait_code(2);
        let said = hotrun.stderr();
        let words = [path, what, "\nhint: "];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    assert_eq!(fs::read(&source).unwrap(), before);
}

/// For a script: one line for each address, in the declared order.
#[test]
fn once_prints_each_address() {
    let project = Project::new("sockets");
    let path = project.path("app.sock");
    let args = [
        "--once",
        "--listen",
        "unix:app.sock",
        "--listen",
        "udp:127.0.0.1:0",
    ];
    let hotrun = Hotrun::start(&project, &args);
    hotrun.wait_code(0);
    let stdout = hotrun.stdout();
    let said = stdout.lines().filter(|line| !line.starts_with("socket "));
    let said: Vec<&str> = said.collect();
    assert_eq!(said, hotrun.held());
    assert_eq!(said[0], format!("unix:{}", path.display()));
    assert!(!path.exists());
}

/// As under `systemd` or `systemfd`: hotrun inherits two sockets, and only the app gets them, before the
/// declared ones. They outlive hotrun.
#[test]
fn sockets_that_hotrun_is_started_with() {
    let project = Project::new("sockets");
    project.save("build.rs", REFUSES_SOCKETS);
    let path = project.root().join("outer.sock");
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = UnixListener::bind(&path).unwrap();
    let sockets = [
        web.try_clone().unwrap().into(),
        admin.try_clone().unwrap().into(),
    ];
    let own = ["--listen", "more=udp:127.0.0.1:0"];
    let hotrun = Run::new(&project, &own)
        .inheriting("web:admin", sockets)
        .start();
    reload(&project, &hotrun, 5, 100);
    let address = web.local_addr().unwrap();
    let outer = [address.to_string(), format!("unix:{}", path.display())];
    assert_eq!(hotrun.held()[..2], outer);
    let stdout = hotrun.stdout();
    let said: Vec<&str> = stdout.lines().take(3).collect();
    let expected = [
        "socket 0 name=web kind=Tcp",
        "socket 1 name=admin kind=Unix",
        "socket 2 name=more kind=Udp",
    ];
    assert_eq!(said, expected);
    assert_eq!(nonblocking(&hotrun), [true; 3]);
    // All are close-on-exec, so no child of hotrun inherits them.
    let close_on_exec = |(_, flags): &Open| flags & 0o2_000_000 != 0;
    let open = sockets_of(hotrun.pid());
    assert!(open.len() > 3 && open.iter().all(close_on_exec), "{open:?}");
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    TcpStream::connect(address).unwrap();
    UnixStream::connect(&path).unwrap();
}

/// If an inherited descriptor can't be served, hotrun refuses to start.
#[test]
fn what_is_no_listening_socket_is_refused() {
    let told = "export LISTEN_PID=$$ LISTEN_FDS";
    for (commands, words) in [
        (
            format!("exec 3</dev/null; {told}=1"),
            "descriptor 3 is no socket",
        ),
        (format!("exec 3<&-; {told}=1"), "descriptor 3 is not open"),
        (format!("{told}=100000"), "100000 sockets are more"),
    ] {
        let project = Project::new("sockets");
        let hotrun = Run::new(&project, &[]).after(&commands).start();
        hotrun.wait_code(2);
        let said = hotrun.stderr();
        assert!(said.contains(words) && said.contains("\nhint: "), "{said}");
    }
    let project = Project::new("sockets");
    let (one, two) = UnixStream::pair().unwrap();
    let hotrun = Run::new(&project, &[])
        .inheriting("one:two", [one.into(), two.into()])
        .start();
    hotrun.wait_code(2);
    let said = hotrun.stderr();
    assert!(said.contains("is no listening socket"), "{said}");
}

/// `http:` readiness needs a TCP address; an inherited one counts.
#[test]
fn http_asks_the_first_tcp_address() {
    let project = Project::new("sockets");
    project.configure("[app]\nready = \"http:/\"\n");
    let hotrun = Hotrun::start(&project, &["--no-capture", "--listen", "udp:127.0.0.1:0"]);
    hotrun.wait_code(2);
    assert!(hotrun.stderr().contains("need a TCP address"));
    let args = ["--listen", "udp:127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let hotrun = Hotrun::start(&project, &args);
    assert_eq!(hotrun.wait_live(1)["proof"], "answered");
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = UnixListener::bind(project.root().join("outer.sock")).unwrap();
    let second = Project::new("sockets");
    second.configure("[app]\nready = \"http:/\"\n");
    let hotrun = Run::new(&second, &[])
        .inheriting("other:web", [other.into(), web.into()])
        .start();
    assert_eq!(hotrun.wait_live(1)["proof"], "answered");
}
