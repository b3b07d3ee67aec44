"""What is behind `import ebbtide`: people from data frames, runs as data frames."""
