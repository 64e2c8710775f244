DROP TABLE ops.verified;
