//! Nonsense on the port: a clear answer on that connection, and nobody else notices.

use integration::wire::startup_packet;
use integration::{Cluster, ClusterOptions, Server, Wire, on_each_server, wait_until};

/// A cluster with an encoding that has invalid sequences, and a session that must not notice anything.
fn utf8_cluster(server: Server) -> (Cluster, Wire) {
    let initdb = ["-E", "UTF8", "--locale=C"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(ClusterOptions { server, initdb, ..ClusterOptions::default() });
    cluster.start();
    let canary = Wire::connect(&cluster);
    (cluster, canary)
}

#[track_caller]
fn nobody_noticed(cluster: &Cluster, canary: &mut Wire) {
    assert_eq!(canary.query("select 6 * 7"), ["42", "SELECT 1"]);
    let log = cluster.log();
    for word in ["PANIC", "panicked", "terminated by signal", "terminating any other"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
}

/// What a client sends first, what it is told, and what the log says if it is told nothing.
struct Greeting {
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    answer: &'static [&'static str],
    log: &'static str,
}

/// A start-up packet with its length.
fn packet(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&length.to_be_bytes()[..], body].concat()
}

fn version(major: u16, minor: u16) -> Vec<u8> {
    let parameters = startup_packet(&[("user", "postgres"), ("database", "postgres")]);
    packet(&[&major.to_be_bytes()[..], &minor.to_be_bytes()[..], &parameters[4..]].concat())
}

fn with_parameters(parameters: &[(&str, &str)]) -> Vec<u8> {
    packet(&startup_packet(parameters))
}

const INVALID_LENGTH: &str = "LOG:  invalid length of startup packet";
const INCOMPLETE: &str = "LOG:  incomplete startup packet";

const GREETINGS: &[Greeting] = &[
    Greeting { name: "length 0", bytes: || vec![0; 4], answer: &["EOF"], log: INVALID_LENGTH },
    Greeting { name: "length 3", bytes: || vec![0, 0, 0, 3], answer: &["EOF"], log: INVALID_LENGTH },
    Greeting { name: "length 7", bytes: || vec![0, 0, 0, 7, 0, 3, 0], answer: &["EOF"], log: INVALID_LENGTH },
    Greeting {
        name: "length 10005",
        bytes: || 10_005_u32.to_be_bytes().to_vec(),
        answer: &["EOF"],
        log: INVALID_LENGTH,
    },
    Greeting { name: "negative length", bytes: || vec![0xff; 64], answer: &["EOF"], log: INVALID_LENGTH },
    Greeting {
        name: "a browser",
        bytes: || b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        answer: &["EOF"],
        log: INVALID_LENGTH,
    },
    Greeting { name: "half a length", bytes: || vec![0, 0], answer: &["EOF"], log: INCOMPLETE },
    Greeting {
        name: "half a packet",
        bytes: || version(3, 0)[..20].to_vec(),
        answer: &["EOF"],
        log: INCOMPLETE,
    },
    Greeting {
        name: "protocol 4.0",
        bytes: || version(4, 0),
        answer: &["FATAL:  0A000: unsupported frontend protocol 4.0: server supports 3.0 to 3.0", "EOF"],
        log: "",
    },
    Greeting {
        name: "no terminator",
        bytes: || {
            let body = startup_packet(&[("user", "postgres")]);
            packet(&body[..body.len() - 1])
        },
        answer: &["FATAL:  08P01: invalid startup packet layout: expected terminator as last byte", "EOF"],
        log: "",
    },
    Greeting {
        name: "bytes after the terminator",
        bytes: || packet(&[&startup_packet(&[("user", "postgres")])[..], b"more"].concat()),
        answer: &["FATAL:  08P01: invalid startup packet layout: expected terminator as last byte", "EOF"],
        log: "",
    },
    Greeting {
        name: "a name without a value",
        bytes: || packet(&[&startup_packet(&[])[..4], b"user\0"].concat()),
        answer: &["FATAL:  08P01: invalid startup packet layout: expected terminator as last byte", "EOF"],
        log: "",
    },
    Greeting {
        name: "no user",
        bytes: || with_parameters(&[("database", "postgres")]),
        answer: &["FATAL:  28000: no PostgreSQL user name specified in startup packet", "EOF"],
        log: "",
    },
    Greeting {
        name: "unknown role",
        bytes: || with_parameters(&[("user", "stranger"), ("database", "postgres")]),
        answer: &["FATAL:  28000: role \"stranger\" does not exist", "EOF"],
        log: "",
    },
    Greeting {
        name: "unknown database",
        bytes: || with_parameters(&[("user", "postgres"), ("database", "nowhere")]),
        answer: &["FATAL:  3D000: database \"nowhere\" does not exist", "EOF"],
        log: "",
    },
    Greeting {
        name: "unknown setting",
        bytes: || with_parameters(&[("user", "postgres"), ("nosuch", "1")]),
        answer: &["FATAL:  42704: unrecognized configuration parameter \"nosuch\"", "EOF"],
        log: "",
    },
    Greeting {
        name: "malformed setting",
        bytes: || with_parameters(&[("user", "postgres"), ("work_mem", "lots")]),
        answer: &["FATAL:  22023: invalid value for parameter \"work_mem\": \"lots\"", "EOF"],
        log: "",
    },
    Greeting {
        name: "unknown option",
        bytes: || with_parameters(&[("user", "postgres"), ("options", "-Z")]),
        answer: &[
            "FATAL:  42601: invalid command-line argument for server process: -Z",
            "HINT:  Try \"postgres --help\" for more information.",
            "EOF",
        ],
        log: "",
    },
    Greeting {
        name: "setting of the postmaster",
        bytes: || with_parameters(&[("user", "postgres"), ("options", "-c port=1")]),
        answer: &["FATAL:  55P02: parameter \"port\" cannot be changed without restarting the server", "EOF"],
        log: "",
    },
    Greeting {
        name: "replication in words",
        bytes: || with_parameters(&[("user", "postgres"), ("replication", "perhaps")]),
        answer: &[
            "FATAL:  22023: invalid value for parameter \"replication\": \"perhaps\"",
            "HINT:  Valid values are: \"false\", 0, \"true\", 1, \"database\".",
            "EOF",
        ],
        log: "",
    },
    Greeting {
        name: "cancel of nobody",
        bytes: || packet(&[80_877_102_u32, 1, 2].map(u32::to_be_bytes).concat()),
        answer: &["EOF"],
        log: "LOG:  PID 1 in cancel request did not match any process",
    },
    Greeting {
        name: "short cancel",
        bytes: || packet(&80_877_102_u32.to_be_bytes()),
        answer: &["EOF"],
        log: "LOG:  invalid length of startup packet",
    },
];

#[test]
fn malformed_startup_packets() {
    on_each_server("malformed start-up packets", |server| {
        let (cluster, mut canary) = utf8_cluster(server);
        for greeting in GREETINGS {
            cluster.mark_log();
            let mut wire = Wire::open(&cluster);
            wire.send(&(greeting.bytes)());
            wire.no_more();
            assert_eq!(wire.answer(), greeting.answer, "{}, {server:?}", greeting.name);
            let words =
                if greeting.log.is_empty() { told(greeting.answer[0]) } else { greeting.log.to_owned() };
            wait_until(&format!("the log says {words}"), || cluster.new_log_lines().contains(&words));
        }
        nobody_noticed(&cluster, &mut canary);
    });
}

/// The log's line for what a client was told: without the SQLSTATE.
fn told(answer: &str) -> String {
    let (severity, rest) = answer.split_once(":  ").expect("a report");
    format!("{severity}:  {}", rest.split_once(": ").map_or(rest, |(_, message)| message))
}

#[test]
fn greetings_that_are_fine() {
    on_each_server("unusual start-up packets", |server| {
        let (cluster, mut canary) = utf8_cluster(server);
        // Unknown protocol options and a newer minor version are negotiated.
        for bytes in [
            version(3, 7),
            with_parameters(&[("user", "postgres"), ("_pq_.nosuch", "1"), ("_pq_.other", "2")]),
        ] {
            let mut wire = Wire::open(&cluster);
            wire.send(&bytes);
            assert_eq!(wire.answer(), ["NegotiateProtocolVersion"], "{server:?}");
            assert_eq!(wire.query("select 1"), ["1", "SELECT 1"]);
            wire.quit();
        }
        // Encryption is refused, then the session goes on without. The real server has GSSAPI.
        let mut wire = Wire::open(&cluster);
        let requests: &[u32] = if server == Server::Ours { &[80_877_103, 80_877_104] } else { &[80_877_103] };
        for request in requests {
            wire.send_packet(&request.to_be_bytes());
            assert_eq!(wire.byte(), Some(b'N'), "{server:?}");
        }
        assert_eq!(wire.start_session(&[("user", "postgres")]), [""; 0]);
        wire.quit();
        // The same request again is an unknown protocol.
        let mut wire = Wire::open(&cluster);
        wire.send_packet(&80_877_103_u32.to_be_bytes());
        assert_eq!(wire.byte(), Some(b'N'));
        wire.send_packet(&80_877_103_u32.to_be_bytes());
        let refused =
            ["FATAL:  0A000: unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0", "EOF"];
        assert_eq!(wire.answer(), refused, "{server:?}");
        // In pieces of one byte.
        let mut wire = Wire::open(&cluster);
        for byte in version(3, 0) {
            wire.send(&[byte]);
        }
        assert_eq!(wire.answer(), [""; 0]);
        wire.quit();
        nobody_noticed(&cluster, &mut canary);
    });
}

/// Clients of before 2003 are told in the words of their time: an `E` and a line.
#[test]
fn protocols_of_old() {
    on_each_server("protocol 1 and 2", |server| {
        let (cluster, mut canary) = utf8_cluster(server);
        for (major, minor) in [(1, 0), (2, 0)] {
            let mut wire = Wire::open(&cluster);
            wire.send(&version(major, minor));
            let expected = format!(
                "EFATAL:  unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0\n\0"
            );
            assert_eq!(String::from_utf8_lossy(&wire.bytes_to_the_end()), expected, "{server:?}");
        }
        nobody_noticed(&cluster, &mut canary);
    });
}

/// What a session sends, what it is told, and whether it may go on.
struct Words {
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    answer: &'static [&'static str],
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    with_length(kind, u32::try_from(body.len() + 4).expect("short"), body)
}

fn with_length(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// Messages, then a Sync.
fn and_sync(messages: &[Vec<u8>]) -> Vec<u8> {
    [messages.concat(), message(b'S', b"")].concat()
}

const MESSAGES: &[Words] = &[
    Words {
        name: "unknown type",
        bytes: || message(1, b"?"),
        answer: &["FATAL:  08P01: invalid frontend message type 1", "EOF"],
    },
    Words {
        name: "password in a session",
        bytes: || message(b'p', b"secret\0"),
        answer: &["FATAL:  08P01: invalid frontend message type 112", "EOF"],
    },
    Words { name: "length 3", bytes: || with_length(b'Q', 3, b""), answer: &["EOF"] },
    Words { name: "length 0", bytes: || with_length(b'Q', 0, b""), answer: &["EOF"] },
    Words { name: "negative length", bytes: || with_length(b'Q', u32::MAX, b""), answer: &["EOF"] },
    Words { name: "two gigabytes", bytes: || with_length(b'Q', 0x7fff_ffff, b"select"), answer: &["EOF"] },
    Words { name: "a large Sync", bytes: || with_length(b'S', 20_000, &[0; 19_996]), answer: &["EOF"] },
    Words { name: "half a query", bytes: || with_length(b'Q', 1000, b"select 1"), answer: &["EOF"] },
    Words { name: "half a length", bytes: || vec![b'Q', 0, 0], answer: &["EOF"] },
    Words {
        name: "query without terminator",
        bytes: || message(b'Q', b"select 1"),
        answer: &["ERROR:  08P01: invalid string in message"],
    },
    Words {
        name: "bytes after the query",
        bytes: || message(b'Q', b"select 1\0select 2\0"),
        answer: &["ERROR:  08P01: invalid message format"],
    },
    Words { name: "empty query", bytes: || message(b'Q', b"\0"), answer: &["empty query"] },
    Words {
        name: "invalid UTF-8",
        bytes: || message(b'Q', b"select '\xff'\0"),
        answer: &["ERROR:  22021: invalid byte sequence for encoding \"UTF8\": 0xff"],
    },
    Words {
        name: "overlong UTF-8",
        bytes: || message(b'Q', b"select '\xc0\x80'\0"),
        answer: &["ERROR:  22021: invalid byte sequence for encoding \"UTF8\": 0xc0 0x80"],
    },
    Words { name: "copy data without a copy", bytes: || and_sync(&[message(b'd', b"data")]), answer: &[] },
    Words { name: "flush", bytes: || and_sync(&[message(b'H', b"")]), answer: &[] },
    Words {
        name: "bind to no statement",
        bytes: || and_sync(&[message(b'B', b"\0nosuch\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0")]),
        answer: &["ERROR:  26000: prepared statement \"nosuch\" does not exist"],
    },
    Words {
        name: "bind to no unnamed statement",
        bytes: || and_sync(&[message(b'B', b"\0\0\0\0\0\0\0\0")]),
        answer: &["ERROR:  26000: unnamed prepared statement does not exist"],
    },
    Words {
        name: "execute no portal",
        bytes: || and_sync(&[message(b'E', b"nosuch\0\0\0\0\0")]),
        answer: &["ERROR:  34000: portal \"nosuch\" does not exist"],
    },
    Words {
        name: "describe what",
        bytes: || and_sync(&[message(b'D', b"X\0")]),
        answer: &["ERROR:  08P01: invalid DESCRIBE message subtype 88"],
    },
    Words {
        name: "close what",
        bytes: || and_sync(&[message(b'C', b"X\0")]),
        answer: &["ERROR:  08P01: invalid CLOSE message subtype 88"],
    },
    Words {
        name: "close nothing",
        bytes: || and_sync(&[message(b'C', b"Snosuch\0"), message(b'C', b"Pnosuch\0")]),
        answer: &["CloseComplete", "CloseComplete"],
    },
    Words {
        name: "too few parameters",
        bytes: || and_sync(&[message(b'P', b"\0select $1\0\0\0"), message(b'B', b"\0\0\0\0\0\0\0\0")]),
        answer: &[
            "ParseComplete",
            "ERROR:  08P01: bind message supplies 0 parameters, but prepared statement \"\" requires 1",
        ],
    },
    Words {
        name: "format codes that do not match",
        bytes: || {
            let bind = b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0";
            and_sync(&[message(b'P', b"\0select $1\0\0\0"), message(b'B', bind)])
        },
        answer: &["ParseComplete", "ERROR:  08P01: bind message has 2 parameter formats but 1 parameters"],
    },
    Words {
        name: "a parameter longer than its message",
        bytes: || {
            let bind = b"\0\0\0\0\0\x01\0\0\x10\0x\0\0";
            and_sync(&[message(b'P', b"\0select $1\0\0\0"), message(b'B', bind)])
        },
        answer: &["ParseComplete", "ERROR:  08P01: insufficient data left in message"],
    },
    Words {
        name: "parse without an end",
        bytes: || and_sync(&[message(b'P', b"\0select 1")]),
        answer: &["ERROR:  08P01: invalid string in message"],
    },
    Words {
        name: "parse with too few types",
        bytes: || and_sync(&[message(b'P', b"\0select 1\0\0\x05\0\0")]),
        answer: &["ERROR:  08P01: insufficient data left in message"],
    },
    Words {
        name: "two statements in a parse",
        bytes: || and_sync(&[message(b'P', b"\0select 1; select 2\0\0\0")]),
        answer: &["ERROR:  42601: cannot insert multiple commands into a prepared statement"],
    },
    Words {
        name: "nothing runs after an error until Sync",
        bytes: || {
            and_sync(&[
                message(b'P', b"\0nonsense\0\0\0"),
                message(b'B', b"\0\0\0\0\0\0\0\0"),
                message(b'E', b"\0\0\0\0\0"),
            ])
        },
        answer: &["ERROR:  42601: syntax error at or near \"nonsense\""],
    },
    Words {
        name: "binary that is too short",
        bytes: || {
            let bind = b"\0\0\0\x01\0\x01\0\x01\0\0\0\x02xx\0\0";
            and_sync(&[message(b'P', b"\0select $1::int4\0\0\0"), message(b'B', bind)])
        },
        answer: &["ParseComplete", "ERROR:  08P01: insufficient data left in message"],
    },
    Words {
        name: "binary that is too long",
        bytes: || {
            let bind = b"\0\0\0\x01\0\x01\0\x01\0\0\0\x06\0\0\0\0xx\0\0";
            and_sync(&[message(b'P', b"\0select $1::int4\0\0\0"), message(b'B', bind)])
        },
        answer: &["ParseComplete", "ERROR:  22P03: incorrect binary data format in bind parameter 1"],
    },
    Words {
        name: "an unknown result format",
        bytes: || {
            let bind = b"\0\0\0\0\0\0\0\x01\0\x07";
            let execute = message(b'E', b"\0\0\0\0\0");
            and_sync(&[message(b'P', b"\0select 1\0\0\0"), message(b'B', bind), execute])
        },
        answer: &["ParseComplete", "BindComplete", "ERROR:  22023: unsupported format code: 7"],
    },
];

#[test]
fn malformed_messages() {
    on_each_server("malformed messages", |server| {
        let (cluster, mut canary) = utf8_cluster(server);
        for words in MESSAGES {
            let mut wire = Wire::connect(&cluster);
            wire.send(&(words.bytes)());
            let ends = words.answer.last() == Some(&"EOF");
            if ends {
                wire.no_more();
            }
            assert_eq!(wire.answer(), words.answer, "{}, {server:?}", words.name);
            if !ends {
                assert_eq!(wire.query("select 1"), ["1", "SELECT 1"], "after: {}, {server:?}", words.name);
                wire.quit();
            }
        }
        nobody_noticed(&cluster, &mut canary);
    });
}

/// The old way to call a function: refused as a whole.
#[test]
fn function_calls() {
    let (cluster, mut canary) = utf8_cluster(Server::Ours);
    let mut wire = Wire::connect(&cluster);
    wire.send(&message(b'F', b"\0\x0f\x42\x3f\0\0\0\0\0\0"));
    assert_eq!(wire.answer(), ["ERROR:  0A000: the function call protocol is not supported yet"]);
    assert_eq!(wire.query("select 1"), ["1", "SELECT 1"]);
    nobody_noticed(&cluster, &mut canary);
}

/// How many random streams, and where they come from: the number that a failing test prints reproduces it.
const STREAMS: usize = 10_000;

fn seed() -> u64 {
    let given = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

fn random_bytes(random: &mut fastrand::Rng, longest: usize) -> Vec<u8> {
    let length = random.usize(..longest);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// A few messages of a session with some of their bytes changed.
fn damaged(random: &mut fastrand::Rng) -> Vec<u8> {
    let whole = [
        message(b'Q', b"select 1, 'two', null\0"),
        and_sync(&[
            message(b'P', b"s\0select $1::int4 + $2::int4\0\0\0"),
            message(b'D', b"Ss\0"),
            message(b'B', b"p\0s\0\0\0\0\x02\0\0\0\x01\x31\0\0\0\x012\0\0"),
            message(b'D', b"Pp\0"),
            message(b'E', b"p\0\0\0\0\0"),
            message(b'C', b"Pp\0"),
        ]),
    ];
    let mut bytes = random.choice(whole).unwrap_or_default();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ (1 << random.u8(..8)) };
    }
    bytes.truncate(random.usize(1..=bytes.len()));
    bytes
}

#[test]
fn random_streams() {
    let seed = seed();
    println!("PGANATOMY_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (cluster, mut canary) = utf8_cluster(Server::Ours);
    let before = cluster.processes().len();
    // A fifth of them instead of a start-up packet, each on its own connection.
    for _ in 0..STREAMS / 5 {
        let mut wire = Wire::open(&cluster);
        let mut bytes = random_bytes(&mut random, 64);
        if random.bool() {
            // With a good length and version it gets further.
            let good = packet(&[&[0, 3, 0, 0][..], &bytes].concat());
            bytes = good;
        }
        wire.send(&bytes);
        wire.no_more();
        wire.answer();
    }
    // The others in sessions, until the session has had enough.
    let mut wire = Wire::connect(&cluster);
    for number in 0..STREAMS - STREAMS / 5 {
        let bytes = if random.u8(..4) == 0 { random_bytes(&mut random, 64) } else { damaged(&mut random) };
        wire.send(&bytes);
        if number % 8 == 0 {
            wire.no_more();
            while wire.answer().last().is_none_or(|line| line != "EOF") {}
            wire = Wire::connect(&cluster);
        }
    }
    drop(wire);
    nobody_noticed(&cluster, &mut canary);
    wait_until("all those sessions have ended", || cluster.processes().len() == before);
}
