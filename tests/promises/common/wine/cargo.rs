//! `cargo.exe` and `rustc.exe` under Wine: runs the system's own program of that name, which a program
//! under Wine can't start with its output, by asking the tests for it (`wine.rs`).

use std::io::{Read, Result, Write, stderr, stdout};
use std::net::TcpStream;
use std::process::exit;

fn main() {
    match run() {
        Ok(code) => exit(code),
        Err(error) => {
            eprintln!("error: no bridge to the system's cargo: {error}");
            exit(101);
        }
    }
}

fn run() -> Result<i32> {
    let address = std::env::var("HOTRUN_TEST_BRIDGE").unwrap_or_default();
    let mut bridge = TcpStream::connect(address)?;
    let program = std::env::current_exe()?;
    let name = program.file_stem().unwrap_or_default().to_string_lossy();
    let dir = std::env::current_dir()?;
    let mut parts = vec![name.into_owned(), dir.display().to_string()];
    let is_passed = |key: &str| key.starts_with("CARGO") || key.starts_with("RUST");
    let variables = std::env::vars().filter(|(key, _)| is_passed(key));
    parts.extend(variables.map(|(key, value)| format!("{key}={value}")));
    parts.push(String::new());
    parts.extend(std::env::args().skip(1));
    let request = parts.join("\0");
    let length = u32::try_from(request.len()).expect("a short command line");
    bridge.write_all(&length.to_le_bytes())?;
    bridge.write_all(request.as_bytes())?;
    loop {
        let mut head = [0; 5];
        bridge.read_exact(&mut head)?;
        let number = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let mut content = Vec::new();
        match head[0] {
            b'x' => return Ok(number.cast_signed()),
            stream => {
                (&mut bridge).take(number.into()).read_to_end(&mut content)?;
                let mut to: Box<dyn Write> = match stream {
                    b'o' => Box::new(stdout()),
                    _ => Box::new(stderr()),
                };
                to.write_all(&content)?;
                to.flush()?;
            }
        }
    }
}
