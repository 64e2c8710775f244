"""Fill a running stack beyond the plain sample (duplicates, quarantine, more ranges), check it, and dump the database.

Run in the worktree of the released version, with its settings in the environment, after `replay sample` and `daily`.
"""

import gzip
import os
import subprocess
import sys
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.e2e.hospital import Hospital
from tests.e2e.test_verify import publish_poison
from wardstream import stack
from wardstream.settings import get_settings
from wardstream.stack.parts import postgres

VERSION, FOLDER = sys.argv[1], Path(sys.argv[2])
SCHEMAS = ("history", "core", "ops", "mart", "public")  # not pg_catalog, whose rights sql/bootstrap owns

settings = get_settings()
hospital = Hospital(settings)
hospital.caught_up()
before = hospital.digest()
hospital.must("replay", "sample", "--limit", "500")
publish_poison(hospital)
hospital.verified()
assert hospital.digest() == before
stack.stop_part(settings, "stream")
with hospital.connect() as conn:
    # yoyo notes who migrated and where; that is nobody's business
    conn.execute("UPDATE public._yoyo_log SET username = 'wardstream', hostname = 'example'")
url = {name: str(value) for name, value in conninfo_to_dict(settings.owner_url).items()}
names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
dump = subprocess.run(
    [
        postgres.binaries(settings) / "pg_dump",
        "--no-owner",
        "--restrict-key=wardstream",
        *(f"--schema={schema}" for schema in SCHEMAS),
    ],
    env={**os.environ, **{variable: url[name] for name, variable in names.items()}, "TZ": "UTC"},
    check=True,
    capture_output=True,
).stdout
dump = dump.replace(b"CREATE SCHEMA public;\n", b"")  # pg_dump makes a schema that is named; each database has this one
(FOLDER / f"{VERSION}.sql.gz").write_bytes(gzip.compress(dump, 9, mtime=0))
(FOLDER / f"{VERSION}.digest.txt").write_text(hospital.must("digest"))
print(f"{len(dump)} bytes of SQL, {(FOLDER / f'{VERSION}.sql.gz').stat().st_size} compressed")
