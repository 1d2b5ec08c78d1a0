"""Show our statements to tracers, query loggers and ``echo``.

This uses attributes that SQLAlchemy doesn't document: ``dispatch`` of an engine and of a
dialect, which contains the listeners of each event, and ``logger`` of an engine.
"""

from __future__ import annotations

import logging
import typing as t

import sqlalchemy as sa

RELAY = "logout_relay"
"""The execution option that contains the :class:`Relay` of our engine."""


class Relay:
    """Calls the listeners of the app's engine for the statements on our engine.

    :param engine: our engine.
    :param app_engine: the app's engine, or our engine again if there is none.
    """

    def __init__(self, engine: sa.Engine, app_engine: sa.Engine) -> None:
        self._ours, self._logger = engine.dispatch, engine.logger
        self._theirs = app_engine.dispatch
        self._our_errors = engine.dialect.dispatch
        self._their_errors = app_engine.dialect.dispatch
        sa.event.listen(engine, "before_cursor_execute", self._before, retval=True)
        sa.event.listen(engine, "after_cursor_execute", self._after)
        sa.event.listen(engine, "handle_error", self._fail)
        engine.update_execution_options(**{RELAY: self})

    def is_needed(self) -> bool:
        """Whether there are listeners, for which SQLAlchemy must run the statements."""
        ours, theirs = self._ours, self._theirs
        our_errors, their_errors = self._our_errors, self._their_errors
        # One listener of our engine is a method of this class.
        known = 1 if theirs is ours else 0
        return bool(
            len(ours.before_cursor_execute) > 1
            or len(ours.after_cursor_execute) > 1
            or len(our_errors.handle_error) > 1
            or len(theirs.before_cursor_execute) > known
            or len(theirs.after_cursor_execute) > known
            or len(their_errors.handle_error) > known
            or self._logger.isEnabledFor(logging.INFO)
        )

    def _before(
        self, connection: t.Any, cursor: t.Any, sql: str, bound: t.Any, *rest: t.Any
    ) -> tuple[str, t.Any]:
        for listen in _missing(self._theirs, self._ours, "before_cursor_execute"):
            sql, bound = listen(connection, cursor, sql, bound, *rest)
        return sql, bound

    def _after(self, *event: t.Any) -> None:
        for listen in _missing(self._theirs, self._ours, "after_cursor_execute"):
            listen(*event)

    def _fail(self, context: t.Any) -> BaseException | None:
        replaced = None
        for listen in _missing(self._their_errors, self._our_errors, "handle_error"):
            # A listener may return the exception to raise instead.
            returned = listen(context)
            if returned is not None:
                context.chained_exception = replaced = returned
        return replaced


def _missing(theirs: t.Any, ours: t.Any, name: str) -> list[t.Callable[..., t.Any]]:
    """List the listeners of the app's engine that our engine doesn't have.

    Our engine has the global listeners, and those that a tracer adds to each new engine.
    """
    known = {_function_of(listener) for listener in getattr(ours, name)}
    return [x for x in getattr(theirs, name) if _function_of(x) not in known]


def _function_of(listener: t.Any) -> t.Any:
    return getattr(listener, "__func__", listener)
