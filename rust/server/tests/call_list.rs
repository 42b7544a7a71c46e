//! The documentation's list of calls is made from the table in the code.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use carla_online_server::{Service, calls};

fn list() -> String {
    let mut text = String::from(
        "# Calls\n\nMade from the table in the code. *Served*: the world does it. *Neutral*: accepted, and answered as if there were \
         nothing of the kind; no script fails for it. A name that isn't here is an error of the call.\n\n| call | answer |\n|---|---|\n",
    );
    for (name, service) in calls() {
        let answer = if service == Service::Served {
            "served"
        } else {
            "neutral"
        };
        let _ = writeln!(text, "| `{name}` | {answer} |");
    }
    text
}

#[test]
fn the_documented_calls_are_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/design/server-calls.md");
    if std::env::var_os("CARLA_ONLINE_WRITE_DOCS").is_some() {
        fs::write(&path, list()).unwrap();
    }
    let documented = fs::read_to_string(&path).unwrap();
    assert!(
        documented == list(),
        "docs/design/server-calls.md is old; run this test with CARLA_ONLINE_WRITE_DOCS=1"
    );
}
