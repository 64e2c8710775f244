"""Sources: readers of hospital data that publish it to Kafka as Avro events."""
