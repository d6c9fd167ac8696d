//! Defects of hotrun itself, and the doors to every task and thread: a panic is reported with the name of
//! its part and a request to file a bug, and ends one piece of work, not the part. What ends with it is
//! an error that the caller handles like any other.
//!
//! A part that works in pieces starts again after a panic ([`again`], [`repeat`]), at once the first time
//! and then after growing pauses; the result of one that works once ([`spawn`], [`spawn_blocking`],
//! [`guarded`], [`caught`]) is the panic's message. `tests/promises/tidy.rs` checks that nothing else
//! starts a task or thread, and that each part is made to panic by a test.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::{self, JoinHandle};

use crate::session::reason::Reason;

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// The part of hotrun that has panicked.
    pub part: String,
    /// The place in the source.
    pub place: String,
    /// The message of the panic.
    pub message: String,
}

/// Prints a defect.
type Tell = fn(&Defect);

static TELL: OnceLock<Tell> = OnceLock::new();

/// Has every panic told in this way.
pub(crate) fn tell_by(tell: Tell) {
    TELL.set(tell).ok();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        report(&Defect {
            part: current(),
            place: place.unwrap_or_default(),
            message: panic.payload_as_str().unwrap_or("no message").to_owned(),
        });
    }));
}

/// The last defect of a process that has no output, to be told by another one.
static LAST: Mutex<Option<Defect>> = Mutex::new(None);

/// Keeps every panic for [`take_last`].
pub(crate) fn tell_later() {
    tell_by(|defect| {
        if let Ok(mut last) = LAST.lock() {
            *last = Some(defect.clone());
        }
    });
}

/// The last panic, once.
pub(crate) fn take_last() -> Option<Defect> {
    LAST.lock().ok().and_then(|mut last| last.take())
}

/// Prints a defect, of this process or of another one.
pub(crate) fn report(defect: &Defect) {
    if let Some(tell) = TELL.get() {
        tell(defect);
    }
}

// ---- panics on purpose

/// The parts that are to panic once, for tests (`HOTRUN_PANIC`, in builds with debug assertions).
static ARMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes this part panic when it reaches its [`point`].
pub(crate) fn arm(part: Option<String>) {
    if cfg!(debug_assertions)
        && let Ok(mut armed) = ARMED.lock()
    {
        armed.extend(part);
    }
}

/// Panics if this part was armed.
#[track_caller]
pub(crate) fn point(part: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    // Unlocked before the panic, which would poison the lock.
    let is_armed = ARMED.lock().is_ok_and(|mut armed| {
        let found = armed.iter().position(|armed| armed == part);
        found.map(|at| armed.swap_remove(at)).is_some()
    });
    assert!(!is_armed, "{part} was asked to panic");
}

// ---- the part that runs

thread_local! {
    /// The part whose work this thread does at the moment.
    static PART: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The part that runs, or the name of the thread.
fn current() -> String {
    let part = PART.get().map(str::to_owned);
    let thread = || thread::current().name().map(str::to_owned);
    part.or_else(thread).unwrap_or_else(|| "a thread".into())
}

/// Runs `work` as a part; an error is the message of its panic.
pub(crate) fn caught<T>(part: &'static str, work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = PART.replace(Some(part));
    let done = catch_unwind(AssertUnwindSafe(work));
    PART.set(outer);
    done.map_err(|panic| message(&*panic))
}

/// The same for a future.
pub(crate) async fn guarded<T>(
    part: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(
        |context| match caught(part, || work.as_mut().poll(context)) {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
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

// ---- tasks and threads

/// The pause before a part starts again after this many panics in a row: none after the first, and then
/// so much that a part that always panics costs next to nothing.
fn pause(panics: u32) -> Duration {
    Duration::from_millis(100) * panics.saturating_sub(1).min(50)
}

/// Runs `work` in a task.
pub(crate) fn spawn<T: Send + 'static>(
    part: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<Result<T, String>> {
    task::spawn(guarded(part, work))
}

/// Runs what `work` returns, again after each panic.
pub(crate) async fn again<T>(part: &'static str, mut work: impl AsyncFnMut() -> T) -> T {
    let mut panics = 0;
    loop {
        if let Ok(done) = guarded(part, work()).await {
            return done;
        }
        panics += 1;
        tokio::time::sleep(pause(panics)).await;
    }
}

/// Blocking work in a thread of the runtime.
#[derive(Debug)]
pub struct Blocking<T>(JoinHandle<Result<T, String>>);

impl<T> Blocking<T> {
    /// Whether the work has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end; a panic is an error. Safe to drop while it waits.
    pub(crate) async fn done(&mut self) -> io::Result<T> {
        let ended = (&mut self.0).await?;
        ended.map_err(|panic| io::Error::other(format!("a defect of hotrun ({panic})")))
    }
}

/// Starts `work` in a thread of the runtime.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    part: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Blocking<T> {
    Blocking(task::spawn_blocking(move || caught(part, work)))
}

/// Runs `work` in a thread of its own. `stack`: the size of its stack, if it is one of many.
pub(crate) fn spawn_thread<T: Send + 'static>(
    part: &'static str,
    stack: Option<usize>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<Result<T, String>>> {
    let builder = thread::Builder::new().name(part.into());
    let builder = match stack {
        Some(size) => builder.stack_size(size),
        None => builder,
    };
    builder.spawn(move || caught(part, work))
}

/// Repeats `step` on `state` in this thread until it breaks. A panic costs one step, and `lost` is
/// called for what that did not do.
pub(crate) fn repeat<S>(
    part: &'static str,
    mut state: S,
    mut step: impl FnMut(&mut S) -> ControlFlow<()>,
    mut lost: impl FnMut(&mut S),
) {
    let mut panics = 0;
    loop {
        match caught(part, || step(&mut state)) {
            Ok(ControlFlow::Continue(())) => panics = 0,
            Ok(ControlFlow::Break(())) => return,
            Err(_) => {
                panics += 1;
                caught(part, || lost(&mut state)).ok();
                thread::sleep(pause(panics));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_result() {
        let panics = async {
            task::yield_now().await;
            assert_eq!(current(), "sums");
            assert_eq!(1 + 1, 3, "sums");
        };
        let panic = guarded("sums", panics).await.unwrap_err();
        assert!(panic.contains("sums"), "{panic}");
        assert_eq!(guarded("five", async { 5 }).await, Ok(5));
        assert_eq!(caught("six", || caught("inner", || 6)), Ok(Ok(6)));
        assert_ne!(current(), "sums");
        let mut panics = spawn_blocking("sums", || assert_eq!(1 + 1, 3, "sums"));
        let error = panics.done().await.unwrap_err().to_string();
        assert!(error.starts_with("a defect of hotrun ("), "{error}");
    }

    /// What panics each time is tried less and less often.
    #[tokio::test(start_paused = true)]
    async fn a_task_starts_again_after_pauses() {
        let start = tokio::time::Instant::now();
        let mut starts = Vec::new();
        again("sums", async || {
            starts.push(start.elapsed().as_millis());
            assert_eq!(starts.len(), 4, "sums");
        })
        .await;
        assert_eq!(starts, [0, 0, 100, 300]);
    }

    #[test]
    fn a_panic_costs_a_thread_one_step() {
        let mut done = Vec::new();
        repeat(
            "sums",
            (0, &mut done),
            |(step, done)| {
                *step += 1;
                assert_ne!(*step, 2, "sums");
                done.push(*step);
                if *step == 3 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
            |(_, done)| done.push(-1),
        );
        assert_eq!(done, [1, -1, 3]);
    }
}
