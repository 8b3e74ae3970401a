"""What programs do with psycopg 3, with assertions. Arguments: a connection string."""

import datetime
import decimal
import sys
import threading
import uuid

import psycopg
from psycopg import pq
from psycopg.rows import dict_row
from psycopg.types.json import Json


def values(connection):
    """Each type there and back, in text and in binary."""
    pairs = [
        (1, "int4"), (-(2**31), "int4"), (2**62, "int8"), (7, "int2"),
        (True, "bool"), (1.5, "float8"), (float("inf"), "float8"), (0.25, "float4"),
        ("text with 'quotes' \\ and é", "text"), ("", "text"), (b"\x00\x01\xff", "bytea"), (b"", "bytea"),
        (decimal.Decimal("123.4500"), "numeric"), (decimal.Decimal("-1E+10"), "numeric"),
        (datetime.date(2020, 2, 29), "date"), (datetime.time(12, 34, 56, 789), "time"),
        (datetime.datetime(2020, 2, 29, 1, 2, 3, 4), "timestamp"),
        (datetime.timedelta(days=3, hours=4, microseconds=5), "interval"),
        (uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "uuid"),
        ([1, 2, None], "int4[]"), (["a", None, 'x"y', "{}"], "text[]"), ([[1, 2], [3, 4]], "int4[]"), ([], "int4[]"),
    ]
    for placeholder, binary in [("%s", False), ("%b", True), ("%t", False), ("%t", True)]:
        for value, type_name in pairs:
            sql = f"SELECT {placeholder}::{type_name}"
            got = connection.execute(sql, [value], binary=binary).fetchone()[0]
            assert got == value, (sql, value, got)
    assert connection.execute("SELECT %s::int4", [None]).fetchone() == (None,)
    moment = datetime.datetime(2020, 7, 1, 12, tzinfo=datetime.timezone.utc)
    for binary in [False, True]:
        got = connection.execute("SELECT %s::timestamptz", [moment], binary=binary).fetchone()[0]
        assert got == moment, got
    assert connection.execute("SELECT %s::json", [Json({"a": [1, None]})]).fetchone()[0] == {"a": [1, None]}
    row = connection.execute("SELECT %(a)s + %(b)s AS sum, %(a)s AS a", {"a": 2, "b": 3}).fetchone()
    assert row == (5, 2), row
    assert connection.execute("SELECT %s = ANY(%s)", [2, [1, 2]]).fetchone() == (True,)


def cursors(connection):
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT g AS n, g % 2 = 0 AS even FROM generate_series(1, 3) g")
        assert cursor.statusmessage == "SELECT 3" and cursor.rowcount == 3
        assert [column.name for column in cursor.description] == ["n", "even"]
        assert [column.type_code for column in cursor.description] == [23, 16]
        assert cursor.fetchone() == {"n": 1, "even": False}
        assert len(cursor.fetchall()) == 2
    with connection.transaction(), connection.cursor("server_side") as cursor:
        cursor.execute("SELECT g FROM generate_series(1, %s) g", [250])
        assert cursor.fetchmany(2) == [(1,), (2,)]
        assert sum(row[0] for row in cursor) == 250 * 251 // 2 - 3
    with connection.transaction(), connection.cursor("scrolling", scrollable=True) as cursor:
        cursor.execute("SELECT g FROM generate_series(1, 10) g")
        cursor.scroll(4)
        assert cursor.fetchone() == (5,)
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchone() == (1,)
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s::int4", [(1,), (2,), (3,)], returning=True)
        got = [cursor.fetchone()[0]]
        while cursor.nextset():
            got.append(cursor.fetchone()[0])
        assert got == [1, 2, 3], got
    with connection.cursor() as cursor:
        assert [row[0] for row in cursor.stream("SELECT generate_series(1, 5)")] == [1, 2, 3, 4, 5]


def prepared(connection):
    """After five runs psycopg prepares a statement by itself."""
    for n in range(8):
        assert connection.execute("SELECT %s::int4 * 2", [n]).fetchone() == (2 * n,)
    assert connection.execute("SELECT %s::text", ["now"], prepare=True).fetchone() == ("now",)
    count = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0]
    assert count >= 2, count
    connection.execute("DEALLOCATE ALL")


def transactions(connection):
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    connection.autocommit = False
    connection.execute("SELECT 1")
    assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
    try:
        connection.execute("SELECT nope")
        raise AssertionError("it must fail")
    except psycopg.errors.UndefinedColumn as error:
        assert error.sqlstate == "42703" and error.diag.statement_position == "8"
        assert error.diag.message_primary == 'column "nope" does not exist'
        assert error.diag.severity_nonlocalized == "ERROR"
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    try:
        connection.execute("SELECT 1")
        raise AssertionError("it must fail")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    connection.rollback()
    with connection.transaction():
        connection.execute("SET LOCAL work_mem = '1MB'")
        try:
            with connection.transaction():
                connection.execute("SET LOCAL work_mem = '2MB'")
                connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
        assert connection.execute("SHOW work_mem").fetchone() == ("1MB",)
    connection.commit()
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.read_only = True
    assert connection.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
    assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
    connection.rollback()
    connection.isolation_level = connection.read_only = None
    connection.autocommit = True


def pipelines(connection):
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int4", [n]) for n in range(5)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(5))
    try:
        with connection.pipeline() as pipeline:
            connection.execute("SELECT 1")
            connection.execute("SELECT nope")
            connection.execute("SELECT 2")
            pipeline.sync()
        raise AssertionError("it must fail")
    except psycopg.errors.UndefinedColumn:
        pass
    assert connection.execute("SELECT 'alive'").fetchone() == ("alive",)


def notices_and_settings(connection):
    notices = []
    connection.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate, diag.message_primary)))
    connection.execute("COMMIT")
    assert notices == [("WARNING", "25P01", "there is no transaction in progress")], notices
    assert connection.info.server_version // 10000 == 15
    assert connection.info.encoding == "utf-8"
    assert connection.info.parameter_status("integer_datetimes") == "on"
    connection.execute("SET application_name = 'conversation'")
    assert connection.info.parameter_status("application_name") == "conversation"
    connection.execute("SET timezone = 'Europe/Berlin'")
    got = connection.execute("SELECT '2020-07-01 12:00+00'::timestamptz").fetchone()[0]
    assert got.utcoffset() == datetime.timedelta(hours=2), got
    connection.execute("RESET timezone")


def cancel(connection):
    timer = threading.Timer(0.1, connection.cancel)
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(60)")
        raise AssertionError("it must be canceled")
    except psycopg.errors.QueryCanceled as error:
        assert error.sqlstate == "57014"
    timer.join()


def refusals(conninfo):
    try:
        psycopg.connect(conninfo, dbname="nowhere")
        raise AssertionError("there is no such database")
    except psycopg.OperationalError as error:
        assert 'database "nowhere" does not exist' in str(error), error


def main(conninfo):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for step in [values, cursors, prepared, transactions, pipelines, notices_and_settings, cancel]:
            step(connection)
            assert connection.info.transaction_status == pq.TransactionStatus.IDLE, step
    refusals(conninfo)
    print("all as expected")


main(sys.argv[1])
