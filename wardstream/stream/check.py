"""Commit files and folds tried against the database before the first event needs them: no row is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wardstream.contracts.model import Contract
from wardstream.database.connection import Connection, MissingTable, columns_of, types_of
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import compare_columns, result_of
from wardstream.database.scratch import Scratch
from wardstream.stream.commit import create_staged
from wardstream.stream.plan import BESIDE, Fold, Plan, as_sent
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.stored_sources import source_faults
from wardstream.stream.upsert import Upsert

KNOWN_AT = {"known_at": "infinity"}


def check_plan(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> list[str]:
    """What is wrong with what is stored of each topic, and with each fold, one sentence each; as the writer."""
    return [*source_faults(conn, contracts), *_faults(conn, contracts, plan)]


def must_run(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> None:
    """PlanError with all that `check_plan` finds, if it finds anything."""
    if faults := check_plan(conn, contracts, plan):
        raise PlanError("; ".join(faults))


def _faults(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> Iterator[str]:
    for contract in contracts.values():
        try:
            with conn.transaction(force_rollback=True):
                _check_topic(conn, contract, plan)
        except (PlanError, MissingTable) as fault:
            yield str(fault)
    for fold in plan.folds:
        try:
            with conn.transaction(force_rollback=True):
                _check_fold(conn, fold, plan)
        except (PlanError, MissingTable) as fault:
            yield str(fault)


def _check_topic(conn: Connection, contract: Contract, plan: Plan) -> None:
    table = f"history.{contract.topic}"
    create_staged(Scratch(conn), contract)
    given = result_of(conn, f"sql/commit/{contract.topic}.sql", plan.history[contract.topic])
    kept = [name for name in columns_of(conn, "history", contract.topic) if name != "received_at"]
    if missing := [name for name in given if name not in kept]:
        raise PlanError(f"{table} lacks {', '.join(missing)}; run `wardstream migrate`")
    gone = [name for name in kept if name not in given]
    if gone and plan.history[contract.topic] == as_sent(contract):  # there is no file to name
        raise PlanError(
            f"schemas/{contract.topic}/value: its latest version lacks {', '.join(gone)}, which {table} has; bring back"
            " the version that has it: `wardstream contracts check` names a released one that is gone"
        )
    compare_columns(f"sql/commit/{contract.topic}.sql", list(given), table, kept)
    types = types_of(conn, table)
    for name, kind in given.items():
        if types[name] != kind and name not in BESIDE:
            raise PlanError(
                f"sql/commit/{contract.topic}.sql: it gives {name} as {kind}, in {table} it is {types[name]}"
            )


def _check_fold(conn: Connection, fold: Fold, plan: Plan) -> None:
    scratch = Scratch(conn)
    create_touched(scratch)
    refold = Refold(scratch, fold, plan.protocol)
    given = result_of(conn, f"sql/folds/{fold.table}.sql", fold.query, KNOWN_AT, line_of=fold.line_of)
    compare_columns(f"sql/folds/{fold.table}.sql", list(given), f"core.{fold.table}", refold.columns)
    refold.check()
    if fold.of_greatest:
        Upsert(scratch, fold, plan)
