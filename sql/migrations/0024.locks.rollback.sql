DROP TABLE ops.stream_leases, ops.request_lock, ops.commit_lock;
