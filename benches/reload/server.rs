//! The server without hotrun: started and stopped by hand.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{Lab, Project, command};
use crate::{Result, hotrun, http};

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    lab: &'a Lab,
    project: &'a Project,
    child: Child,
    pub(crate) address: SocketAddr,
}

impl<'a> Server<'a> {
    /// Starts the server on a free port, and waits until it answers.
    pub(crate) fn start(lab: &'a Lab, project: &'a Project) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = spawn(lab, project, address)?;
        let server = Self {
            lab,
            project,
            child,
            address,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while http::get(address, Duration::from_secs(1)).is_err() {
            if Instant::now() > deadline {
                return Err("the server by hand does not answer".into());
            }
        }
        Ok(server)
    }

    /// Replaces the server by the new build in the fastest way: it is killed without finishing requests,
    /// and the port is free at once.
    pub(crate) fn replace(&mut self) -> Result<()> {
        self.child.kill()?;
        self.again()
    }

    /// Has the server finish, and starts it again when it has ended.
    pub(crate) fn restart(&mut self) -> Result<()> {
        hotrun::send("TERM", self.child.id())?;
        self.again()
    }

    fn again(&mut self) -> Result<()> {
        self.child.wait()?;
        self.lab.guard.forget(&self.child)?;
        self.child = spawn(self.lab, self.project, self.address)?;
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.lab.guard.forget(&self.child).ok();
    }
}

fn spawn(lab: &Lab, project: &Project, address: SocketAddr) -> Result<Child> {
    let child = command(project.executable())
        .env("ADDR", address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    lab.guard.keep(&child)?;
    Ok(child)
}
