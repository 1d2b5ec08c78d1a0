"""Find settings of a server and its replicas that can lose or miss a logout."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

# Logical replication doesn't count, because subscribers don't take over. A role without
# pg_read_all_stats can see that other roles are connected, but not the state of their
# connections.
_ASK_POSTGRESQL = sa.text("""
    SELECT pg_is_in_recovery() AS is_standby,
        current_setting('transaction_read_only') = 'on' AS is_read_only,
        current_setting('synchronous_commit') AS commit,
        current_setting('synchronous_standby_names') = '' AS waits_for_none,
        count(pid) AS standbys, count(pid) - count(state) AS hidden
    FROM pg_stat_replication
    WHERE coalesce(state, 'streaming') IN ('streaming', 'catchup') AND pid NOT IN (
        SELECT active_pid FROM pg_replication_slots
        WHERE slot_type = 'logical' AND active_pid IS NOT NULL)
""")
_READ_ONLY = ("read_only", "super_read_only", "innodb_read_only")
_SEMI_SYNC = ("rpl_semi_sync_master_status", "rpl_semi_sync_source_status")


def list_risks(connection: sa.Connection) -> list[str]:
    """List the settings with which a server can lose a logout or accept a revoked token.

    :returns: a line for each problem, which says what to do.
    """
    ask = {
        "mariadb": _list_of_mysql,
        "mysql": _list_of_mysql,
        "postgresql": _list_of_postgresql,
        "sqlite": _list_of_sqlite,
    }
    return list(ask.get(connection.dialect.name, lambda _: ())(connection))


def _list_of_sqlite(connection: sa.Connection) -> t.Iterator[str]:
    dbapi: t.Any = connection.connection.dbapi_connection
    if dbapi.in_transaction:
        # An in-memory database, whose only connection is in use by the app.
        return
    try:
        dbapi.execute("BEGIN IMMEDIATE")
        # Setting it writes to the file even if the value stays, until the rollback.
        (version,) = dbapi.execute("PRAGMA user_version").fetchone()
        dbapi.execute(f"PRAGMA user_version = {version}")
    except dbapi.OperationalError as e:
        # A locked database can be written, or nothing would lock it.
        if "locked" not in str(e):
            yield (
                f"SQLite can't write to the database ({e}), so every logout returns 503."
                " Make the file and its folder writable for the app."
            )
    finally:
        dbapi.rollback()


def _list_of_postgresql(connection: sa.Connection) -> t.Iterator[str]:
    is_standby, is_read_only, commit, waits_for_none, standbys, hidden = (
        connection.execute(_ASK_POSTGRESQL).one()
    )
    if is_standby or is_read_only:
        what = "a standby" if is_standby else "read-only"
        yield f"The PostgreSQL server is {what}, so {_NO_LOGOUT}"
    if commit == "off":
        yield (
            "synchronous_commit is off, so a crash of PostgreSQL loses acknowledged"
            " logouts. Set it to on for this role."
        )
    if standbys and (waits_for_none or commit in ("off", "local")):
        setting = "synchronous_standby_names is empty"
        yield (
            f"{_count(standbys, 'standby', 'standbys')} attached to PostgreSQL, but"
            f" {setting if waits_for_none else f'synchronous_commit is {commit}'}, so"
            f" {_LOST} Set synchronous_standby_names, and set synchronous_commit to on."
            f"{_HIDDEN if hidden else ''}"
        )


def _list_of_mysql(connection: sa.Connection) -> t.Iterator[str]:
    found = {
        name.lower(): value
        for what in ("VARIABLES", "STATUS")
        for name, value in connection.exec_driver_sql(f"SHOW {what}").fetchall()
    }
    is_on = {name for name, value in found.items() if value in ("ON", "1")}
    for name in is_on.intersection(_READ_ONLY):
        yield f"The server is read-only ({name} is on), so {_NO_LOGOUT}"
        break
    is_galera = "wsrep_on" in is_on and found["wsrep_provider"] != "none"
    if is_galera and not int(found["wsrep_sync_wait"]) & 1:
        yield (
            f"wsrep_sync_wait is {found['wsrep_sync_wait']}, so a check can read from a"
            " Galera node that has not applied a logout yet and accept a revoked token."
            " Set it to 1, and make sure that no proxy resets it."
        )
    if not is_galera and found["innodb_flush_log_at_trx_commit"] in ("0", "2"):
        yield (
            "innodb_flush_log_at_trx_commit is"
            f" {found['innodb_flush_log_at_trx_commit']}, so a crash of the server loses"
            " acknowledged logouts. Set it to 1."
        )
    replicas = int(found.get("slaves_connected", 0))
    if replicas and is_on.isdisjoint(_SEMI_SYNC):
        yield (
            f"{_count(replicas, 'replica', 'replicas')} attached to the server, but"
            f" semi-synchronous replication is off, so {_LOST} Set"
            " rpl_semi_sync_master_enabled to ON, and rpl_semi_sync_slave_enabled on the"
            " replicas."
        )


_NO_LOGOUT = (
    "it can't store a logout, and it accepts revoked tokens while it lags behind the"
    " primary. Connect to the primary."
)
_LOST = "logouts don't wait for replication, and a failover can lose them."
_HIDDEN = (
    " This role can't see whether these are standbys or backups. Grant it"
    " pg_read_all_stats to distinguish them."
)


def _count(number: int, one: str, many: str) -> str:
    return f"1 {one} is" if number == 1 else f"{number} {many} are"
