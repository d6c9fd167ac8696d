//! How clients are sent to one generation alone.

/// How clients are sent to one generation alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steering {
    /// Each slot has a socket at the address, and the kernel sends new connections to one of them.
    Kernel,
    /// Hotrun answers at TCP addresses and passes everything on to one of the slots, each of which has an
    /// address of its own.
    Relay,
    /// Both slots share one socket.
    #[default]
    None,
}

#[cfg(test)]
impl Steering {
    /// The kernel's, where it can.
    pub(super) fn best() -> Self {
        if crate::sys::ABLE.twins {
            Self::Kernel
        } else {
            Self::None
        }
    }
}
