"""What every command shares: its options, what it prints, how its process ends."""
