from wardstream.settings import Settings
from wardstream.stack.unknown import unknown_variables


def test_a_misspelt_setting_is_named_with_the_one_it_is_near_to():
    (said,) = unknown_variables(Settings(), ["WARDSTREAM_STREAM_MAX_OFFSET", "WARDSTREAM_STATE_DIR", "PATH"])
    assert said.startswith("WARDSTREAM_STREAM_MAX_OFFSET is no setting")
    assert said.endswith("did you mean WARDSTREAM_STREAM_MAX_OFFSETS?")


def test_one_that_is_near_to_none():
    (said,) = unknown_variables(Settings(), ["WARDSTREAM_COLOUR"])
    assert "did you mean" not in said


def test_what_env_prints_and_kubernetes_sets_is_no_mistake():
    names = ["WARDSTREAM_AIRFLOW_PASSWORD", "WARDSTREAM_BI_DATABASE_URL", "WARDSTREAM_DB_SERVICE_HOST"]
    assert unknown_variables(Settings(), [*names, "WARDSTREAM_DB_PORT_5432_TCP_ADDR"]) == []
