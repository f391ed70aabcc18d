"""What runs us and what runs beside us: a real engine for this machine, the container image, a bill of materials."""
