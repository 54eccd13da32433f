"""What runs under the faults: the same actors on this service and on stock Dramatiq."""
