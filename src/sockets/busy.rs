//! Whether a connection of an old generation has a request in flight, judged by the traffic on it: a
//! request must not be cut, and an open connection without one must not delay the stop signal. Pure.
//!
//! This knows no protocol: a request counts as answered when something was sent after the last segment
//! received. That misleads where both ends take turns before the first request (TLS, HTTP/2), so a young
//! connection must have been quiet for a moment as well.

use std::time::Duration;

use crate::sys::connections::{CLOSE_WAIT, Entry, NEW_SYN_RECEIVED, SYN_RECEIVED};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Bytes are on their way in either direction, or a request is not answered.
    Busy,
    /// Every request is answered, as far as can be seen.
    Idle,
    /// The server goes on sending without new requests, with no end in sight: an event stream, a
    /// `WebSocket`.
    Stream,
}

/// How long a connection of an old generation is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The app catches the stop signal and finishes the requests it has read.
    pub finishes: bool,
    /// A client that has not sent anything may still send its first request for this long.
    pub silent: Duration,
    /// The longest wait for an answer: a request that was older than this when its connection was first
    /// seen is a long poll, or stuck.
    pub answer: Duration,
}

/// A connection of this age is past its handshakes.
const YOUNG: Duration = Duration::from_secs(1);

/// The longest pause between two turns of a handshake, apart from the round trip: generous, for a client
/// on a machine that has just built something and may still be busy.
const TURN: Duration = Duration::from_millis(100);

/// What the server sends this long after the last segment received, following an answer, is not an
/// answer.
const UNASKED: Duration = Duration::from_secs(1);

impl Activity {
    /// What this connection is doing; it was first seen `watched` ago.
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
            // The client has not sent anything and may never do: what the server sent is no answer.
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
            // What was sent may have been a turn of a handshake, and the request may have come with the
            // client's last turn. An app that finishes what it has read needs no wait for that.
            let turns = traffic.segments_received > 1 && !limits.finishes;
            return busy(turns || quiet < turn);
        }
        // Within one tick of the kernel's clock the order of the two is not known.
        busy(received == sent && quiet < turn)
    }
}

/// The app has not read all that the client sent. The client's FIN counts as a byte.
fn unread(entry: &Entry) -> bool {
    let end = u32::from(entry.state == CLOSE_WAIT);
    entry.waiting > end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::connections::{ESTABLISHED, Traffic};
    use Activity::{Busy, Idle, Stream};

    /// The number of segments, and the milliseconds since the last of them.
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

    /// The activity expected with an app that dies by the stop signal, and with one that finishes first.
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
        // A request of just now, of a while ago, on a connection used before; but not for ever.
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
        // The order is not known; a moment later nothing else has come.
        is(&connection((9, 8), (9, 8)), 1000, Busy, Busy);
        is(&connection((9, 100), (9, 100)), 1000, Busy, Busy);
        is(&connection((9, 104), (9, 104)), 1000, Idle, Idle);
        // Watched for long enough to be past its handshakes.
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
        // With a long round trip.
        let mut far = connection((1, 130), (1, 130));
        far.traffic.round_trip = Duration::from_millis(20);
        is(&far, 0, Busy, Busy);
        // The request came with the client's last turn, and an app that finishes has read it.
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
        // The client has closed its end: only the FIN is unread.
        is(&unread(CLOSE_WAIT, 1), 2000, Idle, Idle);
        is(&unread(CLOSE_WAIT, 2), 2000, Busy, Busy);
        let asked = Entry {
            state: CLOSE_WAIT,
            waiting: 1,
            ..connection((1, 100), (0, 104))
        };
        is(&asked, 0, Busy, Busy);
        // A download goes on as long as the client reads.
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
        // The server has greeted the client, or the client has closed.
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
        // A young stream is idle between two events.
        is(&connection((1, 900), (9, 120)), 0, Idle, Idle);
        // A slow answer; an event still unsent; a message of the client.
        is(&connection((1, 3000), (1, 100)), 0, Idle, Idle);
        is(&connection((1, 3000), (2, 100)), 0, Idle, Idle);
        let mut sending = connection((1, 3000), (4, 0));
        sending.unsent = 70;
        is(&sending, 0, Busy, Busy);
        is(&connection((2, 100), (30, 104)), 0, Busy, Busy);
    }
}
