"""What Ebbtide is compared with: rules of counters, and models that see everybody's rows in one place."""
