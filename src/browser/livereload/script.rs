//! The script that a page includes.

use serde_json::json;

use super::hub::Past;

/// A function of what only the server knows.
const CLIENT: &str = include_str!("client.js");

/// The script as it is served now.
pub(super) fn of(port: u16, token: &str, past: Past) -> String {
    let known = json!({
        "port": port,
        "token": token,
        "reloads": past.count,
        "ago": past.ago(),
    });
    format!("{}({known});\n", CLIENT.trim_end())
}
