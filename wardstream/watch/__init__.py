"""What operators see: status, figures, metrics and alerts."""
