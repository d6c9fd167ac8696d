//! The newest [`Picture`], for all that show it.

use std::sync::Arc;

use tokio::sync::watch;

use super::Picture;

/// Where the newest picture is; clones are the same one. A reader that is late sees the newest only.
#[derive(Clone, Debug)]
pub struct Board {
    newest: watch::Sender<Arc<Picture>>,
}

impl Board {
    /// Before anything is known.
    pub fn new() -> Self {
        Self {
            newest: watch::Sender::new(Arc::new(Picture::preparing())),
        }
    }

    /// Puts a picture up; one that is the same wakes no reader.
    pub fn publish(&self, picture: Picture) {
        self.newest.send_if_modified(|newest| {
            let differs = **newest != picture;
            if differs {
                *newest = Arc::new(picture);
            }
            differs
        });
    }

    /// The newest picture, and all later ones.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Picture>> {
        self.newest.subscribe()
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_picture_is_seen() {
        let board = Board::new();
        let mut seen = board.subscribe();
        board.publish(Picture::preparing());
        assert!(!seen.has_changed().unwrap());
        let picture = Picture {
            target: Some("app".into()),
            ..Picture::preparing()
        };
        board.clone().publish(picture.clone());
        assert!(seen.has_changed().unwrap());
        assert_eq!(**seen.borrow_and_update(), picture);
    }
}
