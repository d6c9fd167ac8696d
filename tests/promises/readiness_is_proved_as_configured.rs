//! With `ready` set, only that proof counts.

use serde_json::Value;

use crate::common::load::Kind;
use crate::common::{ANY, Hotrun, Load, Project, own_address, wait_until};

/// A server that gives the expected proof after a while, and something similar before: that must not
/// count.
fn project(ready: &str, late: &str) -> Project {
    let project = Project::new("slow-drain");
    project.configure(&format!("[app]\nready = '{ready}'\n"));
    let early = if ready == "notify" {
        "STATUS=warming\\nRELOADING=1"
    } else {
        // This only counts with `ready = "notify"`.
        "READY=1"
    };
    let spawn = format!(
        "    let path = std::env::var_os(\"NOTIFY_SOCKET\").unwrap();
        let notify = std::os::unix::net::UnixDatagram::unbound()?;
        notify.connect(path)?;
        notify.send(b\"{early}\")?;
        println!(\"not warm\");
        std::thread::spawn(move || {{
            std::thread::sleep(std::time::Duration::from_millis(500));
            let _ = &notify;
            {late}
        }});
    let mut threads"
    );
    project.edit("src/main.rs", "    let mut threads", &spawn);
    project
}

/// The first generation and a later one get live by this proof, not before the 500 ms.
fn proved(project: &Project, proof: &str) -> Hotrun {
    let hotrun = Hotrun::start(project, &ANY);
    for generation in [1, 2] {
        if generation == 2 {
            project.set_version("2");
        }
        let live = hotrun.wait_live(generation);
        assert_eq!(live["proof"], proof);
        assert!(
            live["phases"]["start_ms"].as_f64().unwrap() >= 500.0,
            "{live}"
        );
    }
    hotrun.wait_version("2");
    hotrun
}

fn beside(hotrun: &Hotrun) -> Vec<Value> {
    let starting = hotrun.all("starting");
    starting
        .into_iter()
        .map(|event| event["beside"].clone())
        .collect()
}

#[test]
fn by_a_line() {
    let late = "println!(\"warm after {} steps\", 5);";
    let hotrun = proved(&project("log:^warm after \\d+ steps$", late), "printed");
    assert_eq!(beside(&hotrun), [Value::Null, 1.into()]);
}

/// A line on stderr counts too: most programs log there.
#[test]
fn by_a_line_of_stderr() {
    proved(
        &project("log:now warm", "eprint!(\"now \"); eprintln!(\"warm\");"),
        "printed",
    );
}

#[test]
fn by_time() {
    let hotrun = proved(&project("delay:600ms", ""), "alive");
    for live in hotrun.all("live") {
        assert!(
            live["phases"]["start_ms"].as_f64().unwrap() >= 600.0,
            "{live}"
        );
    }
}

#[test]
fn by_notification() {
    let late = "notify.send(b\"STATUS=warm\\nREADY=1\\n\").unwrap();";
    proved(&project("notify", late), "notified");
}

/// Only the candidate is probed, while new connections go to live.
#[test]
fn by_an_answer() {
    let project = asked("");
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let load = Load::start(hotrun.address(), 100, Kind::Get);
    project.set_version("2");
    assert_eq!(hotrun.wait_live(2)["proof"], "answered");
    hotrun.wait_version("2");
    load.wait_more(20);
    let outcomes = load.stop();
    outcomes.assert_all_answered();
    for exchange in &outcomes.0 {
        assert_eq!(exchange.answer().unwrap().status, 200);
    }
    assert_eq!(outcomes.stale(), 0);
    assert_eq!(beside(&hotrun), [Value::Null, 1.into()]);
}

/// On one shared socket a probe can't be steered to the candidate, so live is stopped first; connections
/// wait in the queue.
#[test]
fn by_an_answer_on_a_shared_socket() {
    let hotrun = proved(&asked("[handover]\nsteering = \"none\"\n"), "answered");
    assert_eq!(beside(&hotrun), [Value::Null, Value::Null]);
}

/// A server that is not up at first: until then it answers all requests with an error.
fn asked(more: &str) -> Project {
    let project = project(
        "http:/up",
        "UP.store(true, std::sync::atomic::Ordering::SeqCst);",
    );
    project.edit("src/main.rs", "mod http;", "mod http;\npub static UP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);");
    let not_yet = "let up = crate::UP.load(std::sync::atomic::Ordering::SeqCst);
    let status = if up { \"200 OK\" } else { \"503 Service Unavailable\" };
    let generation";
    project.edit("src/http.rs", "let generation", not_yet);
    project.edit(
        "src/http.rs",
        "\"HTTP/1.1 200 OK\\r\\n",
        "\"HTTP/1.1 {status}\\r\\n",
    );
    let settings = std::fs::read_to_string(project.path(".reload.toml")).unwrap();
    project.configure(&format!("{settings}{more}"));
    project
}

/// If a candidate is not ready in time, the line names the missing proof, also if the setting changed
/// since the start.
#[test]
fn what_was_awaited_in_vain_is_named() {
    let project = Project::new("slow-drain");
    let ready = |ready: &str| format!("[app]\nready = '{ready}'\nready_timeout = \"400ms\"\n");
    project.configure(&ready("log:^warm$"));
    let hotrun = Hotrun::start(&project, &ANY);
    let says = |why: &str| {
        wait_until(why, || hotrun.stderr().contains(why).then_some(()));
    };
    says(": no line of its output matches `^warm$`");
    project.save(".reload.toml", &ready("notify"));
    hotrun.wait_for("configured", |_| true);
    project.set_version("2");
    says(": no `READY=1` came on `NOTIFY_SOCKET`");
    assert!(!hotrun.stderr().contains("nothing was seen accepting"));
}

/// A server that speaks TLS can't answer a probe in plain HTTP: the line says that it speaks TLS.
#[test]
fn not_by_http_where_the_app_speaks_tls() {
    let address = own_address().to_string();
    let project = Project::new("listens");
    project.configure("[app]\nready = \"http:/health\"\nready_timeout = \"1s\"\n");
    let hotrun = Hotrun::start(&project, &["--", "alerts", &address]);
    let failed = hotrun.wait_for("not-ready", |_| true);
    assert_eq!(failed["answer"], "tls");
    let line = "no `GET /health` was answered with a status below 400: the port speaks TLS";
    let said = hotrun.stderr();
    assert!(said.contains(line), "{said}");
    assert!(
        said.contains("hint: set `ready = \"https:/health\"` in [app]"),
        "{said}"
    );
}

/// Over TLS, the candidate alone is asked, and its certificate may be anybody's.
#[test]
fn by_an_answer_over_tls() {
    let address = own_address().to_string();
    let project = Project::tls();
    project.configure("[app]\nready = \"https:/late\"\n");
    let hotrun = Hotrun::start(&project, &["--", "https", &address]);
    for generation in [1, 2] {
        if generation == 2 {
            project.set_version("2");
        }
        let live = hotrun.wait_live(generation);
        assert_eq!(live["proof"], "answered");
        let start = live["phases"]["start_ms"].as_f64().unwrap();
        assert!(start >= 500.0, "{live}");
    }
    assert_eq!(beside(&hotrun), [Value::Null, 1.into()]);
}

/// `http:` at a port with TLS, and `https:` at one without, say what to write instead: also where the
/// server closes the connection without a word.
#[test]
fn a_wrong_scheme_is_named_with_the_right_one() {
    let (plain, secure) = (own_address().to_string(), own_address().to_string());
    let says = |hotrun: &Hotrun, answer: &str, line: &str| {
        let failed = hotrun.wait_for("not-ready", |_| true);
        assert_eq!(failed["answer"], answer);
        let said = hotrun.stderr();
        assert!(said.contains(line), "{said}");
    };
    let ready = |scheme| format!("[app]\nready = \"{scheme}:/\"\nready_timeout = \"3s\"\n");
    let project = Project::tls();
    project.configure(&ready("http"));
    let hotrun = Hotrun::start(&project, &["--", "https", &secure]);
    says(&hotrun, "tls", "hint: set `ready = \"https:/\"` in [app]");
    let project = Project::new("listens");
    project.configure(&ready("https"));
    let hotrun = Hotrun::start(&project, &["--", "tcp", &plain]);
    let hint = "hint: set `ready = \"http:/\"` in [app]";
    says(&hotrun, "plain", hint);
}

/// A connection is accepted, by the candidate and not by live; what is spoken does not matter.
#[test]
fn by_an_accepted_connection() {
    let address = own_address().to_string();
    let project = Project::new("listens");
    project.configure("[app]\nready = \"tcp\"\n");
    let accept = "fn speaks_first(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;";
    let late = format!("{accept}\n    thread::sleep(std::time::Duration::from_millis(500));");
    project.edit("src/main.rs", accept, &late);
    let hotrun = Hotrun::start(&project, &["--", "speaks-first", &address]);
    for generation in [1, 2] {
        if generation == 2 {
            project.set_version("2");
        }
        let live = hotrun.wait_live(generation);
        assert_eq!(live["proof"], "accepting");
        let start = live["phases"]["start_ms"].as_f64().unwrap();
        assert!(start >= 500.0, "{live}");
    }
    assert_eq!(beside(&hotrun), [Value::Null, 1.into()]);
}
