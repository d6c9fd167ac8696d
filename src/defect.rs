//! Defects of hotrun itself: a panic in one part is reported with a request to file a bug, and the part
//! goes on, or ends in a way that the other parts handle; then its keeper ends its processes.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::task::Poll;

use crate::session::reason::Reason;

/// The part that is to panic once, for tests (`HOTRUN_PANIC`, in builds with debug assertions).
static ARMED: Mutex<Option<String>> = Mutex::new(None);

/// Makes this part panic when it reaches its [`point`].
pub(crate) fn arm(part: Option<String>) {
    if cfg!(debug_assertions)
        && let Ok(mut armed) = ARMED.lock()
    {
        *armed = part;
    }
}

/// Panics if this part was armed.
pub(crate) fn point(part: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    // Unlocked before the panic, which would poison the lock.
    let is_armed = ARMED
        .lock()
        .is_ok_and(|mut armed| armed.take_if(|armed| armed == part).is_some());
    assert!(!is_armed, "{part} was asked to panic");
}

/// Runs `work`; an error is the message of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// The same for a future.
pub(crate) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| match caught(|| work.as_mut().poll(context)) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".into())
}

/// A reason that names a defect.
pub(crate) fn reason(what: &str, panic: &str) -> Reason {
    Reason::new(
        format!("{what}: a defect of hotrun ({panic})"),
        "please report it, with the lines above",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_result() {
        let panics = async {
            tokio::task::yield_now().await;
            assert_eq!(1 + 1, 3, "sums");
        };
        let panic = guarded(panics).await.unwrap_err();
        assert!(panic.contains("sums"), "{panic}");
        assert_eq!(guarded(async { 5 }).await, Ok(5));
        assert_eq!(caught(|| 6), Ok(6));
    }
}
