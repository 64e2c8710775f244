"""PostgreSQL: connections, migrations, and what the other packages need of both."""
