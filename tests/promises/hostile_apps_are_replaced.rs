//! A program that does what no program should: whatever it does to its descriptors, its socket, its
//! output and its processes, hotrun goes on, the next save is served, clients who came too early are
//! answered by it, and nothing is left at the end.

use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::load::Kind;
use crate::common::{Hotrun, Load, Project, most_memory, own_address, wait_until};

/// A server whose first version does `deed` once it has been asked for the first time.
const SERVER: &str = r#"
mod http;
mod version;

use std::ffi::c_int;
#[allow(unused_imports)]
use std::io::Write;
use std::net::{TcpListener, TcpStream};
#[allow(unused_imports)]
use std::os::fd::AsRawFd;

#[allow(dead_code)]
unsafe extern "C" {
    fn close(fd: c_int) -> c_int;
    fn dup(fd: c_int) -> c_int;
    fn fork() -> c_int;
    fn setsid() -> c_int;
    fn setrlimit(what: c_int, limits: *const u64) -> c_int;
    fn pause() -> c_int;
    fn shutdown(fd: c_int, how: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
}

#[allow(unused_variables, unused_unsafe)]
fn deed(listener: &TcpListener, address: &str) {
    unsafe { DEED }
}

fn main() {
    let address = std::env::args().nth(1).unwrap();
    let listener = TcpListener::bind(&address).unwrap();
    let mut is_first = version::VERSION == "1";
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(std::time::Duration::from_millis(10));
            continue;
        };
        std::thread::spawn(move || http::serve(stream)).join().unwrap();
        if std::mem::take(&mut is_first) {
            deed(&listener, &address);
        }
    }
}

#[allow(dead_code)]
fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).unwrap()
}
"#;

/// Runs the server, lets it do this, and replaces it twice. `until` is when it has done enough.
fn replaces(deed: &str, until: impl Fn(&Hotrun)) -> Hotrun {
    let project = Project::new("slow-drain");
    project.configure("[app]\nstop_timeout = \"300ms\"\n");
    project.save("src/main.rs", &SERVER.replace("DEED", deed));
    let address = own_address();
    let text = address.to_string();
    let hotrun = Hotrun::start(&project, &["--", &text]);
    hotrun.wait_live(1);
    wait_until("the address to be held", || {
        hotrun.held().contains(&text).then_some(())
    });
    // The first request, after which it does it.
    drop(TcpStream::connect(address).unwrap());
    until(&hotrun);
    // They may have to wait for the next version, and are answered then.
    let load = Load::start(address, 20, Kind::Get);
    for version in ["2", "3"] {
        let place = hotrun.here();
        project.set_version(version);
        hotrun.wait_next_live(place);
        hotrun.wait_version(version);
    }
    load.wait_more(10);
    load.stop().assert_none_refused();
    hotrun.wait_for("gone", |event| event["generation"] == 1);
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left();
    hotrun
}

/// Its descriptors, once it has so many of them.
fn until_descriptors(is: impl Fn(usize) -> bool) -> impl Fn(&Hotrun) {
    move |hotrun| {
        let app = hotrun.app(1).pid;
        wait_until("its descriptors", || {
            let opened = std::fs::read_dir(format!("/proc/{app}/fd")).unwrap();
            is(opened.count()).then_some(())
        });
    }
}

#[test]
fn one_that_closes_all_its_descriptors() {
    replaces(
        "for fd in 0..1024 { close(fd); }",
        until_descriptors(|count| count == 0),
    );
}

/// As many as a usual limit for all of a user's programs together.
#[test]
fn one_that_opens_ten_thousand_descriptors() {
    replaces(
        "setrlimit(7, [10_100, 10_100].as_ptr());
         let mut opened = 0;
         while opened < 10_000 && dup(listener.as_raw_fd()) >= 0 { opened += 1; }
         println!(\"opened {opened}\");",
        |hotrun| {
            let opened = hotrun.wait_line(|line| line.starts_with("opened "));
            // Fewer where this user may not have as many.
            let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
            let may = most.is_none_or(|most| most >= 10_100);
            assert!(opened == "opened 10000" || !may, "{opened}");
        },
    );
}

/// hotrun's own socket is closed for everybody by that.
#[test]
fn one_that_shuts_its_listener_down() {
    replaces(
        "shutdown(listener.as_raw_fd(), 2); println!(\"shut down\");",
        |hotrun| {
            hotrun.wait_line(|line| line == "shut down");
        },
    );
}

/// More than any buffer, and hotrun keeps a bounded part of it.
#[test]
fn one_that_writes_without_end() {
    const GIB: u64 = 1 << 30;
    let hotrun = replaces(
        "std::thread::spawn(|| {
            let block = [b'x'; 1 << 16];
            for _ in 0..1 << 14 { let _ = std::io::stderr().write_all(&block); }
         });",
        |hotrun| {
            let app = hotrun.app(1).pid;
            wait_until("a tenth of it to be written", || {
                let io = procfs::process::Process::new(app).unwrap().io().unwrap();
                (io.wchar > GIB / 10).then_some(())
            });
            let most = most_memory(hotrun.pid());
            assert!(most < 100_000, "{most} KiB");
        },
    );
    assert!(hotrun.exited().is_some());
}

/// A bounded one: each process has two children, which leave the session.
#[test]
fn one_that_forks() {
    replaces(
        "for _ in 0..5 { fork(); setsid(); }
         signal(15, 1);
         signal(1, 1);
         if std::process::id() != 0 { loop { pause(); } }",
        |hotrun| {
            wait_until("its processes", || {
                (hotrun.survivors().len() > 32).then_some(())
            });
        },
    );
}

/// Its connections to itself are those of a client, and go with it.
#[test]
fn one_that_connects_to_itself() {
    replaces(
        "let kept: Vec<_> = (0..50).map(|_| connect(address)).collect();
         std::mem::forget(kept);
         println!(\"connected\");",
        |hotrun| {
            hotrun.wait_line(|line| line == "connected");
        },
    );
}

/// A second socket is bound and never listens.
#[test]
fn one_that_binds_and_never_listens() {
    let project = Project::new("slow-drain");
    let bound = "use std::net::UdpSocket;
        unsafe extern \"C\" {
            fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
            fn bind(fd: i32, address: *const u8, length: u32) -> i32;
        }
        mod http;
        mod version;
        fn main() {
            let _ = UdpSocket::bind(\"127.0.0.1:0\");
            let any = [2_u8, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            let bound = unsafe { bind(socket(2, 1, 0), any.as_ptr(), 16) };
            println!(\"bound {bound}\");
            let listener = std::net::TcpListener::bind(std::env::args().nth(1).unwrap()).unwrap();
            for stream in listener.incoming() { http::serve(stream.unwrap()); }
        }\n";
    project.save("src/main.rs", bound);
    let address = own_address();
    let text = address.to_string();
    let hotrun = Hotrun::start(&project, &["--", &text]);
    hotrun.wait_line(|line| line == "bound 0");
    wait_until("the address to be held", || {
        hotrun.held().contains(&text).then_some(())
    });
    let load = Load::start(address, 50, Kind::Get);
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_next_live(place);
    load.wait_more(10);
    load.stop().assert_none_refused();
    hotrun.interrupt();
    hotrun.wait_killed_by(Signal::SIGINT);
    hotrun.assert_nothing_left_within(Duration::from_secs(2));
}
