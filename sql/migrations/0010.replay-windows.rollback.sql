DROP TABLE ops.replay_windows;
