DROP TABLE ops.folds;
