-- depends: 0001.schemas-and-ops
-- A schema that is not deployed holds up its own topic only; which one is remembered over starts of the stream.

ALTER TABLE ops.streams ADD COLUMN held jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN ops.streams.held IS 'Topics that are not read because a message carries a schema that is not deployed: {"labs": {"topic_id": "…", "schema_id": 17, "since": "…", "lag": {"0": 12}}}. Their lag is here and not in lag.';
