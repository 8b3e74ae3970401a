//! What the others tell the collector.
//!
//! C counterpart: `PgStat_Msg*` of pgstat.h.

use common::Oid;

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Transactions that a session ended in a database. C: part of `PgStat_MsgTabstat`.
    Transactions {
        /// The session's database.
        database: Oid,
        /// Committed since the last message.
        commits: u32,
        /// Rolled back since the last message.
        rollbacks: u32,
    },
    /// A database's counters start again from nothing. C: `PgStat_MsgResetcounter`.
    Reset {
        /// Whose.
        database: Oid,
    },
}

const TRANSACTIONS: u8 = 1;
const RESET: u8 = 2;

impl Message {
    /// The bytes of the datagram: a kind, then numbers in the machine's order.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, numbers) = match *self {
            Message::Transactions { database, commits, rollbacks } => {
                (TRANSACTIONS, vec![database.0, commits, rollbacks])
            }
            Message::Reset { database } => (RESET, vec![database.0]),
        };
        let mut bytes = vec![kind];
        bytes.extend(numbers.into_iter().flat_map(u32::to_ne_bytes));
        bytes
    }

    /// The message in a datagram; `None` for one that is cut or unknown.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (kind, rest) = bytes.split_first()?;
        let number = |i: usize| Some(u32::from_ne_bytes(rest.get(i * 4..i * 4 + 4)?.try_into().ok()?));
        match *kind {
            TRANSACTIONS => Some(Message::Transactions {
                database: Oid(number(0)?),
                commits: number(1)?,
                rollbacks: number(2)?,
            }),
            RESET => Some(Message::Reset { database: Oid(number(0)?) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_cut_ones_do_not() {
        for message in [
            Message::Transactions { database: Oid(5), commits: 3, rollbacks: 1 },
            Message::Reset { database: Oid(5) },
        ] {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message));
            assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[99, 0, 0]), None);
    }
}
