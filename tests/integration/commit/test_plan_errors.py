"""What a fold's header says is compared with the database before anything is read."""

from dataclasses import replace

import pytest

from tests.integration.commit.bench import Bench
from wardstream.database.plan_error import PlanError


@pytest.mark.parametrize(("column", "said"), [("birth_date", "which is date"), ("born", "which is no column")])
def test_days_are_named_by_instants(bench: Bench, column: str, said: str):
    """The day of a date is that date in every zone; taken as an instant it would be the day before in New York."""
    folds = [replace(fold, days=(column,)) if fold.table == "patients" else fold for fold in bench.plan.folds]
    with pytest.raises(PlanError, match=f"sql/folds/patients.sql.*{column}, {said} in core.patients"):
        bench.new_committer(replace(bench.plan, folds=tuple(folds)))
