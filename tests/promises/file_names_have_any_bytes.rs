//! A file name may have any bytes that the system allows: the line about it is printed, and so is every
//! line after it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::common::{ANY, Hotrun, Project};

#[test]
fn a_template_with_an_old_name() {
    let project = Project::new("slow-drain");
    std::fs::create_dir(project.path("templates")).unwrap();
    let hotrun = Hotrun::start(&project, &ANY);
    hotrun.wait_live(1);
    let name = OsStr::from_bytes(b"templates/caf\xe9.html");
    std::fs::write(project.dir().join(name), "<p>").unwrap();
    let told = hotrun.wait_for("no-dependents", |_| true);
    let bytes: Vec<String> = name
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let exactly =
        serde_json::json!({ "lossy": "templates/caf\u{fffd}.html", "bytes": bytes.concat() });
    assert_eq!(told["path"], exactly);
    let said = hotrun.stderr();
    assert!(
        said.contains("no program depends on `templates/caf\u{fffd}.html`"),
        "{said}"
    );
    let place = hotrun.here();
    project.set_version("2");
    hotrun.wait_next_live(place);
    hotrun.wait_version("2");
}
