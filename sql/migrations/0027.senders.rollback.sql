DROP TABLE ops.senders;
