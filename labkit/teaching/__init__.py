"""What makes the lab a teacher: exam map, numbers, questions, checks, practice, progress."""
