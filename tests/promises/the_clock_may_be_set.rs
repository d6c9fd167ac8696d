//! A clock that is set, by a person, a time service or the host of a virtual machine, costs no save and
//! no answer.
//!
//! The clock of this machine is not touched: hotrun, cargo and the app are told another time than files are
//! stamped with.

use std::fs;

use crate::common::{Project, Run, get, own_address, wait_until};

/// Adds what a file says to the time of day.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (syscall(SYS_clock_gettime, clock, time))
        return -1;
    if (clock == CLOCK_REALTIME) {
        char text[32] = {0};
        int file = open(getenv("SET_CLOCK"), O_RDONLY | O_CLOEXEC);
        if (file >= 0 && read(file, text, sizeof text - 1) > 0)
            time->tv_sec += atol(text);
        close(file);
    }
    return 0;
}
"#;

/// Waits after each compilation while there is a file `hold`.
const WRAPPER: &str = r#"#!/bin/sh
"$@"
code=$?
if [ -e "$SET_CLOCK.hold" ]; then
    touch "$SET_CLOCK.held"
    while [ -e "$SET_CLOCK.hold" ]; do sleep 0.01; done
fi
exit $code
"#;

#[test]
fn forwards_and_backwards() {
    const DAY: i64 = 24 * 3600;
    let project = Project::new("listens");
    let tools = tempfile::tempdir().unwrap();
    let path = |name: &str| tools.path().join(name).display().to_string();
    let (clock, hold, held) = (path("clock"), path("clock.hold"), path("clock.held"));
    fs::write(path("clock.c"), LIBRARY).unwrap();
    let compile = format!(
        "cc -shared -fPIC -o '{}' '{}'",
        path("clock.so"),
        path("clock.c")
    );
    project.run(&compile);
    fs::write(path("wrapper"), WRAPPER).unwrap();
    project.run(&format!("chmod +x '{}'", path("wrapper")));
    project.add(
        ".cargo/config.toml",
        &format!("build.rustc-workspace-wrapper = '{}'\n", path("wrapper")),
    );
    let address = own_address();
    let text = address.to_string();
    let hotrun = Run::new(&project, &["--", "tcp", &text])
        .env("LD_PRELOAD", &path("clock.so"))
        .env("SET_CLOCK", &clock)
        .start();
    hotrun.wait_live(1);
    let wait_version = |version: &str| {
        wait_until(&format!("{version} to be served"), || {
            let outcome = get(address);
            (outcome.answer().version == version).then_some(())
        });
    };
    for (number, ahead) in [DAY, 0, -DAY, 30 * DAY, -30 * DAY].iter().enumerate() {
        // The build reads a file of which hotrun does not know that the program is made of it; then the
        // clock is set, and the file is saved before hotrun knows.
        let data = format!("data/{number}.txt");
        project.add(&data, "old");
        fs::write(&hold, "").unwrap();
        project.save(
            "src/version.rs",
            &format!("pub const VERSION: &str = include_str!(\"../{data}\");\n"),
        );
        wait_until("the compilation", || {
            fs::exists(&held).unwrap().then_some(())
        });
        fs::write(&clock, ahead.to_string()).unwrap();
        project.save(&data, &format!("new-{number}"));
        fs::remove_file(&held).unwrap();
        fs::remove_file(&hold).unwrap();
        wait_version(&format!("new-{number}"));
        project.set_version(&format!("plain-{number}"));
        wait_version(&format!("plain-{number}"));
    }
    // A lock that git left behind, by the clock of yesterday.
    project.add(".git/index.lock", "");
    fs::write(&clock, (-31 * DAY).to_string()).unwrap();
    project.set_version("locked");
    wait_version("locked");
}
