//! A real browser without a window, driven over its debugging protocol.

use std::collections::HashMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::{LIMIT, say, wait_until};

/// Names of the program.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// It asks nobody for anything, and knows nothing of other runs.
const ARGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
    "--remote-debugging-port=0",
];

/// A browser; it ends when this is dropped.
pub(crate) struct Chromium {
    child: Child,
    _dir: TempDir,
    connection: Mutex<Connection>,
}

struct Connection {
    socket: WebSocket<TcpStream>,
    numbered: u64,
    answers: HashMap<u64, Value>,
}

impl Chromium {
    /// Starts it. `None`: there is none on this machine, which is said.
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("chromium-")
            .tempdir()
            .unwrap();
        let start = |program: &&str| {
            Command::new(program)
                .args(ARGS)
                .arg(format!("--user-data-dir={}", dir.path().display()))
                .arg("about:blank")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        };
        let Some(mut child) = PROGRAMS.iter().find_map(start) else {
            say("there is no Chromium on this machine: what needs it is not tested");
            return None;
        };
        let file = dir.path().join("DevToolsActivePort");
        let (port, path) = wait_until("the browser to listen", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the browser has ended: {ended:?}");
            let text = fs::read_to_string(&file).ok()?;
            let (port, path) = text.split_once('\n')?;
            (!path.is_empty()).then(|| (port.parse::<u16>().unwrap(), path.trim().to_owned()))
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = client(url, stream).unwrap();
        let connection = Mutex::new(Connection {
            socket,
            numbered: 0,
            answers: HashMap::new(),
        });
        Some(Self {
            child,
            _dir: dir,
            connection,
        })
    }

    /// A new tab with this page. It may not have loaded yet.
    pub(crate) fn open(&self, url: &str) -> Tab<'_> {
        let target = self.call(
            None,
            "Target.createTarget",
            &json!({ "url": "about:blank" }),
        );
        let target = target["targetId"].as_str().unwrap();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", &attach);
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let tab = Tab {
            browser: self,
            session,
        };
        tab.go(url);
        tab
    }

    #[track_caller]
    fn call(&self, session: Option<&str>, method: &str, params: &Value) -> Value {
        let mut connection = self.connection.lock().unwrap();
        let answer = connection.call(session, method, params);
        drop(connection);
        assert_eq!(answer["error"], Value::Null, "{method} {params}");
        answer["result"].clone()
    }
}

impl Connection {
    fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Value {
        self.numbered += 1;
        let number = self.numbered;
        let mut call = json!({ "id": number, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            if let Some(answer) = self.answers.remove(&number) {
                return answer;
            }
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            // The rest are events.
            if let Some(number) = message["id"].as_u64() {
                self.answers.insert(number, message);
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends its own processes, which a signal to the first one would leave behind.
        if let Ok(connection) = self.connection.get_mut() {
            let close = json!({ "id": 0, "method": "Browser.close" });
            connection
                .socket
                .send(Message::text(close.to_string()))
                .ok();
            while connection.socket.read().is_ok() {}
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A tab of a browser.
pub(crate) struct Tab<'a> {
    browser: &'a Chromium,
    session: String,
}

impl Tab<'_> {
    #[track_caller]
    fn call(&self, method: &str, params: &Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    /// Goes to another page, without waiting for it.
    pub(crate) fn go(&self, url: &str) {
        // The answer comes only when there is one of the server.
        let start = format!("location.href = {}", json!(url));
        self.eval(&start);
    }

    /// The value of an expression; null for one that fails, like while a page is being replaced.
    #[track_caller]
    pub(crate) fn eval(&self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut connection = self.browser.connection.lock().unwrap();
        let answer = connection.call(Some(&self.session), "Runtime.evaluate", &params);
        drop(connection);
        answer["result"]["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait(&self, expression: &str) {
        wait_until(&format!("`{expression}` in the browser"), || {
            (self.eval(expression) == Value::Bool(true)).then_some(())
        });
    }

    /// The text of all that is shown, shadow trees that are closed included.
    pub(crate) fn whole_text(&self) -> String {
        let params = json!({ "depth": -1, "pierce": true });
        let document = self.call("DOM.getDocument", &params);
        let mut text = String::new();
        collect(&document["root"], &mut text);
        text
    }

    /// Presses Escape.
    pub(crate) fn escape(&self) {
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Escape", "code": "Escape",
                "windowsVirtualKeyCode": 27 });
            self.call("Input.dispatchKeyEvent", &key);
        }
    }

    /// Shows the page as on a screen of this size, in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &params);
    }

    /// The user prefers `light` or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
    }

    /// Writes what is shown to a PNG file.
    pub(crate) fn screenshot(&self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let data = shot["data"].as_str().unwrap();
        fs::write(path, from_base64(data)).unwrap();
    }
}

fn collect(node: &Value, text: &mut String) {
    let is_shown = !matches!(node["nodeName"].as_str(), Some("SCRIPT" | "STYLE"));
    if !is_shown {
        return;
    }
    if let Some(value) = node["nodeValue"].as_str() {
        text.push_str(value);
    }
    for inside in ["children", "shadowRoots"] {
        for child in node[inside].as_array().into_iter().flatten() {
            collect(child, text);
        }
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let digits = four.iter().map(|byte| {
            let digit = DIGITS.iter().position(|digit| digit == byte);
            u32::try_from(digit.unwrap()).unwrap()
        });
        let whole = digits.fold(0, |whole, digit| whole << 6 | digit) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&whole.to_be_bytes()[1..four.len()]);
    }
    bytes
}
