"""What measures attacks and defences, and shows it."""
