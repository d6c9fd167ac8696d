//! Whether a connection of an old generation still has something to wait for, by what went over it:
//! it must not be cut in the middle of a request, and one that is open without a request under way
//! must not hold anything up. Pure.
//!
//! No protocol is known here. What counts as an answer is that something was sent after the last
//! thing that came. That misleads where both ends speak in turn before the first request (TLS,
//! HTTP/2), so a young connection has to be quiet for a moment too.

use std::time::Duration;

use crate::sock_diag::{CLOSE_WAIT, Entry, NEW_SYN_RECEIVED, SYN_RECEIVED};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Something is on its way to or fro, or is asked and not answered.
    Busy,
    /// Everything is answered, as far as can be seen.
    Idle,
    /// The server goes on sending without being asked, and nobody can tell when that ends: a stream
    /// of events, a `WebSocket`.
    Stream,
}

/// For how long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The app finishes by itself what it has begun when it gets the stop signal.
    pub finishes: bool,
    /// A client that has never said anything may still be about to, for this long.
    pub silent: Duration,
    /// An answer takes no longer than this: what had waited longer when it was looked at first is a
    /// long poll, or stuck.
    pub answer: Duration,
}

/// From this age on a connection is past its handshakes.
const YOUNG: Duration = Duration::from_secs(1);

/// Between two turns of a handshake, apart from the time on the way: for a client on a machine that
/// has just built something, and may go on with that.
const TURN: Duration = Duration::from_millis(100);

/// What is sent this long after the last thing that came, and after an answer, was not asked for.
const UNASKED: Duration = Duration::from_secs(1);

impl Activity {
    /// What this connection, which was looked at for so long by now, is doing.
    pub(crate) fn of(entry: &Entry, watched: Duration, limits: Limits) -> Self {
        let (traffic, unread, unsent) = (entry.traffic, unread(entry), entry.unsent > 0);
        let (received, sent) = (traffic.since_received, traffic.since_sent);
        let (quiet, age) = (received.min(sent), received.max(sent).max(watched));
        let turn = TURN + 2 * traffic.round_trip;
        let busy = |busy| if busy { Self::Busy } else { Self::Idle };
        if [SYN_RECEIVED, NEW_SYN_RECEIVED].contains(&entry.state) {
            return Self::Busy;
        }
        if traffic.segments_received == 0 {
            // Nothing else may ever come: what is sent to it is no answer.
            let speaks = entry.state != CLOSE_WAIT;
            return busy(speaks && (limits.finishes || received < limits.silent));
        }
        let more_than_answers = traffic.segments_sent >= traffic.segments_received + 2;
        if more_than_answers && received >= sent + UNASKED && !unread && !unsent {
            return Self::Stream;
        }
        if quiet >= limits.answer + watched {
            return Self::Idle;
        }
        if unread || unsent || traffic.segments_sent == 0 || received < sent {
            return Self::Busy;
        }
        if age < YOUNG {
            // What was sent may have been a turn of a handshake, and the request may have come with
            // the client's last one. An app that finishes what it has read does not need that seen.
            let turns = traffic.segments_received > 1 && !limits.finishes;
            return busy(turns || quiet < turn);
        }
        // Within one tick of the clock: which of the two came first is not known.
        busy(received == sent && quiet < turn)
    }
}

/// Something came that was not read. The end of what a client sends counts as a byte.
fn unread(entry: &Entry) -> bool {
    let end = u32::from(entry.state == CLOSE_WAIT);
    entry.waiting > end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::{ESTABLISHED, Traffic};
    use Activity::{Busy, Idle, Stream};

    /// Segments and the milliseconds since the last one.
    type Flow = (u32, u64);

    fn connection((segments_received, received): Flow, (segments_sent, sent): Flow) -> Entry {
        Entry {
            state: ESTABLISHED,
            cookie: 1,
            inode: 1,
            waiting: 0,
            unsent: 0,
            traffic: Traffic {
                segments_received,
                segments_sent,
                since_received: Duration::from_millis(received),
                since_sent: Duration::from_millis(sent),
                round_trip: Duration::from_micros(30),
            },
        }
    }

    /// What it is to an app that ends by the stop signal, and to one that finishes first.
    #[track_caller]
    fn is(entry: &Entry, watched: u64, dies: Activity, finishes: Activity) {
        let limits = |finishes| Limits {
            finishes,
            silent: Duration::from_millis(250),
            answer: Duration::from_secs(5),
        };
        let of = |app| Activity::of(entry, Duration::from_millis(watched), limits(app));
        assert_eq!((of(false), of(true)), (dies, finishes), "{entry:?}");
    }

    #[test]
    fn a_request_is_waited_for_until_it_is_answered() {
        // Asked just now, for a while, on a connection that was used before; not for ever.
        is(&connection((1, 0), (0, 0)), 0, Busy, Busy);
        is(&connection((1, 0), (0, 3)), 0, Busy, Busy);
        is(&connection((1, 3000), (0, 3004)), 0, Busy, Busy);
        is(&connection((7, 100), (6, 172)), 0, Busy, Busy);
        is(&connection((1, 4996), (0, 5000)), 0, Busy, Busy);
        is(&connection((1, 5000), (0, 5004)), 0, Idle, Idle);
        is(&connection((1, 5900), (0, 5904)), 1000, Busy, Busy);
        // Answered: in the same tick, later, long ago.
        is(&connection((1, 120), (1, 120)), 0, Idle, Idle);
        is(&connection((1, 360), (1, 120)), 0, Idle, Idle);
        is(&connection((1, 60_000), (1, 60_000)), 0, Idle, Idle);
        // Which came first is not known; a moment later nothing else has come.
        is(&connection((9, 8), (9, 8)), 1000, Busy, Busy);
        is(&connection((9, 100), (9, 100)), 1000, Busy, Busy);
        is(&connection((9, 104), (9, 104)), 1000, Idle, Idle);
        // It was seen for long enough to be past its handshakes.
        is(&connection((9, 12), (9, 8)), 999, Busy, Busy);
        is(&connection((9, 12), (9, 8)), 1000, Idle, Idle);
    }

    #[test]
    fn a_handshake_is_waited_for() {
        let state = |state| Entry {
            state,
            ..connection((0, 0), (0, 0))
        };
        is(&state(SYN_RECEIVED), 0, Busy, Busy);
        is(&state(NEW_SYN_RECEIVED), 9000, Busy, Busy);
        // The server's turn was sent, and the client's next one is due.
        is(&connection((1, 8), (1, 8)), 0, Busy, Busy);
        is(&connection((1, 8), (1, 4)), 0, Busy, Busy);
        is(&connection((1, 100), (1, 100)), 0, Busy, Busy);
        is(&connection((1, 104), (1, 104)), 0, Idle, Idle);
        // Over a long way.
        let mut far = connection((1, 130), (1, 130));
        far.traffic.round_trip = Duration::from_millis(20);
        is(&far, 0, Busy, Busy);
        // The client's last turn came with its request, which an app that finishes has read.
        is(&connection((2, 300), (2, 300)), 0, Busy, Idle);
        is(&connection((3, 996), (2, 992)), 0, Busy, Idle);
        is(&connection((3, 1000), (2, 996)), 0, Idle, Idle);
    }

    #[test]
    fn what_waits_in_a_buffer_is_waited_for() {
        let unread = |state, waiting| Entry {
            state,
            waiting,
            ..connection((2, 400), (1, 400))
        };
        is(&unread(ESTABLISHED, 1), 2000, Busy, Busy);
        // The client has sent all that it is going to.
        is(&unread(CLOSE_WAIT, 1), 2000, Idle, Idle);
        is(&unread(CLOSE_WAIT, 2), 2000, Busy, Busy);
        let asked = Entry {
            state: CLOSE_WAIT,
            waiting: 1,
            ..connection((1, 100), (0, 104))
        };
        is(&asked, 0, Busy, Busy);
        // A download goes on as long as its client takes it.
        let unsent = |sent| Entry {
            unsent: 9000,
            ..connection((1, 20_000), (800, sent))
        };
        is(&unsent(0), 0, Busy, Busy);
        is(&unsent(5000), 0, Idle, Idle);
    }

    #[test]
    fn a_client_that_never_said_anything_may_be_about_to() {
        is(&connection((0, 4), (0, 4)), 0, Busy, Busy);
        is(&connection((0, 248), (0, 248)), 0, Busy, Busy);
        is(&connection((0, 252), (0, 252)), 0, Idle, Busy);
        is(&connection((0, 60_000), (0, 60_000)), 0, Idle, Busy);
        // It was greeted, or it has left.
        is(&connection((0, 300), (1, 300)), 0, Idle, Busy);
        let left = Entry {
            state: CLOSE_WAIT,
            waiting: 1,
            ..connection((0, 4), (0, 4))
        };
        is(&left, 0, Idle, Idle);
    }

    #[test]
    fn a_stream_is_told_from_an_answer() {
        is(&connection((1, 3000), (4, 100)), 0, Stream, Stream);
        is(&connection((1, 60_000), (9, 15_000)), 0, Stream, Stream);
        // One that is young is quiet between two events.
        is(&connection((1, 900), (9, 120)), 0, Idle, Idle);
        // A slow answer; an event that is on its way; a message of the client.
        is(&connection((1, 3000), (1, 100)), 0, Idle, Idle);
        is(&connection((1, 3000), (2, 100)), 0, Idle, Idle);
        let mut sending = connection((1, 3000), (4, 0));
        sending.unsent = 70;
        is(&sending, 0, Busy, Busy);
        is(&connection((2, 100), (30, 104)), 0, Busy, Busy);
    }
}
