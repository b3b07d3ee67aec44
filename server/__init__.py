"""The coordinator: samples cohorts, sums noised updates, accounts for epsilon, keeps the inbox."""
